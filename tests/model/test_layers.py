"""One contract over every layer, and what the numbers of each mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import SparseBatch, SparseInputs, dense
from nnrun.model.layers import LAYERS, DenseLayer, DropoutLayer
from nnrun.model.layers.base import penalty_of
from nnrun.model.network import Network, RowShape, build_network
from nnrun.model.rng import BatchRng
from nnrun.model.standalone import StandaloneNetwork
from nnrun.spec import schema
from nnrun.spec.allowed_modules import allowing
from nnrun.spec.graph import Graph, GraphNode
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.backends.native import unknown_in
from tests.support.layer_cases import (
    CASES,
    FEATURES,
    KINDS,
    REPLICAS,
    ROWS,
    SAYS,
    TAKES,
    VARIANTS,
    WORDS,
    between,
    first,
    inputs,
    layer_of,
    lively,
)
from tests.support.networks import last_of, stack
from tests.support.onnx_files import written
from tests.support.streams import sources_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _pytorch_is_allowed() -> Iterator[None]:
    """Its own modules stand for custom code."""
    with allowing(["torch.nn"]):
        yield


def place_of(case: str) -> int:
    return 0 if case.startswith("embedding") else 2


# --- the contract ------------------------------------------------------------------------------------------


def test_every_layer_of_the_schema_has_its_class() -> None:
    assert set(LAYERS) == set(KINDS.values()), "a layer needs its line in nnrun.model.layers.LAYERS"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_has_the_shape_it_declares_and_its_parameters_get_gradients(
    case: str, training: bool
) -> None:
    network, x = between(case)
    place = place_of(case)
    layer, shown = network.layers[place], network.summary()[place]
    everything = lively(network)
    trainable = {k: v.requires_grad_() for k, v in everything.items() if k not in network.buffer_names}
    rng = network.rng(sources_of(0, range(REPLICAS)), 1, CPU) if training else None
    new_buffers: dict[str, torch.Tensor] | None = {} if training else None

    h: Any = x
    for before in network.layers[: place + 1]:
        h = before.forward(everything, h, rng, new_buffers)
    h = dense(h)
    assert h.shape == (REPLICAS, ROWS, *layer.output_shape)
    assert (shown.position, shown.outputs) == (place, layer.output_shape)
    own = {k: v for k, v in everything.items() if k.startswith(f"{place}.")}
    assert shown.parameters == sum(v[0].numel() for k, v in own.items() if k in trainable)
    assert shown.state == sum(v[0].numel() for k, v in own.items() if k not in trainable)
    assert own.keys() == layer.weights.keys()

    outputs = network.forward(everything, {INPUT: x}, rng, new_buffers)[OUTPUT]
    assert outputs.shape == (REPLICAS, ROWS, 2)
    assert torch.isfinite(outputs).all()
    assert set(new_buffers or {}) == (network.buffer_names if training else set())
    gradients = torch.autograd.grad(outputs.square().sum(), list(trainable.values()))
    for name, gradient in zip(trainable, gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert (gradient.flatten(1) != 0).any(1).all(), f"{name}: some replica gets no gradient"


@pytest.mark.parametrize("case", CASES)
def test_a_layer_survives_a_save(case: str, tmp_path: Path) -> None:
    network, _ = between(case)
    parameters = lively(network)
    files = []
    for replica in range(REPLICAS):
        save_file(network.unstack(parameters, replica), tmp_path / "weights.safetensors")
        files.append(load_file(tmp_path / "weights.safetensors"))
        network.check_weights(files[-1], "weights.safetensors")
    again = network.stack(files)
    assert again.keys() == parameters.keys()
    for name, value in parameters.items():
        assert torch.equal(again[name], value), name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_computes_each_replica_apart_from_the_others(case: str, training: bool) -> None:
    network, x = between(case)
    parameters = lively(network)

    def computed(parameters: dict[str, torch.Tensor], x: torch.Tensor, numbers: list[int]) -> Any:
        rng = network.rng(sources_of(0, numbers), 1, CPU) if training else None
        new_buffers: dict[str, torch.Tensor] | None = {} if training else None
        outputs = network.forward(parameters, {INPUT: x}, rng, new_buffers)[OUTPUT]
        penalty = network.penalty(parameters)
        return {
            "outputs": outputs,
            **(new_buffers or {}),
            **({} if penalty is None else {"penalty": penalty}),
        }

    together = computed(parameters, x, list(range(REPLICAS)))
    for replica in range(REPLICAS):
        own = {k: v[replica : replica + 1] for k, v in parameters.items()}
        for name, alone in computed(own, x[replica : replica + 1], [replica]).items():
            torch.testing.assert_close(alone[0], together[name][replica], rtol=1e-5, atol=1e-5)


# What a layer draws for a row is the same in whatever batch it is.
@pytest.mark.parametrize("case", CASES)
def test_a_row_is_treated_alike_in_every_batch(case: str) -> None:
    network, x = between(case)
    if "batch" in case or "state" in case:
        pytest.skip("its statistics are those of the batch")
    parameters, rng = lively(network), network.rng(sources_of(0, range(REPLICAS)), 1, CPU)
    if "custom" in case:
        rng = None
    whole = network.forward(parameters, {INPUT: x}, rng)[OUTPUT]
    for begin in (0, 2):
        part = network.forward(parameters, {INPUT: x[:, begin : begin + 2]}, rng and rng.starting_at(begin))
        torch.testing.assert_close(part[OUTPUT], whole[:, begin : begin + 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_program_holds_the_layer(case: str) -> None:
    """`nnrun export` traces the network; custom code that cannot be traced has tests of its own."""
    network, x = between(case)
    parameters = lively(network)
    module = StandaloneNetwork(network, network.unstack(parameters, 1)).eval()
    program = torch.export.export(
        module, (x[1],), dynamic_shapes=({0: torch.export.Dim("rows", min=1)},)
    ).module()
    own = {name: value[1:2] for name, value in parameters.items()}
    expected = network.forward(own, {INPUT: x[1:2]})[OUTPUT][0]
    for rows in (1, 3, ROWS):
        torch.testing.assert_close(program(x[1, :rows]), expected[:rows], rtol=1e-5, atol=1e-5)


def many_headed() -> tuple[Network, dict[str, torch.Tensor]]:
    """One network with an output for each case and for each merge, and rows for its two inputs."""
    nodes: list[GraphNode] = []
    outputs: dict[str, int] = {}

    def add(chain: str, value: Any, *sources: int | str) -> int:
        place = len(nodes)
        layer = value if isinstance(value, schema.Component) else layer_of(value)
        nodes.append(
            GraphNode(f"{chain}.{place}", f"{chain}.{place}", (), layer, sources, ("",) * len(sources))
        )
        return place

    def end(chain: str, last: int) -> None:
        outputs[chain] = add(chain, {"dense": 2}, add(chain, "flatten", last))

    for number, case in enumerate(CASES):
        value = VARIANTS.get(case, {case: SAYS.get(case)})
        (kind,) = value
        takes = TAKES.get(kind, [4, 3] if case in VARIANTS else [6])
        if kind == "embedding":
            end(case, add(f"case{number}", value, "words"))
        else:
            first = add(f"case{number}", {"dense": int(np.prod(takes))}, "numbers")
            end(case, add(f"case{number}", value, add(f"case{number}", {"reshape": takes}, first)))
    for kind, merge in schema.components(schema.AnyMerge).items():
        sides = [add(kind, {"dense": 4}, "numbers") for _ in range(2)]
        end(kind, add(kind, merge(), *sides))
    graph = Graph(("numbers", "words"), tuple(nodes), outputs)
    network = build_network(graph, {"numbers": RowShape((3,)), "words": RowShape((7,), WORDS)})
    words = np.random.default_rng(1).integers(0, WORDS, (ROWS, 7))
    return network, {"numbers": inputs(ROWS, 3), "words": torch.from_numpy(words).float()}


def test_onnx_computes_every_layer_and_merge() -> None:
    """Of one network, which is written once; a layer that cannot be is named by the exception."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")
    network, rows = many_headed()
    parameters = lively(network)
    own = {name: value[1:2] for name, value in parameters.items()}
    expected = network.forward(own, {port: x[None] for port, x in rows.items()})
    weights = network.unstack(parameters, 1)
    module = StandaloneNetwork(network, weights, named_inputs=True, named_outputs=True).eval()
    session = onnxruntime.InferenceSession(written(module, rows))
    for count in (1, ROWS):
        given = {name: x[:count].numpy() for name, x in rows.items()}
        for port, found in zip(network.outputs, session.run(None, given), strict=True):
            np.testing.assert_allclose(
                found, expected[port][0, :count].numpy(), rtol=1e-5, atol=1e-5, err_msg=port
            )


