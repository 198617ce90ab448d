"""Several inputs and several outputs of a network."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from nnrun.spec.schema.component import ONE_COMPONENT_IS_ENOUGH, Columns, Config, NonNegative
from nnrun.spec.schema.loss_components import ClassWeight, Loss
from nnrun.spec.schema.metric_components import Calibrate, Metric, Threshold
from nnrun.spec.schema.preprocessing_steps import InputStep, TargetStep, as_one_target_step


class NamedInput(Config):
    """An input of the network, with its own preprocessing.

    It takes `columns` of a table, or an `array` of an npz, which stands there as NAME_train and, if there is
    one, NAME_test. Default for `array`: the input's name.
    """

    switchable = {"columns": None, "array": None, "preprocessing": []}
    columns: Annotated[Columns | None, Field(min_length=1)] = Field(None, examples=[["title"]])
    array: str | None = None
    preprocessing: Annotated[list[InputStep], ONE_COMPONENT_IS_ENOUGH] = Field(
        [], examples=[[{"text": 10_000}]]
    )


class NamedOutput(Config):
    """A chain whose last layer is compared with a target of its own.

    `target` is a column or several, or an array of an npz; default: the output's name. `loss_weight`
    multiplies its loss in the total. The other keys are those that a spec of one output has at its top;
    `preprocessing` is what `preprocessing: targets` is there.

    A row may lack the target of some outputs (an empty field, NaN in an npz). It counts for the others: an
    output's loss in a batch is the mean over the rows that have its target, as where Keras masks the others,
    and does not depend on how many there are of these; its metrics and its fitted steps know only rows that
    have its target.
    """

    switchable = {"target": None, "class_weight": None, "metrics": [], "calibrate": None, "threshold": None}
    rarely_changed = frozenset(("calibrate", "threshold"))
    target: Annotated[Columns | None, Field(min_length=1)] = Field(None, examples=["urgent"])
    preprocessing: Annotated[TargetStep | None, BeforeValidator(as_one_target_step)] = Field(
        None, examples=["standardize"]
    )
    loss: Loss
    loss_weight: NonNegative = Field(1.0, examples=[0.25])
    metrics: list[Metric] = []
    class_weight: ClassWeight | None = None
    calibrate: Calibrate | None = None
    threshold: Threshold | None = None
