"""Steps of a column of numbers: fitted on training rows, applied to any.

Each state is of one column. `apply` takes values (N,) float64, NaN where one is missing, and gives new ones;
what a step cannot take is told to `problems`, by row.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.json_checks import Floats
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

Problems = MutableMapping[int, str]
"""Row → what is wrong with it: the end of a sentence that begins with the row. The first is kept."""


@dataclass(frozen=True)
class StandardizeColumn:
    """(x - mean) / std, in float64; std is 1 for a constant column."""

    kind: ClassVar[str] = "standardize"
    mean: float
    std: float

    def apply(self, values: Floats, problems: Problems) -> Floats:
        """Values in units of the deviation."""
        return (values - self.mean) / self.std

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StandardizeColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.number(values["mean"]), json_checks.number(values["std"], positive=True))


@dataclass(frozen=True)
class MinMaxColumn:
    """(x - low) / range, so that the training rows go from 0 to 1; range is 1 for a constant column."""

    kind: ClassVar[str] = "min_max"
    low: float
    range: float

    def apply(self, values: Floats, problems: Problems) -> Floats:
        """Values as shares of the range."""
        return (values - self.low) / self.range

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"low": self.low, "range": self.range}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MinMaxColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.number(values["low"]), json_checks.number(values["range"], positive=True))


@dataclass(frozen=True)
class Log1pColumn:
    """log(1 + x)."""

    kind: ClassVar[str] = "log1p"

    def apply(self, values: Floats, problems: Problems) -> Floats:
        """Values above -1 as logarithms; others are problems."""
        wrong = values <= -1
        for row in np.flatnonzero(wrong):
            problems.setdefault(int(row), f"has {values[row]:g}, and log1p takes numbers above -1")
        return np.log1p(np.where(wrong, 0.0, values))

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Log1pColumn:
        """What `to_json` gave."""
        return cls()


@dataclass(frozen=True)
class ImputeColumn:
    """A value where one is missing; `indicator`: another column is 1 there."""

    kind: ClassVar[str] = "impute"
    value: float
    indicator: bool

    def apply(self, values: Floats, problems: Problems) -> Floats:
        """Values without a gap."""
        return np.where(np.isnan(values), self.value, values)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"value": self.value, "indicator": self.indicator}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImputeColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.number(values["value"]), json_checks.flag(values["indicator"]))


NumberState = StandardizeColumn | MinMaxColumn | Log1pColumn | ImputeColumn
NUMBER_STATES: Mapping[str, type[NumberState]] = {
    state.kind: state for state in (StandardizeColumn, MinMaxColumn, Log1pColumn, ImputeColumn)
}


def fit_number(step: schema.Component, name: str, values: Floats) -> NumberState:
    """Learn a step from the training rows' values of one column; missing ones play no part.

    Raises:
        DataError: what is learned is not a finite number.
    """
    known = values[~np.isnan(values)]
    match step:
        case schema.Standardize():
            if not len(known):
                return StandardizeColumn(0.0, 1.0)
            (mean,), (std,) = json_checks.mean_and_std(known[:, None], f"column {quoted(name)}: column")
            return StandardizeColumn(mean, std)
        case schema.MinMax():
            low = float(known.min()) if len(known) else 0.0
            with np.errstate(over="ignore"):
                span = float(np.subtract(known.max(), low)) if len(known) else 0.0
            if not np.isfinite(span):
                raise DataError(f"min_max: the range of column {quoted(name)} is not a finite number.")
            return MinMaxColumn(low, span or 1.0)
        case schema.Log1p():
            return Log1pColumn()
        case schema.Impute():
            # The indicator of a column that training rows do not miss would be 0 in all of them.
            return ImputeColumn(_fill(step, name, known), step.indicator and len(known) < len(values))
    raise AssertionError(f"{step.kind} is no step of numbers")


def _fill(step: schema.Impute, name: str, known: Floats) -> float:
    """What stands in for a missing number; 0 where the training rows have none at all."""
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
