"""What is published of a run, whatever the tracker: plain values, and the paths of files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.errors import UsageError
from nnrun.experiment.describing.learning_curves import make_panels, write_figures
from nnrun.experiment.finished.ensemble_text import ensemble_text
from nnrun.experiment.finished.run_scores import read_run_spec
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.experiment.setup.data_location import text_without_folders, without_folders
from nnrun.history_table import HistoryTable
from nnrun.records import RunDirectory, RunRecord
from nnrun.spec import schema
from nnrun.spec.writing.dump import dump_spec, dump_value, flow
from nnrun.validation.summary import mean_of_all

_NOT_MEASURED = ("epoch", "fold", "seed")
_FORMAT = b"2"
"""Of what is published: what another nnrun published of the same run is written anew."""


@dataclass(frozen=True, eq=False)
class Series:
    """The columns of a history, an entry for each epoch.

    Attributes:
        epochs: from 1.
        times: when each epoch had ended, in seconds since 1970.
        columns: name → the values; NaN where there is none.
    """

    epochs: Sequence[int]
    times: Sequence[float]
    columns: Mapping[str, Sequence[float]]

    def points(self) -> Iterator[tuple[str, int, float, float]]:
        """Column, epoch, time and value of all that is a number."""
        for name, values in self.columns.items():
            for epoch, time, value in zip(self.epochs, self.times, values, strict=True):
                if not math.isnan(value):
                    yield name, epoch, time, value


@dataclass(frozen=True, eq=False)
class Content:
    """A run, as trackers have runs.

    Attributes:
        run: its folder.
        record: what run.json holds.
        spec: its spec, every default filled in, with the names of its files alone.
        digest: of all that is published: the same run gives the same, until it is measured again.
        started, ended: in seconds since 1970.
        params: path of the spec → value, as `--set` takes it.
        tags: what else is known of the run.
        summary: name → single numbers, such as `best_val_loss` and `test_mae`; of an average of networks its
            own `out_of_fold_loss`, or `validation_loss` where no network trained on these rows.
        series: the history; of several networks their means and deviations, to the last epoch that
            all reached.
        networks: `fold-2` or `seed-7` → its own history and last scores; empty for a run of one network.
    """

    run: RunDirectory
    record: RunRecord
    spec: schema.ExperimentSpec
    digest: str
    started: float
    ended: float
    params: Mapping[str, str]
    tags: Mapping[str, str]
    summary: Mapping[str, float]
    series: Series
    networks: Mapping[str, Series]

    @property
    def experiment(self) -> str:
        """The experiment's name, by which trackers group runs."""
        return self.spec.name

    def files(self, folder: Path) -> list[Path]:
        """Spec, record and histories, copied below a folder, without this machine's folders."""
        written = text_without_folders(self.run.read_spec(), read_run_spec(self.run))
        return self.run.copy_texts(folder / self.run.id, written, dump_spec(self.spec))

    def figures(self, folder: Path) -> list[Path]:
        """PNG files: the curves, drawn into an existing folder, and what has been drawn of the run before."""
        return sorted({*write_figures(make_panels([self.run]), folder), *self.run.figures()})

    @property
    def has_model(self) -> bool:
        """Whether the run kept networks that can predict."""
        return all(self.run.has_weights(member) for member in self.record.named_members)


def content_of(run: RunDirectory) -> Content:
    """Read a run.

    Raises:
        UsageError: it is still training, or has no epoch.
        DataError, SpecError: its files are missing or damaged.
    """
    record = run.read_record()
    if record.status == "running":
        raise UsageError(f"{run.id} is still training. Publish it when it has ended.")
    history = run.read_history_table()
    if history.empty:
        raise UsageError(f"{run.id} ended before its first epoch had: there is nothing to publish.")
    started = _time(record.started)
    kind = record.member_type
    networks = {
        f"{kind}-{number}": _series(own, started)
        for number, own in (history.groups(history[kind]) if kind else ())
    }
    spec = without_folders(read_run_spec(run))
    return Content(
        run,
        record,
        spec,
        _digest(run.text_files()),
        started,
        max(_time(record.ended), started),
        dict(_params(spec)),
        dict(_tags(run, record)),
        dict(_summary(record)),
        _series(mean_of_all(history, kind) if kind else history, started),
        networks,
    )


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256(_FORMAT)
    for file in files:
        whole.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def _time(text: str | None) -> float:
    return 0.0 if text is None else datetime.fromisoformat(text).timestamp()


