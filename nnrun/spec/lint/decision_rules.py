"""Calibration and threshold: what they are for, and on which rows they are fitted."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name, output_index, output_of
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.shapes import row_shapes, trace
from nnrun.spec.wording import counted


def _keys(spec: schema.ExperimentSpec) -> list[str]:
    return [key for key in ("calibrate", "threshold") if getattr(spec, key) is not None]


def _has_steps(spec: schema.ExperimentSpec, facts: DatasetFacts) -> bool:
    """Whether the output has steps, as far as that is known without the data."""
    graph, _ = read_graph(spec)
    index = output_index(spec, graph)
    shape = None if index is None else trace(graph, row_shapes(spec, facts))[0][index]
    return shape is not None and len(shape) > 1


def decisions_are_for_classes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A calibration takes probabilities of classes, a threshold that of the second of two."""
    output = output_of(spec)
    for key in _keys(spec):
        if facts.task == "regression":
            said = f"{key} is for classes, and {dataset_name(spec)} has a number to predict; remove it"
        elif output is None:
            continue
        elif schema.is_of_scores(spec.own_loss):
            said = f"{key} takes probabilities, and {spec.own_loss.kind} learns scores; remove it"
        elif output.activation not in ("sigmoid", "softmax"):
            said = (
                f"{key} takes probabilities, and the last layer's activation is {output.activation}; use "
                f"sigmoid or softmax there, or remove {key}"
            )
        elif output.activation == "sigmoid" and output.units > 1:
            said = (
                f"{key} is for one class in each row, and {output.units} sigmoid units tell of each label "
                "whether it is there; remove it"
            )
        elif _has_steps(spec, facts):
            said = (
                f"{key} is for one class in each row, and the last layer tells the class of each step; "
                "remove it"
            )
        elif output.units > 1 and key == "threshold":
            said = (
                "a threshold is for two classes with one sigmoid unit, and of the last layer's "
                f"{output.units} units the most probable class is predicted; remove it"
            )
        else:
            continue
        yield Finding((key,), said)


def method_suits_the_classes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`platt` and `isotonic` take the logit of one sigmoid output."""
    output, method = output_of(spec), spec.calibrate
    if method is None or output is None or output.activation != "softmax" or not method.two_classes:
        return
    yield Finding(
        ("calibrate",),
        f"{method.kind} is for two classes with one sigmoid unit, and the last layer has "
        f"{counted(output.units, 'unit')} with softmax; use temperature, which is for any number of classes",
    )


def decisions_have_rows_to_be_fitted_on(
    spec: schema.ExperimentSpec, facts: DatasetFacts
) -> Iterator[Finding]:
    """What is left open is fitted on validation rows, and never on rows that trained."""
    if not isinstance(spec.validation, schema.NoValidation):
        return
    open_ = {
        "calibrate": spec.calibrate is not None and not spec.calibrate.is_fitted,
        "threshold": spec.threshold is not None and spec.threshold.maximize is not None,
    }
    unsuited = {finding.location[0] for finding in decisions_are_for_classes(spec, facts)}
    for key, is_open in open_.items():
        if is_open and key not in unsuited:
            example = "temperature: 1.5" if key == "calibrate" else "at: 0.4"
            yield Finding(
                (key,),
                f"{key} is fitted on rows that the network was not trained on, and validation is none; set "
                f"validation, such as kfold or holdout, or give the value, such as {key}: {{{example}}}",
            )


def calibration_is_whole(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """All parameters of a method are given, or none."""
    method = spec.calibrate
    if isinstance(method, schema.Platt) and (method.slope is None) != (method.intercept is None):
        lacks = "slope" if method.slope is None else "intercept"
        said = f"slope and intercept belong together, and {lacks} is not given; give both, or neither"
        yield Finding(("calibrate", method.kind), said)
    if not isinstance(method, schema.Isotonic):
        return
    place, x, y = ("calibrate", method.kind), method.logits, method.probabilities
    if len(x) != len(y):
        said = f"each point of the curve is a logit and a probability; found {len(x)} and {len(y)}"
        yield Finding(place, said)
    if sorted(set(x)) != x:
        yield Finding((*place, "logits"), "logits must ascend, all different")
    if sorted(y) != y:
        yield Finding((*place, "probabilities"), "probabilities must not fall from one logit to the next")


def threshold_is_given_or_chosen(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A number, or what it maximizes."""
    threshold = spec.threshold
    if threshold is not None and (threshold.at is None) == (threshold.maximize is None):
        found = "neither is given" if threshold.at is None else "both are given"
        yield Finding(
            ("threshold",),
            f"a threshold is a number, or chosen to maximize a metric, and {found}; write threshold: 0.4, or "
            "threshold: {maximize: f1}",
        )


RULES: tuple[Rule, ...] = (
    decisions_are_for_classes,
    method_suits_the_classes,
    decisions_have_rows_to_be_fitted_on,
    calibration_is_whole,
    threshold_is_given_or_chosen,
)
