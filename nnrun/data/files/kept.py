"""Large tables that were read before: kept in nnrun's cache, and mapped into memory from there.

An entry is a folder named by the hash of the file and of how it was read. It holds `table.json` and one array
for each column. It is written beside its place and renamed,
whole or not at all. A damaged entry is said and written anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.cache import cache_dir
from nnrun.data.files.blocks import LineNumbers
from nnrun.data.files.columns import Raw, RawNumbers, RawTexts

OnMessage = Callable[[str], None]
_VERSION = 1
_TABLE = "table.json"


@dataclass(frozen=True, eq=False)
class Kept:
    """Columns as they were read.

    Attributes:
        columns: name → values.
        n_rows: N.
        lines: where the rows stand in the file.
    """

    columns: Mapping[str, Raw]
    n_rows: int
    lines: LineNumbers


Read = Callable[[Callable[[], "Path | None"]], Kept]
"""Reads a table. What it calls for is the folder for numbers that shall not stay in memory; None for none."""


def kept_or_read(sha256: str, key: Mapping[str, Any], read: Read, on_message: OnMessage) -> Kept:
    """The table from the cache; else read, and kept there where it is large.

    Args:
        sha256: of the file's bytes.
        key: what else decides what is read.
        read: reads the file.
        on_message: is told where the cache cannot be used.
    """
    digest = hashlib.sha256(json.dumps([_VERSION, key], sort_keys=True).encode()).hexdigest()
    entry = cache_dir() / "tables" / f"{sha256[:32]}-{digest[:16]}"
    if (entry / _TABLE).exists():
        try:
            return _load(entry)
        except (OSError, ValueError, KeyError, TypeError) as error:
            on_message(f"{entry} cannot be used ({error}); reading the file again")
    folder: Path | None = None

    def make_folder() -> Path | None:
        nonlocal folder
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            folder = folder or Path(tempfile.mkdtemp(dir=entry.parent, suffix=".partial"))
        except OSError as error:
            on_message(
                f"{entry.parent} cannot be written ({error.strerror or error}); the table stays in memory, "
                f"and reading will take as long next time"
            )
        return folder

    try:
        table = read(make_folder)
        return table if folder is None else _keep(table, folder, entry)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _keep(table: Kept, folder: Path, entry: Path) -> Kept:
    """Write an entry and read it back, so that what is used now is what is used next time."""
    rows, lines = table.lines.arrays()
    np.save(folder / "lines.npy", np.stack([rows, lines]))
    columns = []
    for number, (name, raw) in enumerate(table.columns.items()):
        document: dict[str, Any] = {"name": name}
        if isinstance(raw, RawTexts):
            np.save(folder / f"{number}.npy", raw.codes)
            document["levels"] = list(raw.levels)
        elif raw.values.dtype == np.float64:
            raw.values.astype(np.float32).tofile(folder / f"{number}.float32")
        columns.append(document)
    text = {"n_rows": table.n_rows, "unit": table.lines.unit, "columns": columns}
    (folder / _TABLE).write_text(json.dumps(text), encoding="utf-8")
    if entry.exists():
        shutil.rmtree(entry, ignore_errors=True)  # it was damaged
    try:
        os.replace(folder, entry)
    except OSError:
        if not (entry / _TABLE).exists():  # else another process was first
            raise
    return _load(entry)


def _load(entry: Path) -> Kept:
    document = json.loads((entry / _TABLE).read_text(encoding="utf-8"))
    n_rows = int(document["n_rows"])
    columns: dict[str, Raw] = {}
    for number, column in enumerate(document["columns"]):
        if "levels" in column:
            codes = np.load(entry / f"{number}.npy", mmap_mode="r")
            levels = tuple(str(level) for level in column["levels"])
            if codes.shape != (n_rows,) or codes.dtype != np.int32 or codes.max(initial=-1) >= len(levels):
                raise ValueError(f"column {number} does not fit")
            columns[column["name"]] = RawTexts(codes, levels)
        else:
            path = entry / f"{number}.float32"
            if path.stat().st_size != 4 * n_rows:
                raise ValueError(f"column {number} has the wrong size")
            columns[column["name"]] = RawNumbers(np.memmap(path, np.float32, "r", shape=(n_rows,)))
    lines = LineNumbers(document["unit"])
    rows, numbers = np.load(entry / "lines.npy")
    lines.add_arrays(rows, numbers)
    return Kept(columns, n_rows, lines)
