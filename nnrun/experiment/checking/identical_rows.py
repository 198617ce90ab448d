"""Rows whose inputs are identical: in training and test set, on both sides of a fold, within training.

Copies of one row have the same target. Rows that only look alike, since the inputs are few or coarse, often
differ in it. Columns of few values coincide by chance: a finding are only more pairs than independent columns
with these values would give.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.table import Column, TextColumn
from nnrun.experiment.checking.finding import Finding, Severity
from nnrun.experiment.checking.rows import CheckedRows, Keys, column_keys, combined_keys, joint_keys
from nnrun.spec.wording import counted

_SHOWN: Final = 3
_KEPT: Final = 1_000  # rows in the evidence for programs
_MANY: Final = 0.01
_OF_COPIES: Final = 0.8  # of the way from chance to full agreement of targets
_BEYOND_CHANCE: Final = 2.0
_ALIKE: Final = (
    "Too many of them differ in the target to be copies of one row: they look alike, since the inputs are "
    "coarse. No score is wrong; only inputs that tell them apart would help."
)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rows, and for each an earlier one with the same inputs."""

    rows: npt.NDArray[np.int64]
    like: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def identical_row_findings(rows: CheckedRows) -> list[Finding]:
    """What identical rows say of the test set, of the folds and of the training rows."""
    targets = _target_keys(rows)
    found: list[Finding] = []
    in_test = _test_pairs(rows.keys, rows.n_train)
    within = earlier_rows(rows.keys[: rows.n_train])
    if not len(in_test) and not len(within):
        return found
    expected = expected_pairs(rows.columns.values(), rows.keys) if rows.columns else 0.0
    ways = 2 * rows.n_train * rows.n_test / max(1, len(rows) * (len(rows) - 1))
    if len(in_test) > more_than_chance(expected * ways):
        found.append(_in_test(rows, in_test, targets))
    if len(within) > more_than_chance(expected * (rows.n_train / len(rows)) ** 2):
        found.append(_within(rows, within, targets))
    return found


def more_than_chance(expected: float) -> float:
    """How many pairs of identical rows may be chance where so many are expected."""
    return _BEYOND_CHANCE * expected + 3 * np.sqrt(expected) if expected >= 0.5 else 0.0


def expected_pairs(columns: Iterable[Column], keys: Keys) -> float:
    """How many pairs of rows would be identical if the columns were independent of each other.

    How often the values of a column coincide is counted over different rows alone where there are several
    columns and most rows differ: else copies would pass for chance. Long texts never coincide by chance.

    Args:
        columns: (N,) each.
        keys: (N,) of all columns together.
    """
    several = list(columns)
    if any(isinstance(column, TextColumn) for column in several):
        return 0.0
    n_rows, different = len(keys), np.unique(keys, return_index=True)[1]
    chosen = different if len(several) > 1 and 2 * len(different) >= n_rows else np.arange(n_rows)
    n, share = len(chosen), 1.0
    for column in several:
        counts = np.unique(column_keys(column)[chosen], return_counts=True)[1].astype(np.float64)
        share *= float((counts * (counts - 1)).sum()) / max(1, n * (n - 1))
    return share * n_rows * (n_rows - 1) / 2


def earlier_rows(keys: Keys) -> _Pairs:
    """The rows with an earlier one of the same key, and the first such."""
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    like = first[places.reshape(-1)]
    rows = np.flatnonzero(like != np.arange(len(keys)))
    return _Pairs(rows, like[rows])


def same_in_both(keys: Keys, targets: Keys) -> npt.NDArray[np.bool_]:
    """(N,) which rows have the inputs and the target of any earlier one, be it the first such or a later one.

    Args:
        keys: (N,) of the inputs.
        targets: (N,)
    """
    found = np.zeros(len(keys), bool)
    found[earlier_rows(joint_keys(keys, targets)).rows] = True
    return found


def _test_pairs(keys: Keys, n_train: int) -> _Pairs:
    """The test rows that some training row equals, and the first such."""
    different, first = np.unique(keys[:n_train], return_index=True)
    test = keys[n_train:]
    if not len(test):
        return _Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    places = np.minimum(np.searchsorted(different, test), len(different) - 1)
    there = np.flatnonzero(different[places] == test)
    return _Pairs(there + n_train, first[places[there]])


def _target_keys(rows: CheckedRows) -> Keys | None:
    """(N,) the same where all targets are; None where there is none of one class or number a row."""
    return combined_keys([target.column for target in rows.targets]) if rows.targets else None


