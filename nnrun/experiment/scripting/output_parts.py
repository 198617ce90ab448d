"""Functions that a written script has copies of: from outputs to decisions, and from files to rows.

N rows, K outputs, C classes, T steps.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnrun.sequences import greedily_decoded, lists_of


def unscaled(y: np.ndarray, mean: Any, std: Any, log1p: bool = False) -> np.ndarray:
    """(..., K) outputs in the units of the targets: these were standardized, `log1p`: their logarithms."""
    values = y * np.array(std) + np.array(mean)
    return np.expm1(values) if log1p else values


def from_curves(y: np.ndarray, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(..., K) outputs in the units of the targets, each through points (normal, quantiles) of its own."""
    return np.stack([np.interp(y[..., k], *curve) for k, curve in enumerate(curves)], axis=-1)


def floats(values: np.ndarray) -> list[Any]:
    """float32 numbers with the fewest digits that read back as the same: 0.1, not 0.10000000149."""
    return [float(str(value)) for value in values.astype(np.float32)]


def binary_columns(
    p: np.ndarray, classes: Sequence[Any], names: Sequence[str], threshold: float, scores: bool
) -> dict[str, list[Any]]:
    """(N, 1) probabilities of the second of two classes, or scores, as columns."""
    positive = p[:, 0].astype(np.float64)
    index = (positive > threshold).astype(int).tolist()
    said: dict[str, list[Any]] = {names[0]: [classes[i] for i in index]}
    if not scores:
        both = np.stack([1 - positive, positive], axis=1)
        said[names[1]] = floats(both[np.arange(len(both)), index])
        said |= {name: floats(column) for name, column in zip(names[2:], both.T, strict=True)}
    return said


def class_columns(
    p: np.ndarray, classes: Sequence[Any], names: Sequence[str], scores: bool
) -> dict[str, list[Any]]:
    """(N, C) probabilities of classes, or scores, as columns."""
    index = p.argmax(axis=1).tolist()
    said: dict[str, list[Any]] = {names[0]: [classes[i] for i in index]}
    if not scores:
        said[names[1]] = floats(p[np.arange(len(p)), index])
        said |= {name: floats(column) for name, column in zip(names[2:], p.T, strict=True)}
    return said


def label_columns(
    p: np.ndarray, classes: Sequence[Any], names: Sequence[str], threshold: float, scores: bool
) -> dict[str, list[Any]]:
    """(N, C) probabilities of labels, of which a row has any number, as columns."""
    said: dict[str, list[Any]] = {
        names[0]: [";".join(str(classes[k]) for k in np.flatnonzero(row).tolist()) for row in p > threshold]
    }
    if not scores:
        said |= {name: floats(column) for name, column in zip(names[1:], p.T, strict=True)}
    return said


def number_columns(y: np.ndarray, names: Sequence[str]) -> dict[str, list[Any]]:
    """(N, K) numbers as columns."""
    return {name: floats(column) for name, column in zip(names, y.T, strict=True)}


def step_columns(p: np.ndarray, classes: Sequence[Any], name: str) -> dict[str, list[Any]]:
    """(N, T, C): the class of each step."""
    return {name: [";".join(str(classes[c]) for c in row) for row in p.argmax(axis=-1).tolist()]}


def sequence_columns(p: np.ndarray, classes: Sequence[Any], name: str) -> dict[str, list[Any]]:
    """(N, T, C): the classes that the steps spell, read greedily; class 0 is the blank."""
    rows = [[classes[c] for c in row] for row in lists_of(greedily_decoded(p))]
    letters = all(isinstance(c, str) and len(c) == 1 for c in classes[1:])
    return {name: [("" if letters else ";").join(map(str, row)) for row in rows]}


def read_table(
    path: str,
    columns: Sequence[str],
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    missing: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a CSV file with a line of names (`names` of one without), or of JSON lines of objects.

    The first line tells the delimiter, where none is given. `missing` are fields of CSV that mean a missing
    value, column by column.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.endswith((".jsonl", ".ndjson")):
            return [json.loads(line) for line in file if line.strip()]
        if delimiter is None:
            delimiter = max(",;\t|", key=file.readline().count)
            file.seek(0)
        reader = csv.DictReader(file, names, delimiter=delimiter)
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise SystemExit(f"{path} lacks the columns {', '.join(lacking)}.")
        rows: list[dict[str, Any]] = list(reader)
    for name, texts in (missing or {}).items():
        for row in rows:
            row[name] = None if (row[name] or "").strip() in texts else row[name]
    return rows


def write_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV on stdout, each with its number."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(["row", *row])
        writer.writerow([number, *row.values()])
