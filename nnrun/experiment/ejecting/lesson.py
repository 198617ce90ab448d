"""What a script is written of: the spec, its data, and what nnrun would begin its training with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import Dataset
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedInputs
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.errors import UsageError
from nnrun.experiment.ejecting.refusals import refuse, refuse_spec
from nnrun.experiment.setup.groups import GroupMember, prepare_groups
from nnrun.model.network import Network
from nnrun.records.history import history_columns
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.reading.load import LoadedSpec
from nnrun.training.learning_rate import LearningRate
from nnrun.validation.splits import Fold

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a script is written of.

    Attributes:
        spec: the experiment.
        source: what its file is called.
        dataset: its data.
        members: the folds in order, or the only network.
        network: the architecture.
        data_dir: where data files are looked for first.
    """

    spec: schema.ExperimentSpec
    source: str
    dataset: Dataset
    members: tuple[GroupMember, ...]
    network: Network
    data_dir: Path | None

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
    def inputs(self) -> FittedInputs:
        """The preprocessing of the first fold."""
        return self.members[0].fitted.inputs[INPUT]

    @property
    def targets(self) -> FittedTargets:
        """What the targets of the first fold went through."""
        return self.members[0].fitted.outputs[OUTPUT]

    @property
    def activation(self) -> str:
        """The last one."""
        return self.network.output_layers[OUTPUT].activation

    @property
    def decides_as(self) -> str:
        """The last activation as metrics take it: of scores that of the loss."""
        return schema.decision_activation(self.spec.own_loss, self.activation)

    @property
    def columns(self) -> list[str]:
        """Those of the history."""
        names = [metric.kind for metric in self.spec.metrics]
        return history_columns(names, self.validates, "fold" if self.has_folds else None)

    @property
    def rates(self) -> list[float]:
        """The learning rate of each epoch."""
        rate = LearningRate(self.spec.optimizer.learning_rate, self.spec.learning_rate_schedule)
        return [rate.of(epoch) for epoch in range(1, self.spec.epochs + 1)]

    def first_weights(self) -> list[Mapping[str, Array]]:
        """Of each network, as a weights file has them."""
        stacked = self.network.initial_parameters([member.source for member in self.members])
        return [
            {
                name: weight.to_file(stacked[name][place].numpy())
                for name, weight in self.network.weights.items()
            }
            for place in range(len(self.members))
        ]


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
    if len(groups) > 1:
        raise UsageError(
            "eject cannot write folds whose networks differ in shape, as the training rows "
            "of each decide here. Fix it in the spec: num_words, or the dimension of multi_hot."
        )
    (group,) = groups
    if dataset.train.weights is not None:
        raise refuse("the weights of rows (dataset)", "Leave them out.")
    members = tuple(sorted(group.members, key=lambda member: member.id))
    source = loaded.path.name if loaded.path is not None else f"{spec.name}.yaml"
    return Lesson(spec, source, dataset, members, group.network, data_dir)
