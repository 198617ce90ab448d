"""The registry of fitted steps: a new preprocessing step is one class and its line here.

Its declaration, a `PreprocessingStep` with what it takes and gives, stands in `nnrun.spec.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.data.preprocess.categorical import (
    FittedHashing,
    FittedImputeCategory,
    FittedLookup,
    FittedOneHot,
    FittedOrdinal,
)
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
from nnrun.data.preprocess.target_mean import FittedTargetMean
from nnrun.data.preprocess.texts import FittedText, FittedTokens
from nnrun.data.preprocess.token_steps import FittedMultiHot, FittedPad
from nnrun.spec import schema

STEPS: list[type[FittedStep]] = [
    FittedStandardize,
    FittedMinMax,
    FittedRescale,
    FittedLog1p,
    FittedRobust,
    FittedQuantile,
    FittedPiecewiseLinear,
    FittedImpute,
    FittedImputeCategory,
    FittedOneHot,
    FittedOrdinal,
    FittedLookup,
    FittedTargetMean,
    FittedHashing,
    FittedDatetime,
    FittedText,
    FittedTokens,
    FittedMultiHot,
    FittedPad,
]


def fitted_class(step: schema.Component, form: str) -> type[FittedStep]:
    """The class that fits a declared step on a column that is of this form so far.

    `impute` has one class for numbers and one for categories; other steps bring a column into their form.
    """
    classes = [cls for cls in STEPS if cls.spec is type(step)]
    return next((cls for cls in classes if cls.form == form), classes[0])


def read_step(document: Mapping[str, Any]) -> FittedStep:
    """The step that was written as {kind: state}; ValueError or KeyError for anything else."""
    ((kind, state),) = document.items()
    return {cls.kind: cls for cls in STEPS}[kind].from_json(state)
