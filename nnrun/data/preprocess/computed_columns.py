"""Steps of many columns of numbers computed side by side: arrays in NumPy, exported programs in PyTorch.

Letters in names: N rows, C columns, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.preprocess.fitted_step import FittedStep


@dataclass(frozen=True, eq=False)
class ComputedColumns:
    """What C columns of numbers go through.

    Attributes:
        groups: columns that pass the same classes of steps: their positions, and the steps, in which every
            number is an array with one entry for each of these columns.
        order: for each of F features its place among the results of the groups, one behind the other; None
            where that is the order already.
    """

    groups: tuple[tuple[npt.NDArray[np.intp], tuple[FittedStep, ...]], ...]
    order: npt.NDArray[np.intp] | None

    @classmethod
    def of(cls, columns: Sequence[tuple[FittedStep, ...]]) -> ComputedColumns:
        """The steps of each column, all of which have a formula."""
        by_classes: dict[tuple[Any, ...], list[int]] = {}
        for place, steps in enumerate(columns):
            by_classes.setdefault(tuple((type(s), s.marks_missing) for s in steps), []).append(place)
        groups, features = [], []
        for places in by_classes.values():
            first, *others = [columns[place] for place in places]
            groups.append((np.array(places), tuple(map(_stacked, zip(first, *others, strict=True)))))
            features += [(place, 0) for place in places]
            for rank in range(1, 1 + sum(step.marks_missing for step in first)):
                features += [(place, rank) for place in places]
        order = np.array(sorted(range(len(features)), key=features.__getitem__))
        return cls(tuple(groups), None if (np.diff(order) == 1).all() else order)

    def map(self, convert: Callable[[Any], Any]) -> ComputedColumns:
        """The same with every array converted, to tensors for example."""
        groups = (
            (convert(places), tuple(_converted(step, convert) for step in steps))
            for places, steps in self.groups
        )
        return ComputedColumns(tuple(groups), None if self.order is None else convert(self.order))

    def compute(self, x_NC: Any, xp: Any) -> Any:
        """(N, C) float64 numbers, NaN where one is missing → (N, F) features. `xp` is `numpy` or `torch`."""
        parts = []
        for places, steps in self.groups:
            x = x_NC if len(self.groups) == 1 else x_NC[:, places]
            missing = []
            for step in steps:
                if step.marks_missing:
                    missing.append(xp.where(xp.isnan(x), 1.0, 0.0))
                x = step.formula(x, xp)
            parts += [x, *missing]
        features = parts[0] if len(parts) == 1 else xp.hstack(parts)
        return features if self.order is None else features[:, self.order]


def _stacked(steps: Sequence[FittedStep]) -> FittedStep:
    """Steps of one class as one, its numbers as arrays."""
    names = [f.name for f in fields(steps[0]) if isinstance(getattr(steps[0], f.name), float)]
    return replace(steps[0], **{name: np.array([getattr(step, name) for step in steps]) for name in names})


def _converted(step: FittedStep, convert: Callable[[Any], Any]) -> FittedStep:
    held = {f.name: getattr(step, f.name) for f in fields(step)}
    return replace(step, **{name: convert(v) for name, v in held.items() if isinstance(v, np.ndarray)})
