"""Small training runs through every kind of layer, whose numbers Keras computed: as in `keras_cases`."""

from __future__ import annotations

from typing import Any

from tests.support.keras_cases import Case, dense

CLASSES = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
NUMBER: dict[str, Any] = {"loss": "mse", "metrics": ["mae"]}

# Sizes are odd where padding or windows could go wrong by one; batches are never a divisor of the rows.
LAYER_CASES = (
    Case(
        "conv2d_valid",
        "class",
        [
            {"reshape": [7, 6, 2]},
            {
                "conv2d": {
                    "filters": 3,
                    "kernel_size": [2, 3],
                    "activation": "relu",
                    "kernel_regularizer": {"l2": 0.01},
                }
            },
            {"max_pooling": {"pool_size": [3, 2], "strides": 2, "padding": "same"}},
            "flatten",
            dense(5, "softmax"),
        ],
        CLASSES | {"optimizer": {"adam": 0.01}, "batch_size": 11},
        features=84,
        shapes={"1.weight": (3, 2, 2, 3), "1.bias": (3,), "4.weight": (5, 18), "4.bias": (5,)},
    ),
    Case(
        "conv2d_same",
        "one number",
        [
            {"reshape": [6, 7, 2]},
            {
                "conv2d": {
                    "filters": 3,
                    "kernel_size": 3,
                    "strides": 2,
                    "padding": "same",
                    "activation": "tanh",
                }
            },
            {
                "conv2d": {
                    "filters": 2,
                    "kernel_size": 2,
                    "strides": [1, 2],
                    "padding": "same",
                    "use_bias": False,
                }
            },
            "global_average_pooling",
            dense(1),
        ],
        NUMBER | {"optimizer": {"sgd": 0.05}, "batch_size": 9},
        features=84,
        shapes={
            "1.weight": (3, 2, 3, 3),
            "1.bias": (3,),
            "2.weight": (2, 3, 2, 2),
            "4.weight": (1, 2),
            "4.bias": (1,),
        },
    ),
    Case(
        "conv1d",
        "one number",
        [
            {"reshape": [13, 3]},
            {
                "conv1d": {
                    "filters": 4,
                    "kernel_size": 4,
                    "strides": 2,
                    "padding": "same",
                    "activation": "relu",
                }
            },
            {
                "conv1d": {
                    "filters": 3,
                    "kernel_size": 2,
                    "activation": "swish",
                    "kernel_regularizer": {"l1": 0.01},
                }
            },
            "max_pooling",
            "flatten",
            dense(1),
        ],
        NUMBER | {"optimizer": "rmsprop", "batch_size": 5},
        features=39,
        shapes={
            "1.weight": (4, 3, 4),
            "1.bias": (4,),
            "2.weight": (3, 4, 2),
            "2.bias": (3,),
            "5.weight": (1, 9),
            "5.bias": (1,),
        },
    ),
    Case(
        "embedding_of_padded_words",
        "noise",
        [{"embedding": 4}, "global_average_pooling", dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "metrics": ["accuracy"],
            "optimizer": {"adam": 0.02},
            "batch_size": 7,
            "preprocessing": {"inputs": {"pad": 6}},
        },
        features=0,
        shapes={"0.weight": (20, 4), "2.weight": (1, 4), "2.bias": (1,)},
    ),
    Case(
        "embedding_padded_behind",
        "noise",
        [{"embedding": {"output_dim": 3, "input_dim": 25}}, "flatten", dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"sgd": 0.5},
            "batch_size": 7,
            "preprocessing": {
                "inputs": {"pad": {"length": 5, "side": "post", "truncate": "post", "value": 3}}
            },
        },
        features=0,
        shapes={"0.weight": (25, 3), "2.weight": (1, 15), "2.bias": (1,)},
    ),
    Case(
        "lstm",
        "one number",
        [{"reshape": [5, 3]}, {"lstm": {"units": 4, "return_sequences": True}}, {"lstm": 3}, dense(1)],
        NUMBER | {"optimizer": {"rmsprop": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            "1.weight_ih": (16, 3),
            "1.weight_hh": (16, 4),
            "1.bias": (16,),
            "2.weight_ih": (12, 4),
            "2.weight_hh": (12, 3),
            "2.bias": (12,),
            "3.weight": (1, 3),
            "3.bias": (1,),
        },
    ),
    Case(
        "lstm_of_other_activations",
        "class",
        [
            {"reshape": [4, 2]},
            {
                "lstm": {
                    "units": 3,
                    "activation": "relu",
                    "recurrent_activation": "tanh",
                    "use_bias": False,
                }
            },
            dense(5, "softmax"),
        ],
        CLASSES | {"optimizer": {"sgd": 0.1}, "batch_size": 11},
        features=8,
        shapes={"1.weight_ih": (12, 2), "1.weight_hh": (12, 3), "2.weight": (5, 3), "2.bias": (5,)},
    ),
    Case(
        "gru",
        "one number",
        [
            {"reshape": [5, 3]},
            {"gru": {"units": 4, "return_sequences": True}},
            {"gru": {"units": 3, "reset_after": False}},
            dense(1),
        ],
        NUMBER | {"optimizer": {"rmsprop": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            "1.weight_ih": (12, 3),
            "1.weight_hh": (12, 4),
            "1.bias": (2, 12),
            "2.weight_ih": (9, 4),
            "2.weight_hh": (9, 3),
            "2.bias": (9,),
            "3.weight": (1, 3),
            "3.bias": (1,),
        },
    ),
    Case(
        "gru_without_bias",
        "one number",
        [{"reshape": [4, 2]}, {"gru": {"units": 3, "use_bias": False}}, dense(1)],
        NUMBER | {"optimizer": {"sgd": 0.05}, "batch_size": 9},
        features=8,
        shapes={"1.weight_ih": (9, 2), "1.weight_hh": (9, 3), "2.weight": (1, 3), "2.bias": (1,)},
    ),
    Case(
        "batch_normalization",
        "one number",
        [dense(6), "batch_normalization", {"activation": "relu"}, dense(1)],
        NUMBER | {"optimizer": {"sgd": 0.05}, "batch_size": 9},
        shapes={
            "0.weight": (6, 6),
            "0.bias": (6,),
            "1.weight": (6,),
            "1.bias": (6,),
            "1.running_mean": (6,),
            "1.running_var": (6,),
            "3.weight": (1, 6),
            "3.bias": (1,),
        },
    ),
    Case(
        "batch_normalization_of_sequences",
        "one number",
        [
            {"reshape": [5, 3]},
            {"batch_normalization": {"momentum": 0.7, "epsilon": 0.1, "scale": False, "center": False}},
            dense(4, "tanh"),
            {"batch_normalization": {"momentum": 0.9, "center": False}},
            "flatten",
            dense(1),
        ],
        NUMBER | {"optimizer": "rmsprop", "batch_size": 11},
        features=15,
        shapes={
            "1.running_mean": (3,),
            "1.running_var": (3,),
            "2.weight": (4, 3),
            "2.bias": (4,),
            "3.weight": (4,),
            "3.running_mean": (4,),
            "3.running_var": (4,),
            "5.weight": (1, 20),
            "5.bias": (1,),
        },
    ),
    Case(
        "batch_normalization_restores_best",
        "noise",
        [dense(16, "relu"), "batch_normalization", dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"adam": 0.02},
            "batch_size": 7,
            "epochs": 12,
            "early_stopping": {"monitor": "val_loss", "patience": 2, "restore_best": True},
        },
        shapes={
            "0.weight": (16, 6),
            "0.bias": (16,),
            "1.weight": (16,),
            "1.bias": (16,),
            "1.running_mean": (16,),
            "1.running_var": (16,),
            "2.weight": (1, 16),
            "2.bias": (1,),
        },
    ),
    Case(
        "layer_normalization",
        "class",
        [
            {"reshape": [2, -1]},
            {"layer_normalization": {"epsilon": 0.1, "center": False}},
            "flatten",
            "layer_normalization",
            dense(5, "softmax"),
        ],
        CLASSES | {"optimizer": {"sgd": 0.1}, "batch_size": 11},
        shapes={
            "1.weight": (3,),
            "3.weight": (6,),
            "3.bias": (6,),
            "4.weight": (5, 6),
            "4.bias": (5,),
        },
    ),
)
