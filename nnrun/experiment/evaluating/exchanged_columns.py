"""The columns that a run's networks take, and rows in which a column has the values of other rows.

A column is what the user has as one: a column of a table, whatever features it becomes, or a feature of an
array. Every step of preprocessing but `custom` transforms a row by itself and a column by itself, so that to
exchange a column's features gives what to exchange its raw values gives, without transforming them again.

Letters in names: N rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from nnrun.data import ByteRows, Dataset, DenseRows, Samples, SparseRows
from nnrun.data.dataset import Array, RawInputs, taken_rows
from nnrun.data.preprocess import FittedInputs
from nnrun.data.preprocess.pipeline import array_columns
from nnrun.data.rows import rows_by_place
from nnrun.data.table import Column, Table
from nnrun.errors import UsageError
from nnrun.experiment.setup.groups import inputs_of_rows
from nnrun.lazy_torch import torch
from nnrun.model.inputs import Inputs
from nnrun.spec.graph import Graph
from nnrun.spec.ports import Port

AnyRows: TypeAlias = "DenseRows | ByteRows | SparseRows"


@dataclass(frozen=True)
class InputColumn:
    """A column of a data set's inputs.

    Attributes:
        name: of a table its own; of an array that of the feature, or its position; of an input that is taken
            as a whole the input's.
        ports: the inputs that take it; several may take the same column of a table.
        position: of an array's feature, along the last axis; None for others.
        of_steps: whether a row has a value of it at each of several steps.
        whole: whether it is all that the input takes, such as an image, or the words of a text.
    """

    name: str
    ports: tuple[Port, ...]
    position: int | None = None
    of_steps: bool = False
    whole: bool = False

    def raw(self, samples: Samples) -> Column | Array | None:
        """Its values as the data set has them: a column of a table, or (N,) numbers.

        None where a row has no single value: of a whole input, and of steps.
        """
        inputs = samples.by_input(self.ports)[self.ports[0]]
        if isinstance(inputs, Table):
            return inputs.by_name[self.name]
        if self.position is None or self.of_steps:
            return None
        assert isinstance(inputs, np.ndarray), "only an array has features by position"
        return inputs[:, self.position]


def input_columns(
    run_id: str, graph: Graph, dataset: Dataset, fitted: Mapping[Port, FittedInputs]
) -> tuple[InputColumn, ...]:
    """The columns that networks with this preprocessing take, in the order of the data.

    Where a layer goes along the steps of rows (steps, features), as lstm and conv1d do, each feature is a
    column, with all its steps.

    Raises:
        UsageError: the only input is an image, a sequence or a list of words, which has no columns.
    """
    found: dict[str, InputColumn] = {}
    for port, inputs in dataset.train.by_input(fitted).items():
        own, prefix = fitted[port].table, f"{port}." if len(fitted) > 1 else ""
        if isinstance(inputs, Table):
            assert own is not None, "a table has fitted columns"
            for column in own.columns:
                before = found.get(column.name, InputColumn(column.name, ()))
                found[column.name] = replace(before, ports=(*before.ports, port))
        elif isinstance(inputs, np.ndarray) and own is not None and _has_columns(inputs, port, graph):
            names = array_columns(dataset.feature_names, inputs.shape[-1])
            for position, name in enumerate(names):
                of_steps = inputs.ndim > 2
                found[prefix + name] = InputColumn(prefix + name, (port,), position, of_steps)
        elif len(fitted) > 1:
            found[port] = InputColumn(port, (port,), whole=True)
        else:
            raise UsageError(_no_columns(run_id, inputs))
    return tuple(found.values())


def _has_columns(inputs: Array, port: Port, graph: Graph) -> bool:
    """Whether a feature means the same in every row. Bytes of several axes are taken for images."""
    return inputs.ndim == 2 or (inputs.ndim == 3 and inputs.dtype != np.uint8 and graph.takes_steps(port))


def _no_columns(run_id: str, inputs: RawInputs) -> str:
    what = (
        f"arrays of shape {inputs.shape[1:]}, such as images"
        if isinstance(inputs, np.ndarray)
        else "lists of words"
    )
    return (
        f"The inputs of {run_id} are {what}, which have no columns to shuffle: a pixel or a word does not "
        "mean the same in every row. Importance is measured for tables, for arrays (rows, features), and for "
        "arrays (rows, steps, features) that a layer such as lstm or conv1d takes; of several inputs, an "
        "input of another kind counts as one column."
    )


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """Rows of a data set before and after the preprocessing of one network.

    Attributes:
        fitted: the preprocessing of each input.
        raw: the rows of each input as the data set has them.
        transformed: the same rows as the network takes them.
    """

    fitted: Mapping[Port, FittedInputs]
    raw: Mapping[Port, RawInputs]
    transformed: Mapping[Port, AnyRows]

    @classmethod
    def of(cls, fitted: Mapping[Port, FittedInputs], samples: Samples) -> PreparedRows:
        """Transform some samples."""
        raw = samples.by_input(fitted)
        with rows_by_place(samples.places):
            return cls(fitted, raw, {port: own.transform(raw[port]) for port, own in fitted.items()})

    def with_column(
        self, column: InputColumn, others: PreparedRows, at: Array, device: torch.device
    ) -> dict[Port, Inputs]:
        """These rows as the network takes them, but in `column` row i has the value of row `at[i]` of others.

        Args:
            column: one of these inputs'.
            others: rows with the same preprocessing, perhaps the same rows.
            at: (N,) positions among the others.
            device: where to compute.
        """
        rows = dict(self.transformed)
        for port in column.ports:
            rows[port] = self._exchanged(port, column, others, at)
        return {port: inputs_of_rows([of], device) for port, of in rows.items()}

    def _exchanged(self, port: Port, column: InputColumn, others: PreparedRows, at: Array) -> AnyRows:
        fitted, mine, theirs = self.fitted[port], self.transformed[port], others.transformed[port]
        if fitted.custom:  # what its code does to the columns is not known
            return fitted.transform(self._raw_exchanged(port, column, others, at))
        if column.whole or fitted.token_step is not None:
            return theirs.take(at)
        assert fitted.table is not None, "only token rows have no columns"
        name = column.name if column.position is None else fitted.table.columns[column.position].name
        place = fitted.table.places[name]
        if isinstance(mine, SparseRows) and isinstance(theirs, SparseRows):
            return mine.with_features(place, theirs, at)
        assert isinstance(mine, DenseRows), "bytes are whole inputs"
        assert isinstance(theirs, DenseRows), "of the same preprocessing"
        return mine.with_features(place, theirs, at)

    def _raw_exchanged(self, port: Port, column: InputColumn, others: PreparedRows, at: Array) -> RawInputs:
        """The same before the preprocessing."""
        mine, theirs = self.raw[port], others.raw[port]
        if isinstance(mine, Table) and isinstance(theirs, Table):
            taken = theirs.by_name[column.name].take(at)
            return replace(mine, columns=tuple(taken if c.name == column.name else c for c in mine.columns))
        if column.position is None:
            return taken_rows(theirs, at)
        assert isinstance(mine, np.ndarray), "tables and token rows are done"
        assert isinstance(theirs, np.ndarray), "of the same data set"
        changed = mine.copy()
        changed[..., column.position] = theirs[at][..., column.position]
        return changed
