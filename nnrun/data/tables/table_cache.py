"""Large tables that were read before: kept in nnrun's cache, and mapped into memory from there.

An entry is a folder named by the hash of the file and of how it was read. It holds `table.json` and one array
for each column. It is written under another name, then renamed, whole or not at all. `table.json` has the
CRC-32 of each array, and ends with its own: all are compared whenever an entry is read. A damaged entry is
reported and written again, and so is one that another user could have written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.cache_folder import cache_dir, distrust_entry, make_private, private_place
from nnrun.data.tables.column_builder import Raw, RawNumbers, RawTexts
from nnrun.data.tables.row_reader import LineNumbers

OnMessage = Callable[[str], None]
_VERSION = 4
_BLOCK: Final = 1 << 22
_TYPES: Final = {"float32": np.float32, "float64": np.float64, "int64": np.int64}
_TABLE = "table.json"


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
"""Reads a table. What it calls for is the folder for numbers that shall not stay in memory; None for none."""


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
    if (entry / _TABLE).exists():
        try:
            return _load(entry)
        except (OSError, ValueError, KeyError, TypeError) as error:
            on_message(f"{entry} cannot be used ({error}); reading the file again")
    folder: Path | None = None

    def make_folder() -> Path | None:
        nonlocal folder
        try:
            private_place(entry.parent)
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


def _keep(table: CachedTable, folder: Path, entry: Path) -> CachedTable:
    """Write an entry and read it back, so that what is used now is what is used next time."""
    rows, lines = table.lines.arrays()
    np.save(folder / "lines.npy", np.stack([rows, lines]))
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
    checksums = {path.name: _checksum(path) for path in folder.iterdir()}
    unit, separators = table.lines.unit, table.lines.separators
    text = {"n_rows": table.n_rows, "unit": unit, "separators": separators, "columns": columns}
    text["crc32"] = checksums
    (folder / _TABLE).write_bytes(with_checksum(text))
    for path in folder.iterdir():
        make_private(path)
    if entry.exists():
        shutil.rmtree(entry, ignore_errors=True)  # it was damaged
    try:
        os.replace(folder, entry)
    except OSError:
        if not (entry / _TABLE).exists():  # else another process was first
            raise
    return _load(entry)


def with_checksum(document: Any) -> bytes:
    """A document as a line of JSON, and its CRC-32 as another."""
    text = json.dumps(document).encode()
    return b"%s\n%d\n" % (text, zlib.crc32(text))


def without_checksum(data: bytes) -> Any:
    """The document that `with_checksum` wrote.

    Raises:
        ValueError: something of it is not as it was written.
    """
    text, checksum, *rest = data.split(b"\n")
    if rest != [b""] or checksum != b"%d" % zlib.crc32(text):
        raise ValueError("its checksum does not match")
    return json.loads(text)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _load(entry: Path) -> CachedTable:
    for path in (entry, *entry.iterdir()):
        if (reason := distrust_entry(path)) is not None:
            raise ValueError(reason)
    document = without_checksum((entry / _TABLE).read_bytes())
    for name, checksum in document["crc32"].items():
        if _checksum(entry / name) != checksum:
            raise ValueError(f"the checksum of {name} does not match")
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
