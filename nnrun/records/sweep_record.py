"""What sweep.json holds, and whether a file really holds it: it may be damaged, or edited by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from nnrun.records.history import is_finite

TrialStatus = Literal["waiting", "running", "completed", "pruned", "interrupted", "failed", "diverged"]
FINISHED: frozenset[TrialStatus] = frozenset({"completed", "pruned", "failed", "diverged"})
"""A trial of such a status never runs again."""

_METHODS = ("grid", "random", "tpe")
_LARGEST = 2**63


@dataclass
class TrialRecord:
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

    number: int
    values: dict[str, Any]
    status: TrialStatus = "waiting"
    run: str | None = None
    score: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass
class SweepRecord:
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

    id: str
    name: str
    status: str
    content: str
    method: str
    monitor: str
    maximize: bool
    seed: int
    total: int
    smoke: bool
    started: str
    ended: str | None = None
    data: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    best: int | None = None
    trials: list[TrialRecord] = field(default_factory=list)

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


def sweep_record_of(found: Mapping[str, Any]) -> tuple[SweepRecord, str | None]:
    """The record that a JSON object holds, and what is wrong with its trials, which are then left out.

    Raises:
        DamagedRecord: what holds for all trials is missing or of another kind.
    """
    own = _checked(found, SweepRecord, _SWEEP)
    listed, problem = found.get("trials", []), None
    if not isinstance(listed, list):
        return SweepRecord(**{**own, "trials": []}), f"trials is {_shown(listed)}"
    trials: dict[int, TrialRecord] = {}
    for place, entry in enumerate(listed):
        try:
            trial = _trial_of(entry)
            if trial.number in trials:
                raise DamagedRecord(f"number {trial.number} occurs twice")
            trials[trial.number] = trial
        except DamagedRecord as error:
            problem = problem or f"trials[{place}]: {error}"
    in_order = [trials[number] for number in sorted(trials)]
    record = SweepRecord(**{**own, "trials": in_order})
    if record.best is not None and record.best not in {trial.number for trial in record.ranked()}:
        problem = problem or f"best is {record.best}, which is not a trial with a score"
        record.best = None
    return record, problem


def _trial_of(entry: object) -> TrialRecord:
    if not isinstance(entry, Mapping):
        raise DamagedRecord(f"it is {_shown(entry)}")
    trial = TrialRecord(**_checked(entry, TrialRecord, _TRIAL))
    if trial.status == "completed" and (trial.run is None or trial.score is None):
        raise DamagedRecord("it is completed, without a run or a score")
    if trial.score is not None:
        trial.score = float(trial.score)
    return trial


Check = Callable[[object], bool]


def _checked(found: Mapping[str, Any], kind: type[Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """The fields of a record; those with a default may be missing."""
    values = {}
    for entry in fields(kind):
        name = entry.name
        if name not in checks:
            continue
        if name in found:
            if not checks[name](found[name]):
                raise DamagedRecord(f"{name} is {_shown(found[name])}")
            values[name] = found[name]
        elif name in _REQUIRED:
            raise DamagedRecord(f"{name} is missing")
    return values


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "a number that is too large"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(value: object) -> bool:
    return isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _from(least: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < _LARGEST


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _folder(value: object) -> bool:
    """The name of a folder, and no way out of the one that it lies in."""
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & {"/", "\\", "\0"}


def _duration(value: object) -> bool:
    return is_finite(value) and value >= 0  # type: ignore[operator]


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_SWEEP: Mapping[str, Check] = {
    **dict.fromkeys(("name", "status", "content", "monitor", "started"), _text),
    **dict.fromkeys(("maximize", "smoke"), _truth),
    "id": _folder,
    "method": lambda value: isinstance(value, str) and value in _METHODS,
    "seed": _from(0),
    "total": _from(0),
    "ended": _or_none(_text),
    "data": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    "versions": _texts,
    "best": _or_none(_from(1)),
}
_TRIAL: Mapping[str, Check] = {
    "number": _from(1),
    "values": lambda value: isinstance(value, dict),
    "status": lambda value: isinstance(value, str) and value in get_args(TrialStatus),
    "run": _or_none(_folder),
    "score": _or_none(is_finite),
    "epoch": _or_none(_from(1)),
    "seconds": _or_none(_duration),
    "error": _or_none(_text),
}
_REQUIRED = {
    *(
        "id",
        "name",
        "status",
        "content",
        "method",
        "monitor",
        "maximize",
        "seed",
        "total",
        "smoke",
        "started",
    ),
    *("number", "values"),
}
