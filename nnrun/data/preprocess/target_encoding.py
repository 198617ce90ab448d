"""Targets as the loss takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter

from nnrun.data.dataset import Array
from nnrun.data.preprocess.fitted_step import Deviation, Finite, Size, check_float32, mean_and_std
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.target_scale import TargetScale


@dataclass(frozen=True)
class FittedOneHotTargets:
    """Labels to rows of 0 and a single 1: float32 (N, K)."""

    classes: int

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """One row per label."""
        labels = _labels(targets, self.classes)
        y_NK = np.zeros((len(labels), self.classes), np.float32)
        y_NK[np.arange(len(labels)), labels] = 1
        return y_NK

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"one_hot": {"classes": self.classes}}


@dataclass(frozen=True)
class FittedClassIndex:
    """Labels as they are: int64 (N,), checked."""

    classes: int

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """One integer per row."""
        return _labels(targets, self.classes)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"class_index": {"classes": self.classes}}


@dataclass(frozen=True)
class FittedTargetScale:
    """Targets as `TargetScale` has them, its mean and deviation of the training rows: float32 (N, K)."""

    scale: TargetScale

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """Targets as the loss compares them."""
        y_NK = target_columns(targets, n_outputs)
        if self.scale.log1p:
            _refuse_what_has_no_logarithm(y_NK)
        return check_float32(self.scale.apply(y_NK), "The target in")

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        kind = "log1p" if self.scale.log1p else "standardize"
        return {kind: {"mean": list(self.scale.mean), "std": list(self.scale.std)}}


@dataclass(frozen=True)
class FittedNoTarget:
    """Targets as they are: float32 (N, K)."""

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """The same numbers, one column per output."""
        return check_float32(target_columns(targets, n_outputs), "The target in")

    def to_json(self) -> dict[str, Any]:
        """No state."""
        return {"none": {}}


FittedTargets: TypeAlias = FittedOneHotTargets | FittedClassIndex | FittedTargetScale | FittedNoTarget


def _labels(targets: Array, classes: int, rows: Array | None = None) -> npt.NDArray[np.int64]:
    """Targets as integers from 0 to classes - 1. `rows` are their positions in the data set, for messages."""
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1:
        raise DataError(
            f"The targets have shape {targets.shape}, but class labels are one integer per row. "
            "For rows that are already one-hot, use categorical_crossentropy."
        )
    with np.errstate(invalid="ignore"):
        labels = targets.astype(np.int64)
    wrong = np.flatnonzero((labels != targets) | (labels < 0) | (labels >= classes))
    if wrong.size:
        at = int(wrong[0])
        row = at if rows is None else int(rows[at])
        value = targets[at].item()
        if value != labels[at]:
            raise DataError(f"Row {row} has the target {value}, but class labels are whole numbers.")
        raise DataError(
            f"Row {row} has the label {value}, but the last layer has {classes} "
            f"unit{'s' if classes != 1 else ''}, "
            f"which is enough for labels from 0 to {classes - 1}."
        )
    return labels


def target_columns(targets: Array, n_outputs: int) -> Array:
    """Targets as (N, n_outputs)."""
    y_NK = targets[:, None] if targets.ndim == 1 else targets
    if y_NK.ndim != 2 or y_NK.shape[1] != n_outputs:
        raise DataError(
            f"The targets have {y_NK.shape[1]} column{'s' if y_NK.shape[1] != 1 else ''}, but the last "
            "layer has "
            f"{n_outputs} unit{'s' if n_outputs != 1 else ''}. The numbers must match."
        )
    return y_NK


def loss_of_digits(targets: Array) -> float:
    """How much float32, in which the loss is computed, moves targets: the largest share of a column's spread.

    Of numbers near 1e9 it keeps multiples of 64, so that a deviation of 1 is lost.
    """
    y_NK = targets.reshape(len(targets), -1)
    if y_NK.dtype.kind not in "fiu" or y_NK.dtype == np.float32 or not len(y_NK):
        return 0.0
    away = np.sqrt(np.square(y_NK - y_NK.astype(np.float32).astype(np.float64)).mean(0))
    spread = (y_NK - y_NK[:1]).std(0)
    return float((away[spread > 0] / spread[spread > 0]).max(initial=0.0))


def fit_targets(
    step: schema.Component | None, targets: Array, rows: Array | None, n_outputs: int
) -> FittedTargets:
    """Learn the target step. `rows` are the targets' positions in the data set, for messages."""
    match step:
        case schema.OneHotTargets():
            _labels(targets, n_outputs, rows)
            return FittedOneHotTargets(n_outputs)
        case schema.ClassIndexTargets():
            _labels(targets, n_outputs, rows)
            return FittedClassIndex(n_outputs)
        case schema.StandardizeTargets():
            y_NK = target_columns(targets, n_outputs).astype(np.float64)
            return FittedTargetScale(_scale(y_NK, log1p=False))
        case schema.Log1pTargets():
            return FittedTargetScale(_log_scale(step, target_columns(targets, n_outputs), rows))
    target_columns(targets, n_outputs)
    return FittedNoTarget()


def _log_scale(step: schema.Log1pTargets, y_NK: Array, rows: Array | None) -> TargetScale:
    """Of the logarithms as they are, or standardized."""
    _refuse_what_has_no_logarithm(y_NK, rows)
    plain = TargetScale((0.0,) * y_NK.shape[1], (1.0,) * y_NK.shape[1], log1p=True)
    if not step.standardize:
        return plain
    return _scale(plain.apply(y_NK), log1p=True)


def _scale(y_NK: npt.NDArray[np.float64], *, log1p: bool) -> TargetScale:
    mean, std = mean_and_std(y_NK, [f"target column {column}" for column in range(y_NK.shape[1])])
    return TargetScale(tuple(mean), tuple(std), log1p)


def _refuse_what_has_no_logarithm(y_NK: Array, rows: Array | None = None) -> None:
    """Raise DataError at the first target that is not above -1. `rows` are the rows' positions."""
    wrong = np.argwhere(~(y_NK > -1))
    if len(wrong):
        at, column = (int(place) for place in wrong[0])
        row = at if rows is None else int(rows[at])
        raise DataError(
            f"Row {row} has the target {y_NK[at, column]:g}, and `targets: log1p` takes numbers above -1: "
            "log(1 + y) is undefined for others. Use `targets: standardize`, or none."
        )


_STRICT = ConfigDict(strict=True)
_CLASSES: TypeAdapter[int] = TypeAdapter(Size, config=_STRICT)
_MEANS: TypeAdapter[list[float]] = TypeAdapter(list[Finite], config=_STRICT)
_STDS: TypeAdapter[list[float]] = TypeAdapter(list[Deviation], config=_STRICT)


def read_targets(document: Mapping[str, Any], n_outputs: int) -> FittedTargets:
    """The fitted step that `to_json` wrote; ValueError or KeyError for anything else."""
    ((kind, state),) = document.items()
    if kind in ("one_hot", "class_index"):
        classes = _CLASSES.validate_python(state["classes"])
        return FittedOneHotTargets(classes) if kind == "one_hot" else FittedClassIndex(classes)
    if kind == "none":
        return FittedNoTarget()
    mean, std = _MEANS.validate_python(state["mean"]), _STDS.validate_python(state["std"])
    if kind not in ("standardize", "log1p") or not len(mean) == len(std) == n_outputs:
        raise ValueError(document)
    return FittedTargetScale(TargetScale(tuple(mean), tuple(std), kind == "log1p"))
