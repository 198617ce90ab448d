"""A training for an estimator, and what is kept of it: the files of its run, without the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from nnrun.data.files.table_cache import without_table_cache
from nnrun.data.frames import declared_types, jsonl_of, npz_of
from nnrun.errors import DataError
from nnrun.estimators.rows import GivenTable
from nnrun.experiment.init.target import TaskName
from nnrun.paths import user_path
from nnrun.records import RunDirectory
from nnrun.records.given_tables import keep_table
from nnrun.spec.allowed_modules import allowing
from nnrun.spec.reading.overrides import Override, Overrides, overrides_of
from nnrun.spec.reading.sources import SpecSource

if TYPE_CHECKING:
    import pandas as pd

    from nnrun.experiment.predicting.predict import Predictor


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What is left of a run: enough to predict, to pickle, and to look at.

    Attributes:
        id: of the run.
        files: path in the run's folder → content.
        path: the run's folder, where it was to stay.
        device: where it predicts.
        history: a row for each epoch, of each fold.
        spec: the spec with every default, as YAML.
    """

    id: str
    files: Mapping[str, bytes]
    path: Path | None
    device: str
    history: pd.DataFrame
    spec: str

    def predictor(self) -> Predictor:
        """Its networks, loaded once in a process."""
        if self not in _PREDICTORS:
            from nnrun.experiment.finished.load_run import Access
            from nnrun.experiment.predicting.predict import load_predictor

            with tempfile.TemporaryDirectory() as folder:
                access = Access(device=self.device)
                _PREDICTORS[self] = load_predictor(self.unpacked(Path(folder)), access)
        return _PREDICTORS[self]

    def unpacked(self, folder: Path) -> RunDirectory:
        """The run in a folder."""
        for name, content in self.files.items():
            path = folder / self.id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return RunDirectory(folder / self.id)


_PREDICTORS: WeakKeyDictionary[TrainedRun, Predictor] = WeakKeyDictionary()


@dataclass(frozen=True)
class Training:
    """How an estimator trains: as `nnrun.train` takes it.

    Attributes:
        name: what the run is called, where the spec gives itself no name.
        spec: the spec; None for the one that `nnrun init` would write.
        overrides: of the spec.
        device, runs_dir, allow_custom: as `nnrun.train` has them; without `runs_dir` no folder is left.
        verbose: print one line per epoch to stderr.
    """

    name: str
    spec: SpecSource | None
    overrides: Overrides
    device: str
    runs_dir: str | Path | None
    allow_custom: Sequence[str]
    verbose: bool

    def of(self, table: GivenTable, task: TaskName) -> TrainedRun:
        """Train on these rows.

        Raises:
            ValueError: nothing can be learned from the rows.
            SpecError, UsageError, DivergedError: the spec is wrong, or its training failed.
        """
        try:
            if self.runs_dir is not None:
                run = self._run(table, task, user_path(self.runs_dir, "runs_dir"))
                return _kept(run, run.path, self.device)
            with tempfile.TemporaryDirectory(prefix="nnrun-") as folder, without_table_cache():
                return _kept(self._run(table, task, Path(folder)), None, self.device)
        except DataError as error:
            raise ValueError(str(error)) from error

    def _run(self, table: GivenTable, task: TaskName, runs_dir: Path) -> RunDirectory:
        from nnrun.experiment.running.job import Settings
        from nnrun.experiment.running.listener import LineListener, Listener
        from nnrun.experiment.running.train import run_experiment
        from nnrun.experiment.setup.given_data import ORIGIN, data_overrides
        from nnrun.spec.reading.load import load_spec

        changes, spec = overrides_of(self.overrides, "set"), self.spec
        if spec is None:
            spec, dataset = self._first(table, task, runs_dir)
            changes.append(Override.of_value("dataset", dataset, ORIGIN, prevails=True))
        else:
            changes += data_overrides(spec, changes, table.data, runs_dir, table.roles)
        listener = LineListener(_to_stderr) if self.verbose else Listener()
        with allowing(self.allow_custom):
            settings = Settings("train", runs_dir, None, self.device, temporary=self.runs_dir is None)
            return run_experiment(load_spec(spec, changes), settings, listener)

    def _first(self, table: GivenTable, task: TaskName, runs_dir: Path) -> tuple[str, Mapping[str, Any]]:
        """The spec of rows without one, and its data set."""
        from nnrun.experiment.init.array_spec import initial_spec_of_npz
        from nnrun.experiment.init.given_rows import spec_of_given_rows

        if isinstance(table.data, Mapping):
            path = keep_table(runs_dir, self.name, npz_of(table.data), "npz")
            return f"name: {self.name}\n{initial_spec_of_npz(path, path, task).text}", _dataset("npz", path)
        path = keep_table(runs_dir, self.name, jsonl_of(table.data), "jsonl")
        weight = table.roles.get("weight")
        found = spec_of_given_rows(
            path,
            table.targets,
            task,
            besides=() if weight is None else [weight],
            types={**declared_types(table.data), **table.roles.get("types", {})},
        )
        roles = {**table.roles, "inputs": list(found.inputs), "types": dict(found.types)}
        return f"name: {self.name}\n{found.text}", _dataset("jsonl", path, roles)


def _dataset(kind: str, path: Path, keys: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {kind: {**(keys or {}), "path": str(path)}}


def _to_stderr(line: str) -> None:
    import sys

    sys.stderr.write(f"{line}\n")


def _kept(run: RunDirectory, path: Path | None, device: str) -> TrainedRun:
    names = [found for found in sorted(run.path.rglob("*")) if found.is_file()]
    files = {found.relative_to(run.path).as_posix(): found.read_bytes() for found in names}
    return TrainedRun(run.id, files, path, device, run.read_history(), run.read_resolved())
