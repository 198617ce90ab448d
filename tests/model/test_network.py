"""The stack of layers: its values, its shapes, its first weights, its files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.errors import DataError
from nnrun.model.network import LayerShape, Network
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from tests.support.networks import stack
from tests.support.streams import sources_of

CPU = torch.device("cpu")
Weights = dict[str, np.ndarray]


def network(*layers: schema.Component, inputs: int = 5) -> Network:
    return stack(layers or (dense(6, "relu"), schema.Dropout(rate=0.5), dense(3, "softmax")), inputs)


def dense(units: int, activation: str = "linear", **params: object) -> schema.Dense:
    return schema.Dense.model_validate({"units": units, "activation": activation, **params})


def rows(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape).astype(np.float32))


# --- shapes ------------------------------------------------------------------------------------------------


def test_the_shapes_of_a_network() -> None:
    made = network()
    assert {name: weight.shape for name, weight in made.weights.items()} == {
        "0.weight": (5, 6),
        "0.bias": (1, 6),
        "2.weight": (6, 3),
        "2.bias": (1, 3),
    }
    assert made.summary() == [
        LayerShape(0, "dense, relu", (6,), 36),
        LayerShape(1, "dropout 0.5", (6,), 0),
        LayerShape(2, "dense, softmax", (3,), 21),
    ]
    assert (made.inputs, made.outputs) == ({INPUT: (5,)}, {OUTPUT: 2})
    assert (made.widest_activation, made.parameter_count) == (6, 57)


def test_the_network_of_the_book_s_reviews() -> None:
    """Deep Learning with Python, section 3.4: 16, 16 and 1 units over 10,000 words."""
    made = network(dense(16, "relu"), dense(16, "relu"), dense(1, "sigmoid"), inputs=10_000)
    assert [shape.parameters for shape in made.summary()] == [160_016, 272, 17]
    assert made.parameter_count == 160_305


def test_a_row_s_multiplications_are_those_of_its_non_zeros_and_of_the_later_kernels() -> None:
    made = network(schema.Dropout(rate=0.5), dense(16), dense(8, use_bias=False), dense(3), inputs=10_000)
    assert made.multiplications({INPUT: 130}) == 130 * 16 + 16 * 8 + 8 * 3
    assert network(dense(1), inputs=13).multiplications({INPUT: 13}) == 13


# --- values ------------------------------------------------------------------------------------------------


def test_forward_gives_what_the_last_activation_takes() -> None:
    """Against PyTorch's own layers, which read the same weights files."""
    made = network()
    parameters = made.initial_parameters(sources_of(0, [0, 1]))
    for value in parameters.values():
        value += 0.1
    x_RBF = rows(2, 7, 5)
    z_RBK = made.forward(parameters, {INPUT: x_RBF})[OUTPUT]
    for replica in range(2):
        first, last = torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)
        model = torch.nn.Sequential(first, torch.nn.ReLU(), last)
        file = made.unstack(parameters, replica)
        model.load_state_dict({k: torch.from_numpy(v) for k, v in file.items()})
        with torch.no_grad():
            expected = model(x_RBF[replica])
        torch.testing.assert_close(z_RBK[replica], expected, rtol=1e-5, atol=1e-6)
        probabilities = made.activate(OUTPUT, z_RBK)[replica]
        torch.testing.assert_close(probabilities, expected.softmax(-1), rtol=1e-5, atol=1e-6)


def test_each_dropout_layer_has_noise_of_its_own() -> None:
    """Two layers of dropout that drew the same numbers would drop the same units."""
    drop = schema.Dropout(rate=0.5)
    made = network(drop, drop, dense(1, use_bias=False), inputs=2000)
    parameters = {"2.weight": torch.ones(1, 2000, 1)}
    rng = made.rng(sources_of(0, [0]), 1, CPU)
    kept = (
        made.forward(parameters, {INPUT: torch.ones(1, 1, 2000)}, rng)[OUTPUT] / 4
    )  # each survivor is doubled twice
    assert kept.item() == pytest.approx(500, abs=5 * np.sqrt(2000 * 0.25 * 0.75))


def test_the_penalty_is_the_sum_over_the_layers() -> None:
    made = network(
        dense(6, kernel_regularizer={"l1": 0.5}), dense(4), dense(3, kernel_regularizer={"l2": 0.25})
    )
    parameters = made.initial_parameters(sources_of(0, [0, 1, 2]))
    first, last = parameters["0.weight"].double(), parameters["2.weight"].double()
    expected = 0.5 * first.abs().sum((1, 2)) + 0.25 * last.square().sum((1, 2))
    found = made.penalty(parameters)
    assert found is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    assert network().penalty(network().initial_parameters(sources_of(0, [0]))) is None


