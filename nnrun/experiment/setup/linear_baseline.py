"""What a linear model scores that is fitted to the rows which the network trains on, after preprocessing.

It stands beside the best constant: what the network scores above it is what its hidden layers add.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.data import FittedPreprocessing
from nnrun.experiment.setup.baseline import mean_of, of_all_heads
from nnrun.experiment.setup.linear_fit import (
    MOST_ITERATIONS,
    Floats,
    LinearModel,
    TooSlow,
    fit_logistic,
    fit_ridge,
    seconds_of_logistic,
    seconds_of_ridge,
)
from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import SparseInputs, dense
from nnrun.model.layers import DenseLayer
from nnrun.model.network import Network
from nnrun.records.run_record import LinearBaselineRecord
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.ports import Port, named, output_views
from nnrun.spec.wording import listing, quoted
from nnrun.training.metric_types import Scored
from nnrun.training.metrics import MetricTotals
from nnrun.training.objective import mean_loss
from nnrun.training.problem import Head, Rows, TargetRows, TrainingProblem

if TYPE_CHECKING:
    from torch import Tensor

ScoreAverage = Callable[[Sequence[Mapping[Port, Floats]]], dict[str, float]]

MOST_SECONDS = 0.5
"""How long all fits of a run may take with `linear_baseline: auto`, by an estimate from the sizes."""

NOT_SIDE_BY_SIDE = (
    "the rows of all networks do not fit into memory together; linear_baseline: true in the spec fits it"
)

_SECONDS_AT_ALL = 60.0  # measured: whatever the estimate says
_MOST_NUMBERS = 200_000_000  # that are held at a time as float64: 1.6 GB
_LARGE_INPUT = 10.0  # a column whose root mean square is above this is not scaled

_NAMES = {"ridge": "ridge regression (alpha = 1)", "logistic": "logistic regression (L2, C = 1)"}


@dataclass(frozen=True, eq=False)
class RowsOfProblem:
    """Some rows of one replica's data: `replica` is its index in the problem."""

    problem: TrainingProblem
    replica: int
    rows: RowIndices

    def targets(self, port: Port, *, training: bool) -> TargetRows:
        """Of one output, (1, n, ...), with the weights of classes where `training`."""
        head = self.problem.heads[port]
        return head.gather([self.replica], self.rows[None], training=training)

    def matrix(self) -> Any:
        """(n, F) float64 numbers of all inputs side by side; SciPy's CSR where one is sparse."""
        parts = [_matrix(each, self.replica, self.rows) for each in self.problem.inputs.values()]
        if all(isinstance(part, np.ndarray) for part in parts):
            return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if len(parts) == 1:
            return parts[0]
        from scipy.sparse import hstack

        return hstack(parts, format="csr")


@dataclass(frozen=True, eq=False)
class LinearTask:
    """One fold or seed: the rows that the model is fitted to, and those that it is scored on."""

    known: RowsOfProblem
    scored: RowsOfProblem

    @property
    def size(self) -> _Size:
        """Of the rows that the model is fitted to."""
        inputs, rows = self.known.problem.inputs.values(), len(self.known.rows)
        return _Size(
            rows,
            sum(each.features for each in inputs),
            rows * sum(each.elements_per_row for each in inputs),
            any(not each.dense for each in inputs),
        )

    @property
    def on_training_rows(self) -> bool:
        """Whether these are the same; then the weights of classes count, as in the loss of training."""
        return self.known is self.scored


@dataclass(frozen=True)
class _Size:
    """Of the training rows of one fold or seed; `values` are the numbers that are kept of them.

    Those of sparse inputs are not `counted` before the rows are prepared: what they take comes on top.
    """

    rows: int
    features: int
    values: int
    sparse: bool = False
    counted: bool = True


def why_left_out(
    spec: schema.ExperimentSpec, network: Network, fitted: FittedPreprocessing, train_rows: Sequence[int]
) -> str:
    """Why no linear model is fitted, as far as is known before rows are prepared; empty where one may be.

    Args:
        spec: the experiment.
        network: its network.
        fitted: the preprocessing of one fold or seed.
        train_rows: how many rows each fold or seed trains on.
    """
    views = output_views(spec)
    reasons = {port: _unsuitable(view, network.output_layers[port]) for port, view in views.items()}
    if why := _unsuitable_inputs(fitted) or _told(reasons):
        return why
    dense_numbers = sum(0 if each.sparse else each.width for each in fitted.inputs.values())
    features = sum(each.width for each in fitted.inputs.values())
    outputs = {port: layer.units for port, layer in network.output_layers.items()}
    counted = not any(each.sparse for each in fitted.inputs.values())
    sizes = [_Size(rows, features, rows * dense_numbers, counted=counted) for rows in train_rows]
    return _too_large(spec, sizes, outputs)


