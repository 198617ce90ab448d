"""Steps of columns of numbers that are learned from quantiles: piecewise_linear and quantile.

Letters in names: N rows, C columns, W bins, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.preprocess.fitted_step import HAS_NO_VALUE, Finite, FitContext, FittedStep, Floats, Problems
from nnrun.data.preprocess.numeric import known_values
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

_LOWEST, _HIGHEST = -3.0, 4.0  # where the outer bins end, so that an outlier stays an ordinary input
_ROWS_FOR_A_QUANTILE, _FEWEST_QUANTILES, _MOST_QUANTILES = 30, 10, 1000
_MOST_DEVIATIONS = 3.0  # where `quantile` clips a normal distribution
_RANK_THERE = 0.9986501019683699  # of the standard normal distribution


def _never_descending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(low > high for low, high in pairwise(values)):
        raise ValueError("quantiles must not descend")
    return values


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError("edges must ascend")
    return values


Quantiles = Annotated[tuple[Finite, ...], Field(min_length=2), AfterValidator(_never_descending)]
Edges = Annotated[tuple[Finite, ...], Field(min_length=1), AfterValidator(_ascending)]


def quantiles_of(known: Floats, count: int, kind: str, name: str) -> Floats:
    """`count` quantiles at equal distances of rank, the least and the largest value among them."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = np.quantile(known, np.linspace(0, 1, count))
        span = found[-1] - found[0]
    if not np.isfinite(span):
        raise DataError(f"{kind}: the range of column {quoted(name)} is not a finite number.")
    return np.maximum.accumulate(found)  # rounding may not make one smaller than the one before


