"""What a run scored, as its files tell: at its best epoch network by network, and on the test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.records import MemberKind, RunDirectory, is_finite, member_kind, members_of_record
from nnrun.spec import schema
from nnrun.spec.reading.load import read_kept_spec


@dataclass(frozen=True)
class Score:
    """A score, or the mean over folds or seeds.

    Attributes:
        mean: NaN where a network's is not finite.
        std: standard deviation over the networks (ddof 1); None for one network.
    """

    mean: float
    std: float | None = None


@dataclass(frozen=True)
class DataFile:
    """What a run's record tells of a file of its data.

    Attributes:
        name, sha256, rows: as `nnrun.data.dataset.SourceFile`.
    """

    name: str
    sha256: str
    rows: int | None


@dataclass(frozen=True, eq=False)
class RunScores:
    """A run, as far as it can be compared.

    Attributes:
        run: its folder.
        spec: every default filled in.
        command, status: as the record says; empty where it does not.
        smoke: whether its rows are generated.
        kind: what tells its networks apart, or None for one network.
        numbers: the folds or seeds, ascending; the spec's seed for one network.
        epochs: epochs that were trained.
        best_epoch: None where nothing was validated, or not yet.
        validation: `val_<measure>` → number → value at the best epoch.
        test: measure → score.
        tested_epochs: the epochs whose weights were tested, ascending.
        test_uses: how often the run has looked at the test set.
        data: the files of its data.
    """

    run: RunDirectory
    spec: schema.ExperimentSpec
    command: str
    status: str
    smoke: bool
    kind: MemberKind | None
    numbers: tuple[int, ...]
    epochs: int
    best_epoch: int | None
    validation: Mapping[str, Mapping[int, float]]
    test: Mapping[str, Score]
    tested_epochs: tuple[int, ...]
    test_uses: int
    data: tuple[DataFile, ...]

    @property
    def validation_scores(self) -> dict[str, Score]:
        """`val_<measure>` → the mean over the networks at the best epoch."""
        return {name: _score(list(values.values())) for name, values in self.validation.items()}


def read_run_scores(run: RunDirectory) -> RunScores:
    """Read what a run scored. No data are loaded, and nothing is trained or measured.

    Raises:
        DataError, SpecError: a file of the run is missing or damaged.
    """
    record = run.read_record()
    spec = read_run_spec(run)
    best_epoch = _count(record.get("best_epoch")) or None
    kind, numbers = members_of_record(record)
    test_std = _finite(record.get("test_std"))
    uses = record.get("test_uses")
    return RunScores(
        run=run,
        spec=spec,
        command=_text(record.get("command")),
        status=_text(record.get("status")),
        smoke=record.get("smoke") is True,
        kind=kind,
        numbers=tuple(sorted(numbers)) or (spec.seed,),
        epochs=_count(record.get("epochs_run")),
        best_epoch=best_epoch,
        validation={} if best_epoch is None else validation_at(run, best_epoch, spec.seed),
        test={name: Score(v, test_std.get(name)) for name, v in _finite(record.get("test")).items()},
        tested_epochs=_tested_epochs(record) if uses else (),
        test_uses=len(uses) if isinstance(uses, list) else 0,
        data=_data(record),
    )


def read_run_spec(run: RunDirectory) -> schema.ExperimentSpec:
    """The spec that a run kept, which need not be one that could run here and now."""
    return read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")


def validation_at(run: RunDirectory, epoch: int, seed: int = 0) -> dict[str, dict[int, float]]:
    """`val_<measure>` → number → value at an epoch, as the history has them; `seed` numbers a lone network.

    Raises:
        DataError: the history is missing or damaged.
    """
    table = run.read_history()
    table = table[table["epoch"] == epoch]
    kind = member_kind(table.columns)
    numbers = [seed] * len(table) if kind is None else table[kind].tolist()
    columns = [str(name) for name in table.columns if str(name).startswith("val_")]
    return {
        name: dict(sorted(zip(map(int, numbers), table[name].astype(float).tolist(), strict=True)))
        for name in columns
        if table[name].notna().any()
    }


def _score(values: list[float]) -> Score:
    if not np.isfinite(values).all():
        return Score(float("nan"))
    return Score(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _tested_epochs(record: Mapping[str, Any]) -> tuple[int, ...]:
    kept = record.get("test_epoch") or record.get("weights_epoch")
    epochs = kept.values() if isinstance(kept, Mapping) else [kept]
    return tuple(sorted({_count(epoch) for epoch in epochs} - {0}))


def _data(record: Mapping[str, Any]) -> tuple[DataFile, ...]:
    entries = record.get("data")
    return tuple(
        DataFile(_text(entry.get("name")), _text(entry.get("sha256")), _count(entry.get("rows")))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    )


def _finite(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(number) for name, number in value.items() if is_finite(number)}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
