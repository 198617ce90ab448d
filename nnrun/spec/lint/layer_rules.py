"""Layers: options of weights that cannot be meant, and masks, who makes one and where it gets lost."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import all_layers, read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.shapes import masked_nodes, taken_masks


def regularizers_do_something(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`l1_l2` is 0 and 0 unless it is told otherwise."""
    for location, layer in all_layers(spec):
        for name, regularizer in schema.regularizers(layer).items():
            if isinstance(regularizer, schema.L1L2) and regularizer.l1 == regularizer.l2 == 0:
                yield Finding(
                    (*location, layer.kind, name, "l1_l2"),
                    "l1 and l2 are both 0, so nothing is regularized; give one of them a value",
                    "warning",
                )


def constraints_fit_their_arrays(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A constraint's axes are those that Keras's array has."""
    for here, constraint, rank in _options(spec, "constraint"):
        if isinstance(constraint, schema.MinMaxNorm) and constraint.min_value > constraint.max_value:
            yield Finding(
                (*here, constraint.kind, "min_value"),
                f"min_value {constraint.min_value:g} is above max_value {constraint.max_value:g}; exchange "
                "them",
            )
        beyond = [axis for axis in getattr(constraint, "axis", ()) if axis >= rank]
        if beyond:
            last = "0 alone" if rank == 1 else f"0 to {rank - 1}"
            yield Finding(
                (*here, constraint.kind, "axis"),
                f"there is no axis {beyond[0]}: Keras's array has the axes {last}",
            )


def initializers_have_a_range(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A uniform distribution goes from the smaller to the larger number."""
    for here, initializer, _ in _options(spec, "initializer"):
        if isinstance(initializer, schema.RandomUniform) and initializer.minval > initializer.maxval:
            yield Finding(
                (*here, initializer.kind, "minval"),
                f"minval {initializer.minval:g} is above maxval {initializer.maxval:g}; exchange them",
            )


def _options(spec: schema.ExperimentSpec, name: str) -> Iterator[tuple[Location, schema.Component, int]]:
    """Where an option such as `kernel_constraint` stands, what it says, and how many axes its array has."""
    for location, layer in all_layers(spec):
        for array, rank in getattr(layer, "ranks", {}).items():
            option = getattr(layer, f"{array}_{name}", None)
            if option is not None:
                yield (*location, layer.kind, f"{array}_{name}"), option, rank


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


def options_of_units_need_units(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`periodic` has kernels and activations with `units` alone."""
    for location, layer in all_layers(spec):
        if not isinstance(layer, schema.Periodic) or layer.units is not None:
            continue
        for name in ("activation", "kernel_initializer", "kernel_regularizer"):
            if getattr(layer, name) != type(layer).model_fields[name].default:
                yield Finding(
                    (*location, layer.kind, name),
                    f"periodic has no dense layers without units, so {name} does nothing; add units, such as "
                    f"24, or remove {name}",
                )


def embeddings_use_what_they_are_given(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A table that stays as it is has no penalty or limit, and `init_weights` gives all first weights."""
    for location, layer in all_layers(spec):
        if not isinstance(layer, schema.Embedding):
            continue
        for name in ("embeddings_regularizer", "embeddings_constraint"):
            if not layer.trainable and getattr(layer, name) is not None:
                yield Finding(
                    (*location, layer.kind, name),
                    f"the embedding is not trainable, so {name} changes nothing; remove one of the two",
                )
        if layer.weights is not None and spec.init_weights is not None:
            yield Finding(
                (*location, layer.kind, "weights"),
                "init_weights gives all first weights, so these vectors are never used; remove one of them",
            )


RULES: tuple[Rule, ...] = (
    embeddings_use_what_they_are_given,
    options_of_units_need_units,
    regularizers_do_something,
    constraints_fit_their_arrays,
    initializers_have_a_range,
    masks_do_not_get_lost,
    padding_is_what_is_masked,
)
