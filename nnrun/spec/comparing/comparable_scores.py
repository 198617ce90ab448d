"""Whether a score means the same under two specs, and where not, why.

`nnrun compare` asks this of runs, and a sweep of its trials before the first of them is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.spec import schema
from nnrun.spec.comparing.spec_differences import spec_differences
from nnrun.spec.graph import all_layers, graph_of
from nnrun.spec.ports import loss_weights, output_views, target_of
from nnrun.spec.score_columns import metric_column


def other_rows(
    first: schema.ExperimentSpec, second: schema.ExperimentSpec, *, same_files: bool = False
) -> str | None:
    """Why two specs do not have the same training and test rows; None where they do.

    Args:
        first, second: resolved specs.
        same_files: the files are known to hold the same, wherever they lie.
    """
    parts = [_rows_of(spec.dataset, same_files) for spec in (first, second)]
    if first.outputs and second.outputs and not any(getattr(p, "drop_missing_target", True) for p in parts):
        # Which targets there are decides about no row: each measure is of one output, and asks for its own.
        parts = [part.model_copy(update={"target": []}) for part in parts]
    return _first_difference("dataset", parts)


def other_split(first: schema.ExperimentSpec, second: schema.ExperimentSpec) -> str | None:
    """Why two specs do not split the same rows into the same validation rows, their seeds apart."""
    return _first_difference("validation", [_without_repeats(spec.validation) for spec in (first, second)])


def _first_difference(key: str, parts: Sequence[schema.Component]) -> str | None:
    differences = spec_differences(parts)
    path = differences[0].path if differences else ""
    return f"{f'{key}.{path}' if path else key} differs" if differences else None


def other_measure(first: schema.ExperimentSpec, second: schema.ExperimentSpec, measure: str) -> str | None:
    """Why a measure (without `val_`) does not mean the same under two specs; None where it does.

    The loss includes the penalty of the regularizers, as Keras's does, counts rows by their weights, and is
    computed from scaled targets, where they are; metrics are in the targets' own units. Class weights change
    the training loss alone.
    """
    if first.outputs or second.outputs:
        return _other_measure_of_outputs(first, second, measure)
    return _other_measure_of_view(first, second, measure)


def _other_measure_of_view(
    first: schema.ExperimentSpec, second: schema.ExperimentSpec, measure: str
) -> str | None:
    if measure == "loss":
        return _other_loss(first, second)
    metrics = [[m for m in spec.metrics if metric_column(m) == measure] for spec in (first, second)]
    if metrics[0] != metrics[1]:
        return "the metric's parameters differ"
    metric = metrics[0][0] if metrics[0] else None
    if isinstance(metric, schema.NumberMetric) and _one_hot(first) != _one_hot(second):
        return "only one of the two has one-hot targets, and the metric is a mean over their columns"
    outputs = {_single_output(first), _single_output(second)}
    if isinstance(metric, schema.ClassMetric) and metric.mean_over_classes and outputs == {True, False}:
        return (
            "with one output the metric is that of the positive class, with several a mean over the classes"
        )
    return None


def _other_measure_of_outputs(
    first: schema.ExperimentSpec, second: schema.ExperimentSpec, measure: str
) -> str | None:
    """The same of specs of which one names its outputs."""
    ours, theirs = output_views(first), output_views(second)
    if measure == "loss" and loss_weights(first) != loss_weights(second):
        return "the outputs differ, or what their losses count in the total"
    ports = [port for port in ours if measure == "loss" or measure.startswith(f"{port}_")]
    if not ports or any(port not in theirs for port in ports):
        return "only one of the two has this output"
    for port in ports:
        if target_of(first, port) != target_of(second, port):
            return "the output has another target"
        own = measure if measure == "loss" else measure.removeprefix(f"{port}_")
        reason = _other_measure_of_view(ours[port], theirs[port], own)
        if reason is not None:
            return reason
    return None


def _other_loss(first: schema.ExperimentSpec, second: schema.ExperimentSpec) -> str | None:
    losses = [_loss_of_classes(spec.own_loss) or spec.own_loss for spec in (first, second)]
    if losses[0] != losses[1]:
        return "the losses are different ones"
    if _loss_of_classes(first.own_loss) is None and _one_hot(first) != _one_hot(second):
        return "only one of the two has one-hot targets, and the loss is a mean over their columns"
    if _penalties(first) != _penalties(second):
        return "the loss includes the regularizers' penalty, and the regularizers differ"
    scales = [_target_scale(spec) for spec in (first, second)]
    if scales[0] != scales[1]:
        if None in scales and any(isinstance(scale, schema.StandardizeTargets) for scale in scales):
            return "only one of the two standardizes the targets, so that the units of the loss differ"
        return "the targets are scaled differently, so that the units of the loss differ"
    if first.train_fraction != second.train_fraction and _scale_is_fitted(scales[0]):
        return "each part of the training rows scales the targets its own way, so that the units differ"
    if getattr(first.dataset, "weight", None) != getattr(second.dataset, "weight", None):
        return "the loss counts rows by their weights, and the weights differ"
    return None


def _loss_of_classes(loss: schema.Component) -> tuple[Any, ...] | None:
    """What two cross-entropies have in common that differ in the form of their targets alone."""
    if isinstance(loss, (schema.CategoricalCrossentropy, schema.SparseCategoricalCrossentropy)):
        return ("crossentropy", getattr(loss, "label_smoothing", 0.0))
    return None


def _penalties(spec: schema.ExperimentSpec) -> list[schema.Component | None]:
    penalties: list[schema.Component | None] = [
        regularizer for _, layer in all_layers(spec) for regularizer in schema.regularizers(layer).values()
    ]
    return penalties if any(penalties) else []


def _target_scale(spec: schema.ExperimentSpec) -> schema.Component | None:
    """The step that changes the units of the targets."""
    step = spec.preprocessing.targets
    form_alone = (schema.OneHotTargets, schema.ClassIndexTargets, schema.NoTargetStep)
    return None if step is None or isinstance(step, form_alone) else step


def _scale_is_fitted(step: schema.Component | None) -> bool:
    """Whether the training rows decide the units of scaled targets."""
    fitted = isinstance(step, (schema.StandardizeTargets, schema.QuantileTargets))
    return fitted or (isinstance(step, schema.Log1pTargets) and step.standardize)


def _one_hot(spec: schema.ExperimentSpec) -> bool:
    return isinstance(spec.preprocessing.targets, schema.OneHotTargets)


def _single_output(spec: schema.ExperimentSpec) -> bool | None:
    """Whether the network has one output; None where the spec alone does not tell."""
    last = graph_of(spec).first_output
    return last.units == 1 if isinstance(last, schema.Dense) else None


def _rows_of(dataset: Any, same_files: bool) -> Any:
    """A data set without what changes what its rows hold, and not which rows there are."""
    neutral: dict[str, Any] = {}
    if isinstance(dataset, (schema.Imdb, schema.Reuters)):
        neutral = {"num_words": None, "skip_top": 0}
    if isinstance(dataset, schema.NamedColumns):
        types = {column: type_ for column, type_ in dataset.types.items() if column in dataset.target}
        neutral = {"types": types}
        if not dataset.drop_missing:  # else the inputs decide which rows are complete
            neutral |= {"inputs": None, "weight": None}
    if same_files and isinstance(dataset, schema.WithPath):
        neutral["path"] = ""
    return dataset.model_copy(update=neutral)


def _without_repeats(validation: schema.Component) -> schema.Component:
    """More repeats add folds, and leave those before as they are."""
    if isinstance(validation, schema.KFold):
        return validation.model_copy(update={"repeats": 1})
    return validation


def scored_on_rows_of_its_own(first: schema.ExperimentSpec, second: schema.ExperimentSpec) -> bool:
    """Whether the seeds of two specs draw different validation rows."""
    return first.seed != second.seed and any(s.validation.drawn_by_seed for s in (first, second))
