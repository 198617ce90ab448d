"""What nested cross-validation needs, and what cannot be nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nnrun.spec import schema
from nnrun.spec.lint.finding import Finding
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.outer_folds import outer_validation
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.score_columns import INNER
from nnrun.spec.wording import quoted

_SWEPT = ("seed", "dataset", "validation", "nested")
"""Keys that decide which rows the outer folds have."""


def there_is_a_choice_to_nest(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Validation chooses, and can be made anew within the training rows of an outer fold."""
    at, inner = ("nested",), spec.validation
    if isinstance(inner, schema.NoValidation):
        said = "nested makes the choice of validation anew in each outer fold, and validation is none"
        yield Finding(at, f"{said}; set validation, such as `validation: holdout`, or remove nested")
    elif isinstance(inner, schema.Holdout) and inner.column is not None:
        said = (
            f"the validation rows are those that column {quoted(inner.column)} marks, and no others can be "
            "set apart for an outer fold"
        )
        yield Finding(at, f"{said}; use kfold or a holdout by fraction, or remove nested")


def outer_folds_are_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each outer fold has a row, and what is said of the folds suits rows in order of time, or classes."""
    nested, rows = spec.nested, facts.train_rows
    assert nested is not None, "rules of nested are asked of specs that have it"
    outer = outer_validation(spec)
    if isinstance(outer, schema.TimeSeries):
        for key in ("shuffle", "stratify"):
            if getattr(nested, key):
                said = f"validation takes the last rows, and so do outer folds: {key} has no meaning"
                yield Finding(("nested", key), f"{said}; remove it, or change validation")
        group = spec.dataset.group if isinstance(spec.dataset, schema.NamedColumns) else None
        if group is not None and isinstance(spec.validation, schema.Holdout):
            said = "validation takes the last rows, and outer folds cut by time would split groups"
            yield Finding(("nested",), f"{said}; set validation.holdout.shuffle to true, or remove nested")
    parts = outer.k + 1 if isinstance(outer, schema.TimeSeries) else outer.k
    if rows is not None and parts > rows:
        said = f"{dataset_name(spec)} has {rows:,} training rows, too few for {outer.k:,} outer folds"
        yield Finding(("nested", "k"), f"{said}; lower k")
    if nested.stratify is True and facts.task == "regression":
        said = f"stratify needs classes, and {dataset_name(spec)} has a number to predict; remove it"
        yield Finding(("nested", "stratify"), said)


def members_are_several_folds(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """An average takes two networks or more within each outer fold."""
    if spec.nested is not None and spec.nested.members and not spec.validation.has_folds:
        said = f"it averages the networks of inner folds, and validation is {spec.validation.kind}"
        yield Finding(("nested", "members"), f"{said}; set validation to kfold, or remove members")


def rates_follow_from_the_epoch(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """What is scored on an outer fold trains without validation rows, which no schedule can then watch."""
    if spec.nested is not None and spec.nested.members:
        return  # nothing is trained anew
    for place, part in enumerate(spec.learning_rate_schedule):
        watched = part.monitor if isinstance(part, schema.ReduceOnPlateau) else ""
        if watched.startswith(("val_", INNER)):
            said = (
                f"it watches {watched}, and what nested scores on an outer fold trains without such rows; "
                "monitor loss, use a schedule that follows from the epoch, or remove nested"
            )
            yield Finding(("learning_rate_schedule", place, part.kind, "monitor"), said)


def sweep_leaves_the_outer_folds_alone(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """All trials have the same outer folds, or a choice would have seen rows of another trial's."""
    for key in spec.sweep.over if spec.sweep is not None else ():
        for path in schema.swept_paths(key):
            first = path.partition(".")[0]
            if first in _SWEPT:
                said = f"{first} decides which rows the outer folds of nested have, and all trials share them"
                yield Finding(("sweep", "over", key), f"{said}; remove this key, or nested")


RULES: tuple[Callable[[schema.ExperimentSpec, DatasetFacts], Iterator[Finding]], ...] = (
    there_is_a_choice_to_nest,
    outer_folds_are_possible,
    members_are_several_folds,
    rates_follow_from_the_epoch,
    sweep_leaves_the_outer_folds_alone,
)
