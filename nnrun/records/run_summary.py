"""A run as a list shows it: what is needed of its record, and no more, so that many can be listed quickly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property

from nnrun.records.looks import Look, looks_of_record
from nnrun.records.run_directory import RunDirectory
from nnrun.records.run_record import RunRecord

BROKEN = "broken"
"""The status that a list gives to a run whose record cannot be read. No record holds it."""


@dataclass(frozen=True)
class RunSummary:
    """A run as a list shows it.

    Attributes:
        run: the run's folder.
        status: as its record has it, or `broken`.
        problem: why the run is broken, as a sentence; the rest is what could be read of it.
        name, command, device, sweep, best_epoch: as its record has them.
        started, ended: with the time zone.
        seconds: how long the run trained; from start to end where its record does not say. None while it
            trains.
        epochs: that were trained (of the fold or seed that trained longest); None where it is not known, or
            another run trained them.
        best: column → value at the best epoch; of an ensemble, which has no such epoch, what its predictions
            of validation rows score.
        test: loss and metrics on the test set; empty where it was not used.
        data: the names of the files or data sets behind it.
        directions: custom metric → whether it is better the higher it is.
        looks: at its test set, as its record lists them.
        look, look_of_any: which look its last was by experiments of its name, and of any, as it was numbered
            then.
        nested: which part of nested cross-validation it is: `inner` or `outer`; None for any other run.
        kept: column → validation score of the weights that several networks kept, where they are of other
            epochs.
        optimistic: whether the rows of `best` chose its epoch, or it among the trials of a sweep.
        parent, reproduces: as its record has them.
        known_size: the bytes of its files, where the list has them.
    """

    run: RunDirectory
    status: str
    problem: str | None = None
    name: str | None = None
    command: str | None = None
    device: str | None = None
    sweep: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    best: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    directions: Mapping[str, bool] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    look: int | None = None
    look_of_any: int | None = None
    nested: str | None = None
    optimistic: bool = False
    kept: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    reproduces: str | None = None
    known_size: int | None = field(default=None, compare=False)

    @cached_property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @cached_property
    def size(self) -> int:
        """The bytes of its files."""
        return self.run.size() if self.known_size is None else self.known_size


def summary_of(run: RunDirectory, record: RunRecord, problem: str | None = None) -> RunSummary:
    """What a list shows of a run.

    Args:
        run: the run's folder.
        record: what run.json holds; of a run that is broken what could be read of it.
        problem: why the run is broken, as a sentence.
    """
    started, ended = _moment(record.started), _moment(record.ended)
    seconds = None
    if started is not None and ended is not None:
        from_start_to_end = None if record.resumed else (ended - started).total_seconds()
        seconds = from_start_to_end if record.training_seconds is None else record.training_seconds
    return RunSummary(
        run,
        BROKEN if problem else str(record.status),
        problem,
        name=record.name,
        command=record.command,
        device=record.device,
        sweep=record.sweep,
        started=started,
        ended=ended,
        seconds=seconds,
        epochs=None
        if record.trained_elsewhere or "epochs_run" not in record.model_fields_set
        else record.epochs_run,
        best_epoch=record.best_epoch if record.ensemble is None else None,
        best={name: value for name, value in record.listed_scores.items() if value is not None},
        test={name: value for name, value in record.test.items() if value is not None},
        data=tuple(data.name for data in record.data),
        directions=record.directions,
        looks=looks_of_record(record),
        look=record.test_uses[-1].look if record.test_uses else None,
        look_of_any=record.test_uses[-1].look_of_any if record.test_uses else None,
        nested=None if record.nested is None else "outer" if record.has_outer_scores else record.nested.part,
        optimistic=record.is_optimistic,
        kept={name: value for name, value in record.kept.items() if value is not None and record.kept_apart},
        parent=record.parent,
        reproduces=record.reproduces,
    )


def _moment(text: str | None) -> datetime | None:
    """An ISO 8601 time; one without a zone is in UTC. None for any other text."""
    if text is None:
        return None
    try:
        text = re.sub(r"[zZ]$", "+00:00", text)
        # Python 3.10 reads fractions of a second of three or six digits.
        text = re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", text)
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        moment.timestamp()  # years at the calendar's ends have none
    except (ValueError, OverflowError):
        return None
    return moment
