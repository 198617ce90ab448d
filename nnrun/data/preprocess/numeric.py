"""Steps of columns of numbers: standardize, min_max, rescale, log1p, robust and impute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.preprocess.fitted_step import (
    Deviation,
    Finite,
    FitContext,
    FittedStep,
    Floats,
    Problems,
    low_and_high,
    mean_and_std,
    mean_and_std_of_blocks,
)
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

_LARGEST_BYTE = 255
_NO_NUMBERS = np.zeros(0)
_SMOOTH_CLIP = 3.0


def known_values(column: NumberColumn) -> Floats:
    """The values that are not missing, as float64."""
    values = np.ascontiguousarray(column.values.astype(np.float64, copy=False))
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


@dataclass(frozen=True)
class FittedStandardize(FittedStep, spec=schema.Standardize, form="number", program="computed"):
    """(x - mean) / std, in float64; std is 1 for a constant column."""

    mean: Finite
    std: Deviation

    @classmethod
    def fit(cls, step: schema.Standardize, column: NumberColumn, context: FitContext) -> Self:
        """Missing values play no part."""
        known = known_values(column)
        if not len(known):
            return cls(0.0, 1.0)
        (mean,), (std,) = mean_and_std(known[:, None], [f"column {quoted(column.name)}"])
        return cls(mean, std)

    @classmethod
    def fit_array(
        cls, step: schema.Standardize, x_NC: Array, names: Sequence[str], context: FitContext
    ) -> list[Self]:
        """In one pass over the rows, whose sums may differ from those of single columns in the last bit."""
        mean, std = mean_and_std(x_NC, [f"column {quoted(name)}" for name in names])
        return list(map(cls, mean, std))

    @classmethod
    def fit_blocks(
        cls, step: schema.Standardize, blocks: Iterable[Floats], names: Sequence[str], context: FitContext
    ) -> list[Self]:
        """In two passes: the mean, then the deviation from it."""
        mean, std = mean_and_std_of_blocks(blocks, [f"column {quoted(name)}" for name in names])
        return list(map(cls, mean, std))

    def formula(self, x: Any, xp: Any) -> Any:
        """Values in units of the deviation."""
        return (x - self.mean) / self.std

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """The inverse."""
        return values * self.std + self.mean


@dataclass(frozen=True)
class FittedMinMax(FittedStep, spec=schema.MinMax, form="number", program="computed"):
    """(x - low) / range, so that the training rows go from 0 to 1; range is 1 for a constant column."""

    low: Finite
    range: Deviation

    @classmethod
    def fit(cls, step: schema.MinMax, column: NumberColumn, context: FitContext) -> Self:
        """Missing values play no part."""
        known = known_values(column)
        if not len(known):
            return cls(0.0, 1.0)
        return cls._between(float(known.min()), float(known.max()), column.name)

    @classmethod
    def fit_blocks(
        cls, step: schema.MinMax, blocks: Iterable[Floats], names: Sequence[str], context: FitContext
    ) -> list[Self]:
        """In one pass."""
        low, high = low_and_high(blocks)
        return list(map(cls._between, low.tolist(), high.tolist(), names))

    @classmethod
    def _between(cls, low: float, high: float, name: str) -> Self:
        span = high - low
        if not np.isfinite(span):
            raise DataError(f"min_max: the range of column {quoted(name)} is not a finite number.")
        return cls(low, span or 1.0)

    def formula(self, x: Any, xp: Any) -> Any:
        """Values as shares of the range."""
        return (x - self.low) / self.range

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """The inverse."""
        return values * self.range + self.low


@dataclass(frozen=True)
class FittedRescale(FittedStep, spec=schema.Rescale, form="number", program="computed"):
    """x * scale + offset, in float64."""

    scale: Finite
    offset: Finite

    @classmethod
    def fit(cls, step: schema.Rescale, column: NumberColumn, context: FitContext) -> Self:
        """Only the default scale depends on the data: on their type."""
        scale = step.scale
        if scale is None:
            if not context.of_bytes and column.values.dtype != np.uint8:
                raise DataError(
                    f"rescale: the values of column {quoted(column.name)} are not bytes (uint8), for which "
                    "alone the default scale 1/255 is meant. Set the scale, such as `rescale: 0.01`; or use "
                    "min_max, which learns it."
                )
            scale = 1 / _LARGEST_BYTE
        return cls(scale, step.offset)

    @classmethod
    def fit_blocks(
        cls, step: schema.Rescale, blocks: Iterable[Floats], names: Sequence[str], context: FitContext
    ) -> list[Self]:
        """No number is looked at."""
        return [cls.fit(step, NumberColumn(name, _NO_NUMBERS), context) for name in names]

    def formula(self, x: Any, xp: Any) -> Any:
        """Scaled and shifted values."""
        return x * self.scale + self.offset

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """The inverse; a scale of 0 has none."""
        return (values - self.offset) / self.scale if self.scale else values


@dataclass(frozen=True)
class FittedLog1p(FittedStep, spec=schema.Log1p, form="number", program="computed"):
    """log(1 + x)."""

    @classmethod
    def fit(cls, step: schema.Log1p, column: NumberColumn, context: FitContext) -> Self:
        """There is nothing to learn."""
        return cls()

    @classmethod
    def fit_blocks(
        cls, step: schema.Log1p, blocks: Iterable[Floats], names: Sequence[str], context: FitContext
    ) -> list[Self]:
        """Of each column."""
        return [cls() for _ in names]

    def transform(self, values: Floats, problems: Problems) -> Floats:
        """The logarithms; values that are not above -1 are problems."""
        for row in np.flatnonzero(values <= -1):
            problems.setdefault(int(row), f"has {values[row]:g}, and log1p takes numbers above -1")
        with np.errstate(divide="ignore"):
            return np.log1p(values)

    def formula(self, x: Any, xp: Any) -> Any:
        """The logarithms; -inf or NaN where x is not above -1."""
        return xp.log1p(x)

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """Amounts from 0."""
        return np.expm1(np.abs(values))


@dataclass(frozen=True)
class FittedRobust(FittedStep, spec=schema.Robust, form="number", program="computed"):
    """(x - center) * scale, in float64, and with `smooth` brought between -3 and 3."""

    center: Finite
    scale: Finite
    smooth: bool

    @classmethod
    def fit(cls, step: schema.Robust, column: NumberColumn, context: FitContext) -> Self:
        """Missing values play no part."""
        known, smooth = known_values(column), step.clip == "smooth"
        if not len(known):
            return cls(0.0, 0.0, smooth)
        low, q25, median, q75, high = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist()
        with np.errstate(over="ignore"):
            spread = np.subtract(q75, q25) or np.subtract(high, low) / 2
            scale = float(np.divide(1, spread)) if spread else 0.0
        if not (np.isfinite(median) and np.isfinite(spread) and np.isfinite(scale)):
            raise DataError(f"robust: the scale of column {quoted(column.name)} is not a finite number.")
        return cls(float(median), scale, smooth)

    def formula(self, x: Any, xp: Any) -> Any:
        """Values from the median, in units of the range between the quartiles."""
        z = (x - self.center) * self.scale
        return z / xp.sqrt(1 + (z / _SMOOTH_CLIP) ** 2) if self.smooth else z

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """The inverse, without the clip; a scale of 0 has none."""
        return values / self.scale + self.center if self.scale else values * 0 + self.center


@dataclass(frozen=True)
class FittedImpute(FittedStep, spec=schema.Impute, form="number", program="computed", fills_gaps=True):
    """A number where one is missing; `indicator`: another feature is 1 there."""

    value: Finite
    indicator: bool

    @classmethod
    def fit(cls, step: schema.Impute, column: NumberColumn, context: FitContext) -> Self:
        """An indicator of a column that no training row misses would always be 0, and is left out."""
        known = known_values(column)
        return cls(_fill(step, column.name, known), step.indicator and len(known) < len(column.values))

    def formula(self, x: Any, xp: Any) -> Any:
        """Values without a gap."""
        return xp.where(xp.isnan(x), self.value, x)

    def beside(self, x: Any, xp: Any) -> Any:
        """The indicator: 1 where a value is missing."""
        # Of the type of x: ONNX does not put float32 and float64 side by side.
        return xp.where(xp.isnan(x), xp.ones_like(x), xp.zeros_like(x))[..., None]

    @property
    def width_beside(self) -> int:
        """The indicator."""
        return int(self.indicator)

    def names_beside(self, column: str) -> list[str]:
        """`column is missing`."""
        return [f"{column} is missing"] * self.indicator


def _fill(step: schema.Impute, name: str, known: Floats) -> float:
    """The number that replaces a missing one; 0 where the training rows have none at all."""
    if step.strategy == "constant":
        if isinstance(step.value, (bool, str)) or step.value is None:
            raise DataError(
                f"impute: column {quoted(name)} holds numbers, and the constant value is {step.value!r}. "
                "Give a number."
            )
        return float(step.value)
    if not len(known):
        return 0.0
    with np.errstate(over="ignore"):
        if step.strategy == "mean":
            value = float(known.mean())
        elif step.strategy == "median":
            value = float(np.median(known))
        else:
            different, counts = np.unique(known, return_counts=True)
            value = float(different[counts.argmax()])  # of several the least, as scikit-learn has it
    if not np.isfinite(value):
        raise DataError(f"impute: the {step.strategy} of column {quoted(name)} is not a finite number.")
    return value
