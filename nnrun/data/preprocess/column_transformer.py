"""The steps of each column of a table, fitted, and the rows that they give.

Features stand in the order of the columns, those that are dense first and the sparse ones behind them. Where
one column is sparse, so are the rows: what is dense is then an ordinary entry of each row, and nothing that
is sparse is ever made dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.categorical import (
    CATEGORY_STATES,
    CategoryState,
    FillCategory,
    HashingColumn,
    OneHotColumn,
    OrdinalColumn,
    as_categories,
    fit_category,
)
from nnrun.data.preprocess.column_steps import ColumnPlan, Kind, kind_of
from nnrun.data.preprocess.datetimes import DatetimeColumn, fit_datetime
from nnrun.data.preprocess.numeric import NUMBER_STATES, ImputeColumn, NumberState, Problems, fit_number
from nnrun.data.preprocess.texts import TEXT_STATES, TextState, TokensColumn, WordsColumn, as_texts, fit_text
from nnrun.data.rows import DenseRows, SparseRows
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, leave_memory, number_column
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.step_types import CATEGORY_STEPS, TEXT_STEPS
from nnrun.spec.wording import quoted

ColumnState = NumberState | CategoryState | TextState | DatetimeColumn
STATES: Mapping[str, type[ColumnState]] = {
    **NUMBER_STATES,
    **CATEGORY_STATES,
    **TEXT_STATES,
    DatetimeColumn.kind: DatetimeColumn,
}
Part = npt.NDArray[np.float64] | SparseRows | TokenRows
_Value = Column | Part
_BLOCK_VALUES = 1 << 20  # values of all dense columns that are put in their place at once


@dataclass(frozen=True)
class FittedColumn:
    """What was learned of one column.

    Attributes:
        name: the column's name.
        kind: what its values are before the first step.
        steps: in order.
    """

    name: str
    kind: Kind
    steps: tuple[ColumnState, ...]

    @property
    def sparse(self) -> bool:
        """Whether the features are sparse."""
        last = self.steps[-1] if self.steps else None
        return isinstance(last, (OneHotColumn, HashingColumn, WordsColumn)) and last.sparse

    @property
    def features(self) -> list[str]:
        """The names of the features that it gives."""
        last = self.steps[-1] if self.steps else None
        if isinstance(last, (OneHotColumn, HashingColumn, WordsColumn, DatetimeColumn)):
            return last.names(self.name)
        return [self.name] + [f"{self.name} is missing"] * len(self._indicators)

    @property
    def width(self) -> int:
        """Features that it gives."""
        last = self.steps[-1] if self.steps else None
        if isinstance(last, (OneHotColumn, HashingColumn, WordsColumn, DatetimeColumn)):
            return last.width
        return 1 + len(self._indicators)

    @property
    def _indicators(self) -> list[ImputeColumn]:
        return [step for step in self.steps if isinstance(step, ImputeColumn) and step.indicator]

    def transform(self, column: Column, problems: Problems) -> Part:
        """(N, width) features of a column. Rows that it cannot take are told to `problems`."""
        if kind_of(column) != self.kind:
            raise DataError(
                f"Column {quoted(self.name)} was a {self.kind} in training, and is a {kind_of(column)} here."
            )
        value: _Value = column
        missing: list[npt.NDArray[np.bool_]] = []
        for step in self.steps:
            if isinstance(step, ImputeColumn) and step.indicator:
                assert isinstance(value, NumberColumn), "numbers are imputed with numbers"
                missing.append(value.missing)
            value = _apply(step, value, problems)
        if not isinstance(value, NumberColumn):
            assert not isinstance(value, Column), "the plan ends every other column with an encoder"
            return value
        for row in np.flatnonzero(value.missing):
            problems.setdefault(
                int(row),
                "has no value; put `impute` before the other steps of this column, or set drop_missing",
            )
        return np.stack([value.values.astype(np.float64), *missing], axis=1)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        steps = [{step.kind: step.to_json()} for step in self.steps]
        return {"name": self.name, "kind": self.kind, "steps": steps}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedColumn:
        """What `to_json` gave, or ValueError, KeyError or TypeError."""
        kind = json_checks.one_of(document["kind"], "number", "category", "text", "date")
        steps = []
        for step in document["steps"]:
            ((name, values),) = step.items()
            steps.append(STATES[name].from_json(values))
        column = cls(json_checks.text(document["name"]), kind, tuple(steps))  # type: ignore[arg-type]
        column._refuse_a_wrong_order()
        return column

    def _refuse_a_wrong_order(self) -> None:
        """ValueError where a step does not take what the one before it gives."""
        state: str = self.kind
        for step in self.steps:
            if isinstance(step, (WordsColumn, TokensColumn)):
                allowed, state_after = state in ("text", "category", "date"), "features"
            elif isinstance(step, DatetimeColumn):
                allowed, state_after = state in ("date", "category", "text"), "features"
            elif isinstance(step, FillCategory):
                allowed, state_after = state == "category", "category"
            elif isinstance(step, OrdinalColumn):
                allowed, state_after = state != "features", "number"
            elif isinstance(step, (OneHotColumn, HashingColumn)):
                allowed, state_after = state != "features", "features"
            else:
                allowed, state_after = state == "number", "number"
            if not allowed:
                raise ValueError(step)
            state = state_after
        if state in ("category", "text", "date"):
            raise ValueError(self.name)


def _apply(step: ColumnState, value: _Value, problems: Problems) -> _Value:
    assert isinstance(value, Column), "no step follows an encoder"
    if isinstance(step, (OneHotColumn, OrdinalColumn, HashingColumn, FillCategory)):
        return step.apply(as_categories(value), problems)
    if isinstance(step, DatetimeColumn):
        return step.apply(as_categories(value), problems)
    if isinstance(step, (WordsColumn, TokensColumn)):
        return step.apply(as_texts(value), problems)
    assert isinstance(value, NumberColumn), "the plan lets only numbers here"
    with np.errstate(over="ignore", invalid="ignore"):
        return NumberColumn(value.name, step.apply(value.values.astype(np.float64, copy=False), problems))


def fit_column(plan: ColumnPlan, column: Column, rows: Array | None) -> FittedColumn:
    """Learn the steps of one column from some of its rows, each from what those before it give.

    Args:
        plan: the steps.
        column: all rows.
        rows: positions of the training rows; None for all.

    Raises:
        DataError: a step does not apply to these values; says to which row.
    """
    fitted: list[ColumnState] = []
    value: _Value | None = None  # the training rows, after the steps so far
    for step in plan.steps:
        if isinstance(step, TEXT_STEPS):
            if value is None:
                fitted.append(fit_text(step, as_texts(column), rows))
            else:
                assert isinstance(value, Column), "no step follows an encoder"
                fitted.append(fit_text(step, as_texts(value), None))
            break  # nothing follows
        if value is None:
            value = column if rows is None else column.take(rows)
        assert isinstance(value, Column), "no step follows an encoder"
        if isinstance(step, schema.Datetime):
            fitted.append(fit_datetime(step, as_categories(value)))
            _apply_to_training_rows(fitted[-1], value, plan, rows)
            break  # nothing follows
        if isinstance(step, CATEGORY_STEPS) or isinstance(value, CategoryColumn):
            value = as_categories(value)
            state: ColumnState = fit_category(step, value)
        else:
            assert isinstance(value, NumberColumn), "the plan lets only numbers here"
            state = fit_number(step, plan.name, value.values.astype(np.float64, copy=False))
        fitted.append(state)
        value = _apply_to_training_rows(state, value, plan, rows)
    return FittedColumn(plan.name, plan.kind, tuple(fitted))


def _apply_to_training_rows(
    state: ColumnState, value: _Value, plan: ColumnPlan, rows: Array | None
) -> _Value:
    """What a step gives of the training rows, all of which it must take."""
    problems: dict[int, str] = {}
    value = _apply(state, value, problems)
    if problems:
        at = min(problems)
        raise RowError(plan.name, at if rows is None else int(rows[at]), problems[at])
    return value


class RowError(DataError):
    """A column's value that a step cannot take, in a row counted from 0."""

    def __init__(self, column: str, row: int, reason: str) -> None:
        super().__init__(f"Column {quoted(column)}, row {row}: {reason}.")
        self.column, self.row, self.reason = column, row, reason


