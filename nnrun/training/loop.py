"""The training loop: a generator of epochs. The caller saves and shows each one, and closes the generator."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nnrun.errors import DataError, DivergedError
from nnrun.lazy_torch import torch
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.random_streams import RandomSource
from nnrun.spec.score_columns import ALL_COUNT, INNER, BestEpoch, BestRule
from nnrun.spec.wording import listing, quoted
from nnrun.training.early_stopping import EarlyStopping
from nnrun.training.engine import Engine
from nnrun.training.learning_rate import LearningRate
from nnrun.training.metrics import EpochMetrics
from nnrun.training.pace import Pace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Replica:
    """One of the networks that train side by side.

    Attributes:
        number: tells it from the others, such as the index of its fold.
        train_rows, validation_rows: indices of its rows; validation_rows may be empty.
        inner_rows: indices of the rows that decide when to stop, where these are neither; else empty.
        source: of its random streams.
        learning_rate: its own, where it differs from the schedule's.
        epochs: after how many it ends, where that is before the schedule's last.
        name: what messages call it, where replicas that diverge are left out; empty where nothing need.
        run: which of several runs it belongs to: once one of a run's replicas has diverged, all of them are
            left out. None where it is left out by itself.
    """

    number: int
    train_rows: RowIndices
    validation_rows: RowIndices
    source: RandomSource
    learning_rate: float | None = None
    epochs: int | None = None
    inner_rows: RowIndices = field(default_factory=lambda: np.empty(0, np.int64))
    name: str = ""
    run: int | None = None


@dataclass(frozen=True)
class Schedule:
    """How long, in what order and at what learning rates to train.

    Attributes:
        epochs: the most epochs to train.
        shuffle: whether each epoch has its own order of rows.
        learning_rate: the initial one of replicas without their own.
        early_stopping: when to stop earlier, or None.
        maximize: whether a larger value of the column that early stopping monitors is better.
        rates: the learning rate schedules, applied in turn; empty for a constant rate.
        rates_maximize: as `maximize`, of the column that `reduce_on_plateau` monitors.
        best_by: the validation column whose best epoch's weights are kept; None where there is none.
        best_maximize: as `maximize`, of that column.
        best_rule: which epochs count as the best by that column, and which gains.
        seconds: how long the epochs may take; None for as long as they do.
    """

    epochs: int
    shuffle: bool
    learning_rate: float
    early_stopping: schema.EarlyStopping | None = None
    maximize: bool = False
    rates: Sequence[schema.Component] = ()
    rates_maximize: bool = False
    best_by: str | None = None
    best_maximize: bool = False
    best_rule: BestRule = ALL_COUNT
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class BestWeights:
    """The weights of a replica's best epoch so far: stacked form with a leading dimension of 1."""

    epoch: int
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1.
        rows: replica number → its columns: loss, metrics, inner_ and val_ loss and metrics.
        learning_rates: replica number → its learning rate in this epoch.
        seconds: wall time, of all replicas together.
        weights: replica number → its weights at the end, stacked form with a leading dimension of 1.
        best: replica number → those of its best epoch so far, where `Schedule.best_by` names a column.
    """

    epoch: int
    rows: Mapping[int, Mapping[str, float]]
    learning_rates: Mapping[int, float]
    seconds: float
    weights: Mapping[int, dict[str, Tensor]] = field(default_factory=dict)
    best: Mapping[int, BestWeights] = field(default_factory=dict)


def epoch_order(rows: RowIndices, *, shuffle: bool, source: RandomSource, epoch: int) -> RowIndices:
    """The order of a replica's training rows in one epoch: drawn from (source, epoch) alone."""
    if not shuffle:
        return rows
    rng = np.random.default_rng(source.derive(epoch=epoch, purpose="order of training rows"))
    return rng.permutation(rows)


@dataclass(frozen=True, eq=False)
class TrainerState:
    """The state of a trainer at the end of an epoch.

    Early stopping and the learning rates are recomputed from the rows, so that nothing of them is in it.

    Attributes:
        epoch: the last one that ended; 0 before the first.
        rows: replica number → its columns, epoch by epoch from 1.
        tensors: the engine's state, and weights of other epochs that are needed, by name.
    """

    epoch: int
    rows: Mapping[int, Sequence[Mapping[str, float]]]
    tensors: Mapping[str, Tensor]


