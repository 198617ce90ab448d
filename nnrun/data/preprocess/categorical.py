"""Steps of a column of categories. Values are known by their text, never by their code."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.json_checks import Floats
from nnrun.data.preprocess.numeric import Problems
from nnrun.data.rows import SparseRows
from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.data.value_names import TRUTH, number_name, value_name
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

MOST_DENSE = 64
"""A column that becomes more columns than this becomes sparse."""

Codes = npt.NDArray[np.int64]
Encoded = Floats | SparseRows


def as_categories(column: Column) -> CategoryColumn:
    """A column of numbers or texts as categories: each different value is one. 3.0 is called `3`."""
    if isinstance(column, CategoryColumn):
        return column
    if isinstance(column, NumberColumn) and column.names is not None:
        return CategoryColumn(column.name, column.names.codes, column.names.levels)
    codes = np.full(len(column.values), -1, np.int32)
    known = ~column.missing
    different, places = np.unique(column.values[known], return_inverse=True)
    codes[known] = places
    if isinstance(column, NumberColumn):
        return CategoryColumn(column.name, codes, tuple(map(number_name, different.tolist())))
    return CategoryColumn(column.name, codes, tuple(map(str, different)))


def _positions(column: CategoryColumn, levels: Sequence[str], missing: int) -> Codes:
    """(N,) the position of each row's value in `levels`; -1 for others, `missing` for a missing one."""
    place = {level: i for i, level in enumerate(levels)}
    of_code = np.array([place.get(level, -1) for level in column.levels] + [missing], np.int64)
    return of_code[column.codes]  # a missing value's code is -1: the last entry


def _tell_unknown(column: CategoryColumn, unknown: npt.NDArray[np.bool_], problems: Problems) -> None:
    for row in np.flatnonzero(unknown):
        code = column.codes[row]
        what = "has no value" if code < 0 else f"has {quoted(column.levels[code])}"
        problems.setdefault(
            int(row), f"{what}, which the training rows do not hold; `unknown: ignore` takes such values"
        )


@dataclass(frozen=True)
class FillCategory:
    """A value where one is missing."""

    kind: ClassVar[str] = "impute_category"
    value: str

    def apply(self, column: CategoryColumn, problems: Problems) -> CategoryColumn:
        """Categories without a gap."""
        if self.value in column.levels:
            levels, code = column.levels, column.levels.index(self.value)
        else:
            levels, code = (*column.levels, self.value), len(column.levels)
        codes = np.where(column.codes < 0, np.int32(code), column.codes)
        return CategoryColumn(column.name, codes, levels)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"value": self.value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FillCategory:
        """What `to_json` gave, checked."""
        return cls(json_checks.text(values["value"]))


@dataclass(frozen=True)
class OneHotColumn:
    """A column of 0 and 1 for each level, and where `missing` one more, the last, for missing values.

    Attributes:
        levels: the values that have a column.
        missing: whether a missing value has one.
        rare: values of the training rows that are too rare for a column, which is no error.
        strict: whether other values are.
        rare_missing: whether missing values are so.
    """

    kind: ClassVar[str] = "one_hot"
    levels: tuple[str, ...]
    missing: bool
    rare: tuple[str, ...] = field(default=(), compare=False)  # they do not change the rows
    strict: bool = False
    rare_missing: bool = field(default=False, compare=False)

    @property
    def width(self) -> int:
        """Columns that it gives."""
        return len(self.levels) + self.missing

    @property
    def sparse(self) -> bool:
        """Whether they are too many to be kept dense."""
        return self.width > MOST_DENSE

    def names(self, column: str) -> list[str]:
        """The features' names."""
        return [f"{column}={level}" for level in self.levels] + [f"{column} is missing"] * self.missing

    def apply(self, column: CategoryColumn, problems: Problems) -> Encoded:
        """(N, width)."""
        places = _positions(column, self.levels, len(self.levels) if self.missing else -1)
        if self.strict:
            known = _positions(column, self.rare, 0 if self.rare_missing else -1) >= 0
            _tell_unknown(column, (places < 0) & ~known, problems)
        return ones_at(places, self.width, sparse=self.sparse)

    def values(self, x_NF: npt.NDArray[Any]) -> list[str | None]:
        """What was encoded: the level of each row, None for a missing or unknown one."""
        known = (*self.levels, None)
        return [known[int(row.argmax())] if row.any() else None for row in x_NF]

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "levels": list(self.levels),
            "missing": self.missing,
            "rare": list(self.rare),
            "strict": self.strict,
            "rare_missing": self.rare_missing,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OneHotColumn:
        """What `to_json` gave, checked."""
        return cls(
            json_checks.different_texts(values["levels"]),
            json_checks.flag(values["missing"]),
            json_checks.different_texts(values["rare"]),
            json_checks.flag(values["strict"]),
            json_checks.flag(values["rare_missing"]),
        )


