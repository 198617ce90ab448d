"""Preprocessing of a person's own, on rows that are numbers already (form: `nnrun.spec.custom_objects`).

Letters in names: N rows, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.data.preprocess.fitted_step import Floats
from nnrun.data.rows import ByteRows, DenseRows, SparseRows
from nnrun.errors import DataError, NnrunError
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault


@dataclass(frozen=True)
class FittedCustom:
    """A fitted step.

    Attributes:
        spec: its object and parameters.
        state: what it learned from the training rows, plain values of JSON.
        width: F, columns of the rows that it gives.
    """

    spec: schema.Custom
    state: Any
    width: int

    def transform(self, x_NF: Floats) -> Floats:
        """Rows as the step makes them."""
        return _checked(self.spec, _call(self.spec, "transform", x_NF, self.state), len(x_NF), self.width)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "object": self.spec.object,
            "parameters": dict(self.spec.parameters),
            "state": self.state,
            "width": self.width,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedCustom:
        """What `to_json` gave. Nothing is imported before the step is used."""
        values, width = {name: document[name] for name in ("object", "parameters")}, document["width"]
        if type(width) is not int or width < 1:
            raise ValueError(width)
        return cls(schema.Custom.model_validate({"custom": values}), document["state"], width)


def fit_custom(
    steps: Sequence[schema.Custom], rows: DenseRows | ByteRows | SparseRows
) -> tuple[FittedCustom, ...]:
    """Fit steps one after the other on training rows.

    Raises:
        UsageError: the code may not be run, or is not there.
        NnrunError: it failed, or gave what no step may give.
    """
    x_NF = dense(rows)
    fitted = []
    for spec in steps:
        state = _plain(spec, _call(spec, "fit", x_NF.copy()))
        x_NF = _checked(spec, _call(spec, "transform", x_NF, state), len(x_NF))
        fitted.append(FittedCustom(spec, state, int(x_NF.shape[1])))
    return tuple(fitted)


def transform_custom(steps: Sequence[FittedCustom], rows: DenseRows | ByteRows | SparseRows) -> DenseRows:
    """Rows through fitted steps.

    Raises:
        DataError: a number is beyond float32.
    """
    x_NF = dense(rows)
    for step in steps:
        x_NF = step.transform(x_NF)
    wrong = np.argwhere(~(np.abs(x_NF) <= np.finfo(np.float32).max))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"The custom step {steps[-1].spec.object} gave {x_NF[row, column]} in row {row} (from 0), column "
            f"{column}; every value must be a finite number."
        )
    return DenseRows(np.ascontiguousarray(x_NF, np.float32))


def dense(rows: DenseRows | ByteRows | SparseRows) -> Floats:
    """(N, F) numbers, also of sparse rows and of rows of more axes."""
    return rows.to_dense().reshape(len(rows), rows.n_features).astype(np.float64)


def _call(spec: schema.Custom, method: str, *arguments: Any) -> Any:
    made = custom_object(spec)
    try:
        return getattr(made(**spec.parameters), method)(*arguments)
    except Exception as error:
        raise own_fault(f"{spec.object}, {method}", error) from error


def _plain(spec: schema.Custom, state: Any) -> Any:
    """The state as it comes back from a file."""
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NnrunError(
            f"The custom step {spec.object} learned a state that is not plain JSON ({error}). fit must "
            "return finite numbers, texts, lists and dictionaries of them, for example x.mean(0).tolist()."
        ) from None
    return json.loads(text)


def _checked(spec: schema.Custom, x: Any, rows: int, width: int | None = None) -> Floats:
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) != 2 or shape[0] != rows or shape[1] < 1 or (width is not None and shape[1] != width):
        found = f"shape {shape}" if isinstance(x, np.ndarray) else type(x).__name__
        wanted = f"({rows}, {'any number of columns' if width is None else width})"
        raise NnrunError(
            f"The custom step {spec.object}, transform, gave {found}; an array {wanted} is needed."
        )
    return np.asarray(x, np.float64)
