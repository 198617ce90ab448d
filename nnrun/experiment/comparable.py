"""Whether scores of two runs are measures of the same thing on the same rows, and where not, why."""

from __future__ import annotations

from nnrun.experiment.run_scores import RunScores
from nnrun.spec import schema
from nnrun.spec.columns import metric_column
from nnrun.spec.differences import spec_differences
from nnrun.spec.folds import has_folds

# Keys of a data set that change what the rows hold, not which rows there are. The hash stands for the path.
_NO_ROWS = ("num_words", "skip_top", "path")


def other_data(first: RunScores, second: RunScores) -> str | None:
    """Why two runs do not have the same training and test rows; None where they do."""
    if first.smoke != second.smoke:
        return "one of the two is a smoke run, on a few rows"
    if [(d.sha256, d.rows) for d in first.data] != [(d.sha256, d.rows) for d in second.data]:
        return "they were trained on other data (the recorded hashes or numbers of rows differ)"
    paths = [difference.path for difference in spec_differences([first.spec.dataset, second.spec.dataset])]
    paths = [path for path in paths if path.rpartition(".")[2] not in _NO_ROWS]
    return f"{_below('dataset', paths)} differs" if paths else None


def other_validation_rows(first: RunScores, second: RunScores) -> str | None:
    """Why networks of the same number were not validated on the same rows; None where they were."""
    reason = other_data(first, second)
    if reason is not None:
        return reason
    pair = [_without_repeats(run.spec.validation) for run in (first, second)]
    paths = [difference.path for difference in spec_differences(pair)]
    if paths:
        return f"{_below('validation', paths)} differs"
    by_folds = has_folds(first.spec.validation)
    if by_folds and drawn_by_seed(first.spec.validation) and first.spec.seed != second.spec.seed:
        return "the seed draws the folds, and the seeds differ"
    return None


def drawn_by_seed(validation: schema.Component) -> bool:
    """Whether the seed decides which rows validate."""
    if isinstance(validation, schema.Holdout):
        return validation.fraction is not None and (validation.shuffle or validation.stratify)
    return isinstance(validation, schema.KFold) and validation.shuffle


def other_measure(first: RunScores, second: RunScores, measure: str) -> str | None:
    """Why a measure (without `val_`) does not mean the same in two runs; None where it does.

    The loss includes the penalty of the regularizers, as Keras's does, and is computed of standardized
    targets, where they are; metrics are in the targets' own units.
    """
    a, b = first.spec, second.spec
    if measure == "loss":
        same_family = all(
            isinstance(loss, schema.SparseCategoricalCrossentropy)
            or (isinstance(loss, schema.CategoricalCrossentropy) and not loss.label_smoothing)
            for loss in (a.loss, b.loss)
        )
        if a.loss != b.loss and not same_family:
            return "the losses are different ones"
        if _penalties(a) != _penalties(b):
            return "the loss includes the regularizers' penalty, and the regularizers differ"
        scaled = [_target_scale(spec) for spec in (a, b)]
        if scaled[0] != scaled[1]:
            standardize = isinstance(scaled[0] or scaled[1], schema.StandardizeTargets) and None in scaled
            how = "only one of the two standardizes" if standardize else "the two scale"
            differently = "" if standardize else " differently"
            return f"{how} the targets{differently}, so that the units of the loss differ"
    else:
        metrics = [[m for m in spec.metrics if metric_column(m) == measure] for spec in (a, b)]
        if metrics[0] != metrics[1]:
            return "the metric's parameters differ"
    return None


def overlap(run: RunScores) -> float:
    """Validation rows per training row where the networks' training rows overlap; 0 where they share all.

    Networks that share their validation rows differ by chance in training alone, and are independent.
    """
    validation = run.spec.validation
    if isinstance(validation, schema.KFold):
        return 1 / (validation.k - 1)
    if isinstance(validation, schema.Holdout) and drawn_by_seed(validation):
        assert validation.fraction is not None, "a resolved spec has its fraction"
        return validation.fraction / (1 - validation.fraction)
    return 0.0


def _target_scale(spec: schema.ExperimentSpec) -> schema.Component | None:
    """What the numbers to predict go through before the loss; None where they are as they are."""
    step = spec.preprocessing.targets
    return step if isinstance(step, (schema.StandardizeTargets, schema.Log1pTargets)) else None


def _without_repeats(validation: schema.Component) -> schema.Component:
    """More repeats add folds, and leave those before as they are."""
    return (
        validation.model_copy(update={"repeats": 1}) if isinstance(validation, schema.KFold) else validation
    )


def _penalties(spec: schema.ExperimentSpec) -> list[schema.Component | None]:
    penalties: list[schema.Component | None] = [
        layer.kernel_regularizer for layer in spec.layers if isinstance(layer, schema.KernelLayer)
    ]
    return penalties if any(penalties) else []


def _below(key: str, paths: list[str]) -> str:
    return f"{key}.{paths[0]}" if paths[0] else key
