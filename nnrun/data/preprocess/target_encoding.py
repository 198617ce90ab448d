"""Targets as the loss takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.preprocess.fitted_step import (
    Deviation,
    Finite,
    Size,
    check_float32,
    mean_and_std,
)
from nnrun.data.preprocess.quantile_steps import normal_quantile, number_of_quantiles, quantiles_of
from nnrun.errors import DataError
from nnrun.output_transforms.target_scale import QuantileCurve, TargetScale
from nnrun.spec import schema
from nnrun.spec.wording import quoted

_SEQUENCES, _CHARACTERS = schema.ClassSequenceTargets.kind, schema.CharactersTargets.kind
_FEW_DIGITS = 1e-6  # of the targets' spread, by which rounding moves them: scores show no more digits
_STRICT = ConfigDict(strict=True)
_CLASSES: TypeAdapter[int] = TypeAdapter(Size, config=_STRICT)
_MEANS: TypeAdapter[list[float]] = TypeAdapter(list[Finite], config=_STRICT)
_CURVES: TypeAdapter[list[list[float]]] = TypeAdapter(list[list[Finite]], config=_STRICT)
_STDS: TypeAdapter[list[float]] = TypeAdapter(list[Deviation], config=_STRICT)


@dataclass(frozen=True)
class FittedTargets:
    """The fitted target step.

    Attributes:
        n_outputs: K, units of the layer that gives the output.
        kind: its name in a spec and in preprocessing.json.
        classes: of targets that are classes, how many; None for numbers.
        scale: what numbers were divided by and centred by, or the curves that they are on; None where they
            are as they were.
        characters: of texts, those that have the classes 1, 2, ...; ascending.
        repeated: whether every output is compared with the same one number, as those of several quantiles.
    """

    n_outputs: int
    kind: str = "none"
    classes: int | None = None
    scale: TargetScale | None = None
    characters: str = ""
    repeated: bool = False

    def transform(self, targets: Array) -> Array:
        """Targets as the loss compares them: float32 (N, K), or int64 (N,) for class indices.

        Of outputs with steps (N, T) or (N, L) class indices.
        """
        targets = np.asarray(targets)
        if self.kind == _CHARACTERS:
            return _character_classes(targets, self.characters)
        if self.kind == _SEQUENCES and self.classes is not None:
            return _class_sequences(targets, self.classes)
        if self.classes is not None:
            labels = _labels(targets, self.classes)
            if self.kind == "class_index":
                return labels
            one_hot_NK = np.zeros((len(labels), self.classes), np.float32)
            one_hot_NK[np.arange(len(labels)), labels] = 1
            return one_hot_NK
        y_NK = target_columns(targets, self.n_outputs, repeated=self.repeated)
        if self.scale is not None and self.scale.log1p:
            _refuse_what_has_no_logarithm(y_NK)
        return check_float32(y_NK if self.scale is None else self.scale.apply(y_NK), "The target in")

    def in_own_units(self, outputs_NK: Array) -> Array:
        """Outputs of the network in float64; of scaled targets in the units that these had before."""
        return outputs_NK.astype(np.float64) if self.scale is None else self.scale.invert(outputs_NK)

    def own_targets(self, targets: Array) -> Array | None:
        """(N, K) float64: targets in their own units, where the loss compares others; else None.

        Others are scaled ones, and those that float32 noticeably rounds.
        """
        targets = np.asarray(targets)
        if self.scale is None and (self.kind != "none" or loss_of_digits(targets) <= _FEW_DIGITS):
            return None
        return target_columns(targets, self.n_outputs, repeated=self.repeated).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        state: dict[str, Any] = {} if self.classes is None else {"classes": self.classes}
        if self.scale is not None:
            state = {"mean": list(self.scale.mean), "std": list(self.scale.std)}
            if curves := self.scale.curves:
                state = {
                    "quantiles": [list(curve.quantiles) for curve in curves],
                    "normal": [list(curve.normal) for curve in curves],
                }
        if self.characters:
            state = {"characters": self.characters}
        return {self.kind: {**state, "repeated": True} if self.repeated else state}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], n_outputs: int) -> Self:
        """What `to_json` gave; ValueError or KeyError for anything else."""
        ((kind, state),) = document.items()
        repeated = state.get("repeated") is True
        if kind in ("one_hot", "class_index", _SEQUENCES):
            return cls(n_outputs, kind, _CLASSES.validate_python(state["classes"]))
        if kind == "none":
            return cls(n_outputs, repeated=repeated)
        if kind == _CHARACTERS:
            characters = state["characters"]
            if "".join(sorted(set(characters))) != characters or not 0 < len(characters) < n_outputs:
                raise ValueError(document)
            return cls(n_outputs, kind, characters=characters)
        if kind == "quantile":
            return cls(n_outputs, kind, scale=_read_curves(state, n_outputs), repeated=repeated)
        mean, std = _MEANS.validate_python(state["mean"]), _STDS.validate_python(state["std"])
        if kind not in ("standardize", "log1p") or not len(mean) == len(std) == n_outputs:
            raise ValueError(document)
        scale = TargetScale(tuple(mean), tuple(std), kind == "log1p")
        return cls(n_outputs, kind, scale=scale, repeated=repeated)


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


def _class_sequences(targets: Array, classes: int, rows: Array | None = None) -> npt.NDArray[np.int64]:
    """(N, L) integers from 0 to classes - 1."""
    with np.errstate(invalid="ignore"):
        labels = targets.astype(np.int64)
    wrong = np.argwhere((labels != targets) | (labels < 0) | (labels >= classes))
    if len(wrong):
        at, place = (int(index) for index in wrong[0])
        raise DataError(
            f"Row {at if rows is None else int(rows[at])} has the target {targets[at, place]} at place "
            f"{place}, but the last layer has {classes} units, which is enough for classes from 0 to "
            f"{classes - 1}."
        )
    return labels


def _character_classes(codes_NL: Array, characters: str) -> npt.NDArray[np.int64]:
    """(N, L) code points, filled up with 0, as the places of their characters from 1."""
    known = np.array([ord(character) for character in characters], np.int64)
    places = np.minimum(np.searchsorted(known, codes_NL), len(known) - 1)
    unknown = np.argwhere((codes_NL != 0) & (known[places] != codes_NL))
    if len(unknown):
        row, place = (int(index) for index in unknown[0])
        raise DataError(
            f"Row {row} has the character {quoted(chr(int(codes_NL[row, place])))} in its target, which no "
            "training row has, so that no network can learn it. Shuffle the rows (shuffle: true), or leave "
            "the row out."
        )
    return np.where(codes_NL == 0, 0, places + 1)


def _fit_characters(codes_NL: Array, n_outputs: int) -> FittedTargets:
    characters = "".join(map(chr, np.unique(codes_NL[codes_NL != 0]).tolist()))
    if len(characters) + 1 != n_outputs:
        raise DataError(
            f"The targets of the training rows have {len(characters)} different characters, "
            f"{quoted(characters)}, and the last layer gives {n_outputs} numbers a step. One for each of "
            f"them and one for the blank are needed: set its units to {len(characters) + 1}."
        )
    return FittedTargets(n_outputs, _CHARACTERS, characters=characters)


def target_columns(targets: Array, n_outputs: int, *, repeated: bool = False) -> Array:
    """Targets as (N, n_outputs); with `repeated` one number, as often as there are outputs."""
    y_NK = targets[:, None] if targets.ndim == 1 else targets
    if repeated:
        if y_NK.ndim != 2 or y_NK.shape[1] != 1:
            raise DataError(
                f"The targets have {y_NK.shape[1]} columns, and `quantiles` are of one number. Name one "
                "target, or give `quantile` one for each column."
            )
        return np.repeat(y_NK, n_outputs, 1)
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
    step: schema.Component | None,
    targets: Array,
    rows: Array | None,
    n_outputs: int,
    *,
    repeated: bool = False,
) -> FittedTargets:
    """Learn the target step.

    Args:
        step: as the spec has it.
        targets: of the training rows, as the data set has them.
        rows: their positions in the data set, for messages.
        n_outputs, repeated: as of `FittedTargets`.
    """
    if isinstance(step, (schema.OneHotTargets, schema.ClassIndexTargets)):
        _labels(targets, n_outputs, rows)
        return FittedTargets(n_outputs, step.kind, n_outputs)
    if isinstance(step, schema.CharactersTargets):
        return _fit_characters(targets, n_outputs)
    if isinstance(step, schema.ClassSequenceTargets):
        _class_sequences(targets, n_outputs, rows)
        return FittedTargets(n_outputs, step.kind, n_outputs)
    y_NK = target_columns(targets, n_outputs, repeated=repeated)
    if isinstance(step, schema.StandardizeTargets):
        scale = _scale(y_NK.astype(np.float64))
        return FittedTargets(n_outputs, step.kind, scale=scale, repeated=repeated)
    if isinstance(step, schema.Log1pTargets):
        _refuse_what_has_no_logarithm(y_NK, rows)
        plain = TargetScale((0.0,) * n_outputs, (1.0,) * n_outputs, log1p=True)
        scale = replace(_scale(plain.apply(y_NK)), log1p=True) if step.standardize else plain
        return FittedTargets(n_outputs, step.kind, scale=scale, repeated=repeated)
    if isinstance(step, schema.QuantileTargets):
        curves = tuple(_curve(column, step, place) for place, column in enumerate(y_NK.T))
        return FittedTargets(n_outputs, step.kind, scale=_of_curves(curves), repeated=repeated)
    return FittedTargets(n_outputs, repeated=repeated)


def _of_curves(curves: tuple[QuantileCurve, ...]) -> TargetScale:
    return TargetScale((0.0,) * len(curves), (1.0,) * len(curves), curves=curves)


def _curve(y_N: Array, step: schema.QuantileTargets, column: int) -> QuantileCurve:
    """The quantiles of one column; equal ones are one point, at the middle of their ranks.

    Of many quantiles the outer ones all have the value at which the normal distribution is clipped. Only the
    outermost stays, so that each value leads back to one target.
    """
    known = y_N.astype(np.float64)
    count = number_of_quantiles(step.n_quantiles, len(known))
    found = quantiles_of(known, count, f"targets: {step.kind}", f"target column {column}")
    values, first, times = np.unique(found, return_index=True, return_counts=True)
    ranks = (first + (times - 1) / 2) / (count - 1)
    normal = normal_quantile(ranks, np)
    kept = (normal > normal[0]) & (normal < normal[-1])
    kept[[0, -1]] = True
    return QuantileCurve(tuple(values[kept].tolist()), tuple(normal[kept].tolist()))


def _read_curves(state: Mapping[str, Any], n_outputs: int) -> TargetScale:
    """What `FittedTargets.to_json` gave; ValueError or KeyError for anything else."""
    values, normal = (_CURVES.validate_python(state[name]) for name in ("quantiles", "normal"))
    if not len(values) == len(normal) == n_outputs:
        raise ValueError(state)
    for own, theirs in zip(values, normal, strict=True):
        ascending = all((np.diff(points) > 0).all() for points in (own, theirs))
        if len(own) != len(theirs) or not own or not ascending:
            raise ValueError(state)
    pairs = zip(values, normal, strict=True)
    return _of_curves(tuple(QuantileCurve(tuple(own), tuple(theirs)) for own, theirs in pairs))


def _scale(y_NK: npt.NDArray[np.float64]) -> TargetScale:
    mean, std = mean_and_std(y_NK, [f"target column {column}" for column in range(y_NK.shape[1])])
    return TargetScale(tuple(mean), tuple(std))


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
