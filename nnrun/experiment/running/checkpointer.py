"""When the state of a run's training is kept, and what else a checkpoint holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, ValidationError

from nnrun.errors import DataError
from nnrun.lazy_torch import torch
from nnrun.records import HistoryWriter, RunDirectory, RunRecord, member_type_of, parse_history
from nnrun.records.run_record import OF_NETWORK
from nnrun.records.weights import Checkpoint
from nnrun.training.loop import Trainer, TrainerState

EVERY_SECONDS = 1.0
"""So much training at most is lost with a process that is killed, and the epoch that it was in."""

COST_SHARE = 0.03
"""Of the time that is spent on keeping: where one checkpoint takes long, they become rarer."""

_MOST_THREADS = 2**16

_RECORD_KEYS = ("epochs_run", *OF_NETWORK, "members")
_CONDITIONS = (
    "versions",
    "device",
    "threads",
    "compiled",
    "networks_at_once",
    "world_size",
    "data",
    "custom",
)


def _of_any_version(value: Any) -> Any:
    """Older checkpoints have null for what a run's record lacks, and maps of what it has of each network."""
    if not isinstance(value, Mapping):
        return value
    old = {name for name in OF_NETWORK if isinstance(value.get(name), Mapping)}
    return {name: of for name, of in value.items() if of is not None and name not in old}


PartOfRecord = Annotated[RunRecord, BeforeValidator(_of_any_version)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class CheckpointState(BaseModel):
    """What a checkpoint says.

    Attributes:
        group: the index of the group that was in training; those before it had ended.
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

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, defer_build=True)

    group: Count
    epoch: Count
    resolved: str
    history: str
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    use_test_set: bool
    conditions: PartOfRecord
    record: PartOfRecord
    tensors: SkipValidation[Mapping[str, Any]]  # pydantic would ask for the type, and import PyTorch

    @property
    def threads(self) -> int:
        """How many CPU threads computed."""
        return self.conditions.threads or 0


def read_checkpoint_state(run: RunDirectory) -> CheckpointState:
    """The newest whole checkpoint of a run.

    Raises:
        DataError: there is none, or nnrun did not write it.
    """

    def interpret(found: Checkpoint) -> CheckpointState:
        tensors = {name: torch.from_numpy(array) for name, array in found.arrays.items()}
        try:
            state = CheckpointState.model_validate({**found.document, "tensors": tensors})
        except ValidationError:
            state = None
        if state is None or not 1 <= state.threads <= _MOST_THREADS:
            raise DataError(f"The checkpoint in {run.path} was not written by nnrun.")
        return state

    return run.read_checkpoint(interpret)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a group of networks at the end of an epoch, as a checkpoint will hold it.

    Attributes:
        group: the index of the group.
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
class Checkpointer:
    """Keeps the state of a run at the ends of epochs.

    Attributes:
        run: its folder.
        record: what its run.json will hold.
        history: its history.
        use_test_set: whether the test set is scored at the end.
        resumed_from: the checkpoint that the run resumes from, or None.
        every_epoch: keep the state after each.
        group: the index of the group that is in training.
    """

    run: RunDirectory
    record: RunRecord
    history: HistoryWriter
    use_test_set: bool
    resumed_from: CheckpointState | None = None
    every_epoch: bool = False
    group: int = 0
    _started: float = field(default_factory=time.perf_counter)
    _next: float = 0.0
    _unwritten: Snapshot | None = None

    def start(self, trainer: Trainer) -> None:
        """Let the trainer of a group resume from what was kept, or keep its beginning."""
        state = self.resumed_from
        if state is None or state.group != self.group:
            self._unwritten = self._snapshot(trainer)
            self.write()
            return
        rows = _rows_of(state.history, [r.number for r in trainer.replicas])
        if max(map(len, rows.values())) != state.epoch:
            raise DataError(f"The checkpoint in {self.run.path} has the history of different epochs.")
        trainer.load_state_dict(TrainerState(state.epoch, rows, state.tensors))

    def epoch_ended(self, trainer: Trainer) -> None:
        """Keep the state on the disk where it is time, and always at the end; else in memory."""
        self._unwritten = None  # two at a time would take twice the memory
        self._unwritten = self._snapshot(trainer)
        if self.due() or trainer.is_done:
            self.write()

    def due(self) -> bool:
        """Whether it is time to write."""
        return self.every_epoch or time.perf_counter() >= self._next

    def write(self) -> None:
        """Bring the state of the last epoch that ended to the disk, unless it is there."""
        snapshot = self._unwritten
        if snapshot is None:
            return
        began = time.perf_counter()
        self.run.refuse_if_gone()
        record = self.record.to_json()
        document = {
            "group": snapshot.group,
            "epoch": snapshot.epoch,
            "resolved": self.run.read_resolved(),
            "history": self.history.text()[: snapshot.history_length],
            "seconds": snapshot.seconds,
            "use_test_set": self.use_test_set,
            "conditions": {name: record.get(name) for name in _CONDITIONS},
            "record": {key: record[key] for key in _RECORD_KEYS if key in record},
        }
        self.run.write_checkpoint({n: t.numpy() for n, t in snapshot.tensors.items()}, document)
        ended = time.perf_counter()
        self._next = ended + max(EVERY_SECONDS, (ended - began) / COST_SHARE)
        self._unwritten = None

    def _snapshot(self, trainer: Trainer) -> Snapshot:
        before = 0.0 if self.resumed_from is None else self.resumed_from.seconds
        seconds = before + time.perf_counter() - self._started
        return Snapshot(self.group, trainer.epoch, self.history.length, seconds, trainer.state_dict().tensors)


def _rows_of(history: str, member_ids: Sequence[int]) -> dict[int, list[dict[str, float]]]:
    """The rows of some of a run's networks in a history, in order."""
    table = parse_history(history, "the history in the checkpoint")
    member_type = member_type_of(table.columns)
    rows: dict[int, list[dict[str, float]]] = {}
    for member_id in member_ids:
        own = table if member_type is None else table.rows(table[member_type] == member_id)
        rows[member_id] = own.records()
    return rows
