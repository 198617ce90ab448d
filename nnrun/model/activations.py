"""Activation functions by their spec names, with Keras 3's parameters (keras.io/api/layers/activations)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

# Keras 3: leaky_relu has slope 0.2 (PyTorch's default is 0.01), gelu is exact, elu has alpha 1.
LEAKY_RELU_SLOPE = 0.2

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "swish": F.silu,
    "softplus": F.softplus,
    "leaky_relu": lambda x: F.leaky_relu(x, LEAKY_RELU_SLOPE),
}
