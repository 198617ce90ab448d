"""Rows of words in C++: an embedding whose vectors are averaged, beside what PyTorch computes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.model.inputs import DenseInputs
from nnrun.model.mapped_inputs import MappedInputs
from nnrun.spec.ports import INPUT
from nnrun.training.backends import native as native_backend
from nnrun.training.backends.native import NativeBackend
from nnrun.training.problem import TrainingProblem
from tests.support.cpu_levels import levels_here
from tests.support.native_problems import (
    AVERAGING,
    HIDDEN,
    LAST,
    OPTIMIZERS,
    SIGMOID,
    assert_alike,
    averaged,
    engines,
    epoch,
    native,
    needs_compiler,
)
from tests.support.small_problems import (
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
)

pytestmark = needs_compiler

MEAN: list[Any] = [{"embedding": 6}, "global_average_pooling"]
MASKED: list[Any] = [{"embedding": {"output_dim": 6, "mask_zero": True}}, "global_average_pooling"]


def words_of(words: int, places: int, sets: int = 1) -> np.ndarray:
    """Rows that begin with padding, now and then of nothing else."""
    rng = np.random.default_rng(7)
    found = rng.integers(0, words, (sets, N, places))
    found[np.arange(places) < rng.integers(0, places + 1, (sets, N, 1))] = 0
    found[:, ::9] = 0
    return found.astype(np.float32)


def problem_of(
    layers: list[Any], *, words: int = 30, places: int = 12, sets: int = 1, **settings: Any
) -> TrainingProblem:
    settings = {"metrics": ["accuracy"], "batch_size": 7, **settings}
    return make_problem(layers, x_SNF=words_of(words, places, sets), tokens=words, **settings)


@pytest.mark.parametrize("pooled", [MEAN, MASKED], ids=["mean", "masked"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer(optimizer: Any, pooled: list[Any]) -> None:
    """Those that keep squares of gradients add the squares of each place's; Adagrad has none to add."""
    problem = problem_of([*pooled, {"dropout": 0.2}, HIDDEN, SIGMOID], optimizer=optimizer)
    assert NativeBackend.unsupported(problem) is None
    assert_alike(problem, epochs=2)


@pytest.mark.parametrize("averaging", AVERAGING, ids=str)
def test_averages_of_weights(averaging: Any) -> None:
    assert_alike(averaged(problem_of([*MEAN, SIGMOID]), averaging, 2), epochs=4)


@pytest.mark.parametrize("loss", LAST)
def test_every_loss(loss: str) -> None:
    last, targets = LAST[loss]
    assert_alike(problem_of([*MEAN, last], loss=loss, metrics=[], targets=targets, optimizer="sgd"))


