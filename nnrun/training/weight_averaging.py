"""Averages of the weights beside those that are trained: which share the present weights have in them.

`ema` follows every optimizer step, so that a backend updates it (`TrainState.average`, or C++); `swa` takes
the weights at the ends of epochs, which the engine does. Validation and everything that is kept use the
average; the gradients are those of the trained weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

EMA_DECAY = "ema_decay"
"""The name of the replicas' decays, (R,) float64, in `TrainingProblem.per_replica`."""

_LEAST_STEPS = 50
_EPOCHS_AVERAGED = 2


@dataclass(frozen=True)
class WeightAveraging:
    """When averages of the weights are updated.

    Attributes:
        first_epoch: of `swa`, the first epoch whose weights count; None of `ema`, updated at every step.
        steps_per_update: optimizer steps that make one update, where gradients are accumulated.
    """

    first_epoch: int | None
    steps_per_update: int = 1

    @property
    def each_step(self) -> bool:
        """Whether every step updates the average."""
        return self.first_epoch is None

    def share_after_step(self, steps_R: Tensor, decays_R: Tensor) -> Tensor:
        """(R,) float64: the weights' share in `ema` after a replica's step; 0 where it updated nothing.

        Args:
            steps_R: float64, the steps made, the present one included.
            decays_R: the largest decay of each replica.
        """
        updates_R = torch.floor(steps_R / self.steps_per_update)
        share_R = 1 - torch.minimum(decays_R, (1 + updates_R) / (10 + updates_R))
        if self.steps_per_update == 1:
            return share_R
        return torch.where(steps_R % self.steps_per_update == 0, share_R, torch.zeros_like(share_R))

    def share_after_epoch(self, epoch: int) -> float:
        """The weights' share in `swa` after an epoch (from 1): all of it up to the first that counts."""
        assert self.first_epoch is not None, "ema follows the steps"
        return 1 / max(1, epoch - self.first_epoch + 1)


def build_averaging(spec: schema.ExperimentSpec) -> WeightAveraging | None:
    """What a spec's `weight_averaging` does; None where the trained weights are used."""
    match spec.weight_averaging:
        case None:
            return None
        case schema.Swa(start=start):
            return WeightAveraging(first_epoch=int(start))
        case schema.Ema():
            return WeightAveraging(None, _steps_per_update(spec))
    raise AssertionError(f"{spec.weight_averaging} has no function")


def ema_decay(spec: schema.ExperimentSpec, training_rows: int) -> float | None:
    """The largest decay of a network's `ema` that learns from so many rows; None without one."""
    averaging = spec.weight_averaging
    if not isinstance(averaging, schema.Ema):
        return None
    if averaging.decay is not None:
        return averaging.decay
    updates = math.ceil(training_rows / spec.batch_size) / _steps_per_update(spec)
    return 1 - 1 / max(_LEAST_STEPS, _EPOCHS_AVERAGED * updates)


def _steps_per_update(spec: schema.ExperimentSpec) -> int:
    return spec.optimizer.gradient_accumulation_steps or 1
