"""Columns of numbers that rank the rows nearly alike, so that each hides what the other matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import Array
from nnrun.data.table import NumberColumn
from nnrun.experiment.evaluating.exchanged_columns import InputColumn
from nnrun.records.importance_record import CorrelatedColumns

CORRELATED = 0.9
"""Two columns of numbers hide each other above this rank correlation (Spearman's), or below its negative."""

_MOST_RANKED_ROWS = 2000


def correlated_columns(columns: Sequence[InputColumn], dataset: Dataset) -> list[CorrelatedColumns]:
    """Pairs of columns of numbers whose ranks are nearly the same, or nearly opposite, in the training rows.

    Of many rows about 2,000 are ranked, evenly spaced. A missing value counts as an average rank.
    """
    rows = np.arange(0, len(dataset.train), max(1, -(-len(dataset.train) // _MOST_RANKED_ROWS)))
    some, names, ranks = dataset.train.take(rows), [], []
    for column in columns:
        raw = column.raw(some)
        values = raw.values if isinstance(raw, NumberColumn) else raw if isinstance(raw, np.ndarray) else None
        of_values = None if values is None else _ranks(np.asarray(values, np.float64))
        if of_values is not None:
            names.append(column.name)
            ranks.append(of_values)
    if len(ranks) < 2:
        return []
    correlation = np.corrcoef(np.stack(ranks))
    pairs = np.argwhere(np.triu(np.abs(correlation) > CORRELATED, k=1))
    found = [
        CorrelatedColumns(first=names[i], second=names[j], correlation=float(correlation[i, j]))
        for i, j in pairs.tolist()
    ]
    return sorted(found, key=lambda pair: -abs(pair.correlation))


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
