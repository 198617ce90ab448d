"""The graph of a network with a linear model in it: the spec of such a run, and the one that it came from.

Its last dense layer takes what the hidden layers give and, beside it, the linear model's own inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.spec import schema

NETWORK, LINEAR, HIDDEN, BLEND = "network", "linear", "hidden", "blend"
"""Names in the graph: its inputs, what the network has before its last layer, and that layer."""


def spec_with_linear_member(
    spec: schema.ExperimentSpec, columns: Sequence[int | str]
) -> schema.ExperimentSpec:
    """The graph: hidden layers and the linear model's inputs, side by side before the last layer.

    Args:
        spec: one with `linear_member`.
        columns: of its table, which both inputs take.
    """
    assert isinstance(spec.layers, list), "lint refuses linear_member beside chains"
    *hidden, last = spec.layers
    assert isinstance(last, schema.Dense), "lint refuses other last layers"
    assert isinstance(spec.dataset, schema.NamedColumns), "lint refuses other data"
    steps, columns = spec.preprocessing.inputs, list(columns)
    return spec.model_copy(
        update={
            "linear_member": False,
            "dataset": spec.dataset.model_copy(update={"inputs": columns}),  # as reading fills it in
            "preprocessing": spec.preprocessing.model_copy(update={"inputs": []}),
            "inputs": {
                NETWORK: schema.NamedInput(columns=columns, preprocessing=steps),
                LINEAR: schema.NamedInput(columns=columns, preprocessing=linear_steps(steps)),
            },
            "layers": {
                HIDDEN: [schema.From(source=NETWORK), *hidden],
                BLEND: [
                    schema.Concatenate(of=[HIDDEN, LINEAR]),
                    last.model_copy(update={"use_bias": True}),
                ],
            },
        }
    )


def spec_before_linear_member(
    spec: schema.ExperimentSpec, *, use_bias: bool, lists_columns: bool
) -> schema.ExperimentSpec:
    """The spec that `spec_with_linear_member` made such a graph of.

    Args:
        spec: the graph.
        use_bias: whether the last layer had a bias of its own.
        lists_columns: whether the columns were listed.
    """
    assert isinstance(spec.layers, dict), "a graph"
    assert isinstance(spec.dataset, schema.NamedColumns), "a table"
    dataset = spec.dataset if lists_columns else spec.dataset.model_copy(update={"inputs": None})
    _, *hidden = spec.layers[HIDDEN]
    last = spec.layers[BLEND][-1].model_copy(update={"use_bias": use_bias})
    steps = spec.inputs[NETWORK].preprocessing
    return spec.model_copy(
        update={
            "linear_member": True,
            "dataset": dataset,
            "preprocessing": spec.preprocessing.model_copy(update={"inputs": steps}),
            "inputs": {},
            "layers": [*hidden, last],
        }
    )


def linear_steps(steps: Sequence[Any]) -> list[Any]:
    """The network's steps, with numbers standardized in place of what is not linear in them."""
    found: list[Any] = []
    for step in steps:
        if isinstance(step, schema.PiecewiseLinear | schema.QuantileTransform):
            step = schema.Standardize(columns=step.columns)
        if step not in found:
            found.append(step)
    return found
