"""What single functions of Keras give, recorded: activations, losses, optimizers.

Their arguments come from closed formulas, so that only Keras's answers are stored, in `keras_values.json`.
`make_keras_values.py` computes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("keras_values.json")

KERNEL = (3, 2, 40, 60)
"""The shape of a kernel in Keras whose first values are drawn: window, in, out."""
INITIALIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
            "variance_scaling", "random_uniform", "random_normal", "truncated_normal", "orthogonal", "zeros",
            "ones", "constant",
        )
    },
    "fan_out": ("variance_scaling", {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"}),
    "fan_avg": ("variance_scaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "uniform"}),
    "uniform": ("random_uniform", {"minval": -1.0, "maxval": 3.0}),
    "normal": ("random_normal", {"mean": 2.0, "stddev": 0.1}),
    "truncated": ("truncated_normal", {"mean": -2.0, "stddev": 0.3}),
    "gain": ("orthogonal", {"gain": 4.0}),
    "value": ("constant", {"value": 0.3}),
}  # fmt: skip
"""Initializers with their parameters, by a name for each."""

Array = np.ndarray[Any, np.dtype[np.float32]]


@cache
def keras_values(family: str) -> dict[str, Any]:
    """Case → what Keras gave."""
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))[family]
    return answers


def activation_inputs() -> Array:
    """(9, 6) numbers from -6 to 6, among them the corners of piecewise functions."""
    values = 6 * np.sin(1 + 2.3 * np.arange(54))
    values[:12] = [0, -1, 1, 0.5, -0.5, 3, -3, 6, -6, 2, 0.25, -0.25]
    return values.reshape(9, 6).astype(np.float32)


@dataclass(frozen=True)
class LossCase:
    """A loss, the last activation that its outputs come from, and its parameters in nnrun and in Keras.

    Attributes:
        kind: its name here; Keras's function has the same, or `function`.
        activation: `sigmoid`, `softmax` or `linear`.
        targets: `labels` (0 and 1), `shares` (that sum to 1), `one_hot`, or `positive` or any `numbers`.
    """

    kind: str
    activation: str
    targets: str
    parameters: dict[str, Any] = field(default_factory=dict)
    function: str = ""
    keras: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name among the answers."""
        return " ".join(
            [self.kind, self.targets, *(f"{key}={value}" for key, value in self.parameters.items())]
        )

    def arrays(self) -> tuple[Array, Array]:
        """Targets and outputs, (7, 4) each."""
        places = np.arange(28).reshape(7, 4)
        z = 3 * np.sin(2 + 1.7 * places)
        outputs = {
            "sigmoid": 1 / (1 + np.exp(-z)),
            "softmax": np.exp(z) / np.exp(z).sum(-1, keepdims=True),
            "linear": np.abs(z) + 0.1 if self.targets == "positive" else z,
        }[self.activation]
        numbers = 2 * np.cos(3 * places)
        targets = {
            "labels": (places * places + places // 4) % 3 == 1,
            "one_hot": np.eye(4)[places[:, 0] % 3],
            "shares": np.abs(numbers) / np.abs(numbers).sum(-1, keepdims=True),
            "positive": np.round(np.abs(numbers)) + 1,
            "numbers": numbers,
        }[self.targets]
        return targets.astype(np.float32), outputs.astype(np.float32)


ROW_BY_ROW = {"axis": -1}  # instead of over the whole batch
LOSS_CASES = (
    LossCase("binary_focal_crossentropy", "sigmoid", "labels"),
    LossCase(
        "binary_focal_crossentropy",
        "sigmoid",
        "labels",
        {"gamma": 1.5, "apply_class_balancing": True, "alpha": 0.3, "label_smoothing": 0.1},
    ),
    LossCase("categorical_focal_crossentropy", "softmax", "one_hot"),
    LossCase(
        "categorical_focal_crossentropy",
        "softmax",
        "one_hot",
        {"gamma": 3.0, "alpha": 0.6, "label_smoothing": 0.2},
    ),
    LossCase("kl_divergence", "softmax", "one_hot"),
    LossCase("kl_divergence", "softmax", "shares"),
    LossCase("hinge", "linear", "labels"),
    LossCase("squared_hinge", "linear", "labels"),
    LossCase("categorical_hinge", "linear", "one_hot"),
    LossCase("dice", "sigmoid", "labels", keras=ROW_BY_ROW),
    LossCase("tversky", "sigmoid", "labels", keras=ROW_BY_ROW),
    LossCase("tversky", "sigmoid", "labels", {"alpha": 0.3, "beta": 0.8}, keras=ROW_BY_ROW),
    LossCase("log_cosh", "linear", "numbers"),
    LossCase("mape", "linear", "positive", function="mean_absolute_percentage_error"),
    LossCase("msle", "linear", "positive", function="mean_squared_logarithmic_error"),
    LossCase("poisson", "linear", "positive"),
    LossCase("cosine_similarity", "linear", "numbers"),
)


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer of Keras, its parameters, and eight updates of a (3, 4) variable."""

    kind: str
    keras: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name among the answers."""
        return " ".join([self.kind, *(f"{key}={value}" for key, value in self.parameters.items())])

    def arrays(self) -> tuple[Array, list[Array]]:
        """The first value, and the gradients."""
        places = np.arange(12).reshape(3, 4)
        gradients = [np.sin(places * 1.3 + step * step) * (1 + step % 3) for step in range(8)]
        return np.cos(places).astype(np.float32), [g.astype(np.float32) for g in gradients]


OPTIMIZER_CASES = (
    OptimizerCase("rmsprop", "RMSprop", {"weight_decay": 0.1}),
    OptimizerCase("sgd", "SGD", {"momentum": 0.9, "weight_decay": 0.2, "learning_rate": 0.05}),
    OptimizerCase("sgd", "SGD", {"learning_rate": 0.05, "gradient_accumulation_steps": 3}),
    OptimizerCase("adam", "Adam", {"weight_decay": 0.1, "gradient_accumulation_steps": 2}),
    OptimizerCase("adamw", "AdamW"),
    OptimizerCase("adagrad", "Adagrad", {"weight_decay": 0.1}),
    OptimizerCase("nadam", "Nadam"),
    OptimizerCase("nadam", "Nadam", {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.01}),
    OptimizerCase("adamax", "Adamax"),
    OptimizerCase("adamax", "Adamax", {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.01}),
    OptimizerCase("adadelta", "Adadelta"),
    OptimizerCase("adadelta", "Adadelta", {"learning_rate": 1.0, "rho": 0.8, "epsilon": 0.01}),
    OptimizerCase("lion", "Lion"),
    OptimizerCase("lion", "Lion", {"learning_rate": 0.02, "beta_1": 0.6, "beta_2": 0.8, "weight_decay": 0.1}),
    OptimizerCase("lamb", "Lamb"),
    OptimizerCase("lamb", "Lamb", {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.01}),
    OptimizerCase("ftrl", "Ftrl"),
    OptimizerCase(
        "ftrl",
        "Ftrl",
        {
            "learning_rate": 0.1,
            "learning_rate_power": -0.3,
            "l1_regularization_strength": 0.1,
            "l2_regularization_strength": 0.2,
            "l2_shrinkage_regularization_strength": 0.05,
            "beta": 0.3,
        },
    ),
    OptimizerCase("muon", "Muon"),
    OptimizerCase("muon", "Muon", {"learning_rate": 0.02, "nesterov": False, "rms_rate": None}),
    OptimizerCase(
        "muon",
        "Muon",
        {
            "learning_rate": 0.05,
            "momentum": 0.6,
            "ns_steps": 3,
            "weight_decay": 0.1,
            "muon_a": 2.0,
            "muon_b": -1.5,
            "muon_c": 0.5,
            "gradient_accumulation_steps": 2,
        },
    ),
    OptimizerCase("adam", "Adam", {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.7}),
    OptimizerCase(
        "sgd",
        "SGD",
        {
            "learning_rate": 0.05,
            "momentum": 0.5,
            "use_ema": True,
            "ema_momentum": 0.6,
            "ema_overwrite_frequency": 3,
        },
    ),
    OptimizerCase(
        "rmsprop",
        "RMSprop",
        {
            "learning_rate": 0.05,
            "gradient_accumulation_steps": 2,
            "use_ema": True,
            "ema_momentum": 0.8,
            "ema_overwrite_frequency": 2,
        },
    ),
)


@dataclass(frozen=True)
class AttentionCase:
    """A layer that takes a query, a value and maybe a key, its parameters, and which of them have a mask.

    Two rows of four query steps and three steps of value and key.
    """

    kind: str
    keras: str
    features: tuple[int, ...]
    masked: tuple[bool, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    keras_parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name among the answers."""
        return f"{self.kind} {self.features} {self.masked} {self.parameters}"

    def arrays(self) -> list[Array]:
        """(2, steps, features) of each."""
        return [
            np.sin(1 + place + 1.7 * np.arange(2 * steps * width)).reshape(2, steps, width).astype(np.float32)
            for place, (steps, width) in enumerate(zip((4, 3, 3), self.features, strict=False))
        ]

    def masks(self) -> list[np.ndarray | None]:
        """(2, steps) of each; of the second row only the first steps count."""
        wholes = [
            np.array([[True] * steps, [True] * (steps - 1 - i) + [False] * (i + 1)])
            for i, steps in enumerate((4, 3, 3))
        ]
        wholes[2] = np.array([[True, False, True], [True, True, True]])
        return [whole if masked else None for whole, masked in zip(wholes, self.masked, strict=False)]


def attention_weight(name: str, shape: tuple[int, ...]) -> Array:
    """The values of a weight by its name, `query_weight`, in Keras's order of axes."""
    size = int(np.prod(shape))
    return (0.7 * np.cos(sum(map(ord, name)) + 1.3 * np.arange(size))).reshape(shape).astype(np.float32)


HEADS = {"num_heads": 2, "key_dim": 3}
ATTENTION_CASES = (
    AttentionCase("attention", "Attention", (5, 5), (False, False)),
    AttentionCase("attention", "Attention", (5, 5), (True, True)),
    AttentionCase("attention", "Attention", (5, 2, 5), (True, False, True), {"use_scale": True}),
    AttentionCase("attention", "Attention", (5, 2, 5), (False, True, False)),
    AttentionCase("multi_head_attention", "MultiHeadAttention", (5, 4), (False, False), HEADS),
    AttentionCase("multi_head_attention", "MultiHeadAttention", (5, 4), (False, True), HEADS),
    AttentionCase(
        "multi_head_attention",
        "MultiHeadAttention",
        (5, 4, 6),
        (False, True, True),
        {**HEADS, "value_dim": 2, "output_dim": 7},
        {**HEADS, "value_dim": 2, "output_shape": 7},
    ),
    AttentionCase(
        "multi_head_attention",
        "MultiHeadAttention",
        (5, 4, 6),
        (False, False, True),
        {**HEADS, "use_bias": False},
    ),
)


SCHEDULE_EPOCHS = 12


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule of Keras, asked at the first step of each epoch of one step, from a rate of 0.1."""

    kind: str
    parameters: dict[str, Any]
    keras: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name among the answers."""
        return f"{self.kind} {self.parameters}"


SCHEDULE_CASES = (
    ScheduleCase("polynomial", {"epochs": 8}, "PolynomialDecay", {"decay_steps": 8}),
    ScheduleCase(
        "polynomial",
        {"epochs": 3, "power": 0.5, "end_learning_rate": 0.01, "cycle": True},
        "PolynomialDecay",
        {"decay_steps": 3, "power": 0.5, "end_learning_rate": 0.01, "cycle": True},
    ),
    ScheduleCase(
        "inverse_time", {"decay_rate": 0.5}, "InverseTimeDecay", {"decay_rate": 0.5, "decay_steps": 1}
    ),
    ScheduleCase(
        "inverse_time",
        {"decay_rate": 0.5, "every": 3, "staircase": True},
        "InverseTimeDecay",
        {"decay_rate": 0.5, "decay_steps": 3, "staircase": True},
    ),
    ScheduleCase("cosine_restarts", {"epochs": 2}, "CosineDecayRestarts", {"first_decay_steps": 2}),
    ScheduleCase(
        "cosine_restarts",
        {"epochs": 3, "t_mul": 1.0, "m_mul": 0.7, "minimum": 0.1},
        "CosineDecayRestarts",
        {"first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.7, "alpha": 0.1},
    ),
    # Keras counts steps from 0, and its boundaries are the last steps of a value.
    ScheduleCase(
        "piecewise",
        {"boundaries": [2, 7], "values": [0.3, 0.2, 0.1]},
        "PiecewiseConstantDecay",
        {"boundaries": [1, 6], "values": [0.3, 0.2, 0.1]},
    ),
)