_PREFIX = {"inner": INNER, "validation": "val_"}
_ENGINE, _RESTORABLE, _STOPPED, _BEST = "engine/", "best/", "stopped/", "validated/"


@dataclass
class Trainer:
    """Trains the replicas of an engine, epoch by epoch.

    Attributes:
        kind: what its replicas are called in messages: `fold`, `seed`.
        leave_out_diverged: continue without a replica that diverges, and keep the reason in `diverged`.
        epoch: the last one that ended; 0 before the first.
        finished: replica number → the weights it ended with, stacked form with a leading dimension of 1.
            Holds those of the last complete epoch until the replica ends, then the best where the spec
            restores them.
        finished_epochs: replica number → the epoch whose weights those are.
        best: replica number → the weights of its best epoch by `Schedule.best_by`.
        last_epochs: replica number → the last epoch that it trained.
        restored: the replicas that got back the weights of their best epoch.
        averaged: the replicas that ended with the moving averages of their weights.
        stopped_epochs: replica number → the epoch in which early stopping, or its own number of epochs,
            ended it.
        timed_out: replica number → the epoch after which the time was up.
        diverged: replica number → what became infinite or NaN, as a sentence.
    """

    engine: Engine
    replicas: Sequence[Replica]
    schedule: Schedule
    kind: str = "replica"
    leave_out_diverged: bool = False
    epoch: int = 0
    finished: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    finished_epochs: dict[int, int] = field(default_factory=dict)
    best: dict[int, BestWeights] = field(default_factory=dict)
    last_epochs: dict[int, int] = field(default_factory=dict)
    restored: set[int] = field(default_factory=set)
    averaged: set[int] = field(default_factory=set)
    stopped_epochs: dict[int, int] = field(default_factory=dict)
    timed_out: dict[int, int] = field(default_factory=dict)
    diverged: dict[int, str] = field(default_factory=dict)
    _active: list[Replica] = field(init=False)
    _own_epochs: dict[int, int | None] = field(init=False)
    _watchers: dict[int, EarlyStopping] = field(init=False)
    _rates: dict[int, LearningRate] = field(init=False)
    _restorable: dict[int, dict[str, Tensor]] = field(init=False, default_factory=dict)
    _bests: dict[int, BestEpoch] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        stopping = self.schedule.early_stopping
        self._active = list(self.replicas)
        self._own_epochs = {r.number: r.epochs for r in self.replicas}
        self._watchers = {}
        if stopping is not None:
            self._watchers = {
                r.number: EarlyStopping(stopping, self.schedule.maximize) for r in self.replicas
            }
        self._rates = {r.number: self._learning_rate(r) for r in self.replicas}
        if self.schedule.best_by is not None:
            maximize, rule = self.schedule.best_maximize, self.schedule.best_rule
            self._bests = {r.number: BestEpoch(maximize, rule) for r in self.replicas}

    def epochs(self) -> Iterator[EpochRecord]:
        """Train, giving a record after each epoch. Use it once.

        Of a new training one epoch is trained in any case.

        Raises:
            DivergedError: after the record of an epoch whose loss is not finite.
        """
        schedule, pace = self.schedule, Pace(self.schedule.seconds)
        if self.epoch and pace.is_over():
            self._time_is_up()
        while not self.is_done:
            epoch, active = self.epoch + 1, self._active
            started = time.perf_counter()
            numbers = [r.number for r in active]
            orders = [
                epoch_order(r.train_rows, shuffle=schedule.shuffle, source=r.source, epoch=epoch)
                for r in active
            ]
            current_rates = {n: self._rates[n].of(epoch) for n in numbers}
            if schedule.rates:
                self.engine.set_learning_rates(list(current_rates.values()))
            training = self.engine.train_epoch(orders, [r.source for r in active], epoch)
            measured = self._measured(active)
            rows = {n: training.columns(r) for r, n in enumerate(numbers)}
            for kind, metrics in measured.items():
                for r, n in enumerate(numbers):
                    rows[n] |= metrics.columns(r, _PREFIX[kind])
            seconds = time.perf_counter() - started
            parameters = self.engine.weights()
            found = _divergences(training, measured, parameters, self._names(active), epoch)
            if found and not self.leave_out_diverged:
                yield EpochRecord(epoch, rows, current_rates, seconds)
                raise DivergedError(next(iter(found.values())))
            found = _with_their_runs(found, active)
            self.diverged.update({numbers[r]: reason for r, reason in found.items()})
            # All is settled before the record is given away: whoever stops there finds this epoch's end.
            current = {n: _one(parameters, r) for r, n in enumerate(numbers) if r not in found}
            self._end(epoch, {n: rows[n] for n in current}, current)
            pace.part_ended()
            if pace.is_over():
                self._time_is_up()
            best = {n: self.best[n] for n in current if n in self.best}
            yield EpochRecord(epoch, rows, current_rates, seconds, current, best)
        self._finish([r.number for r in self._active])

    def _names(self, active: Sequence[Replica]) -> list[str]:
        """What tells each from the others in a sentence: ` of fold 2`, or nothing."""
        if self.leave_out_diverged:
            return [f" of {r.name}" if r.name else "" for r in active]
        return [f" of {self.kind} {r.number}" if len(self.replicas) > 1 else "" for r in active]

    def _measured(self, active: Sequence[Replica]) -> dict[str, EpochMetrics]:
        """What the inner and the validation rows give after an epoch, as far as there are such rows."""
        rows = {
            "inner": [r.inner_rows for r in active],
            "validation": [r.validation_rows for r in active],
        }
        return {kind: self.engine.evaluate(own) for kind, own in rows.items() if len(own[0])}

    @property
    def stopped_early(self) -> dict[int, int]:
        """Replica number → the epoch in which early stopping ended it."""
        return {n: epoch for n, epoch in self.stopped_epochs.items() if self._own_epochs.get(n) != epoch}

    @property
    def is_done(self) -> bool:
        """Whether no epoch is left, or no time."""
        return bool(self.timed_out) or not self._active or self.epoch >= self.schedule.epochs

    def _time_is_up(self) -> None:
        """End the replicas that would train on."""
        if not self.is_done:
            self.timed_out = {r.number: self.epoch for r in self._active}

    def state_dict(self) -> TrainerState:
        """The state after the last epoch that ended; the caller adds the history's rows."""
        tensors = {_ENGINE + name: value for name, value in self.engine.state_dict().items()}
        going_on = [r.number for r in self._active]
        for number, weights in self._restorable.items():
            if number in going_on:
                tensors |= {f"{_RESTORABLE}{number}/{name}": value for name, value in weights.items()}
        for number in self.stopped_epochs:
            tensors |= {f"{_STOPPED}{number}/{name}": v for name, v in self.finished[number].items()}
        for number, best in self.best.items():
            current = number in going_on and best.epoch == self.epoch  # then the engine holds them
            own = self._restorable.get(number) if number in going_on else self.finished.get(number)
            if not current and best.weights is not own:
                tensors |= {f"{_BEST}{number}/{name}": value for name, value in best.weights.items()}
        return TrainerState(self.epoch, {}, tensors)

    def load_state_dict(self, state: TrainerState) -> None:
        """Continue where a trainer of the same replicas was; call it before the first epoch.

        Raises:
            DataError: `state` is that of other replicas or of another engine.
        """
        try:
            restorable = _by_number(state.tensors, _RESTORABLE)
            for epoch in range(1, state.epoch + 1):
                rows = {r.number: state.rows[r.number][epoch - 1] for r in self._active}
                self._end(epoch, rows, {n: restorable.get(n, {}) for n in rows}, engine_follows=False)
            stopped = _by_number(state.tensors, _STOPPED)
            self.finished.update({n: stopped[n] for n in self.stopped_epochs})
        except (KeyError, IndexError, ValueError):
            raise DataError("The checkpoint's history is not that of this spec's networks.") from None
        if self._active:
            if len(self._active) < len(self.replicas):
                self.engine.select_replicas([self.replicas.index(r) for r in self._active])
            names = [name for name in state.tensors if name.startswith(_ENGINE)]
            self.engine.load_state_dict({name.removeprefix(_ENGINE): state.tensors[name] for name in names})
            if state.epoch:
                parameters = self.engine.weights()
                current = {r.number: _one(parameters, index) for index, r in enumerate(self._active)}
                self.finished.update(current)
        self._take_best(state, restorable, stopped)

    def _take_best(
        self,
        state: TrainerState,
        restorable: Mapping[int, dict[str, Tensor]],
        stopped: Mapping[int, dict[str, Tensor]],
    ) -> None:
        """Restore the weights of the best epochs, whose numbers follow from the rows.

        Checkpoints of early versions of nnrun lack some of them.
        """
        found = _by_number(state.tensors, _BEST)
        for number, best in list(self.best.items()):
            going_on = number not in self.stopped_epochs
            if going_on and best.epoch == state.epoch:
                weights: dict[str, Tensor] | None = self.finished[number]
            elif number in found:
                weights = found[number]
            else:
                watcher = self._watchers.get(number)
                same = watcher is not None and watcher.best_epoch == best.epoch
                weights = restorable.get(number) if going_on and same else None
                if not going_on and self.finished_epochs[number] == best.epoch:
                    weights = stopped[number]
            if weights is None:
                del self.best[number]
            else:
                self.best[number] = BestWeights(best.epoch, weights)

    def _end(
        self,
        epoch: int,
        rows: Mapping[int, Mapping[str, float]],
        weights: Mapping[int, dict[str, Tensor]],
        *,
        engine_follows: bool = True,
    ) -> None:
        """Update learning rates, early stopping, best weights and the active replicas after an epoch."""
        self.epoch, schedule = epoch, self.schedule
        self.finished.update(weights)
        self.finished_epochs.update(dict.fromkeys(rows, epoch))
        self.last_epochs.update(dict.fromkeys(rows, epoch))
        for number, columns in rows.items():
            self._rates[number].ended(epoch, columns)
            watcher, tracker = self._watchers.get(number), self._bests.get(number)
            if schedule.best_rule.begins_at(epoch):
                self.best.pop(number, None)
            best = tracker is not None and tracker.improved(epoch, columns[str(schedule.best_by)])
            restorable = (
                watcher is not None
                and watcher.improved(epoch, columns[watcher.spec.monitor])
                and watcher.spec.restore_best
            )
            if best or restorable:
                kept = _owned(weights[number])
                if best:
                    self.best[number] = BestWeights(epoch, kept)
                if restorable:
                    self._restorable[number] = kept
            if (watcher is not None and watcher.should_stop(epoch)) or self._own_epochs.get(number) == epoch:
                self.stopped_epochs[number] = epoch
        ended = [number for number in rows if number in self.stopped_epochs]
        self._finish(ended, engine_follows=engine_follows)
        self._go_on_without(self.stopped_epochs.keys() | self.diverged.keys(), engine_follows=engine_follows)

    def leave_out(self, numbers: Collection[int]) -> None:
        """Go on without some replicas; they keep the weights of the last epoch. For between two epochs."""
        self._go_on_without(numbers)

    def _go_on_without(self, left: Collection[int], *, engine_follows: bool = True) -> None:
        going_on = [index for index, r in enumerate(self._active) if r.number not in left]
        if len(going_on) < len(self._active):
            self._active = [self._active[index] for index in going_on]
            if engine_follows and going_on:
                self.engine.select_replicas(going_on)

    def _learning_rate(self, replica: Replica) -> LearningRate:
        schedule = self.schedule
        own = schedule.learning_rate if replica.learning_rate is None else replica.learning_rate
        return LearningRate(own, schedule.rates, maximize=schedule.rates_maximize)

    def _finish(self, numbers: Sequence[int], *, engine_follows: bool = True) -> None:
        """Settle the weights that replicas end with: the moving averages, or those of the best epoch."""
        if self.engine.averages and numbers:
            self.averaged.update(numbers)
            averages = self.engine.averaged_weights() if engine_follows else {}
            own = {r.number: _one(averages, i) for i, r in enumerate(self._active) if r.number in numbers}
            self.finished.update(own)
        for number in numbers:
            watcher = self._watchers.get(number)
            best_epoch = None if watcher is None else watcher.best_epoch
            if number in self._restorable and best_epoch is not None:
                self.finished[number] = self._restorable[number]
                self.finished_epochs[number] = best_epoch
                self.restored.add(number)
                self.averaged.discard(number)


