"""Networks of a plain list of layers."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.model.layers import DenseLayer
from nnrun.model.network import Network, RowShape, build_network
from nnrun.spec import schema
from nnrun.spec.graph import Graph, GraphNode, Source
from nnrun.spec.ports import INPUT, OUTPUT


def stack(
    layers: Sequence[schema.Component],
    inputs: int | tuple[int, ...],
    tokens: int | None = None,
    ensemble: schema.Ensemble | None = None,
) -> Network:
    """The network of these layers, one behind the other.

    Args:
        layers: as a spec has them.
        inputs: the numbers of a row, or its shape.
        tokens: where these are word indices, the number that they are below.
        ensemble: of which it is a member, or None.
    """
    nodes = []
    for i, layer in enumerate(layers):
        source: Source = i - 1 if i else INPUT
        nodes.append(GraphNode(str(i), str(i), ("layers", i), layer, (source,), ("",)))
    graph = Graph((INPUT,), tuple(nodes), {OUTPUT: len(nodes) - 1})
    row = RowShape((inputs,) if isinstance(inputs, int) else inputs, tokens)
    return build_network(graph, {INPUT: row}, ensemble)


def last_of(network: Network) -> DenseLayer:
    """The layer that gives the only output."""
    return network.output_layers[OUTPUT]
