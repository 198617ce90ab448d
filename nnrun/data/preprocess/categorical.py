"""Steps of columns of categories: one_hot, ordinal, lookup, hashing and impute.

Values are known by their text.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import Self

from nnrun.data.preprocess.fitted_step import (
    MOST_INDICES,
    FitContext,
    FittedStep,
    Floats,
    Levels,
    Mask,
    Problems,
    Size,
)
from nnrun.data.rows import SparseRows
from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.data.value_names import TRUTH, value_name
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

Codes = npt.NDArray[np.int64]
Encoded = Floats | SparseRows


def _counts(column: CategoryColumn) -> Codes:
    """How many rows have each level."""
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.levels))


def held_levels(column: CategoryColumn) -> list[str]:
    """The levels that some row has, in their order."""
    return [level for level, rows in zip(column.levels, _counts(column), strict=True) if rows]


def _by_rows(column: CategoryColumn, least: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The levels that so many rows or more have, and those that fewer have, but some."""
    counts = list(zip(column.levels, _counts(column).tolist(), strict=True))
    frequent = tuple(level for level, rows in counts if rows >= least)
    return frequent, tuple(level for level, rows in counts if 0 < rows < least)


def positions_of(column: CategoryColumn, levels: Sequence[str], missing: int) -> Codes:
    """(N,) the position of each row's value in `levels`; -1 for others, `missing` for a missing one."""
    place = {level: i for i, level in enumerate(levels)}
    of_code = np.array([place.get(level, -1) for level in column.levels] + [missing], np.int64)
    return of_code[column.codes]  # a missing value's code is -1: the last entry


def _report_unknown(column: CategoryColumn, unknown: Mask, problems: Problems) -> None:
    for row in np.flatnonzero(unknown):
        code = column.codes[row]
        what = "has no value" if code < 0 else f"has {quoted(column.levels[code])}"
        problems.setdefault(
            int(row), f"{what}, which the training rows do not hold; `unknown: ignore` takes such values"
        )


@dataclass(frozen=True)
class FittedImputeCategory(
    FittedStep,
    spec=schema.Impute,
    form="category",
    program="outside",
    kind="impute_category",
    fills_gaps=True,
):
    """A value where one is missing."""

    value: str

    @classmethod
    def fit(cls, step: schema.Impute, column: CategoryColumn, context: FitContext) -> Self:
        """The constant, or the most frequent value; of several the first, as scikit-learn has it."""
        if step.strategy == "constant":
            if step.value is None:
                raise DataError(f"impute: column {quoted(column.name)}: a constant needs a value. Give one.")
            return cls(value_name(step.value) or "")
        counts = _counts(column)
        return cls(column.levels[int(counts.argmax())] if counts.any() else "")

    def transform(self, values: CategoryColumn, problems: Problems) -> CategoryColumn:
        """Categories without a gap."""
        levels = values.levels if self.value in values.levels else (*values.levels, self.value)
        codes = np.where(values.codes < 0, np.int32(levels.index(self.value)), values.codes)
        return CategoryColumn(values.name, codes, levels)

    @property
    def known_levels(self) -> Sequence[str]:
        """The value."""
        return (self.value,)


@dataclass(frozen=True)
class FittedOneHot(
    FittedStep, spec=schema.OneHot, form="category", program="outside", known="levels", rows="wide"
):
    """A column of 0 and 1 for each level, where `missing` one more for missing values, and where `others` one
    more for all values without a column.

    Attributes:
        levels: the values that have a column.
        missing: whether a missing value has one.
        rare: values of the training rows that are too rare for a column, which is no error.
        strict: whether other values are errors.
        rare_missing: whether missing values are too rare for a column.
        others: whether values without a column of their own have one together.
    """

    levels: Levels
    missing: bool
    rare: Levels = field(compare=False)  # they do not change the rows
    strict: bool
    rare_missing: bool = field(compare=False)
    others: bool = False

    @classmethod
    def fit(cls, step: schema.OneHot, column: CategoryColumn, context: FitContext) -> Self:
        """Levels with `min_count` rows or more have a column."""
        gaps, least = int(column.missing.sum()), step.min_count
        levels, rare = _by_rows(column, least)
        return cls(levels, gaps >= least, rare, step.unknown == "error", 0 < gaps < least, step.rare)

    @property
    def width(self) -> int:
        """One for each level, one for missing values and one for all others."""
        return len(self.levels) + self.missing + self.others

    def feature_names(self, column: str) -> list[str]:
        """`column=level`."""
        further = [f"{column} is missing"] * self.missing + [f"{column} is rare"] * self.others
        return [f"{column}={level}" for level in self.levels] + further

    def transform(self, values: CategoryColumn, problems: Problems) -> Encoded:
        """(N, width)."""
        places = positions_of(values, self.levels, len(self.levels) if self.missing else -1)
        if self.strict:
            known = positions_of(values, self.rare, 0 if self.rare_missing else -1) >= 0
            _report_unknown(values, (places < 0) & ~known, problems)
        if self.others:
            places = np.where(places < 0, self.width - 1, places)
        return ones_at(places, self.width, sparse=self.sparse)

    def unseen(self, column: CategoryColumn) -> Mask:
        """Values that are neither a level nor rare."""
        return positions_of(column, (*self.levels, *self.rare), 0) < 0

    @property
    def expects_values(self) -> bool:
        """Where missing values have no column and are not rare either."""
        return not (self.missing or self.rare_missing)


