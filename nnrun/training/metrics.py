"""Metrics by their spec names.

A metric of an epoch is computed from statistics of its rows that are joined batch by batch, so that it does
not matter how the rows were batched, and a short last batch counts for its rows. What the numbers mean
follows Keras 3 and scikit-learn; ranking metrics are exact and need the scores of all rows.

Where a sigmoid or softmax ends the network, whatever ranks or decides takes the values before it: the
probabilities of large ones round to 0 or 1, and what was ordered is tied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnrun.errors import NnrunError
from nnrun.lazy_torch import torch
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault
from nnrun.spec.ports import Port, named
from nnrun.spec.score_columns import metric_column
from nnrun.training.class_metrics import CLASS_METRICS
from nnrun.training.metric_types import Metric, Scored
from nnrun.training.number_metrics import NUMBER_METRICS
from nnrun.training.sequence_metrics import SEQUENCE_METRICS

if TYPE_CHECKING:
    from torch import Tensor


def _custom(spec: schema.CustomMetric, activation: str) -> Metric:
    """A user's function of all rows of one network (`nnrun.spec.custom_objects` says what it must be)."""
    function = custom_object(spec)
    name = metric_column(spec)
    _refuse_two_directions(spec, name, getattr(function, "maximize", None))

    def from_rows(outputs_NK: np.ndarray, targets: np.ndarray) -> float:
        try:
            value = function(torch.from_numpy(targets), torch.from_numpy(outputs_NK), **spec.parameters)
        except Exception as error:
            raise own_fault(spec.object, error) from error
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            found = (
                f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            )
            raise NnrunError(
                f"The custom metric {spec.object} returned {found}; it must return one number."
            ) from None

    return Metric(name, from_rows=from_rows)


def _refuse_two_directions(spec: schema.CustomMetric, name: str, wanted: Any) -> None:
    """Raise NnrunError where the function's attribute `maximize` and the spec do not agree."""
    if wanted is None:
        return
    advice = f"Add maximize: {'true' if wanted else 'false'} to the metric in the spec."
    if spec.maximize is not None and bool(wanted) != spec.maximize:
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the spec says otherwise. "
            + advice
        )
    if spec.maximize is None and bool(wanted) != name.endswith("_score"):
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the name {name!r} implies "
            f"otherwise: by default, higher is better only for a name that ends in _score. " + advice
        )


METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
    **CLASS_METRICS,
    **NUMBER_METRICS,
    **SEQUENCE_METRICS,
    schema.CustomMetric: _custom,
}


def build_metrics(
    specs: Sequence[schema.Component], activation: str, quantiles: Sequence[float] = ()
) -> tuple[Metric, ...]:
    """The metrics that a spec names, for a network whose outputs come from `activation`.

    Where the outputs are several `quantiles` of one number, a metric takes one of them: the median, or the
    quantile that it is of.

    Raises:
        UsageError: one is custom code that may not be run, or that is not there.
    """
    metrics = (METRICS[type(spec)](spec, activation) for spec in specs)
    if not quantiles:
        return tuple(metrics)
    places = (quantiles.index(schema.quantile_of_metric(spec)) for spec in specs)
    return tuple(_of_output(metric, place) for metric, place in zip(metrics, places, strict=True))


def _of_output(metric: Metric, place: int) -> Metric:
    """The same of one output and its target."""
    own = slice(place, place + 1)
    statistics, from_rows = metric.statistics, metric.from_rows
    return replace(
        metric,
        statistics=statistics and (lambda values, targets: statistics(values[..., own], targets[..., own])),
        from_rows=from_rows and (lambda values, targets: from_rows(values[:, own], targets[:, own])),
    )


class MetricTotals:
    """Statistics of several metrics over the rows of one phase of one epoch, for some replicas."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self.metrics = metrics
        self.rows = np.zeros(replicas, dtype=np.int64)
        self._statistics: list[tuple[tuple[int, ...], Mapping[str, Tensor]]] = []
        self._values: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(replicas)]
        self._needs_rows = any(metric.from_rows for metric in metrics)

    def add(self, replicas: Sequence[int], scored: Scored) -> None:
        """Count one batch, of the replicas at these places.

        Statistics stay on their device until `values` asks for them, so that a GPU need not be waited for.
        """
        if not scored.logits.shape[1]:
            return
        for g, place in enumerate(replicas):
            self.rows[place] += scored.logits.shape[1]
            if self._needs_rows:
                self._values[place].append((scored.logits[g], scored.outputs[g], scored.targets[g]))
        found = {
            m.name: m.statistics(scored.logits if m.of_logits else scored.outputs, scored.targets)
            for m in self.metrics
            if m.statistics is not None
        }
        self._statistics.append((tuple(replicas), found))

    def values(self, place: int) -> dict[str, float]:
        """Metric → value, for the replica at `place`; NaN where it had no rows."""
        if not self.rows[place]:
            return dict.fromkeys((metric.name for metric in self.metrics), math.nan)
        result = {}
        for metric in self.metrics:
            if metric.from_rows is not None:
                logits, outputs, targets = (
                    np.concatenate([part.cpu().numpy() for part in parts])
                    for parts in zip(*self._values[place], strict=True)
                )
                result[metric.name] = metric.from_rows(logits if metric.of_logits else outputs, targets)
            else:
                own = [
                    found[metric.name][of.index(place)].cpu().numpy()
                    for of, found in self._statistics
                    if place in of
                ]
                result[metric.name] = metric.value(reduce(metric.join, own), int(self.rows[place]))
        return result


Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over some rows by R replicas.

    Attributes:
        losses: the total loss of each replica.
        metrics: name → value, one map for each replica; of named heads each one's loss and
            metrics, whose names begin with the head's.
        first_bad_batch: for each replica the first batch (from 1) whose loss is not finite, or None.
        heads: the named heads; empty where the only one has no name.
    """

    losses: tuple[float, ...]
    metrics: tuple[Mapping[str, float], ...]
    first_bad_batch: tuple[int | None, ...]
    heads: tuple[Port, ...] = ()

    def columns(self, replica: int, prefix: str = "") -> dict[str, float]:
        """The loss and the metrics of one replica, in the history's order."""
        own = {"loss": self.losses[replica], **self.metrics[replica]}
        return {f"{prefix}{name}": value for name, value in own.items()}


