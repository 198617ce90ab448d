"""Arrays of numbers, their columns known by position: standardized, or taken as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, Dataset
from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.column_steps import no_such_column
from nnrun.data.preprocess.json_checks import Floats
from nnrun.data.rows import DenseRows
from nnrun.errors import DataError
from nnrun.spec import schema

_BLOCK_VALUES = 1 << 22  # values that are in float64 at once while dense rows are transformed


@dataclass(frozen=True)
class FittedStandardize:
    """(x - mean) / std, column by column.

    Attributes:
        columns: positions from 0, or None for all.
        mean, std: of these columns over the training rows, in float64; std is 1 where a column is constant.
    """

    columns: tuple[int, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, x_NF: Floats) -> None:
        """Standardize these rows in place."""
        mean, std = np.array(self.mean), np.array(self.std)
        if self.columns is None:
            x_NF -= mean
            x_NF /= std
        else:
            columns = list(self.columns)
            x_NF[:, columns] = (x_NF[:, columns] - mean) / std


def transform_array(steps: Sequence[FittedStandardize], inputs: Array, n_features: int) -> DenseRows:
    """(N, F) numbers through all steps: computed in float64 and rounded to float32 once."""
    if not steps:
        return DenseRows(json_checks.float32(inputs, "The input in"))
    x_NF = np.empty(inputs.shape, np.float32)
    block = max(_BLOCK_VALUES // max(n_features, 1), 1)
    for start in range(0, len(inputs), block):
        part = inputs[start : start + block].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in steps:
                step.apply(part)
        x_NF[start : start + block] = json_checks.float32(part, "The input in", start)
    return DenseRows(x_NF)


def array_within_range(steps: Sequence[FittedStandardize], inputs: Array) -> npt.NDArray[np.bool_]:
    """(N,) which rows `transform_array` takes: all their numbers stay finite float32."""
    x_NF = inputs.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in steps:
            step.apply(x_NF)
        return np.asarray(np.isfinite(x_NF.astype(np.float32)).all(axis=1))


def suits_arrays(step: schema.Component) -> bool:
    """Whether a step needs no more than positions: other steps make the array a table of its columns."""
    return isinstance(step, (schema.Standardize, schema.NoInputStep))


def fit_array(
    steps: Sequence[schema.Component], dataset: Dataset, inputs: Array
) -> tuple[FittedStandardize, ...]:
    """Learn the steps, each from what those before it give."""
    fitted: list[FittedStandardize] = []
    x_NF: Floats | None = None
    for step in steps:
        if isinstance(step, schema.Standardize):
            if x_NF is None:
                x_NF = inputs.astype(np.float64, copy=False)
            else:
                x_NF = x_NF.copy() if x_NF is inputs else x_NF
                fitted[-1].apply(x_NF)
            fitted.append(_fit_standardize(step, dataset, x_NF))
    return tuple(fitted)


def _fit_standardize(step: schema.Standardize, dataset: Dataset, x_NF: Floats) -> FittedStandardize:
    columns = None if step.columns is None else tuple(_position(c, dataset, x_NF) for c in step.columns)
    if columns is not None and len(set(columns)) < len(columns):
        raise DataError(f"standardize: columns {step.columns} name a column twice.")
    chosen = x_NF if columns is None else x_NF[:, list(columns)]
    mean, std = json_checks.mean_and_std(chosen, "column")
    return FittedStandardize(columns, mean, std)


def _position(column: int | str, dataset: Dataset, x_NF: Floats) -> int:
    """A column's position by its name, or as it is."""
    names = array_columns(dataset.feature_names, x_NF.shape[1])
    if isinstance(column, str):
        if column not in names:
            raise DataError(f"standardize: {no_such_column(column, dataset.name, names)}")
        return names.index(column)
    if column >= x_NF.shape[1]:
        raise DataError(
            f"standardize: there is no column {column}; {dataset.name} has {x_NF.shape[1]} columns, "
            "counted from 0."
        )
    return column


def array_columns(names: Sequence[str] | None, n_features: int) -> tuple[str, ...]:
    """What the columns of an array are called: their names where there are as many, else their positions."""
    if names is not None and len(names) == n_features and len(set(names)) == n_features:
        return tuple(names)
    return tuple(map(str, range(n_features)))


def array_to_json(step: FittedStandardize) -> dict[str, Any]:
    """A fitted step as plain values."""
    columns = None if step.columns is None else list(step.columns)
    return {"standardize": {"columns": columns, "mean": list(step.mean), "std": list(step.std)}}


def array_from_json(document: Mapping[str, Any], n_features: int) -> FittedStandardize:
    """What the above wrote; ValueError for anything else."""
    ((name, values),) = document.items()
    json_checks.one_of(name, "standardize")
    columns = values["columns"]
    if columns is not None:
        columns = tuple(json_checks.count(c, least=0) for c in columns)
        if any(c >= n_features for c in columns):
            raise ValueError(columns)
    size = n_features if columns is None else len(columns)
    return FittedStandardize(
        columns,
        json_checks.floats(values["mean"], size),
        json_checks.floats(values["std"], size, positive=True),
    )
