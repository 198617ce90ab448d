"""Small training runs whose numbers Keras computed.

A case is a spec. Its data and its first weights come from closed formulas, so that only Keras's answers are
stored, in `keras_cases.json`. `make_keras_cases.py` computes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

ANSWERS = Path(__file__).with_name("keras_cases.json")
ROWS = 50
FEATURES = 6

Spec = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A spec without its data paths, and the kind of targets that it learns.

    `features` are numbers of a row; 0 for lists of tokens. `shapes` are those of the first weights in a
    weights file, where the layers are not dense ones alone. `backend` is Keras's, where it matters.
    """

    name: str
    targets: str
    layers: list[Any]
    spec: Spec
    row_weights: bool = False
    features: int = FEATURES
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    backend: str = "tensorflow"


@dataclass(frozen=True)
class CaseData:
    """What both sides start from: N rows or token lists, weights by their key in a safetensors file, and
    weights of the rows."""

    x_NF: Any
    y: np.ndarray
    weights: dict[str, np.ndarray]
    row_weights: np.ndarray | None


def dense(units: int, activation: str = "linear", **params: Any) -> Spec:
    return {"dense": {"units": units, "activation": activation, **params}}


# What sets two variants of an optimizer apart must show: hence the large epsilons and decays, and learning
# rates far from the defaults. The early stopping cases learn noise: their val_loss soon rises.
CASES = (
    Case(
        "rmsprop_mse",
        "one number",
        [dense(8, "relu"), dense(8, "relu"), dense(1)],
        {"loss": "mse", "optimizer": "rmsprop", "metrics": ["mae", "mse", "rmse", "r2"], "batch_size": 1},
    ),
    Case(
        "rmsprop_epsilon_mae",
        "one number",
        [dense(8, "tanh"), {"dropout": 0.0}, dense(8, "relu"), dense(1)],
        {
            "loss": "mae",
            "optimizer": {"rmsprop": {"learning_rate": 0.02, "rho": 0.8, "epsilon": 0.05}},
            "metrics": ["rmse"],
            "batch_size": 16,
        },
    ),
    Case(
        "rmsprop_momentum_huber",
        "one number",
        [dense(8, "elu"), dense(1, kernel_regularizer={"l2": 0.02})],
        {
            "loss": "huber",
            "optimizer": {"rmsprop": {"learning_rate": 0.003, "momentum": 0.9}},
            "metrics": ["mae"],
            "batch_size": 13,
        },
    ),
    Case(
        "rmsprop_centered_binary",
        "yes or no",
        [dense(8, "gelu"), dense(4, "swish"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"rmsprop": {"learning_rate": 0.005, "epsilon": 1e-3, "centered": True}},
            "metrics": ["accuracy", "precision", "recall"],
            "batch_size": 7,
        },
    ),
    Case(
        "sgd_binary",
        "yes or no",
        [dense(6, "sigmoid", kernel_regularizer={"l1": 0.01}), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": "sgd",
            "metrics": ["accuracy", {"precision": 0.3}, {"recall": 0.4}],
            "batch_size": 1,
        },
    ),
    Case(
        "sgd_mse_on_classes_of_two",
        "yes or no",
        [dense(8, "tanh"), dense(8, "tanh"), dense(1, "sigmoid")],
        {"loss": "mse", "optimizer": {"sgd": 0.5}, "metrics": ["accuracy"], "batch_size": 20},
    ),
    Case(
        "sgd_momentum_categorical",
        "class",
        [dense(8, "selu"), dense(5, "softmax")],
        {
            "loss": "categorical_crossentropy",
            "optimizer": {"sgd": {"learning_rate": 0.05, "momentum": 0.9}},
            "metrics": ["accuracy", {"top_k": 3}],
            "batch_size": 13,
        },
    ),
    Case(
        "sgd_nesterov_sparse",
        "class",
        [
            dense(8, "softplus", kernel_regularizer={"l1_l2": {"l1": 0.003, "l2": 0.01}}),
            dense(5, "softmax"),
        ],
        {
            "loss": "sparse_categorical_crossentropy",
            "optimizer": {"sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}},
            "metrics": ["accuracy", {"top_k": 2}],
            "batch_size": 7,
        },
    ),
    Case(
        "adam_two_numbers",
        "two numbers",
        [dense(8, "leaky_relu"), dense(8, "elu"), dense(2)],
        {
            "loss": {"huber": 0.5},
            "optimizer": {"adam": {"learning_rate": 0.02}},
            "metrics": ["mae", "mse", "rmse", "r2"],
            "batch_size": 20,
        },
    ),
    Case(
        "adam_no_bias_sparse",
        "class",
        [dense(8, "relu", use_bias=False), dense(5, "softmax", use_bias=False)],
        {
            "loss": "sparse_categorical_crossentropy",
            "optimizer": "adam",
            "metrics": [{"top_k": 3}],
            "batch_size": 1,
        },
    ),
    Case(
        "adam_amsgrad_categorical",
        "class",
        [dense(8, "softmax"), dense(8, "gelu"), dense(5, "softmax")],
        {
            "loss": "categorical_crossentropy",
            "optimizer": {
                "adam": {
                    "learning_rate": 0.02,
                    "beta_1": 0.8,
                    "beta_2": 0.7,
                    "epsilon": 0.01,
                    "amsgrad": True,
                }
            },
            "metrics": ["accuracy"],
            "batch_size": 7,
        },
    ),
    Case(
        "adamw_several_labels",
        "three labels",
        [dense(8, "relu"), dense(3, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"adamw": {"learning_rate": 0.02, "weight_decay": 0.5}},
            "metrics": ["mae", "mse"],
            "batch_size": 3,
        },
    ),
    Case(
        "adamw_default_decay",
        "one number",
        [dense(8, "swish"), dense(1)],
        {"loss": "mse", "optimizer": {"adamw": {"learning_rate": 0.05}}, "metrics": ["mae"], "batch_size": 1},
    ),
    Case(
        "adagrad_all_in_one_batch",
        "one number",
        [dense(8, "relu"), dense(8, "linear"), dense(1)],
        {"loss": "mse", "optimizer": {"adagrad": 0.1}, "batch_size": 64, "validation": "none"},
    ),
    Case(
        "adagrad_accumulator_sparse",
        "class",
        [dense(8, "tanh"), dense(5, "softmax")],
        {
            "loss": "sparse_categorical_crossentropy",
            "optimizer": {
                "adagrad": {"learning_rate": 0.1, "initial_accumulator_value": 0.01, "epsilon": 0.01}
            },
            "metrics": ["accuracy"],
            "batch_size": 13,
        },
    ),
    Case(
        "early_stopping",
        "noise",
        [dense(16, "relu"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"adam": 0.01},
            "metrics": ["accuracy"],
            "batch_size": 7,
            "epochs": 12,
            "early_stopping": {"monitor": "val_loss", "patience": 2},
        },
    ),
    Case(
        "early_stopping_restores_best",
        "noise",
        [dense(16, "relu"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"adam": 0.01},
            "metrics": ["accuracy"],
            "batch_size": 7,
            "epochs": 12,
            "early_stopping": {"monitor": "loss", "patience": 1, "min_delta": 0.02, "restore_best": True},
        },
    ),
    Case(
        "class_weight_binary",
        "yes or no",
        [dense(8, "tanh"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"rmsprop": 0.01},
            "class_weight": {"0": 0.3, "1": 2.5},
            "metrics": ["accuracy"],
            "batch_size": 7,
        },
    ),
    Case(
        "class_weight_of_some_classes",
        "class",
        [dense(8, "tanh", kernel_regularizer={"l2": 0.02}), dense(5, "softmax")],
        {
            "loss": "categorical_crossentropy",
            "optimizer": {"sgd": 0.1},
            "class_weight": {"0": 4.0, "3": 0.25},
            "metrics": ["accuracy"],
            "batch_size": 13,
        },
    ),
    Case(
        "row_weights",
        "two numbers",
        [dense(8, "relu"), dense(2)],
        {"loss": "mse", "optimizer": {"adam": 0.02}, "metrics": ["mae", "rmse"], "batch_size": 16},
        row_weights=True,
    ),
    Case(
        "clip_norm",
        "one number",
        [dense(8, "tanh", kernel_regularizer={"l2": 0.1}), dense(8, "relu"), dense(1)],
        {
            "loss": "mse",
            "optimizer": {"sgd": {"learning_rate": 0.1, "momentum": 0.9}},
            "gradient_clip": {"norm": 0.7},
            "batch_size": 13,
        },
    ),
    Case(
        "clip_value",
        "one number",
        [dense(8, "tanh", kernel_regularizer={"l1": 0.1}), dense(1)],
        {"loss": "mse", "optimizer": "adamw", "gradient_clip": {"value": 0.05}, "batch_size": 7},
    ),
    Case(
        "label_smoothing_binary",
        "three labels",
        [dense(8, "relu"), dense(3, "sigmoid")],
        {
            "loss": {"binary_crossentropy": {"label_smoothing": 0.2}},
            "optimizer": {"adam": 0.02},
            "metrics": ["mse"],
            "batch_size": 7,
        },
    ),
    Case(
        "label_smoothing_categorical",
        "class",
        [dense(8, "relu"), dense(5, "softmax")],
        {
            "loss": {"categorical_crossentropy": {"label_smoothing": 0.3}},
            "optimizer": {"adam": 0.02},
            "metrics": ["accuracy"],
            "batch_size": 7,
        },
    ),
    Case(
        "reduce_on_plateau",
        "noise",
        [dense(16, "relu"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"adam": 0.02},
            "metrics": ["accuracy"],
            "batch_size": 7,
            "epochs": 12,
            "learning_rate_schedule": {
                "reduce_on_plateau": {
                    "factor": 0.3,
                    "patience": 2,
                    "min_delta": 0.01,
                    "cooldown": 1,
                    "min_learning_rate": 0.0005,
                }
            },
        },
    ),
    Case(
        "reduce_on_plateau_of_a_score",
        "noise",
        [dense(16, "relu"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"rmsprop": {"learning_rate": 0.01, "momentum": 0.5}},
            "metrics": ["accuracy"],
            "batch_size": 7,
            "epochs": 8,
            "learning_rate_schedule": {
                "reduce_on_plateau": {"monitor": "val_accuracy", "factor": 0.5, "patience": 1}
            },
        },
    ),
    Case(
        "schedule_exponential",
        "one number",
        [dense(8, "relu"), dense(1)],
        {
            "loss": "mse",
            "optimizer": {"sgd": {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}},
            "learning_rate_schedule": {"exponential": 0.5},
            "batch_size": 7,
        },
    ),
    Case(
        "schedule_cosine",
        "one number",
        [dense(8, "relu"), dense(1)],
        {
            "loss": "mse",
            "optimizer": {"adagrad": 0.1},
            "learning_rate_schedule": {"cosine": {"epochs": 3, "minimum": 0.1}},
            "batch_size": 7,
        },
    ),
)


def wave(*shape: int, offset: int) -> np.ndarray:
    """Numbers between -1 and 1 that follow no visible pattern: the sine of a quadratic, in float64."""
    position = np.arange(int(np.prod(shape)), dtype=np.float64) + offset
    return np.sin(0.37 * position**2).reshape(shape)


def case_data(case: Case) -> CaseData:
    """The rows and the first weights of a case: Glorot's limits for the kernels, small biases."""
    x_NF = wave(ROWS, case.features or FEATURES, offset=1)
    some_NF = x_NF[:, :FEATURES]
    scores_NK = some_NF @ wave(FEATURES, 5, offset=1001) + 0.5 * some_NF[:, :5] * some_NF[:, 1:]
    y = {
        "one number": scores_NK[:, 0] * 3 + 2,
        "two numbers": scores_NK[:, :2] * 3 + 2,
        "yes or no": (scores_NK[:, 0] > 0).astype(np.int64),
        "three labels": (scores_NK[:, :3] > 0).astype(np.int64),
        "class": scores_NK.argmax(axis=1),
        "noise": (wave(ROWS, offset=1501) > 0).astype(np.int64),
        "a class a step": _tags(),
    }[case.targets]

    weights = {name: _first(name, shape) for name, shape in case.shapes.items()}
    inputs = FEATURES
    for i, layer in enumerate(case.layers):
        if "dense" not in layer or case.shapes:
            continue
        units = layer["dense"]["units"]
        limit = np.sqrt(6 / (inputs + units))
        weights[f"{i}.weight"] = (limit * wave(units, inputs, offset=2000 + 500 * i)).astype(np.float32)
        if layer["dense"].get("use_bias", True):
            weights[f"{i}.bias"] = (0.2 * wave(units, offset=2400 + 500 * i)).astype(np.float32)
        inputs = units
    row_weights = (1.5 + 1.5 * wave(ROWS, offset=1601)).astype(np.float32) if case.row_weights else None
    inputs_N = x_NF.astype(np.float32) if case.features else _token_lists()
    y = y.astype(np.float32) if y.dtype == np.float64 else y
    return CaseData(inputs_N, y, weights, row_weights)


def _token_lists() -> np.ndarray:
    """Lists of 3 to 9 tokens from 1 to 19; each token occurs in the rows that are trained on."""
    lists = [[(7 * row + place * place) % 19 + 1 for place in range(3 + row % 7)] for row in range(ROWS)]
    tokens = np.empty(ROWS, object)
    tokens[:] = lists
    return tokens


STEPS = 7


def _tags() -> np.ndarray:
    """(ROWS, STEPS): a class from each of the last tokens of a row and the one before it; padded behind."""
    tags = np.zeros((ROWS, STEPS), np.int64)
    for row, tokens in enumerate(_token_lists()):
        for place, token in enumerate(tokens[-STEPS:]):
            tags[row, place] = (token + (tokens[place - 1] if place else 0)) % 3
    return tags


def _first(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The first values of an array: small ones, around 1 for what multiplies."""
    values = wave(*shape, offset=2000 + 500 * int(name.partition(".")[0]) + len(name))
    around_one = name.endswith("running_var") or (name.endswith(".weight") and len(shape) == 1)
    return np.asarray(values * 0.3 + 1.0 if around_one else values * 0.5, np.float32)


def full_spec(case: Case) -> Spec:
    """The case's spec as a file says it: the data and the weights lie beside it."""
    return {
        "name": case.name,
        "dataset": {"npz": {"path": "data.npz"}},
        "layers": case.layers,
        "init_weights": "init.safetensors",
        "epochs": 4,
        "shuffle": False,
        "validation": {"holdout": {"first": 12}},
        **case.spec,
    }


def write_case(case: Case, folder: Path) -> Path:
    """Write spec.yaml, data.npz and init.safetensors into `folder`; gives the path of the spec."""
    data = case_data(case)
    np.savez(folder / "data.npz", x_train=data.x_NF, y_train=data.y)
    save_file(data.weights, folder / "init.safetensors")
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(full_spec(case), sort_keys=False), encoding="utf-8")
    return path


def expected(case: Case) -> dict[str, list[float]]:
    """Keras's history: column to one value for each epoch, the first epoch first."""
    history: dict[str, list[float]] = _answers()[case.name]["history"]
    return history


def expected_last_kernel(case: Case) -> np.ndarray:
    """The last layer's kernel (out, in) after Keras's training."""
    return np.array(_answers()[case.name]["last_kernel"], dtype=np.float32)


def expected_marks(case: Case) -> dict[str, list[float]]:
    """Of each array after Keras's training what `marks` gives."""
    found: dict[str, list[float]] = _answers()[case.name]["marks"]
    return found


def marks(value: np.ndarray) -> list[float]:
    """What tells an array from others: its sum, its sum of squares, its first and its last number."""
    flat = value.astype(np.float64).ravel()
    return [float(flat.sum()), float((flat**2).sum()), float(flat[0]), float(flat[-1])]


def load_cases() -> list[tuple[str, Spec, dict[str, list[float]]]]:
    """Every case as (name, spec, Keras's history)."""
    return [(case.name, full_spec(case), expected(case)) for case in CASES]


def _answers() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))["cases"]
    return answers
