"""What a layer becomes in a script, and the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrun.model.activations import LEAKY_RELU_SLOPE

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weights:
    """A layer's arrays as a weights file has them.

    Attributes:
        arrays: of all layers.
        path: what the names of the layer's begin with.
        masked: whether what the layer takes has a mask.
    """

    arrays: Mapping[str, Array]
    path: str
    masked: bool

    def __call__(self, name: str) -> Array:
        """An array by its short name."""
        return self.arrays[f"{self.path}.{name}"]


@dataclass(frozen=True)
class LayerScript:
    """What a layer becomes.

    Attributes:
        call: an expression of `x`, of the layer's own module or parameter `own`, and of `mask`, in braces.
        made: the module or parameter, as an expression; empty for none.
        arrays: what it holds, by its name there; of a parameter by "".
    """

    call: str
    made: str = ""
    arrays: Mapping[str, Array] = field(default_factory=dict)


ACTIVATION_SCRIPTS: Mapping[str, str] = {
    "linear": "{x}",
    "relu": "torch.relu({x})",
    "tanh": "torch.tanh({x})",
    "sigmoid": "torch.sigmoid({x})",
    "softmax": "torch.softmax({x}, dim=-1)",
    "elu": "F.elu({x})",
    "selu": "F.selu({x})",
    "gelu": "F.gelu({x})",
    "swish": "F.silu({x})",
    "softplus": "F.softplus({x})",
    "leaky_relu": f"F.leaky_relu({{x}}, {LEAKY_RELU_SLOPE})",
    "relu6": "F.relu6({x})",
    "celu": "F.celu({x})",
    "mish": "F.mish({x})",
    "glu": "F.glu({x}, dim=-1)",
    "exponential": "torch.exp({x})",
    "softsign": "F.softsign({x})",
    "squareplus": "_squareplus({x})",
    "hard_sigmoid": "F.hardsigmoid({x})",
    "hard_silu": "F.hardswish({x})",
    "hard_tanh": "F.hardtanh({x})",
    "hard_shrink": "F.hardshrink({x})",
    "soft_shrink": "F.softshrink({x})",
    "tanh_shrink": "F.tanhshrink({x})",
    "log_sigmoid": "F.logsigmoid({x})",
    "log_softmax": "torch.log_softmax({x}, dim=-1)",
    "sparse_plus": "_sparse_plus({x})",
    "sparse_sigmoid": "(({x} + 1) / 2).clamp(0, 1)",
    "sparsemax": "_sparsemax({x})",
}


def activated(activation: str, x: str) -> str:
    """An expression of x behind an activation."""
    return ACTIVATION_SCRIPTS[activation].format(x=x)


def function_of(activation: str) -> str:
    """An activation as a function that can be passed on."""
    script = ACTIVATION_SCRIPTS[activation]
    return script.removesuffix("({x})") if script.endswith("({x})") else f"lambda x: {script.format(x='x')}"


def dim(axis: int) -> int:
    """The dimension of a batch that is an axis of a row."""
    return axis if axis < 0 else axis + 1