@pytest.mark.parametrize("case", CASES)
def test_cpp_knows_dense_layers_dropout_and_a_first_flatten_and_refuses_others(case: str) -> None:
    value = VARIANTS.get(case, {case: SAYS.get(case)})
    layers = [value, {"dense": 1}]
    spec = schema.ExperimentSpec.model_validate({"dataset": "imdb", "layers": layers, "loss": "mse"})
    (kind,) = value
    assert (unknown_in(spec) is None) is (kind in ("dense", "dropout", "flatten"))


# --- dense -------------------------------------------------------------------------------------------------


def dense_layer(position: int, activation: Any, use_bias: bool) -> DenseLayer:
    spec = schema.Dense(units=6, activation=activation, use_bias=use_bias)
    return DenseLayer(spec, str(position), str(position), (FEATURES,), (6,))


def dropout_layer(rate: float, units: int = FEATURES) -> DropoutLayer:
    return DropoutLayer(schema.Dropout(rate=rate), "1", "1", (units,), (units,))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "glu"])
def test_dense_is_activation_of_x_times_kernel_plus_bias(activation: str, use_bias: bool) -> None:
    layer = dense_layer(4, activation, use_bias)
    kernel, bias, x = inputs(2, FEATURES, 6, seed=2), inputs(2, 1, 6, seed=3), inputs(2, ROWS, FEATURES)
    parameters = {"4.weight": kernel, "4.bias": bias} if use_bias else {"4.weight": kernel}
    assert [(k, w.shape) for k, w in layer.weights.items()] == [
        (k, tuple(v.shape[1:])) for k, v in parameters.items()
    ]
    expected = ACTIVATIONS[activation](
        torch.einsum("rbf,rfu->rbu", x.double(), kernel.double()) + (bias.double() if use_bias else 0)
    )
    found = layer.activate(layer.linear(parameters, x))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_takes_sparse_rows_as_it_takes_dense_ones(use_bias: bool) -> None:
    layer = dense_layer(0, "linear", use_bias)
    parameters = {"0.weight": inputs(2, FEATURES, 6, seed=2), "0.bias": inputs(2, 1, 6, seed=3)}
    batch, x_RBF = sparse_and_dense()
    expected = layer.linear(parameters, x_RBF)
    torch.testing.assert_close(layer.linear(parameters, batch), expected, rtol=1e-5, atol=1e-6)


