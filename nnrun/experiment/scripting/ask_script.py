"""A script, run as it stands: what it says of rows of a data set."""

from __future__ import annotations

import math
import runpy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.data.dataset import Array, RawInputs, TokenRows
from nnrun.data.table import NumberColumn, Table, as_texts
from nnrun.experiment.scripting.script_model import Model
from nnrun.experiment.scripting.write_script import ARRAYS
from nnrun.spec.ports import Port


def ask_script(
    source: str, content: bytes, name: str, model: Model, inputs: Mapping[Port, RawInputs]
) -> dict[Port, Array]:
    """What a script says of rows of a data set, run as it stands."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        path.with_suffix(ARRAYS).write_bytes(content)
        outputs = runpy.run_path(str(path), run_name="model")["outputs"]
        rows = _rows_of(model, inputs)
        found = outputs(rows)
    return dict(zip(model.decoders, found, strict=True))


def _rows_of(model: Model, inputs: Mapping[Port, RawInputs]) -> Any:
    """Rows of a data set as a script takes them."""
    if model.of_table:
        columns: dict[str, list[Any]] = {}
        for table in inputs.values():
            assert isinstance(table, Table), "a table was fitted"
            for column in table.columns:
                if isinstance(column, NumberColumn):
                    columns[column.name] = [None if math.isnan(v) else v for v in column.values.tolist()]
                else:
                    columns[column.name] = as_texts(column).values.tolist()
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    each = {port: _lists(rows) if isinstance(rows, TokenRows) else rows for port, rows in inputs.items()}
    return each if model.named else next(iter(each.values()))


def _lists(rows: TokenRows) -> list[list[int]]:
    return [rows.tokens[a:b].tolist() for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)]