def number_of_quantiles(wanted: int | None, rows: int) -> int:
    """As many as a spec wants, by default one for 30 rows; no more than there are rows, and at least two."""
    default = max(min(rows // _ROWS_FOR_A_QUANTILE, _MOST_QUANTILES), _FEWEST_QUANTILES)
    return max(min(wanted or default, rows), 2)


@dataclass(frozen=True)
class FittedPiecewiseLinear(FittedStep, spec=schema.PiecewiseLinear, form="number", program="computed"):
    """The place of a value within each of W bins, in float64.

    Attributes:
        edges: (W + 1,) ascending, so that bin j lies between edges j and j + 1.
        keep: whether the column stays a number, and the bins stand beside it.
    """

    edges: Edges
    keep: bool

    @classmethod
    def fit(cls, step: schema.PiecewiseLinear, column: NumberColumn, context: FitContext) -> Self:
        """Quantiles; equal ones are one edge, since a bin between them would have no width."""
        known = known_values(column)
        if not len(known):
            return cls((0.0,), step.keep)
        edges = np.unique(quantiles_of(known, step.bins + 1, cls.kind, column.name))
        return cls(tuple(edges.tolist()), step.keep)

    def transform(self, values: Floats, problems: Problems) -> Floats:
        """The number, or (N, W); a missing value is a problem, since it lies in no bin."""
        for row in np.flatnonzero(np.isnan(values)):
            problems.setdefault(int(row), HAS_NO_VALUE)
        found: Floats = self.formula(values, np)
        return found

    def formula(self, x: Any, xp: Any) -> Any:
        """The number, or its places in the bins."""
        return x if self.keep else self._places(x, xp)

    def beside(self, x: Any, xp: Any) -> Any:
        """The places in the bins."""
        return self._places(x, xp)

    def _places(self, x: Any, xp: Any) -> Any:
        """(..., W): 0 at a bin's lower edge and 1 at its upper one; all but the outer ends within 0 and 1."""
        edges = _array(self.edges)
        lower, upper = edges[..., :-1], edges[..., 1:]
        z = (x[..., None] - lower) / (upper - lower)
        first, inner, last = z[..., :1], z[..., 1:-1], z[..., -1:]
        if z.shape[-1] < 2:
            return xp.clip(z, _LOWEST, _HIGHEST)
        parts = (xp.clip(first, _LOWEST, 1.0), xp.clip(inner, 0.0, 1.0), xp.clip(last, 0.0, _HIGHEST))
        return xp.concatenate(parts, -1)

    @property
    def column_after(self) -> Literal["number", "features"]:
        """With `keep` still a number."""
        return "number" if self.keep else "features"

    @property
    def _bins(self) -> int:
        return len(self.edges) - 1

    @property
    def width(self) -> int:
        """The bins, unless they stand beside the number."""
        return 1 if self.keep else self._bins

    def feature_names(self, column: str) -> list[str]:
        """`column_bin_0` and so on."""
        return [column] if self.keep else self._names(column)

    @property
    def width_beside(self) -> int:
        """The bins, where the number is kept."""
        return self._bins if self.keep else 0

    def names_beside(self, column: str) -> list[str]:
        """`column_bin_0` and so on."""
        return self._names(column) if self.keep else []

    def _names(self, column: str) -> list[str]:
        return [f"{column}_bin_{place}" for place in range(self._bins)]

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """Numbers between the outer edges; those that later steps ask for where the number is kept."""
        return values if self.keep else rng.uniform(self.edges[0], self.edges[-1], len(values))


@dataclass(frozen=True)
class FittedQuantile(FittedStep, spec=schema.QuantileTransform, form="number", program="computed"):
    """The rank of a value among the quantiles, or the value of that rank in a normal distribution.

    Attributes:
        quantiles: (Q,) ascending; the rank of quantile i is i / (Q - 1).
        normal: whether ranks become values of a normal distribution.
    """

    quantiles: Quantiles
    normal: bool

    @classmethod
    def fit(cls, step: schema.QuantileTransform, column: NumberColumn, context: FitContext) -> Self:
        """Missing values play no part."""
        known, normal = known_values(column), step.output_distribution == "normal"
        rows = len(known)
        if not rows:
            return cls((0.0, 0.0), normal)
        count = number_of_quantiles(step.n_quantiles, rows)
        return cls(tuple(quantiles_of(known, count, cls.kind, column.name).tolist()), normal)

    def formula(self, x: Any, xp: Any) -> Any:
        """Ranks, or values of a normal distribution; 0 of a constant column."""
        quantiles = _array(self.quantiles)
        most = quantiles.shape[-1] - 1
        below, not_above = _counts(quantiles, x, xp)
        start = xp.clip(below - 1, 0, most - 1)
        low, high = _picked(quantiles, start, xp), _picked(quantiles, start + 1, xp)
        within = xp.clip((x - low) / xp.where(high > low, high - low, 1.0), 0.0, 1.0)
        place = xp.where(below < not_above, (below + not_above - 1) / 2, start + within)
        rank = xp.clip(place / most, 0.0, 1.0)
        found = normal_quantile(rank, xp) if self.normal else rank
        constant = quantiles[..., 0] == quantiles[..., -1]
        return xp.where(xp.isnan(x), x, xp.where(constant, 0.0, found))

    def for_float32(self) -> Self:
        """With rounded quantiles, so that a value which equals several still does."""
        with np.errstate(over="ignore"):
            rounded = np.array(self.quantiles, np.float32).astype(np.float64)
        return replace(self, quantiles=tuple(rounded.tolist()))

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """Numbers whose ranks are about those of `values` in a normal distribution."""
        ranks = 1 / (1 + np.exp(-np.clip(values, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)))
        found: Floats = np.interp(ranks, np.linspace(0, 1, len(self.quantiles)), self.quantiles)
        return found


def _array(values: Any) -> Any:
    """The numbers of one column as an array; those of several are one already."""
    return np.asarray(values) if isinstance(values, tuple) else values


def _counts(quantiles: Any, x: Any, xp: Any) -> tuple[Any, Any]:
    """How many quantiles are below each value, and how many are not above it: integers in the shape of x.

    Args:
        quantiles: (Q,) or (C, Q) ascending.
        x: (N,) or (N, C).
        xp: `numpy` or `torch`.
    """
    if xp is not np:
        return _searched(quantiles, x, xp, equal=False), _searched(quantiles, x, xp, equal=True)
    of_each = np.atleast_2d(quantiles)
    columns = list(zip(of_each, x.reshape(len(x), len(of_each)).T, strict=True))
    left = np.stack([np.searchsorted(own, column, "left") for own, column in columns], axis=1)
    right = np.stack([np.searchsorted(own, column, "right") for own, column in columns], axis=1)
    return left.reshape(x.shape), right.reshape(x.shape)


def _searched(quantiles_CQ: Any, x_NC: Any, xp: Any, *, equal: bool) -> Any:
    """(N, C) how many quantiles are below each value, or with `equal` not above it.

    A binary search by indexing, since ONNX has no `searchsorted`.
    """
    size = quantiles_CQ.shape[-1]
    count = xp.zeros_like(x_NC, dtype=xp.int64)
    step = 1 << (size.bit_length() - 1)
    while step:
        tried = count + step
        value = _picked(quantiles_CQ, xp.clip(tried - 1, 0, size - 1), xp)
        passed = value <= x_NC if equal else value < x_NC
        count = xp.where((tried <= size) & passed, tried, count)
        step //= 2
    return count


def _picked(quantiles: Any, places: Any, xp: Any) -> Any:
    """The quantiles at these places: (N,) of (Q,), or (N, C) of (C, Q)."""
    if quantiles.ndim == 1:
        return quantiles[places]
    columns, size = quantiles.shape
    return quantiles.reshape(-1)[places + xp.arange(columns) * size]


# Numerators and denominators of Wichura (1988), "Algorithm AS 241: The percentage points of the normal
# distribution", Applied Statistics 37(3), 477-484, highest power first. The first pair is for ranks within
# 0.425 of 0.5; the second for those further away, as far as the clip lets them.
_MIDDLE = (
    (
        2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
        13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
    ),
    (
        5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
        5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0,
    ),
)  # fmt: skip
_TAIL = (
    (
        7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
        3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
        0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0,
    ),
)  # fmt: skip


def normal_quantile(rank: Any, xp: Any) -> Any:
    """The value of the standard normal distribution that has this rank, between -3 and 3.

    NumPy and ONNX have no such function.
    """
    rank = xp.clip(rank, 1 - _RANK_THERE, _RANK_THERE)
    away = rank - 0.5
    middle = 0.180625 - away * away
    tail = xp.sqrt(-xp.log(xp.where(away < 0, rank, 1 - rank))) - 1.6
    outer = _polynomial(_TAIL[0], tail) / _polynomial(_TAIL[1], tail)
    inner = away * _polynomial(_MIDDLE[0], middle) / _polynomial(_MIDDLE[1], middle)
    found = xp.where(middle >= 0, inner, xp.where(away < 0, -outer, outer))
    return xp.clip(found, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """By Horner's rule, highest power first."""
    value = x * 0 + coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