def _agreement(rows: CheckedRows, targets: Keys | None, pairs: _Pairs) -> tuple[int, bool]:
    """How many rows have the target of any row they equal, and whether so many pairs that they are copies.

    Training rows are compared with those before them, test rows with all of training.
    """
    if targets is None:
        return len(pairs), True
    joint = joint_keys(rows.keys, targets)
    if pairs.rows[0] < rows.n_train:
        any_same = int(same_in_both(rows.keys, targets)[pairs.rows].sum())
    else:
        any_same = int(np.isin(joint[pairs.rows], joint[: rows.n_train]).sum())
    same = int((targets[pairs.rows] == targets[pairs.like]).sum())
    counts = np.unique(targets, return_counts=True)[1] / len(targets)
    chance = float((counts**2).sum())
    return any_same, same / len(pairs) >= chance + _OF_COPIES * (1 - chance)


def _in_test(rows: CheckedRows, pairs: _Pairs, targets: Keys | None) -> Finding:
    same, copies = _agreement(rows, targets, pairs)
    share = len(pairs) / rows.n_test
    told = f", {same:,} of them with the same target" if targets is not None else ""
    has = "has" if len(pairs) == 1 else "have"
    text = f"{len(pairs):,} of {counted(rows.n_test, 'test row')} ({share:.1%}) {has} the inputs of a"
    text += " training row"
    if not copies:
        return _finding("identical_rows_in_test", rows, pairs, f"{text}{told}.", _ALIKE, note=True, same=same)
    advice = (
        "The network has seen the answers to these. Remove them from the training "
        f"rows{_or_group(rows, 'on one side')}."
    )
    return _finding(
        "identical_rows_in_test",
        rows,
        pairs,
        f"{text}{told}.",
        advice,
        serious=share >= _MANY,
        same=same,
    )


def _within(rows: CheckedRows, pairs: _Pairs, targets: Keys | None) -> Finding:
    same, copies = _agreement(rows, targets, pairs)
    share = len(pairs) / rows.n_train
    equal = "equals" if len(pairs) == 1 else "equal"
    text = (
        f"{len(pairs):,} of {counted(rows.n_train, 'training row')} ({share:.1%}) {equal} an earlier one in "
        "all inputs"
    )
    if targets is not None:
        text += f", {same:,} of them in the target too"
    parted = _parted_by_folds(rows)
    if not copies:
        return _finding(
            "identical_rows_in_training", rows, pairs, f"{text}.", _ALIKE, note=True, same=same, parted=parted
        )
    advice = "Remove the later ones from the data."
    if parted:
        text += f". {counted(parted, 'row')} validated a network that had trained on the same inputs"
        advice = (
            "Their validation scores are too good. Remove the later ones from the "
            f"data{_or_group(rows, 'in one fold')}."
        )
    note = share < _MANY or not parted
    return _finding(
        "identical_rows_in_training", rows, pairs, f"{text}.", advice, note=note, same=same, parted=parted
    )


def _or_group(rows: CheckedRows, where: str) -> str:
    """What else can be done where rows have named columns in a file."""
    if rows.file_rows is None:
        return ""
    return (
        "; or, where they are several measurements of one thing, name its column: `group: COLUMN` keeps "
        f"them {where}"
    )


def _parted_by_folds(rows: CheckedRows) -> int:
    """Rows that validate a network which trained on a row of the same inputs."""
    parted = np.zeros(rows.n_train, bool)
    for fold in rows.folds:
        own = rows.keys[fold.validation_rows]
        parted[fold.validation_rows[np.isin(own, rows.keys[fold.train_rows])]] = True
    return int(parted.sum())


def _finding(
    kind: str,
    rows: CheckedRows,
    pairs: _Pairs,
    text: str,
    advice: str,
    *,
    same: int,
    note: bool = False,
    serious: bool = False,
    parted: int | None = None,
) -> Finding:
    shown = list(zip(pairs.rows.tolist(), pairs.like.tolist(), strict=True))
    examples = tuple(f"{rows.place(row)} = {rows.place(like)}" for row, like in shown[:_SHOWN])
    evidence = {
        "rows": len(pairs),
        "same_target": same,
        **({} if parted is None else {"validated_after_training_on_them": parted}),
        "pairs": [[rows.row_document(row), rows.row_document(like)] for row, like in shown[:_KEPT]],
    }
    severity: Severity = "note" if note else "serious" if serious else "warning"
    return Finding(kind, severity, text, advice, examples, evidence)
