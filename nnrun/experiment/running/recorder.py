"""What a run's training writes into its record, while it runs and however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from nnrun.errors import DivergedError, NnrunError, keep_folder
from nnrun.experiment.finished.verdict import min_delta_of_best
from nnrun.experiment.running.checkpointer import GroupKeeper
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.setup.environment import now
from nnrun.experiment.setup.groups import Group
from nnrun.experiment.setup.out_of_memory import out_of_memory
from nnrun.interrupts import stopping_between_batches, uninterrupted
from nnrun.records import HistoryWriter, Member, MemberKind, RunDirectory, WeightsEpoch
from nnrun.spec import schema
from nnrun.spec.score_columns import directions
from nnrun.training.engine import Engine
from nnrun.training.loop import BestWeights, EpochRecord, Replica, Schedule, Trainer
from nnrun.training.optimizers import build_optimizer
from nnrun.validation.summary import monitor_mode

T = TypeVar("T")


class RunInterrupted(KeyboardInterrupt):
    """The user stopped a run; `run` is what there is of it."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(f"interrupted; what was recorded so far is kept in {run.path}")
        self.run = run


@contextmanager
def ending_kept(run: RunDirectory, record: dict[str, Any], needed: int | None = None) -> Iterator[None]:
    """Whatever ends the run, its record says so. `needed` are the bytes that it was estimated to take."""
    try:
        yield
        if record["status"] == "running":
            record["status"] = "completed"
    except KeyboardInterrupt:
        if record["status"] == "running":
            record["status"] = "interrupted"
        raise RunInterrupted(run) from None
    except StopTraining as reason:
        record |= {"status": "interrupted", "error": str(reason)}
        raise
    except DivergedError as error:
        record |= {"status": "diverged", "error": str(error)}
        diverged = DivergedError(f"{error} What was recorded so far is kept in {run.path}.")
        keep_folder(diverged, run.path)
        raise diverged from None
    except BaseException as error:
        explained = out_of_memory(error, needed)
        record |= {"status": "failed", "error": str(explained or error) or type(error).__name__}
        keep_folder(explained or error, run.path)
        if explained is not None:
            raise explained from error
        raise
    finally:
        record["ended"] = now()
        run.write_record(record)


@dataclass(frozen=True, eq=False)
class Ending:
    """The weights that a network ended with.

    Attributes:
        weights: stacked form with a leading dimension of 1.
        epoch: of which epoch they are.
        best: those of its best epoch, which may be the same; None where nothing was validated.
    """

    weights: dict[str, Tensor]
    epoch: WeightsEpoch
    best: BestWeights | None


@dataclass(frozen=True, eq=False)
class Recorder:
    """Writes what becomes of some replicas into the record of one run.

    Attributes:
        run: the run's folder.
        record: what run.json will hold.
        history: its history.
        listener: is told of each epoch.
        kind: what tells the run's networks apart; None where there is one.
        learning_rate: of its networks, before the schedule.
        chosen_by: the column by which an epoch is the best; None where nothing is validated.
    """

    run: RunDirectory
    record: dict[str, Any]
    history: HistoryWriter
    listener: Listener
    kind: MemberKind | None
    learning_rate: float
    chosen_by: str | None = None

    def epoch(self, epoch: EpochRecord) -> None:
        """Write an epoch's rows."""
        for number, row in epoch.rows.items():
            place: dict[str, int] = {} if self.kind is None else {self.kind: number}
            ending = {"learning_rate": epoch.learning_rates[number], "seconds": epoch.seconds}
            self.history.append({**place, "epoch": epoch.epoch, **row, **ending})
        self.record["epochs_run"] = max(self.record["epochs_run"], epoch.epoch)

    def ended(self, group: Group, stopped: Mapping[int, int], endings: Mapping[int, Ending]) -> None:
        """Keep how networks of a group ended: where they were stopped, and their weights."""
        record = self.record
        going_on = {m.number for m in group.members} - stopped.keys()
        before = {n: epoch for n, epoch in record.get("stopped_early", {}).items() if n not in going_on}
        if before or stopped:
            record["stopped_early"] = dict(sorted((before | dict(stopped)).items()))
        else:
            record.pop("stopped_early", None)
        for number, ending in endings.items():
            member = self.member(number)
            self.run.write_weights(group.network.unstack(ending.weights, 0), member, ending.epoch)
            if ending.best is None or ending.epoch.best:
                self.run.remove_best_weights(member)
            else:
                best = group.network.unstack(ending.best.weights, 0)
                self.run.write_best_weights(best, member, WeightsEpoch(ending.best.epoch, best=True))
        self._keep_epochs("weights_epoch", {n: ending.epoch.epoch for n, ending in endings.items()})
        bests = {n: ending.best.epoch for n, ending in endings.items() if ending.best is not None}
        if bests:
            self._keep_epochs("best_weights_epoch", bests)

    def _keep_epochs(self, key: str, epochs: Mapping[int, int]) -> None:
        """What was kept before stays as it is where no epoch has ended since."""
        record = self.record
        if self.kind is not None:
            record[key] = (record.get(key) or {}) | dict(epochs)
        elif epochs or key not in record:
            record[key] = next(iter(epochs.values()), None)

    def member(self, number: int) -> Member | None:
        """The name of one network in the record."""
        return None if self.kind is None else Member(self.kind, number)

    def diverged(self, reason: str) -> None:
        """Keep that the run's only network diverged, while others that train with it continue."""
        self.record.update(status="diverged", error=reason)


