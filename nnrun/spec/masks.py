"""Where in a graph masks are: which nodes give one, and which lose it.

A layer's own rule is `mask`, `makes_mask` and `passes_mask` in `nnrun.spec.schema`.
"""

from __future__ import annotations

from nnrun.spec import schema
from nnrun.spec.graph import Graph, Source


def masked_nodes(graph: Graph) -> tuple[bool, ...]:
    """For each node whether what it gives has a mask."""
    masked: list[bool] = []
    for node in graph.nodes:
        taken = taken_masks(node.sources, masked)
        if isinstance(node.layer, schema.Merging):
            masked.append(node.layer.passes_mask(taken))
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