class _MeanLosses:
    """Sums of the losses of batches, each weighted by its rows."""

    def __init__(self, replicas: int) -> None:
        self.sums, self.rows = np.zeros(replicas), np.zeros(replicas, dtype=np.int64)

    def add(self, replica: int, losses_S: Losses, rows_S: int | Losses) -> None:
        """The mean losses of S batches of so many rows each."""
        if isinstance(rows_S, int):
            self.sums[replica] += losses_S.sum() * rows_S
            self.rows[replica] += len(losses_S) * rows_S
        else:
            self.sums[replica] += losses_S @ rows_S
            self.rows[replica] += rows_S.sum()

    def mean(self, replica: int) -> float:
        """NaN of no rows."""
        rows = self.rows[replica]
        return float(self.sums[replica] / rows) if rows else math.nan


class MetricAccumulator:
    """Sums losses and metric statistics over the segments of a pass.

    Args:
        metrics: those of each head.
        replicas: R.
        loss_weights: what each head's loss counts in the total.
    """

    def __init__(
        self, metrics: Mapping[Port, Sequence[Metric]], replicas: int, loss_weights: Mapping[Port, float]
    ) -> None:
        self._totals = {port: MetricTotals(own, replicas) for port, own in metrics.items()}
        self._added: list[_Added] = []
        self._replicas, self._loss_weights = replicas, loss_weights

    def add(
        self,
        replicas: Sequence[int],
        losses_GS: Mapping[str, Tensor],
        batch_size: int,
        scored: Mapping[Port, Sequence[tuple[Sequence[int], Scored]]],
        with_target_GS: Mapping[Port, Tensor],
    ) -> None:
        """Add S batches of `batch_size` rows of G replicas.

        Args:
            replicas: which of the R replicas.
            losses_GS: name → the mean loss of each batch; the total comes first.
            batch_size: rows of a batch.
            scored: for each head all S * batch_size rows, as `TrainingProblem.scored` gives them.
            with_target_GS: for each head whose target some rows lack, how many rows of each batch have one.
        """
        self._added.append(_Added(tuple(replicas), losses_GS, batch_size, with_target_GS))
        for port, parts in scored.items():
            for of, rows in parts:
                self._totals[port].add(of, rows)

    def result(self) -> EpochMetrics:
        """The means over all rows that were added; those of a head over the rows that have its target.

        The total is the sum of the heads' means, and of what regularizers add: where batches differ in how
        many of their rows have a target, that is not the mean of the batches' totals.
        """
        total, *others = self._added[0].losses_GS
        first_bad: list[int | None] = [None] * self._replicas
        batches = np.zeros(self._replicas, dtype=np.int64)
        means = {name: _MeanLosses(self._replicas) for name in (total, *others)}
        of_all_rows = {port: _MeanLosses(self._replicas) for port in self._added[0].with_target_GS}
        for added in self._added:  # the only place that waits for a GPU
            host = {name: values.double().cpu().numpy() for name, values in added.losses_GS.items()}
            counts = {port: rows.cpu().numpy() for port, rows in added.with_target_GS.items()}
            for g, replica in enumerate(added.replicas):
                bad = np.flatnonzero(~np.isfinite(host[total][g]))
                if first_bad[replica] is None and len(bad):
                    first_bad[replica] = int(batches[replica] + bad[0] + 1)
                batches[replica] += len(host[total][g])
                for port in counts:
                    of_all_rows[port].add(replica, host[f"{port}_{total}"][g], added.batch_size)
                for name, losses in host.items():
                    own = counts.get(name.removesuffix(f"_{total}"))
                    means[name].add(replica, losses[g], added.batch_size if own is None else own[g])
        losses_R = []
        for replica in range(self._replicas):
            loss = means[total].mean(replica)
            for port, of_all in of_all_rows.items():
                own_loss = means[f"{port}_{total}"].mean(replica)
                apart = 0.0 if math.isnan(own_loss) else own_loss - of_all.mean(replica)
                loss += self._loss_weights[port] * apart
            losses_R.append(loss)
        metrics = tuple(self._metrics_of(replica, total, means) for replica in range(self._replicas))
        heads = tuple(self._totals) if named(self._totals) else ()
        return EpochMetrics(tuple(losses_R), metrics, tuple(first_bad), heads)

    def _metrics_of(self, replica: int, total: str, means: Mapping[str, _MeanLosses]) -> dict[str, float]:
        own: dict[str, float] = {}
        several = named(self._totals)
        for port, totals in self._totals.items():
            prefix = f"{port}_" if several else ""
            if several:
                own[f"{prefix}{total}"] = means[f"{prefix}{total}"].mean(replica)
            own |= {f"{prefix}{name}": value for name, value in totals.values(replica).items()}
        return own


@dataclass(frozen=True)
class _Added:
    """What `MetricAccumulator.add` was given, still on its device."""

    replicas: tuple[int, ...]
    losses_GS: Mapping[str, Tensor]
    batch_size: int
    with_target_GS: Mapping[Port, Tensor]
