"""The steps of each column of a table, fitted, and the rows that they give.

Features stand in the order of the columns, those that are dense first and the sparse ones behind them. Where
one column is sparse, so are the rows: what is dense is then an ordinary entry of each row, and nothing that
is sparse is ever made dense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.array_blocks import columns_of_array, fitted_in_blocks, is_large
from nnrun.data.preprocess.column_steps import ColumnPlan
from nnrun.data.preprocess.computed_columns import ComputedColumns
from nnrun.data.preprocess.fitted_step import (
    HAS_NO_VALUE,
    FitContext,
    FittedStep,
    Floats,
    Problems,
    TrainingTargets,
    in_form,
)
from nnrun.data.preprocess.registry import fitted_class, read_step
from nnrun.data.rows import ByteRows, DenseRows, RowError, SparseRows
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, kind_of, leave_column, number_column
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

Part = npt.NDArray[np.float64] | SparseRows | TokenRows
_Value = Column | Part
_BLOCK_VALUES = 1 << 20  # values of all dense columns that are put in their place at once
_ROWS_TO_TRY = 1 << 15
# Of an array: so few, computed at once, that they stay in the CPU's caches from step to step.
_ARRAY_BLOCK_VALUES = 1 << 17


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Some of the rows that a column's last step was fitted on, and the step as fitted without them.

    Attributes:
        rows: positions among the training samples of the data set.
        step: stands in for the last step.
    """

    rows: Array
    step: FittedStep

    def same_as(self, other: HeldOut) -> bool:
        """Whether both transform the same rows in the same way."""
        return self.step == other.step and np.array_equal(self.rows, other.rows)


