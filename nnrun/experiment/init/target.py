"""Whether a column can be predicted, and whether as classes or as a number."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.column_types import ColumnInference
from nnrun.data.summaries.describe_columns import cell, counts_of_values
from nnrun.data.table import NumberColumn, TextColumn, as_categories
from nnrun.errors import DataError, UsageError
from nnrun.experiment.init import names
from nnrun.experiment.init.roles import is_dummy, whole_numbers
from nnrun.spec.wording import counted, listing, listing_of_some, nearest, quoted

TaskName = Literal["classification", "regression"]

_FEW: Final = 10
MOST_CLASSES: Final = 50
_ROWS_OF_A_VALUE: Final = 10
_ENOUGH_ROWS: Final = 20
_MOST_PLACES: Final = 5
_A_CLASS: Final = "has the class"


def why_no_target(inferred: ColumnInference, n_rows: int) -> str | None:
    """Why a column cannot be predicted, as the end of a sentence that begins with it; None where it can.

    Two rows or more must differ, and texts must be classes: not nearly all different, each of two rows or
    more, so that one can be trained on and one validated. Rows without a value are left out.
    """
    if inferred.missing == n_rows:
        return "has no value in any row"
    if inferred.constant or inferred.distinct == 1:
        return "is the same in every row" if not inferred.missing else "has a single value"
    if inferred.wrong is not None:
        return "holds numbers mixed with texts"
    if inferred.infinite is not None:
        return "holds an infinite number"
    if n_rows - inferred.missing < 4:
        return f"has a value in only {counted(n_rows - inferred.missing, 'row')}"
    amounts = isinstance(inferred.column, NumberColumn) and not is_dummy(inferred)
    return None if amounts else why_no_classes(inferred, n_rows)


def why_no_classes(inferred: ColumnInference, n_rows: int) -> str | None:
    """Why a column does not name classes; None where it does."""
    counts = counts_of_values(inferred.column)
    present = n_rows - inferred.missing
    if len(counts) == present or (present >= _ENOUGH_ROWS and 2 * len(counts) > present):
        return f"has {len(counts):,} different values in {counted(present, 'row')}; these cannot be classes"
    rarest = min(counts, key=counts.__getitem__)
    use = "which cannot be used for both training and validation"
    return f"{_A_CLASS} {quoted(rarest)} in a single row, {use}" if counts[rarest] < 2 else None


def named_columns(file: ReadTable, text: str) -> tuple[str, ...]:
    """The column of this name; several where a person wrote commas between them and no name has commas."""
    return (text,) if text in file.columns else columns_of_list(text)


def columns_of_list(text: str) -> tuple[str, ...]:
    """The names between the commas that a person wrote."""
    return tuple(name.strip() for name in text.split(",")) if "," in text else (text,)


def require_target(file: ReadTable, name: str) -> None:
    """Raise where a column that somebody named cannot be predicted.

    Raises:
        UsageError: there is no such column.
        DataError: it cannot be the target.
    """
    if name not in file.columns:
        match = nearest(name, file.columns)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        has = listing_of_some(list(map(quoted, file.columns)), 12)
        raise UsageError(f"{file.name} has no column {quoted(name)}.{hint} It has {has}.")
    why = why_no_target(file.columns[name], file.n_rows)
    if why is not None:
        advice = _of_single_rows(file, name, why)
        raise DataError(f"{file.name}: column {quoted(name)} cannot be the target: it {why}.{advice}")


def require_classes(file: ReadTable, name: str) -> None:
    """Raise DataError where a column does not name classes."""
    if why := why_no_classes(file.columns[name], file.n_rows):
        advice = _of_single_rows(file, name, why)
        raise DataError(f"{file.name}: column {quoted(name)} cannot be classes: it {why}.{advice}")


def _of_single_rows(file: ReadTable, name: str, why: str) -> str:
    """What to do about classes of one row each, and where these are; empty where `why` is another reason."""
    if not why.startswith(_A_CLASS):
        return ""
    column = file.columns[name].column
    single = {value for value, n in counts_of_values(column).items() if n == 1}
    texts = column if isinstance(column, TextColumn) else as_categories(column)
    rows = [row for row in np.flatnonzero(~column.missing) if str(cell(texts, int(row))) in single]
    places = [file.lines.place(int(row)) for row in rows[:_MOST_PLACES]]
    named = listing(places, "and") if len(rows) <= _MOST_PLACES else f"{', '.join(places)}, ..."
    them = f"that row ({named})" if len(rows) == 1 else f"the {len(rows):,} rows of such classes ({named})"
    return f" Take out {them}, or give rare classes one name in the file, such as other."


def default_task(inferred: ColumnInference, n_rows: int, name: str = "") -> TaskName:
    """Classification for texts, and for whole numbers of 2 values, or of up to 10 with 10 rows for each.

    Under a name such as class, label, type or species the whole numbers from 0 or 1 on are up to 50 classes.
    """
    if not isinstance(inferred.column, NumberColumn):
        return "classification"
    if inferred.distinct is None or inferred.distinct > MOST_CLASSES:
        return "regression"
    present = whole_numbers(inferred)
    if present is None:
        return "regression"
    values, counts = np.unique(present, return_counts=True)
    if counts.min() < 2:
        return "regression"
    if len(values) == 2:
        return "classification"
    in_a_row = bool(values[0] in (0, 1)) and bool((np.diff(values) == 1).all())
    if names.names_classes(name) and in_a_row:
        return "classification"
    few = len(values) <= _FEW and len(values) * _ROWS_OF_A_VALUE <= n_rows
    return "classification" if few else "regression"


def possible_tasks(inferred: ColumnInference) -> tuple[TaskName, ...]:
    """How a target can be treated. What is 0 or 1 is two classes."""
    if isinstance(inferred.column, NumberColumn) and not is_dummy(inferred):
        return ("classification", "regression")
    return ("classification",)


def labels_of(file: ReadTable) -> tuple[str, ...]:
    """Columns that look like several labels per row: numbers that are 0 or 1, two or more, and called so.

    Their names begin alike (target_1, label_spam), or they are the last columns of a file with texts.
    """
    dummies = [name for name, inferred in file.columns.items() if is_dummy(inferred)]
    called = [name for name in dummies if names.is_label_of_several(name)]
    if len(called) > 1:
        return tuple(called)
    if not any(inferred.type == "text" for inferred in file.columns.values()):
        return ()
    tail: list[str] = []
    for name in reversed(list(file.columns)):
        if name not in dummies:
            break
        tail.append(name)
    return tuple(reversed(tail)) if len(tail) > 1 else ()
