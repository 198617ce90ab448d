"""Functions that a written script has copies of: rows of arrays and tokens, checked as `nnrun predict` does.

N rows.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnrun.data.inference.number_spelling import is_number
from nnrun.experiment.scripting.step_parts import BadRow


def array_rows(rows: Any, shape: Sequence[int], names: Sequence[str] | None = None) -> np.ndarray:
    """(N, *shape) finite numbers: of an array, also of flat rows; of lists; of a data frame, by `names`."""
    if hasattr(rows, "columns"):
        lacking = [name for name in names or () if name not in rows.columns]
        if lacking:
            raise ValueError(f"the rows lack the columns {', '.join(lacking)}")
        rows = (rows if names is None else rows[list(names)]).to_numpy()
    if not isinstance(rows, np.ndarray) or rows.dtype == object:
        lists = [numbers_of(row, shape, place) for place, row in enumerate(rows)]
        rows = np.array(lists, np.float64).reshape(len(lists), *shape)
    if rows.dtype.kind not in "buif":
        raise ValueError(f"the rows have the type {rows.dtype}; they must be real numbers")
    alike = [n for n in rows.shape[1:] if n != 1] == [n for n in shape if n != 1]
    fits = rows.ndim > 0 and math.prod(rows.shape[1:]) == math.prod(shape)
    if not fits or not (alike or rows.ndim == 2 or len(shape) == 1):
        raise ValueError(f"the rows have the shape {rows.shape}; the network takes (N, *{tuple(shape)})")
    rows = rows.reshape(len(rows), *shape)
    wrong = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if wrong.any():
        raise BadRow(int(wrong.argmax()), "has a value that is missing or not finite")
    return rows


def numbers_of(row: Any, shape: Sequence[int], place: int) -> list[Any]:
    """The numbers of one row, which is a list, flat or of this shape."""
    values = np.asarray(row.tolist() if hasattr(row, "tolist") else row, dtype=object)
    if values.shape not in (tuple(shape), (math.prod(shape),)):
        raise BadRow(place, f"has the shape {values.shape}; the network takes {tuple(shape)}")
    for value in values.ravel().tolist():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > sys.float_info.max:
            raise BadRow(place, f"has {value!r:.40}, which is not a finite number")
    return values.ravel().tolist()


def token_rows(rows: Any, largest: int, first: int, end: int | None, unknown: int) -> list[list[int]]:
    """Lists of tokens from 0 to `largest`; those before `first` or from `end` on become `unknown`."""
    found = []
    for place, row in enumerate(rows):
        tokens = row.tolist() if hasattr(row, "tolist") else row
        if not isinstance(tokens, (list, tuple)):
            raise BadRow(place, f"is {tokens!r:.40}, which is not a list of tokens")
        for token in tokens:
            if type(token) is not int or not 0 <= token <= largest:
                raise BadRow(place, f"holds {token!r:.40}; tokens are whole numbers from 0 to {largest}")
        found.append([t if t >= first and (end is None or t < end) else unknown for t in tokens])
    return found


def refuse_uneven(rows: Any, names: Sequence[str]) -> None:
    """ValueError unless there is an array for each input, and all have as many rows."""
    if not isinstance(rows, Mapping) or any(name not in rows for name in names):
        raise ValueError(f"the rows must be a dictionary with those of each input: {', '.join(names)}")
    counts = {name: len(rows[name]) for name in names}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the inputs have different numbers of rows: {counts}")


def read_lists(path: str) -> list[Any]:
    """The rows of JSON lines, each a list of tokens."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in filter(str.strip, file):
            try:
                found.append(json.loads(line))
            except ValueError:
                raise BadRow(len(found), f"is {line.strip()!r:.40}, which is not JSON") from None
    return found


def read_array(path: str, names: Sequence[str] | None = None) -> Any:
    """The rows of an .npy file, or of CSV: by `names`, where its first line has some; else in order."""
    if path.endswith(".npy"):
        return np.load(path, allow_pickle=False)
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [[field.strip() for field in line] for line in csv.reader(file) if line]
    header, places = lines[0] if lines else [], None
    if names is not None and any(name in names for name in header):
        lacking = [name for name in names if name not in header]
        if lacking:
            raise ValueError(f"the file lacks the columns {', '.join(lacking)}")
        places = [header.index(name) for name in names]
    if places is not None or not any(map(is_number, header)):
        if places is None and names is not None:
            raise ValueError(f"the first line names none of the columns {', '.join(names)}")
        lines = lines[1:]
    found = []
    for place, line in enumerate(lines):
        if len(line) != len(header):
            raise BadRow(place, f"has {len(line)} fields; the first line has {len(header)}")
        fields = line if places is None else [line[at] for at in places]
        for field in fields:
            if not is_number(field):
                raise BadRow(place, f"has {field!r:.40}, which is not a number")
        found.append([float(field) for field in fields])
    return found


def read_arrays(path: str, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The rows of each input, which an .npz file has by the name of its array."""
    with np.load(path, allow_pickle=False) as file:
        lacking = [array for array in names.values() if array not in file]
        if lacking:
            raise ValueError(f"the file lacks the arrays {', '.join(lacking)}")
        return {name: file[array] for name, array in names.items()}
