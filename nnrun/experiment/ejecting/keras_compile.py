"""What a script for Keras compiles a model with: the registries of losses, metrics and optimizers.

What has no line in `LOSSES`, `METRICS` or `OPTIMIZERS` is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnrun.experiment.ejecting.keras_layers import options_text
from nnrun.experiment.ejecting.lesson import Head
from nnrun.experiment.ejecting.refusals import can_write, refuse
from nnrun.experiment.scripting.network_script import identifier
from nnrun.spec import schema

Component = schema.Component

PYTORCH = "Use --to pytorch."
AUC_NOTE = (
    "Keras approximates the area under the ROC curve by 200 thresholds: auc differs from nnrun's, which is "
    "exact, in the third digit."
)

LOSSES: Mapping[type[Component], str] = {
    schema.BinaryCrossentropy: "BinaryCrossentropy",
    schema.CategoricalCrossentropy: "CategoricalCrossentropy",
    schema.SparseCategoricalCrossentropy: "SparseCategoricalCrossentropy",
    schema.Mse: "MeanSquaredError",
    schema.Mae: "MeanAbsoluteError",
    schema.Huber: "Huber",
    schema.Hinge: "Hinge",
    schema.SquaredHinge: "SquaredHinge",
    schema.CategoricalHinge: "CategoricalHinge",
    schema.KlDivergence: "KLDivergence",
    schema.Poisson: "Poisson",
    schema.LogCosh: "LogCosh",
}
OPTIMIZERS: Mapping[type[Component], tuple[str, tuple[str, ...]]] = {
    schema.RmsProp: ("RMSprop", ("rho", "momentum", "epsilon", "centered", "weight_decay")),
    schema.Sgd: ("SGD", ("momentum", "nesterov", "weight_decay")),
    schema.Adam: ("Adam", ("beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay")),
    schema.AdamW: ("AdamW", ("weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad")),
    schema.Adagrad: ("Adagrad", ("initial_accumulator_value", "epsilon", "weight_decay")),
    schema.Nadam: ("Nadam", ("beta_1", "beta_2", "epsilon", "weight_decay")),
    schema.Adamax: ("Adamax", ("beta_1", "beta_2", "epsilon", "weight_decay")),
    schema.Adadelta: ("Adadelta", ("rho", "epsilon", "weight_decay")),
}


def _class(name: str, *options: str) -> Callable[[Head, Any], str]:
    """A metric of Keras, by the name that nnrun's column has."""

    def made(head: Head, spec: Any) -> str:
        said = [*options, f'name="{spec.kind}"']
        return f"keras.metrics.{name}({', '.join(said)})"

    return made


def _labels(name: str, parameter: str, *options: str) -> Callable[[Head, Any], str]:
    """A metric of a yes or no, whose threshold is called so; Keras has none over classes as nnrun has it."""

    def made(head: Head, spec: Any) -> str:
        if head.decides_as != "sigmoid":
            raise refuse(f"the metric {spec.kind} over classes with Keras", PYTORCH)
        return _class(name, *options, f"{parameter}={spec.threshold!r}")(head, spec)

    return made


def _accuracy(head: Head, spec: Any) -> str:
    if head.decides_as == "sigmoid" and head.activation != "sigmoid":
        return _class("BinaryAccuracy", "threshold=0.0")(head, spec)
    return '"accuracy"'


def _auc(head: Head, spec: Any) -> str:
    if head.decides_as != "sigmoid":
        raise refuse("the metric auc over classes with Keras", PYTORCH)
    return _class("AUC")(head, spec)


def _top_k(head: Head, spec: Any) -> str:
    sparse = "Sparse" if head.targets.kind == "class_index" else ""
    return _class(f"{sparse}TopKCategoricalAccuracy", str(spec.k))(head, spec)


def _crossentropy(head: Head, spec: Any) -> str:
    if head.decides_as != "softmax":
        return _class("BinaryCrossentropy")(head, spec)
    sparse = "Sparse" if head.targets.kind == "class_index" else ""
    return _class(f"{sparse}CategoricalCrossentropy")(head, spec)


