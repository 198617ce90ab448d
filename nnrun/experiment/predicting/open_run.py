"""A trained run with its networks and data set loaded, to score or predict rows of that data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from nnrun.data import Dataset, Samples
from nnrun.data.dataset import Array
from nnrun.data.preprocess.unknown_values import Unknown, unknown_in_test_set
from nnrun.experiment.finished.decisions import decided_spec
from nnrun.experiment.finished.load_run import (
    Access,
    TrainedNetwork,
    choose_networks,
    load_run_data,
    load_spec_of_data,
)
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.outputs import in_own_units, members_function, outputs_function
from nnrun.experiment.setup.folds import folds_of
from nnrun.lazy_torch import torch
from nnrun.records import LookCount, MemberType, RunDirectory, look_at_test_set
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.ports import Port, output_views
from nnrun.spec.reading.overrides import with_changes
from nnrun.training.device import device_unless_cpu, resolve_device
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
        known_device: where to compute; None for the CPU that `access` means, which need not be asked for.
        access: how it was opened.
    """

    run: RunDirectory
    spec: schema.ExperimentSpec
    networks: tuple[TrainedNetwork, ...]
    weights: UsedWeights
    dataset: Dataset
    known_device: torch.device | None
    access: Access

    @property
    def device(self) -> torch.device:
        """Where to compute; imports PyTorch."""
        return resolve_device(self.access.device) if self.known_device is None else self.known_device

    @property
    def member_type(self) -> MemberType | None:
        """What its networks are of, folds or seeds; None of a run of one network."""
        member = self.networks[0].member
        return None if member is None else member.type

    def fold_of(self, network: TrainedNetwork) -> Fold:
        """The rows that a network was trained and validated on."""
        member = network.member
        if member is not None and member.type == "seed":
            return folds_of(self.spec, self.dataset, member.id)[0]
        return self._folds[0 if member is None else member.id]

    @cached_property
    def _folds(self) -> tuple[Fold, ...]:
        """Those of the spec's own seed: of many folds each network asks for its own."""
        return folds_of(self.spec, self.dataset, self.spec.seed)

    def outputs(self, network: TrainedNetwork, samples: Samples) -> Array:
        """(N, K): what a network gives by its only output, numbers in the target's own units."""
        (only,) = self.by_output(network, samples).values()
        return only

    def by_output(
        self, network: TrainedNetwork, samples: Samples, *, logits: bool = False
    ) -> dict[Port, Array]:
        """What a network gives by each of its outputs, (N, K); `logits` as `outputs_function` has it."""
        inputs = samples.by_input(network.fitted.inputs)
        function = outputs_function(
            self.spec, network.fitted, network.weights, self.known_device, logits=logits
        )
        return in_own_units(network.fitted, function(inputs))

    def by_member(self, network: TrainedNetwork, samples: Samples) -> dict[Port, Array]:
        """The same for each member of a network that is an ensemble, (M, N, K); of any other (1, N, K)."""
        inputs = samples.by_input(network.fitted.inputs)
        function = members_function(self.spec, network.fitted, network.weights, self.known_device)
        return in_own_units(network.fitted, function(inputs))

    def of_output(self, port: Port) -> OpenRun:
        """The same as one of several outputs sees it."""
        networks = tuple(replace(n, fitted=n.fitted.of_output(port)) for n in self.networks)
        view, dataset = output_views(self.spec)[port], self.dataset.output(port)
        return replace(self, spec=view, networks=networks, dataset=dataset)

    def count_look(self, command: str) -> tuple[list[Unknown], LookCount | None]:
        """Write a look at the test set into the run's record, before its rows are used.

        Returns:
            What the test rows hold that training never saw, and which look it is (None for a smoke run).

        Raises:
            DataError: most test rows hold values that training never saw, and that is not allowed.
        """
        record = self.run.read_record()
        allowed, listener = self.access.allow_unknown or record.smoke, self.access.listener
        fitted = [network.fitted for network in self.networks]
        unknown = unknown_in_test_set(self.dataset, fitted, listener.message, allowed=allowed)
        data = self.dataset
        return unknown, look_at_test_set(
            self.run, record, data.name, command, listener.message, sha256=data.test_hashes
        )


def open_run(run: RunDirectory, access: Access) -> OpenRun:
    """Read a run's spec, networks and data.

    Raises:
        UsageError: there is no such network or device.
        DataError: the run's files or data are missing, damaged or changed.
    """
    device = device_unless_cpu(access.device)
    changes = with_changes(access.overrides, {"init_weights": None})
    spec = load_spec_of_data(run, changes, access.data_dir).spec
    refuse_what_is_not_allowed(spec)
    networks, used = choose_networks(run, access.member, access.weights)
    spec = decided_spec(run, spec, used, access.listener.message)
    return OpenRun(run, spec, networks, used, load_run_data(run, spec, access), device, access)
