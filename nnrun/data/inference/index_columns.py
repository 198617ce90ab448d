"""Columns that number or name the rows and say nothing about them: no inputs unless a spec names them.

Letters in names: N rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from nnrun.data.files.columns import Raw, RawNumbers

_FEWEST_ROWS: Final = 10
_BY_NAME: Final = (
    (re.compile(r"__index_level_\d+__"), "pandas uses this name for its index"),
    (re.compile(r"Unnamed: 0(\.\d+)*"), "pandas uses this name for a first column without a name"),
    (re.compile(r"row[._ ]?names?", re.IGNORECASE), "R uses this name for row names"),
)
COUNTS_ROWS: Final = "it only counts the rows"


def index_columns(columns: Mapping[str, Raw], declared: Mapping[str, str]) -> dict[str, str]:
    """Column → why it is an index.

    Args:
        columns: name → values.
        declared: what the file itself says of its columns.
    """
    found = {}
    for name, raw in columns.items():
        why = declared.get(name) or next((why for form, why in _BY_NAME if form.fullmatch(name)), None)
        if why is None and counts_rows(raw):
            why = COUNTS_ROWS
        if why is not None:
            found[name] = why
    return found


def counts_rows(raw: Raw) -> bool:
    """Whether a column is 0 ... N-1 or 1 ... N, in order."""
    if not isinstance(raw, RawNumbers) or len(raw.values) < _FEWEST_ROWS:
        return False
    first = float(raw.values[0])
    if first not in (0.0, 1.0) or float(raw.values[-1]) != first + len(raw.values) - 1:
        return False
    size = 1 << 20
    for start in range(0, len(raw.values), size):
        part = raw.values[start : start + size]
        if not np.array_equal(part, (first + start + np.arange(len(part))).astype(part.dtype)):
            return False
    return True
