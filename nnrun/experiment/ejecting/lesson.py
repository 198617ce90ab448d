"""What a script is written of: the spec, its data, and what nnrun would begin its training with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nnrun.data import Dataset
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedInputs
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.errors import UsageError
from nnrun.experiment.ejecting.refusals import refuse, refuse_spec
from nnrun.experiment.setup.groups import Group, GroupMember, prepare_groups
from nnrun.model.network import Network
from nnrun.records.history import history_columns
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT, loss_weights, output_views
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.score_columns import trained_columns
from nnrun.training.learning_rate import LearningRate
from nnrun.training.weight_averaging import WeightAveraging, build_averaging
from nnrun.validation.splits import Fold

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Head:
    """An output as its loss and its metrics see it.

    Attributes:
        name: of the output; empty of the only one without a name.
        spec: as the output sees it.
        activation: the last one.
        targets: what its targets went through, in the first fold.
        values: they themselves, as the data set has them.
        weight: what its loss counts in the total.
        present: which rows have a target; None where all do.
    """

    name: str
    spec: schema.ExperimentSpec
    activation: str
    targets: FittedTargets
    values: Array
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
    def features(self) -> int | None:
        """How many numbers a row of the first fold has, where other folds have more or fewer; else None."""
        shapes = [tuple(network.inputs.values()) for network in self.networks]
        return None if len(set(shapes)) == 1 else int(shapes[0][0][0])

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
    def inputs(self) -> FittedInputs:
        """The preprocessing of the first fold."""
        return self.members[0].fitted.inputs[INPUT]

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """The outputs, in order."""
        shares, train = loss_weights(self.spec), self.dataset.train
        found = []
        for port, view in output_views(self.spec).items():
            own = train.output(port)
            found.append(
                Head(
                    "" if port == OUTPUT else port,
                    view,
                    self.network.output_layers[port].activation,
                    self.members[0].fitted.outputs[port],
                    own.targets,
                    shares[port],
                    own.present,
                )
            )
        return tuple(found)

    @property
    def head(self) -> Head:
        """The only output."""
        return self.heads[0]

    @property
    def targets(self) -> FittedTargets:
        """What the targets of the first fold went through."""
        return self.head.targets

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
    shapes = [tuple(group.network.inputs.values()) for group in groups]
    plain = all(len(own) == 1 and len(own[0]) == 1 for own in shapes)
    tokens = any(isinstance(layer.spec, schema.Embedding) for layer in groups[0].network.layers)
    if len(groups) > 1 and (not plain or tokens):
        raise UsageError(
            "eject cannot write folds whose networks differ in shape, as the training rows "
            "of each decide here. Fix it in the spec: num_words, or the dimension of multi_hot."
        )
