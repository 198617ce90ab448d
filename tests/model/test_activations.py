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
}


def test_a_spec_may_name_these_and_no_others() -> None:
    assert set(ACTIVATIONS) == set(get_args(schema.ActivationName))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_values_are_keras_s(name: str) -> None:
    z_RBU = np.random.default_rng(1).normal(0, 4, (2, 30, 5))
    z_RBU[0, 0] = 0
    found = ACTIVATIONS[name](torch.from_numpy(z_RBU).float())
    assert (found.shape, found.dtype) == (z_RBU.shape, torch.float32)
    # What a float32 rounds away of the input may be all that a value near 0 is made of: hence `atol`.
    np.testing.assert_allclose(found.numpy(), FORMULAS[name](z_RBU), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_is_the_slope(name: str) -> None:
    # Zero is left out: relu and its kin have a corner there.
    z = torch.from_numpy(np.random.default_rng(2).normal(0, 4, (3, 4, 5))).requires_grad_()
    assert torch.autograd.gradcheck(ACTIVATIONS[name], z)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_finite_at_zero_and_far_from_it(name: str) -> None:
    z_RBU = torch.tensor([[[0.0, -0.0, 1e-30], [90, -90, 1e4], [-1e30, -1e4, 0], [1e30, 0, 5]]])
    z_RBU.requires_grad_()
    values = ACTIVATIONS[name](z_RBU)
    (gradient,) = torch.autograd.grad(values.sum(), z_RBU)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()


def test_softmax_shares_one_out_among_the_units_of_a_row() -> None:
    probabilities = ACTIVATIONS["softmax"](torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 7))
    assert (probabilities > 0).all()
