"""What a script is written of: the spec, its data, and what nnrun would begin its training with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import RawInputs
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedInputs
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.data.table import Table
from nnrun.errors import UsageError
from nnrun.experiment.ejecting.refusals import refuse, refuse_spec
from nnrun.experiment.scripting.network_script import identifier
from nnrun.experiment.setup.groups import Group, GroupMember, prepare_groups
from nnrun.model.network import Network
from nnrun.records.history import history_columns
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT, input_views, loss_weights, output_views
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.score_columns import trained_columns
from nnrun.training.learning_rate import LearningRate
from nnrun.training.weight_averaging import WeightAveraging, build_averaging
from nnrun.validation.splits import Fold

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Intake:
    """What an input of the network takes.

    Attributes:
        name: of the input; empty of the only one without a name.
        steps: its preprocessing, as the spec has it.
        fitted: what each fold learned of it.
        rows: the training rows, as the data set has them.
        features: how many numbers a row of the first fold has, where other folds have more or fewer.
    """

    name: str
    steps: Sequence[schema.Component]
    fitted: tuple[FittedInputs, ...]
    rows: RawInputs
    features: int | None

    @property
    def first(self) -> FittedInputs:
        """What the first fold learned."""
        return self.fitted[0]

    @property
    def parameter(self) -> str:
        """What the number of features is called in a script."""
        return f"{identifier(self.name)}_features" if self.name else "features"

    @property
    def argument(self) -> str:
        """The number of features of prepared rows `x`, as an expression."""
        return f'x["{self.name}"].shape[1]' if self.name else "x.shape[1]"


@dataclass(frozen=True, eq=False)
class Head:
    """An output as its loss and its metrics see it.

    Attributes:
        name: of the output; empty of the only one without a name.
        spec: as the output sees it.
        activation: the last one.
        targets: what its targets went through, in the first fold.
        values: they themselves, as the data set has them.
        class_names: of the target's classes, if they have names.
        weight: what its loss counts in the total.
        present: which rows have a target; None where all do.
    """

    name: str
    spec: schema.ExperimentSpec
    activation: str
    targets: FittedTargets
    values: Array
    class_names: tuple[str, ...] | None
    weight: float = 1.0
    present: Array | None = None

    @property
    def decides_as(self) -> str:
        """The last activation as metrics take it: of scores that of the loss."""
        return schema.decision_activation(self.spec.own_loss, self.activation)

    @property
    def scales(self) -> bool:
        """Whether outputs and targets are scaled back before they are measured."""
        return self.targets.scale is not None and bool(self.spec.metrics)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a script is written of.

    Attributes:
        spec: the experiment.
        source: what its file is called.
        dataset: its data.
        members: the folds in order, or the only network.
        networks: the architecture of each: folds may differ in the number of features.
        data_dir: where data files are looked for first.
    """

    spec: schema.ExperimentSpec
    source: str
    dataset: Dataset
    members: tuple[GroupMember, ...]
    networks: tuple[Network, ...]
    data_dir: Path | None

    @property
    def network(self) -> Network:
        """The architecture of the first."""
        return self.networks[0]

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The rows of each."""
        return tuple(member.fold for member in self.members)

    @property
    def has_folds(self) -> bool:
        """Whether one network is trained for each of several folds."""
        return self.spec.has_folds

    @property
    def validates(self) -> bool:
        """Whether rows are set apart."""
        return len(self.folds[0].validation_rows) > 0

    @property
    def has_inner_rows(self) -> bool:
        """Whether rows that neither train nor validate decide when to stop."""
        return len(self.folds[0].inner_rows) > 0

    @property
    def measured_rows(self) -> tuple[str, ...]:
        """What a script calls the rows that are measured and do not train."""
        inner = ("inner",) if self.has_inner_rows else ()
        return (*inner, "validation") if self.validates else inner

    @cached_property
    def intakes(self) -> tuple[Intake, ...]:
        """The inputs, in order."""
        found = []
        for port, view in input_views(self.spec).items():
            shapes = [tuple(network.inputs[port]) for network in self.networks]
            found.append(
                Intake(
                    "" if port == INPUT else port,
                    view.preprocessing.inputs,
                    tuple(member.fitted.inputs[port] for member in self.members),
                    self.dataset.train.input(port).inputs,
                    None if len(set(shapes)) == 1 else int(shapes[0][0]),
                )
            )
        return tuple(found)

    @property
    def intake(self) -> Intake:
        """The only input, or the first."""
        return self.intakes[0]

    @property
    def names_inputs(self) -> bool:
        """Whether rows are by the name of their input."""
        return bool(self.intake.name)

    @property
    def names_outputs(self) -> bool:
        """Whether targets are by the name of their output."""
        return bool(self.head.name)

    @property
    def varying(self) -> tuple[Intake, ...]:
        """The inputs of which folds make rows of different lengths."""
        return tuple(intake for intake in self.intakes if intake.features is not None)

    @property
    def count(self) -> str:
        """The number of rows of what `load` gives, x and y, as an expression."""
        whole = not self.names_inputs or isinstance(self.intake.rows, Table)
        return "len(x)" if whole else f'len(x["{self.intake.name}"])'

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """The outputs, in order."""
        shares = loss_weights(self.spec)
        found = []
        for port, view in output_views(self.spec).items():
            dataset = self.dataset.output(port)
            own = dataset.train
            found.append(
                Head(
                    "" if port == OUTPUT else port,
                    view,
                    self.network.output_layers[port].activation,
                    self.members[0].fitted.outputs[port],
                    own.targets,
                    dataset.class_names,
                    shares[port],
                    own.present,
                )
            )
        return tuple(found)

    @property
    def head(self) -> Head:
        """The only output, or the first."""
        return self.heads[0]

    @property
    def columns(self) -> list[str]:
        """Those of the history."""
        names = trained_columns(self.spec)[1:]
        by: Literal["fold"] | None = "fold" if self.has_folds else None
        return history_columns(names, self.validates, by, inner=self.has_inner_rows)

    @property
    def averages_steps(self) -> bool:
        """Whether the average follows every step."""
        return self.average is not None and self.average.each_step

    @property
    def averages_epochs(self) -> bool:
        """Whether it takes the weights at the ends of epochs."""
        return self.average is not None and not self.average.each_step

    @property
    def average(self) -> WeightAveraging | None:
        """How weights are averaged for what validates and predicts, or None."""
        return build_averaging(self.spec)

    @property
    def rates(self) -> list[float]:
        """The learning rate of each epoch."""
        rate = LearningRate(self.spec.optimizer.learning_rate, self.spec.learning_rate_schedule)
        return [rate.of(epoch) for epoch in range(1, self.spec.epochs + 1)]

    def first_weights(self) -> list[Mapping[str, Array]]:
        """Of each network, as a weights file has them."""
        found: list[Mapping[str, Array]] = []
        for member, network in zip(self.members, self.networks, strict=True):
            stacked = network.initial_parameters([member.source])
            found.append(
                {name: weight.to_file(stacked[name][0].numpy()) for name, weight in network.weights.items()}
            )
        return found


def lesson_of(loaded: LoadedSpec, data_dir: Path | None, on_message: Callable[[str], None]) -> Lesson:
    """Load the data of a spec and prepare what its script is written of.

    Raises:
        DataError: the data are missing or do not suit the spec.
        UsageError: something of the spec cannot be written.
    """
    spec = loaded.spec
    refuse_spec(spec)
    dataset = load_data(spec, data_dir=data_dir, on_message=on_message)
    groups = prepare_groups(spec, dataset)
    if dataset.train.weights is not None:
        raise refuse("the weights of rows (dataset)", "Leave them out.")
    pairs = [(member, group.network) for group in groups for member in group.members]
    members, networks = zip(*sorted(pairs, key=lambda pair: pair[0].id), strict=True)
    refuse_shapes(groups)
    source = loaded.path.name if loaded.path is not None else f"{spec.name}.yaml"
    return Lesson(spec, source, dataset, members, networks, data_dir)


def refuse_shapes(groups: Sequence[Group]) -> None:
    """Raise UsageError where the networks of folds differ in more than the features of plain rows."""
    shapes = [group.network.inputs for group in groups]
    varying = [port for port in shapes[0] if len({tuple(own[port]) for own in shapes}) > 1]
    plain = all(len(own[port]) == 1 for own in shapes for port in varying)
    tokens = any(isinstance(layer.spec, schema.Embedding) for layer in groups[0].network.layers)
    if len(groups) > 1 and (not plain or tokens):
        raise UsageError(
            "eject cannot write folds whose networks differ in shape, as the training rows "
            "of each decide here. Fix it in the spec: num_words, or the dimension of multi_hot."
        )
