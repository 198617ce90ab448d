"""A row as an example: of each column the middle or the most frequent value, as preprocessing learned it.

No row of the data is in it, and the columns are taken one by one: together they may be rare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnrun.data.new_rows.input_batches import RowDecoder
from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.several_inputs import SeveralInputsDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.data.preprocess import FittedColumn, FittedInputs
from nnrun.data.preprocess.categorical import FittedImputeCategory
from nnrun.data.preprocess.datetimes import FittedDatetime
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.preprocess.numeric import (
    FittedImpute,
    FittedLog1p,
    FittedMinMax,
    FittedRescale,
    FittedRobust,
    FittedStandardize,
)
from nnrun.data.preprocess.quantile_steps import FittedPiecewiseLinear, FittedQuantile
from nnrun.experiment.predicting.predict import Predictor
from nnrun.spec.ports import Port

_DIGITS = 4
_WORDS = 3
_TEXT = "a text"


def typical_row(predictor: Predictor) -> Any:
    """A row as a value of JSON, which the run's networks take."""
    fitted = predictor.networks[0].fitted.inputs
    decoder = predictor.decoder
    if isinstance(decoder, SeveralInputsDecoder):
        return {port: _of_input(own, fitted[port]) for port, own in decoder.decoders.items()}
    if isinstance(decoder, NamedColumnDecoder):
        return typical_values(fitted)
    return _of_input(decoder, next(iter(fitted.values())))


def typical_values(fitted: Mapping[Port, FittedInputs]) -> dict[str, Any]:
    """A value for each column of a table, of all inputs."""
    found: dict[str, Any] = {}
    for inputs in fitted.values():
        for column in () if inputs.table is None else inputs.table.columns:
            found.setdefault(column.name, typical_value(column))
    return found


def typical_value(column: FittedColumn) -> Any:
    """A value that a column may have, of what its steps learned of it."""
    if column.kind == "number":
        return _rounded(_number(column.steps))
    if column.kind == "date":
        dates = (step.origin for step in column.steps if isinstance(step, FittedDatetime))
        return next(dates, "2000-01-01")
    known: Sequence[str] = next((step.known_levels for step in column.steps if step.known_levels), ())
    if column.kind == "text":
        return " ".join(known[:_WORDS]) or _TEXT
    if column.frequent is not None and (not known or column.frequent in known):
        return column.frequent
    filled = next((step.value for step in column.steps if isinstance(step, FittedImputeCategory)), "a")
    return known[0] if known else filled


def _of_input(decoder: RowDecoder, fitted: FittedInputs) -> Any:
    """Of an input that takes rows of an array, or of words."""
    if isinstance(decoder, TokenDecoder):
        return _TEXT if decoder.knows_words else [1, 2, 3]
    assert isinstance(decoder, PositionalDecoder), "the others take named columns"
    assert fitted.table is not None, "arrays have columns"
    values = [typical_value(column) for column in fitted.table.columns]
    shape = decoder.row_shape
    if decoder.names is not None and len(shape) == 1:
        return dict(zip(decoder.names, values, strict=True))
    # Of several axes the columns are the numbers along the last one.
    return np.broadcast_to(np.resize(values, shape[-1]), shape).tolist()


def _number(steps: Sequence[FittedStep]) -> float:
    """The middle of what a column of numbers holds, by the first of its steps that tells; else 0."""
    for place, step in enumerate(steps):
        match step:
            case FittedImpute():
                return step.value
            case FittedStandardize():
                return step.mean
            case FittedRobust():
                return step.center
            case FittedMinMax():
                return step.low + step.range / 2
            case FittedQuantile():
                return float(step.quantiles[len(step.quantiles) // 2])
            case FittedPiecewiseLinear():
                return float(step.edges[len(step.edges) // 2])
            case FittedLog1p():
                return math.expm1(min(_number(steps[place + 1 :]), 100.0))
            case FittedRescale() if step.scale:
                return (_number(steps[place + 1 :]) - step.offset) / step.scale
    return 0.0


def _rounded(number: float) -> float | int:
    """With few digits: the middle of many values, and none of them."""
    short = float(f"{number:.{_DIGITS}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short