# --- first weights -----------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**63 - 1),
    numbers=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_a_replica_s_first_weights_do_not_depend_on_who_trains_beside_it(
    seed: int, numbers: list[int]
) -> None:
    together = network().initial_parameters(sources_of(seed, numbers))
    for place, number in enumerate(numbers):
        alone = network().initial_parameters(sources_of(seed, [number]))
        assert list(alone) == list(together) == list(network().weights)
        for name, value in alone.items():
            assert torch.equal(value[0], together[name][place]), name


def test_seed_replica_and_position_each_change_the_first_weights() -> None:
    made = network(dense(4), dense(4), dense(4), inputs=4)
    weights = [
        made.initial_parameters(sources_of(seed, [replica]))[f"{position}.weight"]
        for seed in (0, 1)
        for replica in (0, 1)
        for position in (0, 1, 2)
    ]
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 12


def test_a_layer_s_first_weights_do_not_depend_on_the_layers_around_it() -> None:
    one = network(dense(4, "tanh"), dense(6), dense(1), inputs=5).initial_parameters(sources_of(3, [0]))
    other = network(schema.Dropout(rate=0.5), dense(6), dense(6), dense(2), inputs=4).initial_parameters(
        sources_of(3, [0])
    )
    assert torch.equal(one["1.weight"], other["1.weight"])


def test_given_weights_are_where_every_replica_starts() -> None:
    made = network()
    given_weights = made.unstack(made.initial_parameters(sources_of(9, [4])), 0)
    started = made.initial_parameters(sources_of(0, [0, 1]), given_weights)
    for replica in range(2):
        again = made.unstack(started, replica)
        for name, value in given_weights.items():
            np.testing.assert_array_equal(again[name], value)


# --- files -------------------------------------------------------------------------------------------------


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Network, dict[str, torch.Tensor], int]:
    """Any network of dense layers, with stacked parameters of some replicas."""
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    made = network(*(dense(u, use_bias=draw(st.booleans())) for u in widths[1:]), inputs=widths[0])
    replicas = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (
        made,
        {
            name: torch.from_numpy(rng.normal(size=(replicas, *weight.shape)).astype(np.float32))
            for name, weight in made.weights.items()
        },
        replicas,
    )


@given(stacks())
def test_what_is_unstacked_stacks_again(case: tuple[Network, dict[str, torch.Tensor], int]) -> None:
    made, parameters, replicas = case
    files = [made.unstack(parameters, replica) for replica in range(replicas)]
    for file in files:
        made.check_weights(file, "a file")
    again = made.stack(files)
    assert list(again) == list(parameters)
    for name, value in parameters.items():
        assert torch.equal(again[name], value), name


def test_a_file_is_laid_out_as_pytorch_lays_out_its_own() -> None:
    made = network()
    parameters = made.initial_parameters(sources_of(0, [0, 1]))
    file = made.unstack(parameters, 1)
    assert {k: (v.shape, v.dtype.name, v.flags.c_contiguous) for k, v in file.items()} == {
        "0.weight": ((6, 5), "float32", True),
        "0.bias": ((6,), "float32", True),
        "2.weight": ((3, 6), "float32", True),
        "2.bias": ((3,), "float32", True),
    }
    np.testing.assert_array_equal(file["0.weight"], parameters["0.weight"][1].numpy().T)


def test_weights_of_another_precision_are_read_as_float32() -> None:
    made = network()
    file = made.unstack(made.initial_parameters(sources_of(0, [0])), 0)
    halves = {k: v.astype(np.float16) for k, v in file.items()}
    made.check_weights(halves, "halves")
    for name, value in made.stack([halves]).items():
        assert value.dtype == torch.float32, name


NAN = np.zeros((3, 6), np.float32)
NAN[1, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: {k: v for k, v in file.items() if k != "0.bias"},
            "The weights in init.safetensors do not fit the network:\n"
            "  0.bias: needs (6,), the file has nothing",
        ),
        (
            lambda file: file | {"3.weight": np.zeros((2, 3), np.float32)},
            "The weights in init.safetensors do not fit the network:\n"
            "  3.weight: needs nothing, the file has (2, 3)",
        ),
        (
            lambda file: file | {"0.weight": file["0.weight"].T, "2.bias": file["2.bias"][None]},
            "The weights in init.safetensors do not fit the network:\n"
            "  0.weight: needs (6, 5), the file has (5, 6)\n"
            "  2.bias: needs (3,), the file has (1, 3)",
        ),
        (
            lambda file: file | {"2.weight": NAN},
            "init.safetensors: 2.weight holds a value that is not a finite number.",
        ),
        (
            lambda file: file | {"0.bias": np.full(6, np.inf, np.float32)},
            "init.safetensors: 0.bias holds a value that is not a finite number.",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Callable[[Weights], Weights], message: str) -> None:
    made = network()
    file = made.unstack(made.initial_parameters(sources_of(0, [0])), 0)
    with pytest.raises(DataError) as caught:
        made.check_weights(change(file), "init.safetensors")
    assert str(caught.value) == message
