"""More small training runs through every kind of layer, whose numbers Keras computed."""

from __future__ import annotations

from typing import Any

from tests.support.keras_cases import Case, dense

NUMBER: dict[str, Any] = {"loss": "mse", "metrics": ["mae"], "optimizer": {"rmsprop": 0.005}, "batch_size": 9}
IMAGES: list[Any] = [{"reshape": [7, 6, 2]}]
STEPS: list[Any] = [{"reshape": [13, 3]}]


def images(name: str, layers: list[Any], shapes: dict[str, tuple[int, ...]]) -> Case:
    """Layers over images of 7 by 6 with two channels, then a mean over all places and a dense layer."""
    last = len(layers) + 2
    channels = shapes.pop("channels")
    shapes = {**shapes, f"{last}.weight": (1, *channels), f"{last}.bias": (1,)}
    return Case(
        name, "one number", [*IMAGES, *layers, "global_average_pooling", dense(1)], NUMBER, features=84,
        shapes=shapes,
    )  # fmt: skip


def steps(name: str, layers: list[Any], shapes: dict[str, tuple[int, ...]]) -> Case:
    """The same over 13 steps of three features."""
    last = len(layers) + 2
    channels = shapes.pop("channels")
    shapes = {**shapes, f"{last}.weight": (1, *channels), f"{last}.bias": (1,)}
    return Case(
        name, "one number", [*STEPS, *layers, "global_max_pooling", dense(1)], NUMBER, features=39,
        shapes=shapes,
    )  # fmt: skip


