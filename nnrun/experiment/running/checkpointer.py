"""When the state of a run's training is kept, and what else a checkpoint holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nnrun.errors import DataError
from nnrun.records import HistoryWriter, RunDirectory, member_kind, parse_history
from nnrun.records.checkpoint import Checkpoint
from nnrun.records.history import is_finite
from nnrun.training.loop import Trainer, TrainerState

EVERY_SECONDS = 1.0
"""So much training at most is lost with a process that is killed, and the epoch that it was in."""

COST_SHARE = 0.03
"""Of the time that is spent on keeping: where one checkpoint takes long, they become rarer."""

_MOST_THREADS = 2**16

_RECORD_KEYS = ("epochs_run", "stopped_early", "weights_epoch", "best_weights_epoch")
_CONDITIONS = ("versions", "device", "threads", "compiled", "networks_at_once", "data", "custom")


@dataclass(frozen=True, eq=False)
class Kept:
    """What a checkpoint says.

    Attributes:
        group: the place of the group that was in training; those before it had ended.
        epoch: the last that ended in it.
        resolved: the run's spec, every default filled in.
        history: the text of its history.
        seconds: of training up to here.
        use_test_set: whether the test set is scored at the end.
        conditions: what numbers depend on besides spec and seed: versions, device, threads, data,
            custom code.
        record: what had been found out for the run's record.
        tensors: of the group.
    """

    group: int
    epoch: int
    resolved: str
    history: str
    seconds: float
    use_test_set: bool
    conditions: Mapping[str, Any]
    record: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


def read_kept(run: RunDirectory) -> Kept:
    """The newest whole checkpoint of a run.

    Raises:
        DataError: there is none, or nnrun did not write it.
    """
    return run.read_checkpoint(lambda found: _kept_of(found, run))


def _kept_of(found: Checkpoint, run: RunDirectory) -> Kept:
    """What a checkpoint says. JSON can hold numbers that mean nothing there: NaN, 2.5 epochs, 10**400."""
    document = found.document
    try:
        record = dict(document["record"])
        for key in ("stopped_early", "weights_epoch", "best_weights_epoch"):
            if key in record:
                record[key] = with_numbers(record[key])
        conditions = dict(document["conditions"])
        _count(conditions["threads"], least=1, most=_MOST_THREADS)
        for numbers in (record.get("epochs_run"), record.get("stopped_early"), record.get("weights_epoch")):
            for number in numbers.values() if isinstance(numbers, Mapping) else (numbers,):
                _count(0 if number is None else number)
        if not is_finite(document["seconds"]) or document["seconds"] < 0:
            raise ValueError("seconds")
        return Kept(
            group=_count(document["group"]),
            epoch=_count(document["epoch"]),
            resolved=_text(document["resolved"]),
            history=_text(document["history"]),
            seconds=float(document["seconds"]),
            use_test_set=document["use_test_set"] is True,
            conditions=conditions,
            record=record,
            tensors={name: torch.from_numpy(array) for name, array in found.arrays.items()},
        )
    except (KeyError, TypeError, ValueError):
        raise DataError(f"The checkpoint in {run.path} was not written by nnrun.") from None


def _count(value: Any, least: int = 0, most: int = 2**53) -> int:
    """A whole number within bounds; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError("not a whole number, or out of range")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def with_numbers(value: Any) -> Any:
    """A map whose keys are the numbers of networks: JSON makes texts of them. Any other value as it is.

    Raises:
        ValueError: a key is not a number.
    """
    return {int(number): of for number, of in value.items()} if isinstance(value, Mapping) else value


