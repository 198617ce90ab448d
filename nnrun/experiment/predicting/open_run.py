"""A trained run with its networks and data set loaded, to score or predict rows of that data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from nnrun.data import Dataset, Samples
from nnrun.data.dataset import Array
from nnrun.data.preprocess.unknown_values import Unknown
from nnrun.experiment.finished.load_run import (
    TrainedNetwork,
    choose_networks,
    load_run_data,
    load_spec_of_data,
)
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.unknown_rows import unknown_in_test_set
from nnrun.experiment.setup.fold_splits import folds_of
from nnrun.records import RunDirectory, WeightsChoice, look_at_test_set
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.reading.overrides import Overrides, with_changes
from nnrun.training.device import resolve_device
from nnrun.validation.splits import Fold


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A run's networks and its data set.

    Attributes:
        run: its folder.
        spec: with the paths where its files are now.
        networks: those that are used.
        weights: of which epochs they are.
        dataset: the run's own.
        device: where to compute.
        listener: receives progress messages.
    """

    run: RunDirectory
    spec: schema.ExperimentSpec
    networks: tuple[TrainedNetwork, ...]
    weights: UsedWeights
    dataset: Dataset
    device: torch.device
    listener: Listener

    def fold_of(self, network: TrainedNetwork) -> Fold:
        """The rows that a network was trained and validated on."""
        member = network.member
        if member is not None and member.type == "seed":
            return folds_of(self.spec, self.dataset, member.id)[0]
        return folds_of(self.spec, self.dataset, self.spec.seed)[0 if member is None else member.id]

    def outputs(self, network: TrainedNetwork, samples: Samples) -> Array:
        """(N, K): a network's outputs, numbers in the target's own units."""
        outputs = network_outputs(self.spec, network.fitted, network.weights, samples.inputs, self.device)
        return network.fitted.output.in_own_units(outputs)

    def count_look(self, command: str, *, allow_unknown: bool) -> tuple[list[Unknown], int | None]:
        """Write a look at the test set into the run's record, before its rows are used.

        Returns:
            What the test rows hold that training never saw, and which look it is by experiments of this name
            (None for a smoke run).

        Raises:
            DataError: most test rows hold values that training never saw, and that is not allowed.
        """
        record = self.run.read_record()
        allowed = allow_unknown or record.smoke
        fitted = [network.fitted for network in self.networks]
        unknown = unknown_in_test_set(self.dataset, fitted, self.listener, allowed=allowed)
        return unknown, look_at_test_set(self.run, record, self.dataset.name, command, self.listener.message)


def open_run(
    run: RunDirectory,
    weights: WeightsChoice,
    overrides: Overrides,
    data_dir: Path | None,
    device: str,
    listener: Listener,
    member: str | None = None,
) -> OpenRun:
    """Read a run's spec, networks and data.

    Args:
        run: its folder.
        weights: those that training ended with (`last`), or those of the best epoch.
        overrides: where the files of the run's spec lie now, such as `dataset.csv.path=t.csv`.
        data_dir: where data files are looked for first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        listener: receives progress messages.
        member: one of several networks, as its folder is named: `fold-2`, `seed-7`; None for all.

    Raises:
        UsageError: there is no such network or device.
        DataError: the run's files or data are missing, damaged or changed.
    """
    chosen_device = resolve_device(device)
    spec = load_spec_of_data(run, with_changes(overrides, {"init_weights": None}), data_dir).spec
    refuse_what_is_not_allowed(spec)
    networks, used = choose_networks(run, member, weights)
    dataset = load_run_data(run, spec, data_dir, listener)
    return OpenRun(run, spec, networks, used, dataset, chosen_device, listener)
