"""What the header of an npz archive tells without reading its rows: the shape of a row. Needs no NumPy."""

from __future__ import annotations

import ast
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from nnrun.spec import schema
from nnrun.spec.ports import array_of, columns_of, token_inputs
from nnrun.spec.schema import DatasetFacts, ExperimentSpec

_MAGIC: Final = b"\x93NUMPY"
_MOST_BYTES: Final = 4096


def facts_with_header(spec: ExperimentSpec) -> DatasetFacts:
    """What is known of a spec's data set without loading it; of an npz archive also the shape of its rows.

    Of named inputs the facts tell what is known of each.
    """
    facts, dataset = facts_without_header(spec), spec.dataset
    if not isinstance(dataset, schema.Npz):
        return facts
    if spec.inputs:
        arrays = {name: f"{array_of(spec, name)}_train" for name in spec.inputs}
        tokens = token_inputs(spec)
        known = {name: _facts_of(dataset.path, array, name in tokens) for name, array in arrays.items()}
        return replace(facts, of_inputs=known)
    row_shape = _facts_of(dataset.path, "x_train").row_shape
    return facts if row_shape is None else replace(facts, inputs="table", row_shape=row_shape)


def facts_without_header(spec: ExperimentSpec) -> DatasetFacts:
    """What the spec alone tells of its data set.

    An input of a table is a table; its width is known where each column is a number, by `types` or since the
    table is a published one.
    """
    facts, dataset = spec.dataset.facts, spec.dataset
    if not spec.inputs:
        return facts
    of_inputs = {}
    if isinstance(dataset, schema.DigitPairs):
        shapes = {name: dataset.arrays.get(array_of(spec, name)) for name in spec.inputs}
        if all(shapes.values()):  # else an error tells the name that is unknown, and not what follows from it
            of_inputs = {name: DatasetFacts("table", row_shape=shape) for name, shape in shapes.items()}
        return replace(facts, row_shape=None, of_inputs=of_inputs)
    if not isinstance(dataset, schema.NamedColumns):
        return facts
    for name in spec.inputs:
        columns = columns_of(spec, name)
        numbers = all(dataset.is_number(column) for column in columns)
        of_inputs[name] = DatasetFacts("table", features=len(columns) if numbers else None)
    return replace(facts, of_inputs=of_inputs)


def _facts_of(path: str, array: str, tokens: bool = False) -> DatasetFacts:
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
