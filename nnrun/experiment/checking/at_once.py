"""What is said of a table's inputs without a model, a split or a second reading: by `nnrun init`.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nnrun.data.table import Column
from nnrun.experiment.checking.column_findings import empty_findings
from nnrun.experiment.checking.identical_rows import (
    earlier_rows,
    expected_pairs,
    more_than_chance,
    same_in_both,
)
from nnrun.experiment.checking.rows import combined_keys
from nnrun.spec.wording import counted

_MOST_ROWS: Final = 200_000


def said_at_once(inputs: Sequence[Column], targets: Sequence[Column], n_rows: int) -> list[str]:
    """Identical rows, and columns that nearly always hold one value or none, each without a full stop.

    Of many rows the first 200,000 are looked at.

    Args:
        inputs: the columns to learn from, (N,).
        targets: the columns to predict, (N,).
        n_rows: N.
    """
    some = slice(min(n_rows, _MOST_ROWS))
    columns = {column.name: column.take(some) for column in inputs}
    found = [finding.text.rstrip(".") for finding in empty_findings(columns, some.stop)]
    keys = combined_keys(list(columns.values()))
    pairs = earlier_rows(keys)
    if len(pairs) and len(pairs) > more_than_chance(expected_pairs(columns.values(), keys)):
        agree = combined_keys([column.take(some) for column in targets])
        same = int(same_in_both(keys, agree).sum())
        equal = "equals" if len(pairs) == 1 else "equal"
        which = counted(some.stop, "row") if some.stop == n_rows else f"the first {some.stop:,} rows"
        said = f"{len(pairs):,} of {which} {equal} an earlier one in all inputs"
        found.insert(0, f"{said}, {same:,} of them in the target too")
    return found
