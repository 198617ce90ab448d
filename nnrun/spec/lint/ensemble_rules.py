"""An ensemble that trains as one network: which layers, last activations and losses it can have."""

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


RULES: tuple[Rule, ...] = (
    members_can_have_the_layers,
    outputs_can_be_averaged,
    losses_can_be_averaged,
)