@dataclass(eq=False)
class Keeper:
    """Keeps the state of a run.

    Attributes:
        run: its folder.
        record: what its run.json will hold.
        history: its history.
        use_test_set: whether the test set is scored at the end.
        kept: what the run resumes from, or None.
        every_epoch: keep the state after each.
    """

    run: RunDirectory
    record: Mapping[str, Any]
    history: HistoryWriter
    use_test_set: bool
    kept: Kept | None = None
    every_epoch: bool = False
    _started: float = field(default_factory=time.perf_counter)
    _next: float = 0.0

    def of_group(self, place: int) -> GroupKeeper:
        """For one of the groups that train one after the other."""
        return GroupKeeper(self, place)

    def due(self) -> bool:
        """Whether it is time."""
        return self.every_epoch or time.perf_counter() >= self._next

    def snapshot(self, trainer: Trainer, place: int) -> Snapshot:
        """The state of a group at the end of its last epoch, in memory."""
        before = 0.0 if self.kept is None else self.kept.seconds
        seconds = before + time.perf_counter() - self._started
        return Snapshot(place, trainer.epoch, self.history.length, seconds, trainer.state_dict().tensors)

    def keep(self, snapshot: Snapshot) -> None:
        """Write a state to the disk, in place of the one before."""
        began = time.perf_counter()
        self.run.refuse_if_gone()
        document = {
            "group": snapshot.group,
            "epoch": snapshot.epoch,
            "resolved": self.run.read_resolved(),
            "history": self.history.text()[: snapshot.history_length],
            "seconds": snapshot.seconds,
            "use_test_set": self.use_test_set,
            "conditions": {name: self.record.get(name) for name in _CONDITIONS},
            "record": {key: self.record[key] for key in _RECORD_KEYS if key in self.record},
        }
        self.run.write_checkpoint({n: t.numpy() for n, t in snapshot.tensors.items()}, document)
        ended = time.perf_counter()
        self._next = ended + max(EVERY_SECONDS, (ended - began) / COST_SHARE)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a group of networks at the end of an epoch, as a checkpoint will hold it.

    Attributes:
        group: the place of the group.
        epoch: the last that ended.
        history_length: how many characters the history had then.
        seconds: of training up to there.
        tensors: of the group.
    """

    group: int
    epoch: int
    history_length: int
    seconds: float
    tensors: Mapping[str, torch.Tensor]


@dataclass(eq=False)
class GroupKeeper:
    """Keeps the state of one group of networks."""

    keeper: Keeper
    place: int
    _unwritten: Snapshot | None = None

    def begin(self, trainer: Trainer) -> None:
        """Let the trainer resume from what was kept, or keep its beginning."""
        kept = self.keeper.kept
        if kept is not None and kept.group == self.place:
            rows = _rows_of(kept.history, [r.number for r in trainer.replicas])
            if max(map(len, rows.values())) != kept.epoch:
                raise DataError(
                    f"The checkpoint in {self.keeper.run.path} has the history of different epochs."
                )
            trainer.load_state_dict(TrainerState(kept.epoch, rows, kept.tensors))
        else:
            self.keeper.keep(self.keeper.snapshot(trainer, self.place))

    def epoch_ended(self, trainer: Trainer) -> None:
        """Keep the state on the disk where it is time, and always at the end; else in memory."""
        self._unwritten = None  # two at a time would take twice the memory
        self._unwritten = self.keeper.snapshot(trainer, self.place)
        if self.keeper.due() or trainer.is_done:
            self.write()

    def write(self) -> None:
        """Bring the state of the last epoch that ended to the disk, unless it is there."""
        if self._unwritten is not None:
            self.keeper.keep(self._unwritten)
            self._unwritten = None


def _rows_of(history: str, numbers: Sequence[int]) -> dict[int, list[dict[str, float]]]:
    """The rows of some of a run's networks in a history, in order."""
    table = parse_history(history, "the history in the checkpoint")
    kind = member_kind(table.columns)
    rows: dict[int, list[dict[str, float]]] = {}
    for number in numbers:
        own = table if kind is None else table[table[kind] == number]
        rows[number] = [{str(k): v for k, v in row.items()} for row in own.to_dict("records")]
    return rows
