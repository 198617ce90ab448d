"""What a file of rows holds, before any spec: its columns, their types and why, and what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.files.csv_guess import guess_spelling, lacks_header
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.file_hash import remembered_sha256
from nnrun.data.files.open_file import refuse_what_is_no_file, refuse_workbook
from nnrun.data.files.read_table import ReadTable, read_table
from nnrun.data.inference.number_guess import guess_numbers
from nnrun.data.sources.table_file import reader_of
from nnrun.data.summaries.describe_columns import column_document, row_values
from nnrun.data.table import CategoryColumn
from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.spec.wording import counted, quoted

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
    needed: Sequence[str] = (),
    keys: Mapping[str, Any] | None = None,
) -> ReadTable:
    """All columns of a file, read as it seems to be written: `keys` of the table say how, for a spec.

    Args:
        path: of the file.
        on_message: called with the progress of reading.
        types: column → the type to read it as.
        needed: columns of which each row needs a value; other rows are left out.
        keys: what an earlier reading found the file to be written with; None: find it.

    Raises:
        DataError: the file is missing or damaged.
        UsageError: its ending does not say how its rows are written.
    """
    kind = kind_of_file(path.name)
    if kind is None:
        refuse_workbook(path)
        raise UsageError(f"{path} must end in one of {', '.join(ENDINGS)}.")
    refuse_what_is_no_file(path, kind.kind)

    def read(keys: Mapping[str, Any]) -> ReadTable:
        reader = reader_of(_table(kind, path, keys), path)
        options = {"kind": kind.kind, "delimiter": None}
        file = read_table(
            reader,
            remembered_sha256(path),
            options,
            reader.names,
            types or {},
            on_message,
            needed=[needed] if needed else (),
        )
        return replace(file, keys=keys)

    if keys is not None:
        return read(keys)
    keys = {"header": False} if kind is schema.Csv and lacks_header(path) else {}
    file = read(keys)
    more = _keys_of_numbers(kind, path, keys, file)
    return read({**keys, **more}) if more else file


def _table(kind: type[schema.RowFile], path: Path, keys: Mapping[str, Any]) -> schema.RowFile:
    return kind.model_validate({"path": str(path), "target": ["-"], **keys})


def _keys_of_numbers(
    kind: type[schema.RowFile], path: Path, keys: Mapping[str, Any], file: ReadTable
) -> dict[str, Any]:
    """What a spec must say for columns of numbers that were read as categories; mostly nothing."""
    doubtful = [
        inferred
        for inferred in file.columns.values()
        if inferred.wrong is not None or any(d.kind in ("spelling", "mixed") for d in inferred.warnings)
    ]
    if not doubtful:
        return {}
    table = _table(kind, path, keys)
    if isinstance(table, schema.Csv):
        return guess_spelling(CsvReader(path, header=table.header))
    if kind is not schema.Jsonl:
        return {}
    marks: dict[str, None] = {}
    for inferred in doubtful:
        column = inferred.column
        if isinstance(column, CategoryColumn):
            counts = np.bincount(column.codes[~column.missing], minlength=len(column.levels))
            guess = guess_numbers(column.levels, counts)
            marks.update(dict.fromkeys(guess.missing if guess else ()))
    return {"missing": list(marks)} if marks else {}


def file_overview(path: Path, file: ReadTable) -> dict[str, Any]:
    """Rows, and of each column its type, why, and what it holds; and warnings."""
    columns = []
    for inferred in file.columns.values():
        document = column_document(inferred.column)
        warnings = [warning.text for warning in inferred.warnings if warning.kind != "missing"]
        if (why := file.index.get(inferred.column.name)) is not None:
            warnings.append(f"is not an input by default, since it is an index: {why}")
        columns.append({**document, "why": inferred.why, "warnings": warnings})
    return {
        "name": path.name,
        "rows": file.n_rows,
        "columns": columns,
        "read_with": dict(file.keys),
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
