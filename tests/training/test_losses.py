"""One contract over every loss, and Keras's definition of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.spec import schema
from nnrun.training.losses import LOSSES, build_loss
from tests.support.example_tables import line_for
from tests.support.keras_values import LOSS_CASES, LossCase, keras_values

# `ctc` compares sequences with steps: `test_ctc.py`.
KINDS = {kind: cls for kind, cls in schema.components(schema.Loss).items() if kind != "ctc"}
REPLICAS, ROWS, OUTPUTS = 3, 5, 4

# The last activation that a loss is made for; any other is made for numbers of any size.
ACTIVATION = {
    "poisson": "exponential",
    "msle": "softplus",
    **{
        kind: (cls.score_activations or (cls.last_activation,))[0]
        for kind, cls in KINDS.items()
        if issubclass(cls, schema.ClassLoss)
    },
}
MAY_BE_ZERO = ("hinge", "squared_hinge", "categorical_hinge")
MAY_BE_NEGATIVE = ("poisson", "cosine_similarity")


def example(kind: str) -> schema.Component:
    """A loss with nothing but what a spec must say of it."""
    cls = KINDS[kind]
    values = {int: 2, float: 0.5}
    required = {k: field.annotation for k, field in cls.model_fields.items() if field.is_required()}
    return cls.model_validate({name: values[annotation] for name, annotation in required.items()})


def targets_for(kind: str, rng: np.random.Generator) -> Tensor:
    """(R, B) class indices, or (R, B, K) of the kind that the last activation gives."""
    cls, shape = KINDS[kind], (REPLICAS, ROWS, OUTPUTS)
    classes = rng.integers(0, OUTPUTS, shape[:2])
    step = cls.target_step if issubclass(cls, schema.ClassLoss) else "numbers"
    if step == "class_index":
        return torch.from_numpy(classes)
    if step == "one_hot":
        values = np.eye(OUTPUTS)[classes]
    elif step == "none":
        values = rng.integers(0, 2, shape)
        if kind in ("dice", "tversky"):  # of a row without labels they are 1, whatever is said of it
            values[..., 0] = 1
    elif kind == "poisson":
        values = rng.poisson(2, shape)
    else:
        values = rng.normal(size=shape)
        if kind in ("mape", "msle"):
            values = np.exp(values)
    return torch.from_numpy(values.astype(np.float32))


def row_losses(spec: schema.Component, z: Tensor, targets: Tensor) -> Tensor:
    activate = ACTIVATIONS[ACTIVATION.get(spec.kind, "linear")]
    return build_loss(spec)(z, activate(z), targets)


def logits(seed: int = 1) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 2, (REPLICAS, ROWS, OUTPUTS)).astype(np.float32))


# --- the contract ------------------------------------------------------------------------------------------


def test_every_loss_of_the_schema_has_its_function() -> None:
    assert set(LOSSES) == {*KINDS.values(), schema.Ctc, schema.Custom}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_one_finite_number_a_row_and_gives_gradients(kind: str) -> None:
    z, targets = logits().requires_grad_(), targets_for(kind, np.random.default_rng(2))
    losses = row_losses(example(kind), z, targets)
    assert losses.shape == (REPLICAS, ROWS)
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
    assert (losses > 0).all() or kind in MAY_BE_ZERO + MAY_BE_NEGATIVE
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    assert torch.isfinite(gradient).all()
    learns = losses > 0 if kind in MAY_BE_ZERO else torch.ones_like(losses, dtype=torch.bool)
    assert learns.sum() > learns.numel() / 2
    assert torch.equal((gradient != 0).any(-1), learns), "some row says nothing of where to go"


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_s_loss_does_not_depend_on_the_rows_beside_it(kind: str) -> None:
    z, targets = logits(), targets_for(kind, np.random.default_rng(2))
    together = row_losses(example(kind), z, targets)
    for r in range(REPLICAS):
        for b in range(ROWS):
            alone = row_losses(example(kind), z[r : r + 1, b : b + 1], targets[r : r + 1, b : b + 1])
            torch.testing.assert_close(alone[0, 0], together[r, b])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_slope(kind: str) -> None:
    z, targets = logits().double().requires_grad_(), targets_for(kind, np.random.default_rng(2))
    if targets.is_floating_point():
        targets = targets.double()
    assert torch.autograd.gradcheck(lambda values: row_losses(example(kind), values, targets), z)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_down_the_gradient_lowers_the_loss(kind: str) -> None:
    z, targets = logits().double().requires_grad_(), targets_for(kind, np.random.default_rng(2))
    targets = targets.double() if targets.is_floating_point() else targets
    before = row_losses(example(kind), z, targets)
    (gradient,) = torch.autograd.grad(before.sum(), z)
    with torch.no_grad():
        after = row_losses(example(kind), z - 1e-4 * gradient, targets)
    assert ((after < before) | ((before == 0) & (after == 0))).all()


# --- what each means ---------------------------------------------------------------------------------------


def huber(outputs: np.ndarray, targets: np.ndarray, delta: float) -> np.ndarray:
    error = np.abs(outputs - targets)
    return np.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2).mean(-1)


def chosen(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities, targets[..., None], -1)[..., 0]


def focal(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    right = t * p + (1 - t) * (1 - p)
    return (-((1 - right) ** 2) * np.log(right)).mean(-1)


def cosine(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(y * t).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(t, axis=-1)


def overlap(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 - 2 * (p * t).sum(-1) / (p + t).sum(-1)


# Keras 3 (keras/src/losses), from outputs and targets in float64. A new loss needs its line here.
FORMULAS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "binary_crossentropy": lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(-1),
    "categorical_crossentropy": lambda p, t: -(t * np.log(p)).sum(-1),
    "sparse_categorical_crossentropy": lambda p, t: -np.log(chosen(p, t)),
    "mse": lambda y, t: ((y - t) ** 2).mean(-1),
    "mae": lambda y, t: np.abs(y - t).mean(-1),
    "huber": lambda y, t: huber(y, t, 1.0),
    "binary_focal_crossentropy": focal,
    "categorical_focal_crossentropy": lambda p, t: -(t * 0.25 * (1 - p) ** 2 * np.log(p)).sum(-1),
    "kl_divergence": lambda p, t: (t * np.log(np.where(t > 0, t, 1) / p)).sum(-1),
    "hinge": lambda y, t: np.maximum(1 - np.where(t > 0, 1, -1) * y, 0).mean(-1),
    "squared_hinge": lambda y, t: (np.maximum(1 - np.where(t > 0, 1, -1) * y, 0) ** 2).mean(-1),
    "categorical_hinge": lambda y, t: np.maximum(((1 - t) * y).max(-1) - (t * y).sum(-1) + 1, 0),
    "dice": overlap,
    "tversky": overlap,
    "log_cosh": lambda y, t: np.log(np.cosh(y - t)).mean(-1),
    "mape": lambda y, t: 100 * (np.abs(y - t) / np.abs(t)).mean(-1),
    "msle": lambda y, t: ((np.log(1 + y) - np.log(1 + t)) ** 2).mean(-1),
    "poisson": lambda y, t: (y - t * np.log(y + 1e-7)).mean(-1),
    "cosine_similarity": cosine,
    "quantile": lambda y, t: np.abs(y - t).mean(-1) / 2,
}


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32))
def test_the_values_are_keras_s(kind: str, seed: int) -> None:
    z, targets = logits(seed), targets_for(kind, np.random.default_rng(seed))
    outputs = ACTIVATIONS[ACTIVATION.get(kind, "linear")](z.double()).numpy()
    expected = line_for(FORMULAS, kind, "FORMULAS of tests/training/test_losses.py")(
        outputs, targets.numpy().astype(float) if targets.dim() == 3 else targets.numpy()
    )
    found = row_losses(example(kind), z, targets).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", LOSS_CASES, ids=lambda case: case.name)
def test_the_values_are_those_that_keras_computed(case: LossCase) -> None:
    """With its parameters, and by the names that Keras has for it."""
    targets, outputs = (torch.from_numpy(values) for values in case.arrays())
    # Values before the activation, which some losses take, from the outputs that Keras was given.
    z = {"sigmoid": torch.logit, "softmax": torch.log}.get(case.activation, lambda y: y)(outputs.double())
    loss = KINDS[case.kind].model_validate({case.kind: case.parameters})
    found = build_loss(loss)(z[None], outputs.double()[None], targets.double()[None])[0]
    expected = keras_values("losses")[case.name]
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.0])
def test_huber_is_squared_below_delta_and_linear_above(delta: float) -> None:
    outputs, targets = logits(1), logits(2)
    expected = huber(outputs.double().numpy(), targets.double().numpy(), delta)
    found = build_loss(schema.Huber(delta=delta))(outputs, outputs, targets)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh"])
@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_a_distance_is_taken_after_the_last_activation(kind: str, activation: str) -> None:
    z, targets = logits(1), logits(2)
    outputs = ACTIVATIONS[activation](z)
    expected = FORMULAS[kind](outputs.double().numpy(), targets.double().numpy())
    np.testing.assert_allclose(build_loss(KINDS[kind]())(z, outputs, targets).numpy(), expected, rtol=1e-5)


def test_a_categorical_target_may_be_shared_out_among_the_classes() -> None:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(OUTPUTS), (REPLICAS, ROWS)).astype(np.float32)
    probabilities = ACTIVATIONS["softmax"](logits().double()).numpy()
    found = row_losses(schema.CategoricalCrossentropy(), logits(), torch.from_numpy(shares))
    np.testing.assert_allclose(found.numpy(), -(shares * np.log(probabilities)).sum(-1), rtol=1e-5)


# --- far from zero -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
def test_a_cross_entropy_stays_finite_where_probabilities_round_to_zero(size: float) -> None:
    """The loss of a sure and wrong answer is how sure it was; of a sure and right one it is 0."""
    z = torch.tensor([[[size, -size], [-size, size]]], requires_grad=True)
    one_hot, indices = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[1, 1]])
    # An output alone is wrong by its distance from 0; between two classes the distance is twice that.
    for spec, targets, wrong in [
        (schema.BinaryCrossentropy(), one_hot, size),
        (schema.CategoricalCrossentropy(), one_hot, 2 * size),
        (schema.SparseCategoricalCrossentropy(), indices, 2 * size),
    ]:
        losses = row_losses(spec, z, targets)
        np.testing.assert_allclose(losses.detach().numpy(), [[wrong, 0]], rtol=1e-6, atol=1e-30)
        (gradient,) = torch.autograd.grad(losses.sum(), z)
        assert torch.isfinite(gradient).all()
        assert (gradient[0, 0] != 0).all(), "a wrong answer that is sure of itself still learns"


# --- label smoothing ---------------------------------------------------------------------------------------


@given(smoothing=st.floats(0.01, 0.99))
@pytest.mark.parametrize("kind", ["binary_crossentropy", "categorical_crossentropy"])
def test_smoothed_labels_are_a_mixture_with_equal_shares(kind: str, smoothing: float) -> None:
    """The loss is linear in the targets: a share of the loss against equal shares, of two or of K."""
    targets = targets_for(kind, np.random.default_rng(3))
    equal = torch.full_like(targets, 1 / 2 if kind == "binary_crossentropy" else 1 / OUTPUTS)
    plain, z = KINDS[kind](), logits()
    expected = (1 - smoothing) * row_losses(plain, z, targets) + smoothing * row_losses(plain, z, equal)
    found = row_losses(KINDS[kind].model_validate({"label_smoothing": smoothing}), z, targets)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_sparse_label_smoothing_is_that_of_one_hot_targets(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(3)
    z = 5 * torch.randn(2, 7, 4, generator=generator)
    classes = torch.randint(0, 4, (2, 7), generator=generator)
    sparse = build_loss(schema.SparseCategoricalCrossentropy(label_smoothing=smoothing))
    dense = build_loss(schema.CategoricalCrossentropy(label_smoothing=smoothing))
    outputs = torch.softmax(z, -1)
    one_hot = torch.nn.functional.one_hot(classes, 4).float()
    torch.testing.assert_close(sparse(z, outputs, classes), dense(z, outputs, one_hot))


# --- one by one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("size", [0.0, 20.0, 1e4])
def test_a_focal_loss_and_its_gradient_are_finite_however_sure_an_answer_is(
    gamma: float, size: float
) -> None:
    z = torch.tensor([[[size, -size], [-size, size]]], requires_grad=True)
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    for spec in (
        schema.BinaryFocalCrossentropy(gamma=gamma),
        schema.CategoricalFocalCrossentropy(gamma=gamma),
    ):
        losses = row_losses(spec, z, targets)
        (gradient,) = torch.autograd.grad(losses.sum(), z)
        assert torch.isfinite(losses).all()
        assert torch.isfinite(gradient).all()


def test_a_focal_loss_without_focus_is_the_cross_entropy() -> None:
    z, targets = logits(), targets_for("binary_crossentropy", np.random.default_rng(3))
    found = row_losses(schema.BinaryFocalCrossentropy(gamma=0), z, targets)
    torch.testing.assert_close(found, row_losses(schema.BinaryCrossentropy(), z, targets))


def test_several_quantiles_are_one_for_each_output() -> None:
    outputs, targets = logits(1), logits(2)
    found = build_loss(schema.Quantile(quantile=[0.1, 0.5, 0.9, 0.5]))(outputs, outputs, targets)
    each = [
        build_loss(schema.Quantile.model_validate({"quantile": q}))(
            outputs[..., k : k + 1], outputs[..., k : k + 1], targets[..., k : k + 1]
        )
        for k, q in enumerate([0.1, 0.5, 0.9, 0.5])
    ]
    torch.testing.assert_close(found, torch.stack(each).mean(0))


def test_an_output_below_its_quantile_costs_more_for_a_high_one() -> None:
    outputs, targets = torch.zeros(1, 2, 1), torch.tensor([[[1.0], [-1.0]]])
    losses = build_loss(schema.Quantile(quantile=[0.9]))(outputs, outputs, targets)
    torch.testing.assert_close(losses, torch.tensor([[0.9, 0.1]]))
