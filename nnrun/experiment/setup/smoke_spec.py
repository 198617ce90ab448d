"""A spec cut down to a smoke run: does everything fit together?"""

from __future__ import annotations

from nnrun.data.sources.generated_rows import TRAIN_ROWS
from nnrun.spec import schema

EPOCHS = 2


def smoke_spec(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with two epochs and a validation that a few hundred rows can bear."""
    validation = spec.validation
    if isinstance(validation, schema.Holdout) and validation.first is not None:
        first = min(validation.first, TRAIN_ROWS // 4)
        validation = validation.model_copy(update={"first": first})
    if isinstance(validation, (schema.KFold, schema.TimeSeries)):
        validation = validation.model_copy(update={"k": min(validation.k, TRAIN_ROWS // 4)})
    return spec.model_copy(update={"epochs": min(spec.epochs, EPOCHS), "validation": validation})
