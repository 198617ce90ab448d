"""Steps of stacks of dense and dropout layers in C++ of our own, and their measurement.

A small step's time is nearly all the cost of starting PyTorch's operations one by one. The C++ code makes all
steps of a segment in one call for each replica. It is compiled once for all specs, in two seconds.
Sparse rows it takes from the matrix of all rows, by their numbers.
It knows the layers, losses and optimizers named here; a spec with anything else is an obstacle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnrun.interrupts import stop_if_asked
from nnrun.spec import schema
from nnrun.training.backends import native_job
from nnrun.training.backends.native_job import address
from nnrun.training.engine import EagerEngine
from nnrun.training.epoch_metrics import EpochMetrics, MetricAccumulator
from nnrun.training.epoch_plan import RowIndices, Segment, segments
from nnrun.training.problem import TrainingProblem
from nnrun.training.train_state import TrainState

MOST_MULTIPLICATIONS = 4_000_000
"""How many a step of one network may make, forward, in dense layers; PyTorch is faster from there on."""

# The parameters of each component that the C++ code computes with. One that is not named here, and that a
# spec sets, is an obstacle: nothing that is added to the schema is left out in silence.
_KNOWN: Mapping[type[schema.Config], set[str]] = {
    schema.Dense: {"units", "activation", "use_bias", "kernel_regularizer"},
    schema.Dropout: {"rate"},
    schema.L1: {"l1"},
    schema.L2: {"l2"},
    schema.L1L2: {"l1", "l2"},
    schema.BinaryCrossentropy: {"label_smoothing"},
    schema.CategoricalCrossentropy: {"label_smoothing"},
    schema.SparseCategoricalCrossentropy: set(),
    schema.Mse: set(),
    schema.Mae: set(),
    schema.Huber: {"delta"},
    schema.RmsProp: {"learning_rate", "rho", "momentum", "epsilon", "centered"},
    schema.Sgd: {"learning_rate", "momentum", "nesterov"},
    schema.Adam: {"learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad"},
    schema.AdamW: {"learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad"},
    schema.Adagrad: {"learning_rate", "initial_accumulator_value", "epsilon"},
    # Of the whole spec: what others deal with, before, between or after the steps.
    schema.ExperimentSpec: {
        "name", "description", "seed", "dataset", "preprocessing", "layers", "init_weights", "loss",
        "optimizer", "metrics", "class_weight", "learning_rate_schedule",
        "epochs", "batch_size", "shuffle", "deterministic", "early_stopping", "validation", "sweep",
    },
}  # fmt: skip
_TASK = {
    "network", "loss", "optimizer", "metrics", "inputs", "targets", "batch_size", "own", "spec", "weights",
    "training_weights", "scales", "unscaled_targets",
}  # fmt: skip

# Of steps in C++ between two moments at which Python can answer a signal.
_SECONDS_A_CALL = 0.05

# Rows that are measured at a time: so few that what lies between layers stays in the CPU's caches.
_MEASURED_AT_ONCE = 256


def obstacle(problem: TrainingProblem) -> str | None:
    """Why these steps cannot be made here, as a part of a sentence; None where they can."""
    spec = problem.spec
    if spec is None:
        return "the problem does not say what spec it comes from"
    if problem.device.type != "cpu":
        return "it trains on the CPU"
    unknown = unknown_in(spec)
    if unknown is not None:
        return f"it does not know {unknown}"
    given = {field.name for field in fields(problem) if getattr(problem, field.name) is not field.default}
    if given - _TASK:
        return f"it does not know `{min(given - _TASK)}` of a problem"
    work = problem.batch_size * _multiplications(spec, problem)
    if work > MOST_MULTIPLICATIONS:
        return f"a step of one network makes {work:,} multiplications, more than {MOST_MULTIPLICATIONS:,}"
    return None


def unknown_in(spec: schema.ExperimentSpec) -> str | None:
    """What a spec holds that the C++ code does not know; None where it knows all."""
    regularizers = [getattr(layer, "kernel_regularizer", None) for layer in spec.layers]
    parts = (spec, *spec.layers, *filter(None, regularizers), spec.loss, spec.optimizer)
    return next((unknown for part in parts if (unknown := _unknown(part)) is not None), None)


def _unknown(part: schema.Config) -> str | None:
    """What a part of a spec holds that the C++ code does not know."""
    kind = getattr(part, "kind", None)
    if type(part) not in _KNOWN:
        return f"`{kind}`"
    for name, field in type(part).model_fields.items():
        default = field.get_default(call_default_factory=True)
        if name not in _KNOWN[type(part)] and getattr(part, name) != default:
            return f"`{name}`" if kind is None else f"`{name}` of `{kind}`"
    return None


def _multiplications(spec: schema.ExperimentSpec, problem: TrainingProblem) -> int:
    """Of one row, forward, by layers that meet dense rows."""
    units = [layer.units for layer in spec.layers if isinstance(layer, schema.Dense)]
    inputs = [problem.inputs.elements_per_row if problem.inputs.dense else 0, *units]
    return sum(a * b for a, b in zip(inputs, units, strict=False))


@dataclass(frozen=True, eq=False)
class _Matrix:
    """Sparse rows as C++ reads them; a row's columns may stand in any order."""

    row_starts: Tensor
    columns: Tensor
    values: Tensor | None

    @classmethod
    def of(cls, inputs: Any) -> _Matrix:
        """That of `nnrun.model.inputs.SparseInputs`; nothing is copied that has the right type."""
        matrix = inputs.matrix
        return cls(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(matrix.indices, dtype=np.int32)),
            None
            if inputs.all_ones
            else torch.from_numpy(np.ascontiguousarray(matrix.data, dtype=np.float32)),
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of some replicas, as C++ takes them.

    Attributes:
        places: the replicas, by their place among all.
        data_index: where their data stand in the problem's inputs and targets.
        numbers: (G, n) row numbers; of sparse rows, those in the matrix.
        inputs: (G, n, F), or None where rows are sparse.
        unscaled_targets: (G, n, K) or (G, n), in their own units.
        smoothed: the targets that the loss is computed with.
        weights: (G, n), or None.
    """

    places: tuple[int, ...]
    data_index: list[int]
    numbers: Tensor
    inputs: Tensor | None
    unscaled_targets: Tensor
    smoothed: Tensor
    weights: Tensor | None


class NativeEngine(EagerEngine):
    """As `EagerEngine`, with the steps of a segment made in C++, and rows measured there.

    Replicas are computed one by one, so that what one of them computes does not depend on the others.

    Args:
        problem: what is learned; without an `obstacle`.
        parameters: stacked first weights.
        library: from `nnrun.training.backends.native_library`.
    """

    def __init__(
        self, problem: TrainingProblem, parameters: Mapping[str, Tensor], library: ctypes.CDLL
    ) -> None:
        # C++ takes the replicas one by one, each parameter of a replica in one piece.
        super().__init__(problem, parameters, joined=False)
        assert problem.spec is not None, "an obstacle otherwise"
        self._spec = problem.spec
        kind, idle_decay = (
            native_job.OPTIMIZERS.index(problem.spec.optimizer.kind),
            problem.optimizer.idle_decay,
        )
        self._rule = native_job.OptimizerConfig(
            kind=kind, idle_decay=1.0 if idle_decay is None else idle_decay
        )
        native_job.fill(self._rule, problem.spec.optimizer)
        self._matrix = None if problem.inputs.dense else _Matrix.of(problem.inputs)
        self._measured: tuple[list[RowIndices], list[_Rows]] | None = None
        job = ctypes.POINTER(native_job.Job)
        self._train, self._measure = library.train, library.measure
        self._train.argtypes = [job, ctypes.c_int64, ctypes.c_int64, ctypes.c_double]
        self._train.restype = ctypes.c_int64
        self._measure.argtypes, self._measure.restype = [job, ctypes.c_int64, ctypes.c_int64], ctypes.c_double

    def _train_segment(
        self, segment: Segment, state: TrainState, rng: Any, accumulator: MetricAccumulator
    ) -> None:
        rows = self._rows(segment, training=True)
        replicas, count = rows.numbers.shape
        losses = torch.empty(replicas, segment.steps)
        logits = torch.empty(replicas, count, self._problem.network.outputs)
        job = self._job(rows, state, rng, segment.batch_size, logits)
        job.first_row, job.losses = segment.first_row, address(losses)
        for replica in range(replicas):
            step = 0
            while step < segment.steps:
                stop_if_asked()
                step = self._train(job, replica, step, _SECONDS_A_CALL)
        scored = self._problem.scored(rows.data_index, logits, rows.unscaled_targets)
        accumulator.add(rows.places, losses, segment.batch_size, scored)

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        """Loss and metrics over each replica's rows; changes nothing."""
        accumulator = MetricAccumulator(self._problem.metrics, len(rows))
        for block in self._measured_rows(rows):
            replicas, count = block.numbers.shape
            logits = torch.empty(replicas, count, self._problem.network.outputs)
            job = self._job(block, self._state, None, _MEASURED_AT_ONCE, logits)
            losses = []
            for place, number in enumerate(block.places):
                stop_if_asked()
                losses.append(self._measure(job, number, place))
            accumulator.add(
                block.places,
                torch.tensor(losses, dtype=torch.float64)[:, None],
                count,
                self._problem.scored(block.data_index, logits, block.unscaled_targets),
            )
        return accumulator.phase()

    def select_replicas(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        super().select_replicas(places)
        self._measured = None

    # --- rows ----------------------------------------------------------------------------------------------

    def _rows(self, segment: Segment, *, training: bool) -> _Rows:
        problem, numbers = self._problem, np.ascontiguousarray(segment.rows_GN)
        data_index = [self._data_index[place] for place in segment.places]
        inputs = None
        if self._matrix is None:
            (inputs,) = problem.inputs.batches(data_index, numbers, numbers.shape[1])
            inputs = inputs.contiguous()
        targets = problem.targets_of(data_index, numbers).contiguous()
        weights = problem.weights_of(data_index, numbers, training=training)
        if self._matrix is not None:
            inputs_of_task: Any = problem.inputs
            numbers = np.ascontiguousarray(inputs_of_task.rows_in_matrix(data_index, numbers))
        return _Rows(
            places=segment.places,
            data_index=data_index,
            numbers=torch.from_numpy(numbers),
            inputs=inputs,
            unscaled_targets=problem.unscaled_targets_of(data_index, segment.rows_GN, targets),
            smoothed=_smoothed(targets, self._spec.loss),
            weights=None if weights is None else weights.contiguous(),
        )

    def _measured_rows(self, rows: Sequence[RowIndices]) -> list[_Rows] | Any:
        """The rows block by block; gathered once where they fit into one block."""
        at_once = self._problem.rows_at_once
        blocks = (self._rows(part, training=False) for part in segments(rows, at_once, rows_at_once=at_once))
        if max(map(len, rows)) > at_once:
            return blocks
        known = self._measured
        if (
            known is None
            or len(rows) != len(known[0])
            or any(a is not b for a, b in zip(rows, known[0], strict=True))
        ):
            known = self._measured = (list(rows), list(blocks))
        return known[1]

    # --- what C++ is given ---------------------------------------------------------------------------------

    def _job(self, rows: _Rows, state: TrainState, rng: Any, batch: int, logits: Tensor) -> native_job.Job:
        classes = rows.smoothed.dtype == torch.int64
        replicas = len(state.steps_R)
        rates = state.rates_of_each(self._problem.optimizer.learning_rate)
        strengths = self._strengths(state, replicas)
        layers = self._layers(state, rng, strengths)
        job = native_job.Job(
            count=rows.numbers.shape[1],
            batch=batch,
            layers=len(layers),
            layer=layers,
            rule=ctypes.pointer(self._rule),
            inputs=address(rows.inputs),
            targets=None if classes else address(rows.smoothed),
            classes=address(rows.smoothed) if classes else None,
            weights=address(rows.weights),
            rates=address(rates),
            updates=address(state.steps_R),
            logits=address(logits),
            loss=native_job.LOSSES.index(self._spec.loss.kind),
        )
        if self._matrix is not None:
            job.rows, job.values = address(rows.numbers), address(self._matrix.values)
            job.row_starts, job.columns = address(self._matrix.row_starts), address(self._matrix.columns)
        native_job.fill(job, self._spec.loss)
        job.kept = (rates, strengths)  # as long as the job, which holds their addresses
        return job

    def _strengths(self, state: TrainState, replicas: int) -> dict[str, Tensor]:
        """Name → (R,) the strengths of the regularizers that are there, the replicas' own or the spec's."""
        found = {}
        for position, spec in enumerate(self._spec.layers):
            regularizer = getattr(spec, "kernel_regularizer", None)
            for kind in ("l1", "l2"):
                name, strength = f"{position}.{kind}", getattr(regularizer, kind, 0.0)
                if name in state.own:
                    found[name] = state.own[name].contiguous()
                elif strength:
                    found[name] = torch.full((replicas,), strength)
        return found

    def _layers(
        self, state: TrainState, rng: Any, strengths: Mapping[str, Tensor]
    ) -> ctypes.Array[native_job.Layer]:
        layers = (native_job.Layer * len(self._spec.layers))()
        width = state.parameters[next(iter(state.parameters))].shape[1]
        for position, (layer, spec) in enumerate(zip(layers, self._spec.layers, strict=True)):
            layer.inputs, layer.kind = width, native_job.KINDS.index(spec.kind)
            if isinstance(spec, schema.Dropout):
                layer.keys = None if rng is None else address(rng.keys[position])
                layer.rate, layer.scale = spec.rate, 1.0 / (1.0 - spec.rate)
            else:
                assert isinstance(spec, schema.Dense), "an obstacle otherwise"
                width, kernel = spec.units, f"{position}.weight"
                layer.activation = native_job.ACTIVATIONS.index(spec.activation)
                layer.kernel = native_job.parameter_of(state, kernel)
                if spec.use_bias:
                    layer.bias = native_job.parameter_of(state, f"{position}.bias")
                l1, l2 = strengths.get(f"{position}.l1"), strengths.get(f"{position}.l2")
                layer.l1, layer.l2 = address(l1), address(l2)
                if l1 is None and l2 is None:  # a penalty leaves no row as it is
                    layer.seen = address(state.seen.get(kernel))
            layer.units = width
        return layers


def _smoothed(targets: Tensor, loss: schema.Component) -> Tensor:
    """The targets that a cross-entropy with label smoothing is computed with, as losses.py has them."""
    if not isinstance(loss, (schema.BinaryCrossentropy, schema.CategoricalCrossentropy)):
        return targets
    smoothing = loss.label_smoothing
    if not smoothing:
        return targets
    classes = 2 if isinstance(loss, schema.BinaryCrossentropy) else targets.shape[-1]
    return targets * (1 - smoothing) + smoothing / classes
