from hypothesis import given
from hypothesis import strategies as st

from nnrun.spec.random_streams import RandomSource, derive_seed
from tests.support.streams import sources_of

words = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 99), st.integers(0, 9999), st.text(max_size=12))


def seed_of(stream: tuple[int, int, int, str]) -> int:
    seed, replica, epoch, purpose = stream
    return derive_seed(seed, replica=replica, epoch=epoch, purpose=purpose)


@given(words)
def test_a_seed_fits_into_a_signed_64_bit_integer(stream: tuple[int, int, int, str]) -> None:
    assert 0 <= seed_of(stream) < 2**63


@given(words, words)
def test_equal_words_give_equal_seeds_and_other_words_give_others(
    one: tuple[int, int, int, str], other: tuple[int, int, int, str]
) -> None:
    assert (seed_of(one) == seed_of(other)) == (one == other)


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    """Changing these numbers changes what every spec computes."""
    assert derive_seed(0, purpose="splits") == 2_378_574_253_208_922_024
    assert derive_seed(7, replica=2, epoch=5, purpose="order") == 7_285_617_249_967_080_367


@given(words)
def test_a_source_gives_the_streams_of_its_seed_and_replica(stream: tuple[int, int, int, str]) -> None:
    seed, replica, epoch, purpose = stream
    assert RandomSource(seed, replica).derive(epoch=epoch, purpose=purpose) == seed_of(stream)
    assert RandomSource(seed).derive(epoch=epoch, purpose=purpose) == seed_of((seed, 0, epoch, purpose))


def test_the_sources_of_a_seed_are_those_of_its_replicas_in_their_order() -> None:
    assert sources_of(3, [2, 0]) == [RandomSource(3, 2), RandomSource(3, 0)]
