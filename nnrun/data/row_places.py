"""Where the rows of a data set stand in the file or the folder that they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class RowPlaces:
    """Where N rows stand: in a file of rows by `file_rows`, in a folder by `files`; one of them is there.

    Attributes:
        file_rows: (N,) the row of the file, from 0, as pandas and pyarrow count: the header and blank lines
            are none, and rows that were left out count. `pandas.read_csv(FILE).iloc[file_rows]` are these.
        lines: (N,) the line of the file at which a row begins, from 1; None where rows are no lines, as in
            Parquet.
        files: (N,) objects, the path of each row's file from the folder of its part on: `cat/12.png`.
    """

    file_rows: npt.NDArray[np.int64] | None = None
    lines: npt.NDArray[np.int64] | None = None
    files: npt.NDArray[np.object_] | None = None

    def take(self, rows: npt.NDArray[Any]) -> RowPlaces:
        """Those of the rows at these positions, in this order."""

        def taken(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
            return None if values is None else values[rows]

        return RowPlaces(taken(self.file_rows), taken(self.lines), taken(self.files))

    @property
    def column(self) -> str:
        """What a table of rows calls the column of `values`."""
        return "file" if self.file_rows is None else "file_row"

    @property
    def values(self) -> npt.NDArray[Any]:
        """(N,) what tells each row from the others: its row of the file, or its file."""
        values = self.files if self.file_rows is None else self.file_rows
        assert values is not None, "a row is of a file of rows, or a file of a folder"
        return values

    def where(self, row: int) -> int | str:
        """Where a person finds a row: its line, of Parquet its row from 0, or its file."""
        found = self.values if self.lines is None else self.lines
        return found[row] if self.file_rows is None else int(found[row])

    def text(self, row: int) -> str:
        """The same as words: `line 17`, `row 15 (from 0)`, `cat/12.png`."""
        if self.file_rows is None:
            return str(self.where(row))
        return f"row {self.where(row)} (from 0)" if self.lines is None else f"line {self.where(row)}"

    def text_of_file(self, row: int) -> str:
        """The same for a message that does not name the file: `line 17 of the file`."""
        return self.text(row) if self.file_rows is None else f"{self.text(row)} of the file"

    def document(self, row: int) -> dict[str, Any]:
        """The same for programs: `file_row` and, where rows are lines, `line`; or `file`."""
        lines = {} if self.lines is None else {"line": int(self.lines[row])}
        value = self.values[row]
        return {self.column: value if self.file_rows is None else int(value), **lines}