def linear_baseline(
    spec: schema.ExperimentSpec, tasks: Sequence[LinearTask], score_average: ScoreAverage | None = None
) -> LinearBaselineRecord:
    """The mean scores over folds or seeds of the linear models, or why there are none.

    Whether it is fitted follows from the spec and the sizes of the data, never from the clock, but for one
    that takes a minute: it is left out, and the record says so.

    Args:
        spec: the experiment.
        tasks: of each fold or seed.
        score_average: of models that are scored on the same rows what they score as one, by the outputs of
            each; None for the mean of their scores.
    """
    heads = tasks[0].known.problem.heads
    models = _models(spec)
    outputs = {port: head.num_outputs for port, head in heads.items()}
    if why := _too_large(spec, [task.size for task in tasks], outputs):
        return LinearBaselineRecord(left_out=why)
    began, unscaled, converged = time.perf_counter(), False, True
    scores, outputs_of_each = list[dict[str, float]](), list[dict[Port, Floats]]()
    for task in tasks:
        try:
            fit = fit_linear_models(task, models, _SECONDS_AT_ALL - (time.perf_counter() - began))
        except TooSlow:
            return LinearBaselineRecord(left_out=f"it was not fitted within {_SECONDS_AT_ALL:g} s")
        if isinstance(fit, str):
            return LinearBaselineRecord(left_out=fit)
        if score_average is None:
            scores.append(of_all_heads(heads, _scores(task, fit.models)))
        else:
            outputs_of_each.append(_outputs(task, fit.models))
        unscaled, converged = unscaled or fit.unscaled, converged and fit.converged
    name = listing(list(dict.fromkeys(_NAMES[model] for model in models.values())), "and")
    if not converged:
        name += f", stopped after {MOST_ITERATIONS} iterations"
    if score_average is not None:
        name = f"the average of {len(tasks)} models of {name}"
        averaged = score_average(outputs_of_each)
        return LinearBaselineRecord(model=name, scores=averaged, unscaled=unscaled)
    if any(own.keys() != scores[0].keys() for own in scores):
        return LinearBaselineRecord(left_out="some folds have no row with a target")
    return LinearBaselineRecord(model=name, scores=mean_of(scores), unscaled=unscaled)


def _models(spec: schema.ExperimentSpec) -> dict[Port, str]:
    """For each output which model, by the keys of `_NAMES`."""
    return {port: str(schema.linear_model_of(view.own_loss)) for port, view in output_views(spec).items()}


def _unsuitable(view: schema.ExperimentSpec, layer: DenseLayer) -> str:
    """Why an output cannot be compared with a linear model; empty where it can."""
    if len(layer.output_shape) > 1 or isinstance(view.own_loss, schema.Ctc):
        return "a linear model predicts one target for each row, no sequence"
    model, loss = schema.linear_model_of(view.own_loss), view.own_loss.kind
    if model is None:
        return f"there is none for the loss {loss}"
    last = layer.activation
    suits = last in ("sigmoid", "softmax") if model == "logistic" else last == "linear"
    return "" if suits else f"there is none for the loss {loss} after the activation {last}"


def why_not_linear(fitted: FittedPreprocessing, rows: int) -> str:
    """Why no linear model can be fitted to so many rows of these inputs; empty where one can."""
    features = sum(each.width for each in fitted.inputs.values())
    if rows * features > _MOST_NUMBERS:
        return f"{rows:,} rows of {features:,} features are too many"
    return _unsuitable_inputs(fitted)


def _told(reasons: Mapping[Port, str]) -> str:
    """The first reason, with the name of its output."""
    for port, why in reasons.items():
        if why:
            return f"output {quoted(port)}: {why}" if named(reasons) else why
    return ""


def _unsuitable_inputs(fitted: FittedPreprocessing) -> str:
    for port, each in fitted.inputs.items():
        if each.tokens is not None and not each.sparse:
            which = f"input {quoted(port)}" if named(fitted.inputs) else "the input"
            return f"{which} is rows of indices, which only an embedding can read"
    return ""


def _too_large(spec: schema.ExperimentSpec, sizes: Sequence[_Size], outputs: Mapping[Port, int]) -> str:
    """That the fits would take too long or too much memory; empty where they would not."""
    seconds = 0.0
    for size in sizes:
        rows, features = size.rows, size.features
        for port, model in _models(spec).items():
            if size.values > _MOST_NUMBERS or (model == "ridge" and rows * features > _MOST_NUMBERS):
                return f"{rows:,} rows of {features:,} features are too many"
            seconds += (
                seconds_of_ridge(rows, features)
                if model == "ridge"
                else seconds_of_logistic(rows, features, size.values, outputs[port], sparse=size.sparse)
            )
    if spec.linear_baseline is True or seconds <= MOST_SECONDS:
        return ""
    about = "about" if all(size.counted for size in sizes) else "more than"
    return f"it would take {about} {seconds:.1g} s; linear_baseline: true in the spec fits it"


