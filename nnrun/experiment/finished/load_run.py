"""A finished run back in memory: its spec, its data, its networks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import Dataset, FittedPreprocessing
from nnrun.data.load_data import load_data
from nnrun.errors import DataError, SpecError, UsageError
from nnrun.experiment.finished.used_weights import UsedWeights, read_used_weights
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.setup.data_location import (
    changed_sources,
    located_text,
    refuse_lost_files,
    refuse_more_than_paths,
)
from nnrun.experiment.setup.groups import Selection
from nnrun.records import Member, RunDirectory, RunRecord, WeightsChoice, member_of_folder
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec, load_spec_text, read_kept_spec
from nnrun.spec.reading.overrides import Overrides
from nnrun.spec.wording import listing


@dataclass(frozen=True)
class Access:
    """How a run is opened: which of its networks, where its data lie, where to compute.

    Attributes:
        member: one of several networks, as its folder is named: `fold-2`, `seed-7`; None for all.
        weights: those that training ended with (`last`), or those of the best epoch.
        overrides: where the files of the run's spec lie now, such as `dataset.csv.path=t.csv`.
        data_dir: where data files are looked for first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        allow_unknown: use the test set even where most of its rows hold values that training never saw.
        listener: receives progress messages.
    """

    member: str | None = None
    weights: WeightsChoice = "last"
    overrides: Overrides = ()
    data_dir: Path | None = None
    device: str = "auto"
    allow_unknown: bool = False
    listener: Listener = SILENT


DEFAULT_ACCESS = Access()


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One network of a run.

    Attributes:
        member: which fold or seed it is, or None for a run of one network.
        fitted: its preprocessing.
        weights: as its weights file has them.
    """

    member: Member | None
    fitted: FittedPreprocessing
    weights: Mapping[str, np.ndarray[Any, Any]]

    @property
    def id(self) -> int:
        """The fold's index, or the seed; 0 for the only network of a run."""
        return 0 if self.member is None else self.member.id


def load_run_spec(run: RunDirectory, overrides: Overrides = (), data_dir: Path | None = None) -> LoadedSpec:
    """The spec that repeats a run, every default filled in, and changes to it. Its files may have been moved.

    Args:
        run: the run.
        overrides: the changes.
        data_dir: where data files are looked for first.
    """
    text = run.read_resolved()
    with contextlib.suppress(SpecError):  # what is wrong with it is said below
        own = read_kept_spec(text, file=f"the spec of {run.id}")
        text = located_text(text, own, run, run.read_record().data_hashes, data_dir)
    return load_spec_text(
        text,
        file=f"the spec of {run.id}",
        base=run.path,
        default_name=run.id,
        overrides=overrides,
    )


def load_networks(
    run: RunDirectory, which: WeightsChoice = "last", members: Sequence[Member | None] = ()
) -> tuple[tuple[TrainedNetwork, ...], UsedWeights]:
    """Networks that a run kept, by default all, ascending; and of which epochs their weights are."""
    members = members or run.members() or [None]
    fitted = [FittedPreprocessing.from_json(run.read_preprocessing(member)) for member in members]
    kept, used = read_used_weights(run, members, which)
    made = zip(members, fitted, kept, strict=True)
    return tuple(TrainedNetwork(member, f, k.arrays) for member, f, k in made), used


def load_spec_of_data(run: RunDirectory, overrides: Overrides, data_dir: Path | None) -> LoadedSpec:
    """The spec of a run whose data are about to be read; `overrides` may say where its files lie now.

    Raises:
        UsageError: they change anything else.
        DataError: a file is not there.
    """
    loaded = load_run_spec(run, overrides, data_dir)
    own = read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")
    refuse_more_than_paths(own, loaded.spec, run.id)
    if not run.read_record().smoke:
        refuse_lost_files(loaded.spec, run.id)
    return loaded


def load_spec_of_networks(run: RunDirectory, data_dir: Path | None = None) -> schema.ExperimentSpec:
    """A run's spec, as its trained networks need it: what they started from may be gone."""
    return load_run_spec(run, {"init_weights": None}, data_dir).spec


def choose_networks(
    run: RunDirectory, member: str | None, which: WeightsChoice = "last"
) -> tuple[tuple[TrainedNetwork, ...], UsedWeights]:
    """All networks of a run, or the one whose folder has this name."""
    members = run.members()
    if member is None:
        return load_networks(run, which)
    wanted = member_of_folder(member)
    if not members:
        raise UsageError(
            f"--member {member}: {run.id} has one network, which has no name; leave --member out."
        )
    if wanted not in members:
        there = listing([m.folder for m in members], "and")
        raise UsageError(f"--member {member}: {run.id} has {there}.")
    return load_networks(run, which, [wanted])


def load_run_data(run: RunDirectory, spec: schema.ExperimentSpec, access: Access) -> Dataset:
    """The data of a run, which must be what they were.

    Raises:
        DataError: they are missing, or their hash is another one than the run's record says.
    """
    record = run.read_record()
    on_message = access.listener.message
    dataset = load_data(spec, data_dir=access.data_dir, smoke=record.smoke, on_message=on_message)
    refuse_changed_data(dataset, record.data_hashes, run.id)
    return dataset


def selection_of(record: RunRecord, some: Sequence[int] = ()) -> Selection:
    """Which networks of its spec a run trained; or `some` of them, by their folds or seeds."""
    ids, nested = some or record.member_ids, record.nested
    if nested is not None and nested.is_inner:
        whole = nested.inner_folds * (nested.k if nested.only_fold is None else 1)
        return Selection(some_folds=tuple(ids)) if len(ids) < whole else Selection(only_fold=nested.only_fold)
    if record.member_type == "seed":
        return Selection(seeds=len(ids))
    return Selection(only_fold=ids[0]) if len(ids) == 1 else Selection(some_folds=tuple(ids))


def nested_settings(record: RunRecord) -> dict[str, Any]:
    """What settings need to repeat or resume a run of nested cross-validation; empty for any other run."""
    nested = record.nested
    if nested is None:
        return {}
    if nested.is_inner:
        return {"inner_folds": True}
    return {"nested": nested, "stop_after": {fold.fold: fold.epoch for fold in nested.folds}}


def refuse_changed_data(
    dataset: Dataset, recorded: Mapping[str, str], run: str, *, another_test_file: bool = False
) -> None:
    """Raise DataError where a file has other content than a run recorded; it may have another name.

    `another_test_file`: a test file of another name may be another one.
    """
    for source, name, then in changed_sources(dataset.sources, recorded, another_test_file=another_test_file):
        instead = "" if source.name == name else f", in place of {name},"
        raise DataError(
            f"{source.name}{instead} is not the file that {run} was trained on: its SHA-256 is "
            f"{source.sha256}, "
            f"the run's was {then}. Restore that file, or train again."
        )