def _series(table: HistoryTable, started: float) -> Series:
    names = [name for name in table.columns if name not in _NOT_MEASURED]
    seconds = np.nancumsum(table.floats("seconds" if "seconds" in table else "seconds_mean"))
    return Series(
        table["epoch"].tolist(),
        [started + second for second in seconds.tolist()],
        {name: table.floats(name).tolist() for name in names},
    )


def _params(spec: schema.ExperimentSpec) -> Iterator[tuple[str, str]]:
    for key, value in dump_value(spec).items():
        yield from _flat(key, value)


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The single values below a key of the spec; a list of single values is one."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _flat(f"{path}.{key}", below)
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for place, item in enumerate(value):
            yield from _flat(f"{path}[{place}]", item)
    elif value is not None and value not in ("", [], {}):
        yield path, value if isinstance(value, str) else flow(value)


def _tags(run: RunDirectory, record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "nnrun.run", run.id
    known = {
        "command": record.command,
        "status": record.status,
        "device": record.device,
        "seed": record.seed,
        "parent": record.parent,
        "sweep": record.sweep,
        "git_commit": record.git_commit,
        # An average has the verdict of the run that trained its networks.
        "verdict" if record.ensemble is None else f"verdict_of_{record.ensemble.of}": record.verdict,
        "scores": _what_scores_are(record) or None,
        "smoke": record.smoke or None,
        "optimistic": record.is_optimistic or None,
        "looks_at_test_set": len(record.test_uses) or None,
        "data": json.dumps([{"name": d.name, "sha256": d.sha256, "rows": d.rows} for d in record.data]),
        "versions": json.dumps(dict(record.versions)),
    }
    for name, value in known.items():
        if value is not None:
            yield f"nnrun.{name}", str(value)


def _what_scores_are(record: RunRecord) -> str:
    """Of what the scores are whose names begin with `best_`, `kept_` or `out_of_fold_`."""
    said, used = [], recorded_weights(record)
    if record.ensemble is not None:
        own = ensemble_text(record)
        said += [f"{_ensemble_group(record)}_* are of the average. {own}"] if own else []
        return " ".join(
            [*said, f"The history is that of its networks, the mean of the {record.ensemble.of}."]
        )
    if record.best:
        of_all = "" if record.member_type is None else f", the same for every {record.member_type}"
        said.append(f"best_* are of epoch {record.best_epoch}{of_all}")
    if record.kept and used is not None:
        said.append(f"kept_* are of the weights that were kept and predict: {used.text}")
    return "; ".join(said)


def _summary(record: RunRecord) -> Iterator[tuple[str, float]]:
    linear = record.linear_baseline.scores if record.linear_baseline is not None else {}
    ensemble = record.ensemble
    # Epochs of an average's networks are of the run that trained them, which is published as itself.
    of_epochs = {"best": record.best, "kept": record.kept, "last": record.last}
    groups = {
        **(of_epochs if ensemble is None else {_ensemble_group(record): ensemble.validation}),
        "test": record.test,
        "baseline": record.baseline,
        "linear": linear,
    }
    for group, scores in groups.items():
        yield from ((f"{group}_{name}", float(value)) for name, value in scores.items() if value is not None)
    singles = {
        "best_epoch": record.best_epoch if ensemble is None else None,
        "parameters": record.parameters,
        "training_seconds": record.training_seconds,
        "looks_at_test_set": len(record.test_uses),
    }
    yield from ((name, float(value)) for name, value in singles.items() if value is not None)


def _ensemble_group(record: RunRecord) -> str:
    """What an average's scores on validation rows are called: on some of these its networks trained."""
    ensemble = record.ensemble
    return "validation" if ensemble is None or ensemble.combination == "ensemble" else "out_of_fold"
