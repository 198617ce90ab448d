"""Small training runs with regularizers and constraints, as Keras computed them: as in `keras_cases`."""

from __future__ import annotations

from typing import Any

from tests.support.keras_cases import Case, dense

CLASSES = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
NUMBER: dict[str, Any] = {"loss": "mse", "metrics": ["mae"]}

OPTION_CASES = (
    Case(
        "regularizers_of_everything",
        "one number",
        [
            dense(
                8,
                "tanh",
                kernel_regularizer={"l1": 0.01},
                bias_regularizer={"l2": 0.05},
                activity_regularizer={"l1_l2": {"l1": 0.02, "l2": 0.01}},
            ),
            dense(1, bias_regularizer="l1", activity_regularizer="l2"),
        ],
        NUMBER | {"optimizer": {"sgd": 0.02}, "batch_size": 7},
    ),
    Case(
        "activity_of_class_probabilities",
        "class",
        [dense(6, "relu", activity_regularizer="l1"), dense(5, "softmax", activity_regularizer={"l2": 0.5})],
        CLASSES | {"optimizer": {"adam": 0.01}, "batch_size": 11},
    ),
    Case(
        "constraints",
        "one number",
        [
            dense(8, "tanh", kernel_constraint={"max_norm": 0.7}, bias_constraint="non_neg"),
            dense(6, "tanh", kernel_constraint={"unit_norm": 1}, bias_constraint="max_norm"),
            dense(
                1,
                kernel_constraint={
                    "min_max_norm": {"min_value": 0.5, "max_value": 0.8, "rate": 0.5, "axis": [0, 1]}
                },
            ),
        ],
        NUMBER | {"optimizer": {"rmsprop": 0.02}, "batch_size": 7},
    ),
    Case(
        "options_of_convolutions",
        "one number",
        [
            {"reshape": [7, 6, 2]},
            {
                "conv2d": {
                    "filters": 3,
                    "kernel_size": [2, 3],
                    "activation": "tanh",
                    "bias_regularizer": "l2",
                    "activity_regularizer": {"l2": 0.02},
                    "kernel_constraint": {"max_norm": {"max_value": 0.6, "axis": [0, 1, 2]}},
                }
            },
            {"reshape": [-1, 3]},
            {
                "conv1d": {
                    "filters": 2,
                    "kernel_size": 3,
                    "strides": 2,
                    "kernel_constraint": {"max_norm": {"max_value": 0.5, "axis": 1}},
                    "bias_constraint": {"max_norm": 0.1},
                }
            },
            "flatten",
            dense(1),
        ],
        NUMBER | {"optimizer": {"adam": 0.02}, "batch_size": 9},
        features=84,
        shapes={
            "1.weight": (3, 2, 2, 3),
            "1.bias": (3,),
            "3.weight": (2, 3, 3),
            "3.bias": (2,),
            "5.weight": (1, 22),
            "5.bias": (1,),
        },
    ),
    Case(
        "options_of_recurrent_layers",
        "one number",
        [
            {"reshape": [5, 3]},
            {
                "lstm": {
                    "units": 4,
                    "return_sequences": True,
                    "kernel_regularizer": "l2",
                    "recurrent_constraint": {"max_norm": 0.8},
                    "bias_constraint": "non_neg",
                    "activity_regularizer": {"l2": 0.03},
                }
            },
            {
                "gru": {
                    "units": 3,
                    "recurrent_regularizer": {"l1": 0.02},
                    "bias_regularizer": "l2",
                    "kernel_constraint": {"unit_norm": 0},
                    "bias_constraint": {"max_norm": {"max_value": 0.2, "axis": 1}},
                }
            },
            dense(1),
        ],
        NUMBER | {"optimizer": {"sgd": 0.05}, "batch_size": 9},
        features=15,
        shapes={
            "1.weight_ih": (16, 3),
            "1.weight_hh": (16, 4),
            "1.bias": (16,),
            "2.weight_ih": (9, 4),
            "2.weight_hh": (9, 3),
            "2.bias": (2, 9),
            "3.weight": (1, 3),
            "3.bias": (1,),
        },
    ),
    Case(
        "options_of_an_embedding",
        "noise",
        [
            {
                "embedding": {
                    "output_dim": 4,
                    "embeddings_regularizer": {"l2": 0.02},
                    "embeddings_constraint": {"max_norm": {"max_value": 0.6, "axis": 1}},
                }
            },
            "global_average_pooling",
            dense(1, "sigmoid"),
        ],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"sgd": 0.5},
            "batch_size": 7,
            "preprocessing": {"inputs": {"pad": 6}},
        },
        features=0,
        shapes={"0.weight": (20, 4), "2.weight": (1, 4), "2.bias": (1,)},
    ),
    # Attention without biases: that of the keys changes nothing, so its gradient is the rounding of others.
    Case(
        "muon",
        "one number",
        [
            {"reshape": [5, 3]},
            {"gru": {"units": 4, "return_sequences": True}},
            {"multi_head_attention": {"num_heads": 2, "key_dim": 3, "use_bias": False}},
            "flatten",
            dense(6, "tanh"),
            dense(1),
        ],
        NUMBER
        | {
            "optimizer": {"muon": {"learning_rate": 0.02, "exclude_layers": [5], "adam_lr_ratio": 0.5}},
            "batch_size": 9,
        },
        features=15,
        shapes={
            "1.weight_ih": (12, 3),
            "1.weight_hh": (12, 4),
            "1.bias": (2, 12),
            **{f"2.{part}_weight": (6, 4) for part in ("query", "key", "value")},
            "2.output_weight": (4, 6),
            "4.weight": (6, 20),
            "4.bias": (6,),
            "5.weight": (1, 6),
            "5.bias": (1,),
        },
    ),
    Case(
        "muon_as_in_its_paper",
        "noise",
        [dense(5, "tanh"), dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": {"muon": {"learning_rate": 0.05, "nesterov": False, "rms_rate": None}},
            "batch_size": 7,
        },
    ),
    # Validated are the weights, kept is their average.
    Case(
        "use_ema",
        "one number",
        [dense(8, "tanh"), "batch_normalization", dense(1)],
        NUMBER
        | {
            "optimizer": {"adam": {"learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.9}},
            "validation": {"holdout": {"first": 10}},
            "batch_size": 9,
        },
        shapes={
            "0.weight": (8, 6),
            "0.bias": (8,),
            **{f"1.{name}": (8,) for name in ("weight", "bias", "running_mean", "running_var")},
            "2.weight": (1, 8),
            "2.bias": (1,),
        },
    ),
    Case(
        "use_ema_overwriting_under_a_constraint",
        "one number",
        [dense(8, "tanh", kernel_constraint={"max_norm": 0.5}), dense(1)],
        NUMBER
        | {
            "optimizer": {
                "sgd": {
                    "learning_rate": 0.05,
                    "momentum": 0.9,
                    "use_ema": True,
                    "ema_momentum": 0.7,
                    "ema_overwrite_frequency": 4,
                }
            },
            "validation": {"holdout": {"first": 10}},
            "batch_size": 9,
        },
    ),
)
