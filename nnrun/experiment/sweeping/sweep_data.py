"""The data sets of a sweep, and a hash of all that decides what its trials compute."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nnrun.data import Dataset
from nnrun.data.dataset import output_data, split_columns_of
from nnrun.data.files.open_file import sha256_of
from nnrun.data.load_data import load_data
from nnrun.data.targets import target_steps
from nnrun.errors import DataError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.nested_sweep import searches_within_folds
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.spec import schema
from nnrun.spec.sweep_plan import SweepPlan
from nnrun.spec.writing.dump import dump_spec, dump_value
from nnrun.spec.writing.value_labels import values_label


class Datasets:
    """The data sets of a sweep, each loaded once.

    Args:
        settings: where they are.
        listener: is told what happens.
    """

    def __init__(self, settings: Settings, listener: SweepListener) -> None:
        self._settings, self._listener = settings, listener
        self._loaded: dict[str, Dataset] = {}

    def of(self, spec: schema.ExperimentSpec) -> Dataset:
        """The data of a trial."""
        key = json.dumps([dump_value(spec.dataset), split_columns_of(spec.validation)])
        if key not in self._loaded:
            self._loaded[key] = load_data(
                spec,
                data_dir=self._settings.data_dir,
                smoke=self._settings.smoke,
                on_message=self._listener.message,
            )
        return self._loaded[key]

    def check(self, plan: SweepPlan) -> None:
        """Load what the trials need, and refuse a trial that its data do not suit."""
        self.of(plan.base.spec)
        for trial in plan.trials:
            spec = trial.loaded.spec
            dataset = self.of(spec)
            try:
                target_steps(output_data(spec, dataset))
            except DataError as error:
                of_trial = f"trial {trial.number} ({values_label(trial.values)})"
                raise DataError(f"{of_trial} cannot run, so nothing was run: {error}") from None

    def sources(self) -> list[dict[str, Any]]:
        """The files behind them, as records show them."""
        return [source.as_record() for dataset in self._loaded.values() for source in dataset.sources]


def content_of(plan: SweepPlan, datasets: Datasets, settings: Settings) -> str:
    """A hash of all that decides what the trials compute."""
    given = plan.base.spec.init_weights
    spec = plan.base.spec
    if plan.sweep.method != "grid" and searches_within_folds(spec) is None:  # more go on where fewer ended
        spec = spec.model_copy(update={"sweep": plan.sweep.model_copy(update={"trials": None})})
    assert spec.sweep is not None, "it was read for its sweep"
    # How long one start of it may take does not change what its trials compute.
    spec = spec.model_copy(update={"sweep": spec.sweep.model_copy(update={"time_limit": None})})
    parts: list[Any] = [
        dump_spec(spec),
        [source["sha256"] for source in datasets.sources()],
        sha256_of(Path(given)) if given else None,
        settings.smoke,
    ]
    if settings.selection.only_fold is not None:
        parts.append(settings.selection.only_fold)
    if settings.selection.seeds is not None:
        parts.append(f"{settings.selection.seeds} seeds")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
