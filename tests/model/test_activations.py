"""Every activation: Keras's formula, finite values and gradients, also far from zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import erf

from nnrun.model.activations import ACTIVATIONS
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import LayerInput, ShapeError
from tests.support.keras_values import activation_inputs, keras_values

# Keras 3's definitions in float64 (keras.io/api/layers/activations). A new activation needs its line here.
SELU_SCALE, SELU_ALPHA = 1.05070098735548049342, 1.67326324235437728481
FORMULAS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "swish": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "glu": lambda x: x[..., : x.shape[-1] // 2] / (1 + np.exp(-x[..., x.shape[-1] // 2 :])),
    "exponential": np.exp,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "sparse_plus": lambda x: np.select([x <= -1, x < 1], [0, (x + 1) ** 2 / 4], x),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparsemax": lambda x: np.apply_along_axis(nearest_shares, -1, x),
}


def nearest_shares(x_K: np.ndarray) -> np.ndarray:
    """max(x - t, 0) with the t, found by halving, that makes them sum to 1."""
    low, high = x_K.min() - 1, x_K.max()
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(x_K - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(x_K - high, 0)


def test_a_spec_may_name_these_and_no_others() -> None:
    assert set(ACTIVATIONS) == set(get_args(schema.ActivationName))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_values_are_keras_s(name: str) -> None:
    z_RBU = np.random.default_rng(1).normal(0, 4, (2, 30, 6))
    z_RBU[0, 0] = 0
    found = ACTIVATIONS[name](torch.from_numpy(z_RBU).float())
    units = 3 if name == "glu" else 6
    assert (found.shape, found.dtype) == ((2, 30, units), torch.float32)
    # What a float32 rounds away of the input may be all that a value near 0 is made of: hence `atol`.
    np.testing.assert_allclose(found.numpy(), FORMULAS[name](z_RBU), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", keras_values("activations"))
def test_the_values_are_those_that_keras_computed(name: str) -> None:
    """By every name that Keras knows, its aliases too."""
    own = schema.ActivationLayer.model_validate({"activation": name}).activation
    found = ACTIVATIONS[own](torch.from_numpy(activation_inputs())).numpy()
    expected = np.array(keras_values("activations")[name])
    if name == "sparsemax":  # Keras's rows of two and more shares do not sum to 1
        right = np.isclose(expected.sum(-1), 1)
        assert right.sum() == len(right) - 1
        found, expected = found[right], expected[right]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_is_the_slope(name: str) -> None:
    # Zero is left out: relu and its kin have a corner there.
    z = torch.from_numpy(np.random.default_rng(2).normal(0, 4, (3, 4, 6))).requires_grad_()
    assert torch.autograd.gradcheck(ACTIVATIONS[name], z)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_finite_at_zero_and_far_from_it(name: str) -> None:
    z_RBU = torch.tensor(
        [[[0.0, -0.0, 1e-30, 5], [88, -90, 1e4, 0], [-1e30, -1e4, 0, -88], [1e30, 0, 5, -1]]]
    )
    if name == "exponential":  # what it gives above 88.7 is larger than any float32
        z_RBU = z_RBU.clamp(max=88)
    z_RBU.requires_grad_()
    values = ACTIVATIONS[name](z_RBU)
    (gradient,) = torch.autograd.grad(values.sum(), z_RBU)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()


def test_softmax_shares_one_out_among_the_units_of_a_row() -> None:
    probabilities = ACTIVATIONS["softmax"](torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 7))
    assert (probabilities > 0).all()


def test_sparsemax_is_a_share_of_one_and_sparse() -> None:
    shares = ACTIVATIONS["sparsemax"](torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 7))
    assert (shares >= 0).all()
    assert (shares == 0).any()


def test_glu_halves_the_last_axis_of_a_row_s_shape() -> None:
    layer = schema.ActivationLayer(activation="glu")
    assert layer.output_shape(LayerInput((7, 6), None)) == (7, 3)
    assert layer.output_shape(LayerInput((None,), None)) == (None,)
    with pytest.raises(ShapeError, match="glu halves the last axis, so its size must be even"):
        layer.output_shape(LayerInput((5,), None))
    assert schema.ActivationLayer(activation="relu").output_shape(LayerInput((5,), None)) == (5,)
