"""Columns that tell nearly the same, so that each hides what the other matters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import Array
from nnrun.data.table import CategoryColumn, Column, NumberColumn, TextColumn
from nnrun.experiment.evaluating.exchanged_columns import InputColumn
from nnrun.records.importance_record import CorrelatedColumns

CORRELATED = 0.9
"""Two columns hide each other above this: the rank correlation of numbers (Spearman's), whatever its sign, or
the association of categories (Cramér's V)."""

_MOST_ROWS = 2000
_MOST_LEVELS = 20
_MOST_CODED = 200  # columns, of which all pairs are counted


def correlated_columns(columns: Sequence[InputColumn], dataset: Dataset) -> list[CorrelatedColumns]:
    """Pairs of columns that tell nearly the same in the training rows, those that tell most alike first.

    Numbers are compared by their ranks. Categories, of 20 levels at most, are compared with each other and
    with numbers of as few different values. Of many rows about 2,000 are looked at, evenly spaced.
    """
    rows = np.arange(0, len(dataset.train), max(1, -(-len(dataset.train) // _MOST_ROWS)))
    some = dataset.train.take(rows)
    raw = {column.name: values for column in columns if (values := column.raw(some)) is not None}
    found = _alike_numbers(raw) + _alike_categories(raw)
    return sorted(found, key=lambda pair: -abs(pair.correlation))


def _alike_numbers(raw: dict[str, Column | Array]) -> list[CorrelatedColumns]:
    """Of columns of numbers by their ranks; a missing value counts as an average rank."""
    values = {name: _numbers(column) for name, column in raw.items()}
    ranks = {name: _ranks(of) for name, of in values.items() if of is not None}
    known = {name: of for name, of in ranks.items() if of is not None}
    if len(known) < 2:
        return []
    names, correlation = list(known), np.corrcoef(np.stack(list(known.values())))
    pairs = np.argwhere(np.triu(np.abs(correlation) > CORRELATED, k=1))
    return [_pair(names[i], names[j], correlation[i, j]) for i, j in pairs.tolist()]


def _alike_categories(raw: dict[str, Column | Array]) -> list[CorrelatedColumns]:
    """Of columns of few different values, of which at least one is of categories."""
    codes = {name: _codes(column) for name, column in raw.items()}
    coded = [(name, of) for name, of in codes.items() if of is not None][:_MOST_CODED]
    found = []
    for (first, ours), (second, theirs) in combinations(coded, 2):
        if not (isinstance(raw[first], CategoryColumn) or isinstance(raw[second], CategoryColumn)):
            continue
        association = _cramers_v(ours, theirs)
        if association > CORRELATED:
            found.append(_pair(first, second, association))
    return found


def _pair(first: str, second: str, correlation: float) -> CorrelatedColumns:
    return CorrelatedColumns(first=first, second=second, correlation=float(correlation))


def _numbers(column: Column | Array) -> Array | None:
    """(N,) NaN where one is missing; None of other values."""
    if isinstance(column, CategoryColumn | TextColumn):
        return None
    return np.asarray(column.values if isinstance(column, NumberColumn) else column, np.float64)


def _ranks(values: Array) -> Array | None:
    """(N,) ranks, of equals their mean; None where all are equal."""
    known = np.isfinite(values)
    different, places, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if len(different) < 2:
        return None
    of_value = np.cumsum(counts) - (counts - 1) / 2
    ranks = np.full(len(values), (known.sum() + 1) / 2)
    ranks[known] = of_value[places]
    return ranks


def _codes(column: Column | Array) -> Array | None:
    """(N,) which of a few values each row has, a missing one being one more; None of one, or of many."""
    if isinstance(column, TextColumn):
        return None
    values = column.codes if isinstance(column, CategoryColumn) else _numbers(column)
    assert values is not None, "texts are left out"
    different, codes = np.unique(values, return_inverse=True)
    return codes if 1 < len(different) <= _MOST_LEVELS else None


def _cramers_v(first: Array, second: Array) -> float:
    """Cramér's V, corrected for what chance gives columns of many levels (Bergsma 2013)."""
    counts = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(counts, (first, second), 1)
    n, (rows, columns) = len(first), counts.shape
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / n
    by_chance = (rows - 1) * (columns - 1) / max(n - 1, 1)
    phi2 = max(0.0, float((((counts - expected) ** 2) / expected).sum()) / n - by_chance)
    least = min(k - (k - 1) ** 2 / max(n - 1, 1) for k in (rows, columns)) - 1
    return float(np.sqrt(phi2 / least)) if least > 0 else 0.0
