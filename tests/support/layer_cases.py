"""A network for each kind of layer: what a layer must be given, and rows for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nnrun.model.network import Network
from nnrun.spec import schema
from tests.support.example_tables import line_for
from tests.support.networks import stack
from tests.support.streams import sources_of

KINDS = schema.components(schema.Layer)

FEATURES, REPLICAS, ROWS, WORDS = 5, 3, 4, 9

# What a layer is given, where that is not a row of six numbers; its parameters, where some are required.
TAKES: dict[str, list[int]] = {
    "lstm": [4, 3],
    "gru": [4, 3],
    "simple_rnn": [4, 3],
    "masking": [4, 3],
    "conv1d": [4, 3],
    "conv2d": [3, 4, 2],
    "periodic": [6],
    "max_pooling": [4, 4, 2],
    "global_average_pooling": [2, 3, 4],
    "global_max_pooling": [2, 3, 4],
    **{key: [4, 3] for key in ("separable_conv1d", "conv1d_transpose", "spatial_dropout", "permute")},
    **{key: [4, 3] for key in ("attention", "multi_head_attention", "position_embedding")},
    **{key: [3, 4, 2] for key in ("separable_conv2d", "depthwise_conv2d", "conv2d_transpose")},
    **{key: [4, 5, 2] for key in ("average_pooling", "up_sampling", "zero_padding", "cropping")},
}

SAYS: dict[str, Any] = {
    "dropout": 0.25,
    "conv1d": {"filters": 6, "kernel_size": 2},
    "conv2d": {"filters": 6, "kernel_size": [2, 3]},
    "reshape": [2, -1],
    "separable_conv1d": {"filters": 6, "kernel_size": 2, "depth_multiplier": 2},
    "separable_conv2d": {"filters": 6, "kernel_size": 2, "depth_multiplier": 2},
    "depthwise_conv2d": {"kernel_size": [2, 3], "depth_multiplier": 2},
    "conv1d_transpose": {"filters": 6, "kernel_size": 3, "strides": 2},
    "conv2d_transpose": {"filters": 6, "kernel_size": [2, 3], "strides": 2},
    "permute": [2, 1],
    "repeat_vector": 3,
    "rescaling": 0.5,
    "periodic": {"frequencies": 3, "sigma": 0.5},
    "cropping": [1, 0, 2, 1],
    "group_normalization": 3,
    "multi_head_attention": {"num_heads": 2, "key_dim": 4},
    **dict.fromkeys(("spatial_dropout", "gaussian_noise", "gaussian_dropout", "alpha_dropout"), 0.25),
    "activation": "tanh",
    **dict.fromkeys(("dense", "embedding", "lstm", "gru", "simple_rnn"), 6),
}

VARIANTS: dict[str, dict[str, Any]] = {
    "custom": {"custom": {"object": "torch.nn:Linear", "parameters": {"in_features": 3, "out_features": 5}}},
    "custom, with state": {"custom": {"object": "torch.nn:BatchNorm1d", "parameters": {"num_features": 4}}},
    "conv1d_same": {"conv1d": {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}},
    "conv2d_l2": {"conv2d": {"filters": 5, "kernel_size": 2, "kernel_regularizer": "l2"}},
    "dense_of_steps": {"dense": 5},
    "dropout_of_steps": {"dropout": 0.25},
    "gru_reset_before": {"gru": {"units": 5, "reset_after": False, "return_sequences": True}},
    "lstm_of_all_steps": {"lstm": {"units": 5, "return_sequences": True, "use_bias": False}},
    "embedding_masked": {"embedding": {"output_dim": 6, "mask_zero": True}},
    "lstm_of_both_directions": {
        "lstm": {"units": 5, "bidirectional": True, "dropout": 0.25, "recurrent_dropout": 0.25}
    },
    "gru_backwards": {
        "gru": {"units": 5, "go_backwards": True, "reset_after": False, "recurrent_dropout": 0.25}
    },
    "simple_rnn_of_both_directions": {
        "simple_rnn": {
            "units": 5,
            "bidirectional": True,
            "return_sequences": True,
            "dropout": 0.25,
            "recurrent_dropout": 0.25,
        }
    },
    "multi_head_attention_of_other_sizes": {
        "multi_head_attention": {
            "num_heads": 3,
            "key_dim": 2,
            "value_dim": 3,
            "output_dim": 5,
            "use_bias": False,
            "dropout": 0.25,
        }
    },
    "attention_with_scale": {"attention": {"use_scale": True, "dropout": 0.25}},
    "position_embedding_of_sines": {"position_embedding": "sinusoidal"},
    "prelu_of_steps": {"prelu": [1]},
    "up_sampling_of_steps": {"up_sampling": 3},
    "gaussian_noise_of_steps": {"gaussian_noise": 0.5},
    "unit_normalization_of_steps": {"unit_normalization": 0},
    "conv1d_with_options": {
        "conv1d": {
            "filters": 5,
            "kernel_size": 2,
            "dilation_rate": 2,
            "kernel_initializer": "orthogonal",
            "bias_regularizer": "l2",
            "activity_regularizer": "l1",
            "kernel_constraint": "unit_norm",
        }
    },
    "periodic_with_units": {
        "periodic": {
            "frequencies": 2,
            "sigma": 0.5,
            "units": 5,
            "activation": "tanh",
            "kernel_regularizer": "l2",
        }
    },
    "batch_normalization_of_steps": {"batch_normalization": {"scale": False}},
    "layer_normalization_of_steps": {"layer_normalization": {"center": False}},
}

CASES = [*KINDS, *VARIANTS]


def layer_of(value: Any) -> schema.Component:
    """A layer as a spec has it."""
    return schema.ExperimentSpec.model_validate({"dataset": "imdb", "layers": [value], "loss": "mse"}).layers[
        0
    ]


def inputs(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def between(case: str) -> tuple[Network, torch.Tensor]:
    """The layer as the second of several, its own parameters and those around it; and rows for them."""
    if case in KINDS and any(field.is_required() for field in KINDS[case].model_fields.values()):
        line_for(SAYS, case, "SAYS of tests/support/layer_cases.py")
    value = VARIANTS.get(case, {case: SAYS.get(case)})
    (kind,) = value
    last: list[Any] = ["flatten", {"dense": 2}]
    if kind == "embedding":
        x = torch.from_numpy(np.random.default_rng(1).integers(0, WORDS, (REPLICAS, ROWS, 7)))
        return stack([layer_of(v) for v in (value, *last)], 7, WORDS), x.float()
    takes = TAKES.get(kind, [4, 3] if case in VARIANTS else [6])
    first = [{"dense": int(np.prod(takes))}, {"reshape": takes}]
    made = stack([layer_of(v) for v in (*first, value, *last)], 3)
    return made, inputs(REPLICAS, ROWS, 3)


def lively(network: Network) -> dict[str, torch.Tensor]:
    """First weights, none of them zero or one, so that each has its part in what comes out."""
    parameters = network.initial_parameters(sources_of(0, range(REPLICAS)))
    rng = np.random.default_rng(3)
    return {
        name: value + torch.from_numpy(rng.uniform(0.05, 0.2, value.shape)).to(value.dtype)
        for name, value in parameters.items()
    }


def first(layers: list[Any], width: int, tokens: int | None = None) -> dict[str, np.ndarray]:
    network = stack([layer_of(value) for value in layers], width, tokens)
    return network.unstack(network.initial_parameters(sources_of(0, [0])), 0)
