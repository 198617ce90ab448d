"""Splits that keep the rows of a group together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.errors import DataError

Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]
Groups = npt.NDArray[np.int64]


def group_parts(k: int, groups: Groups, random: np.random.RandomState | None) -> list[Rows]:
    """k parts of whole groups (`GroupKFold`): of as many rows as can be, or as many groups where shuffled."""
    names, place = _at_least(k, groups)
    if random is None:
        from sklearn.model_selection import GroupKFold

        return [rows for _, rows in GroupKFold(k).split(groups, groups=groups)]
    # What GroupKFold(shuffle=True) does, which scikit-learn has from 1.6 on.
    order = random.permutation(len(names))
    return [np.flatnonzero(np.isin(place, part)) for part in np.array_split(order, k)]


def stratified_group_parts(
    k: int, classes: Labels, groups: Groups, random: np.random.RandomState | None
) -> list[Rows]:
    """k parts of whole groups, the classes' shares as equal as the groups allow (`StratifiedGroupKFold`)."""
    from sklearn.model_selection import StratifiedGroupKFold

    _at_least(k, groups)
    splitter = StratifiedGroupKFold(k, shuffle=random is not None, random_state=random)
    parts = [rows for _, rows in splitter.split(classes, classes, groups)]
    empty = [fold for fold, rows in enumerate(parts) if not len(rows)]
    if empty:
        raise DataError(
            f"validation.kfold: stratified and by group, fold {empty[0]} of {k} would get no row, because "
            "some groups are very large. Lower k, or set stratify to false."
        )
    return parts


def held_out_groups(fraction: float, groups: Groups, random: np.random.RandomState) -> Rows:
    """A share of the groups, drawn at random (`GroupShuffleSplit`)."""
    names, place = np.unique(groups, return_inverse=True)
    n_validation = math.ceil(fraction * len(names))
    if n_validation >= len(names):
        raise DataError(
            f"validation.holdout.fraction is {fraction}, which is {n_validation} of {len(names)} groups: "
            "at least one group must be left to train on."
        )
    return np.flatnonzero(np.isin(place, random.permutation(len(names))[:n_validation]))


def stratified_held_out_groups(
    fraction: float, classes: Labels, groups: Groups, random: np.random.RandomState
) -> Rows:
    """One part of a stratified split by group; its share is the nearest of 1/2, 1/3, 1/4 ... or 2/3, 3/4 ...

    Nothing in scikit-learn holds out a stratified fraction of whole groups.
    """
    smaller = min(fraction, 1 - fraction)
    parts = max(2, round(1 / smaller))
    names = len(np.unique(groups))
    if names < parts:
        raise DataError(
            f"validation.holdout.fraction is {fraction}, for which {parts} groups are needed, and there are "
            f"{names}. Use a fraction closer to 0.5, or set stratify to false."
        )
    part = stratified_group_parts(parts, classes, groups, random)[0]
    return part if smaller == fraction else np.setdiff1d(np.arange(len(groups)), part)


def refuse_a_split_group(key: str, groups: Groups, cut: int) -> None:
    """Rows before and from `cut` on must not share a group.

    Raises:
        DataError: they do.
    """
    both = np.intersect1d(groups[:cut], groups[cut:])
    if len(both):
        row = int(np.flatnonzero(groups[cut:] == both[0])[0]) + cut
        raise DataError(
            f"validation.holdout.{key} would split a group: training rows {row} and "
            f"{int(np.flatnonzero(groups[:cut] == both[0])[-1])} (from 0) are in the same group, on both "
            "sides of the cut. Choose another place to cut, or draw groups at random with `fraction`."
        )


def _at_least(k: int, groups: Groups) -> tuple[Groups, npt.NDArray[np.intp]]:
    """The groups, and which of them each row is of."""
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < k:
        found = "there is one group" if len(names) == 1 else f"there are {len(names)} groups"
        raise DataError(
            f"validation.kfold.k is {k}, but {found}: no group is split, so k must not be above their number."
        )
    return names, place
