"""Loss and metrics of one pass over some rows, weighted by rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnrun.spec.ports import OUTPUT, Port
from nnrun.training.metric_types import Metric, Scored
from nnrun.training.metrics import MetricTotals

if TYPE_CHECKING:
    from torch import Tensor

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
        named = {"loss": self.losses[replica], **self.metrics[replica]}
        return {f"{prefix}{name}": value for name, value in named.items()}


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
        heads = () if list(self._totals) == [OUTPUT] else tuple(self._totals)
        return EpochMetrics(tuple(losses_R), metrics, tuple(first_bad), heads)

    def _metrics_of(self, replica: int, total: str, means: Mapping[str, _MeanLosses]) -> dict[str, float]:
        own: dict[str, float] = {}
        several = list(self._totals) != [OUTPUT]
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
