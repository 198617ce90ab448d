"""Members of an ensemble: their weights, their first values, and the mean of what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.members import mean_logits
from nnrun.model.network import Network, RowShape, build_network
from nnrun.model.standalone import StandaloneNetwork
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT, OUTPUT
from tests.support.networks import stack
from tests.support.streams import sources_of

M = 3
LAYERS: list[Any] = [
    {"dense": {"units": 4, "activation": "relu"}},
    "batch_normalization",
    {"dense": {"units": 4, "use_bias": False}},
    {"prelu": None},
    {"dense": {"units": 2, "activation": "softmax"}},
]


def network_of(kind: str, layers: list[Any] = LAYERS) -> Network:
    spec = schema.ExperimentSpec.model_validate(
        {"dataset": "imdb", "layers": layers, "loss": "mse", "ensemble": {"members": M, "kind": kind}}
    )
    return stack(spec.layers, 5, ensemble=spec.ensemble)


def test_members_share_the_kernels_and_own_the_rest() -> None:
    shapes = {name: weight.file_shape for name, weight in network_of("batch").weights.items()}
    assert shapes == {
        "0.weight": (4, 5),
        "0.bias": (M, 4),
        "0.r": (M, 5),
        "0.s": (M, 4),
        "1.weight": (M, 4),
        "1.bias": (M, 4),
        "1.running_mean": (M, 4),
        "1.running_var": (M, 4),
        "2.weight": (4, 4),
        "2.r": (M, 4),
        "2.s": (M, 4),
        "3.weight": (M, 4),
        "4.weight": (M, 2, 4),
        "4.bias": (M, 2),
    }


def test_independent_members_own_everything() -> None:
    plain = stack([layer.spec for layer in network_of("batch").layers], 5)
    shapes = {name: weight.file_shape for name, weight in network_of("independent").weights.items()}
    assert shapes == {name: (M, *weight.file_shape) for name, weight in plain.weights.items()}


@pytest.mark.parametrize("kind", ["batch", "independent"])
def test_its_numbers_are_counted(kind: str) -> None:
    network = network_of(kind)
    first = network.initial_parameters(sources_of(0, [0]))
    learned = sum(v.numel() for name, v in first.items() if name not in network.buffer_names)
    assert network.parameter_count == learned == sum(row.parameters for row in network.summary())
    assert network.state_count == 2 * 4 * M == sum(row.state for row in network.summary())
    plain = stack([layer.spec for layer in network.layers], 5)
    assert network.widest_activation == M * plain.widest_activation
    assert network.activations_per_row == M * plain.activations_per_row
    assert network.multiplications({INPUT: 5}) == M * plain.multiplications({INPUT: 5})


def test_first_values_differ_by_signs_before_the_first_kernel_alone() -> None:
    weights = network_of("batch").initial_parameters(sources_of(0, [0, 1]))
    plain = stack([layer.spec for layer in network_of("batch").layers], 5)
    alone = plain.initial_parameters(sources_of(0, [0, 1]))
    assert torch.equal(weights["0.weight"], alone["0.weight"]), "a shared kernel is that of a network alone"
    assert set(weights["0.r"].unique().tolist()) == {-1.0, 1.0}
    assert len({tuple(r) for r in weights["0.r"].flatten(0, 1).tolist()}) > M, "each its own"
    for name in ("0.s", "2.r", "2.s"):
        assert (weights[name] == 1).all()
    heads = weights["4.weight"]
    assert len(heads.flatten(2).unique(dim=1)[0]) == M, "each member draws its own"


@pytest.mark.parametrize("kind", ["batch", "independent"])
def test_weights_survive_a_file(kind: str) -> None:
    network = network_of(kind)
    weights = {
        name: value + torch.rand(value.shape)
        for name, value in network.initial_parameters(sources_of(0, [0, 1])).items()
    }
    files = [load(save(network.unstack(weights, replica))) for replica in (0, 1)]
    for file in files:
        network.check_weights(file, "a file")
    again = network.stack(files)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], value) for name, value in weights.items())


@pytest.mark.parametrize("kind", ["batch", "independent"])
def test_a_program_holds_it(kind: str) -> None:
    network = network_of(kind)
    weights = network.initial_parameters(sources_of(0, [0]))
    x = torch.randn(4, 5)
    module = StandaloneNetwork(network, network.unstack(weights, 0)).eval()
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("rows", min=1)},))
    z = network.forward(weights, {INPUT: x[None]})[OUTPUT]
    assert z.shape == (1, M, 4, 2)
    expected = torch.softmax(z[0], -1).mean(0)
    for rows in (1, 4):
        torch.testing.assert_close(program.module()(x[:rows]), expected[:rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", schema.Ensemble.averages)
@pytest.mark.parametrize("size", [0.1, 3.0, 80.0])
def test_the_mean_is_that_of_what_members_say(activation: str, size: float) -> None:
    """Also where a probability rounds to 0 or 1, its logits are finite."""
    z = size * torch.randn(2, 5, 6, 3)
    z = z.clamp(max=20) if activation == "exponential" else z
    found = mean_logits(activation, z)
    assert torch.isfinite(found).all()
    made = ACTIVATIONS[activation]
    torch.testing.assert_close(made(found.double()), made(z.double()).mean(1), rtol=2e-4, atol=1e-6)


def test_members_of_several_replicas_do_not_mix() -> None:
    network = network_of("batch")
    weights = network.initial_parameters(sources_of(0, [0, 1]))
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32))
    together = network.forward(weights, {INPUT: x})[OUTPUT]
    for replica in (0, 1):
        own = {name: value[replica : replica + 1] for name, value in weights.items()}
        alone = network.forward(own, {INPUT: x[replica : replica + 1]})[OUTPUT]
        torch.testing.assert_close(together[replica], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["batch", "independent"])
def test_merges_and_steps_are_of_each_member(kind: str) -> None:
    """A residual adds what all members take to what each makes of it; rows may have more axes."""
    residual = {"residual": [{"dense": 5}, {"activation": "tanh"}]}
    spec = schema.ExperimentSpec.model_validate(
        {
            "dataset": {"npz": "unread.npz"},
            "layers": [residual, {"reshape": [5, 1]}, {"dense": 3}, "flatten", {"dense": 2}],
            "loss": "mse",
            "ensemble": {"members": M, "kind": kind},
        }
    )
    network = build_network(graph_of(spec), {INPUT: RowShape((5,))}, spec.ensemble)
    weights = network.initial_parameters(sources_of(0, [0]))
    x = torch.randn(1, 4, 5)
    z = network.forward(weights, {INPUT: x})[OUTPUT]
    of_members = network.members.unfolded(network.layers, weights) if network.members else {}
    for member in range(M):
        own = {name: value[member] for name, value in of_members.items()}
        h = x[0] + torch.tanh(x[0] @ own["0.0.weight"] + own["0.0.bias"])
        h = (h.unsqueeze(2) @ own["2.weight"] + own["2.bias"]).flatten(1)
        torch.testing.assert_close(z[0, member], h @ own["4.weight"] + own["4.bias"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("before", [[], [{"dropout": 0.5}]])
def test_a_periodic_embedding_is_the_same_for_all_members(before: list[Any]) -> None:
    """Whether its rows are those of all members, or dropped for each."""
    layers = [*before, {"periodic": {"frequencies": 2, "sigma": 0.5, "units": 3}}, {"dense": 2}, {"dense": 1}]
    network = network_of("batch", layers)
    place = len(before)
    weights = network.initial_parameters(sources_of(0, [0, 1]))
    assert weights[f"{place}.frequencies"].shape == (2, 5, 2)
    assert weights[f"{place + 1}.r"].unique().tolist() == [-1.0, 1.0]
    x = torch.randn(2, 4, 5)
    z = network.forward(weights, {INPUT: x})[OUTPUT]
    assert network.members is not None
    of_members = network.members.unfolded(network.layers, weights)
    made = network.layers[place].forward(weights, x, None, None)
    assert isinstance(made, torch.Tensor)
    made = made.repeat_interleave(M, 0)
    for layer in network.layers[place + 1 :]:
        made = layer.forward(of_members, made, None, None)
    torch.testing.assert_close(z.flatten(0, 1), made, rtol=1e-5, atol=1e-6)
    rng = network.rng(sources_of(0, [0, 1]), 1, torch.device("cpu"))
    assert network.forward(weights, {INPUT: x}, rng, {})[OUTPUT].shape == (2, M, 4, 1)


def test_independent_members_have_periodic_embeddings_of_their_own() -> None:
    layers = [{"periodic": {"frequencies": 2, "sigma": 0.5}}, {"dense": 1}]
    shapes = {name: weight.file_shape for name, weight in network_of("independent", layers).weights.items()}
    assert shapes["0.frequencies"] == (M, 5, 2)