def test_the_first_kernel_is_glorot_uniform_and_the_first_bias_zero() -> None:
    layer = last_of(stack([schema.Dense(units=200, activation="relu")], 300))
    weights = layer.initial(np.random.default_rng(5))
    kernel, limit = weights["0.weight"], np.sqrt(6 / 500)
    assert {k: (v.shape, v.dtype.name) for k, v in weights.items()} == {
        "0.weight": ((300, 200), "float32"),
        "0.bias": ((1, 200), "float32"),
    }
    assert (weights["0.bias"] == 0).all()
    assert 0.999 * limit < np.abs(kernel).max() <= np.float32(limit)
    # Of 60,000 uniform numbers in ten equal bins: chi² with 9 degrees of freedom is above 27.9 once in 1000.
    counts = np.histogram(kernel, bins=10, range=(-limit, limit))[0]
    assert ((counts - 6000) ** 2 / 6000).sum() < 27.9


@pytest.mark.parametrize(
    ("regularizer", "l1", "l2"),
    [
        ("l1", 0.01, 0),
        ("l2", 0, 0.01),
        ({"l1": 0.5}, 0.5, 0),
        ({"l2": 0.25}, 0, 0.25),
        ({"l1_l2": {"l1": 0.125, "l2": 2.0}}, 0.125, 2.0),
    ],
)
def test_the_penalty_is_that_of_the_kernel_alone(regularizer: object, l1: float, l2: float) -> None:
    spec = schema.Dense.model_validate({"units": 6, "kernel_regularizer": regularizer})
    layer = last_of(stack([spec], FEATURES))
    parameters = {"0.weight": inputs(REPLICAS, FEATURES, 6), "0.bias": torch.full((REPLICAS, 1, 6), 1e6)}
    kernel = parameters["0.weight"].double()
    expected = l1 * kernel.abs().sum((1, 2)) + l2 * kernel.square().sum((1, 2))
    found = penalty_of(layer.weights, parameters)
    assert found is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("regularizer", [None, {"l2": 0.0}, "l1_l2"])