@dataclass(frozen=True)
class OrdinalColumn:
    """The position of each value among the levels; a missing value stays missing.

    With `strict` other values are errors; else they are -1.
    """

    kind: ClassVar[str] = "ordinal"
    levels: tuple[str, ...]
    strict: bool

    def apply(self, column: CategoryColumn, problems: Problems) -> NumberColumn:
        """A column of numbers."""
        places = _positions(column, self.levels, -1)
        if self.strict:
            _tell_unknown(column, (places < 0) & ~column.missing, problems)
        return NumberColumn(column.name, np.where(column.missing, np.nan, places.astype(np.float64)))

    def values(self, places: Floats) -> list[str | None]:
        """What was encoded: the level of each row, None for a missing or unknown one."""
        return [self.levels[int(place)] if place >= 0 else None for place in places]

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"levels": list(self.levels), "strict": self.strict}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OrdinalColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.different_texts(values["levels"]), json_checks.flag(values["strict"]))


@dataclass(frozen=True)
class HashingColumn:
    """A 1 in one of `buckets` columns: the CRC-32 of the value's UTF-8 bytes, modulo `buckets`.

    That is the same on every machine. A missing value is all 0.

    Attributes:
        buckets: how many columns.
        truth: all values that were trained on are `True` or `False`, which files write in many ways.
    """

    kind: ClassVar[str] = "hashing"
    buckets: int
    truth: bool = False

    @property
    def width(self) -> int:
        """Columns that it gives."""
        return self.buckets

    @property
    def sparse(self) -> bool:
        """Whether they are too many to be kept dense."""
        return self.buckets > MOST_DENSE

    def names(self, column: str) -> list[str]:
        """The features' names."""
        return [f"{column}#{bucket}" for bucket in range(self.buckets)]

    def apply(self, column: CategoryColumn, problems: Problems) -> Encoded:
        """(N, buckets)."""
        buckets = [
            zlib.crc32(level.encode("utf-8", "surrogatepass")) % self.buckets for level in column.levels
        ]
        of_code = np.array([*buckets, -1], np.int64)
        return ones_at(of_code[column.codes], self.buckets, sparse=self.sparse)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"buckets": self.buckets, **({"truth": True} if self.truth else {})}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HashingColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.count(values["buckets"]), json_checks.flag(values.get("truth", False)))


CategoryState = FillCategory | OneHotColumn | OrdinalColumn | HashingColumn
CATEGORY_STATES: Mapping[str, type[CategoryState]] = {
    state.kind: state for state in (FillCategory, OneHotColumn, OrdinalColumn, HashingColumn)
}


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


def fit_category(step: schema.Component, column: CategoryColumn) -> CategoryState:
    """Learn a step from the training rows of one column.

    Raises:
        DataError: the training rows hold a value that the step's `order` lacks.
    """
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.levels))
    held = [level for level, rows in zip(column.levels, counts, strict=True) if rows]
    match step:
        case schema.Impute(strategy="constant", value=value):
            if value is None:
                raise DataError(f"impute: column {quoted(column.name)}: a constant needs a value. Give one.")
            return FillCategory(value_name(value) or "")
        case schema.Impute():
            # Of several the first, as scikit-learn has it.
            return FillCategory(column.levels[int(counts.argmax())] if held else "")
        case schema.OneHot(min_count=least, unknown=unknown):
            strict, gaps = unknown == "error", int(column.missing.sum())
            kept = [lev for lev, rows in zip(column.levels, counts, strict=True) if rows >= least]
            with_column = set(kept)
            rare = [level for level in held if level not in with_column]
            return OneHotColumn(tuple(kept), gaps >= least, tuple(rare), strict, 0 < gaps < least)
        case schema.Ordinal(order=order, unknown=unknown):
            order = None if order is None else [value_name(level) or "" for level in order]
            if order is not None and unknown == "error":
                lacking = [level for level in held if level not in order]
                if lacking:
                    raise DataError(
                        f"ordinal: column {quoted(column.name)} holds {quoted(lacking[0])}, which is not "
                        "in its order. Add it, or set unknown: ignore."
                    )
            return OrdinalColumn(tuple(held if order is None else order), unknown == "error")
        case schema.Hashing(buckets=buckets):
            return HashingColumn(buckets, bool(held) and set(held) <= set(TRUTH))
    raise AssertionError(f"{step.kind} is no step of categories")
