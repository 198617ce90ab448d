"""What the header of an npz archive tells without reading its rows: the shape of a row. Needs no NumPy."""

from __future__ import annotations

import ast
import struct
import zipfile
from pathlib import Path
from typing import Final

from nnrun.spec.schema import DatasetFacts

_MAGIC: Final = b"\x93NUMPY"
_MOST_BYTES: Final = 4096


def facts_of_array(path: str, array: str, tokens: bool = False) -> DatasetFacts:
    """What an array's header tells of its rows; nothing where it cannot be read: loading says what is wrong
    with the file. With `tokens` rows of integers are lists of word indices.
    """
    header = _header_of(path, array)
    if header is None:
        return DatasetFacts()
    shape, kind = header
    if kind == "O" or (tokens and kind in "iu" and len(shape) == 2):
        return DatasetFacts("tokens")
    if kind not in "buif" or not shape:
        return DatasetFacts()
    if len(shape) > 2:
        return DatasetFacts("table", row_shape=shape[1:])
    return DatasetFacts("table", features=shape[1] if len(shape) == 2 else 1)


def _header_of(path: str, array: str) -> tuple[tuple[int, ...], str] | None:
    """The shape of an array, its rows counted, and the letter of its type; None where it cannot be told."""
    try:
        file_path = Path(path).expanduser()
        if not file_path.is_file():
            return None  # a device has no end, and what is read from a pipe is gone
        with zipfile.ZipFile(file_path) as archive, archive.open(f"{array}.npy") as file:
            head = file.read(_MOST_BYTES)
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):
        return None
    if not head.startswith(_MAGIC) or len(head) < 12:
        return None
    start = 10 if head[6] == 1 else 12  # the second version has longer headers
    (length,) = struct.unpack("<H" if start == 10 else "<I", head[8:start])
    try:
        header = ast.literal_eval(head[start : start + length].decode("latin-1"))
        shape, kind = header["shape"], str(header["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        return None
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 1 for size in shape[1:]):
        return None
    return shape, kind.lstrip("<>|=")[:1]
