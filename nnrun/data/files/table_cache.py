"""Tables that were read before: kept in nnrun's cache, and mapped into memory from there.

An entry is named by the hash of the file and of how it was read. Its file `numbers` holds an array for each
column of numbers, `codes` one for each column of texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.data.cache_entry import OnMessage, folder_beside, keep_entry, load_entry, remove_unused
from nnrun.data.files.columns import Raw, RawNumbers, RawTexts
from nnrun.data.files.row_reader import LineNumbers
from nnrun.data.files.stored_arrays import ArrayFile, map_arrays
from nnrun.paths import cache_dir

_VERSION = 7
NUMBERS: Final = "numbers"
_CODES: Final = "codes"


@dataclass(frozen=True, eq=False)
class CachedTable:
    """Columns as they were read.

    Attributes:
        columns: name → values.
        n_rows: N.
        lines: where the rows stand in the file.
        places: which row of the file each is, from 0, as `ReadTable.places` counts.
    """

    columns: Mapping[str, Raw]
    n_rows: int
    lines: LineNumbers
    places: LineNumbers

    @property
    def is_stored(self) -> bool:
        """Whether its numbers, if it has any, are in a file."""
        return all(raw.at is not None for raw in self.columns.values() if isinstance(raw, RawNumbers))


Folder = Callable[[], "Path | None"]
Read = Callable[[Folder], CachedTable]
"""Reads a table. Where that is worth keeping, it calls its argument for a folder to write the numbers in, as
`NUMBERS`; None where there is none."""


_kept: ContextVar[bool] = ContextVar("tables are kept in the cache", default=True)


def is_kept() -> bool:
    """Whether what is read is kept in the cache, see `without_table_cache`."""
    return _kept.get()


@contextmanager
def without_table_cache() -> Iterator[None]:
    """Within, no table is looked for in the cache or kept there: its file is deleted soon."""
    token = _kept.set(False)
    try:
        yield
    finally:
        _kept.reset(token)


def unwritable(place: Path, error: OSError, then: str = "the table stays in memory") -> str:
    """A message: what was read is not kept."""
    why = error.strerror or error
    return f"{place} cannot be written ({why}); {then}, and reading will take as long next time"


def cached_or_read(sha256: str, key: Mapping[str, Any], read: Read, on_message: OnMessage) -> CachedTable:
    """The table from the cache; else read, and kept there where that is worth it.

    Args:
        sha256: of the file's bytes.
        key: what else decides what is read.
        read: reads the file.
        on_message: called where the cache cannot be used.
    """
    if not is_kept():
        return read(lambda: None)
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
                on_message(unwritable(entry.parent, error))
                return None
            return folders[-1]

        table = read(make_folder)
        if folders and table.is_stored:
            try:
                document = _written(folders[-1], table)
                # What is used now is what is used next time. It stays mapped, whatever becomes of the folder.
                table = _loaded(folders[-1], document)
                keep_entry(folders[-1], entry, document)
                remove_unused(entry.parent)
            except OSError as error:
                on_message(unwritable(entry.parent, error))
        return table


def _written(folder: Path, table: CachedTable) -> dict[str, Any]:
    """The document of a table whose numbers are in the folder, where all else is now written."""
    np.save(folder / "lines.npy", np.stack(table.lines.arrays()))
    np.save(folder / "places.npy", np.stack(table.places.arrays()))
    columns = []
    with ArrayFile(folder / _CODES) as codes:
        for name, raw in table.columns.items():
            document: dict[str, Any] = {"name": name}
            if isinstance(raw, RawTexts):
                document |= {"at": codes.add([raw.codes], np.int32), "levels": list(raw.levels)}
                document |= {"numeric": raw.numeric, "some_numeric": raw.some_numeric}
            else:
                document |= {"at": raw.at, "type": raw.values.dtype.name}
            columns.append(document)
    if not (folder / NUMBERS).exists():  # of a table of texts
        (folder / NUMBERS).touch()
    unit, separators = table.lines.unit, table.lines.separators
    return {"n_rows": table.n_rows, "unit": unit, "separators": separators, "columns": columns}


def _loaded(entry: Path, document: Any) -> CachedTable:
    n_rows, columns = int(document["n_rows"]), document["columns"]
    texts = [column for column in columns if "levels" in column]
    numbers = [column for column in columns if "levels" not in column]
    found: dict[str, Raw] = {}
    places = [(int(column["at"]), column["type"]) for column in numbers]
    for column, values in zip(numbers, map_arrays(entry / NUMBERS, places, n_rows), strict=True):
        found[column["name"]] = RawNumbers(values, column["at"])
    places = [(int(column["at"]), "int32") for column in texts]
    for column, codes in zip(texts, map_arrays(entry / _CODES, places, n_rows), strict=True):
        levels = tuple(str(level) for level in column["levels"])
        if codes.max(initial=-1) >= len(levels):
            raise ValueError(f"column {column['name']} does not match")
        found[column["name"]] = RawTexts(codes, levels, column["numeric"], column["some_numeric"])
    lines = LineNumbers.of_arrays(
        document["unit"], int(document["separators"]), *np.load(entry / "lines.npy")
    )
    places_ = LineNumbers.of_arrays("row", 0, *np.load(entry / "places.npy"))
    return CachedTable({column["name"]: found[column["name"]] for column in columns}, n_rows, lines, places_)
