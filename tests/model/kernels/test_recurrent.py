"""LSTM and GRU in C++ against the step loop of PyTorch in float64, and where they are left to it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nnrun.model.kernels.recurrent import LIBRARY, recurrent
from nnrun.model.network import Network
from nnrun.native import kernels
from nnrun.native.kernels import prepare, switched_off
from nnrun.native.library import load_library
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from tests.support.cpu_levels import levels_here
from tests.support.native_problems import needs_compiler
from tests.support.networks import stack
from tests.support.streams import sources_of

pytestmark = needs_compiler

SIZES = [  # R, B, T, D, U
    (1, 1, 1, 1, 1),
    (1, 70, 5, 3, 16),
    (4, 9, 7, 5, 37),
    (2, 65, 4, 33, 20),
]


@pytest.fixture(autouse=True)
def library() -> None:
    prepare(LIBRARY)


def network_of(layer: Any, steps: int, features: int) -> Network:
    """The layer, and a dense layer that gives what it gives as logits."""
    behind = ["global_average_pooling"] if "return_sequences" in str(layer) else []
    spec = {"dataset": {"npz": "unread.npz"}, "layers": [layer, *behind, {"dense": 3}], "loss": "mse"}
    return stack(schema.ExperimentSpec.model_validate(spec).layers, (steps, features))


def results(network: Network, parameters: dict[str, Tensor], x: Tensor, mask: Tensor | None) -> list[Tensor]:
    """What the first layer gives, and the gradients of x and of each of its weights."""
    layer = network.layers[0]
    x = x.clone().requires_grad_()
    own = {name: parameters[name].clone().requires_grad_() for name in layer.weights}
    if mask is None:
        given = layer.forward(own, x, None, None)
    else:
        given = layer.forward_masked(own, x, mask, None, None)
    assert isinstance(given, Tensor)
    weights = torch.linspace(-1, 2, given.numel(), dtype=torch.float64).view(given.shape).to(x.dtype)
    return [given.detach(), *torch.autograd.grad((given * weights).sum(), [x, *own.values()])]


def case(
    layer: Any, replicas: int, rows: int, steps: int, features: int
) -> tuple[Network, dict[str, Tensor], Tensor, Tensor]:
    """A network, weights of which no bias is zero, rows and a mask."""
    network = network_of(layer, steps, features)
    made = torch.Generator().manual_seed(rows + steps)
    parameters = {
        name: value + 0.2 * torch.randn(value.shape, generator=made)
        for name, value in network.initial_parameters(sources_of(0, range(replicas))).items()
    }
    x = torch.randn(replicas, rows, steps, features, generator=made)
    mask = torch.rand(replicas, rows, steps, generator=made) > 0.3
    mask[:, 0] = False  # a row of which nothing counts
    return network, parameters, x, mask


OPTIONS: list[dict[str, Any]] = [
    {},
    {"return_sequences": True},
    {"go_backwards": True},
    {"return_sequences": True, "go_backwards": True},
    {"bidirectional": True},
    {"bidirectional": True, "return_sequences": True},
    {"use_bias": False},
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_values_and_gradients_are_those_of_float64(kind: str, options: dict[str, Any], masked: bool) -> None:
    for replicas, rows, steps, features, units in SIZES:
        layer = {kind: {"units": units, **options}}
        network, parameters, x, mask = case(layer, replicas, rows, steps, features)
        counted = mask if masked else None
        found = results(network, parameters, x, counted)
        exactly = {name: value.double() for name, value in parameters.items()}
        exact = results(network, exactly, x.double(), counted)  # float64 is left to PyTorch
        for mine, theirs in zip(found, exact, strict=True):
            scale = max(float(theirs.abs().max()), 1e-30)
            torch.testing.assert_close(mine.double() / scale, theirs / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cpu", levels_here())
def test_the_same_with_the_vectors_of_every_cpu(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernels._ready, LIBRARY, load_library(LIBRARY, cpu=cpu))
    for kind in ("lstm", "gru"):
        test_values_and_gradients_are_those_of_float64(kind, {}, masked=True)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_numbers_do_not_depend_on_the_number_of_threads(kind: str) -> None:
    network, parameters, x, mask = case({kind: 24}, 2, 150, 6, 10)  # three blocks of rows for each replica
    found = []
    for threads in (1, 2, 5, 16):
        torch.set_num_threads(threads)
        found.append(results(network, parameters, x, mask))
    for others in found[1:]:
        for mine, first in zip(others, found[0], strict=True):
            assert torch.equal(mine, first)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_same_without_what_gradients_need(kind: str) -> None:
    network, parameters, x, mask = case({kind: {"units": 20, "return_sequences": True}}, 2, 70, 6, 10)
    with_gradients = results(network, parameters, x, mask)[0]
    with torch.inference_mode():
        assert torch.equal(network.layers[0].forward_masked(parameters, x, mask, None, None), with_gradients)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_large_numbers_saturate_the_gates(kind: str) -> None:
    network, parameters, x, _ = case({kind: 4}, 1, 3, 5, 2)
    for scale in (1e2, 1e4, 1e30):
        found = results(network, parameters, x * scale, None)
        exact = results(network, {n: v.double() for n, v in parameters.items()}, (x * scale).double(), None)
        torch.testing.assert_close(found[0].double(), exact[0], rtol=1e-5, atol=1e-6)
        assert all(bool(value.isfinite().all()) for value in found)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_nan_stays_nan(kind: str) -> None:
    network, parameters, x, _ = case({kind: 4}, 1, 3, 5, 2)
    x[0, 1, 2, 0] = np.nan
    given = results(network, parameters, x, None)[0]
    assert given[0].isnan().any(1).tolist() == [False, True, False]


LEFT_TO_PYTORCH: list[Any] = [
    {"lstm": {"units": 3, "activation": "relu"}},
    {"lstm": {"units": 3, "recurrent_activation": "tanh"}},
    {"gru": {"units": 3, "reset_after": False}},
    {"gru": {"units": 3, "activation": "linear"}},
    {"simple_rnn": 3},
]


@pytest.mark.parametrize("layer", LEFT_TO_PYTORCH, ids=str)
def test_what_cpp_does_not_know_is_left_to_pytorch(layer: Any) -> None:
    network = network_of(layer, 4, 2)
    assert network.kernels == frozenset()


@pytest.mark.parametrize(
    "dropout", [{"dropout": 0.4}, {"recurrent_dropout": 0.4}, {"dropout": 0.2, "recurrent_dropout": 0.3}]
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_dropout_draws_the_same_numbers(kind: str, dropout: dict[str, float]) -> None:
    layer = {kind: {"units": 5, "bidirectional": True, **dropout}}
    network, parameters, x, _ = case(layer, 2, 6, 4, 3)
    rng = network.rng(sources_of(0, range(2)), 1, torch.device("cpu")).starting_at(0)
    found = network.forward(parameters, {INPUT: x}, rng)[OUTPUT]
    with switched_off():
        torch.testing.assert_close(found, network.forward(parameters, {INPUT: x}, rng)[OUTPUT])


def test_what_cpp_cannot_read_is_left_to_pytorch() -> None:
    x, both = torch.zeros(1, 2, 3, 4), (torch.zeros(1, 4, 8), torch.zeros(1, 2, 8))
    assert recurrent("lstm", x, both, None, None, all_steps=True) is not None
    assert recurrent("lstm", x.double(), both, None, None, all_steps=True) is None
    with switched_off():
        assert recurrent("lstm", x, both, None, None, all_steps=True) is None
