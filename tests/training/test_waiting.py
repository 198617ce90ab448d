"""Nothing in an epoch looks at a number before the epoch's end: each look would let a GPU run dry.

It is checked on the CPU, where no look costs anything, by the calls that would wait for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnrun.spec import schema
from nnrun.training.metrics import EpochMetrics, MetricAccumulator
from nnrun.training.optimizers import build_clip
from nnrun.training.problem import TrainingProblem
from tests.support.native_problems import CLASSES, LAST, OPTIMIZERS, N
from tests.support.small_problems import (
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
    with_head,
    zeros_and_ones,
)
from tests.support.streams import sources_of

_WAIT = {
    "item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__",
    "nonzero", "masked_select", "unique", "bincount", "equal", "allclose",
}  # fmt: skip


class _Watch(TorchFunctionMode):
    """Raises where a call would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.allowed:
            name = getattr(func, "__name__", "")
            masks = name == "__getitem__" and any(
                isinstance(part, Tensor) and part.dtype == torch.bool
                for part in (args[1] if isinstance(args[1], tuple) else (args[1],))
            )
            repeats = name == "repeat_interleave" and "output_size" not in (kwargs or {})
            waits = name in _WAIT or masks or repeats
            assert not waits, f"{name} would wait for a GPU"
        return func(*args, **(kwargs or {}))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Watch]:
    """Until the block ends; what adds up a phase may look."""
    watch, original = _Watch(), MetricAccumulator.result

    def phase(self: MetricAccumulator) -> EpochMetrics:
        watch.allowed = True
        try:
            return original(self)
        finally:
            watch.allowed = False

    monkeypatch.setattr(MetricAccumulator, "result", phase)
    with watch:
        yield watch


def train_and_measure(problem: TrainingProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of unequal length, so that some batches are made by one of them alone."""
    engine = eager(problem, first_weights(problem, range(2)))
    orders, held, sources = several_rows((58, 41)), several_rows((20, 9)), sources_of(0, range(2))
    with watched(monkeypatch):
        for epoch in (1, 2):
            engine.train_epoch(orders, sources, epoch)
            engine.evaluate(held)


@pytest.mark.parametrize(
    "optimizer",
    [*OPTIMIZERS, *(kind for kind in schema.components(schema.Optimizer) if kind not in OPTIMIZERS)],
    ids=str,
)
def test_every_optimizer(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train_and_measure(make_problem(optimizer=optimizer), monkeypatch)


# ctc does wait: PyTorch takes the lengths of its lists on the CPU.
@pytest.mark.parametrize(
    "loss", [*(kind for kind in schema.components(schema.Loss) if kind != "ctc"), {"huber": 0.3}], ids=str
)
def test_every_loss(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    last, targets = LAST.get(loss if isinstance(loss, str) else "huber", LAST["huber"])
    layers = [{"dense": {"units": 5, "kernel_regularizer": {"l1": 0.01}}}, last]
    train_and_measure(make_problem(layers, loss=loss, metrics=[], targets=targets), monkeypatch)


@pytest.mark.parametrize("metric", schema.components(schema.Metric))
@pytest.mark.parametrize("classes", [1, 3])
def test_every_metric(metric: str, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    last: Any = {"dense": {"units": classes, "activation": "sigmoid" if classes == 1 else "softmax"}}
    loss = "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"
    targets = zeros_and_ones(1, N, 1) if classes == 1 else CLASSES
    of_classes = issubclass(schema.components(schema.Metric)[metric], schema.ClassMetric)
    if (classes == 3 and not of_classes) or metric == "character_error_rate":
        pytest.skip("it is none for such targets")
    train_and_measure(make_problem([last], loss=loss, metrics=[metric], targets=targets), monkeypatch)


@pytest.mark.parametrize("clip", [{"norm": 0.1}, {"value": 0.1}], ids=str)
def test_clipping_and_weights(clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.from_numpy(abs(rows(1, N)))
    problem = with_head(make_problem(), weights=weights, training_weights=weights * 3)
    spec = schema.GradientClip.model_validate(clip)
    train_and_measure(replace(problem, clip=build_clip(spec)), monkeypatch)


@pytest.mark.parametrize(
    "look",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: float(x.sum()), lambda x: x.cpu()],
    ids=["item", "mask", "float", "cpu"],
)
def test_looks_are_seen(look: Callable[[Tensor], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch), pytest.raises(AssertionError, match="would wait"):
        look(torch.ones(3))
