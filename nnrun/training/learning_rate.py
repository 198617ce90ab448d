"""The learning rate of one replica, epoch by epoch.

A rate holds for a whole epoch. It follows from the epoch's number and from the history before it, so that
what a replica trains at does not depend on what trains with it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nnrun.spec import schema
from nnrun.spec.score_columns import BestEpoch, BestRule


@dataclass
class Plateau:
    """Keras 3's `ReduceLROnPlateau`, for one replica; but a value that is not finite is not a plateau.

    Attributes:
        spec: what the spec asks for.
        maximize: whether larger is better.
        rate: the present learning rate.
    """

    spec: schema.ReduceOnPlateau
    maximize: bool
    rate: float
    _best: BestEpoch = field(init=False)
    _waited: int = 0
    _grace: int = 0

    def __post_init__(self) -> None:
        self._best = BestEpoch(self.maximize, BestRule(self.spec.min_delta))

    def ended(self, epoch: int, columns: Mapping[str, float]) -> None:
        """Take note of an epoch's columns, and reduce the rate where it is time."""
        value = columns[self.spec.monitor]
        if not math.isfinite(value):
            return
        if self._grace > 0:
            self._grace -= 1
            self._waited = 0
        if self._best.improved(epoch, value):
            self._waited = 0
        elif self._grace == 0:
            self._waited += 1
            if self._waited >= self.spec.patience and self.rate > self.spec.min_learning_rate:
                self.rate = max(self.rate * self.spec.factor, self.spec.min_learning_rate)
                self._waited, self._grace = 0, self.spec.cooldown


class LearningRate:
    """What a schedule makes of one replica's learning rate.

    Args:
        rate: the optimizer's, or the replica's own.
        schedule: at most a warm-up and one that follows it.
        maximize: whether the column that `reduce_on_plateau` watches is better the larger it is.
    """

    def __init__(
        self, rate: float, schedule: Sequence[schema.Component] = (), *, maximize: bool = False
    ) -> None:
        self._rate = rate
        self._warmup = next((part for part in schedule if isinstance(part, schema.Warmup)), None)
        self._then = next((part for part in schedule if not isinstance(part, schema.Warmup)), None)
        self._warm_epochs = self._warmup.epochs if self._warmup is not None else 0
        self._plateau: Plateau | None = None
        if isinstance(self._then, schema.ReduceOnPlateau):
            self._plateau = Plateau(self._then, maximize, rate)

    def of(self, epoch: int) -> float:
        """The rate of an epoch (from 1). With a plateau to wait for, that of the epoch to come."""
        if self._warmup is not None and epoch <= self._warm_epochs:
            return self._rate * warmup_share(self._warmup, epoch)
        if self._plateau is not None:
            return self._plateau.rate
        if self._then is None:
            return self._rate
        return later_rate(self._then, self._rate, epoch - self._warm_epochs)

    def ended(self, epoch: int, columns: Mapping[str, float]) -> None:
        """Take note of an epoch's columns: loss, metrics, and those with `val_` before them."""
        if self._plateau is not None and epoch > self._warm_epochs:
            self._plateau.ended(epoch, columns)


def warmup_share(warmup: schema.Warmup, epoch: int) -> float:
    """The share of the full rate in an epoch (from 1): the warm-up's line in the middle of the epoch."""
    return warmup.start + (1 - warmup.start) * (epoch - 0.5) / warmup.epochs


def _restarted(schedule: schema.CosineRestarts, rate: float, done: int) -> float:
    length, height = float(schedule.epochs), 1.0
    left = float(done)
    while left >= length:
        left, length, height = left - length, length * schedule.t_mul, height * schedule.m_mul
    share = 0.5 * height * (1 + math.cos(math.pi * left / length))
    return rate * (schedule.minimum + (1 - schedule.minimum) * share)


def _of_one_cycle(schedule: schema.OneCycle, rate: float, done: int) -> float:
    assert schedule.epochs is not None, "filled in when the spec was loaded"
    top, last = schedule.pct_start * schedule.epochs - 1, schedule.epochs - 1
    first, at = rate / schedule.div_factor, min(done, last)
    if at <= top:
        share, start, end = (at / top if top > 0 else 1.0), first, rate
    else:
        share, start, end = (at - top) / (last - top), rate, first / schedule.final_div_factor
    if schedule.anneal == "cos":
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
    return start + (end - start) * share


def later_rate(schedule: schema.Component, rate: float, epoch: int) -> float:
    """The rate in an epoch, counted from 1 after the warm-up, of a schedule that needs no history."""
    done = epoch - 1
    match schedule:
        case schema.Step(every=every, factor=factor):
            return rate * factor ** (done // every)
        case schema.Exponential(factor=factor):
            return rate * factor**done
        case schema.Cosine(epochs=epochs, minimum=minimum):
            assert epochs is not None, "filled in when the spec was loaded"
            share = 0.5 * (1 + math.cos(math.pi * min(done / epochs, 1.0)))
            return rate * (minimum + (1 - minimum) * share)
        case schema.Rates(rates=rates):
            return rates[min(done, len(rates) - 1)]
        case schema.Polynomial(epochs=epochs, power=power, end_learning_rate=end, cycle=cycle):
            assert epochs is not None, "filled in when the spec was loaded"
            length = epochs * max(1, math.ceil(done / epochs)) if cycle else epochs
            return (rate - end) * math.pow(1 - min(done / length, 1.0), power) + end
        case schema.InverseTime(decay_rate=decay_rate, every=every, staircase=staircase):
            return rate / (1 + decay_rate * (done // every if staircase else done / every))
        case schema.Piecewise(boundaries=boundaries, values=values):
            return values[bisect_left(boundaries, epoch)]
        case schema.CosineRestarts():
            return _restarted(schedule, rate, done)
        case schema.OneCycle():
            return _of_one_cycle(schedule, rate, done)
    raise AssertionError(f"{schedule.kind} needs a history")
