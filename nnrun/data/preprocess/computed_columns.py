"""Steps of many columns of numbers computed side by side: arrays in NumPy, exported programs in PyTorch.

Letters in names: N rows, C columns, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.preprocess.fitted_step import FittedStep


@dataclass(frozen=True, eq=False)
class ComputedGroup:
    """Columns that pass steps of the same classes, whose states are of the same lengths.

    Attributes:
        places: (C,) their positions among all columns.
        steps: in order; every number of a state is (C,), and every field of L numbers (C, L).
        width: features of a column, but for those that steps add beside it.
        beside: of each step, how many it adds.
    """

    places: Any
    steps: tuple[FittedStep, ...]
    width: int
    beside: tuple[int, ...]

    @classmethod
    def of(cls, places: Sequence[int], columns: Sequence[tuple[FittedStep, ...]]) -> ComputedGroup:
        """Columns with these steps at these places."""
        first, *others = columns
        return cls(
            np.array(places),
            tuple(map(_stacked, zip(first, *others, strict=True))),
            first[-1].width if first else 1,
            tuple(step.width_beside for step in first),
        )

    def ranks(self) -> Iterator[tuple[int, int]]:
        """For each feature that `compute` gives, its column's place and its own place among that's."""
        start = 0
        for width in (self.width, *self.beside):
            yield from ((place, start + at) for place in self.places.tolist() for at in range(width))
            start += width

    def compute(self, x_NC: Any, xp: Any) -> Any:
        """(N, C) numbers → parts of the features, each (N, some), in the order of `ranks`."""
        beside, x = [], x_NC
        for step, width in zip(self.steps, self.beside, strict=True):
            if width:
                beside.append(step.beside(x, xp))
            x = step.formula(x, xp)
        return [_side_by_side(part) for part in (x, *beside)]


def _side_by_side(x: Any) -> Any:
    """(N, C, W) → (N, C * W)."""
    return x if x.ndim == 2 else x.reshape(x.shape[0], x.shape[1] * x.shape[2])


@dataclass(frozen=True, eq=False)
class ComputedColumns:
    """What C columns of numbers go through.

    Attributes:
        groups: of the columns that pass the same steps.
        order: for each of F features its place among the results of the groups, one behind the other; None
            where that is the order already.
    """

    groups: tuple[ComputedGroup, ...]
    order: npt.NDArray[np.intp] | None

    @classmethod
    def of(cls, columns: Sequence[tuple[FittedStep, ...]]) -> ComputedColumns:
        """The steps of each column, all of which have a formula."""
        alike: dict[tuple[Any, ...], list[int]] = {}
        for place, steps in enumerate(columns):
            alike.setdefault(tuple(map(_form, steps)), []).append(place)
        groups = [ComputedGroup.of(places, [columns[place] for place in places]) for places in alike.values()]
        features = [rank for group in groups for rank in group.ranks()]
        order = np.array(sorted(range(len(features)), key=features.__getitem__), np.intp)
        return cls(tuple(groups), None if (np.diff(order) == 1).all() else order)

    def map(self, convert: Callable[[Any], Any]) -> ComputedColumns:
        """The same with every array converted, to tensors for example."""
        groups = (
            replace(g, places=convert(g.places), steps=tuple(_converted(step, convert) for step in g.steps))
            for g in self.groups
        )
        return ComputedColumns(tuple(groups), None if self.order is None else convert(self.order))

    def compute(self, x_NC: Any, xp: Any) -> Any:
        """(N, C) float64 numbers, NaN where one is missing → (N, F) features. `xp` is `numpy` or `torch`."""
        parts = []
        for group in self.groups:
            parts += group.compute(x_NC if len(self.groups) == 1 else x_NC[:, group.places], xp)
        features = parts[0] if len(parts) == 1 else xp.hstack(parts)
        return features if self.order is None else features[:, self.order]


def _form(step: FittedStep) -> tuple[Any, ...]:
    """What steps must have in common to be computed side by side: all of their state but its numbers."""
    state = (getattr(step, f.name) for f in fields(step))
    return (type(step), *(None if isinstance(v, float) else _length(v) for v in state))


def _length(value: Any) -> Any:
    """Of several numbers how many; else the value itself."""
    return len(value) if isinstance(value, tuple) else value


def _stacked(steps: Sequence[FittedStep]) -> FittedStep:
    """Steps of one class as one, its numbers as arrays."""
    names = [f.name for f in fields(steps[0]) if isinstance(getattr(steps[0], f.name), float | tuple)]
    return replace(steps[0], **{name: np.array([getattr(step, name) for step in steps]) for name in names})


def _converted(step: FittedStep, convert: Callable[[Any], Any]) -> FittedStep:
    held = {f.name: getattr(step, f.name) for f in fields(step)}
    return replace(step, **{name: convert(v) for name, v in held.items() if isinstance(v, np.ndarray)})