@contextmanager
def rows_by_line(lines: npt.NDArray[np.int64] | None) -> Iterator[None]:
    """What cannot be taken is told with its line of the file, (N,), where there is a file."""
    try:
        yield
    except RowError as error:
        if lines is None:
            raise
        line = int(lines[error.row])
        raise DataError(f"Column {quoted(error.column)}, line {line} of the file: {error.reason}.") from None


@dataclass(frozen=True)
class FittedTable:
    """What was learned of each column of a table.

    Attributes:
        columns: in the order of the table.
        of_array: whether the inputs are arrays, whose columns are named by position.
    """

    columns: tuple[FittedColumn, ...]
    of_array: bool = False

    @property
    def ordered(self) -> list[FittedColumn]:
        """The columns in the order of their features."""
        return sorted(self.columns, key=lambda column: column.sparse)

    @property
    def sparse(self) -> bool:
        """Whether rows are sparse."""
        return any(column.sparse for column in self.columns)

    @property
    def width(self) -> int:
        """F."""
        return sum(column.width for column in self.columns)

    @property
    def features(self) -> list[str]:
        """The names of all features, in order."""
        return [name for column in self.ordered for name in column.features]

    @property
    def tokens(self) -> TokensColumn | None:
        """What makes rows of word indices of the only column, where they are made."""
        last = self.columns[0].steps[-1] if len(self.columns) == 1 and self.columns[0].steps else None
        return last if isinstance(last, TokensColumn) else None

    def as_table(self, x_NF: Array) -> Table:
        """An array as a table of its columns."""
        columns = zip(self.columns, x_NF.T, strict=True)
        return Table(tuple(number_column(column.name, values) for column, values in columns), len(x_NF))

    def transform(self, table: Table) -> DenseRows | SparseRows | TokenRows:
        """Rows as the network takes them, or rows of word indices. Columns are found by their names.

        Raises:
            DataError: a column is not there; or a row cannot be taken: says which and why.
        """
        # Dense columns go to their place in float32, a block of rows at a time: float64 copies of all columns
        # of a large table would take five times what the rows take.
        if self.tokens is not None:
            part = self._part(self.columns[0], table)
            assert isinstance(part, TokenRows), "tokens makes rows of word indices"
            return part
        dense = [column for column in self.ordered if not column.sparse]
        sparse = [self._part(column, table) for column in self.ordered if column.sparse]
        x_ND = self._dense(dense, table) if dense else None
        if not sparse:
            assert x_ND is not None, "a table has a column"
            return DenseRows(x_ND)
        return _side_by_side(x_ND, [part for part in sparse if isinstance(part, SparseRows)])

    def _dense(self, columns: Sequence[FittedColumn], table: Table) -> npt.NDArray[np.float32]:
        """(N, D) features of these columns."""
        x_ND = np.empty((len(table), sum(column.width for column in columns)), np.float32)
        rows = max(_BLOCK_VALUES // max(x_ND.shape[1], 1), 1)
        for start in range(0, len(table), rows):
            at = 0
            for column in columns:
                part = self._part(column, table, start, start + rows)
                assert isinstance(part, np.ndarray), "the others are sparse"
                x_ND[start : start + rows, at : at + column.width] = part
                at += column.width
        for column in columns:
            if isinstance(numbers := table.by_name[column.name], NumberColumn):
                leave_memory(numbers.values)
        return x_ND

    def _part(self, column: FittedColumn, table: Table, start: int = 0, stop: int | None = None) -> Part:
        """The features of one column, or DataError at the first row that it cannot take."""
        part, problems = self._tried(column, table, start, len(table) if stop is None else stop)
        if problems:
            row = min(problems)
            raise RowError(column.name, start + row, problems[row])
        return part

    def problems(self, table: Table) -> dict[int, str]:
        """Which rows cannot be taken, and why: the end of a sentence."""
        found: dict[int, str] = {}
        for column in self.ordered:
            for row, reason in self._tried(column, table, 0, len(table))[1].items():
                found.setdefault(row, f"in column {quoted(column.name)} {reason}")
        return found

    def _tried(
        self, column: FittedColumn, table: Table, start: int, stop: int
    ) -> tuple[Part, dict[int, str]]:
        """The features of some rows of a column; which rows it cannot take, counted from `start`, and why."""
        if column.name not in table.by_name:
            raise DataError(f"The inputs lack column {quoted(column.name)}, which the network takes.")
        problems: dict[int, str] = {}
        part = column.transform(table.by_name[column.name].between(start, stop), problems)
        if isinstance(part, np.ndarray):
            with np.errstate(over="ignore", invalid="ignore"):
                wrong = ~np.isfinite(part.astype(np.float32)).all(axis=1)
            for row in np.flatnonzero(wrong):
                problems.setdefault(
                    int(row), f"becomes {part[row, 0]:g}, which is not a finite 32-bit number"
                )
        return part, problems

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"of_array": self.of_array, "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedTable:
        """What `to_json` gave, or ValueError, KeyError or TypeError."""
        columns = tuple(FittedColumn.from_json(column) for column in document["columns"])
        json_checks.different_texts([column.name for column in columns])
        of_array = json_checks.flag(document["of_array"])
        makes_tokens = any(isinstance(step, TokensColumn) for column in columns for step in column.steps)
        if (
            not columns
            or (makes_tokens and len(columns) > 1)
            or (of_array and any(c.kind != "number" for c in columns))
        ):
            raise ValueError(columns)
        return cls(columns, of_array)


def _side_by_side(x_ND: npt.NDArray[np.float32] | None, sparse: Sequence[SparseRows]) -> SparseRows:
    """Dense columns and sparse ones as sparse rows: a 0 among the dense ones is not kept."""
    if x_ND is None and len(sparse) == 1:
        return sparse[0]
    from scipy.sparse import csr_array, hstack

    blocks = [] if x_ND is None else [csr_array(x_ND)]
    for rows in sparse:
        values = np.ones(rows.nnz, np.float32) if rows.values is None else rows.values
        blocks.append(csr_array((values, rows.indices, rows.indptr), shape=(rows.n_rows, rows.n_features)))
    whole = hstack(blocks, format="csr")
    values = whole.data.astype(np.float32, copy=False)
    return SparseRows(
        whole.indptr.astype(np.int64),
        whole.indices.astype(np.int32),
        None if (values == 1).all() else values,
        int(whole.shape[1]),
    )


def fit_table(
    plans: Sequence[ColumnPlan], table: Table, rows: Array | None, *, of_array: bool
) -> FittedTable:
    """Learn the steps of all columns from some rows."""
    return FittedTable(tuple(fit_column(plan, table.by_name[plan.name], rows) for plan in plans), of_array)
