"""Learning-rate schedules, gradient clipping and class weights that mean something."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.metric_rules import not_a_column
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.reading.locate import Location
from nnrun.spec.wording import counted


def _at(position: int, part: schema.Component, *key: str) -> Location:
    return ("learning_rate_schedule", position, part.kind, *key)


def schedule_is_a_warmup_and_one_other(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """One schedule decides the rate of an epoch."""
    for position, part in enumerate(spec.learning_rate_schedule[1:], start=1):
        first = spec.learning_rate_schedule[0]
        if isinstance(part, schema.Warmup):
            yield Finding(
                _at(position, part), "a warm-up comes first; put it at the beginning, and only once"
            )
        elif position > 1 or not isinstance(first, schema.Warmup):
            yield Finding(
                _at(position, part),
                "only one schedule can set the rate of an epoch; keep one, with or without a warmup "
                "before it",
            )
        elif isinstance(part, schema.Rates):
            yield Finding(
                _at(position, part),
                "rates sets the rate of every epoch, so a warm-up has no effect; remove one",
            )


def schedule_watches_a_column(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`reduce_on_plateau` watches a column that the history will have."""
    for position, part in enumerate(spec.learning_rate_schedule):
        if isinstance(part, schema.ReduceOnPlateau):
            message = not_a_column(spec, part.monitor, "reduce_on_plateau")
            if message is not None:
                yield Finding(_at(position, part, "monitor"), message)


def schedule_does_something(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A plateau can reduce the rate, and a warm-up ends before the training does."""
    rate = spec.optimizer.learning_rate
    for position, part in enumerate(spec.learning_rate_schedule):
        if isinstance(part, schema.ReduceOnPlateau) and part.min_learning_rate >= rate:
            yield Finding(
                _at(position, part, "min_learning_rate"),
                f"the optimizer's learning rate is {rate:g}, so it cannot be reduced to "
                f"{part.min_learning_rate:g}; use a smaller min_learning_rate",
            )
        elif isinstance(part, schema.Warmup) and part.epochs >= spec.epochs:
            yield Finding(
                _at(position, part, "epochs"),
                f"the warm-up takes {counted(part.epochs, 'epoch')} of {spec.epochs}: no epoch has the "
                "full learning rate",
                "warning",
            )


def clip_has_one_limit(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A norm or a value, not both."""
    clip = spec.gradient_clip
    if clip is not None and (clip.norm is None) == (clip.value is None):
        found = "neither is given" if clip.norm is None else "both are given"
        yield Finding(
            ("gradient_clip",),
            f"gradients are clipped by norm or by value, and {found}; give exactly one of them",
        )


def class_weights_are_for_classes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """There are classes, and their labels are among those of the data set."""
    if spec.class_weight is None:
        return
    name = dataset_name(spec)
    if facts.task == "regression":
        yield Finding(
            ("class_weight",), f"class_weight is for classes, and {name} has a number to predict; remove it"
        )
        return
    weights = spec.class_weight if isinstance(spec.class_weight, dict) else {}
    for label in weights:
        if facts.classes is not None and label.isdecimal() and int(label) >= facts.classes:
            yield Finding(
                ("class_weight", label), f"{name} has classes 0 to {facts.classes - 1}; found {label}"
            )
    if weights and not any(weights.values()) and len(weights) == facts.classes:
        yield Finding(("class_weight",), "all classes have the weight 0, so nothing would be learned")


RULES: tuple[Rule, ...] = (
    schedule_is_a_warmup_and_one_other,
    schedule_watches_a_column,
    schedule_does_something,
    clip_has_one_limit,
    class_weights_are_for_classes,
)
