"""An ensemble that trains as one network, and a linear model that is averaged into networks: which layers,
last activations and losses they can have."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import all_layers, read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.ports import output_views
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.wording import listing


def members_can_have_the_layers(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The members share rows of numbers, and what makes or reads words, steps or images is not among it."""
    if spec.ensemble is None:
        return
    for location, layer in all_layers(spec):
        if isinstance(layer, (schema.Merge, schema.Merging, schema.From, schema.Use)):
            continue
        if getattr(layer, "ensemble", "refused") == "refused":
            yield Finding(
                (*location, layer.kind),
                f"{layer.kind} cannot be part of an ensemble yet, which has dense layers, activations, "
                "dropout, noise and normalization; remove it, or remove `ensemble` and train several "
                "networks (nnrun train --seeds)",
            )


def outputs_can_be_averaged(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The mean of what some activations give is nothing that they could give."""
    if spec.ensemble is None:
        return
    graph, _ = read_graph(spec)
    for index in graph.outputs.values():
        node = graph.nodes[index]
        name = getattr(node.layer, "activation", None)
        if isinstance(node.layer, schema.Dense) and name not in schema.Ensemble.averages:
            yield Finding(
                (*node.location, node.layer.kind, "activation"),
                f"an ensemble predicts the mean of what its members give, which {name} could not give; use "
                f"{listing(schema.Ensemble.averages)}",
            )


def losses_can_be_averaged(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`ctc` reads a sequence from its scores, and no mean of scores stands for several readings."""
    if spec.ensemble is None:
        return
    for port, view in output_views(spec).items():
        if isinstance(view.loss, schema.Ctc):
            yield Finding(
                ("outputs", port, "loss") if spec.outputs else ("loss",),
                "an ensemble cannot be trained by ctc: no mean of its members' scores stands for the "
                "sequences that they read; remove `ensemble`, or use another loss",
            )


def linear_member_suits_the_network(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A linear model becomes part of the last layer of a list of layers, of the columns of a table."""
    if spec.linear_member and (said := _why_no_linear_member(spec)):
        yield Finding(("linear_member",), f"linear_member {said}; remove it")
    elif spec.linear_member and spec.nested is not None:
        said = (
            "the outer folds of `nested` score the networks alone, without the linear models that "
            "`nnrun final --members folds` averages into them"
        )
        yield Finding(("linear_member",), said, severity="warning")
    elif spec.linear_member and not spec.validation.has_folds:
        said = (
            "it has no effect without folds: `nnrun final --members folds` averages a linear model into each "
            "network of a k-fold run (nnrun kfold)"
        )
        yield Finding(("linear_member",), said, severity="warning")


def _why_no_linear_member(spec: schema.ExperimentSpec) -> str:
    if not isinstance(spec.layers, list) or spec.inputs or spec.outputs or spec.shared:
        return "is for a network of one list of layers, without `inputs`, `outputs` and `shared`"
    if not isinstance(spec.dataset, schema.NamedColumns):
        return f"is for the columns of a table, and {spec.dataset.kind} has none"
    if spec.ensemble is not None:
        return "is for single networks, and the members of `ensemble` share theirs"
    last = spec.layers[-1]
    if not isinstance(last, schema.Dense) or len(spec.layers) < 2:
        return "is for hidden layers and, after them, a dense layer"
    if spec.loss is None or (model := schema.linear_model_of(spec.loss)) is None:
        return f"is for losses that ridge or logistic regression suit, and {_kind(spec.loss)} is none"
    if last.activation not in (("linear",) if model == "ridge" else ("sigmoid", "softmax")):
        return f"cannot be averaged before the last activation {last.activation}"
    if spec.calibrate is not None or (spec.threshold is not None and spec.threshold.maximize is not None):
        return "changes the networks after `calibrate` and `threshold` were fitted to them"
    return ""


def _kind(loss: schema.Component | None) -> str:
    return "no loss" if loss is None else str(loss.kind)


RULES: tuple[Rule, ...] = (
    members_can_have_the_layers,
    outputs_can_be_averaged,
    losses_can_be_averaged,
    linear_member_suits_the_network,
)
