"""How much memory a run will take, known before it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnrun.data import Dataset
from nnrun.data.dataset import RawInputs, TokenRows
from nnrun.data.preprocess import share_rows
from nnrun.data.table import CategoryColumn, Column, Table, TextColumn
from nnrun.errors import NnrunError
from nnrun.experiment.finished.decisions import open_outputs
from nnrun.experiment.setup.groups import Group
from nnrun.lazy_torch import torch
from nnrun.limits import ADVICE, free_memory, in_words
from nnrun.records import MOST_OUT_OF_FOLD
from nnrun.spec import schema
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import BLOCK_ELEMENTS

_FLOAT = 4
# Beside a parameter: its gradient, the optimizer's temporary, and the copies of the last epoch and the best.
_COPIES_OF_A_PARAMETER = 5
# Of each layer's outputs of a block: before and after the activation, and one on the way.
_COPIES_OF_AN_OUTPUT = 3
# Of all layers' outputs of a training batch, until the gradients are there: before and after the activation.
_COPIES_FOR_GRADIENTS = 2
# Of a shared kernel for each member of an ensemble: times r, times s, all side by side, and their gradients.
_COPIES_OF_A_MEMBERS_KERNEL = 6

# Of the logits that a calibration is fitted on, in float64: gathered, ordered, scaled, their probabilities.
_COPIES_OF_A_LOGIT = 6

# Of the out-of-fold outputs, in float64: of each network, of all one after the other, and in order.
_COPIES_OF_OUT_OF_FOLD = 3

# Token lists are held three times while they are put in order: as they lie in the file, shuffled, encoded.
_COPIES_WHILE_READING = 3


@dataclass(frozen=True)
class Memory:
    """Bytes that a run takes, in addition to what Python and PyTorch take themselves.

    Attributes:
        reading: at the most while the data are read.
        data: the data set as it was loaded, training and test.
        rows: the training rows as the networks take them.
        networks: parameters, gradients, the optimizer's state and the copies that are kept, of all networks.
        work: a block of rows and what the layers make of it.
        least: of the networks, the numbers that training cannot do without: parameters and optimizer's state.
    """

    reading: int
    data: int
    rows: int
    networks: int
    work: int
    least: int = 0

    @property
    def peak(self) -> int:
        """The most at a time."""
        return max(self.reading, self.data + self.rows + self.networks + self.work)


def estimate_memory(
    dataset: Dataset,
    groups: Sequence[Group],
    row_bytes: int,
    spec: schema.ExperimentSpec,
    *,
    rows_in_files: bool = False,
) -> Memory:
    """What a run takes at its peak.

    Args:
        dataset: of the run.
        groups: its networks.
        row_bytes: bytes of all training rows, as the first network takes them.
        spec: its batch size; its optimizer, which keeps its state beside each parameter; whether weights are
            averaged.
        rows_in_files: whether prepared rows are read from files, block by block.
    """
    samples = [dataset.train, *([dataset.test] if dataset.test is not None else [])]
    inputs = [each for part in samples for each in part.of_inputs.values() or [part.inputs]]
    targets = [each for part in samples for each in part.of_outputs.values() or [part.targets]]
    data = sum(map(_bytes, inputs)) + sum(each.nbytes for each in targets)
    averages = int(spec.weight_averaging is not None)
    slots = len(build_optimizer(spec.optimizer).first_slots) + averages
    of_groups = [
        len(g.members)
        * _FLOAT
        * (
            g.network.parameter_count * (_COPIES_OF_A_PARAMETER + slots + 1)
            + g.network.state_count * (_COPIES_OF_A_PARAMETER - 1 + averages)
        )
        for g in groups
    ]
    # Rows that folds prepare differently are kept once for each of them.
    copies = 1 if all(share_rows(g.fitted) for g in groups) else max(len(g.members) for g in groups)
    tokens = any(isinstance(each, TokenRows) for each in inputs)
    bytes_per_row = row_bytes / max(1, len(dataset.train))
    return Memory(
        reading=data * (_COPIES_WHILE_READING if tokens else 1),
        data=data,
        rows=0 if rows_in_files else row_bytes * copies,
        networks=max(of_groups),
        work=max(
            *(_work(group, spec.batch_size, bytes_per_row) for group in groups),
            _fitting(spec, groups),
            _out_of_fold(groups, bytes_per_row),
        ),
        least=max(len(g.members) * _FLOAT * g.network.parameter_count * (1 + slots) for g in groups),
    )


def refuse_what_does_not_fit(memory: Memory, device: torch.device, on_message: Callable[[str], None]) -> None:
    """Compare what is still to be had with what is still to be taken: the data and the rows are there.

    Args:
        memory: what a run takes.
        device: where its networks are.
        on_message: hears of a run that may not fit.

    Raises:
        NnrunError: it cannot be trained here: its weights alone do not fit.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    wanted = memory.networks + memory.work
    if free is None or wanted <= free:
        return
    there = f"{in_words(free)} are free{' on the GPU' if device.type == 'cuda' else ''}"
    if memory.least > free:
        raise NnrunError(
            f"there is not enough memory: the weights and the optimizer's state alone take "
            f"{in_words(memory.least)}, and {there}. {ADVICE}"
        )
    on_message(
        f"warning: memory may run out: networks and batches take about {in_words(wanted)}, and {there}. "
        f"{ADVICE}"
    )


