"""What the values of a column look like: those of a measurement, or of what an experiment set."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnrun.data.inference.column_types import ColumnInference
from nnrun.data.summaries.describe_columns import counts_of_values
from nnrun.data.table import NumberColumn
from nnrun.experiment.init.roles import is_dummy, whole_numbers

_FEW: Final = 10
_FEW_STEPS: Final = 6


def is_balanced(inferred: ColumnInference) -> bool:
    """Whether each value stands in as many rows as every other: the groups or doses of an experiment."""
    if inferred.missing or inferred.distinct is None:
        return False
    if isinstance(inferred.column, NumberColumn) and whole_numbers(inferred) is None:
        return False
    rows_of_each = set(counts_of_values(inferred.column).values())
    return len(rows_of_each) == 1 and rows_of_each != {1}


def is_sorted(inferred: ColumnInference) -> bool:
    """Whether a number goes only up, or stays the same from most rows to the next: what somebody set or
    sorted by.

    A count whose most frequent value is 0 stays the same because it is rare.
    """
    column = inferred.column
    if not isinstance(column, NumberColumn) or inferred.missing or is_dummy(inferred):
        return False
    values, counts = np.unique(column.values, return_counts=True)
    if values[0] == 0 and counts.argmax() == 0:
        return False
    steps = np.diff(column.values.astype(np.float64))
    return len(steps) > _FEW and bool((steps >= 0).all() or (2 * (steps == 0).sum() > len(steps)))


def has_steps(inferred: ColumnInference) -> bool:
    """Whether a column is a few numbers that are not whole, such as a dose of 0.5, 1 and 2."""
    number = isinstance(inferred.column, NumberColumn) and whole_numbers(inferred) is None
    return number and inferred.distinct is not None and inferred.distinct <= _FEW_STEPS