def _by_number(tensors: Mapping[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    """Weights that `state_dict` named by replica: number → name → value."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition("/")
            found.setdefault(int(number), {})[name] = value
    return found


def _owned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights; copies where they are views of the stacked weights.

    A view would keep the stacked weights of all R replicas in memory.
    """
    if all(value.untyped_storage().nbytes() == value.nbytes for value in weights.values()):
        return weights
    return {name: value.clone() for name, value in weights.items()}


def _one(parameters: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: value[index : index + 1] for name, value in parameters.items()}


_ADVICE = "Try a smaller learning rate, standardized inputs, or targets on a smaller scale."


def _divergences(
    training: EpochMetrics,
    measured: Mapping[str, EpochMetrics],
    parameters: Mapping[str, Tensor],
    names: Sequence[str],
    epoch: int,
) -> dict[int, str]:
    """For each replica, by its index, what became infinite or NaN in this epoch, as a sentence.

    `names` tell the replicas apart; empty texts where nothing need.
    """
    finite_R = torch.stack([_finite(value) for value in parameters.values()]).all(0)
    reasons = {
        index: _divergence(training, measured, finite, name, index, epoch)
        for index, (name, finite) in enumerate(zip(names, finite_R.tolist(), strict=True))
    }
    return {index: reason for index, reason in reasons.items() if reason is not None}


def _with_their_runs(found: dict[int, str], active: Sequence[Replica]) -> dict[int, str]:
    """What diverged, and with it the other replicas of the same run, for the same reason."""
    of_run = {
        active[index].run: reason
        for index, reason in reversed(found.items())
        if active[index].run is not None
    }
    others = {index: of_run[r.run] for index, r in enumerate(active) if r.run in of_run}
    return {**found, **others}


def _finite(value_R: Tensor) -> Tensor:
    """(R,) whether all numbers of each replica are finite.

    A sum is finite only where all that it adds is, and takes a fortieth of the time of looking at each
    number; where it overflows, it says nothing.
    """
    sums_R = value_R.flatten(1).sum(1)
    return sums_R.isfinite() if sums_R.isfinite().all() else value_R.isfinite().flatten(1).all(1)


def _divergence(
    training: EpochMetrics,
    measured: Mapping[str, EpochMetrics],
    finite_weights: bool,
    name: str,
    index: int,
    epoch: int,
) -> str | None:
    if training.first_bad_batch[index] is not None:
        return (
            f"the training loss{name}{_of_some(training, index)} stopped being a finite number in epoch "
            f"{epoch}, batch "
            f"{training.first_bad_batch[index]}. {_ADVICE}"
        )
    # A batch's loss is that before its update, so that no loss shows what the last update did.
    if not finite_weights:
        return f"the weights{name} stopped being finite numbers at the end of epoch {epoch}. {_ADVICE}"
    for kind, found in measured.items():
        if not math.isfinite(found.losses[index]):
            return (
                f"the {kind} loss{name}{_of_some(found, index)} stopped being a finite number in epoch "
                f"{epoch}. Try a smaller learning rate, or look for extreme values in the {kind} rows."
            )
    return None


def _of_some(measured: EpochMetrics, index: int) -> str:
    """Which named outputs' losses are not finite, where others' are: a part of a sentence, else empty."""
    losses = {head: measured.metrics[index][f"{head}_loss"] for head in measured.heads}
    bad = [head for head, loss in losses.items() if not math.isfinite(loss)]
    return f", that of {listing(map(quoted, bad), 'and')}," if 0 < len(bad) < len(losses) else ""