def _own_units(plain: str) -> Callable[[Head, Any], str]:
    """A metric that is a mean: of scaled targets in their own units."""

    def made(head: Head, spec: Any) -> str:
        if not head.scales:
            return f'"{plain}"'
        if head.name:
            return f'keras.metrics.MeanMetricWrapper({own_metric(head, spec)}, name="{spec.kind}")'
        return str(spec.kind)  # a function, see `own_metrics`

    return made


METRICS: Mapping[type[Component], Callable[[Head, Any], str]] = {
    schema.Accuracy: _accuracy,
    schema.MaeMetric: _own_units("mae"),
    schema.MseMetric: _own_units("mse"),
    schema.Rmse: _class("RootMeanSquaredError"),
    schema.R2: _class("R2Score"),
    schema.MapeMetric: _class("MeanAbsolutePercentageError"),
    schema.MsleMetric: _class("MeanSquaredLogarithmicError"),
    schema.TopK: _top_k,
    schema.Precision: _labels("Precision", "thresholds"),
    schema.Recall: _labels("Recall", "thresholds"),
    schema.F1: _labels("F1Score", "threshold", 'average="micro"'),
    schema.Auc: _auc,
    schema.LogLoss: _crossentropy,
}
"""An expression of a metric of Keras."""

_OWN_UNITS: Mapping[type[Component], str] = {
    schema.MaeMetric: "y_std * abs(y - z)",
    schema.MseMetric: "(y_std * (y - z)) ** 2",
}
_OF_SCALED = (schema.MaeMetric, schema.MseMetric, schema.R2)
"""Those that are written for targets in their own units."""


def optimizer_lines(spec: schema.ExperimentSpec) -> list[str]:
    """The statement that makes the optimizer, and those that say what does not decay."""
    own: Any = spec.optimizer
    if type(own) not in OPTIMIZERS:
        raise refuse(f"the optimizer {own.kind}", can_write(OPTIMIZERS))
    name, options = OPTIMIZERS[type(own)]
    said = [repr(own.learning_rate)]
    said += [text for text in [options_text(own, options)] if text]
    clip = spec.gradient_clip
    if clip is not None:
        said.append(
            f"global_clipnorm={clip.norm!r}" if clip.norm is not None else f"clipvalue={clip.value!r}"
        )
    lines = [f"optimizer = keras.optimizers.{name}({', '.join(said)})"]
    if own.exclude_from_weight_decay:
        lines.append('optimizer.exclude_from_weight_decay(var_names=["bias"])')
    return lines


def loss_text(head: Head) -> str:
    """The loss, as `compile` takes it."""
    loss = head.spec.own_loss
    if type(loss) not in LOSSES:
        raise refuse(f"the loss {loss.kind}", can_write(LOSSES))
    given = options_text(loss, list(type(loss).model_fields))
    return f"keras.losses.{LOSSES[type(loss)]}({given})" if given else f'"{loss.kind}"'


def own_metric(head: Head, metric: Any) -> str:
    """What the function of a metric of scaled targets is called."""
    return f"{identifier(head.name)}_{metric.kind}" if head.name else str(metric.kind)


def own_metrics(head: Head) -> list[str]:
    """Functions for metrics of scaled targets in the targets' own units."""
    lines, y_std = [], f'scales["{head.name}"][1]' if head.name else "y_std"
    for metric in head.spec.metrics if head.scales else ():
        if type(metric) in _OWN_UNITS:
            lines += [
                "",
                f"def {own_metric(head, metric)}(y, z):",
                '    """In the target\'s own units."""',
                f"    return {_OWN_UNITS[type(metric)].replace('y_std', y_std)}",
            ]
    return [*lines, ""] if lines else []


def metric_texts(head: Head) -> list[str]:
    """The metrics, as `compile` takes them."""
    made = []
    for metric in head.spec.metrics:
        if type(metric) not in METRICS:
            raise refuse(f"the metric {metric.kind} with Keras", can_write(METRICS))
        if head.scales and not isinstance(metric, _OF_SCALED):
            raise refuse(
                f"the metric {metric.kind} of scaled targets with Keras",
                "Leave out the step of targets or the metric, or use --to pytorch.",
            )
        made.append(METRICS[type(metric)](head, metric))
    return made
