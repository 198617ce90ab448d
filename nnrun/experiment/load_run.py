"""A finished run back in memory: its spec, its data, its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import Dataset, FittedPreprocessing, load_dataset
from nnrun.errors import DataError
from nnrun.experiment.listener import Listener
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.load import LoadedSpec, load_spec_text
from nnrun.spec.overrides import Overrides


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One network of a run.

    Attributes:
        fold: its fold's index, or None for a run without folds.
        fitted: its preprocessing.
        weights: as its weights file has them.
    """

    fold: int | None
    fitted: FittedPreprocessing
    weights: Mapping[str, np.ndarray[Any, Any]]


def load_run_spec(run: RunDirectory, overrides: Overrides = ()) -> LoadedSpec:
    """The spec that repeats a run, every default filled in, and changes to it."""
    return load_spec_text(
        run.read_resolved(),
        file=f"the spec of {run.id}",
        base=run.path,
        default_name=run.id,
        overrides=overrides,
    )


def load_networks(run: RunDirectory) -> list[TrainedNetwork]:
    """The networks that a run kept, fold by fold."""
    folds: list[int | None] = list(run.folds()) or [None]
    return [
        TrainedNetwork(
            fold, FittedPreprocessing.from_json(run.read_preprocessing(fold)), run.read_weights(fold)
        )
        for fold in folds
    ]


def load_run_data(
    run: RunDirectory, spec: schema.ExperimentSpec, data_dir: Path | None, listener: Listener
) -> Dataset:
    """The data of a run, which must be what they were.

    Raises:
        DataError: they are missing, or their hash is another one than the run's record says.
    """
    record = run.read_record()
    smoke = record.get("smoke") is True
    dataset = load_dataset(spec.dataset, data_dir=data_dir, smoke=smoke, on_message=listener.message)
    refuse_changed_data(dataset, recorded_data(record), run.id)
    return dataset


def recorded_data(record: Mapping[str, Any]) -> dict[str, str]:
    """Name → SHA-256 of the data that a run's record tells of."""
    entries = [entry for entry in record.get("data") or [] if isinstance(entry, Mapping)]
    return {str(entry.get("name")): str(entry.get("sha256")) for entry in entries}


def refuse_changed_data(dataset: Dataset, recorded: Mapping[str, str], run: str) -> None:
    """Raise DataError where a file has another hash than a run recorded for it."""
    for source in dataset.sources:
        if recorded.get(source.name, source.sha256) != source.sha256:
            raise DataError(
                f"{source.name} is not what {run} was trained on: its SHA-256 is {source.sha256}, "
                f"the run's was {recorded[source.name]}. Bring back that file, or train again."
            )
