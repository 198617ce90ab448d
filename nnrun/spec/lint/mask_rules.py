"""Masks: who makes one, and where it gets lost."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import all_layers, read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.masks import masked_nodes, taken_masks
from nnrun.spec.reading.locate import Location
from nnrun.spec.schema import DatasetFacts


def masks_do_not_get_lost(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """What makes a mask is meant to have masked steps left out; a layer that knows none takes them in."""
    graph, _ = read_graph(spec)
    masked = masked_nodes(graph)
    said = set()
    for index, node in enumerate(graph.nodes):
        layer, taken = node.layer, taken_masks(node.sources, masked)
        if not any(taken) or masked[index] or node.location in said:
            continue
        said.add(node.location)  # of a shared chain once
        at = (*node.location, layer.kind)
        if isinstance(layer, schema.Merging):
            reason = "knows no masks" if all(taken) else "has no mask unless all that it takes have one"
            said_of = f"{layer.kind} {reason}: behind it masked steps count like any other"
            yield Finding(at, f"{said_of}; as Keras has it", "warning")
        elif not isinstance(layer, schema.NetworkLayer) or layer.mask == "drops":
            yield Finding(
                at,
                f"{layer.kind} knows no masks: in it and behind it masked steps count like any other, as in "
                "Keras; put a recurrent layer or global_average_pooling before it to leave them out",
                "warning",
            )


def padding_is_what_is_masked(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`mask_zero` masks word index 0, so that `pad` has to fill with it."""
    value = next((step.value for step in spec.preprocessing.inputs if isinstance(step, schema.Pad)), 0)
    for location, layer in _layers_of_input(spec):
        if value and isinstance(layer, schema.Embedding) and layer.mask_zero:
            yield Finding(
                (*location, layer.kind, "mask_zero"),
                f"mask_zero masks word index 0, and pad fills with {value}; leave out pad's value, which is "
                "0 then, or mask_zero",
            )


def _layers_of_input(spec: schema.ExperimentSpec) -> Iterator[tuple[Location, schema.Component]]:
    """The layers that may take the words of the input that is looked at: all; of several inputs, those that
    take it as it is."""
    if not spec.inputs:
        yield from all_layers(spec)
        return
    graph, _ = read_graph(spec)
    for index in graph.takers.get(graph.inputs[0], ()):
        yield graph.nodes[index].location, graph.nodes[index].layer


RULES: tuple[Rule, ...] = (masks_do_not_get_lost, padding_is_what_is_masked)
