"""One pass over some rows: its loss and metrics, weighted by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nnrun.training.metrics import Metric, MetricTotals, Scored


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over some rows by some replicas: a loss and metrics for each.

    Attributes:
        losses: one for each replica.
        metrics: name → value, one map for each replica.
        first_bad_batch: for each replica the first batch (from 1) whose loss is not finite, or None.
    """

    losses: tuple[float, ...]
    metrics: tuple[Mapping[str, float], ...]
    first_bad_batch: tuple[int | None, ...]

    def columns(self, place: int, prefix: str = "") -> dict[str, float]:
        """The loss and the metrics of one replica, in the history's order."""
        named = {"loss": self.losses[place], **self.metrics[place]}
        return {f"{prefix}{name}": value for name, value in named.items()}


class MetricAccumulator:
    """Adds up the batches of a phase."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self._totals = MetricTotals(metrics, replicas)
        self._losses: list[tuple[tuple[int, ...], Tensor, int]] = []

    def add(self, places: Sequence[int], losses_GS: Tensor, batch_size: int, scored: Scored) -> None:
        """Count S batches of `batch_size` rows.

        Args:
            places: the replicas that made them, by their place among all.
            losses_GS: the mean loss of each batch.
            batch_size: rows of a batch.
            scored: all S * batch_size rows.
        """
        self._losses.append((tuple(places), losses_GS, batch_size))
        self._totals.add(places, scored)

    def phase(self) -> EpochMetrics:
        """The means over all rows that were counted."""
        replicas = len(self._totals.rows)
        weighted: npt.NDArray[np.float64] = np.zeros(replicas)
        batches = np.zeros(replicas, dtype=np.int64)
        first_bad: list[int | None] = [None] * replicas
        for places, losses_GS, batch_size in self._losses:  # a GPU is waited for here, once for a phase
            for place, losses in zip(places, losses_GS.double().cpu().numpy(), strict=True):
                bad = np.flatnonzero(~np.isfinite(losses))
                if first_bad[place] is None and len(bad):
                    first_bad[place] = int(batches[place] + bad[0] + 1)
                batches[place] += len(losses)
                weighted[place] += losses.sum() * batch_size
        return EpochMetrics(
            tuple(float(weighted[p] / self._totals.rows[p]) for p in range(replicas)),
            tuple(self._totals.values(p) for p in range(replicas)),
            tuple(first_bad),
        )
