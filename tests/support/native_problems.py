"""Every optimizer and loss in small networks, and C++ and PyTorch side by side."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
import torch
from pydantic import TypeAdapter
from torch import Tensor

from nnrun.limits import cxx_compiler
from nnrun.model.inputs import SparseInputs
from nnrun.native.library import THIS_CPU, load_library
from nnrun.spec import schema
from nnrun.spec.ports import INPUT
from nnrun.training.backends import native_job
from nnrun.training.backends.native import NativeBackend
from nnrun.training.engine import Engine
from nnrun.training.metrics import EpochMetrics
from nnrun.training.problem import TrainingProblem
from nnrun.training.weight_averaging import EMA_DECAY, build_averaging, ema_decay
from tests.support.small_problems import (
    CPU,
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
    zeros_and_ones,
)
from tests.support.streams import sources_of

needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")

OPTIMIZERS: list[Any] = [
    *native_job.OPTIMIZERS,
    {"rmsprop": {"momentum": 0.9}},
    {"rmsprop": {"centered": True}},
    {"rmsprop": {"momentum": 0.9, "centered": True, "rho": 0.8, "epsilon": 1e-3}},
    {"sgd": {"momentum": 0.9}},
    {"sgd": {"momentum": 0.9, "nesterov": True}},
    {"adam": {"amsgrad": True, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-4}},
    {"adamw": {"amsgrad": True, "weight_decay": 0.1}},
    {"adamw": {"weight_decay": 2.0, "exclude_from_weight_decay": ["bias"], "learning_rate": 0.01}},
    {"adagrad": {"initial_accumulator_value": 0.5, "learning_rate": 0.1}},
]
ACTIVATIONS = native_job.ACTIVATIONS
SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}
SOFTMAX = {"dense": {"units": 3, "activation": "softmax"}}
CLASSES = np.random.default_rng(5).integers(0, 3, (1, N))
LAST: dict[str, tuple[Any, np.ndarray]] = {
    "binary_crossentropy": (
        {"dense": {"units": 3, "activation": "sigmoid"}},
        zeros_and_ones(1, N, 3),
    ),
    "categorical_crossentropy": (SOFTMAX, np.eye(3, dtype=np.float32)[CLASSES] * np.float32(0.8)),
    "sparse_categorical_crossentropy": (SOFTMAX, CLASSES),
    "mse": ({"dense": 2}, rows(1, N, 2)),
    "mae": ({"dense": 2}, rows(1, N, 2)),
    "huber": ({"dense": 2}, rows(1, N, 2)),
}


def native(problem: TrainingProblem, weights: Mapping[str, Tensor], cpu: str = THIS_CPU) -> Engine:
    """An engine that trains in C++."""
    assert NativeBackend.unsupported(problem) is None
    return Engine(problem, weights, NativeBackend(problem, load_library(NativeBackend.library, cpu=cpu)))


def engines(problem: TrainingProblem, replicas: int, cpu: str = THIS_CPU) -> tuple[Engine, Engine]:
    """One that trains step by step, and one in C++."""
    weights = first_weights(problem, range(replicas))
    return eager(problem, weights), native(problem, weights, cpu)


def epoch(engine: Engine, lengths: Sequence[int], number: int) -> EpochMetrics:
    orders = several_rows(lengths, seed=number)
    return engine.train_epoch(orders, sources_of(0, range(len(lengths))), number)


def assert_alike(
    problem: TrainingProblem, lengths: Sequence[int] = (58, 53), epochs: int = 3, cpu: str = THIS_CPU
) -> None:
    """The same losses, metrics and weights, of some replicas with so many training rows each."""
    plain, fast = engines(problem, len(lengths), cpu)
    for number in range(1, epochs + 1):
        one, other = epoch(plain, lengths, number), epoch(fast, lengths, number)
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-5)
        for mine, theirs in zip(other.metrics, one.metrics, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert_same(fast.weights(), plain.weights())
    held = several_rows([N] * len(lengths))
    np.testing.assert_allclose(fast.evaluate(held).losses, plain.evaluate(held).losses, rtol=1e-5)


AVERAGING: list[Any] = ["ema", {"ema": 0.8}, {"swa": 2}]
"""Weight averages that both compute, of problems whose spec has no training rows of its own."""


def averaged(problem: TrainingProblem, averaging: Any, replicas: int) -> TrainingProblem:
    """The problem with averages of the weights; of `ema` each replica has a decay of its own."""
    assert problem.spec is not None
    spec = problem.spec.model_copy(
        update={"weight_averaging": TypeAdapter(schema.WeightAveraging).validate_python(averaging)}
    )
    decays = [ema_decay(spec, 6000 - 2500 * replica) for replica in range(replicas)]
    known = [decay for decay in decays if decay is not None]
    own = {EMA_DECAY: torch.tensor(known, dtype=torch.float64)} if known else {}
    per_replica = {**problem.per_replica, **own}
    return dataclasses.replace(problem, spec=spec, averaging=build_averaging(spec), per_replica=per_replica)


HIDDEN = {"dense": {"units": 9, "activation": "tanh"}}


def sparse_matrix(features: int, per_row: int, *, ones: bool, seed: int = 4) -> scipy.sparse.csr_array:
    """60 rows of up to `per_row` numbers, some of none, in columns that few or many rows have."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, min(per_row, features) + 1, N)
    counts[::7] = 0
    columns = [rng.choice(features, count, replace=False) for count in counts]
    indices: npt.NDArray[Any] = np.concatenate([*columns, []]).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    values = np.ones(len(indices), np.int8) if ones else rng.normal(size=len(indices)).astype(np.float32)
    return scipy.sparse.csr_array((values, indices, starts), shape=(N, features))


def sparse_problem(
    layers: Sequence[Any] = (HIDDEN, SIGMOID),
    *,
    features: int = 12,
    per_row: int = 5,
    ones: bool = True,
    **settings: Any,
) -> TrainingProblem:
    """As `make_problem`, over sparse rows."""
    matrix = sparse_matrix(features, per_row, ones=ones)
    problem = make_problem(layers, x_SNF=np.zeros((1, N, features), np.float32), **settings)
    return dataclasses.replace(problem, inputs={INPUT: SparseInputs(matrix, ones, CPU)})
