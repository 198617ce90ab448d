"""A history as columns of numbers, a row for each epoch of each network.

It does the little that nnrun asks of a history. A data frame does more, for those who read runs from Python
(`frame`): to import pandas takes as long as a small training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Column = npt.NDArray[Any]
"""(n,) int64 of epochs, folds and seeds, else float64; a value that was never computed is NaN."""


class HistoryTable:
    """n rows, column by column; nothing changes it.

    Args:
        columns: the name of each, in order → its values.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)

    @classmethod
    def of_values(cls, columns: Mapping[str, Sequence[int | float | None]]) -> HistoryTable:
        """A table of Python's numbers; None is a value that was never computed."""
        return cls({name: _column(values) for name, values in columns.items()})

    @property
    def columns(self) -> list[str]:
        """Their names, in order."""
        return list(self._columns)

    @property
    def empty(self) -> bool:
        """Whether it has no row."""
        return len(self) == 0

    def __len__(self) -> int:
        return max(map(len, self._columns.values()), default=0)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def floats(self, name: str) -> npt.NDArray[np.float64]:
        """(n,) a column as float64."""
        return self._columns[name].astype(np.float64)

    def rows(self, chosen: Column | slice) -> HistoryTable:
        """Some of its rows, in order: (n,) booleans, or a slice."""
        return HistoryTable({name: values[chosen] for name, values in self._columns.items()})

    def without(self, *names: str) -> HistoryTable:
        """The other columns."""
        return HistoryTable({name: of for name, of in self._columns.items() if name not in names})

    def groups(self, by: Column) -> Iterator[tuple[int, HistoryTable]]:
        """The rows of each value of `by`, (n,) whole numbers, ascending; rows keep their order."""
        for value in np.unique(by).tolist():
            yield value, self.rows(by == value)

    def records(self) -> list[dict[str, int | float]]:
        """Its rows, as Python's own numbers."""
        lists = [values.tolist() for values in self._columns.values()]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*lists, strict=True)]

    def frame(self) -> pd.DataFrame:
        """The same as a data frame."""
        import pandas as pd

        return pd.DataFrame(self._columns)


def _column(values: Sequence[int | float | None]) -> Column:
    """Integers where all are integers (epochs, folds, seeds), else floats."""
    if values and all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    return np.array([math.nan if value is None else float(value) for value in values], np.float64)