@dataclass(frozen=True)
class FittedOrdinal(FittedStep, spec=schema.Ordinal, form="category", program="outside", known="levels"):
    """The position of each value among the levels; a missing value stays missing.

    With `strict` other values are errors; else they are -1.
    """

    levels: Levels
    strict: bool

    @classmethod
    def fit(cls, step: schema.Ordinal, column: CategoryColumn, context: FitContext) -> Self:
        """In the order of the spec, or in the natural one."""
        held, strict = held_levels(column), step.unknown == "error"
        if step.order is None:
            return cls(tuple(held), strict)
        order = tuple(value_name(level) or "" for level in step.order)
        known = set(order)
        lacking = [level for level in held if level not in known]
        if lacking and strict:
            raise DataError(
                f"ordinal: column {quoted(column.name)} holds {quoted(lacking[0])}, which is not "
                "in its order. Add it, or set unknown: ignore."
            )
        return cls(order, strict)

    def transform(self, values: CategoryColumn, problems: Problems) -> NumberColumn:
        """A column of numbers."""
        places = positions_of(values, self.levels, -1)
        if self.strict:
            _report_unknown(values, (places < 0) & ~values.missing, problems)
        return NumberColumn(values.name, np.where(values.missing, np.nan, places.astype(np.float64)))

    def unseen(self, column: CategoryColumn) -> Mask:
        """Values that are no level."""
        return positions_of(column, self.levels, 0) < 0


@dataclass(frozen=True)
class FittedLookup(FittedStep, spec=schema.Lookup, form="category", program="outside", known="levels"):
    """A value's place among the levels, counted from 1, plus `start`; `start` itself for all other values.

    Attributes:
        levels: the values that have an index of their own.
        rare: values of the training rows that are too rare for one.
        missing: whether training rows have no value.
        start: the indices of the columns of the same input before this one are below it.
    """

    levels: Levels
    rare: Levels = field(compare=False)  # they do not change the rows
    missing: bool = field(compare=False)
    start: Annotated[int, Field(ge=0, lt=MOST_INDICES)]

    @classmethod
    def fit(cls, step: schema.Lookup, column: CategoryColumn, context: FitContext) -> Self:
        """Levels with `min_count` rows or more."""
        levels, rare = _by_rows(column, step.min_count)
        return cls(levels, rare, bool(column.missing.any()), 0)

    def transform(self, values: CategoryColumn, problems: Problems) -> Floats:
        """(N, 1) indices."""
        places = positions_of(values, self.levels, -1)
        return (places + 1 + self.start)[:, None].astype(np.float64)

    @property
    def tokens_below(self) -> int:
        """All indices are below this number."""
        return self.start + 1 + len(self.levels)

    def with_indices_from(self, start: int) -> Self:
        """The same levels with other indices; DataError where float32 cannot tell these apart."""
        moved = replace(self, start=start)
        if moved.tokens_below > MOST_INDICES:
            raise DataError(
                f"lookup: {moved.tokens_below:,} different values are too many; {MOST_INDICES:,} can be told "
                "apart. Raise min_count, or use hashing."
            )
        return moved

    def unseen(self, column: CategoryColumn) -> Mask:
        """Values that are neither a level nor rare."""
        return positions_of(column, (*self.levels, *self.rare), 0) < 0

    @property
    def expects_values(self) -> bool:
        """Where every training row has a value."""
        return not self.missing


@dataclass(frozen=True)
class FittedHashing(FittedStep, spec=schema.Hashing, form="category", program="outside", rows="wide"):
    """A 1 in one of `buckets` columns: the CRC-32 of the value's UTF-8 bytes, modulo `buckets`.

    That is the same on every machine. A missing value is all 0.

    Attributes:
        buckets: how many columns.
        truth: all values that were trained on are `True` or `False`, which files write in many ways.
    """

    buckets: Size
    truth: bool = False

    @classmethod
    def fit(cls, step: schema.Hashing, column: CategoryColumn, context: FitContext) -> Self:
        """Only whether the values are true and false is learned."""
        held = set(held_levels(column))
        return cls(step.buckets, bool(held) and held <= set(TRUTH))

    @property
    def width(self) -> int:
        """The buckets."""
        return self.buckets

    def feature_names(self, column: str) -> list[str]:
        """`column#bucket`."""
        return [f"{column}#{bucket}" for bucket in range(self.buckets)]

    def transform(self, values: CategoryColumn, problems: Problems) -> Encoded:
        """(N, buckets)."""
        buckets = [
            zlib.crc32(level.encode("utf-8", "surrogatepass")) % self.buckets for level in values.levels
        ]
        of_code = np.array([*buckets, -1], np.int64)
        return ones_at(of_code[values.codes], self.buckets, sparse=self.sparse)

    @property
    def known_levels(self) -> Sequence[str]:
        """True and False, where the values are these."""
        return TRUTH if self.truth else ()


def ones_at(places: Codes, width: int, *, sparse: bool) -> Encoded:
    """(N, width) with a 1 in each row at its place; a row whose place is -1 is all 0."""
    held = places >= 0
    if sparse:
        indptr = np.zeros(len(places) + 1, np.int64)
        np.cumsum(held, out=indptr[1:])
        return SparseRows(indptr, places[held].astype(np.int32), None, width)
    x_NF = np.zeros((len(places), width))
    x_NF[np.flatnonzero(held), places[held]] = 1
    return x_NF
