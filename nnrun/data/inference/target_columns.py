"""Columns of a file as targets: numbers as they are, names of classes as labels from 0."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnrun.data.dataset import Array, Flags, repeated
from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.column_types import ColumnInference
from nnrun.data.table import CategoryColumn, NumberColumn, as_categories, category_column
from nnrun.data.value_names import TRUTH, number_name
from nnrun.errors import DataError, printable
from nnrun.spec.schema import Task
from nnrun.spec.wording import listing, quoted

_ENOUGH_ROWS = 20


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of all rows of a file.

    Attributes:
        values: (N,) int64 labels or whole numbers, (N,) float64, or (N, K) float64 for several columns.
        task: what they are, or None where only the spec's loss can tell.
        class_names: in the order of the labels.
        present: (N,) which rows have a target; None where all have. The others repeat one that there is.
    """

    values: Array
    task: Task | None
    class_names: tuple[str, ...] | None = None
    present: Flags | None = None

    @property
    def classes(self) -> int | None:
        """How many there are, where the targets are classes for sure."""
        if self.class_names is not None:
            return len(self.class_names)
        return 2 if self.task == "binary" else None


def targets_of(
    file: ReadTable,
    names: Sequence[str],
    known: Targets | None = None,
    *,
    constant_is_wrong: bool = True,
    marks_of: Callable[[str], str] = lambda name: "",
    any_text: bool = False,
    may_lack: bool = False,
) -> Targets:
    """The targets that columns hold.

    Args:
        file: with these columns.
        names: of the columns.
        known: the training rows' targets, for a file of test rows: its labels are the same.
        constant_is_wrong: refuse targets that are the same in every row.
        marks_of: says what the file has where a column's value is missing.
        any_text: texts may be different in every row.
        may_lack: rows may have no target; of several columns they need all. Some row must have one.

    Raises:
        DataError: a target is missing, is no target, or is the same in every row; names the row.
    """
    if len(names) > 1:  # before anything else, since targets of classes are written otherwise
        for name in names:
            _number_of_several(file, name, names)
    present = _present(file, names) if may_lack else None
    for name in names:
        if not may_lack:
            _refuse_missing(file, name, marks_of)
        if constant_is_wrong:
            _refuse_constant(file, name)
    if len(names) > 1:
        columns_NK = np.column_stack([_number_of_several(file, name, names) for name in names])
        values = repeated(columns_NK, present)
        return Targets(
            values, None if np.array_equal(values, np.round(values)) else "regression", None, present
        )
    inferred = file.columns[names[0]]
    if isinstance(inferred.column, NumberColumn) and not (known and known.class_names):
        found = _numbers(inferred.column, present)
    else:
        found = _classes(file, names[0], inferred, known, any_text, present)
    return replace(found, present=present)


def _numbers(column: NumberColumn, present: Flags | None) -> Targets:
    whole = repeated(np.asarray(column.values.astype(np.float64)), present)
    if (
        column.names is not None
        or not np.array_equal(whole, np.round(whole))
        or np.abs(whole).max(initial=0) > 2**53
    ):
        return Targets(whole, "regression")
    labels = whole.astype(np.int64)
    binary = labels.min(initial=0) == 0 and labels.max(initial=0) == 1
    return Targets(labels, "binary" if binary else None)


def _classes(
    file: ReadTable,
    name: str,
    inferred: ColumnInference,
    known: Targets | None,
    any_text: bool,
    present: Flags | None,
) -> Targets:
    column = _as_category(inferred)
    if inferred.wrong is not None:
        refuse_wrong(file, name)
    codes = repeated(column.codes, present)
    if known is not None and known.class_names is None:
        row = 0 if present is None else int(np.argmax(present))
        raise DataError(
            f"{file.at(row, name)} holds {quoted(column.levels[codes[row]])}, and the training rows have "
            f"numbers there."
        )
    if known is None:
        rows = len(codes) if present is None else int(present.sum())
        if not any_text and rows >= _ENOUGH_ROWS and 2 * len(column.levels) > rows:
            hint = next((warning.text for warning in inferred.warnings if warning.kind == "spelling"), None)
            raise DataError(
                f"{file.name}: the target {quoted(name)} has {len(column.levels):,} different texts in "
                f"{rows:,} rows; these cannot be classes. "
                + ("Is another column meant?" if hint is None else f"It {hint}.")
            )
        names = column.levels
        labels = codes.astype(np.int64)
    else:
        names = known.class_names or ()
        place = {level: label for label, level in enumerate(names)}
        labels = np.array([place.get(level, -1) for level in column.levels], np.int64)[codes]
        unknown = np.flatnonzero(labels < 0 if present is None else (labels < 0) & present)
        if len(unknown):
            row = int(unknown[0])
            raise DataError(
                f"{file.at(row, name)} holds the class {quoted(column.levels[codes[row]])}, which the "
                f"training rows do not have. They have: {_some(names)}."
            )
    return Targets(labels, "binary" if len(names) == 2 else "multiclass", names)


