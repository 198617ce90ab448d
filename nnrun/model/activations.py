"""Activation functions by their spec names, with Keras 3's parameters (keras.io/api/layers/activations)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nnrun.lazy_torch import F, torch

if TYPE_CHECKING:
    from torch import Tensor


# Keras 3: leaky_relu has slope 0.2 (PyTorch's default is 0.01), gelu is exact, elu and celu have alpha 1.
LEAKY_RELU_SLOPE = 0.2
_FAR = 1e9


def _squareplus(x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + 4)) / 2, also where x^2 overflows: far from 0 the root is |x|."""
    half = x / 2
    near = half.clamp(-_FAR, _FAR)
    return half + torch.where(half.abs() < _FAR, (near.square() + 1).sqrt(), half.abs())


def _sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, (x + 1)^2 / 4 up to 1, then x."""
    near = x.clamp(-1, 1)
    return torch.where(x < 1, (near + 1).square() / 4, x)


def _sparsemax(x: Tensor) -> Tensor:
    """The nearest point of the probability simplex along the last axis (Martins & Astudillo 2016).

    Gives max(x - threshold, 0), where the threshold makes the values sum to 1. (Keras 3.15 does so only where
    a single value is left: its threshold adds up the cumulative sums of all that are left.)
    """
    away = (x - x.detach().amax(-1, keepdim=True)).clamp(min=-1)  # 1 below the largest, a value is 0 anyway
    descending = away.sort(-1, descending=True).values
    sums = descending.cumsum(-1)
    counts = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    support = (1 + counts * descending > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return torch.relu(away - threshold)


# Functions of PyTorch stand in a lambda each, so that the table can be made before PyTorch is imported.
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": lambda x: torch.relu(x),
    "tanh": lambda x: torch.tanh(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "elu": lambda x: F.elu(x),
    "selu": lambda x: F.selu(x),
    "gelu": lambda x: F.gelu(x),
    "swish": lambda x: F.silu(x),
    "softplus": lambda x: F.softplus(x),
    "leaky_relu": lambda x: F.leaky_relu(x, LEAKY_RELU_SLOPE),
    "relu6": lambda x: F.relu6(x),
    "celu": lambda x: F.celu(x),
    "mish": lambda x: F.mish(x),
    "glu": lambda x: F.glu(x, -1),
    "exponential": lambda x: torch.exp(x),
    "softsign": lambda x: F.softsign(x),
    "squareplus": _squareplus,
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard_silu": lambda x: x * F.relu6(x + 3) / 6,
    "hard_tanh": lambda x: F.hardtanh(x),
    "hard_shrink": lambda x: F.hardshrink(x),
    "soft_shrink": lambda x: F.softshrink(x),
    "tanh_shrink": lambda x: x - torch.tanh(x),
    "log_sigmoid": lambda x: F.logsigmoid(x),
    "log_softmax": lambda x: torch.log_softmax(x, dim=-1),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: ((x + 1) / 2).clamp(0, 1),
    "sparsemax": _sparsemax,
}
