"""Attention over several sources: what Keras computes with a query, a value and a key, and their masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nnrun.model.layers import LAYERS
from nnrun.model.layers.attention import OfSeveral
from nnrun.model.network import RowShape, build_network
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from tests.support.keras_values import ATTENTION_CASES, AttentionCase, attention_weight, keras_values
from tests.support.small_experiments import spec_text
from tests.support.streams import sources_of

KINDS = schema.components(schema.Layer)


def layer_of(case: AttentionCase) -> OfSeveral[Any]:
    spec = KINDS[case.kind].model_validate(case.parameters)
    assert isinstance(spec, schema.AttentionComponent)
    query, *others = (
        (len(array[0]), width) for array, width in zip(case.arrays(), case.features, strict=True)
    )
    output = [size for size in spec.output_shape_of(query, others[0]) if size is not None]
    made = LAYERS[type(spec)](spec, "0", "0", query, tuple(output), tuple(others))  # type: ignore[call-arg]
    assert isinstance(made, OfSeveral)
    return made


@pytest.mark.parametrize("case", ATTENTION_CASES, ids=lambda case: case.name)
def test_it_finds_what_keras_finds(case: AttentionCase) -> None:
    """Two replicas, of which the second has other weights: each computes by its own."""
    layer = layer_of(case)
    parameters = {}
    for name, weight in layer.weights.items():
        value = torch.from_numpy(attention_weight(name.removeprefix("0."), weight.in_keras))
        parameters[name] = torch.stack([value.reshape(weight.shape), torch.zeros(weight.shape)])
    taken = [torch.from_numpy(array).expand(2, *array.shape) for array in case.arrays()]
    masks = [None if m is None else torch.from_numpy(m).expand(2, *m.shape) for m in case.masks()]
    found = layer.forward_of_several(parameters, taken, masks, None)
    assert found.shape == (2, 2, *layer.output_shape)
    expected = np.array(keras_values("attention")[case.name])
    counted = np.ones(expected.shape[:2], bool)
    if case.kind == "multi_head_attention" and masks[0] is not None:
        counted = masks[0][0].numpy()
    np.testing.assert_allclose(found[0].numpy()[counted], expected[counted], rtol=2e-4, atol=2e-5)


LAYERS_OF_A_GRAPH: dict[str, Any] = {
    "question": [{"from": "asked"}, {"embedding": {"output_dim": 4, "mask_zero": True}}],
    "text": [{"from": "read"}, {"embedding": {"output_dim": 4, "mask_zero": True}}],
    "answer": [
        {"attention": {"of": ["question", "text"]}},
        "global_average_pooling",
        {"dense": 1},
    ],
}


def test_masked_steps_of_query_and_value_count_for_nothing_in_a_graph() -> None:
    """What stands behind the padding of either may be anything."""
    inputs = {name: {"array": name, "preprocessing": ["pad"]} for name in ("asked", "read")}
    spec = spec_text(inputs=inputs, layers=LAYERS_OF_A_GRAPH, preprocessing={}).spec
    network = build_network(
        graph_of(spec), {"asked": RowShape((3,), tokens=9), "read": RowShape((5,), tokens=9)}
    )
    assert [node.layer.output_shape for node in network.nodes][2] == (3, 4)
    parameters = network.initial_parameters(sources_of(0, [0, 1]))
    asked = torch.tensor([[[1, 2, 0]]]).expand(2, -1, -1)
    read = torch.tensor([[[3, 4, 5, 0, 0]]]).expand(2, -1, -1)
    (found,) = network.forward(parameters, {"asked": asked, "read": read}).values()
    q, v = (parameters[f"{name}.1.weight"] for name in ("question", "text"))
    for r in range(2):
        query, value = q[r][[1, 2]], v[r][[3, 4, 5]]
        mean = (torch.softmax(query @ value.T, -1) @ value).mean(0)
        kernel, bias = parameters["answer.2.weight"][r], parameters["answer.2.bias"][r]
        torch.testing.assert_close(found[r], (mean @ kernel + bias[0])[None])