def _fitting(spec: schema.ExperimentSpec, groups: Sequence[Group]) -> int:
    """Bytes of the logits of all validation rows, from which calibrations and thresholds are fitted."""
    if not open_outputs(spec):
        return 0
    numbers = 0
    for group in groups:
        of_row = sum(math.prod(layer.output_shape) for layer in group.network.output_layers.values())
        numbers += of_row * sum(len(fold.validation_rows) for fold in group.folds)
    return _COPIES_OF_A_LOGIT * 2 * _FLOAT * numbers


def _work(group: Group, batch_size: int, bytes_per_row: float) -> int:
    """Bytes of the largest block of rows that is gathered at a time, and of what the layers make of it.

    A block is measured layer by layer; of a training batch the outputs of all layers are there together.
    """
    of_row = math.ceil(bytes_per_row / _FLOAT)
    most = max(1, BLOCK_ELEMENTS // max(of_row, group.network.widest_activation))
    longest = max(max(len(f.train_rows), len(f.validation_rows), len(f.inner_rows)) for f in group.folds)
    numbers = of_row + _COPIES_OF_AN_OUTPUT * group.network.widest_activation
    measured = min(max(most, batch_size), longest) * numbers
    trained = min(batch_size, longest) * (of_row + _COPIES_FOR_GRADIENTS * group.network.activations_per_row)
    made = _COPIES_OF_A_MEMBERS_KERNEL * group.network.made_of_shared
    return len(group.members) * (max(measured, trained) + made) * _FLOAT


def _out_of_fold(groups: Sequence[Group], bytes_per_row: float) -> int:
    """At the end of a run of several networks: the rows that one was validated on, prepared again, and the
    outputs of all for theirs.
    """
    validated = [len(fold.validation_rows) for group in groups for fold in group.folds]
    if len(validated) < 2:
        return 0
    outputs = sum(math.prod(layer.output_shape) for layer in groups[0].network.output_layers.values())
    numbers = outputs * sum(validated)
    if numbers > MOST_OUT_OF_FOLD:  # they are not kept, and so not predicted
        return 0
    return int(max(validated) * bytes_per_row) + 2 * _FLOAT * numbers * _COPIES_OF_OUT_OF_FOLD


def _bytes(inputs: RawInputs) -> int:
    if isinstance(inputs, Table):
        return sum(_bytes_of_column(column) for column in inputs.columns)
    if isinstance(inputs, TokenRows):
        return int(inputs.indptr.nbytes + inputs.tokens.nbytes)
    return int(inputs.nbytes)


def _bytes_of_column(column: Column) -> int:
    if isinstance(column, CategoryColumn):
        return int(column.codes.nbytes)
    of_texts = sum(map(len, filter(None, column.values))) if isinstance(column, TextColumn) else 0
    return int(column.values.nbytes) + of_texts
