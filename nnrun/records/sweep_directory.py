"""One sweep's folder: every file in it is read and written here, and named nowhere else.

    runs/<name>-sweep-<UTC time>-<4 hex>/
        spec.yaml  resolved.yaml  sweep.json  trials.csv  best.yaml
        study.log       (of `tpe`: what Optuna knows)
        work/           (while workers train its trials: see nnrun/records/claims.py)
        plots/

The trials are separate runs next to it. sweep.json lists each trial before its training starts. Where it was
damaged, or edited by hand, what is sound is read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nnrun.atomic_files import (
    is_held,
    locked,
    make_folder,
    plain,
    read_json_object,
    read_text,
    refuse_newer,
    write_text,
    writing,
)
from nnrun.cells import cell
from nnrun.errors import DataError, NnrunError, UsageError
from nnrun.records.run_directory import RunDirectory, new_id
from nnrun.records.run_record import NestedRecord
from nnrun.spec.wording import listing

SWEEP_RECORD = "sweep.json"

_SPEC = "spec.yaml"
_RESOLVED = "resolved.yaml"
_TRIALS = "trials.csv"
_BEST = "best.yaml"
_STUDY = "study.log"
_STUDY_OF_FOLD = "study-{}.log"
_PLOTS = "plots"
_FIGURE = "sweep.png"
_REPORT = "report.html"

VERSION = 1
"""Of the format of sweep.json. A file of a higher version is not read."""

TrialStatus = Literal["waiting", "running", "completed", "pruned", "interrupted", "failed", "diverged"]
FINISHED: frozenset[TrialStatus] = frozenset({"completed", "pruned", "failed", "diverged"})
"""A trial of such a status never runs again."""

_LARGEST = 2**63
_BLOCK = 4096

T = TypeVar("T", bound=BaseModel)


def _folder_name(value: str) -> str:
    """The name of a folder, and no way out of the one that it lies in."""
    if value in ("", ".", "..") or set(value) & {"/", "\\", "\0"}:
        raise ValueError("not the name of a folder")
    return value


Count = Annotated[int, Field(ge=0, lt=_LARGEST)]
Number = Annotated[int, Field(ge=1, lt=_LARGEST)]
FolderName = Annotated[str, AfterValidator(_folder_name)]


class TrialRecord(BaseModel):
    """What is known of a trial.

    Attributes:
        number: from 1.
        values: key of the spec → its value in this trial.
        status: how far it has come.
        run: the id of its run, the last one if a kill made it start again.
        score: the monitored column at the run's best epoch; None unless it completed.
        epoch: that epoch.
        seconds: how long it trained.
        error: why there is no score, as a sentence.
        stopped_by_time: the epoch after which a time limit ended it.
        outer_fold: the only outer fold within which it was trained, of nested cross-validation by TPE.
        worker: who trained it, where there were several workers.
    """

    model_config = ConfigDict(strict=True, defer_build=True)

    number: Number
    values: dict[str, Any]
    status: TrialStatus = "waiting"
    run: FolderName | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    epoch: Number | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    error: str | None = None
    stopped_by_time: Number | None = None
    outer_fold: Count | None = None
    worker: str | None = None

    def dump(self) -> dict[str, Any]:
        """The fields as files have them."""
        return _known(self.model_dump())


class SweepRecord(BaseModel):
    """What sweep.json holds.

    Attributes:
        id: the name of the sweep's folder.
        name: of the experiment.
        status: `running` (or killed, where no process holds the folder's lock), `completed`, `interrupted`.
        content: a hash of what is tried, on what data; the same again resumes this sweep.
        method, monitor, seed, smoke: as the spec or the command line says.
        maximize: whether a high score is good.
        total: how many trials there will be.
        command: that made it, where that is not `sweep`: `lr`, `curve`.
        ended_by_time: the time limit that ended it before all trials had run.
        started, ended: as in run.json.
        data, versions: as in run.json.
        best: the number of the best trial.
        trials: those that are known, in order.
        nested: of a sweep within the outer folds of nested cross-validation what was chosen there; else None.
    """

    model_config = ConfigDict(strict=True, defer_build=True)

    version: Count = VERSION
    id: FolderName
    name: str
    status: str
    content: str
    method: Literal["grid", "random", "tpe"]
    monitor: str
    maximize: bool
    seed: Count
    total: Count
    smoke: bool
    command: str | None = None
    ended_by_time: str | None = None
    started: str
    ended: str | None = None
    data: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    best: Number | None = None
    trials: list[TrialRecord] = []
    nested: NestedRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as sweep.json has them."""
        fields = self.model_dump()
        return _known(fields) | {"trials": [trial.dump() for trial in self.trials]}

    def trial(self, number: int) -> TrialRecord | None:
        """What is known of a trial; None where nothing is."""
        return next((trial for trial in self.trials if trial.number == number), None)

    def add(self, trial: TrialRecord) -> TrialRecord:
        """Take in a trial that was not known, in the order of the numbers; the same trial."""
        self.trials = sorted([*self.trials, trial], key=lambda each: each.number)
        return trial

    def ranked(self) -> list[TrialRecord]:
        """The trials that have a score, the best first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        sign = -1 if self.maximize else 1
        return sorted(scored, key=lambda trial: (sign * (trial.score or 0.0), trial.number))

    def unfinished(self) -> list[TrialRecord]:
        """The trials that have yet to run."""
        return [trial for trial in self.trials if trial.status not in FINISHED]

    @property
    def has_best(self) -> bool:
        """Whether trials have scores of the same rows: TPE within outer folds has trials for each of them."""
        return any(trial.score is not None and trial.outer_fold is None for trial in self.trials)

    @property
    def left(self) -> int:
        """How many trials are still to be run, or to be run to their end."""
        return self.total - len(self.trials) + len(self.unfinished())


_WHERE_KNOWN = ("command", "ended_by_time", "stopped_by_time", "outer_fold", "nested", "worker")
"""Fields that stand in the file only where they are set."""


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: of for name, of in fields.items() if name not in _WHERE_KNOWN or of is not None}


class DamagedRecord(Exception):
    """A value is not one that nnrun writes there; the text says which."""


def read_sweep_record(found: Mapping[str, Any]) -> tuple[SweepRecord, str | None]:
    """The record that a JSON object holds, and what is wrong with its trials, which are then left out.

    Raises:
        DamagedRecord: what holds for all trials is missing or of another type.
    """
    listed, problem = found.get("trials", []), None
    record = _valid(SweepRecord, {**found, "trials": []})
    if not isinstance(listed, list):
        return record, f"trials is {_shown(listed)}"
    trials: dict[int, TrialRecord] = {}
    for position, entry in enumerate(listed):
        try:
            trial = _valid(TrialRecord, entry)
            if trial.status == "completed" and (trial.run is None or trial.score is None):
                raise DamagedRecord("it is completed, without a run or a score")
            if trial.number in trials:
                raise DamagedRecord(f"number {trial.number} occurs twice")
            trials[trial.number] = trial
        except DamagedRecord as error:
            problem = problem or f"trials[{position}]: {error}"
    record.trials = [trials[number] for number in sorted(trials)]
    if record.best is not None and record.best not in {trial.number for trial in record.ranked()}:
        problem = problem or f"best is {record.best}, which is not a trial with a score"
        record.best = None
    return record, problem


def _valid(model: type[T], found: object) -> T:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"] or not isinstance(found, Mapping):
            raise DamagedRecord(f"it is {_shown(found)}") from None
        name = str(first["loc"][0])
        told = f"is {_shown(found[name])}" if name in found else "is missing"
        raise DamagedRecord(f"{name} {told}") from None


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "a number that is too large"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class SweepDirectory:
    """A sweep on disk.

    Attributes:
        path: the sweep's folder.
    """

    path: Path

    @property
    def id(self) -> str:
        """The sweep's id: the name of its folder."""
        return self.path.name or self.path.resolve().name

    @property
    def word(self) -> str:
        """Its path as it is typed."""
        return shlex.quote(str(self.path))

    @property
    def best_spec(self) -> Path:
        """The file of the best trial's spec; there once a trial has completed."""
        return self.path / _BEST

    @property
    def figure(self) -> Path:
        """The file of the figure; there once the sweep has completed."""
        return self.path / _PLOTS / _FIGURE

    def run_of(self, trial: TrialRecord) -> RunDirectory:
        """The run of a trial that has one: its folder lies beside the sweep's."""
        return RunDirectory(self.path.parent / str(trial.run))

    def gone(self, record: SweepRecord) -> frozenset[int]:
        """The numbers of the trials whose run has been deleted."""
        had = (trial for trial in record.trials if trial.run is not None)
        return frozenset(trial.number for trial in had if not self.run_of(trial).is_run())

    def best_that_is_there(self, record: SweepRecord) -> TrialRecord | None:
        """The best trial whose run is there; None where trials have no scores of the same rows."""
        ranked = record.ranked() if record.has_best else []
        return next((trial for trial in ranked if self.run_of(trial).is_run()), None)

    def size(self) -> int:
        """The bytes of its own files; its trials' runs lie beside it."""
        return RunDirectory(self.path).size()

    def is_running(self) -> bool:
        """Whether a process holds it; False where that cannot be known."""
        return bool(is_held(self.path))

    def is_sweep(self) -> bool:
        """Whether the folder holds the record of a sweep."""
        return os.path.isfile(self.path / SWEEP_RECORD)

    def write_spec(self, text: str) -> None:
        """Keep the spec as it was written."""
        write_text(self.path / _SPEC, text)

    def read_resolved(self) -> str:
        """The spec that repeats the sweep.

        Raises:
            DataError: it is not there, or cannot be read.
        """
        return read_text(self.resolved_spec)

    def write_resolved(self, text: str) -> None:
        """Keep the spec with every default and what the command line changed: it repeats the sweep."""
        write_text(self.path / _RESOLVED, text)

    @property
    def resolved_spec(self) -> Path:
        """The file of the spec that repeats the sweep.

        Raises:
            DataError: it is not there, as in a sweep of an older nnrun.
        """
        path = self.path / _RESOLVED
        if not path.is_file():
            raise DataError(f"{self.path} has no {_RESOLVED}. Start its spec again to resume it.")
        return path

    def write_record(self, record: SweepRecord) -> None:
        """Replace sweep.json: whoever reads it meanwhile finds the old one or the new one."""
        text = json.dumps(plain(record.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(self.path / SWEEP_RECORD, text + "\n")

    def read_record(self) -> SweepRecord:
        """What sweep.json holds.

        Raises:
            DataError: it is missing or damaged.
        """
        record, problem = self.read_sound_part()
        if problem is not None:
            raise DataError(f"{self.path / SWEEP_RECORD} is damaged: {problem}.")
        return record

    def read_sound_part(self) -> tuple[SweepRecord, str | None]:
        """What sweep.json holds, without trials that are damaged; and what is wrong with those.

        Raises:
            DataError: it is missing, or damaged in what holds for all trials.
        """
        path = self.path / SWEEP_RECORD
        try:
            record, problem = read_sweep_record(read_json_object(path))
        except DamagedRecord as error:
            raise DataError(f"{path} is damaged: {error}.") from None
        refuse_newer(path, record.version, VERSION)
        return record, problem

    def write_trials(self, record: SweepRecord) -> None:
        """Write the trials as a table: one row each, the swept keys as its last columns."""
        keys = list(record.trials[0].values) if record.trials else []
        columns = ("number", "status", "score", "epoch", "seconds", "run")
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(map(cell, ["trial", "status", record.monitor, *columns[3:], *keys]))
        for trial in record.trials:
            row = [*(getattr(trial, name) for name in columns), *map(_field, trial.values.values())]
            table.writerow(map(cell, row))
        write_text(self.path / _TRIALS, text.getvalue())

    def write_best(self, text: str) -> None:
        """Keep the best trial's spec."""
        write_text(self.best_spec, text)

    def write_report(self, text: str) -> Path:
        """Keep the page that tells all of the sweep; its path."""
        path = self.path / _REPORT
        write_text(path, text)
        return path

    def make_plots(self) -> None:
        """Make the folder of the figure."""
        make_folder(self.figure.parent)

    def study_file(self, outer_fold: int | None = None) -> Path:
        """The file of Optuna's study, or of the one of an outer fold.

        A last line that a kill has torn is cut off: nobody could read it.
        """
        path = self.shared_study_file(outer_fold)
        with writing(path):
            if path.exists():
                cut_torn_line(path)
        return path

    def shared_study_file(self, outer_fold: int | None = None) -> Path:
        """The same file, which others may be writing."""
        return (self.path / (_STUDY if outer_fold is None else _STUDY_OF_FOLD.format(outer_fold))).absolute()


def cut_torn_line(path: Path) -> None:
    """Cut off what a kill has left of a line. Nobody else may be writing the file."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            first = max(0, position - _BLOCK)
            file.seek(first)
            newline = file.read(position - first).rfind(b"\n")
            if newline >= 0:
                position = first + newline + 1
                break
            position = first
        if position < end:
            file.truncate(position)


def _field(value: Any) -> str:
    """A value as the table holds it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def list_sweeps(runs_dir: Path) -> list[SweepDirectory]:
    """The sweeps in a folder of runs, by id."""
    if not runs_dir.is_dir():
        return []
    found = (SweepDirectory(entry) for entry in sorted(runs_dir.iterdir()) if not entry.name.startswith("."))
    return [sweep for sweep in found if sweep.is_sweep()]


def find_sweep(reference: str, runs_dir: Path) -> SweepDirectory:
    """The sweep that a user means by a path, an id, a unique beginning of one, or `@last`.

    Raises:
        UsageError: there is none, or several.
    """
    as_path = SweepDirectory(Path(os.path.expanduser(reference)))
    if reference and as_path.is_sweep():
        return as_path
    sweeps = list_sweeps(runs_dir)
    if reference == "@last" and sweeps:
        return _last(sweeps)
    found = [sweep for sweep in sweeps if reference and sweep.id.startswith(reference)]
    exact = [sweep for sweep in found if sweep.id == reference]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        ids = "\n".join(f"  {sweep.id}" for sweep in found)
        raise UsageError(f"'{reference}' matches {len(found)} sweeps; name one:\n{ids}")
    there = f"Its sweeps: {listing([s.id for s in sweeps], 'and')}." if sweeps else "It contains no sweeps."
    raise UsageError(f"No sweep '{reference}' in {runs_dir}. {there}")


def _last(sweeps: Sequence[SweepDirectory]) -> SweepDirectory:
    """The sweep that began last, among those whose record can be read."""
    readable, damaged = _read_records(sweeps)
    if not readable:
        raise next(iter(damaged.values()))
    return max(readable, key=lambda entry: entry[1].started)[0]


def _read_records(
    sweeps: Iterable[SweepDirectory],
) -> tuple[list[tuple[SweepDirectory, SweepRecord]], dict[str, DataError]]:
    """Sweeps with their records, and id → error of those whose record cannot be read."""
    readable, damaged = [], {}
    for sweep in sweeps:
        try:
            readable.append((sweep, sweep.read_sound_part()[0]))
        except DataError as error:
            damaged[sweep.id] = error
    return readable, damaged


@dataclass(frozen=True)
class OpenSweep:
    """A sweep that no other process can hold meanwhile.

    Attributes:
        sweep: its folder.
        record: what is known of it; of damaged trials nothing.
        is_new: it was just started.
        notes: sentences about damaged records.
    """

    sweep: SweepDirectory
    record: SweepRecord
    is_new: bool
    notes: tuple[str, ...] = ()


@contextmanager
def open_sweep(
    runs_dir: Path,
    name: str,
    content: str,
    first: Callable[[str], SweepRecord],
    spec: str,
    resolved: str,
    *,
    new: bool,
    resume: SweepDirectory | None = None,
) -> Iterator[OpenSweep]:
    """Hold a sweep: the newest of this content, or a new one. No other process can hold it meanwhile.

    Args:
        runs_dir: where runs are kept; made where it is missing.
        name: the experiment's name.
        content: what is tried; a sweep of the same content is the same sweep.
        first: id → the record of a new sweep.
        spec: the spec as it was written.
        resolved: the spec with every default, and with what the command line changed.
        new: begin a new one in any case.
        resume: continue this one.

    Raises:
        LockedError: another process is running this sweep.
        UsageError: `resume` has another content.
        DataError: the record of `resume` cannot be read.
    """
    make_folder(runs_dir)
    with ExitStack() as held:
        with locked(runs_dir):  # two processes that begin the same sweep at once make one folder
            notes: list[str] = []
            found = resume if resume or new else _newest(runs_dir, name, content, notes)
            sweep = found or _create(runs_dir, name, first, spec, resolved)
            busy = f"another process is running {sweep.id}. Wait until it ends, or start another with --new."
            held.enter_context(locked(sweep.path, busy))
        record, problem = sweep.read_sound_part()
        if record.content != content:
            raise UsageError(
                f"{sweep.id} cannot be continued: its data, its initial weights or its spec have "
                "changed since it started. Start its spec again: that starts a new sweep."
            )
        if problem is not None:
            notes.append(
                f"the record of {sweep.id} is damaged ({problem}); what it lacks is taken from its trials' "
                "runs"
            )
        yield OpenSweep(sweep, record, found is None, tuple(notes))


def _newest(runs_dir: Path, name: str, content: str, notes: list[str]) -> SweepDirectory | None:
    """The sweep of this content that began last. One whose record cannot be read is noted."""
    readable, damaged = _read_records(list_sweeps(runs_dir))
    for id_, error in damaged.items():
        if id_.startswith(f"{name}-"):
            notes.append(f"{str(error).rstrip('.')}; this sweep and its trials are skipped")
    same = [(record.started, sweep.id, sweep) for sweep, record in readable if record.content == content]
    return max(same)[2] if same else None


def _create(
    runs_dir: Path, name: str, first: Callable[[str], SweepRecord], spec: str, resolved: str
) -> SweepDirectory:
    """Make a sweep's folder, which is never without its record: it is filled under another name."""
    while True:
        path = runs_dir / new_id(name, "" if name.endswith("sweep") else "-sweep")
        hidden = SweepDirectory(path.with_name(f".{path.name}.new"))
        hidden.write_spec(spec)
        hidden.write_resolved(resolved)
        hidden.write_record(first(path.name))
        try:
            if not path.exists():
                hidden.path.rename(path)
                return SweepDirectory(path)
        except OSError as error:
            raise NnrunError(f"Cannot make {path}: {error.strerror}.") from error
        finally:
            shutil.rmtree(hidden.path, ignore_errors=True)
