"""Small problems for the engine, the loop and the evaluation: rows of noise, learned for real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from nnrun.model.inputs import DenseInputs, SparseInputs
from nnrun.model.network import Network
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.engine import Engine, evaluate
from nnrun.training.losses import build_loss
from nnrun.training.metrics import EpochMetrics, build_metrics
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import Head, TrainingProblem
from tests.support.networks import last_of, stack
from tests.support.streams import sources_of

CPU = torch.device("cpu")
N, F = 60, 6

# Two layers of dropout, a penalty, and no output that is 0 for good.
DROPOUT_LAYERS: list[Any] = [
    {"dropout": 0.2},
    {"dense": {"units": 8, "activation": "tanh", "kernel_regularizer": {"l2": 0.01}}},
    {"dropout": 0.4},
    {"dense": {"units": 1, "activation": "sigmoid"}},
]
LINEAR_LAYERS: list[Any] = [{"dense": 1}]


def rows(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def zeros_and_ones(*shape: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def make_problem(
    layers: Sequence[Any] = DROPOUT_LAYERS,
    *,
    loss: str = "binary_crossentropy",
    optimizer: Any = "adam",
    metrics: Sequence[Any] = ("accuracy", "auc", "mse"),
    x_SNF: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    sparse: bool = False,
    batch_size: int = 8,
    tokens: int | None = None,
    ensemble: Mapping[str, Any] | None = None,
) -> TrainingProblem:
    """What a spec declares, over the given rows: by default 60 rows of noise with a 0 or 1 for each."""
    spec = schema.ExperimentSpec.model_validate(
        {
            "dataset": {"npz": "unread.npz"},
            "layers": list(layers),
            "loss": loss,
            "optimizer": optimizer,
            "metrics": list(metrics),
            "ensemble": ensemble,
        }
    )
    x_SNF = rows(1, N, F) if x_SNF is None else x_SNF
    targets = zeros_and_ones(*x_SNF.shape[:2], 1) if targets is None else targets
    network = stack(spec.layers, x_SNF.shape[2], tokens, spec.ensemble)
    dense = DenseInputs(torch.from_numpy(x_SNF))
    last = last_of(network)
    head = Head(
        num_outputs=last.units,
        activation=last.activation,
        loss=build_loss(spec.loss),
        targets=torch.from_numpy(targets),
        metrics=build_metrics(spec.metrics, last.activation),
    )
    rows_of = SparseInputs(scipy.sparse.csr_array(x_SNF[0]), False, CPU) if sparse else dense
    return TrainingProblem(
        network=network,
        optimizer=build_optimizer(spec.optimizer),
        inputs={INPUT: rows_of},
        heads={OUTPUT: head},
        batch_size=batch_size,
        spec=spec,
    )


def with_head(problem: TrainingProblem, **changes: Any) -> TrainingProblem:
    """The problem with changes to its only head."""
    return replace(problem, heads={OUTPUT: replace(problem.head, **changes)})


def eager(problem: TrainingProblem, weights: Mapping[str, Tensor]) -> Engine:
    """An engine that trains step by step."""
    return Engine(problem, weights, EagerBackend(problem))


def first_weights(problem: TrainingProblem, numbers: Sequence[int], seed: int = 0) -> dict[str, Tensor]:
    """The stacked first weights of these replicas."""
    assert isinstance(problem.network, Network)
    return problem.network.initial_parameters(sources_of(seed, numbers))


def several_rows(lengths: Sequence[int], seed: int = 3) -> list[RowIndices]:
    """For each replica so many of the 60 rows, in an order of its own."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(N)[:length] for length in lengths]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], *, exactly: bool = False) -> None:
    """Equal parameters: to the last bit, or to five digits."""
    assert found.keys() == expected.keys()  # small ones stand together, so the order is the engine's
    for name, value in expected.items():
        if exactly:
            assert torch.equal(found[name], value), name
        else:
            torch.testing.assert_close(
                found[name], value, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )


def evaluated(
    problem: TrainingProblem,
    weights: Mapping[str, Tensor],
    data_index: Sequence[int],
    orders: Sequence[RowIndices],
) -> EpochMetrics:
    """These networks, each on rows of its own, whose data stand at `data_index`."""
    return evaluate(
        problem, EagerBackend(problem), weights, len(orders), problem.blocks(orders, list(data_index))
    )