@dataclass(frozen=True, eq=False)
class LinearFit:
    """The linear model of each output, and whether a column of the inputs is far from the unit scale."""

    models: Mapping[Port, LinearModel]
    unscaled: bool

    @property
    def converged(self) -> bool:
        """Whether no fit ended at its limit of iterations."""
        return all(model.converged for model in self.models.values())


def fit_linear_models(task: LinearTask, models: Mapping[Port, str], seconds: float) -> LinearFit | str:
    """The models of one fold; or why there are none.

    Args:
        task: its rows.
        models: for each output which, `ridge` or `logistic`.
        seconds: how long a logistic regression may take.

    Raises:
        TooSlow: it took longer.
    """
    x, found = task.known.matrix(), {}
    numbers = x if isinstance(x, np.ndarray) else x.data
    if not np.isfinite(numbers).all():
        return "some inputs are no finite numbers"
    squares = (x * x).mean(axis=0)
    unscaled = bool(np.max(squares, initial=0.0) > _LARGE_INPUT**2)
    for port, model in models.items():
        head, known = task.known.problem.heads[port], task.known.targets(port, training=task.on_training_rows)
        own_x = x if known.present is None else x[known.present[0].cpu().numpy()]
        known = known.with_target()
        if not len(known):
            return "some folds have no row with a target"
        y_NK, weights = _numbers(known, head.num_outputs), _weights(known)
        if model == "ridge":
            found[port] = fit_ridge(own_x, y_NK, weights)
        else:
            softmax = head.activation == "softmax"
            found[port] = fit_logistic(own_x, y_NK, weights, softmax=softmax, seconds=seconds)
    return LinearFit(found, unscaled)


def _scores(task: LinearTask, models: Mapping[Port, LinearModel]) -> dict[Port, dict[str, float]]:
    """Loss and metrics of each output on the scored rows."""
    x, found = task.scored.matrix(), {}
    for port, model in models.items():
        head = task.scored.problem.heads[port]
        rows = task.scored.targets(port, training=task.on_training_rows)
        own_x = x if rows.present is None else x[rows.present[0].cpu().numpy()]
        rows = rows.with_target()
        if len(rows):
            z = torch.from_numpy(model.outputs(own_x))[None].to(rows.targets.device)
            found[port] = _scores_of(head, z, rows, task.scored.replica)
        else:
            found[port] = {}
    return found


def _outputs(task: LinearTask, models: Mapping[Port, LinearModel]) -> dict[Port, Floats]:
    """(n, K) of each output and scored row, after the activation."""
    x, heads = task.scored.matrix(), task.scored.problem.heads
    with torch.inference_mode():
        return {
            port: ACTIVATIONS[heads[port].activation](torch.from_numpy(model.outputs(x))).numpy()
            for port, model in models.items()
        }


def _scores_of(head: Head, z_1NK: Tensor, rows: TargetRows, replica: int) -> dict[str, float]:
    with torch.inference_mode():
        z = z_1NK.float()
        outputs = ACTIVATIONS[head.activation](z)
        losses = head.loss(z, outputs, rows.targets).double()
        scores = {"loss": float(mean_loss(losses, rows.weights)[0])}
        if head.metrics:
            totals = MetricTotals(head.metrics, 1)
            totals.add([0], Scored(z, head.unscale(outputs, [replica]), rows.unscaled))
            scores |= totals.values(0)
    return scores


def _matrix(inputs: Rows, replica: int, rows: RowIndices) -> Any:
    """(n, F) float64 of one input."""
    if isinstance(inputs, SparseInputs):
        return inputs.matrix[inputs.rows_in_matrix([replica], rows[None])[0]].astype(np.float64)
    (batch,) = inputs.batches([replica], rows[None], max(1, len(rows)))
    return dense(batch)[0].cpu().numpy().reshape(len(rows), -1).astype(np.float64)


def _numbers(rows: TargetRows, outputs: int) -> Floats:
    """(n, K) of targets as the loss takes them; class indices become 0 and 1."""
    targets = rows.targets[0].cpu()
    if targets.dim() == 1 and outputs > 1:
        targets = torch.nn.functional.one_hot(targets.long(), outputs)
    y_NK: Floats = targets.double().numpy().reshape(len(rows), -1)
    return y_NK


def _weights(rows: TargetRows) -> Floats | None:
    """(n,) what each row counts; None where all count the same, or none counts."""
    if rows.weights is None:
        return None
    w_N: Floats = rows.weights[0].double().cpu().numpy()
    return w_N if math.isfinite(w_N.sum()) and w_N.sum() > 0 else None