@dataclass(frozen=True)
class FittedColumn:
    """What was learned of one column.

    Attributes:
        name: the column's name.
        kind: what its values are before the first step.
        steps: in order.
        held_out: how rows that it was fitted on are transformed for training, where that is another way than
            for all other rows. It is no part of the state that is written.
        frequent: of categories the most frequent value, for examples of rows; nothing is computed from it.
            None where the column has other values, or a version before this one wrote it.
    """

    name: str
    kind: schema.ColumnType
    steps: tuple[FittedStep, ...]
    held_out: tuple[HeldOut, ...] = field(default=(), compare=False, repr=False)
    frequent: str | None = field(default=None, compare=False)

    @property
    def _encoder(self) -> FittedStep | None:
        """The last step, where it makes features of the column; None where the column stays a number."""
        last = self.steps[-1] if self.steps else None
        return last if last is not None and last.column_after in ("features", "tokens") else None

    @property
    def indices_below(self) -> int | None:
        """Where it gives indices for an embedding, the number that these are below."""
        encoder = self._encoder
        return None if encoder is None or not encoder.spec.gives_indices else encoder.tokens_below

    def holds_out_like(self, other: FittedColumn) -> bool:
        """Whether both transform the rows that they were fitted on alike for training."""
        mine, theirs = self.held_out, other.held_out
        return len(mine) == len(theirs) and all(a.same_as(b) for a, b in zip(mine, theirs, strict=True))

    def without(self, held_out: HeldOut) -> FittedColumn:
        """The column as fitted without these rows."""
        return replace(self, steps=(*self.steps[:-1], held_out.step), held_out=())

    def with_indices_from(self, start: int) -> FittedColumn:
        """The column, but its indices, if it gives any, count from `start`."""
        if self.indices_below is None:
            return self
        return replace(self, steps=(*self.steps[:-1], self.steps[-1].with_indices_from(start)))

    @property
    def sparse(self) -> bool:
        """Whether the features are sparse."""
        return self._encoder is not None and self._encoder.sparse

    @property
    def feature_names(self) -> list[str]:
        """The names of the features that it gives."""
        names = [self.name] if self._encoder is None else self._encoder.feature_names(self.name)
        return names + [name for step in self._adding for name in step.names_beside(self.name)]

    @cached_property
    def width(self) -> int:
        """Features that it gives."""
        encoder = self._encoder
        return (1 if encoder is None else encoder.width) + sum(step.width_beside for step in self._adding)

    @property
    def _adding(self) -> Sequence[FittedStep]:
        """The steps whose features beside the column it keeps: all, but where it is encoded as a category."""
        encoder = self._encoder
        return self.steps if encoder is None or encoder.form == "number" else ()

    def transform(self, column: Column, problems: Problems) -> Part:
        """(N, width) features of a column. Rows that it cannot take are added to `problems`."""
        if kind_of(column) != self.kind:
            raise DataError(
                f"Column {quoted(self.name)} was a {self.kind} in training, and is a {kind_of(column)} here."
            )
        value: _Value = column
        beside: list[Floats] = []
        for step in self.steps:
            if step.width_beside:
                assert isinstance(value, NumberColumn), "only steps of numbers add features"
                with np.errstate(over="ignore", invalid="ignore"):
                    beside.append(step.beside(value.values.astype(np.float64, copy=False), np))
            value = _apply(step, value, problems)
        if isinstance(value, NumberColumn):
            for row in np.flatnonzero(value.missing):
                problems.setdefault(int(row), HAS_NO_VALUE)
            value = value.values.astype(np.float64)[:, None]
        assert not isinstance(value, Column), "the plan ends every other column with an encoder"
        if not (beside and self._adding):
            return value
        assert isinstance(value, np.ndarray), "numbers are dense"
        return np.concatenate([value, *beside], axis=1)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        steps = [{step.kind: step.to_json()} for step in self.steps]
        frequent = {} if self.frequent is None else {"frequent": self.frequent}
        return {"name": self.name, "kind": self.kind, "steps": steps, **frequent}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedColumn:
        """What `to_json` gave, or ValueError, KeyError or TypeError."""
        name, kind, steps = document["name"], document["kind"], tuple(map(read_step, document["steps"]))
        if type(name) is not str or kind not in get_args(schema.ColumnType):
            raise ValueError(document)
        state: str = kind
        for step in steps:
            same = step.form == "number" or step.column_after == "same"
            if state not in step.spec.takes or (same and step.form != state):
                raise ValueError(step)
            state = state if step.column_after == "same" else step.column_after
        if state not in ("number", "features", "tokens"):
            raise ValueError(name)
        frequent = document.get("frequent")
        if not isinstance(frequent, str | None):
            raise ValueError(document)
        return cls(name, kind, steps, frequent=frequent)


def _apply(step: FittedStep, value: _Value, problems: Problems) -> _Value:
    assert isinstance(value, Column), "no step follows an encoder"
    taken = in_form(value, step.form)
    if step.form != "number":
        found: _Value = step.transform(taken, problems)
        return found
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = step.transform(taken.values.astype(np.float64, copy=False), problems)
    return NumberColumn(value.name, numbers) if step.column_after in ("number", "same") else numbers


def _try(step: FittedStep, column: Column, problems: Problems) -> None:
    """Note the rows that a step cannot take; what it makes of others is held for a block at a time."""
    n_rows = len(column.codes if isinstance(column, CategoryColumn) else column.values)
    for start in range(0, n_rows, _ROWS_TO_TRY):
        found: dict[int, str] = {}
        _apply(step, column.take(slice(start, start + _ROWS_TO_TRY)), found)
        for row, reason in found.items():
            problems.setdefault(start + row, reason)


