"""One pass over some rows: its loss and metrics, weighted by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nnrun.training.metrics import Metric, MetricTotals


@dataclass(frozen=True)
class Phase:
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


class Tally:
    """Adds up the batches of a phase."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self._totals = MetricTotals(metrics, replicas)
        self._weighted: npt.NDArray[np.float64] = np.zeros(replicas)
        self._batches = np.zeros(replicas, dtype=np.int64)
        self._first_bad: list[int | None] = [None] * replicas

    def add(
        self, places: Sequence[int], losses_GS: Tensor, batch_size: int, outputs_GNK: Tensor, targets: Tensor
    ) -> None:
        """Count S batches of `batch_size` rows.

        Args:
            places: the replicas that made them, by their place among all.
            losses_GS: the mean loss of each batch.
            batch_size: rows of a batch.
            outputs_GNK, targets: of all S * batch_size rows.
        """
        values = losses_GS.double().cpu().numpy()
        for place, losses in zip(places, values, strict=True):
            bad = np.flatnonzero(~np.isfinite(losses))
            if self._first_bad[place] is None and len(bad):
                self._first_bad[place] = int(self._batches[place] + bad[0] + 1)
            self._batches[place] += len(losses)
            self._weighted[place] += losses.sum() * batch_size
        self._totals.add(places, outputs_GNK, targets)

    def phase(self) -> Phase:
        """The means over all rows that were counted."""
        replicas = range(len(self._weighted))
        return Phase(
            tuple(float(self._weighted[p] / self._totals.rows[p]) for p in replicas),
            tuple(self._totals.values(p) for p in replicas),
            tuple(self._first_bad),
        )