MORE_LAYER_CASES = (
    images(
        "dilated",
        [
            {"conv2d": {"filters": 3, "kernel_size": [2, 3], "dilation_rate": [2, 1], "activation": "tanh"}},
            {"conv2d": {"filters": 2, "kernel_size": 2, "dilation_rate": 3, "padding": "same"}},
        ],
        {
            "1.weight": (3, 2, 2, 3), "1.bias": (3,), "2.weight": (2, 3, 2, 2), "2.bias": (2,),
            "channels": (2,),
        },
    ),
    steps(
        "dilated_steps",
        [{"conv1d": {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "activation": "tanh"}}],
        {"1.weight": (4, 3, 3), "1.bias": (4,), "channels": (4,)},
    ),
    images(
        "separable",
        [
            {
                "separable_conv2d": {
                    "filters": 5, "kernel_size": [3, 2], "depth_multiplier": 2, "activation": "tanh",
                    "depthwise_constraint": {"max_norm": {"max_value": 0.5, "axis": [0, 1]}},
                    "pointwise_regularizer": "l2", "depthwise_regularizer": "l1",
                }
            },
            {"separable_conv2d": {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}},
        ],
        {
            "1.depthwise_weight": (4, 1, 3, 2), "1.weight": (5, 4, 1, 1), "1.bias": (5,),
            "2.depthwise_weight": (5, 1, 3, 3), "2.weight": (3, 5, 1, 1), "2.bias": (3,), "channels": (3,),
        },
    ),
    steps(
        "separable_steps",
        [
            {
                "separable_conv1d": {
                    "filters": 4, "kernel_size": 3, "depth_multiplier": 2, "dilation_rate": 2,
                    "padding": "same", "activation": "tanh", "use_bias": False,
                }
            },
            {"separable_conv1d": {"filters": 5, "kernel_size": 2, "strides": 2}},
        ],
        {
            "1.depthwise_weight": (6, 1, 3), "1.weight": (4, 6, 1), "2.depthwise_weight": (4, 1, 2),
            "2.weight": (5, 4, 1), "2.bias": (5,), "channels": (5,),
        },
    ),
    images(
        "depthwise",
        [
            {"depthwise_conv2d": {"kernel_size": [2, 3], "depth_multiplier": 3, "activation": "tanh"}},
            {"depthwise_conv2d": {"kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False}},
        ],
        {
            "1.weight": (6, 1, 2, 3), "1.bias": (6,), "2.weight": (6, 1, 3, 3), "channels": (6,),
        },
    ),
    images(
        "transposed",
        [
            {"conv2d_transpose": {"filters": 4, "kernel_size": [3, 2], "strides": 2, "activation": "tanh"}},
            {"conv2d_transpose": {"filters": 3, "kernel_size": 4, "strides": [3, 1], "padding": "same"}},
            {"conv2d_transpose": {"filters": 2, "kernel_size": 2, "strides": 3, "activation": "tanh"}},
            {"conv2d_transpose": {"filters": 2, "kernel_size": 1, "strides": 2, "padding": "same"}},
            "global_max_pooling", {"repeat_vector": 2},
        ],
        {
            "1.weight": (2, 4, 3, 2), "1.bias": (4,), "2.weight": (4, 3, 4, 4), "2.bias": (3,),
            "3.weight": (3, 2, 2, 2), "3.bias": (2,), "4.weight": (2, 2, 1, 1), "4.bias": (2,),
            "channels": (2,),
        },
    ),
    steps(
        "transposed_steps",
        [{"conv1d_transpose": {"filters": 4, "kernel_size": 5, "strides": 2, "padding": "same"}}],
        {"1.weight": (3, 4, 5), "1.bias": (4,), "channels": (4,)},
    ),
    images(
        "pooled_and_resized",
        [
            {"average_pooling": {"pool_size": [3, 2], "strides": 2, "padding": "same"}},
            {"up_sampling": {"size": [2, 3], "interpolation": "bilinear"}},
            {"zero_padding": [1, 2]},
            {"cropping": [0, 3, 2, 1]},
            {"conv2d": {"filters": 2, "kernel_size": 3, "activation": "tanh"}},
            {"up_sampling": 2},
            {"average_pooling": [2, 3]},
            {"permute": [2, 3, 1]},
        ],
        {"5.weight": (2, 2, 3, 3), "5.bias": (2,), "channels": (5,)},
    ),
    steps(
        "steps_pooled_and_resized",
        [
            {"average_pooling": {"pool_size": 2, "padding": "same"}},
            {"up_sampling": 3},
            {"zero_padding": [2, 3]},
            {"cropping": 4},
            {"conv1d": {"filters": 4, "kernel_size": 5, "activation": "tanh"}},
            {"average_pooling": 3},
            {"permute": [2, 1]},
        ],
        {"5.weight": (4, 3, 5), "5.bias": (4,), "channels": (4,)},
    ),
    images(
        "slopes_and_groups",
        [
            {"rescaling": {"scale": 0.5, "offset": -1.0}},
            {"conv2d": {"filters": 6, "kernel_size": 2}},
            {"prelu": [1, 2]},
            {"group_normalization": {"groups": 3}},
            {"prelu": {"shared_axes": [1], "alpha_regularizer": {"l2": 0.1}}},
            {"group_normalization": {"groups": -1, "center": False, "epsilon": 0.1}},
        ],
        {
            "2.weight": (6, 2, 2, 2), "2.bias": (6,), "3.weight": (1, 1, 6), "4.weight": (6,), "4.bias": (6,),
            "5.weight": (1, 5, 6), "6.weight": (6,), "channels": (6,),
        },
    ),
    Case(
        "normalized_rows",
        "one number",
        [
            dense(6, "tanh"), "prelu", {"group_normalization": 2}, dense(5), "rms_normalization", dense(4),
            "unit_normalization", dense(1),
        ],
        NUMBER,
        shapes={
            "0.weight": (6, 6), "0.bias": (6,), "1.weight": (6,), "2.weight": (6,), "2.bias": (6,),
            "3.weight": (5, 6), "3.bias": (5,), "4.weight": (5,), "5.weight": (4, 5), "5.bias": (4,),
            "7.weight": (1, 4), "7.bias": (1,),
        },
    ),
    steps(
        "attention",
        [{"attention": {"use_scale": True}}, "attention", {"unit_normalization": 0}],
        {"1.scale": (), "channels": (3,)},
    ),
    steps(
        "multi_head_attention",
        [
            {"multi_head_attention": {"num_heads": 2, "key_dim": 4, "kernel_regularizer": "l2"}},
            {
                "multi_head_attention": {
                    "num_heads": 3, "key_dim": 2, "value_dim": 4, "output_dim": 5, "use_bias": False
                }
            },
        ],
        {
            "1.query_weight": (8, 3), "1.query_bias": (8,), "1.key_weight": (8, 3), "1.key_bias": (8,),
            "1.value_weight": (8, 3), "1.value_bias": (8,), "1.output_weight": (3, 8), "1.output_bias": (3,),
            "2.query_weight": (6, 3), "2.key_weight": (6, 3), "2.value_weight": (12, 3),
            "2.output_weight": (5, 12), "channels": (5,),
        },
    ),
    Case(
        "masked_attention",
        "noise",
        [
            {"embedding": {"output_dim": 4, "mask_zero": True}},
            {"multi_head_attention": {"num_heads": 2, "key_dim": 3}},
            "attention",
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
        shapes={
            "0.weight": (20, 4), "1.query_weight": (6, 4), "1.query_bias": (6,), "1.key_weight": (6, 4),
            "1.key_bias": (6,), "1.value_weight": (6, 4), "1.value_bias": (6,), "1.output_weight": (4, 6),
            "1.output_bias": (4,), "4.weight": (1, 4), "4.bias": (1,),
        },
    ),
)  # fmt: skip
