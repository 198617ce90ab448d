"""The network of a spec, for rows that its fitted preprocessing gives."""

from __future__ import annotations

from nnrun.data import FittedPreprocessing
from nnrun.model.network import Network, RowShape, build_network
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT


def network_of(spec: schema.ExperimentSpec, fitted: FittedPreprocessing) -> Network:
    """The network that takes what `fitted` gives; errors as of `build_network`."""
    return build_network(graph_of(spec), {INPUT: RowShape(fitted.shape, fitted.tokens)})
