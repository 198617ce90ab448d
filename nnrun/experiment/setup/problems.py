"""What each group of a run learns, made at once or, where the rows of all would take too much, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from nnrun.data import Dataset
from nnrun.experiment.setup.groups import Group, training_problem
from nnrun.model.inputs import DenseInputs
from nnrun.spec import schema
from nnrun.training.problem import TrainingProblem


class GroupProblems:
    """The problems of a run's groups, in their order.

    Args:
        spec: the experiment.
        groups: its networks. Where they are apart, none of their problems is kept here.
        dataset: its data.
        device: where it trains.
    """

    def __init__(
        self, spec: schema.ExperimentSpec, groups: Sequence[Group], dataset: Dataset, device: torch.device
    ) -> None:
        self._spec, self._groups, self._dataset, self._device = spec, groups, dataset, device
        self._made: dict[int, TrainingProblem] = {}

    def announced(self) -> Iterator[TrainingProblem]:
        """What each group will learn. Of groups apart the dense rows are yet to come."""
        for place, group in enumerate(self._groups):
            if group.apart is None or group.fitted[0].sparse:
                yield self.problem(place)
            else:
                # Of tensors on the device `meta` there is all but their numbers.
                shape = (1, len(self._dataset.train), group.fitted[0].width)
                coming = DenseInputs(torch.empty(shape, device="meta"))
                yield training_problem(self._spec, group, self._dataset, self._device, coming)

    def problem(self, place: int) -> TrainingProblem:
        """What one group learns."""
        if place in self._made:
            return self._made[place]
        problem = training_problem(self._spec, self._groups[place], self._dataset, self._device)
        if self._groups[place].apart is None:
            self._made[place] = problem
        return problem
