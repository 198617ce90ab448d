"""A file of given columns, read as `nnrun init` reads it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnrun.data.files.read_table import ReadTable
from nnrun.data.summaries.describe_file import read_file
from nnrun.experiment.init.likely_target import require_candidates


def table(folder: Path, columns: Mapping[str, Sequence[object]], name: str = "t.csv") -> ReadTable:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return read_file(folder / name)


def likeliest(file: ReadTable) -> tuple[str, str]:
    """The column that would be predicted of a file `t`, and why."""
    best = require_candidates(file, "t")[0]
    return best.name, best.why


CLASSES = ["x", "y", "z"] * 10
OTHERS = ["u", "v"] * 15
DUMMY = [0, 1] * 15
NUMBERS = [i * 1.5 % 7 for i in range(30)]
NAMES = [f"n{i}" for i in range(30)]
GAPS = ["", *CLASSES[1:]]