def train_group(
    spec: schema.ExperimentSpec,
    group: Group,
    engine: Engine,
    recorders: Mapping[int, Recorder],
    keeper: GroupKeeper | None = None,
) -> None:
    """Train one group; its weights are kept however it ends.

    Args:
        spec: what decides how long, and when to stop.
        group: the replicas.
        engine: holds them.
        recorders: for each member's number who writes of it. Where there are several, the members are
            the only networks of different runs, each number 0 there: one that diverges is left out, and the
            others go on.
        keeper: keeps the state at the end of epochs, and may have one to go on from.
    """
    stopping, own = spec.early_stopping, directions(spec)
    every = list(dict.fromkeys(recorders.values()))
    best_by = every[0].chosen_by
    alone = len(every) == 1

    def part_of(recorder: Recorder, values: Mapping[int, T]) -> dict[int, T]:
        """The values of one run's networks, by their numbers there."""
        return {n if alone else 0: value for n, value in values.items() if recorders[n] is recorder}

    trainer = Trainer(
        engine=engine,
        replicas=[
            Replica(
                m.number,
                m.fold.train_rows,
                m.fold.validation_rows,
                m.source,
                recorders[m.number].learning_rate,
            )
            for m in group.members
        ],
        schedule=Schedule(
            epochs=spec.epochs,
            shuffle=spec.shuffle,
            learning_rate=build_optimizer(spec.optimizer).learning_rate,
            early_stopping=stopping,
            maximize=stopping is not None and monitor_mode(stopping.monitor, own) == "max",
            best_by=best_by,
            best_maximize=best_by is not None and monitor_mode(best_by, own) == "max",
            best_min_delta=0.0 if best_by is None else min_delta_of_best(spec, best_by),
            rates=spec.learning_rate_schedule,
            rates_maximize=any(
                monitor_mode(part.monitor, own) == "max"
                for part in spec.learning_rate_schedule
                if isinstance(part, schema.ReduceOnPlateau)
            ),
        ),
        kind=every[0].kind or "replica",
        leave_out_diverged=not alone,
    )
    kept: dict[int, dict[str, Tensor]] = {}
    kept_epochs: dict[int, int] = {}
    kept_best: dict[int, BestWeights] = {}

    def endings() -> dict[int, Ending]:
        found = {}
        for number, weights in kept.items():
            epoch, best = kept_epochs[number], kept_best.get(number)
            restored = number in trainer.restored
            last = not restored or epoch == trainer.last_epochs[number]
            is_best = best is not None and best.epoch == epoch
            found[number] = Ending(weights, WeightsEpoch(epoch, last, is_best, restored), best)
        return found

    def keep_ends() -> None:
        for number in trainer.stopped_epochs:
            kept[number], kept_epochs[number] = trainer.finished[number], trainer.finished_epochs[number]
        for recorder in every:
            stopped = part_of(recorder, trainer.stopped_epochs)
            recorder.ended(group, stopped, part_of(recorder, endings()))

    try:
        with stopping_between_batches():
            if keeper is not None:
                keeper.begin(trainer)
                for number in trainer.finished_epochs:
                    if not recorders[number].run.has_weights(recorders[number].member(number)):
                        kept[number] = trainer.finished[number]
                        kept_epochs[number] = trainer.finished_epochs[number]
                kept_best = dict(trainer.best)
            for epoch in trainer.epochs():
                parts = {
                    recorder: replace(
                        epoch,
                        rows=rows,
                        learning_rates=part_of(recorder, epoch.learning_rates),
                        weights=part_of(recorder, epoch.weights),
                        best=part_of(recorder, epoch.best),
                    )
                    for recorder in every
                    if (rows := part_of(recorder, epoch.rows))
                }
                with uninterrupted():  # the weights that are kept are those of the last row
                    for recorder, part in parts.items():
                        recorder.epoch(part)
                    kept.update(epoch.weights)
                    kept_epochs.update(dict.fromkeys(epoch.weights, epoch.epoch))
                    kept_best.update(epoch.best)
                    for number in trainer.diverged.keys() & epoch.rows.keys():
                        recorders[number].diverged(trainer.diverged[number])
                    if keeper is not None and trainer.epoch == epoch.epoch:  # else it diverged
                        keeper.epoch_ended(trainer)
                for recorder, part in parts.items():
                    recorder.listener.epoch(part)
    except BaseException as reason:
        with uninterrupted():
            # Where later epochs of before are still in the history, their weights stay as well.
            if not any(recorder.history.is_behind for recorder in every):
                _despite(reason, every[0].listener, keep_ends)
            if keeper is not None:
                _despite(reason, every[0].listener, keeper.write)
        raise
    kept, kept_epochs = trainer.finished, trainer.finished_epochs
    keep_ends()


def _despite(reason: BaseException, listener: Listener, keep: Callable[[], None]) -> None:
    """Keep something although the training has ended by `reason`, which a failure must not hide."""
    try:
        keep()
    except NnrunError as error:
        if error is not reason and str(error) != str(reason):
            listener.message(f"warning: {error}")
