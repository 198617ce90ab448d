"""Columns of a large array, for steps to be fitted on without a copy of it: in blocks of rows, or one by one.

How large the array is decides, and never where it lies: what is learned is the same, bit for bit, of rows in
memory and in a file. Letters in names: N rows, C columns along the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, taken_rows
from nnrun.data.files.stored_arrays import file_without_name, mapped_rows
from nnrun.data.preprocess.column_steps import ColumnPlan
from nnrun.data.preprocess.computed_columns import ComputedColumns
from nnrun.data.preprocess.fitted_step import FitContext, FittedStep, Floats, TrainingTargets
from nnrun.data.preprocess.registry import fitted_class
from nnrun.data.table import NumberColumn, number_column
from nnrun.mapped_arrays import is_mapped, leave_memory
from nnrun.spec import schema

LARGE_VALUES = 1 << 26
"""Numbers in the training rows: of more, sums are those of blocks, and differ in the last bits."""
_BLOCK_VALUES = 1 << 20
_TURNED_VALUES = 1 << 23


def is_large(array: Array, rows: Array | None) -> bool:
    """Whether the training rows of an array are learned from in blocks; `rows` are their positions."""
    return (len(array) if rows is None else len(rows)) * math.prod(array.shape[1:]) > LARGE_VALUES


class _NotTakenError(Exception):
    """Some number is missing or not taken: who looks at one column after the other can say which."""


@dataclass(frozen=True, eq=False)
class _Before:
    """Steps that some columns pass first; `places` are those of the columns, None for all."""

    places: list[int] | None
    steps: ComputedColumns

    def compute(self, x_NC: Floats) -> Floats:
        """All columns after these steps."""
        with np.errstate(all="ignore"):
            if self.places is None:
                return np.asarray(self.steps.compute(x_NC, np))
            x_NC[:, self.places] = self.steps.compute(x_NC[:, self.places], np)
        return x_NC


@dataclass(frozen=True, eq=False)
class ArrayBlocks:
    """The training rows of an array, (n, C) float64 at a time and as often as one asks.

    Attributes:
        array: (N, C) or (N, ..., C), of which each position counts as a row.
        rows: positions of the training rows, ascending; None for all.
        before: what the numbers pass first.
        places: the columns that are given; None for all.
    """

    array: Array
    rows: Array | None
    before: tuple[_Before, ...] = ()
    places: list[int] | None = None

    def __iter__(self) -> Iterator[Floats]:
        for part in _parts(self.array, self.rows, _BLOCK_VALUES):
            x_NC: Floats = part.astype(np.float64, order="C")
            if part.dtype.kind == "f" and not np.isfinite(x_NC).all():
                raise _NotTakenError
            for each in self.before:
                x_NC = each.compute(x_NC)
                if not np.isfinite(x_NC).all():
                    raise _NotTakenError
            yield x_NC if self.places is None else x_NC[:, self.places]


def _parts(array: Array, rows: Array | None, values: int) -> Iterator[Array]:
    """(n, C) numbers of the training rows, about so many at a time, as they are."""
    at_once = max(1, values // max(1, math.prod(array.shape[1:])))
    for first in range(0, len(array) if rows is None else len(rows), at_once):
        part = array[first : first + at_once] if rows is None else array[rows[first : first + at_once]]
        yield part.reshape(-1, array.shape[-1])
        leave_memory(array)


def fitted_in_blocks(
    steps: Sequence[schema.PreprocessingStep],
    plans: Sequence[ColumnPlan],
    array: Array,
    rows: Array | None,
    targets: TrainingTargets | None,
) -> list[list[FittedStep]] | None:
    """The fitted steps of each column; None where a step needs all numbers of a column at once, or some
    number is missing or not taken.
    """
    fitted: list[list[FittedStep]] = [[] for _ in plans]
    used = [step for step in steps if any(own is step for plan in plans for own in plan.steps)]
    context = FitContext(of_bytes=array.dtype == np.uint8, targets=targets)
    blocks = ArrayBlocks(array, rows)
    try:
        for step in used:
            cls = fitted_class(step, "number")
            places = [place for place, plan in enumerate(plans) if any(own is step for own in plan.steps)]
            some = None if len(places) == len(plans) else places
            names = [plans[place].name for place in places]
            own = cls.fit_blocks(step, replace(blocks, places=some), names, context)
            if own is None:
                return None
            context = FitContext(targets=targets)
            for place, each in zip(places, own, strict=True):
                fitted[place].append(each)
            passed = _Before(some, ComputedColumns.of([(each,) for each in own]))
            blocks = replace(blocks, before=(*blocks.before, passed))
        if used and cls.transform is not FittedStep.transform:
            for _ in blocks:  # whether it takes all of them
                pass
    except _NotTakenError:
        return None
    return fitted


def columns_of_array(array: Array, rows: Array | None, names: Sequence[str]) -> Callable[[str], NumberColumn]:
    """The columns by name, of the training rows alone; of a file they are written to another, one by one.

    Raises:
        OSError: that file cannot be written.
    """
    x_CN = _turned(array, rows) if is_mapped(array) else _flat(array, rows).T
    places = {name: place for place, name in enumerate(names)}
    return lambda name: number_column(name, x_CN[places[name]])


def _flat(array: Array, rows: Array | None) -> Array:
    chosen = array if rows is None else taken_rows(array, rows)
    assert isinstance(chosen, np.ndarray), "of an array"
    return chosen.reshape(-1, array.shape[-1])


def _turned(array: Array, rows: Array | None) -> npt.NDArray[Any]:
    columns, size = array.shape[-1], array.dtype.itemsize
    total = (len(array) if rows is None else len(rows)) * math.prod(array.shape[1:-1])
    with file_without_name() as file:
        first = 0
        for part in _parts(array, rows, _TURNED_VALUES):
            for place, values in enumerate(np.ascontiguousarray(part.T)):
                file.seek((place * total + first) * size)
                file.write(values.data)
            first += len(part)
        file.flush()
        return mapped_rows(file, (columns, total), array.dtype)
