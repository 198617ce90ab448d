"""Classes read from steps: the loss `ctc`, its metric, and what its output must be."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name, output_index, targets_kind
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.shapes import masked_nodes, row_shapes, trace


def ctc_reads_steps(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The output is (steps, K), without activation, and has a class for the blank."""
    if not isinstance(spec.own_loss, schema.Ctc):
        return
    if facts.task is not None:
        has = "a number to predict" if facts.task == "regression" else "one class for each row"
        said = (
            f"ctc reads a list of classes from each row, and {dataset_name(spec)} has {has}; use another loss"
        )
        yield Finding(("loss", "ctc"), said)
        return
    graph, _ = read_graph(spec)
    shapes, _ = trace(graph, row_shapes(spec, facts))
    index = output_index(spec, graph)
    last = None if index is None else graph.nodes[index].layer
    if index is None or not isinstance(last, schema.Dense):
        return  # a finding of its own
    node, shape = graph.nodes[index], shapes[index]
    at = (*node.location, last.kind)
    if shape is not None and len(shape) == 1:
        yield Finding(
            at,
            f"ctc reads classes from steps, and the last layer gives {shape_text(shape)} per row; let it "
            "take (steps, features): set return_sequences: true in the recurrent layer before it",
        )
    if last.activation != "linear":
        said = f"ctc takes the values before any activation, and the last layer has {last.activation}; "
        yield Finding((*at, "activation"), f"{said}leave it out")
    if last.units < 2:
        said = "ctc needs a unit for each class and one for the blank, so at least 2"
        yield Finding((*at, "units"), f"{said}; found {last.units}")
    if masked_nodes(graph)[index]:
        said = "ctc reads masked steps as well, as Keras's does: they can say the blank"
        yield Finding(at, said, "warning")


def ctc_and_its_metric_go_together(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`character_error_rate` measures what `ctc` reads, and nothing else does."""
    of_ctc = isinstance(spec.own_loss, schema.Ctc)
    for position, metric in enumerate(spec.metrics):
        if isinstance(metric, schema.CharacterErrorRate) is not of_ctc:
            said = (
                f"{metric.kind} does not measure lists of classes, which ctc reads; use character_error_rate"
                if of_ctc
                else f"character_error_rate measures what ctc reads, and the loss is {spec.own_loss.kind}"
            )
            yield Finding(("metrics", position, metric.kind), said)
    if of_ctc and spec.class_weight is not None:
        said = "class_weight weighs rows by their class, and ctc reads several from each; remove it"
        yield Finding(("class_weight",), said)
    if not of_ctc and targets_kind(spec) == "characters":
        said = f"characters makes lists of classes for ctc, and the loss is {spec.own_loss.kind}"
        yield Finding(("preprocessing", "targets", "characters"), said)
    if of_ctc and targets_kind(spec) not in ("class_index", "characters", "none"):
        kind = targets_kind(spec)
        said = f"ctc compares with lists of classes, and {kind} makes none; remove the key"
        yield Finding(("preprocessing", "targets", kind), said)


RULES: tuple[Rule, ...] = (ctc_reads_steps, ctc_and_its_metric_go_together)