def _number_of_several(file: ReadTable, name: str, names: Sequence[str]) -> Array:
    column = file.columns[name].column
    if isinstance(column, NumberColumn):
        return column.values.astype(np.float64)
    if isinstance(column, CategoryColumn) and set(column.levels) <= set(TRUTH):
        return np.array([TRUTH.index(level) for level in column.levels], np.float64)[column.codes]
    options = " ".join(f"--target {shlex.quote(printable(each))}" for each in names)
    refuse_wrong(
        file,
        name,
        "the targets of one output must all be numbers. Give each target an output of its own (`outputs`), "
        f"as `nnrun init {shlex.quote(printable(file.name))} {options}` writes it",
    )
    raise AssertionError("a column that is no numbers was refused")


def refuse_wrong(file: ReadTable, name: str, why: str = "") -> None:
    """Raise DataError with the first value of a column that is no number.

    Args:
        file: with this column.
        name: of the column.
        why: what says that it must be one; default: that most of its values are.
    """
    inferred = file.columns[name]
    wrong = inferred.wrong
    if wrong is not None:
        row, value = wrong.row, wrong.value
        share = f"{wrong.numbers:,} of the {wrong.of:,} values are numbers"
        why = why or ("`types` says that the column holds numbers" if wrong.declared else share)
    else:
        column = _as_category(inferred)
        row = int(np.argmax(~column.missing))
        value = column.levels[column.codes[row]]
    other = "" if wrong is None else wrong.other
    advice = "" if wrong is None or wrong.declared else _correct(name, value, file.typed or other != "")
    what = other or "not a number"
    raise DataError(f"{file.at(row, name)}: {quoted(value)} is {what}, and {why}.{advice}")


def _correct(name: str, value: str, no_gap: bool) -> str:
    missing = "" if no_gap else f", say that it means a missing value (`missing: [{value}]`)"
    return f" Correct it{missing}, or say that the column is a category (`types: {{{name}: category}}`)."


def _as_category(inferred: ColumnInference) -> CategoryColumn:
    """Few-worded or not: texts that are targets name classes."""
    column = inferred.column
    if isinstance(column, CategoryColumn):
        return column
    if isinstance(column, NumberColumn):
        return as_categories(column)
    return category_column(column.name, column.values.tolist())


def _present(file: ReadTable, names: Sequence[str]) -> Flags | None:
    """(N,) which rows have a value in each of these columns; None where all have."""
    if not any(file.columns[name].missing for name in names):
        return None
    present = np.asarray(~np.any([file.columns[name].column.missing for name in names], axis=0))
    if not present.any():
        columns = listing([quoted(name) for name in names], "and")
        raise DataError(f"{file.name}: no row has a target in {columns}. Is another column meant?")
    return present


def _refuse_missing(file: ReadTable, name: str, marks_of: Callable[[str], str]) -> None:
    missing = file.columns[name].column.missing
    if missing.any():
        rows = int(missing.sum())
        others = "" if rows == 1 else f", as in {rows - 1:,} later row{'s' if rows > 2 else ''}"
        raise DataError(
            f"{file.at(int(np.argmax(missing)), name)}: the target is missing{others}. Every row needs one: "
            "fill it in, or set `drop_missing_target: true`, which leaves such rows out."
            f"{' ' * bool(marks := marks_of(name))}{marks}"
        )


def _refuse_constant(file: ReadTable, name: str) -> None:
    inferred = file.columns[name]
    if not inferred.constant:
        return
    value = (
        number_name(inferred.column.values[~inferred.column.missing][0].item())
        if isinstance(inferred.column, NumberColumn)
        else quoted(_as_category(inferred).levels[0])
    )
    raise DataError(
        f"{file.name}, column {quoted(name)}: the target is {value} in every row, so there is nothing to "
        f"learn. Is another column meant, or are rows missing?"
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = listing([quoted(name) for name in names[:most]], "and")
    return shown if len(names) <= most else f"{shown}, and {len(names) - most:,} more"
