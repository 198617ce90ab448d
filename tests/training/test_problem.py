"""Which rows each replica takes, step by step: every row once, in the batches of its own order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnrun.replica_rows import RowIndices
from nnrun.spec.random_streams import RandomSource
from nnrun.training.loop import epoch_order
from nnrun.training.problem import segments

seeds = st.integers(0, 2**63 - 1)


def orders_of(lengths: list[int]) -> list[RowIndices]:
    """An order for each replica; no row number is in two of them."""
    rng = np.random.default_rng(0)
    return [1000 * place + rng.permutation(length) for place, length in enumerate(lengths)]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    batch_size=st.integers(1, 70),
    rows_at_once=st.integers(1, 100),
)
def test_each_replica_takes_its_rows_in_the_batches_of_its_order(
    lengths: list[int], batch_size: int, rows_at_once: int
) -> None:
    orders = orders_of(lengths)
    taken: list[list[list[int]]] = [[] for _ in orders]
    for segment in segments(orders, batch_size, rows_at_once=rows_at_once):
        assert segment.rows_GN.shape == (len(segment.replicas), segment.steps * segment.batch_size)
        assert segment.rows_GN.dtype == np.int64
        for place, rows in zip(segment.replicas, segment.rows_GN, strict=True):
            assert segment.first_row == sum(len(batch) for batch in taken[place])
            taken[place] += rows.reshape(-1, segment.batch_size).tolist()
    # What a replica would do alone, whoever steps beside it: full batches, the last one shorter.
    expected = [
        [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
        for order in orders
    ]
    assert taken == expected


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    batch_size=st.integers(1, 70),
    rows_at_once=st.integers(1, 100),
)
def test_a_segment_holds_no_more_rows_than_it_may(
    lengths: list[int], batch_size: int, rows_at_once: int
) -> None:
    for segment in segments(orders_of(lengths), batch_size, rows_at_once=rows_at_once):
        assert segment.rows_GN.shape[1] <= max(rows_at_once, batch_size)


@given(
    shortest=st.integers(1, 60),
    more=st.lists(st.integers(0, 1), min_size=1, max_size=5),
    batch_size=st.integers(1, 70),
)
def test_folds_that_differ_by_a_row_step_together_but_for_the_end(
    shortest: int, more: list[int], batch_size: int
) -> None:
    """The speed of k-fold: full batches are made by everyone at once, and in one segment."""
    lengths = [shortest + extra for extra in more]
    everyone = tuple(range(len(lengths)))
    found = list(segments(orders_of(lengths), batch_size, rows_at_once=10**6))
    together = [s for s in found if s.replicas == everyone and s.batch_size == batch_size]
    assert sum(s.steps for s in together) == min(lengths) // batch_size
    assert len(found) <= 3  # the common batches, and the last ones of two lengths


def test_folds_of_a_time_series_step_together_as_far_as_each_goes() -> None:
    """Each time that one has come to its end, the others go on in one segment, not step by step."""
    found = list(segments(orders_of([20, 40, 60]), 2, rows_at_once=10**6))
    assert [(s.replicas, s.steps) for s in found] == [((0, 1, 2), 10), ((1, 2), 10), ((2,), 10)]


def test_a_small_example() -> None:
    orders = [np.array([5, 3, 1, 4, 2]), np.array([9, 8, 7, 6])]
    found = [
        (s.replicas, s.first_row, s.batch_size, s.rows_GN.tolist())
        for s in segments(orders, 2, rows_at_once=100)
    ]
    assert found == [
        ((0, 1), 0, 2, [[5, 3, 1, 4], [9, 8, 7, 6]]),
        ((0,), 4, 1, [[2]]),
    ]


# --- the order of an epoch ---------------------------------------------------------------------------------


@given(
    rows=st.lists(st.integers(0, 999), max_size=50, unique=True),
    seed=seeds,
    replica=st.integers(0, 99),
    epoch=st.integers(1, 10**6),
)
def test_an_order_is_a_permutation_of_the_rows(rows: list[int], seed: int, replica: int, epoch: int) -> None:
    before = np.array(rows, dtype=np.int64)
    order = epoch_order(before, shuffle=True, source=RandomSource(seed, replica), epoch=epoch)
    assert sorted(order.tolist()) == sorted(rows)
    assert before.tolist() == rows
    np.random.random()  # the global generator has no part in it
    again = epoch_order(before, shuffle=True, source=RandomSource(seed, replica), epoch=epoch)
    assert order.tolist() == again.tolist()


@given(length=st.integers(0, 50), other=st.integers(0, 999), seed=seeds, epoch=st.integers(1, 10**6))
def test_an_order_depends_on_how_many_rows_there_are_and_not_on_which(
    length: int, other: int, seed: int, epoch: int
) -> None:
    rows = np.arange(length)
    here = epoch_order(rows, shuffle=True, source=RandomSource(seed, 0), epoch=epoch)
    there = epoch_order(rows + other, shuffle=True, source=RandomSource(seed, 0), epoch=epoch)
    assert (here + other).tolist() == there.tolist()


def test_seed_replica_and_epoch_each_change_the_order() -> None:
    orders = {
        tuple(
            epoch_order(np.arange(50), shuffle=True, source=RandomSource(seed, replica), epoch=epoch).tolist()
        )
        for seed in (0, 1)
        for replica in (0, 1)
        for epoch in (1, 2)
    }
    assert len(orders) == 8


@given(rows=st.lists(st.integers(0, 999), max_size=50), seed=seeds, epoch=st.integers(1, 10**6))
def test_without_shuffle_the_rows_stay_in_their_order(rows: list[int], seed: int, epoch: int) -> None:
    order = epoch_order(np.array(rows, np.int64), shuffle=False, source=RandomSource(seed, 0), epoch=epoch)
    assert order.tolist() == rows


def test_orders_stay_as_they_are() -> None:
    """Changing these changes what every spec computes."""
    order = epoch_order(np.arange(10), shuffle=True, source=RandomSource(0, 0), epoch=1)
    assert order.tolist() == [5, 2, 3, 0, 1, 9, 8, 7, 4, 6]