@given(
    words=st.integers(1, 200),
    places=st.integers(1, 40),
    columns=st.integers(1, 70),
    batch_size=st.integers(1, 40),
    lengths=st.lists(st.integers(30, N), min_size=1, max_size=3),
    own_rows=st.booleans(),
    masked=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_sizes(
    words: int,
    places: int,
    columns: int,
    batch_size: int,
    lengths: list[int],
    own_rows: bool,
    masked: bool,
) -> None:
    """Rows that folds share or have for themselves; the table has any shape."""
    layers = [
        {"embedding": {"output_dim": columns, "mask_zero": masked}},
        "global_average_pooling",
        {"dense": 2},
    ]
    sets = len(lengths) if own_rows else 1
    problem = problem_of(
        layers,
        words=words,
        places=places,
        sets=sets,
        loss="mse",
        metrics=["mae"],
        targets=rows(sets, N, 2, seed=9),
        optimizer={"adam": 0.01},
        batch_size=batch_size,
    )
    assert_alike(problem, lengths, epochs=1)


@pytest.mark.skipif(not levels_here(), reason="the levels are those of x86-64, as Linux tells of them")
@pytest.mark.parametrize("cpu", levels_here())
def test_every_level_of_this_machine(cpu: str) -> None:
    for columns in (1, 3, 8, 24, 65):
        layers = [{"embedding": columns}, "global_average_pooling", HIDDEN, SIGMOID]
        assert_alike(problem_of(layers), epochs=1, cpu=cpu)


def test_the_gradient_of_a_table_is_exact() -> None:
    """Beside float64, of a word that stands nearly everywhere: float32 would lose digits place by place."""
    places = 2000
    x = np.zeros((1, N, places), np.float32)
    x[0, :, -1] = np.arange(N) % 5
    layers = [{"embedding": 3}, "global_average_pooling", {"dense": 1}]
    targets = 1000 + rows(1, N, 1)
    problem = make_problem(
        layers,
        loss="mse",
        metrics=[],
        x_SNF=x,
        targets=targets,
        tokens=5,
        batch_size=N,
        optimizer={"sgd": 0.1},
    )
    first = first_weights(problem, [0])
    engine = native(problem, first)
    epoch(engine, [N], 1)
    exact = {name: value.double().requires_grad_() for name, value in first.items()}
    index = torch.from_numpy(x[0]).long()
    order = several_rows([N], seed=1)[0]
    means = exact["0.weight"][0][index[order]].mean(1)
    made = means @ exact["2.weight"][0] + exact["2.bias"][0]
    loss = ((made - torch.from_numpy(targets[0][order]).double()) ** 2).mean()
    torch.autograd.backward(loss)
    for name, value in exact.items():
        assert value.grad is not None
        change = (first[name] - engine.weights()[name]).double() / 0.1
        torch.testing.assert_close(change, value.grad, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_words_in_bytes(own: bool) -> None:
    """What a byte stands for is looked up first, of each replica its own."""
    sets = 2 if own else 1
    values = np.random.default_rng(1).permuted(np.tile(np.arange(256), (sets, 1, 1)), axis=-1) % 30
    bytes_ = np.random.default_rng(2).integers(0, 256, (1, N, 12), np.uint8)
    inputs = DenseInputs(torch.from_numpy(bytes_), torch.from_numpy(values.astype(np.float32)))
    problem = problem_of([*MEAN, SIGMOID])
    assert_alike(dataclasses.replace(problem, inputs={INPUT: inputs}))


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_words_that_lie_in_a_file(kind: Any, tmp_path: Path) -> None:
    """The same bits as of rows in memory."""
    problem = problem_of([*MASKED, SIGMOID])
    x = words_of(30, 12)[0].astype(kind)
    np.save(tmp_path / "words.npy", x)
    values = None if kind is np.float32 else torch.arange(256, dtype=torch.float32).view(1, 1, 256)
    file = np.load(tmp_path / "words.npy", mmap_mode="r")
    found = []
    for rows_of in (
        DenseInputs(torch.from_numpy(x[None]), values),
        MappedInputs((file,), torch.device("cpu"), values),
    ):
        own = dataclasses.replace(problem, inputs={INPUT: rows_of})
        engine = native(own, first_weights(own, range(2)))
        losses = [epoch(engine, (58, 53), number).losses for number in (1, 2)]
        found.append(([*losses, engine.evaluate(several_rows([N, N])).losses], engine.weights()))
    assert found[0][0] == found[1][0]
    assert_same(found[0][1], found[1][1], exactly=True)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_backend, "WORTH_THREADS", 0)
    problem = problem_of([*MASKED, HIDDEN, SIGMOID])
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(native_backend, "wanted_threads", lambda threads=threads: threads)
        engine = native(problem, first_weights(problem, range(3)))
        losses = [epoch(engine, [N, 50, N], number).losses for number in (1, 2)]
        found.append((losses, engine.evaluate(several_rows([N] * 3)).losses, engine.weights()))
    assert found[0][:2] == found[1][:2]
    assert_same(found[0][2], found[1][2], exactly=True)


def test_a_word_that_the_table_lacks() -> None:
    """Told where a row with one is met, as by PyTorch, and not before."""
    problem = problem_of([*MEAN, SIGMOID])
    x = words_of(30, 12)
    x[0, 5, 3] = 30
    problem = dataclasses.replace(problem, inputs={INPUT: DenseInputs(torch.from_numpy(x))})
    weights = first_weights(problem, [0])
    for engine in (native(problem, weights), eager(problem, weights)):
        engine.evaluate([np.arange(5)])
        with pytest.raises(IndexError):
            engine.evaluate([np.arange(6)])


@pytest.mark.parametrize(
    ("layers", "unknown"),
    [
        ([{"embedding": 6}, "flatten", SIGMOID], "`flatten` after another layer"),
        (
            [{"embedding": 6}, {"lstm": 4}, SIGMOID],
            "`embedding` without `global_average_pooling` behind it",
        ),
        (
            [{"embedding": {"output_dim": 6, "trainable": False}}, "global_average_pooling", SIGMOID],
            "`trainable` of `embedding`",
        ),
        (
            [{"embedding": {"output_dim": 6, "embeddings_regularizer": "l2"}}, MEAN[1], SIGMOID],
            "`embeddings_regularizer` of `embedding`",
        ),
    ],
)
def test_what_is_not_supported(layers: list[Any], unknown: str) -> None:
    assert NativeBackend.unsupported(problem_of(layers)) == f"C++ does not support {unknown}"


def test_either_continues_what_the_other_began() -> None:
    problem = problem_of([*MEAN, SIGMOID])
    for one, other in ((0, 1), (1, 0)):
        pair = engines(problem, 2)
        epoch(pair[one], (58, 53), 1)
        pair[other].load_state_dict(pair[one].state_dict())
        for engine in pair:
            epoch(engine, (58, 53), 2)
        assert_same(pair[other].weights(), pair[one].weights())
