"""What a table's columns hold, in a few numbers; and its rows, value by value: plain values, for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import (
    CategoryColumn,
    Column,
    NumberColumn,
    Table,
    TextColumn,
    as_categories,
    exact_number,
    kind_of,
)
from nnrun.data.value_names import shown_number

MOST_VALUES: Final = 20
"""Values of a category that are told; a category of more has only the most frequent ones told."""
_MOST_COUNTED: Final = 1_000_000


def column_document(column: Column) -> dict[str, Any]:
    """Name, type, rows without a value; then range and mean of numbers, or the most frequent values."""
    missing = column.missing
    document: dict[str, Any] = {"name": column.name, "type": kind_of(column), "missing": int(missing.sum())}
    if isinstance(column, NumberColumn):
        present = column.values[~missing]
        few = len(present) <= _MOST_COUNTED
        return {
            **document,
            "distinct": len(np.unique(column.identities()[~missing])) if few else None,
            **(statistics(present) if len(present) else {}),
        }
    if isinstance(column, CategoryColumn):
        counts = np.bincount(column.codes[~missing], minlength=len(column.levels))
        most = np.argsort(-counts, kind="stable")[:MOST_VALUES]
        if column.dates and counts.any():
            document |= _span([level for level, n in zip(column.levels, counts, strict=True) if n])
        values = [{"value": column.levels[i], "rows": int(counts[i])} for i in most if counts[i]]
        return {**document, "distinct": int((counts > 0).sum()), "values": values}
    texts = [value for value in column.values if value is not None]
    words = np.array([len(text.split()) for text in texts] or [0])
    return {
        **document,
        "distinct": len(set(texts)),
        "words": {"mean": float(words.mean()), "min": int(words.min()), "max": int(words.max())},
    }


def _span(texts: Sequence[str]) -> dict[str, str]:
    """The first and the last of some dates."""
    dates = sorted(text for text in iso_texts(texts) if text[:4].isdigit())
    return {"first": dates[0], "last": dates[-1]} if dates else {}


def counts_of_values(column: Column) -> dict[str, int]:
    """Each value, as the name of a class, and how many rows have it; missing ones are not counted."""
    if not isinstance(column, TextColumn):
        column = as_categories(column)
        counts = np.bincount(column.codes[~column.missing], minlength=len(column.levels))
        return {level: int(n) for level, n in zip(column.levels, counts, strict=True) if n}
    present = column.values[~column.missing]
    texts, counts = np.unique(present.astype(str), return_counts=True)
    return {str(text): int(n) for text, n in zip(texts, counts, strict=True)}


def cell(column: Column, row: int) -> float | str | None:
    """One value; None where it is missing."""
    if isinstance(column, NumberColumn):
        if column.names is not None:
            code = int(column.names.codes[row])
            return None if code < 0 else exact_number(column.names.levels[code])
        value: float = column.values[row].item()
        return None if value != value else value
    if isinstance(column, CategoryColumn):
        code = int(column.codes[row])
        return None if code < 0 else column.levels[code]
    text: str | None = column.values[row]
    return text


def row_values(table: Table, row: int) -> dict[str, float | str | None]:
    """Name → value of one row."""
    return {column.name: cell(column, row) for column in table.columns}


def shown_value(value: float | str | None) -> str:
    """A value for a person to read."""
    return "missing" if value is None else value if isinstance(value, str) else shown_number(value)


def statistics(values: npt.NDArray[Any]) -> dict[str, float]:
    """Mean, standard deviation and range of numbers, of which there is at least one."""
    numbers = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # the range of a column may be too wide for its square
        return {
            "mean": float(numbers.mean()),
            "std": float(numbers.std()),
            "min": float(numbers.min()),
            "max": float(numbers.max()),
        }
