"""When the state of a run's training is kept, and what else a checkpoint holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nnrun.errors import DataError
from nnrun.records import RunDirectory, member_kind
from nnrun.training.loop import Past, Trainer

EVERY_SECONDS = 1.0
"""So much training at most is lost with a process that is killed, and the epoch that it was in."""

COST_SHARE = 0.03
"""Of the time that is spent on keeping: where one checkpoint takes long, they become rarer."""

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
        DataError: there is none, or it is none of ours.
    """
    found = run.read_checkpoint()
    document = found.document
    try:
        record = dict(document["record"])
        for key in ("stopped_early", "weights_epoch", "best_weights_epoch"):
            if isinstance(record.get(key), Mapping):  # JSON has no whole numbers for keys
                record[key] = {int(number): value for number, value in record[key].items()}
        return Kept(
            group=int(document["group"]),
            epoch=int(document["epoch"]),
            resolved=str(document["resolved"]),
            history=str(document["history"]),
            seconds=float(document["seconds"]),
            use_test_set=document["use_test_set"] is True,
            conditions=dict(document["conditions"]),
            record=record,
            tensors={name: torch.from_numpy(array) for name, array in found.arrays.items()},
        )
    except (KeyError, TypeError, ValueError):
        raise DataError(f"The checkpoint in {run.path} is none that nnrun wrote.") from None


@dataclass(eq=False)
class Keeper:
    """Keeps the state of a run.

    Attributes:
        run: its folder.
        record: what its run.json will hold.
        use_test_set: whether the test set is scored at the end.
        kept: what the run goes on from, or None.
        every_epoch: keep the state after each.
    """

    run: RunDirectory
    record: Mapping[str, Any]
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

    def keep(self, trainer: Trainer, place: int) -> None:
        """Keep the state of a group, which ended an epoch."""
        began = time.perf_counter()
        before = 0.0 if self.kept is None else self.kept.seconds
        document = {
            "group": place,
            "epoch": trainer.epoch,
            "resolved": self.run.read_resolved(),
            "history": self.run.history_text(),
            "seconds": before + began - self._started,
            "use_test_set": self.use_test_set,
            "conditions": {name: self.record.get(name) for name in _CONDITIONS},
            "record": {key: self.record[key] for key in _RECORD_KEYS if key in self.record},
        }
        arrays = {name: tensor.numpy() for name, tensor in trainer.past().tensors.items()}
        self.run.write_checkpoint(arrays, document)
        ended = time.perf_counter()
        self._next = ended + max(EVERY_SECONDS, (ended - began) / COST_SHARE)


@dataclass(eq=False)
class GroupKeeper:
    """Keeps the state of one group of networks."""

    keeper: Keeper
    place: int

    def begin(self, trainer: Trainer) -> None:
        """Let the trainer go on from where it was kept, or keep its beginning."""
        kept = self.keeper.kept
        if kept is not None and kept.group == self.place:
            rows = _rows_of(self.keeper.run, [r.number for r in trainer.replicas])
            trainer.go_on(Past(kept.epoch, rows, kept.tensors))
        else:
            self.keeper.keep(trainer, self.place)

    def epoch_ended(self, trainer: Trainer) -> None:
        """Keep the state where it is time, and always at the end."""
        if self.keeper.due() or trainer.is_done:
            self.keeper.keep(trainer, self.place)


def _rows_of(run: RunDirectory, numbers: Sequence[int]) -> dict[int, list[dict[str, float]]]:
    """The rows of some of a run's networks in its history, in order."""
    table = run.read_history()
    kind = member_kind(table.columns)
    rows: dict[int, list[dict[str, float]]] = {}
    for number in numbers:
        own = table if kind is None else table[table[kind] == number]
        rows[number] = [{str(k): v for k, v in row.items()} for row in own.to_dict("records")]
    return rows
