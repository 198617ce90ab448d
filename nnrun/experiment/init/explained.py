"""How much of a number the other numbers of a file explain: a sign of which one is to be predicted.

Letters in names: N rows, F other columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read_table import ReadTable
from nnrun.data.table import NumberColumn
from nnrun.experiment.init.leaks import scaled

_MOST_ROWS: Final = 2_000
_MOST_COLUMNS: Final = 100


def explained(file: ReadTable, name: str, others: Sequence[str]) -> float | None:
    """Adjusted R² of a linear regression on the other numbers, of up to 2,000 rows, evenly spread.

    None where the column is not a number, or the rows are too few for so many columns.
    """
    column = file.columns[name].column
    if not isinstance(column, NumberColumn):
        return None
    rows = np.flatnonzero(~column.missing)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64))]
    y = _scaled(column.values[rows])
    columns = [file.columns[other].column for other in others if other != name][:_MOST_COLUMNS]
    x_FN = [_scaled(other.values[rows]) for other in columns if isinstance(other, NumberColumn)]
    design = np.column_stack([np.ones(len(rows)), *x_FN])
    n, width = design.shape
    spread = float(((y - y.mean()) ** 2).sum())
    if n <= width + 1 or not spread:
        return None
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - float((left**2).sum()) / spread * (n - 1) / (n - width))


def _scaled(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Numbers from -1 to 1, what is missing as the mean."""
    missing = np.isnan(values)
    if missing.all():
        return np.zeros(len(values))
    wide = scaled(values)
    return np.where(missing, wide[~missing].mean(), wide)
