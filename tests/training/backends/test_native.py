"""Steps made in C++ compute what PyTorch's do, for everything that a spec can say of them."""

import dataclasses
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import create_model

from nnrun.model.inputs import DenseInputs
from nnrun.native.library import SOURCES
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT
from nnrun.training.backends import native, native_job
from nnrun.training.backends.native import NativeBackend
from nnrun.training.problem import TrainingProblem
from tests.support.native_problems import (
    ACTIVATIONS,
    AVERAGING,
    CLASSES,
    LAST,
    OPTIMIZERS,
    SIGMOID,
    SOFTMAX,
    assert_alike,
    averaged,
    engines,
    epoch,
    needs_compiler,
)
from tests.support.native_problems import native as native_engine
from tests.support.networks import stack
from tests.support.small_problems import (
    N,
    assert_same,
    first_weights,
    make_problem,
    rows,
    several_rows,
    zeros_and_ones,
)
from tests.support.streams import sources_of


@needs_compiler
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer(optimizer: Any) -> None:
    """Two folds of unequal length, dropout, a penalty, and a short batch at the end."""
    assert_alike(make_problem(optimizer=optimizer, batch_size=7))


@needs_compiler
@pytest.mark.parametrize("averaging", AVERAGING, ids=str)
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_every_average_of_weights(optimizer: str, averaging: Any) -> None:
    """What is kept and evaluated is the average, and what is trained goes on without it."""
    problem = make_problem(optimizer=optimizer, batch_size=7)
    assert_alike(averaged(problem, averaging, 2), epochs=4)
    plain, fast = engines(averaged(problem, averaging, 2), 2)
    for number in (1, 2, 3):
        for engine in (plain, fast):
            epoch(engine, (58, 53), number)
    assert_same(dict(fast.state.parameters), dict(plain.state.parameters))
    assert any((value != fast.state.parameters[name]).any() for name, value in fast.weights().items())


@needs_compiler
@pytest.mark.parametrize("loss", [*native_job.LOSSES, {"huber": 0.3}], ids=str)
def test_every_loss(loss: Any) -> None:
    last, targets = LAST[loss if isinstance(loss, str) else "huber"]
    layers = [{"dense": {"units": 9, "activation": "tanh"}}, last]
    assert_alike(make_problem(layers, loss=loss, metrics=[], targets=targets, optimizer="sgd"))