def test_no_regularizer_and_one_of_zero_cost_nothing(regularizer: object) -> None:
    spec = schema.Dense.model_validate({"units": 6, "kernel_regularizer": regularizer})
    layer = last_of(stack([spec], FEATURES))
    assert penalty_of(layer.weights, {"0.weight": inputs(REPLICAS, FEATURES, 6)}) is None


# --- dropout -----------------------------------------------------------------------------------------------

KEYS = BatchRng(keys={"1": torch.tensor([11, 12])})


def sparse_and_dense(values: bool = True) -> tuple[SparseBatch, torch.Tensor]:
    """The same rows in both forms, others for each of two replicas."""
    rng = np.random.default_rng(4)
    x_NF = (rng.random((8, FEATURES)) < 0.5).astype(np.float32)
    if values:
        x_NF *= rng.normal(size=x_NF.shape).astype(np.float32)
    rows_GB = rng.integers(0, 8, (2, ROWS))
    sparse = SparseInputs(scipy.sparse.csr_array(x_NF), all_ones=not values, device=CPU)
    (batch,) = sparse.batches([0, 1], rows_GB, ROWS)
    return batch, torch.from_numpy(x_NF[rows_GB])


@settings(max_examples=30)
@given(st.integers(0, 99))
def test_dropout_zeroes_the_share_it_says_and_scales_the_rest(percent: int) -> None:
    rate = percent / 100
    x = torch.full((2, 500, 20), 3.0)
    found = dropout_layer(rate, 20).drop(x, KEYS)
    assert isinstance(found, torch.Tensor)
    dropped = found == 0
    torch.testing.assert_close(found[~dropped], torch.full(found[~dropped].shape, 3.0 / (1 - rate)))
    # Five standard deviations of a share of 20,000.
    assert abs(dropped.double().mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / dropped.numel())


def test_dropout_of_nothing_leaves_every_bit() -> None:
    x = inputs(2, ROWS, FEATURES)
    found = dropout_layer(0.0).drop(x, KEYS)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, x)


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_dropout_of_sparse_rows_is_that_of_dense_ones(rate: float, values: bool) -> None:
    layer = dropout_layer(rate)
    batch, x_RBF = sparse_and_dense(values)
    dropped_batch, dropped = layer.drop(batch, KEYS), layer.drop(x_RBF, KEYS)
    assert isinstance(dropped_batch, SparseBatch)
    assert isinstance(dropped, torch.Tensor)
    assert (dropped_batch.replicas, dropped_batch.rows, dropped_batch.features) == (2, ROWS, FEATURES)
    assert torch.equal(dropped_batch.columns, batch.columns)
    assert torch.equal(dropped_batch.row_starts, batch.row_starts)
    # Both go through a dense layer, forth and back: what was dropped is dropped in the gradient too.
    dense = dense_layer(2, "linear", False)
    found = []
    for x in (dropped_batch, dropped):
        kernel = inputs(2, FEATURES, 6, seed=2).requires_grad_()
        product = dense.linear({"2.weight": kernel}, x)
        found.append((product.detach(), torch.autograd.grad(product.square().sum(), kernel)[0].to_dense()))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    assert found[0][0].any()


