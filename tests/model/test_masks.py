"""Masks: who makes them, how they go through a network, and what they leave out.

That the numbers are Keras's is shown by `tests/training/test_keras_cases.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from nnrun.model.network import Network, RowShape, build_network
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.shapes import masked_nodes
from tests.support.streams import sources_of

STEPS, WORDS = 6, 9
EMBEDDED = {"embedding": {"output_dim": 4, "mask_zero": True}}
SHORT = [3.0, 5.0, 1.0]


def loaded(layers: Any, pad: bool = True) -> Any:
    spec = {
        "dataset": {"npz": "data.npz"},
        "preprocessing": {"inputs": {"pad": STEPS} if pad else "none"},
        "layers": layers,
        "loss": "mse",
    }
    return load_spec_text(yaml.safe_dump(spec), file="spec.yaml", base=Path("/"), default_name="spec")


def network(layers: Any) -> Network:
    return build_network(graph_of(loaded(layers).spec), {INPUT: RowShape((STEPS,), WORDS)})


def outputs(made: Network, rows: list[list[float]]) -> torch.Tensor:
    parameters = made.initial_parameters(sources_of(0, [0, 1]))
    x = torch.tensor(rows).expand(2, -1, -1)
    return made.forward(parameters, {INPUT: x})[OUTPUT]


READERS: dict[str, list[Any]] = {
    "last step": [{"lstm": 3}],
    "both directions": [{"gru": {"units": 3, "bidirectional": True}}],
    "all steps, then one": [
        {"lstm": {"units": 3, "bidirectional": True, "return_sequences": True}},
        {"dense": {"units": 4, "activation": "tanh"}},
        {"dropout": 0.5},
        {"gru": {"units": 3, "return_sequences": True, "go_backwards": True}},
        "layer_normalization",
        {"simple_rnn": 2},
    ],
    "mean": ["batch_normalization", {"activation": "tanh"}, "global_average_pooling"],
    "residual": [
        {"residual": [{"simple_rnn": {"units": 4, "return_sequences": True}}]},
        "global_average_pooling",
    ],
    "branches": [
        {"parallel": [[{"dense": 3}], [{"lstm": {"units": 2, "return_sequences": True}}]]},
        {"gru": 3},
    ],
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_masked_has_no_part_in_the_output(reader: str) -> None:
    """Padding before, behind and between the words changes nothing."""
    made = network([EMBEDDED, *READERS[reader], {"dense": 2}])
    assert made.masks
    padded = [[0.0] * 3 + SHORT, SHORT + [0.0] * 3, [3.0, 0.0, 5.0, 0.0, 0.0, 1.0]]
    found = outputs(made, padded)
    torch.testing.assert_close(found, found[:, :1].expand(found.shape))
    plain = network([{"embedding": 4}, *READERS[reader], {"dense": 2}])
    assert not plain.masks
    assert not torch.allclose(outputs(plain, padded), found)


@pytest.mark.parametrize("reader", READERS)
def test_a_row_of_padding_alone_stays_finite_forth_and_back(reader: str) -> None:
    made = network([EMBEDDED, *READERS[reader], {"dense": 2}])
    parameters = {
        name: value.requires_grad_() if name not in made.buffer_names else value
        for name, value in made.initial_parameters(sources_of(0, [0])).items()
    }
    found = made.forward(parameters, {INPUT: torch.zeros(1, 2, STEPS)}, None, {})[OUTPUT]
    learned = [value for name, value in parameters.items() if name not in made.buffer_names]
    for gradient in torch.autograd.grad(found.sum(), learned, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()
    assert torch.isfinite(found).all()


def test_masking_leaves_out_the_steps_whose_features_all_are_its_value() -> None:
    layers: list[Any] = [{"reshape": [STEPS, 1]}, {"masking": -1.0}, {"lstm": 3}, {"dense": 1}]
    made = build_network(graph_of(loaded(layers, pad=False).spec), {INPUT: RowShape((STEPS,))})
    one, two, other = outputs(made, [[-1, -1, -1, *SHORT], [*SHORT, -1, -1, -1], [2, 2, 2, *SHORT]])[0]
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, other)
    x = torch.tensor([[[[1.0, -1.0], [-1.0, -1.0]]]])
    layer = made.layers[1]
    assert layer.mask_of(x, None).tolist() == [[[True, False]]]
    assert layer.forward({}, x, None, None).tolist() == [[[[1.0, -1.0], [0.0, 0.0]]]]


MERGES = {
    "add": (True, False),
    "subtract": (True, False),
    "maximum": (True, False),
    "average": (True, False),
    "concatenate": (True, True),
    "dot": (False, False),
}


@pytest.mark.parametrize("merge", MERGES)
def test_a_merge_has_a_mask_as_keras_has_it(merge: str) -> None:
    """Of two rows with a mask, and of one with and one without."""
    masked, half = MERGES[merge]
    for behind, expected in (([{"dense": 4}], masked), ([{"conv1d": {**CONV}}], half)):
        layers = {
            "words": [EMBEDDED],
            "other": [{"from": "words"}, *behind],
            "end": [{merge: ["words", "other"]}, {"simple_rnn": 2}, {"dense": 1}],
        }
        read = loaded(layers)
        graph = graph_of(read.spec)
        places = {node.layer.kind: index for index, node in enumerate(graph.nodes)}
        assert masked_nodes(graph)[places[merge]] is expected
        warned = [problem.render() for problem in read.warnings]
        assert any(merge in warning.split(";")[0] for warning in warned) is not expected


CONV = {"filters": 4, "kernel_size": 1}


def test_a_step_of_a_merge_counts_where_it_does_in_one_of_the_rows() -> None:
    layers = {
        "words": [EMBEDDED],
        "turned": [{"from": "words"}, {"gru": {"units": 4, "return_sequences": True, "go_backwards": True}}],
        "end": [{"add": ["words", "turned"]}, "global_average_pooling", {"dense": 1}],
    }
    merge = next(node.layer for node in network(layers).nodes if node.layer.spec.kind == "add")
    one, other = torch.tensor([[[True, False, False]]]), torch.tensor([[[False, False, True]]])
    x = torch.zeros(1, 1, 3, 4)
    assert merge.mask_of([x, x], [one, other]).tolist() == [[[True, False, True]]]
    layers["end"][0] = {"concatenate": {"of": ["words", "turned"], "axis": 0}}
    merge = next(node.layer for node in network(layers).nodes if node.layer.spec.kind == "concatenate")
    assert merge.mask_of([x, x], [one, other]).tolist() == [[[True, False, False, False, False, True]]]
    assert merge.mask_of([x, x], [one, None]).tolist() == [[[True, False, False, True, True, True]]]


def test_replicas_have_their_own_masks() -> None:
    made = network([EMBEDDED, {"gru": {"units": 3, "bidirectional": True}}, {"dense": 1}])
    parameters = made.initial_parameters(sources_of(0, [0, 1]))
    x = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (2, 5, STEPS))).float()
    together = made.forward(parameters, {INPUT: x})[OUTPUT]
    for replica in range(2):
        own = {name: value[replica : replica + 1] for name, value in parameters.items()}
        alone = made.forward(own, {INPUT: x[replica : replica + 1]})[OUTPUT]
        torch.testing.assert_close(together[replica], alone[0])
