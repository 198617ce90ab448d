"""Loss and metrics of one pass over some rows, weighted by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nnrun.spec.ports import OUTPUT, Port
from nnrun.training.metric_types import Metric, Scored
from nnrun.training.metrics import MetricTotals


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over some rows by R replicas.

    Attributes:
        losses: the total loss of each replica.
        metrics: name → value, one map for each replica; of named heads each one's loss and
            metrics, whose names begin with the head's.
        first_bad_batch: for each replica the first batch (from 1) whose loss is not finite, or None.
    """

    losses: tuple[float, ...]
    metrics: tuple[Mapping[str, float], ...]
    first_bad_batch: tuple[int | None, ...]

    def columns(self, replica: int, prefix: str = "") -> dict[str, float]:
        """The loss and the metrics of one replica, in the history's order."""
        named = {"loss": self.losses[replica], **self.metrics[replica]}
        return {f"{prefix}{name}": value for name, value in named.items()}


class MetricAccumulator:
    """Sums losses and metric statistics over the segments of a pass.

    Args:
        metrics: those of each head.
        replicas: R.
    """

    def __init__(self, metrics: Mapping[Port, Sequence[Metric]], replicas: int) -> None:
        self._totals = {port: MetricTotals(own, replicas) for port, own in metrics.items()}
        self._losses: list[tuple[tuple[int, ...], Mapping[str, Tensor], int]] = []
        self._replicas = replicas

    def add(
        self,
        replicas: Sequence[int],
        losses_GS: Mapping[str, Tensor],
        batch_size: int,
        scored: Mapping[Port, Sequence[tuple[Sequence[int], Scored]]],
    ) -> None:
        """Add S batches of `batch_size` rows of G replicas.

        Args:
            replicas: which of the R replicas.
            losses_GS: name → the mean loss of each batch; the total comes first.
            batch_size: rows of a batch.
            scored: for each head all S * batch_size rows, as `TrainingProblem.scored` gives them.
        """
        self._losses.append((tuple(replicas), losses_GS, batch_size))
        for port, parts in scored.items():
            for of, rows in parts:
                self._totals[port].add(of, rows)

    def result(self) -> EpochMetrics:
        """The means over all rows that were added."""
        total, *others = self._losses[0][1]
        several = list(self._totals) != [OUTPUT]
        first_bad: list[int | None] = [None] * self._replicas
        batches = np.zeros(self._replicas, dtype=np.int64)
        rows = np.zeros(self._replicas, dtype=np.int64)
        weighted = {name: np.zeros(self._replicas) for name in (total, *others)}
        for replicas, losses_GS, batch_size in self._losses:  # the only place that waits for a GPU
            host = {name: values.double().cpu().numpy() for name, values in losses_GS.items()}
            for g, replica in enumerate(replicas):
                bad = np.flatnonzero(~np.isfinite(host[total][g]))
                if first_bad[replica] is None and len(bad):
                    first_bad[replica] = int(batches[replica] + bad[0] + 1)
                batches[replica] += len(host[total][g])
                rows[replica] += len(host[total][g]) * batch_size
                for name, losses in host.items():
                    weighted[name][replica] += losses[g].sum() * batch_size
        metrics = []
        for replica in range(self._replicas):
            own: dict[str, float] = {}
            for port, totals in self._totals.items():
                prefix = f"{port}_" if several else ""
                if several:
                    loss = f"{prefix}{total}"
                    own[loss] = float(weighted[loss][replica] / rows[replica])
                own |= {f"{prefix}{name}": value for name, value in totals.values(replica).items()}
            metrics.append(own)
        means = tuple(float(weighted[total][r] / rows[r]) for r in range(self._replicas))
        return EpochMetrics(means, tuple(metrics), tuple(first_bad))
