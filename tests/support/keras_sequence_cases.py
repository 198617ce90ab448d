"""Small training runs over sequences, whose numbers Keras computed: as in `keras_cases`."""

from __future__ import annotations

from typing import Any

from tests.support.keras_cases import STEPS, Case, dense
from tests.support.keras_layer_cases import NUMBER

# SGD: on TensorFlow others square the gradients of a word's places one by one, and not their sum.
YES_OR_NO = {
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
    "optimizer": {"sgd": 0.5},
    "batch_size": 7,
}


def recurrent(place: int, gates: int, features: int, units: int, **says: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of a recurrent layer's weights: of both directions, unless told otherwise."""
    columns = gates * units
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (columns, features),
        "weight_hh": (columns, units),
        "bias": (2, columns) if gates == 3 and says.get("reset_after", True) else (columns,),
    }
    if not says.get("use_bias", True):
        del shapes["bias"]
    suffixes = ("", "_reverse") if says.get("bidirectional", True) else ("",)
    return {f"{place}.{name}{suffix}": shape for suffix in suffixes for name, shape in shapes.items()}


SEQUENCE_CASES = (
    Case(
        "bidirectional",
        "one number",
        [
            {"reshape": [5, 3]},
            {"lstm": {"units": 4, "bidirectional": True, "return_sequences": True}},
            {"gru": {"units": 3, "bidirectional": True}},
            dense(1),
        ],
        NUMBER | {"optimizer": {"rmsprop": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            **recurrent(1, 4, 3, 4),
            **recurrent(2, 3, 8, 3),
            "3.weight": (1, 6),
            "3.bias": (1,),
        },
    ),
    Case(
        "simple_rnn",
        "one number",
        [
            {"reshape": [5, 3]},
            {"simple_rnn": {"units": 4, "bidirectional": True, "return_sequences": True}},
            {"simple_rnn": {"units": 3, "activation": "relu", "use_bias": False, "go_backwards": True}},
            dense(1),
        ],
        NUMBER | {"optimizer": {"adam": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            **recurrent(1, 1, 3, 4),
            **recurrent(2, 1, 8, 3, use_bias=False, bidirectional=False),
            "3.weight": (1, 3),
            "3.bias": (1,),
        },
    ),
    Case(
        "backwards",
        "one number",
        [
            {"reshape": [5, 3]},
            {"lstm": {"units": 4, "go_backwards": True, "return_sequences": True}},
            {
                "gru": {
                    "units": 3,
                    "go_backwards": True,
                    "return_sequences": True,
                    "bidirectional": True,
                    "reset_after": False,
                }
            },
            "flatten",
            dense(1),
        ],
        NUMBER | {"optimizer": {"rmsprop": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            **recurrent(1, 4, 3, 4, bidirectional=False),
            **recurrent(2, 3, 4, 3, reset_after=False),
            "4.weight": (1, 30),
            "4.bias": (1,),
        },
    ),
    Case(
        "masked",
        "noise",
        [
            {"embedding": {"output_dim": 4, "mask_zero": True}},
            {"lstm": {"units": 3, "bidirectional": True, "return_sequences": True}},
            dense(4, "tanh"),
            {"gru": {"units": 3, "return_sequences": True}},
            {"lstm": {"units": 3, "bidirectional": True}},
            dense(1, "sigmoid"),
        ],
        YES_OR_NO | {"preprocessing": {"inputs": {"pad": {"length": 7, "side": "post"}}}},
        features=0,
        shapes={
            "0.weight": (20, 4),
            **recurrent(1, 4, 4, 3),
            "2.weight": (4, 6),
            "2.bias": (4,),
            **recurrent(3, 3, 4, 3, bidirectional=False),
            **recurrent(4, 4, 3, 3),
            "5.weight": (1, 6),
            "5.bias": (1,),
        },
    ),
    Case(
        "masked_gru_normalized_and_pooled",
        "noise",
        [
            {"embedding": {"output_dim": 4, "mask_zero": True}},
            {"gru": {"units": 5, "return_sequences": True}},
            "layer_normalization",
            {"batch_normalization": {"momentum": 0.8}},
            {"activation": "tanh"},
            "global_average_pooling",
            dense(1, "sigmoid"),
        ],
        YES_OR_NO | {"preprocessing": {"inputs": {"pad": 8}}},
        features=0,
        shapes={
            "0.weight": (20, 4),
            **recurrent(1, 3, 4, 5, bidirectional=False),
            "2.weight": (5,),
            "2.bias": (5,),
            "3.weight": (5,),
            "3.bias": (5,),
            "3.running_mean": (5,),
            "3.running_var": (5,),
            "6.weight": (1, 5),
            "6.bias": (1,),
        },
    ),
    Case(
        "masking",
        "one number",
        [
            {"reshape": [5, 3]},
            dense(2, "relu"),  # gives zeros alone for some steps
            "masking",
            {"simple_rnn": {"units": 4, "return_sequences": True, "bidirectional": True}},
            "flatten",  # zeros of masked steps count here: Keras warns that the mask is lost
            dense(1),
        ],
        NUMBER | {"optimizer": {"adam": 0.01}, "batch_size": 9},
        features=15,
        shapes={
            "1.weight": (2, 3),
            "1.bias": (2,),
            **recurrent(3, 1, 2, 4),
            "5.weight": (1, 40),
            "5.bias": (1,),
        },
    ),
    Case(
        "masked_steps",
        "a class a step",
        [
            {"embedding": {"output_dim": 4, "mask_zero": True}},
            {"gru": {"units": 5, "return_sequences": True, "bidirectional": True}},
            dense(3, "softmax"),
        ],
        {
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
            "optimizer": {"sgd": 0.5},
            "batch_size": 13,  # all validation rows: Keras divides by the steps of each batch
            "preprocessing": {"inputs": {"pad": {"length": STEPS, "side": "post"}}},
        },
        features=0,
        shapes={
            "0.weight": (20, 4),
            **recurrent(1, 3, 4, 5),
            "2.weight": (3, 10),
            "2.bias": (3,),
        },
    ),
)

# On TensorFlow optimizers square the gradients of a word's places one by one, and not their sum.
EMBEDDING_OPTIMIZERS: dict[str, Any] = {
    "rmsprop": {"rmsprop": 0.02},
    "adamw": {"adamw": 0.02},
    "adagrad": {"adagrad": 0.1},
    "nadam": {"nadam": 0.02},
    "adadelta": {"adadelta": 1.0},
    "lamb": {"lamb": 0.02},
    "ftrl": {"ftrl": 0.1},
    "accumulating": {"adam": {"learning_rate": 0.02, "gradient_accumulation_steps": 2}},
}
EMBEDDING_CASES = tuple(
    Case(
        f"embedding_under_{name}",
        "noise",
        [{"embedding": 4}, "global_average_pooling", dense(1, "sigmoid")],
        {
            "loss": "binary_crossentropy",
            "optimizer": optimizer,
            "batch_size": 7,
            "preprocessing": {"inputs": {"pad": 6}},
        },
        features=0,
        shapes={"0.weight": (20, 4), "2.weight": (1, 4), "2.bias": (1,)},
    )
    for name, optimizer in EMBEDDING_OPTIMIZERS.items()
)
