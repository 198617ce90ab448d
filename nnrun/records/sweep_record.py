"""sweep.json as a typed record, and what of a file is sound: it may be damaged, or edited by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

VERSION = 1
"""Of the format of sweep.json. A file of a higher version is not read."""

TrialStatus = Literal["waiting", "running", "completed", "pruned", "interrupted", "failed", "diverged"]
FINISHED: frozenset[TrialStatus] = frozenset({"completed", "pruned", "failed", "diverged"})
"""A trial of such a status never runs again."""

_LARGEST = 2**63

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
    """

    model_config = ConfigDict(strict=True)

    number: Number
    values: dict[str, Any]
    status: TrialStatus = "waiting"
    run: FolderName | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    epoch: Number | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    error: str | None = None


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
        started, ended: as in run.json.
        data, versions: as in run.json.
        best: the number of the best trial.
        trials: those that are known, in order.
    """

    model_config = ConfigDict(strict=True)

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
    started: str
    ended: str | None = None
    data: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    best: Number | None = None
    trials: list[TrialRecord] = []

    def ranked(self) -> list[TrialRecord]:
        """The trials that have a score, the best first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        sign = -1 if self.maximize else 1
        return sorted(scored, key=lambda trial: (sign * (trial.score or 0.0), trial.number))

    def unfinished(self) -> list[TrialRecord]:
        """The trials that have yet to run."""
        return [trial for trial in self.trials if trial.status not in FINISHED]


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
