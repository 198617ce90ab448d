"""Loss and metrics of given parameters over given rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nnrun.training.phase import Phase, Tally
from nnrun.training.plan import RowNumbers, segments
from nnrun.training.task import Task


def evaluate(
    task: Task, parameters: Mapping[str, Tensor], data_places: Sequence[int], rows: Sequence[RowNumbers]
) -> Phase:
    """Measure R networks, each on rows of its own; changes nothing.

    Args:
        task: the network, its loss and metrics, and the data.
        parameters: stacked, (R, ...), on the task's device.
        data_places: for each replica where its data stand in the task's inputs and targets.
        rows: for each replica its row numbers.
    """
    tally = Tally(task.metrics, len(rows))
    with torch.inference_mode():
        penalty_R = task.network.penalty(parameters)
        for segment in segments(rows, task.rows_at_once, rows_at_once=task.rows_at_once):
            places = list(segment.places)
            own = parameters
            if len(places) < len(rows):
                own = {name: value[places] for name, value in parameters.items()}
            of_data = [data_places[place] for place in places]
            (batch,) = task.inputs.batches(of_data, segment.rows_GN, segment.batch_size)
            targets = task.targets_of(of_data, segment.rows_GN)
            z = task.network.forward(own, batch)
            outputs = task.network.activate(z)
            loss_G = task.loss(z, outputs, targets).double().mean(1)
            if penalty_R is not None:
                loss_G = loss_G + penalty_R[places]
            tally.add(places, loss_G[:, None], segment.batch_size, outputs, targets)
    return tally.phase()
