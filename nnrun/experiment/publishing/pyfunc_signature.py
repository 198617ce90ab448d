"""What a run's networks take and give, as MLflow's signature, with a row as an example."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.experiment.predicting.predict import Predictor, predict_values
from nnrun.experiment.serving.typical_row import typical_row

_TEXT = "text"
_MOST_COLUMNS = 1000
"""Wider rows of an array are one tensor in a signature, which every request and page of MLflow repeats."""


def signature_of(predictor: Predictor) -> tuple[Any, Any]:
    """The signature, and an example of the inputs; (None, None) of several inputs that are arrays.

    Columns are of any type. In a data frame MLflow would refuse whole numbers in a column of `double`, and
    numbers in one of `string`; in a request it would refuse an empty text in a column of `double`, and make
    null in one of `string` the text None. nnrun takes all of them, and says what it cannot read. The price:
    MLflow's server takes no CSV for such columns.

    Args:
        predictor: the networks.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ParamSchema, ParamSpec

    inputs, example = _inputs(predictor)
    if inputs is None:
        return None, None
    predicted = predict_values(predictor, _rows(predictor, example))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*integer column", UserWarning)  # classes that are numbers
        outputs = infer_signature(model_output=predicted).outputs
    params = ParamSchema([ParamSpec("probabilities", "boolean", default=True)])
    return ModelSignature(inputs, outputs, params), example


def _inputs(predictor: Predictor) -> tuple[Any, Any]:
    """MLflow's schema of the inputs, and an example."""
    from mlflow.types import ColSpec, Schema, TensorSpec

    decoder, row = predictor.decoder, typical_row(predictor)
    match decoder:
        case NamedColumnDecoder():
            return Schema(_columns([column.name for column in decoder.columns])), pd.DataFrame([row])
        case TokenDecoder() if decoder.knows_words:
            return Schema([ColSpec("string", _TEXT)]), pd.DataFrame({_TEXT: [row]})
        case PositionalDecoder() if isinstance(row, dict):
            return Schema(_columns(row)), pd.DataFrame([row])
        case PositionalDecoder():
            values = np.asarray([row], np.float64)
            if values.ndim == 2 and values.shape[1] <= _MOST_COLUMNS:
                return Schema(_columns([None] * values.shape[1])), values
            return Schema([TensorSpec(values.dtype, (-1, *values.shape[1:]))]), values
    return None, None


def _columns(names: Iterable[str | None]) -> list[Any]:
    from mlflow.types import ColSpec
    from mlflow.types.schema import AnyType

    return [ColSpec(AnyType(), name) for name in names]  # type: ignore[no-untyped-call]


def _rows(predictor: Predictor, example: Any) -> Any:
    """The example as `predict` takes it."""
    return example[_TEXT].tolist() if isinstance(predictor.decoder, TokenDecoder) else example
