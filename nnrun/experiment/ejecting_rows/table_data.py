"""The lines of a script that load a table with named columns: a file of CSV, one's own or a published one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.archives.download import PUBLISHED_TABLES, find
from nnrun.data.table import Table
from nnrun.experiment.ejecting.lesson import Array, Head, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import assigned, literal
from nnrun.experiment.ejecting_rows.loading import (
    DOWNLOADS,
    Code,
    classes_of,
    fetching,
    is_numbered,
    place,
)
from nnrun.spec.ports import target_of

_IMPORTS = frozenset(["import numpy as np", "import pandas as pd"])


def csv_code(lesson: Lesson, spec: Any, keras: bool) -> Code:
    """`load` of a file of one's own."""
    for option, default in (("missing", None), ("number_formats", {}), ("header", True)):
        if getattr(spec, option) != default:
            raise refuse(f"{option} of the data set csv")
    options = {}
    if spec.delimiter is not None:
        options["sep"] = spec.delimiter
    if spec.decimal != ".":
        options["decimal"] = spec.decimal
    if spec.thousands is not None:
        options["thousands"] = spec.thousands
    file = "\n".join(assigned("FILE", str(spec.path)))
    lines, arrays = _reading(lesson, Path(spec.path), "FILE", options, [])
    return Code(lines, _IMPORTS, arrays, (file,))


def published_code(lesson: Lesson, spec: Any, keras: bool) -> Code:
    """`load` of a published table, which is downloaded where it is not there."""
    remote = PUBLISHED_TABLES[spec.kind]
    there = find(remote, lesson.data_dir)
    assert there is not None, "the data are loaded"
    lines, arrays = _reading(lesson, there, "DATA", {}, fetching(remote.name))
    file = "\n".join(place(there, remote.name, remote.address.removesuffix(remote.name)))
    return Code(lines, _IMPORTS | DOWNLOADS, arrays, (file,))


def _reading(
    lesson: Lesson, path: Path, file: str, options: Mapping[str, str], before: list[str]
) -> tuple[list[str], dict[str, Array]]:
    """The function, and what it takes from the file beside the script."""
    import pandas as pd

    train = lesson.dataset.train
    whole = pd.read_csv(path, **dict(options))  # type: ignore[call-overload]
    given = "".join(f", {key}={literal(value)}" for key, value in options.items())
    lines = [
        "def load():",
        f'    """The {len(train)} training rows of {path.name}."""',
        *before,
        f"    table = pd.read_csv({file}{given})",
    ]
    arrays: dict[str, Array] = {}
    places = None if train.places is None else train.places.file_rows
    if places is None and len(whole) != len(train):
        raise refuse("which rows of the file are training rows", "Have the file hold training rows alone.")
    if places is not None and not np.array_equal(places, np.arange(len(whole))):
        arrays["training_rows"] = places
        lines.append('    table = table.iloc[FIRST["training_rows"]]')
    rows = whole if places is None else whole.iloc[places]
    targets = [(head, *_target(lesson, head, rows)) for head in lesson.heads]
    if lesson.names_outputs:
        said = [f'        "{head.name}": {value},' for head, value, _ in targets]
        lines += ["    y = {", *said, "    }"]
    else:
        lines += [f"    y = {value}{says}" for _, value, says in targets]
    if lesson.names_inputs:  # each takes its own columns
        return [*lines, "    return table, y"], arrays
    table = train.inputs
    assert isinstance(table, Table), "a file of CSV is a table"
    columns = [f"        {literal(column.name)}," for column in table.columns]
    return [*lines, "    columns = [", *columns, "    ]", "    return table[columns], y"], arrays


def _target(lesson: Lesson, head: Head, rows: Any) -> tuple[str, str]:
    """A target as an expression, and what there is to say of it."""
    spec: Any = lesson.spec.dataset
    given = spec.target
    if head.name:
        given = target_of(lesson.spec, head.name)
    columns = [given] if isinstance(given, str) else list(given or ())
    if len(columns) != 1:
        raise refuse("several target columns", "It can write one.")
    value = f"table[{literal(columns[0])}].to_numpy()"
    if is_numbered(head, rows[columns[0]].to_numpy()):
        return classes_of(head, value), "  # classes from 0"
    return value, ""
