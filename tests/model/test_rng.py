"""Dropout's random numbers: SplitMix64's, the same in every layout, and whoever trains beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.model.inputs import SparseBatch, SparseInputs
from nnrun.model.network import Network
from nnrun.model.rng import BatchRng, uniform
from nnrun.spec import schema
from tests.support.networks import stack
from tests.support.streams import sources_of

CPU = torch.device("cpu")
int64 = st.integers(-(2**63), 2**63 - 1)
keys = st.integers(0, 2**63 - 1)


def network(inputs: int = 6) -> Network:
    """Two layers of dropout, the first of them on the inputs."""
    layers = [
        schema.Dropout(rate=0.5),
        schema.Dense(units=5),
        schema.Dropout(rate=0.5),
        schema.Dense(units=2),
    ]
    return stack(layers, inputs)


def splitmix64(key: int, counter: int) -> float:
    """Steele, Lea & Flood 2014, figure 17, with Python's whole numbers; the top 24 bits as a fraction."""
    bits = 2**64 - 1
    z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & bits
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & bits
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
    return ((z ^ (z >> 31)) >> 40) / 2**24


@given(st.lists(st.tuples(int64, st.integers(0, 2**62)), min_size=1, max_size=20))
def test_it_is_splitmix64_in_zero_to_one(pairs: list[tuple[int, int]]) -> None:
    key, counter = torch.tensor(pairs, dtype=torch.int64).unbind(1)
    found = uniform(key, counter)
    assert found.dtype == torch.float32
    assert found.tolist() == [splitmix64(*pair) for pair in pairs]
    assert ((found >= 0) & (found < 1)).all()


def test_it_is_the_published_generator() -> None:
    """The first outputs of SplitMix64 for seed 1234567, as reference implementations give them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = uniform(torch.tensor(1234567), torch.arange(4))
    assert found.tolist() == [(value >> 40) / 2**24 for value in published]


def test_the_numbers_are_uniform_and_their_neighbours_know_nothing_of_each_other() -> None:
    rng = network().rng(sources_of(0, [0, 1]), epoch=1, device=CPU)
    numbers = rng.dense("0", torch.empty(2, 20_000, 5)).double().numpy()
    # Of 200,000 numbers in 20 equal bins: chi² with 19 degrees of freedom is above 43.8 once in a thousand.
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8
    # Four standard errors of a correlation of 100,000 pairs: replicas, rows and units beside each other.
    for a, b in [
        (numbers[0], numbers[1]),
        (numbers[:, 1:], numbers[:, :-1]),
        (numbers[..., 1:], numbers[..., :-1]),
    ]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


@given(
    replica_keys=st.lists(keys, min_size=1, max_size=4),
    first=st.integers(0, 10**9),
    rows=st.integers(1, 9),
    units=st.integers(1, 9),
    data=st.data(),
)
def test_every_batch_layout_gives_the_same_numbers(
    replica_keys: list[int], first: int, rows: int, units: int, data: st.DataObject
) -> None:
    """The rng of an epoch's row does not depend on the batch in which the row comes."""
    rng = BatchRng(keys={"3": torch.tensor(replica_keys)})
    together = rng.starting_at(first).dense("3", torch.empty(len(replica_keys), rows, units))
    cut = data.draw(st.integers(0, rows))
    parts = [
        rng.starting_at(first + start).dense("3", torch.empty(len(replica_keys), end - start, units))
        for start, end in [(0, cut), (cut, rows)]
    ]
    assert torch.equal(together, torch.cat(parts, 1))
    for place, key in enumerate(replica_keys):
        alone = BatchRng(first_row=first, keys={"3": torch.tensor([key])}).dense(
            "3", torch.empty(1, rows, units)
        )
        assert torch.equal(alone[0], together[place])


def sparse_batch(x_NF: np.ndarray, rows_GB: np.ndarray) -> SparseBatch:
    inputs = SparseInputs(scipy.sparse.csr_array(x_NF), all_ones=False, device=CPU)
    (batch,) = inputs.batches(range(len(rows_GB)), rows_GB, rows_GB.shape[1])
    return batch


@given(
    replica_keys=st.lists(keys, min_size=1, max_size=3),
    first=st.integers(0, 10**6),
    rows=st.integers(1, 6),
    features=st.integers(1, 8),
    seed=st.integers(0, 999),
)
def test_sparse_noise_is_dense_noise_at_the_non_zeros(
    replica_keys: list[int], first: int, rows: int, features: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x_NF = rng.integers(0, 2, (7, features)).astype(np.float32)
    rows_GB = rng.integers(0, 7, (len(replica_keys), rows))
    rng = BatchRng(first_row=first, keys={"0": torch.tensor(replica_keys)})
    dense = rng.dense("0", torch.empty(len(replica_keys), rows, features)).numpy()
    found = rng.sparse("0", sparse_batch(x_NF, rows_GB)).numpy()
    # The non-zeros of a sparse batch come replica by replica, row by row, column by column.
    np.testing.assert_array_equal(found, dense[x_NF[rows_GB] != 0])


@settings(max_examples=30)
@given(
    seed=keys,
    epoch=st.integers(1, 10**6),
    numbers=st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True),
)
def test_a_replica_s_noise_does_not_depend_on_who_trains_beside_it(
    seed: int, epoch: int, numbers: list[int]
) -> None:
    together = network().rng(sources_of(seed, numbers), epoch, CPU)
    for place, number in enumerate(numbers):
        alone = network().rng(sources_of(seed, [number]), epoch, CPU)
        for path in ("0", "2"):
            x = torch.empty(len(numbers), 3, 4)
            assert torch.equal(together.dense(path, x)[place], alone.dense(path, x[:1])[0])


def numbers_of(seed: int, replicas: Sequence[int], epoch: int, path: str) -> list[float]:
    rng = network().rng(sources_of(seed, replicas), epoch, CPU)
    found: list[float] = rng.dense(path, torch.empty(len(replicas), 2, 3)).flatten().tolist()
    return found


@pytest.mark.parametrize(
    "changed",
    [{"seed": 8}, {"replicas": [3]}, {"epoch": 2}, {"path": "2"}],
    ids=lambda change: next(iter(change)),
)
def test_seed_replica_epoch_and_layer_each_change_every_number(changed: dict[str, int]) -> None:
    usual = {"seed": 7, "replicas": [0], "epoch": 1, "path": "0"}
    assert numbers_of(**usual) == numbers_of(**usual)
    assert not set(numbers_of(**usual)) & set(numbers_of(**usual | changed))


def test_a_layer_s_keys_are_derived_when_it_first_asks_and_kept_for_the_epoch() -> None:
    rng = stack([schema.Dense(units=1)], 3).rng(sources_of(0, [0]), 1, CPU)
    assert rng.keys == {}
    key = rng.starting_at(5).key("0")
    assert rng.key("0") is key
    assert list(rng.keys) == ["0"]