def fit_column(
    plan: ColumnPlan, column: Column, rows: Array | None, targets: TrainingTargets | None = None
) -> FittedColumn:
    """Learn the steps of one column from some of its rows, each from what those before it give.

    Args:
        plan: the steps.
        column: all rows.
        rows: positions of the training rows; None for all.
        targets: of the training rows, for the steps that learn from them.

    Raises:
        DataError: a step does not apply to these values; says to which row.
    """
    fitted: list[FittedStep] = []
    held_out: list[tuple[Array, FittedStep]] = []
    value: _Value = column
    at = rows  # positions of the training rows in `value`; None once it holds no others
    for step in plan.steps:
        assert isinstance(value, Column), "no step follows an encoder"
        cls = fitted_class(step, {"number": "number", "text": "text"}.get(kind_of(value), "category"))
        if cls.form == "text":  # nothing follows
            fitted.append(cls.fit(step, in_form(value, "text"), FitContext(at, targets=targets)))
            break
        value, at = value if at is None else value.take(at), None
        taken, context = in_form(value, cls.form), FitContext(targets=targets)
        fitted.append(cls.fit(step, taken, context))
        held_out += cls.fit_held_out(step, taken, context)
        problems: dict[int, str] = {}
        if step is plan.steps[-1]:
            _try(fitted[-1], value, problems)
        else:
            value = _apply(fitted[-1], value, problems)
        if problems:
            first = min(problems)
            raise RowError(plan.name, first if rows is None else int(rows[first]), problems[first])
    frequent = _most_frequent(column, rows)
    leave_column(column)
    parts = (HeldOut(own if rows is None else rows[own], step) for own, step in held_out)
    return FittedColumn(plan.name, plan.kind, tuple(fitted), tuple(parts), frequent)


def _most_frequent(column: Column, rows: Array | None) -> str | None:
    """Of some rows of a column of categories; the first in their order where several are. None of dates."""
    if not isinstance(column, CategoryColumn) or column.dates:
        return None
    codes = column.codes if rows is None else column.codes[rows]
    counts = np.bincount(codes[codes >= 0], minlength=1)
    return column.levels[int(counts.argmax())] if counts.any() else None