def test_dropout_is_for_training_alone() -> None:
    network = stack([schema.Dropout(rate=0.9), schema.Dense(units=2)], FEATURES)
    plain = stack([schema.Dense(units=2)], FEATURES)
    parameters = network.initial_parameters(sources_of(0, [0]))
    x = inputs(1, ROWS, FEATURES)
    of_plain = {"0.weight": parameters["1.weight"], "0.bias": parameters["1.bias"]}
    assert torch.equal(
        *(n.forward(p, {INPUT: x})[OUTPUT] for n, p in ((network, parameters), (plain, of_plain)))
    )
    trained = network.forward(parameters, {INPUT: x}, network.rng(sources_of(0, [0]), 1, CPU))[OUTPUT]
    assert not torch.equal(trained, plain.forward(of_plain, {INPUT: x})[OUTPUT])


# --- first weights of the others ---------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3)])
def test_recurrent_kernels_are_orthogonal_and_kernels_glorot_uniform_over_all_gates(
    kind: str, gates: int
) -> None:
    weights = first([{"reshape": [4, 30]}, {kind: 20}, {"dense": 1}], 120)
    kernel, recurrent = weights["1.weight_ih"], weights["1.weight_hh"]
    assert (kernel.shape, recurrent.shape) == ((gates * 20, 30), (gates * 20, 20))
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(20), atol=1e-5)
    limit = np.sqrt(6 / (30 + gates * 20))
    assert 0.98 * limit < np.abs(kernel).max() <= np.float32(limit)


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3)])
def test_a_recurrent_layer_holds_the_gates_of_all_steps(kind: str, gates: int) -> None:
    """Though it gives the last step alone: memory and the rows of a block are reckoned by it."""
    network = stack([layer_of(v) for v in ({"reshape": [50, 3]}, {kind: 20}, {"dense": 1})], 150)
    assert network.widest_activation == 50 * gates * 20


def test_both_directions_begin_alike_and_not_the_same() -> None:
    layers = [{"reshape": [4, 30]}, {"gru": {"units": 20, "bidirectional": True}}, {"dense": 1}]
    weights = first(layers, 120)
    assert weights["2.weight"].shape == (1, 40)
    for name in ("weight_ih", "weight_hh"):
        one, other = weights[f"1.{name}"], weights[f"1.{name}_reverse"]
        assert one.shape == other.shape
        assert not np.array_equal(one, other)
    recurrent = weights["1.weight_hh_reverse"]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(20), atol=1e-5)
    assert np.abs(weights["1.weight_ih_reverse"]).max() <= np.float32(np.sqrt(6 / (30 + 60)))


@pytest.mark.parametrize(("kind", "gates"), [("simple_rnn", 1), ("gru", 3), ("lstm", 4)])
@pytest.mark.parametrize("recurrent", [0.0, 0.5])
def test_dropout_of_a_recurrent_layer_is_the_same_in_all_steps(
    kind: str, gates: int, recurrent: float
) -> None:
    """With `recurrent_dropout` each gate has a choice of its own, else all have the same."""
    says = {"units": 8, "dropout": 0.5, "recurrent_dropout": recurrent, "bidirectional": True}
    network = stack([layer_of(v) for v in ({"reshape": [6, 5]}, {kind: says}, {"dense": 1})], 30)
    layer: Any = network.layers[1]
    rng = BatchRng(sources_of(0, range(2)))
    of_input = layer._factors(rng, "dropout", inputs(2, ROWS, 6, 5), 0.5, 5)
    assert of_input.shape == (4, gates if recurrent else 1, ROWS, 5)
    assert set(of_input.unique().tolist()) == {0.0, 2.0}
    directions = of_input[:2], of_input[2:]
    assert not torch.equal(*directions)
    # Ones in, a kernel of ones, no bias: a step's part in a gate is the number of features left, each step.
    parameters = {
        name: torch.ones(2, *weight.shape) * name.startswith("1.weight_ih")
        for name, weight in network.weights.items()
    }
    ones = torch.ones(4, ROWS, 6, 5)
    kernel = layer._stacked(parameters, "weight_ih")
    projected = layer._projected(kernel, ones, None, rng)  # (T, Q, B, gates * units)
    assert torch.equal(projected, projected[:1].expand(projected.shape))
    left = of_input.sum(-1).transpose(1, 2).repeat_interleave(8 if recurrent else 8 * gates, -1)
    torch.testing.assert_close(projected[0], left)


