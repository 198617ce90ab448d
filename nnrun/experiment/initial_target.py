"""Which column of a file to predict, where nobody says so, and whether as classes or as a number."""

from __future__ import annotations

import re
from typing import Final, Literal

import numpy as np

from nnrun.data.describe_columns import counts_of_values
from nnrun.data.files.read import ReadTable
from nnrun.data.infer import Inferred
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError, UsageError
from nnrun.spec.suggest import counted, listing, nearest, quoted

TaskName = Literal["classification", "regression"]

TARGET_NAMES: Final = (
    *("target", "label", "labels", "y", "outcome", "response", "survived", "species", "topic", "sentiment"),
    *("diagnosis", "churn", "price", "medv", "class"),
)
"""What targets are usually called; the first that a file has is taken. Titanic has `survived` and `class`."""

_FEW: Final = 10
_ROWS_OF_A_VALUE: Final = 10
_ENOUGH_ROWS: Final = 20
_ID_NAME: Final = re.compile(r"(?i:(.*[_ .-])?(id|idx|index|uuid|guid|key|row|nr)|unnamed.*)|.*[a-z]I[dD]")


def why_no_target(inferred: Inferred, n_rows: int) -> str | None:
    """Why a column cannot be predicted, as the end of a sentence that begins with it; None where it can.

    Every row needs a value, two rows or more must differ, and texts must be classes: not nearly all
    different, each of two rows or more, so that one can be trained on and one validated.
    """
    if inferred.missing == n_rows:
        return "has no value in any row"
    if inferred.missing:
        return f"lacks a value in {counted(inferred.missing, 'row')}, and every row needs one"
    if inferred.constant:
        return "is the same in every row"
    if inferred.wrong is not None:
        return "holds numbers, and some texts among them"
    if isinstance(inferred.column, NumberColumn):
        return None
    return why_no_classes(inferred, n_rows)


def why_no_classes(inferred: Inferred, n_rows: int) -> str | None:
    """Why a column without missing values does not name classes; None where it does."""
    counts = counts_of_values(inferred.column)
    if len(counts) == n_rows or (n_rows >= _ENOUGH_ROWS and 2 * len(counts) > n_rows):
        return f"has {len(counts):,} different values in {counted(n_rows, 'row')}; these are no classes"
    rarest = min(counts, key=counts.__getitem__)
    if counts[rarest] < 2:
        return (
            f"has the class {quoted(rarest)} in a single row, which cannot be both trained on and validated"
        )
    return None


def default_target(file: ReadTable, stem: str) -> tuple[str, str]:
    """The column to predict, and why it was chosen.

    The first that the file has of: a column with a usual name (`TARGET_NAMES`), a column with the file's own
    name (mpg in mpg.csv), the last column of few different values, the last column. One that cannot be
    predicted, looks like dates, or counts the rows is passed over.

    Raises:
        DataError: no column is left.
    """
    reasons = {name: why_no_target(inferred, file.n_rows) for name, inferred in file.columns.items()}
    names = [
        name
        for name, inferred in file.columns.items()
        if reasons[name] is None and not _is_odd(inferred) and not counts_rows(name, inferred, file.n_rows)
    ]
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.lower(), name)
    for usual in TARGET_NAMES:
        if usual in folded:
            return folded[usual], "a usual name of a target"
    if stem.lower() in folded:
        return folded[stem.lower()], "the file is called so too"
    for name in reversed(names):
        if default_task(file.columns[name], file.n_rows) == "classification":
            return name, "the last column of few different values"
    if names:
        return names[-1], "the last column"
    told = [f"{quoted(name)} {why or 'names or counts the rows'}" for name, why in list(reasons.items())[:4]]
    raise DataError(
        f"{file.name}: no column can be the target: {'; '.join(told)}"
        f"{'; and so on' if len(reasons) > len(told) else ''}. Name one: --target COLUMN, once it has a "
        "value in every row."
    )


def require_target(file: ReadTable, name: str) -> None:
    """Raise where a column that somebody named cannot be predicted.

    Raises:
        UsageError: there is no such column.
        DataError: it cannot be the target.
    """
    if name not in file.columns:
        match = nearest(name, file.columns)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        shown = [quoted(column) for column in list(file.columns)[:12]]
        more = f" and {len(file.columns) - 12:,} more" if len(file.columns) > 12 else ""
        has = ", ".join(shown) + more if more else listing(shown, "and")
        raise UsageError(f"{file.name} has no column {quoted(name)}.{hint} It has {has}.")
    why = why_no_target(file.columns[name], file.n_rows)
    if why is not None:
        raise DataError(f"{file.name}: column {quoted(name)} cannot be the target: it {why}.")


def default_task(inferred: Inferred, n_rows: int) -> TaskName:
    """Classification for texts, and for whole numbers of 2 values, or of up to 10 with 10 rows for each."""
    column = inferred.column
    if not isinstance(column, NumberColumn):
        return "classification"
    if inferred.distinct is None or inferred.distinct > _FEW:
        return "regression"
    values, counts = np.unique(column.values[~column.missing], return_counts=True)
    few = len(values) == 2 or len(values) * _ROWS_OF_A_VALUE <= n_rows
    whole = np.array_equal(values, np.round(values))
    return "classification" if few and whole and counts.min() >= 2 else "regression"


def possible_tasks(inferred: Inferred) -> tuple[TaskName, ...]:
    """What a target can be taken for."""
    if isinstance(inferred.column, NumberColumn):
        return ("classification", "regression")
    return ("classification",)


def counts_rows(name: str, inferred: Inferred, n_rows: int) -> bool:
    """Whether a column of numbers tells rows apart and says nothing of them: 0, 1, 2, ...; or all different
    whole numbers under a name such as `customer_id`."""
    column = inferred.column
    if not isinstance(column, NumberColumn) or inferred.missing or n_rows < 3:
        return False
    values = column.values
    if not np.array_equal(values, np.round(values)):
        return False
    if (np.diff(values) == 1).all():
        return True
    return inferred.distinct == n_rows and _ID_NAME.fullmatch(name) is not None


def _is_odd(inferred: Inferred) -> bool:
    return any(doubt.kind == "names" for doubt in inferred.doubts)