@dataclass(frozen=True)
class FittedTable:
    """What was learned of each column of a table.

    Attributes:
        columns: in the order of the table.
        of_array: whether the inputs are arrays (N, C), whose columns are known by position.
        row_shape: of arrays whose rows have more than one axis, the shape of a row, which rows keep. The
            columns are then the numbers along the last axis, such as channels, each learned over all rows
            and all positions along the other axes, as Keras's `Normalization(axis=-1)` has it.
    """

    columns: tuple[FittedColumn, ...]
    of_array: bool = False
    row_shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row that it gives: (F,), or `row_shape`."""
        return (self.width,) if self.row_shape is None else self.row_shape

    @cached_property
    def ordered(self) -> list[FittedColumn]:
        """The columns in the order of their features."""
        return sorted(self.columns, key=lambda column: column.sparse)

    @cached_property
    def sparse(self) -> bool:
        """Whether rows are sparse."""
        return any(column.sparse for column in self.columns)

    @cached_property
    def holds_out(self) -> bool:
        """Whether training rows are transformed in another way than all others."""
        return any(column.held_out for column in self.columns)

    def holds_out_like(self, other: FittedTable) -> bool:
        """Whether both transform the rows that they were fitted on alike for training."""
        pairs = zip(self.columns, other.columns, strict=True)
        return all(mine.holds_out_like(theirs) for mine, theirs in pairs)

    @cached_property
    def width(self) -> int:
        """The features of all columns."""
        return sum(column.width for column in self.columns)

    @property
    def feature_names(self) -> list[str]:
        """The names of all features, in order."""
        return [name for column in self.ordered for name in column.feature_names]

    @cached_property
    def places(self) -> dict[str, slice]:
        """Column → where its features stand along the last axis of the rows."""
        found, start = {}, 0
        for column in self.ordered:
            found[column.name] = slice(start, start + column.width)
            start += column.width
        return found

    @property
    def tokens(self) -> FittedStep | None:
        """The step that makes rows of word indices of the only column; None where there is none."""
        steps = self.columns[0].steps if len(self.columns) == 1 else ()
        return steps[-1] if steps and steps[-1].column_after == "tokens" else None

    @property
    def indices_below(self) -> int | None:
        """Where all columns are indices for an embedding, the number that these are below; else None."""
        limits = [column.indices_below for column in self.columns]
        return max((limit for limit in limits if limit is not None), default=None) if all(limits) else None

    @cached_property
    def numbers(self) -> ComputedColumns | None:
        """The steps of all columns side by side; None where some step has no formula."""
        computed = all(step.program == "computed" for column in self.columns for step in column.steps)
        only = computed and all(column.kind == "number" for column in self.columns)
        return ComputedColumns.of([column.steps for column in self.columns]) if only else None

    def for_float32(self) -> FittedTable:
        """The same for columns of numbers that float32 has rounded."""
        columns = (replace(c, steps=tuple(step.for_float32() for step in c.steps)) for c in self.columns)
        return replace(self, columns=tuple(columns))

    def as_table(self, x_NC: Array) -> Table:
        """An array as a table of its columns."""
        return array_as_table(x_NC, [column.name for column in self.columns])

    def transform(
        self, inputs: Table | Array, *, training: bool = False
    ) -> DenseRows | ByteRows | SparseRows | TokenRows:
        """Rows as the network takes them, or rows of word indices. Columns are found by their names.

        With `training` the inputs are all training samples of the data set, see `FittedInputs.transform`.

        Raises:
            DataError: a column is not there; or a row cannot be taken: says which and why.
        """
        if isinstance(inputs, np.ndarray):
            if self.row_shape is not None and inputs.ndim != 2:
                return self._of_shaped(inputs)
            rows = self._of_array(inputs)
            if rows is not None:
                return rows
        table = inputs if isinstance(inputs, Table) else self.as_table(inputs)
        if self.tokens is not None:
            part = self._part(self.columns[0], table)
            assert isinstance(part, TokenRows), "tokens makes rows of word indices"
            return part
        dense = [column for column in self.ordered if not column.sparse]
        sparse = [self._part(column, table) for column in self.ordered if column.sparse]
        x_ND = self._dense(dense, table) if dense else None
        if x_ND is not None and training:
            _hold_out(x_ND, dense, table)
        if not sparse:
            assert x_ND is not None, "a table has a column"
            return DenseRows(x_ND)
        return _side_by_side(x_ND, [part for part in sparse if isinstance(part, SparseRows)])

    def _of_shaped(self, x: Array) -> DenseRows | ByteRows:
        """(N, *row_shape): each column at all positions of all rows, one below the other.

        Bytes stay bytes, beside what each of the 256 becomes.
        """
        if x.dtype == np.uint8 and self.numbers is not None:
            every = self._of_array(np.repeat(np.arange(256.0)[:, None], len(self.columns), axis=1))
            if every is not None:
                values = np.ascontiguousarray(every.x_NF.T)
                return ByteRows(x, values[:1] if (values == values[0]).all() else values)
        positions = self._positions
        with _rows_of_positions(positions, None):
            flat = self.transform(x.reshape(-1, len(self.columns)))
        assert isinstance(flat, DenseRows), "no column is encoded"
        return DenseRows(flat.x_NF.reshape(x.shape))

    @property
    def _positions(self) -> int:
        """Of each column in a row: 1, or of rows with more axes the product of all but the last."""
        return 1 if self.row_shape is None else math.prod(self.row_shape[:-1])

    def _of_array(self, x_NC: Array) -> DenseRows | None:
        """All columns of an array at once; None where a row cannot be taken, or a step has no formula."""
        if self.numbers is None:
            return None
        x_NF = np.empty((len(x_NC), self.width), np.float32)
        block = max(_ARRAY_BLOCK_VALUES // max(self.width, 1), 1)
        for start in range(0, len(x_NC), block):
            part = x_NC[start : start + block].astype(np.float64)
            with np.errstate(all="ignore"):
                x_NF[start : start + block] = self.numbers.compute(part, np)
        return DenseRows(x_NF) if np.isfinite(x_NF).all() else None

    def _dense(self, columns: Sequence[FittedColumn], table: Table) -> npt.NDArray[np.float32]:
        """(N, D) features of these columns."""
        # A block of rows at a time goes to its place in float32: float64 copies of all columns of a large
        # table would take five times what the rows take. Within a block columns are written one by one, and
        # then transposed together: to write a number to each of many rows takes longer than to compute it.
        x_ND = np.empty((len(table), sum(column.width for column in columns)), np.float32)
        rows = max(_BLOCK_VALUES // max(x_ND.shape[1], 1), 1)
        block_DN = np.empty((x_ND.shape[1], min(rows, len(table))), np.float32)
        for start in range(0, len(table), rows):
            x_part = x_ND[start : start + rows]
            at = 0
            for column in columns:
                part = self._part(column, table, start, start + rows)
                assert isinstance(part, np.ndarray), "the others are sparse"
                block_DN[at : at + column.width, : len(x_part)] = part.T
                at += column.width
            x_part[:] = block_DN[:, : len(x_part)].T
            for column in columns:
                leave_column(table.by_name[column.name])
        return x_ND

    def _part(self, column: FittedColumn, table: Table, start: int = 0, stop: int | None = None) -> Part:
        """The features of one column, or DataError at the first row that it cannot take."""
        part, problems = self._tried(column, table, start, len(table) if stop is None else stop)
        if problems:
            row = min(problems)
            raise RowError(column.name, start + row, problems[row])
        return part

    def problems(self, inputs: Table | Array) -> dict[int, str]:
        """Which rows cannot be taken, and why: the end of a sentence."""
        if isinstance(inputs, np.ndarray):
            if self.row_shape is not None and inputs.ndim != 2:
                found = self.problems(inputs.reshape(-1, len(self.columns)))
                return {row // self._positions: reason for row, reason in reversed(found.items())}
            if self._of_array(inputs) is not None:
                return {}
        table = inputs if isinstance(inputs, Table) else self.as_table(inputs)
        found = {}
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
        part = column.transform(table.by_name[column.name].take(slice(start, stop)), problems)
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
        document = {"of_array": self.of_array, "columns": [column.to_json() for column in self.columns]}
        return document if self.row_shape is None else {**document, "row_shape": list(self.row_shape)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedTable:
        """What `to_json` gave, or ValueError, KeyError or TypeError."""
        columns = tuple(map(FittedColumn.from_json, document["columns"]))
        of_array = document["of_array"]
        makes_tokens = any(step.column_after == "tokens" for column in columns for step in column.steps)
        if (
            not columns
            or type(of_array) is not bool
            or len({column.name for column in columns}) < len(columns)
            or (makes_tokens and len(columns) > 1)
            or (of_array and any(column.kind != "number" for column in columns))
        ):
            raise ValueError(columns)
        fitted = cls(columns, of_array, _row_shape_from(document.get("row_shape")))
        if fitted.row_shape is not None and not (
            of_array and fitted.row_shape[-1] == len(columns) and all(column.width == 1 for column in columns)
        ):
            raise ValueError(fitted)
        return fitted


def _row_shape_from(value: Any) -> tuple[int, ...] | None:
    """The shape of a row of more than one axis; ValueError where it is none."""
    if value is None:
        return None
    if type(value) is not list or len(value) < 2 or any(type(n) is not int or n < 1 for n in value):
        raise ValueError(value)
    return tuple(value)


def _hold_out(x_ND: npt.NDArray[np.float32], columns: Sequence[FittedColumn], table: Table) -> None:
    """Write what training rows are trained with over their features, (N, D) of these columns."""
    start = 0
    for column in columns:
        for part in column.held_out:
            own = column.without(part).transform(table.by_name[column.name].take(part.rows), {})
            assert isinstance(own, np.ndarray), "what is held out is dense"
            x_ND[part.rows, start : start + column.width] = own
        start += column.width


@contextmanager
def _rows_of_positions(positions: int, rows: Array | None) -> Iterator[None]:
    """A row that cannot be taken is told by its own number, where each row was taken apart to so many.

    `rows` are the rows that were looked at; None for all.
    """
    try:
        yield
    except RowError as error:
        row = error.row // positions
        raise RowError(error.column, row if rows is None else int(rows[row]), error.reason) from None


def _side_by_side(x_ND: npt.NDArray[np.float32] | None, sparse: Sequence[SparseRows]) -> SparseRows:
    """Dense columns and sparse ones as sparse rows: a 0 among the dense ones is not kept."""
    if x_ND is None and len(sparse) == 1:
        return sparse[0]
    from scipy.sparse import csr_array, hstack

    dense = [] if x_ND is None else [csr_array(x_ND)]
    whole = hstack([*dense, *(rows.matrix() for rows in sparse)], format="csr")
    return SparseRows.of_matrix(whole)


def array_as_table(x_NC: Array, names: Sequence[str]) -> Table:
    """The columns of an array as a table."""
    columns = zip(names, x_NC.T, strict=True)
    return Table(tuple(number_column(name, values) for name, values in columns), len(x_NC))


def fit_table(
    plans: Sequence[ColumnPlan], table: Table, rows: Array | None, targets: TrainingTargets | None = None
) -> FittedTable:
    """Learn the steps of all columns from some rows, and from the targets of these rows."""
    return _fit_each(plans, table.by_name.__getitem__, rows, targets)


def _fit_each(
    plans: Sequence[ColumnPlan],
    column_of: Callable[[str], Column],
    rows: Array | None,
    targets: TrainingTargets | None,
) -> FittedTable:
    columns: list[FittedColumn] = []
    start = 0
    for plan in plans:
        column = fit_column(plan, column_of(plan.name), rows, targets)
        columns.append(column.with_indices_from(start))
        start = columns[-1].indices_below or start
    return FittedTable(tuple(columns))


def fit_array(
    steps: Sequence[schema.PreprocessingStep],
    plans: Sequence[ColumnPlan],
    inputs: Array,
    rows: Array | None,
    targets: TrainingTargets | None = None,
    *,
    in_place: bool = False,
) -> FittedTable:
    """Learn the steps of the columns of an array (N, C) from some of its rows; of an array (N, ..., C) over
    all positions in these rows.

    Args:
        steps: the spec's.
        plans: the steps of each column among them.
        inputs: the array.
        rows: positions of the training rows; None for all.
        targets: of the training rows, for the steps that learn from them.
        in_place: whether bytes are looked at as they are, without a copy of eight times their size.

    Raises:
        DataError: a step does not apply to these values, or would change the shape of a row.
    """
    if is_large(inputs, rows):
        return _fit_large(steps, plans, inputs, rows, targets)
    if inputs.ndim > 2:
        chosen = inputs if rows is None else inputs[rows]
        shape = tuple(map(int, inputs.shape[1:]))
        with _rows_of_positions(math.prod(shape[:-1]), rows):
            flat = fit_array(steps, plans, chosen.reshape(-1, shape[-1]), None, in_place=True)
        _refuse_other_shape(flat, shape)
        return replace(flat, row_shape=shape)
    fitted = _fitted_side_by_side(
        steps, plans, inputs if rows is None else inputs[rows], targets, in_place and inputs.dtype == np.uint8
    )
    if fitted is None:
        table = array_as_table(inputs, [plan.name for plan in plans])
        return replace(fit_table(plans, table, rows, targets), of_array=True)
    columns = zip(plans, fitted, strict=True)
    return FittedTable(tuple(FittedColumn(plan.name, plan.kind, tuple(own)) for plan, own in columns), True)


def _fit_large(
    steps: Sequence[schema.PreprocessingStep],
    plans: Sequence[ColumnPlan],
    inputs: Array,
    rows: Array | None,
    targets: TrainingTargets | None,
) -> FittedTable:
    """`fit_array` without a copy of the rows: in blocks or, where a step cannot, column by column."""
    shape = tuple(map(int, inputs.shape[1:]))
    of_rows = targets if len(shape) == 1 else None
    own = fitted_in_blocks(steps, plans, inputs, rows, of_rows)
    if own is not None:
        columns = zip(plans, own, strict=True)
        fitted = FittedTable(tuple(FittedColumn(p.name, p.kind, tuple(each)) for p, each in columns), True)
    else:
        with _rows_of_positions(math.prod(shape[:-1]), rows):
            column_of = columns_of_array(inputs, rows, [plan.name for plan in plans])
            fitted = replace(_fit_each(plans, column_of, None, of_rows), of_array=True)
        if rows is not None:
            fitted = replace(fitted, columns=tuple(_held_out_of(each, rows) for each in fitted.columns))
    if len(shape) == 1:
        return fitted
    _refuse_other_shape(fitted, shape)
    return replace(fitted, row_shape=shape)


def _held_out_of(column: FittedColumn, rows: Array) -> FittedColumn:
    """A column that was fitted on the rows at these positions, which are all that it knows."""
    return replace(column, held_out=tuple(replace(h, rows=rows[h.rows]) for h in column.held_out))


def _refuse_other_shape(fitted: FittedTable, shape: tuple[int, ...]) -> None:
    """Raise DataError at a step that gives several numbers for one."""
    for step in (step for column in fitted.columns if column.width != 1 for step in column.steps):
        if step.width_beside or step.column_after not in ("number", "same"):
            raise DataError(
                f"{step.spec.kind} gives several numbers for one, and rows of shape {shape} keep their "
                "shape: steps for them give one number for each, as standardize, min_max and log1p do."
            )


def _fitted_side_by_side(
    steps: Sequence[schema.PreprocessingStep],
    plans: Sequence[ColumnPlan],
    x_NC: Array,
    targets: TrainingTargets | None,
    in_place: bool,
) -> list[list[FittedStep]] | None:
    """The fitted steps of each column, all columns of a step at once.

    None where that cannot be: a step has no formula, or some number is missing or not taken, which is
    reported column by column.
    """
    fitted: list[list[FittedStep]] = [[] for _ in plans]
    used = [step for step in steps if any(own is step for plan in plans for own in plan.steps)]
    context = FitContext(of_bytes=x_NC.dtype == np.uint8, targets=targets)
    if not in_place:
        x_NC = x_NC.astype(np.float64, copy=False)
    for step in used:
        cls = fitted_class(step, "number")
        if cls.program != "computed" or not np.isfinite(x_NC).all():
            return None
        places = [place for place, plan in enumerate(plans) if any(own is step for own in plan.steps)]
        # Not a copy of all columns, whose order in memory, and so the last bits of its sums, could differ.
        chosen = x_NC if step.named_columns is None else x_NC[:, places]
        own = cls.fit_array(step, chosen, [plans[place].name for place in places], context)
        context = FitContext(targets=targets)
        for place, each in zip(places, own, strict=True):
            fitted[place].append(each)
        if step is used[-1] and cls.transform is FittedStep.transform:
            break  # nobody needs the values, and the step takes all of them
        if any(each.width_beside or each.column_after not in ("number", "same") for each in own):
            return None  # what follows takes numbers alone
        with np.errstate(all="ignore"):
            computed = ComputedColumns.of([(each,) for each in own]).compute(chosen, np)
        if chosen is x_NC:
            x_NC = computed
        else:
            x_NC = x_NC.astype(np.float64)  # bytes cannot hold what is computed
            x_NC[:, places] = computed
        if not np.isfinite(x_NC).all():
            return None
    return fitted