@needs_compiler
def test_large_batches_of_one_sign() -> None:
    """Losses and gradients of a bias of one sign: a sum in float32 would lose four digits of them."""
    n = 40_000
    targets = 100 + rows(1, n, 1) / 1000
    layer = {"dense": {"units": 1, "kernel_initializer": "zeros"}}
    problem = make_problem(
        [layer],
        loss="mse",
        optimizer={"sgd": 0.5},
        metrics=[],
        x_SNF=rows(1, n, 3),
        targets=targets,
        batch_size=n,
    )
    engine = native_engine(problem, first_weights(problem, [0]))
    made = engine.train_epoch([np.arange(n)], sources_of(0, [0]), 1)
    exact = targets.astype(float)
    np.testing.assert_allclose(made.losses, [np.mean(exact**2)], rtol=1e-6)
    np.testing.assert_allclose(engine.weights()["0.bias"].item(), exact.mean(), rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("place", ["hidden", "last"])
def test_every_activation(activation: str, place: str) -> None:
    """Between layers and as the last, on values from the flat parts of the curves to the steep ones."""
    hidden, last = {"units": 9, "activation": activation}, {"units": 2, "activation": activation}
    layers = [{"dense": hidden}, {"dense": 2}] if place == "hidden" else [{"dense": 9}, {"dense": last}]
    x = 12 * rows(1, N, 6)
    problem = make_problem(
        layers, loss="mse", metrics=["mae"], x_SNF=x, targets=rows(1, N, 2), optimizer={"sgd": 1e-3}
    )
    assert_alike(problem)


@needs_compiler
@pytest.mark.parametrize(
    "regularizer", [{"l1": 0.02}, {"l2": 0.02}, {"l1_l2": {"l1": 0.01, "l2": 0.03}}, "l2"]
)
def test_every_regularizer(regularizer: Any) -> None:
    regular = {"units": 5, "kernel_regularizer": regularizer, "activation": "gelu"}
    assert_alike(make_problem([{"dense": regular}, {"dropout": 0.3}, SIGMOID], optimizer={"sgd": 0.1}))


@needs_compiler
@pytest.mark.parametrize(
    "layers",
    [
        [SIGMOID],
        [{"dense": {"units": 4, "use_bias": False}}, {"dense": {"units": 1, "use_bias": False}}],
        [{"dropout": 0.5}, {"dropout": 0.0}, {"dense": 3}, {"dropout": 0.1}, {"dropout": 0.2}, SIGMOID],
        [{"dense": 1}, {"dense": 1100}, {"dense": 1}, {"dense": 7}, SIGMOID],
    ],
    ids=["one layer", "no biases", "dropout upon dropout", "wide and narrow"],
)
def test_every_shape_of_stack(layers: list[Any]) -> None:
    assert_alike(make_problem(layers))


@needs_compiler
@given(
    features=st.integers(1, 40),
    units=st.lists(st.integers(1, 40), min_size=0, max_size=3),
    batch_size=st.integers(1, 40),
    lengths=st.lists(st.integers(30, N), min_size=1, max_size=3),
    own_rows=st.booleans(),
    dropout=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=40, deadline=None)
def test_any_sizes(
    features: int,
    units: list[int],
    batch_size: int,
    lengths: list[int],
    own_rows: bool,
    dropout: float,
) -> None:
    """Rows that folds share or have for themselves, batches of any size, a last one of any size."""
    layers = [
        *({"dense": {"units": n, "activation": "tanh"}} for n in units),
        {"dropout": dropout},
        {"dense": 2},
    ]
    sets = len(lengths) if own_rows else 1
    x, targets = rows(sets, N, features), rows(sets, N, 2, seed=9)
    problem = make_problem(
        layers,
        loss="mse",
        metrics=["mae"],
        x_SNF=x,
        targets=targets,
        optimizer={"sgd": 0.01},
        batch_size=batch_size,
    )
    assert_alike(problem, lengths, epochs=1)


@needs_compiler
def test_a_replica_does_not_know_who_trains_beside_it() -> None:
    """Bit for bit: alone, beside others, and after one of them was left out."""
    problem = make_problem(optimizer="rmsprop", batch_size=7)
    orders = several_rows((58, 53, 40))
    sources = sources_of(0, range(3))
    together = engines(problem, 3)[1]
    last = first = together.train_epoch(orders, sources, 1)
    together.select_replicas([0, 2])
    last = together.train_epoch([orders[0], orders[2]], [sources[0], sources[2]], 2)
    weights = {name: value[2:] for name, value in first_weights(problem, range(3)).items()}
    alone = native_engine(problem, weights)
    assert alone.train_epoch(orders[2:], sources[2:], 1).losses == first.losses[2:]
    assert alone.train_epoch(orders[2:], sources[2:], 2).losses == last.losses[1:]
    ended = {name: value[1:] for name, value in together.weights().items()}
    assert_same(ended, alone.weights(), exactly=True)


@needs_compiler
def test_what_diverges_is_seen() -> None:
    """A NaN stays one behind every activation: the first bad batch is the one that PyTorch finds."""
    for activation in ACTIVATIONS:
        x = rows(1, N, 6)
        x[0, 20, 3] = np.nan
        layers = [{"dense": {"units": 5, "activation": activation}}, {"dense": 1}]
        problem = make_problem(layers, loss="mse", metrics=[], x_SNF=x, targets=rows(1, N, 1))
        order: list[RowIndices] = [np.arange(N)]
        found = [e.train_epoch(order, sources_of(0, [0]), 1).first_bad_batch for e in engines(problem, 1)]
        assert found == [(3,), (3,)], activation


@needs_compiler
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy", "mse"])
def test_large_values_before_a_softmax(loss: str) -> None:
    """Exponentials of which none fits a float32."""
    targets = CLASSES if loss.startswith("sparse") else np.eye(3, dtype=np.float32)[CLASSES]
    x = 1000 * rows(1, N, 6)
    assert_alike(
        make_problem([SOFTMAX], loss=loss, metrics=[], x_SNF=x, targets=targets, optimizer={"sgd": 1e-6})
    )


@needs_compiler
def test_a_gradient_that_does_not_change() -> None:
    """Its mean square minus its squared mean is nothing but rounding, of either sign."""
    x = np.repeat(1000 * rows(1, 1, 50), N, axis=1)
    targets = np.full((1, N, 1), 1e9, np.float32)
    centered = {"rmsprop": {"centered": True, "rho": 0.3}}
    problem = make_problem(
        [{"dense": 1}], loss="mae", metrics=[], x_SNF=x, targets=targets, optimizer=centered
    )
    engine = engines(problem, 2)[1]
    for number in range(1, 25):
        epoch(engine, (N, N), number)
    assert all(bool(value.isfinite().all()) for value in engine.weights().values())


@needs_compiler
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("batch_size", [2, 57])
def test_the_number_of_threads_changes_no_bit(
    batch_size: int, sparse: bool, replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in training nor in evaluation; small steps and such as are shared out, with dropout between."""
    units = 8 if batch_size == 2 else 600
    monkeypatch.setattr(native, "WORTH_THREADS", 0)
    hidden = {"dense": {"units": units, "activation": "tanh", "kernel_regularizer": "l2"}}
    layers = [hidden, {"dropout": 0.2}, hidden, {"dense": {"units": 3, "activation": "softmax"}}]
    settings: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    x = rows(1, N, 40)
    problem = make_problem(
        layers, x_SNF=x, targets=CLASSES, batch_size=batch_size, sparse=sparse, optimizer="adam", **settings
    )
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(native, "wanted_threads", lambda threads=threads: threads)
        engine = native_engine(problem, first_weights(problem, range(replicas)))
        losses = [epoch(engine, [N] * replicas, number).losses for number in (1, 2)]
        losses.append(engine.evaluate(several_rows([N] * replicas)).losses)
        found.append((losses, engine.weights()))
    for losses, weights in found[1:]:
        assert losses == found[0][0]
        assert_same(weights, found[0][1], exactly=True)


@needs_compiler
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_bytes(channels: int, own: bool) -> None:
    """Images of bytes, flattened: what a byte becomes is looked up, for all columns alike or by channel."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (2 if own else 1, N, 4, 2, 3), np.uint8)
    values = rng.normal(size=(len(images), channels, 256)).astype(np.float32)
    flat = make_problem([{"dense": 5}, SIGMOID], x_SNF=rows(1, N, 24))
    inputs = {INPUT: DenseInputs(torch.from_numpy(images), torch.from_numpy(values))}
    assert_alike(dataclasses.replace(flattened(flat, (4, 2, 3)), inputs=inputs))


@needs_compiler
def test_flattened_rows() -> None:
    """`flatten` as the first layer, then dropout: the same numbers in the same order."""
    problem = make_problem([{"dropout": 0.2}, {"dense": 5}, SIGMOID], x_SNF=rows(1, N, 24))
    x = DenseInputs(torch.from_numpy(rows(1, N, 24).reshape(1, N, 4, 2, 3)))
    assert_alike(dataclasses.replace(flattened(problem, (4, 2, 3)), inputs={INPUT: x}))


def flattened(problem: TrainingProblem, shape: tuple[int, ...]) -> TrainingProblem:
    """The same for rows of this shape, which a first layer flattens."""
    assert problem.spec is not None
    spec = problem.spec.model_copy(update={"layers": [schema.Flatten(), *graph_of(problem.spec).layers]})
    return dataclasses.replace(problem, spec=spec, network=stack(spec.layers, shape))


@needs_compiler
@pytest.mark.parametrize(("batch_size", "units"), [(320, 205), (133, 520)], ids=["small kernels", "large"])
def test_batches_in_parts(batch_size: int, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of small kernels grow part by part; on several threads, or of large ones, after all parts.

    The bits are the same.
    """
    n = 700
    layers = [
        {"dense": {"units": units, "activation": "gelu"}},
        {"dropout": 0.2},
        {"dense": {"units": 300, "activation": "tanh", "kernel_regularizer": "l2"}},
        SIGMOID,
    ]
    targets = zeros_and_ones(1, n, 1)
    problem = make_problem(layers, x_SNF=rows(1, n, 17), targets=targets, batch_size=batch_size)
    order = [np.random.default_rng(2).permutation(n)[: n - 41]]
    monkeypatch.setattr(native, "WORTH_THREADS", 0)
    plain, one = engines(problem, 1)
    several = native_engine(problem, first_weights(problem, [0]))
    made = []
    for engine, threads in ((plain, 1), (one, 1), (several, 3)):
        monkeypatch.setattr(native, "wanted_threads", lambda threads=threads: threads)
        made.append(engine.train_epoch(order, sources_of(0, [0]), 1).losses)
    np.testing.assert_allclose(made[1], made[0], rtol=1e-5)
    assert_same(one.weights(), plain.weights())
    assert made[2] == made[1]
    assert_same(several.weights(), one.weights(), exactly=True)


# --- what it does not know ---------------------------------------------------------------------------------


def test_what_is_not_supported() -> None:
    assert NativeBackend.unsupported(make_problem()) is None
    assert NativeBackend.unsupported(make_problem(x_SNF=rows(1, N, 6), sparse=True)) is None
    clipped = dataclasses.replace(make_problem(), clip=lambda gradients: gradients)
    assert NativeBackend.unsupported(clipped) == "C++ does not support `clip`"
    late = make_problem([{"dense": 4}, "flatten", SIGMOID])
    assert NativeBackend.unsupported(late) == "C++ does not support `flatten` after another layer"
    unsaid = dataclasses.replace(make_problem(), spec=None)
    assert NativeBackend.unsupported(unsaid) == "the problem does not say what spec it comes from"


def with_spec(**changes: Any) -> TrainingProblem:
    problem = make_problem()
    assert problem.spec is not None
    return dataclasses.replace(problem, spec=problem.spec.model_copy(update=changes))


def test_a_parameter_that_is_new_to_the_schema_is_an_obstacle_where_it_is_used() -> None:
    """An optimizer that learns to clip, a spec that learns of schedules: never left out in silence."""
    Clipping = create_model("Clipping", __base__=schema.Adam, clipnorm=(float, 0.0))
    Scheduled = create_model("Scheduled", __base__=schema.ExperimentSpec, schedule=(str, ""))
    known: dict[Any, set[str]] = {**native._KNOWN, Clipping: native._KNOWN[schema.Adam]}
    known[Scheduled] = known[schema.ExperimentSpec]
    with pytest.MonkeyPatch.context() as patch:
        assert NativeBackend.unsupported(with_spec(optimizer=Clipping())) == "C++ does not support `adam`"
        patch.setattr(native, "_KNOWN", known)
        assert NativeBackend.unsupported(with_spec(optimizer=Clipping())) is None
        clipped = with_spec(optimizer=Clipping.model_validate({"clipnorm": 1.0}))
        assert NativeBackend.unsupported(clipped) == "C++ does not support `clipnorm` of `adam`"
        problem = make_problem()
        assert problem.spec is not None
        spec = Scheduled.model_validate({**problem.spec.model_dump(), "schedule": "cosine"})
        assert (
            NativeBackend.unsupported(dataclasses.replace(problem, spec=spec))
            == "C++ does not support `schedule`"
        )


def test_a_field_that_is_new_to_the_task_is_an_obstacle_where_it_is_set() -> None:
    Masked = dataclasses.make_dataclass(
        "Masked", [("mask", Any, None)], bases=(TrainingProblem,), frozen=True
    )
    values = {
        field.name: getattr(make_problem(), field.name) for field in dataclasses.fields(TrainingProblem)
    }
    assert NativeBackend.unsupported(Masked(**values)) is None
    assert NativeBackend.unsupported(Masked(**values, mask=torch.ones(N))) == "C++ does not support `mask`"


def test_both_sides_name_the_same_things_in_the_same_order() -> None:
    text = (SOURCES / "job.h").read_text(encoding="utf-8")
    for name, mine in (
        ("Kind", native_job.KINDS),
        ("Activation", native_job.ACTIVATIONS),
        ("Loss", native_job.LOSSES),
        ("Optimizer", native_job.OPTIMIZERS),
    ):
        body = text.split(f"enum class {name} : std::int32_t {{")[1].split("}")[0]
        assert tuple(body.replace(",", " ").split()) == mine, name
    for name, structure in (
        ("OptimizerConfig", native_job.OptimizerConfig),
        ("Job", native_job.Job),
        ("Layer", native_job.Layer),
    ):
        assert names_in_c(text, name) == [field[0] for field in structure._fields_], name


def names_in_c(text: str, structure: str) -> list[str]:
    """The members of a structure, in the order of its source."""
    lines = text.split(f"struct {structure} {{")[1].split("\n};")[0].splitlines()
    members = [line.split("//")[0].strip().rstrip(";") for line in lines]
    declared = [
        member.split(None, 2 if member.startswith("const") else 1)[-1] for member in members if member
    ]
    return [name.strip("* ") for names in declared for name in names.split(",")]


def test_what_cpp_names_is_in_the_schema() -> None:
    """The rest of the schema is not supported, so that PyTorch trains."""
    assert set(native_job.ACTIVATIONS) <= set(get_args(schema.ActivationName))
    assert set(native_job.LOSSES) <= set(schema.components(schema.Loss))
    assert set(native_job.OPTIMIZERS) <= set(schema.components(schema.Optimizer))
    known = {cls.kind for cls in native._KNOWN if issubclass(cls, schema.Component)}
    assert known >= {*native_job.KINDS, *native_job.LOSSES, *native_job.OPTIMIZERS}


@pytest.mark.parametrize(
    "kind", [kind for kind in schema.components(schema.Optimizer) if kind not in native_job.OPTIMIZERS]
)
def test_other_optimizers_are_not_supported(kind: str) -> None:
    other = schema.components(schema.Optimizer)[kind]()
    assert NativeBackend.unsupported(with_spec(optimizer=other)) == f"C++ does not support `{kind}`"


@pytest.mark.parametrize("field", ["weight_decay", "gradient_accumulation_steps"])
def test_what_all_optimizers_take_is_not_supported(field: str) -> None:
    other = schema.Adam.model_validate({field: {"weight_decay": 0.1}.get(field, 2)})
    assert (
        NativeBackend.unsupported(with_spec(optimizer=other)) == f"C++ does not support `{field}` of `adam`"
    )


@pytest.mark.parametrize(
    "activation", [name for name in get_args(schema.ActivationName) if name not in native_job.ACTIVATIONS]
)
def test_other_activations_are_not_supported(activation: str) -> None:
    layers = [schema.Dense(units=4, activation=activation), schema.Dense(units=1, activation="sigmoid")]
    reason = f"C++ does not support the activation `{activation}`"
    assert NativeBackend.unsupported(with_spec(layers=layers)) == reason


@pytest.mark.parametrize(
    "loss", [kind for kind in schema.components(schema.Loss) if kind not in native_job.LOSSES]
)
def test_other_losses_are_not_supported(loss: str) -> None:
    other = schema.components(schema.Loss)[loss]()
    assert NativeBackend.unsupported(with_spec(loss=other)) == f"C++ does not support `{loss}`"
