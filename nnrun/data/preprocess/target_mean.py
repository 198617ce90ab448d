"""The step target_mean: categories as the mean target of the rows that have them.

Letters in names: N rows, L levels, K columns of targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.preprocess.categorical import held_levels, positions_of
from nnrun.data.preprocess.fitted_step import (
    Finite,
    FitContext,
    FittedStep,
    Floats,
    Levels,
    Mask,
    Problems,
    TrainingTargets,
    mean_and_std,
)
from nnrun.data.table import CategoryColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.stratified import stratified_parts

_TWO_CLASSES = 2


@dataclass(frozen=True)
class FittedTargetMean(
    FittedStep, spec=schema.TargetMean, form="category", program="outside", known="levels"
):
    """K numbers for each value.

    Attributes:
        levels: the values of the training rows.
        means: (L * K,) those of each level, one level behind the other.
        missing: (K,) those of a missing value; empty where all training rows have a value.
        overall: (K,) those of all other values.
    """

    levels: Levels
    means: tuple[Finite, ...]
    missing: tuple[Finite, ...]
    overall: tuple[Finite, ...]

    def __post_init__(self) -> None:
        """Refuse a state whose parts do not fit each other."""
        columns = len(self.overall)
        if not columns or len(self.means) != len(self.levels) * columns:
            raise ValueError("target_mean needs as many means for each level as for all rows")
        if self.missing and len(self.missing) != columns:
            raise ValueError("target_mean needs as many means of missing values as for all rows")

    @classmethod
    def fit(cls, step: schema.TargetMean, column: CategoryColumn, context: FitContext) -> Self:
        """From all training rows that have a target."""
        rows, y_NK = _targets(column, context.targets)
        return cls._of(step, column.take(rows), y_NK)

    @classmethod
    def fit_held_out(
        cls, step: schema.TargetMean, column: CategoryColumn, context: FitContext
    ) -> list[tuple[Array, Self]]:
        """For each part of the training rows the step fitted on the other parts."""
        rows, y_NK = _targets(column, context.targets)
        parts = _parts(min(step.folds, len(rows)), rows, y_NK, context.targets)
        found = []
        for part in parts:
            others = np.setdiff1d(np.arange(len(rows)), part)
            found.append((rows[part], cls._of(step, column.take(rows[others]), y_NK[others])))
        return found

    @classmethod
    def _of(cls, step: schema.TargetMean, column: CategoryColumn, y_NK: Floats) -> Self:
        """From these rows and their targets."""
        levels = held_levels(column)
        places = positions_of(column, levels, len(levels))
        means = np.stack([_means(places, len(levels) + 1, y, step.smooth) for y in y_NK.T], axis=1)
        missing = means[-1].tolist() if column.missing.any() else []
        return cls(
            tuple(levels), tuple(means[:-1].ravel().tolist()), tuple(missing), tuple(y_NK.mean(0).tolist())
        )

    def transform(self, values: CategoryColumn, problems: Problems) -> Floats:
        """(N, K)."""
        places = positions_of(values, self.levels, len(self.levels))
        of_levels = np.array(self.means).reshape(len(self.levels), self.width)
        # An unseen value's place is -1: the last row.
        every: Floats = np.vstack([of_levels, self.missing or self.overall, self.overall])
        return every[places]

    @property
    def width(self) -> int:
        """K."""
        return len(self.overall)

    def feature_names(self, column: str) -> list[str]:
        """`column mean`, or `column mean 0` and so on where there are several."""
        if self.width == 1:
            return [f"{column} mean"]
        return [f"{column} mean {place}" for place in range(self.width)]

    def unseen(self, column: CategoryColumn) -> Mask:
        """Values that are no level."""
        return positions_of(column, self.levels, 0) < 0

    @property
    def expects_values(self) -> bool:
        """Where every training row has a value."""
        return not self.missing


def _targets(column: CategoryColumn, targets: TrainingTargets | None) -> tuple[Array, Floats]:
    """The positions of the training rows that have a target, and (N, K) what is averaged of these targets.

    Raises:
        DataError: there is no one target, it may be a number or a class, or too few rows have one.
    """
    where = f"target_mean: column {quoted(column.name)}"
    if targets is None or len(targets.values) != len(column.codes):
        raise DataError(
            f"{where} is encoded by the target of each row, and here a row has none of its own: there are "
            "several outputs, or rows with more axes. Use one_hot, or lookup with embedding."
        )
    if targets.task is None and np.array_equal(targets.values, np.round(targets.values)):
        raise DataError(
            f"{where} is encoded by the target, and of these whole numbers only the loss tells whether they "
            "are classes. Use one_hot, or lookup with embedding; or store the data as a table, such as csv."
        )
    rows = np.arange(len(column.codes)) if targets.present is None else np.flatnonzero(targets.present)
    if len(rows) < 2:
        raise DataError(f"{where} has {len(rows)} training rows with a target, and needs 2 at least.")
    known = targets.values[rows]
    if _labelled(targets):
        labels = known.reshape(len(rows)).astype(np.int64)
        of_class = np.eye(targets.classes or 1)[labels]
        return rows, of_class[:, 1:] if targets.classes == _TWO_CLASSES else of_class
    y_NK = known.reshape(len(rows), -1).astype(np.float64)
    mean, std = mean_and_std(y_NK, [f"target column {place}" for place in range(y_NK.shape[1])])
    return rows, (y_NK - mean) / std


def _labelled(targets: TrainingTargets) -> bool:
    """Whether each row has one class."""
    return targets.classes is not None and targets.values.size == len(targets.values)


def _parts(k: int, rows: Array, y_NK: Floats, targets: TrainingTargets | None) -> list[npt.NDArray[np.int64]]:
    """k random parts of these rows, of classes stratified: `KFold` and `StratifiedKFold` of scikit-learn."""
    assert targets is not None, "it has been asked before"
    random = frozen_random(targets.seed)
    if _labelled(targets):
        return stratified_parts(k, targets.values[rows].reshape(len(rows)), random)
    return np.array_split(random.permutation(len(rows)), k)


def _means(places: Array, count: int, y: Floats, smooth: float | Literal["auto"]) -> Floats:
    """(count,) the mean of the targets y, (N,), of the rows at each place, drawn towards the mean of all.

    A number of `smooth` counts the mean of all for so many rows. With `auto` it is weighted by how much
    smaller the variance of a place's mean is than that of all targets (Micci-Barreca 2001).
    """
    rows = np.bincount(places, minlength=count).astype(np.float64)
    sums, overall = np.bincount(places, y, minlength=count), y.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        if smooth != "auto":
            found = (sums + smooth * overall) / (rows + smooth)
        else:
            own = sums / rows
            within = np.bincount(places, (y - own[places]) ** 2, minlength=count) / rows
            weight = y.var() * rows / (y.var() * rows + within)
            found = weight * own + (1 - weight) * overall
    of_places: Floats = np.where(np.isfinite(found), found, overall)
    return of_places
