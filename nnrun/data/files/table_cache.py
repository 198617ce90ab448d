"""Large tables that were read before: kept in nnrun's cache, and mapped into memory from there.

An entry is named by the hash of the file and of how it was read, and holds one array for each column.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.data.cache_entry import OnMessage, folder_beside, keep_entry, load_entry
from nnrun.data.files.columns import Raw, RawNumbers, RawTexts
from nnrun.data.files.row_reader import LineNumbers
from nnrun.paths import cache_dir

_VERSION = 5
_TYPES: Final = {"float32": np.float32, "float64": np.float64, "int64": np.int64}


@dataclass(frozen=True, eq=False)
class CachedTable:
    """Columns as they were read.

    Attributes:
        columns: name → values.
        n_rows: N.
        lines: where the rows stand in the file.
    """

    columns: Mapping[str, Raw]
    n_rows: int
    lines: LineNumbers


Read = Callable[[Callable[[], "Path | None"]], CachedTable]
"""Reads a table. It calls its argument for a folder where numbers are kept that would fill the memory; None
where there is none."""


def cached_or_read(sha256: str, key: Mapping[str, Any], read: Read, on_message: OnMessage) -> CachedTable:
    """The table from the cache; else read, and kept there where it is large.

    Args:
        sha256: of the file's bytes.
        key: what else decides what is read.
        read: reads the file.
        on_message: called where the cache cannot be used.
    """
    digest = hashlib.sha256(json.dumps([_VERSION, key], sort_keys=True).encode()).hexdigest()
    entry = cache_dir() / "tables" / f"{sha256[:32]}-{digest[:16]}"

    def load(document: Any) -> CachedTable:
        return _loaded(entry, document)

    if (known := load_entry(entry, load, on_message, "reading the file again")) is not None:
        return known
    folders: list[Path] = []
    with ExitStack() as stack:

        def make_folder() -> Path | None:
            try:
                folders.append(stack.enter_context(folder_beside(entry)))
            except OSError as error:
                on_message(
                    f"{entry.parent} cannot be written ({error.strerror or error}); the table stays in "
                    "memory, and reading will take as long next time"
                )
                return None
            return folders[-1]

        table = read(make_folder)
        if not folders:
            return table
        keep_entry(folders[-1], entry, _written(folders[-1], table))
        # What is used now is what is used next time.
        return load_entry(entry, load, on_message, "keeping the table in memory") or table


def _written(folder: Path, table: CachedTable) -> dict[str, Any]:
    """The document of a table whose arrays were written into the folder."""
    np.save(folder / "lines.npy", np.stack(table.lines.arrays()))
    columns = []
    for number, (name, raw) in enumerate(table.columns.items()):
        document: dict[str, Any] = {"name": name}
        if isinstance(raw, RawTexts):
            np.save(folder / f"{number}.npy", raw.codes)
            document |= {"levels": list(raw.levels), "numeric": raw.numeric, "some_numeric": raw.some_numeric}
        else:
            document["type"] = raw.values.dtype.name
            path = folder / f"{number}.{raw.values.dtype.name}"
            if isinstance(raw.values, np.memmap):
                os.replace(str(raw.values.filename), path)  # it stays mapped
            else:
                raw.values.tofile(path)
        columns.append(document)
    unit, separators = table.lines.unit, table.lines.separators
    return {"n_rows": table.n_rows, "unit": unit, "separators": separators, "columns": columns}


def _loaded(entry: Path, document: Any) -> CachedTable:
    n_rows = int(document["n_rows"])
    columns: dict[str, Raw] = {}
    for number, column in enumerate(document["columns"]):
        if "levels" in column:
            codes = np.load(entry / f"{number}.npy", mmap_mode="r")
            levels = tuple(str(level) for level in column["levels"])
            if codes.shape != (n_rows,) or codes.dtype != np.int32 or codes.max(initial=-1) >= len(levels):
                raise ValueError(f"column {number} does not match")
            columns[column["name"]] = RawTexts(codes, levels, column["numeric"], column["some_numeric"])
        else:
            path, kind = entry / f"{number}.{column['type']}", _TYPES[column["type"]]
            columns[column["name"]] = RawNumbers(np.memmap(path, kind, "r", shape=(n_rows,)))
    lines = LineNumbers.of_arrays(
        document["unit"], int(document["separators"]), *np.load(entry / "lines.npy")
    )
    return CachedTable(columns, n_rows, lines)
