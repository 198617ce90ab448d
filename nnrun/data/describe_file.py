"""What a file of rows holds, before any spec: its columns, their types and why, and what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.describe_columns import column_document, row_values
from nnrun.data.files.opened import sha256_of
from nnrun.data.files.read import ReadTable, read_table
from nnrun.data.sources.row_file import reader_of
from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.spec.suggest import counted, quoted

_KINDS: dict[str, type[schema.RowFile]] = {
    ".csv": schema.Csv,
    ".tsv": schema.Csv,
    ".jsonl": schema.Jsonl,
    ".ndjson": schema.Jsonl,
    ".parquet": schema.Parquet,
    ".pq": schema.Parquet,
}
ENDINGS = tuple(_KINDS)


def kind_of_file(name: str) -> type[schema.RowFile] | None:
    """How the rows of a file are written, by the ending of its name; None where that says nothing."""
    return _KINDS.get(Path(name.lower().removesuffix(".gz")).suffix)


def read_file(
    path: Path,
    on_message: Callable[[str], None] = lambda text: None,
    types: Mapping[str, schema.ColumnType] | None = None,
) -> ReadTable:
    """All columns of a file.

    Args:
        path: of the file.
        on_message: is told how far reading is.
        types: column → what it is to be taken for.

    Raises:
        DataError: the file is missing or damaged.
        UsageError: its ending does not say how its rows are written.
    """
    kind = kind_of_file(path.name)
    if kind is None:
        raise UsageError(f"{path} must end in one of {', '.join(ENDINGS)}.")
    reader = reader_of(kind(path=str(path), target=["-"]), path)
    options = {"kind": kind.kind, "delimiter": None, "missing": None}
    return read_table(reader, sha256_of(path), options, reader.names, types or {}, on_message)


def file_overview(path: Path, file: ReadTable) -> dict[str, Any]:
    """Rows, and of each column its type, why, and what it holds; and warnings."""
    columns = []
    for inferred in file.columns.values():
        document = column_document(inferred.column)
        warnings = [doubt.text for doubt in inferred.doubts if doubt.kind != "missing"]
        columns.append({**document, "why": inferred.why, "warnings": warnings})
    return {
        "name": path.name,
        "rows": file.n_rows,
        "columns": columns,
        "source": {"path": str(path), "sha256": file.sha256},
    }


def file_row(path: Path, file: ReadTable, row: int) -> dict[str, Any]:
    """One row, by column.

    Raises:
        UsageError: there is no such row.
    """
    if not 0 <= row < file.n_rows:
        raise UsageError(
            f"There is no row {row} in {quoted(path.name)}: it has {counted(file.n_rows, 'row')}, counted "
            f"from 0."
        )
    document: dict[str, Any] = {"name": path.name, "row": row}
    if file.lines.unit == "line":
        document["line"] = int(file.lines.of_rows(np.array([row]))[0])
    return {**document, "values": row_values(file.table, row)}
