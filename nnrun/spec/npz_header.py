"""What the header of an npz archive tells without reading its rows: the shape of a row. Needs no NumPy."""

from __future__ import annotations

import ast
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from nnrun.spec import schema
from nnrun.spec.schema import DatasetFacts

_MAGIC: Final = b"\x93NUMPY"
_MOST_BYTES: Final = 4096


def facts_with_header(dataset: schema.DataSource) -> DatasetFacts:
    """What is known of a data set without loading it; of an npz archive also the shape of its rows."""
    facts = dataset.facts
    shape = _row_shape(dataset.path, "x_train") if isinstance(dataset, schema.Npz) else None
    return facts if shape is None else replace(facts, inputs="table", row_shape=shape)


def _row_shape(path: str, array: str) -> tuple[int, ...] | None:
    """The shape of a row of numbers with more than one axis; None for other rows, or where it cannot be told:
    loading says what is wrong with the file.
    """
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
    return shape[1:] if len(shape) > 2 and kind.lstrip("<>|=")[:1] in "buif" else None
