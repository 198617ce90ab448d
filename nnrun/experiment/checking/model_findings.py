"""What quick models find: a column that alone predicts the target, a test set that differs from training.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.experiment.checking.column_findings import columns_told, predicts_target
from nnrun.experiment.checking.finding import Finding
from nnrun.experiment.checking.quick_models import (
    MODEL,
    area_under_curve,
    class_probabilities,
    column_score,
    features_of,
    order_score,
    sample_of,
)
from nnrun.experiment.checking.rows import CheckedRows, CheckedTarget
from nnrun.spec.wording import quoted

_PERFECT_AREA: Final = 0.995
_PERFECT_R2: Final = 0.98
_FEWEST_ROWS: Final = 50
_FEWEST_OF_A_CLASS: Final = 10
_BEYOND_CHANCE: Final = 4.0  # standard deviations of the area under the curve of equal distributions
_LEAST_DIFFERENCE: Final = 0.05
_CLEARLY: Final = 0.8
_NAMED: Final = 5


def single_column_findings(rows: CheckedRows, found: Collection[Finding]) -> Iterator[Finding]:
    """Columns that alone predict a target nearly without fault, but for those that are told already."""
    told = columns_told(found)
    for target in rows.targets:
        known = sample_of(np.flatnonzero(target.present[: rows.n_train]))
        if len(known) < _FEWEST_ROWS:
            continue
        labels, numbers = _values(target, known)
        if labels is not None:
            enough = np.bincount(labels)[labels] >= _FEWEST_OF_A_CLASS
            known, labels = known[enough], labels[enough]
            if len(np.unique(labels)) < 2:
                continue
        for name, column in rows.columns.items():
            if name in told:
                continue
            some = column.take(known)
            by_tree, by_order = column_score(some, labels, numbers), order_score(some, labels, numbers)
            perfect = _PERFECT_R2 if labels is None else _PERFECT_AREA
            if by_tree >= perfect:
                measure = "R²" if labels is None else "area under the ROC curve"
                how = "out of fold, by a tree on this column"
                yield _predicts(rows, name, target, (measure, by_tree, how), len(known))
            elif by_order >= perfect:
                measure = "squared rank correlation" if labels is None else "area under the ROC curve"
                yield _predicts(rows, name, target, (measure, by_order, "by its order"), len(known))


def _values(
    target: CheckedTarget, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float64] | None]:
    if target.classes:
        return target.labels[rows], None
    return None, target.numbers[rows]


def _predicts(
    rows: CheckedRows, name: str, target: CheckedTarget, found: tuple[str, float, str], n: int
) -> Finding:
    measure, score, how = found
    said = f"{measure} {score:.3f}, {how}"
    return predicts_target(rows, name, target, said, {"measure": measure, "score": score, "rows": n})


# --- a test set that differs -------------------------------------------------------------------------------


def test_set_findings(rows: CheckedRows, say: Callable[[str], None]) -> Iterator[Finding]:
    """Whether a model tells test rows from training rows better than it could if they were drawn alike.

    Args:
        rows: with a test set.
        say: is told why nothing was asked.
    """
    if not rows.n_test:
        return
    if min(rows.n_train, rows.n_test) < _FEWEST_ROWS:
        say(f"Training and test set were not compared: each needs {_FEWEST_ROWS} rows.")
        return
    train = sample_of(np.arange(rows.n_train))
    test = sample_of(np.arange(rows.n_train, len(rows)))
    chosen = np.concatenate([train, test])
    is_test = (chosen >= rows.n_train).astype(np.int64)
    features = features_of(rows.inputs, chosen)
    if not features.shape[1]:
        return
    area = area_under_curve(is_test, class_probabilities(features, is_test))
    bound = _bound(len(train), len(test))
    if area <= bound:
        return
    scores = {name: column_score(column.take(chosen), is_test, None) for name, column in rows.columns.items()}
    apart = sorted((name for name in scores if scores[name] > bound), key=lambda name: -scores[name])[:_NAMED]
    examples = tuple(
        f"{quoted(name)}: {scores[name]:.2f} alone; {_difference(rows, rows.columns[name])}" for name in apart
    )
    yield Finding(
        "test_set_differs",
        "serious" if area >= _CLEARLY else "warning",
        f"The test rows are not like the training rows: a model ({MODEL}) tells them apart with an area "
        f"under the ROC curve of {area:.2f}, out of fold; sets drawn alike would have 0.50, and at most "
        f"{bound:.2f}.",
        "A score on the test set is one for other rows than those of training. If new rows will be like the "
        "test rows (as later ones are), keep it; else draw the test rows from all: `test: {fraction: 0.2}`.",
        examples,
        {
            "area_under_curve": area,
            "bound": bound,
            "train_rows": len(train),
            "test_rows": len(test),
            "columns": {name: scores[name] for name in apart},
        },
    )


def _bound(a: int, b: int) -> float:
    """The area that two sets drawn alike stay below: its deviation is that of the Mann-Whitney statistic."""
    deviation = float(np.sqrt((a + b + 1) / (12 * a * b)))
    return 0.5 + max(_LEAST_DIFFERENCE, _BEYOND_CHANCE * deviation)


def _difference(rows: CheckedRows, column: Column) -> str:
    """How the values of a column differ between training and test."""
    train, test = column.take(slice(rows.n_train)), column.take(slice(rows.n_train, len(rows)))
    if isinstance(train, NumberColumn) and isinstance(test, NumberColumn):
        if train.missing.all() or test.missing.all():
            lacking, lacking_test = (float(part.missing.mean()) for part in (train, test))
            return f"missing in {lacking:.0%} of training, {lacking_test:.0%} of the test set"
        medians = [np.nanmedian(part.values) for part in (train, test)]
        return f"median {medians[0]:.5g} in training, {medians[1]:.5g} in the test set"
    if not (isinstance(train, CategoryColumn) and isinstance(test, CategoryColumn)):
        return "texts"
    if train.dates:
        ranges = [_first_and_last(part) for part in (train, test)]
        return f"{ranges[0]} in training, {ranges[1]} in the test set"
    size = len(train.levels) + 1
    shares = [np.bincount(part.codes + 1, minlength=size) / len(part.codes) for part in (train, test)]
    most = int(np.abs(shares[0] - shares[1]).argmax())
    level = "missing" if most == 0 else quoted(train.levels[most - 1])
    return f"{level} in {shares[0][most]:.0%} of training, {shares[1][most]:.0%} of the test set"


def _first_and_last(dates: CategoryColumn) -> str:
    """`2020-01-01 to 2020-03-31`."""
    all_texts = iso_texts(dates.levels)
    texts = [all_texts[code] for code in np.unique(dates.codes).tolist() if code >= 0]
    return f"{min(texts)} to {max(texts)}" if texts else "missing"
