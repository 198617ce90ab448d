"""Shapes and masks of rows from the data to the last layer: what is known of the data before they are loaded,
then each step's and each layer's own rule, in order.

The rules are `width_after` of a preprocessing step, and `output_shape`, `makes_mask` and `passes_mask` of a
layer or a merge, in `nnrun.spec.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nnrun.spec import schema
from nnrun.spec.graph import Graph, GraphNode, GraphProblem, SharedUse, Source
from nnrun.spec.npz_header import facts_of_array
from nnrun.spec.ports import INPUT, Port, array_of, columns_of, token_inputs
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, ShapeError, shape_text


def facts_with_header(spec: schema.ExperimentSpec) -> DatasetFacts:
    """What is known of a spec's data set without loading it; of an npz archive also the shape of its rows.

    Of named inputs the facts tell what is known of each.
    """
    facts, dataset = facts_without_header(spec), spec.dataset
    if not isinstance(dataset, schema.Npz):
        return facts
    if spec.inputs:
        arrays = {name: f"{array_of(spec, name)}_train" for name in spec.inputs}
        tokens = token_inputs(spec)
        known = {name: facts_of_array(dataset.path, array, name in tokens) for name, array in arrays.items()}
        return replace(facts, of_inputs=known)
    row_shape = facts_of_array(dataset.path, "x_train").row_shape
    return facts if row_shape is None else replace(facts, inputs="table", row_shape=row_shape)


def facts_without_header(spec: schema.ExperimentSpec) -> DatasetFacts:
    """What the spec alone tells of its data set.

    An input of a table is a table; its width is known where each column is a number, by `types` or since the
    table is a published one.
    """
    facts, dataset = spec.dataset.facts, spec.dataset
    if not spec.inputs:
        return facts
    of_inputs = {}
    if isinstance(dataset, schema.DigitPairs):
        shapes = {name: dataset.arrays.get(array_of(spec, name)) for name in spec.inputs}
        if all(shapes.values()):  # else an error tells the name that is unknown, and not what follows from it
            of_inputs = {name: DatasetFacts("table", row_shape=shape) for name, shape in shapes.items()}
        return replace(facts, row_shape=None, of_inputs=of_inputs)
    if not isinstance(dataset, schema.NamedColumns):
        return facts
    for name in spec.inputs:
        columns = columns_of(spec, name)
        numbers = all(dataset.is_number(column) for column in columns)
        of_inputs[name] = DatasetFacts("table", features=len(columns) if numbers else None)
    return replace(facts, of_inputs=of_inputs)


def row_shapes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> dict[Port, Shape]:
    """What the preprocessing of each input gives to the layers, as far as it is known before the data are
    loaded.

    An input is left out of whose rows not even the number of axes is known.
    """
    if not spec.inputs:
        shapes = {INPUT: _prepared(spec.preprocessing.inputs, facts)}
    else:
        shapes = {
            name: _prepared(port.preprocessing, facts.of_input(name)) for name, port in spec.inputs.items()
        }
    return {port: shape for port, shape in shapes.items() if shape is not None}


def _prepared(steps: Sequence[schema.InputStep], facts: DatasetFacts) -> Shape | None:
    """The shape of a row after these steps; None where not even the number of its axes is known."""
    shape: Shape | None = facts.row_shape or (None if facts.inputs is None else (facts.features,))
    for step in steps:
        if isinstance(step, schema.Custom):
            shape = (None,)
        elif step.column_after == "rows" or (shape is not None and len(shape) == 1):
            shape = (step.width_after(None if shape is None else shape[0], facts.num_words),)
        # Steps keep the shape of rows with more axes; what would not is refused when it is fitted.
    return shape


def trace(
    graph: Graph,
    inputs: Mapping[Port, Shape],
    of_custom: Callable[[GraphNode, Shape], Shape] | None = None,
) -> tuple[list[Shape | None], list[GraphProblem]]:
    """What each node gives, and what cannot take what it is given.

    Args:
        graph: the layers.
        inputs: the shape of a row of each input.
        of_custom: a node of a custom layer and what it takes → what it gives; by default its code is not run.

    Returns:
        the shape of each node, None where it is not known: behind a custom layer, or behind a problem.
    """
    shapes: list[Shape | None] = []
    problems: list[GraphProblem] = []
    begins = _by_first_node(graph.uses)
    used: dict[str, Shape] = {}
    skipped: set[int] = set()
    for index in range(len(graph.nodes)):
        for use in begins.get(index, ()):
            taken = None if use.source is None else _shape_of(use.source, inputs, shapes)
            if taken is not None and used.setdefault(use.name, taken) != taken:
                skipped.update(use.nodes)
                problems.append(
                    GraphProblem(
                        (*use.location, "use"),
                        f"{use.name} takes {shape_text(taken)} here and {shape_text(used[use.name])} where "
                        "it is used first; the weights of a shared chain fit one shape: make both alike, or "
                        "write a chain of its own",
                    )
                )
        shape = None if index in skipped else _given(graph, index, inputs, shapes, problems, of_custom)
        shapes.append(shape)
    return shapes, list(dict.fromkeys(problems))


def _by_first_node(uses: Sequence[SharedUse]) -> dict[int, list[SharedUse]]:
    found: dict[int, list[SharedUse]] = {}
    for use in uses:
        found.setdefault(use.nodes.start, []).append(use)
    return found


def _shape_of(
    source: int | Port, inputs: Mapping[Port, Shape], shapes: Sequence[Shape | None]
) -> Shape | None:
    return shapes[source] if isinstance(source, int) else inputs.get(source)


def taken_shape(layer: schema.Component, source: int | Port | None, shape: Shape) -> Shape:
    """What a layer takes of a source that gives `shape`: to a layer of images the rows (height, width) of an
    input are images of one channel.
    """
    gray = getattr(layer, "of_images", False) and not isinstance(source, int) and len(shape) == 2
    return (*shape, 1) if gray else shape


def _given(
    graph: Graph,
    index: int,
    inputs: Mapping[Port, Shape],
    shapes: Sequence[Shape | None],
    problems: list[GraphProblem],
    of_custom: Callable[[GraphNode, Shape], Shape] | None,
) -> Shape | None:
    """What a node gives; a problem where it cannot take what it is given."""
    node = graph.nodes[index]
    taken = []
    for source, name in zip(node.sources, node.names, strict=True):
        shape = None if source is None else _shape_of(source, inputs, shapes)
        if shape is None:
            return None
        before = graph.nodes[source].layer if isinstance(source, int) else None
        taken.append(LayerInput(taken_shape(node.layer, source, shape), before, name))
    layer = node.layer
    try:
        if isinstance(layer, schema.Merging):
            return layer.output_shape(taken) if len(taken) > 1 else next((t.shape for t in taken), None)
        if isinstance(layer, schema.AttentionComponent) and len(taken) > 1:
            return layer.shape_of_several(taken[:3])
        if isinstance(layer, schema.NetworkLayer):
            return layer.output_shape(taken[0])
    except ShapeError as error:
        key = (error.key,) if error.key else ()
        problems.append(GraphProblem((*node.location, layer.kind, *key), str(error), node.location))
        return None
    return None if of_custom is None else of_custom(node, taken[0].shape)


def masked_nodes(graph: Graph) -> tuple[bool, ...]:
    """For each node whether what it gives has a mask."""
    masked: list[bool] = []
    for node in graph.nodes:
        taken = taken_masks(node.sources, masked)
        if isinstance(node.layer, schema.Merging):
            masked.append(node.layer.passes_mask(taken))
        elif isinstance(node.layer, schema.AttentionComponent):
            masked.append(taken[0])  # that of the query
        elif isinstance(node.layer, schema.NetworkLayer):
            masked.append(node.layer.makes_mask or (any(taken) and node.layer.passes_mask))
        else:
            masked.append(False)  # custom code knows no masks
    return tuple(masked)


def outputs_masked(graph: Graph) -> tuple[bool, ...]:
    """For each output whether it has a mask."""
    masked = masked_nodes(graph)
    return tuple(masked[index] for index in graph.outputs.values())


def taken_masks(
    sources: tuple[Source | None, ...], masked: list[bool] | tuple[bool, ...]
) -> tuple[bool, ...]:
    """For each thing that a node takes whether it has a mask; `masked` is of the nodes before it."""
    return tuple(isinstance(source, int) and masked[source] for source in sources)