def test_the_forget_gate_begins_open() -> None:
    stack: list[Any] = [{"reshape": [2, 3]}, {"lstm": 2}, {"dense": 1}]
    assert first(stack, 6)["1.bias"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    stack[1] = {"lstm": {"units": 2, "unit_forget_bias": False}}
    assert not first(stack, 6)["1.bias"].any()


def test_a_convolution_counts_its_window_in_its_fans() -> None:
    conv = {"conv2d": {"filters": 40, "kernel_size": [3, 2]}}
    weights = first([{"reshape": [8, 8, 5]}, conv, "flatten", {"dense": 1}], 320)
    limit = np.sqrt(6 / (6 * 5 + 6 * 40))
    assert weights["1.weight"].shape == (40, 5, 3, 2)
    assert 0.98 * limit < np.abs(weights["1.weight"]).max() <= np.float32(limit)
    assert not weights["1.bias"].any()


def test_an_embedding_begins_within_a_twentieth() -> None:
    table = first([{"embedding": 8}, "flatten", {"dense": 1}], 3, tokens=500)["0.weight"]
    assert table.shape == (500, 8)
    assert 0.0499 < np.abs(table).max() <= np.float32(0.05)


def test_words_are_looked_up_as_they_are_numbered() -> None:
    network = stack([layer_of(v) for v in ({"embedding": 2}, "flatten", {"dense": 1})], 3, 5)
    tables = torch.arange(20, dtype=torch.float32).view(2, 5, 2)
    words = torch.tensor([[[0.0, 4.0, 1.0]], [[2.0, 2.0, 3.0]]])
    found: Any = network.layers[0].forward({"0.weight": tables}, words, None, None)
    vectors = dense(found)  # from C++, or PyTorch
    assert vectors.tolist() == [[[[0, 1], [8, 9], [2, 3]]], [[[14, 15], [14, 15], [16, 17]]]]


# --- periodic embeddings of numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("units", [None, 4])
def test_periodic_gives_cosines_and_sines_of_each_column(units: int | None) -> None:
    """Against the same in NumPy, number by number."""
    says: dict[str, Any] = {"frequencies": 3, "sigma": 0.7, **({} if units is None else {"units": units})}
    network = stack([layer_of({"periodic": says}), layer_of({"dense": 1})], FEATURES)
    parameters, x = lively(network), inputs(REPLICAS, ROWS, FEATURES)
    layer = network.layers[0]
    found = layer.forward(parameters, x, None, None)
    assert isinstance(found, torch.Tensor)
    values = {name: value.double().numpy() for name, value in parameters.items()}
    for replica, row, column in np.ndindex(REPLICAS, ROWS, FEATURES):
        angle = 2 * np.pi * values["0.frequencies"][replica, column] * float(x[replica, row, column])
        expected = np.concatenate([np.cos(angle), np.sin(angle)])
        if units is not None:
            kernel, bias = (values[f"0.{name}"][replica, column] for name in ("weight", "bias"))
            expected = np.maximum(expected @ kernel + bias, 0)
        own = found[replica, row].view(FEATURES, -1)[column]
        np.testing.assert_allclose(own.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_periodic_begins_with_normal_frequencies_and_a_kernel_for_each_column() -> None:
    weights = first([{"periodic": {"frequencies": 400, "sigma": 0.3, "units": 100}}, {"dense": 1}], 3)
    shapes = {name: value.shape for name, value in weights.items()}
    assert shapes == {
        "0.frequencies": (3, 400),
        "0.weight": (3, 800, 100),
        "0.bias": (3, 100),
        "1.weight": (1, 300),
        "1.bias": (1,),
    }
    # Of 1,200 normal numbers mean and deviation are this near five times out of six million.
    assert abs(weights["0.frequencies"].mean()) < 5 * 0.3 / np.sqrt(1200)
    assert abs(weights["0.frequencies"].std() / 0.3 - 1) < 5 / np.sqrt(2 * 1200)
    limit = np.sqrt(6 / (800 + 100))
    for kernel in weights["0.weight"]:
        assert 0.99 * limit < np.abs(kernel).max() <= np.float32(limit)
    assert not weights["0.bias"].any()
