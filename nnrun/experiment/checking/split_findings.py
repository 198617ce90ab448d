"""What the split does with rows that belong together: one person's, and those of one time.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.table import CategoryColumn, Column
from nnrun.experiment.checking.column_findings import shown_value
from nnrun.experiment.checking.finding import Finding
from nnrun.experiment.checking.rows import CheckedRows, CheckedTarget, inferred
from nnrun.experiment.init import names
from nnrun.experiment.init.leaks import codes_of
from nnrun.experiment.init.roles import repeats, rises_evenly
from nnrun.experiment.init.validation import time_ranks
from nnrun.spec.wording import counted, quoted
from nnrun.validation.frozen_random import frozen_random

_SHOWN: Final = 3
_UNUSUAL: Final = 5.0  # standard deviations of a correlation of independent rows
_FEWEST_ROWS: Final = 30
_PARTS: Final = 4
_TEST: Final = 0.2


def split_findings(rows: CheckedRows) -> list[Finding]:
    """Groups on both sides, and an order in time that the split breaks."""
    columns = {**rows.unused, **rows.columns}
    found: list[Finding] = []
    for name, column in columns.items():
        if name != rows.grouped_by and not rows.by_time and repeats(name, inferred(column), len(rows)):
            found += _group(rows, name, column)
    for name, column in columns.items():
        found += _time(rows, name, column)
    return found


# --- groups ------------------------------------------------------------------------------------------------


def _group(rows: CheckedRows, name: str, column: Column) -> Iterator[Finding]:
    codes, number = codes_of(column, np.ones(len(rows), bool))
    validated = np.zeros(rows.n_train, bool)
    for fold in rows.folds:
        both = np.isin(codes[fold.validation_rows], codes[fold.train_rows])
        validated[fold.validation_rows[both]] = True
    tested = np.isin(codes[rows.n_train :], codes[: rows.n_train])
    if not validated.any() and not tested.any():
        return
    split_members = np.unique(
        np.concatenate([codes[: rows.n_train][validated], codes[rows.n_train :][tested]])
    )
    sides = []
    if validated.any():
        sides.append(
            f"{counted(int(validated.sum()), 'row')} validated a network that had trained on rows of the "
            f"same {quoted(name)}"
        )
    if tested.any():
        sides.append(f"{tested.sum():,} of {counted(rows.n_test, 'test row')} have one that training has too")
    text = (
        f"{quoted(name)} has {number:,} values, each in several rows, and {len(split_members):,} of them "
        f"{'stands' if len(split_members) == 1 else 'stand'} on both sides of the split: {'; '.join(sides)}."
    )
    examples = []
    for member in split_members[:_SHOWN].tolist():
        own = np.flatnonzero(codes == member)
        some = ", ".join(rows.place(int(row)) for row in own[:_SHOWN])
        examples.append(f"{shown_value(column, int(own[0]))}: {counted(len(own), 'row')}, such as {some}")
    yield Finding(
        "group_on_both_sides",
        "serious",
        text,
        "Such scores say how well further rows of known ones are predicted; new ones will fare worse. In "
        f"the spec, under the data set: `group: {name}`, which keeps rows of one value on one side.",
        tuple(examples),
        {
            "column": name,
            "values": number,
            "values_on_both_sides": len(split_members),
            "validation_rows": int(validated.sum()),
            "test_rows": int(tested.sum()),
        },
    )


# --- time --------------------------------------------------------------------------------------------------


def _time(rows: CheckedRows, name: str, column: Column) -> Iterator[Finding]:
    ranks = _ranks(rows, name, column)
    if ranks is None or not rows.targets:
        return
    mixed = sum(_is_mixed(ranks[fold.train_rows], ranks[fold.validation_rows]) for fold in rows.folds)
    mixed_test = rows.n_test > 0 and _is_mixed(ranks[: rows.n_train], ranks[rows.n_train :])
    if not mixed and not mixed_test:
        return
    ways = [_dependence(target, ranks) for target in rows.targets]
    target, (drift, neighbours, z) = max(zip(rows.targets, ways, strict=True), key=lambda pair: pair[1][2])
    if z < _UNUSUAL:
        return
    sides = "validation" if mixed else ""
    sides += (" and " if sides else "") + ("test" if mixed_test else "")
    split = f"validation: {{time_series: {{k: {_PARTS}, column: {name}}}}}"
    advice = f"Networks are scored on times that lie between those they learned from. In the spec: `{split}`"
    if mixed_test:
        advice += (
            f", and test rows that are later, as `test: {{fraction: {_TEST}, shuffle: false}}` where the "
        )
        advice += "file is in the order of time"
    yield Finding(
        "time_order_broken",
        "warning",
        f"{quoted(target.name)} depends on {quoted(name)} (rank correlation with time {drift:+.2f}, between "
        f"rows that follow each other {neighbours:+.2f}), and the {sides} rows are drawn from all times.",
        f"{advice}.",
        (),
        {
            "column": name,
            "target": target.name,
            "rank_correlation_with_time": drift,
            "rank_correlation_of_neighbours": neighbours,
            "standard_deviations": z,
            "folds": mixed,
            "test": bool(mixed_test),
        },
    )


def _ranks(rows: CheckedRows, name: str, column: Column) -> npt.NDArray[np.int64] | None:
    """(N,) the place of each row in time; None where the column is no time that orders the rows."""
    if column.missing.any() or "birth" in names.folded(name) or len(rows) < _FEWEST_ROWS:
        return None
    if isinstance(column, CategoryColumn) and column.dates:
        return time_ranks(column)
    ordered = inferred(column.take(rows.in_file_order))
    if names.names_time(name) and rises_evenly(ordered):
        return time_ranks(column)
    return None


def _is_mixed(trained: npt.NDArray[np.int64], scored: npt.NDArray[np.int64]) -> bool:
    """Whether some rows that are scored lie before some that were trained on."""
    return bool(len(trained) and len(scored) and scored.min() < trained.max())


def _dependence(target: CheckedTarget, ranks: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """The rank correlation of a target with time, that of neighbours in time, and the larger of both in
    standard deviations of independent rows; of classes for the class where it is largest."""
    shuffled = frozen_random(0).permutation(len(ranks))  # rows of one time may stand in any order in a file
    order = shuffled[np.argsort(ranks[shuffled], kind="stable")]
    order = order[target.present[order]]
    n = len(order)
    if n < _FEWEST_ROWS:
        return 0.0, 0.0, 0.0
    column = target.column
    series: list[npt.NDArray[np.float64]] = []
    if isinstance(column, CategoryColumn):
        codes = column.codes[order]
        series = [(codes == k).astype(np.float64) for k in range(len(column.levels)) if (codes == k).any()]
    else:
        series = [_place(column.values[order])]
    time = _place(ranks[order])
    found = []
    for values in series:
        drift, neighbours = _correlation(values, time), _correlation(values[1:], values[:-1])
        found.append((drift, neighbours, max(abs(drift), neighbours) * float(np.sqrt(n))))
    return max(found, key=lambda each: each[2])


def _place(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """(N,) mean ranks: equal values have one."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places.reshape(-1)], np.float64)


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread else 0.0
