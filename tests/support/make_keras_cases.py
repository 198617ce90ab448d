"""Compute `keras_cases.json` with Keras. Needed only when a case is added or changed.

    pip install keras tensorflow-cpu jax safetensors pyyaml
    TF_ENABLE_ONEDNN_OPTS=0 KERAS_BACKEND=tensorflow python -m tests.support.make_keras_cases
    KERAS_BACKEND=jax python -m tests.support.make_keras_cases

With names of cases behind it, it computes these alone.

Parameters that a spec leaves out are left to Keras, so that nnrun's defaults are tested too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np

from tests.support.keras_case_list import ALL_CASES
from tests.support.keras_cases import ANSWERS, Case, Spec, case_data, full_spec, marks

BARE = {
    "dense": "units",
    "dropout": "rate",
    "l1": "l1",
    "l2": "l2",
    "max_norm": "max_value",
    "unit_norm": "axis",
    "huber": "delta",
    "top_k": "k",
    "precision": "threshold",
    "recall": "threshold",
    "holdout": "first",
    "exponential": "factor",
    "reshape": "target_shape",
    "max_pooling": "pool_size",
    "embedding": "output_dim",
    "lstm": "units",
    "gru": "units",
    "simple_rnn": "units",
    "activation": "activation",
    "depthwise_conv2d": "kernel_size",
    "permute": "dims",
    "repeat_vector": "n",
    "rescaling": "scale",
    "prelu": "shared_axes",
    "group_normalization": "groups",
    "unit_normalization": "axis",
    "average_pooling": "pool_size",
    "up_sampling": "size",
    "zero_padding": "padding",
    "cropping": "cropping",
    "pad": "length",
}
OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adagrad": keras.optimizers.Adagrad,
    "nadam": keras.optimizers.Nadam,
    "adadelta": keras.optimizers.Adadelta,
    "lamb": keras.optimizers.Lamb,
    "ftrl": keras.optimizers.Ftrl,
    "muon": keras.optimizers.Muon,
}
LOSSES = {
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}
REGULARIZERS = {"l1": keras.regularizers.L1, "l2": keras.regularizers.L2, "l1_l2": keras.regularizers.L1L2}
CONSTRAINTS = {
    "max_norm": keras.constraints.MaxNorm,
    "non_neg": keras.constraints.NonNeg,
    "unit_norm": keras.constraints.UnitNorm,
    "min_max_norm": keras.constraints.MinMaxNorm,
}
OPTIONS = {"_regularizer": REGULARIZERS, "_constraint": CONSTRAINTS}
LAYERS = {
    "dense": keras.layers.Dense,
    "dropout": keras.layers.Dropout,
    "flatten": keras.layers.Flatten,
    "reshape": keras.layers.Reshape,
    "conv1d": keras.layers.Conv1D,
    "conv2d": keras.layers.Conv2D,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "simple_rnn": keras.layers.SimpleRNN,
    "masking": keras.layers.Masking,
    "batch_normalization": keras.layers.BatchNormalization,
    "layer_normalization": keras.layers.LayerNormalization,
    "activation": keras.layers.Activation,
    "separable_conv1d": keras.layers.SeparableConv1D,
    "separable_conv2d": keras.layers.SeparableConv2D,
    "depthwise_conv2d": keras.layers.DepthwiseConv2D,
    "conv1d_transpose": keras.layers.Conv1DTranspose,
    "conv2d_transpose": keras.layers.Conv2DTranspose,
    "permute": keras.layers.Permute,
    "repeat_vector": keras.layers.RepeatVector,
    "rescaling": keras.layers.Rescaling,
    "prelu": keras.layers.PReLU,
    "group_normalization": keras.layers.GroupNormalization,
    "rms_normalization": keras.layers.RMSNormalization,
}
# By the axes of what they take.
POOLING = {
    ("average_pooling", 3): keras.layers.AveragePooling1D,
    ("average_pooling", 4): keras.layers.AveragePooling2D,
    ("global_max_pooling", 3): keras.layers.GlobalMaxPooling1D,
    ("global_max_pooling", 4): keras.layers.GlobalMaxPooling2D,
    ("up_sampling", 3): keras.layers.UpSampling1D,
    ("up_sampling", 4): keras.layers.UpSampling2D,
    ("zero_padding", 3): keras.layers.ZeroPadding1D,
    ("zero_padding", 4): keras.layers.ZeroPadding2D,
    ("cropping", 3): keras.layers.Cropping1D,
    ("cropping", 4): keras.layers.Cropping2D,
    ("max_pooling", 3): keras.layers.MaxPooling1D,
    ("max_pooling", 4): keras.layers.MaxPooling2D,
    ("global_average_pooling", 3): keras.layers.GlobalAveragePooling1D,
    ("global_average_pooling", 4): keras.layers.GlobalAveragePooling2D,
}
KINDS_OF_NORM = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


class SelfAttention(keras.layers.Layer):
    """Attention of steps to each other, which Keras has as a layer of several inputs."""

    def __init__(self, inner: keras.layers.Layer) -> None:
        super().__init__()
        self.inner, self.supports_masking = inner, True

    def call(self, x: Any, mask: Any = None) -> Any:
        """Query, key and value are the steps."""
        if isinstance(self.inner, keras.layers.Attention):
            return self.inner([x, x], mask=None if mask is None else [mask, mask])
        return self.inner(x, x, query_mask=mask, value_mask=mask)


def attention(name: str, params: dict[str, Any]) -> SelfAttention:
    """The layer `attention` or `multi_head_attention`."""
    if name == "attention":
        return SelfAttention(keras.layers.Attention(**params))
    if "output_dim" in params:
        params["output_shape"] = params.pop("output_dim")
    return SelfAttention(keras.layers.MultiHeadAttention(**params))


def in_keras(name: str, params: dict[str, Any], axes: int) -> dict[str, Any]:
    """Parameters that Keras spells in another way, for what takes so many axes."""
    if name in ("zero_padding", "cropping") and isinstance(params[key := BARE[name]], list):
        amounts = params[key]
        return {key: (tuple(amounts[:2]), tuple(amounts[2:])) if len(amounts) == 4 else tuple(amounts)}
    one = axes == 3 and isinstance(params.get("size", params.get("pool_size")), list)
    return {key: value[0] if one and isinstance(value, list) else value for key, value in params.items()}


def component(value: Any) -> tuple[str, dict[str, Any]]:
    """A component's name and parameters, from any of the forms that a spec allows."""
    if isinstance(value, str):
        return value, {}
    ((name, params),) = value.items()
    return name, params if isinstance(params, dict) else {BARE.get(name, "learning_rate"): params}


def build_model(layers: list[Any], features: int, words: int) -> keras.Model:
    model = keras.Sequential([keras.Input((features,))])
    for layer in layers:
        name, params = component(layer)
        params = dict(params)
        for option in params:
            for ending, kinds in OPTIONS.items():
                if option.endswith(ending):
                    kind, parameters = component(params[option])
                    params[option] = kinds[kind](**parameters)
        if name == "embedding":
            model.add(keras.layers.Embedding(**{"input_dim": words, **params}))
        elif name.endswith("attention"):
            model.add(attention(name, params))
        elif name == "unit_normalization":
            axis = params.get("axis", -1)  # Keras counts the batch
            model.add(keras.layers.UnitNormalization(axis if axis < 0 else axis + 1))
        elif name in LAYERS:
            both, first = params.pop("bidirectional", False), LAYERS[name](**params)
            if both:
                turned = {"go_backwards": not params.get("go_backwards", False), "name": "turned"}
                first = keras.layers.Bidirectional(first, backward_layer=LAYERS[name](**params | turned))
            model.add(first)
        else:
            axes = len(model.output_shape)
            model.add(POOLING[name, axes](**in_keras(name, params, axes)))
    return model


def build_metric(value: Any, loss: str) -> Any:
    name, params = component(value)
    if name == "accuracy":
        return "accuracy"  # Keras then chooses by the shapes of targets and output
    if name == "top_k":
        if loss.startswith("sparse"):
            return keras.metrics.SparseTopKCategoricalAccuracy(**params, name="top_k")
        return keras.metrics.TopKCategoricalAccuracy(**params, name="top_k")
    if name in ("precision", "recall"):
        kind = keras.metrics.Precision if name == "precision" else keras.metrics.Recall
        return kind(thresholds=params.get("threshold"), name=name)
    kinds = {
        "mae": keras.metrics.MeanAbsoluteError,
        "mse": keras.metrics.MeanSquaredError,
        "rmse": keras.metrics.RootMeanSquaredError,
        "r2": keras.metrics.R2Score,
    }
    return kinds[name](name=name)


Order = Any
"""How the axes of an array are ordered in a weights file; None: as in Keras; or a function that turns it."""


def names_and_axes(layer: keras.Layer) -> list[tuple[str, Order]]:
    """Of each array of a Keras layer its name in a weights file, and how its axes are ordered there."""
    if isinstance(layer, (keras.layers.Embedding, keras.layers.PReLU, keras.layers.RMSNormalization)):
        return [("weight", None)]
    if isinstance(layer, SelfAttention):
        if isinstance(layer.inner, keras.layers.Attention):
            return [("scale", None)]
        inputs = (lambda kernel: kernel.reshape(len(kernel), -1).T), (lambda bias: bias.reshape(-1))
        output = (lambda kernel: kernel.reshape(-1, kernel.shape[-1]).T), None
        biased = [(part, inputs) for part in ("query", "key", "value")] + [("output", output)]
        return [
            (f"{part}_{name}", order)
            for part, (kernel, bias) in biased
            for name, order in (("weight", kernel), ("bias", bias))
            if name == "weight" or layer.inner._use_bias
        ]
    if type(layer) in (LAYERS["separable_conv1d"], LAYERS["separable_conv2d"]):
        places = layer.rank
        mixing = (places + 1, places, *range(places))
        return [("depthwise_weight", depthwise), ("weight", mixing), ("bias", None)]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [("weight", depthwise), ("bias", None)]
    if isinstance(layer, KINDS_OF_NORM):
        learned = [("weight", layer.scale), ("bias", layer.center)]
        moving = ["running_mean", "running_var"] if isinstance(layer, KINDS_OF_NORM[0]) else []
        return [(name, None) for name in [n for n, there in learned if there] + moving]
    if isinstance(layer, keras.layers.Bidirectional):
        own = names_and_axes(layer.forward_layer)
        return [(f"{name}{suffix}", axes) for suffix in ("", "_reverse") for name, axes in own]
    if isinstance(layer, (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)):
        return [("weight_ih", (1, 0)), ("weight_hh", (1, 0)), ("bias", None)][: 3 if layer.use_bias else 2]
    axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
    return [("weight", axes[layer.weights[0].ndim]), ("bias", None)]


def depthwise(kernel: np.ndarray) -> np.ndarray:
    """(*window, in, multiplier) as (in * multiplier, 1, *window)."""
    *window, channels, multiplier = kernel.shape
    places = len(window)
    turned = kernel.transpose(places, places + 1, *range(places))
    return turned.reshape(channels * multiplier, 1, *window)


def as_in_file(value: np.ndarray, order: Order) -> np.ndarray:
    """An array of Keras as a weights file has it."""
    if order is None:
        return value
    return order(value) if callable(order) else value.transpose(order)


def as_in_keras(value: np.ndarray, order: Order, shape: tuple[int, ...]) -> np.ndarray:
    """The same backwards: each number to the place that it comes from."""
    places = as_in_file(np.arange(value.size).reshape(shape), order)
    assert places.shape == value.shape, (places.shape, value.shape)
    found = np.empty(value.size, value.dtype)
    found[places.ravel()] = value.ravel()
    return found.reshape(shape)


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    for i, layer in enumerate(model.layers):
        if layer.weights:
            values = []
            for (name, axes), own in zip(names_and_axes(layer), layer.get_weights(), strict=False):
                values.append(as_in_keras(weights[f"{i}.{name}"], axes, own.shape))
            layer.set_weights(values)


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    weights = {}
    for i, layer in enumerate(model.layers):
        if layer.weights:
            for (name, axes), value in zip(names_and_axes(layer), layer.get_weights(), strict=False):
                weights[f"{i}.{name}"] = np.array(as_in_file(value, axes))
    return weights


def clipping(spec: Spec) -> dict[str, float]:
    """The optimizer's parameters that clip gradients."""
    names = {"norm": "global_clipnorm", "value": "clipvalue"}
    return {names[kind]: limit for kind, limit in spec.get("gradient_clip", {}).items()}


def schedule(value: Any, optimizer: keras.optimizers.Optimizer, steps: int) -> keras.callbacks.Callback:
    """What changes the rate of each epoch; Keras's own schedules are asked at an epoch's first step."""
    name, params = component(value)
    if name == "reduce_on_plateau":
        params = dict(params)
        return keras.callbacks.ReduceLROnPlateau(min_lr=params.pop("min_learning_rate", 0.0), **params)
    rate = float(optimizer.learning_rate.numpy())
    if name == "exponential":
        curve = keras.optimizers.schedules.ExponentialDecay(rate, steps, params["factor"])
    else:
        curve = keras.optimizers.schedules.CosineDecay(rate, steps * params["epochs"], params["minimum"])
    return keras.callbacks.LearningRateScheduler(lambda epoch: float(curve(epoch * steps)))


def pad(spec: Spec, lists: np.ndarray) -> np.ndarray:
    _, params = component(spec["preprocessing"]["inputs"])
    names = {"length": "maxlen", "side": "padding", "truncate": "truncating", "value": "value"}
    return keras.utils.pad_sequences(list(lists), **{names[key]: value for key, value in params.items()})


def train(
    spec: Spec,
    x_NF: np.ndarray,
    y: np.ndarray,
    weights: dict[str, np.ndarray],
    validation_rows: np.ndarray | None = None,
    row_weights: np.ndarray | None = None,
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Train what the spec says on the given arrays; gives the history and the final weights.

    `validation_rows` are those of a fold; without them the spec's holdout counts.
    """
    keras.utils.clear_session()
    loss, loss_params = component(spec["loss"])
    optimizer, optimizer_params = component(spec.get("optimizer", "rmsprop"))
    words = 0
    if x_NF.dtype == object:
        words = 1 + max(max(row) for row in x_NF)
        x_NF = pad(spec, x_NF)
    model = build_model(spec["layers"], x_NF.shape[1], words)
    set_weights(model, weights)
    if places := optimizer_params.get("exclude_layers"):
        names = [f"(^|/){model.layers[place].name}/" for place in places]
        optimizer_params = {**optimizer_params, "exclude_layers": names}
    model.compile(
        loss=LOSSES[loss](**loss_params),
        optimizer=OPTIMIZERS[optimizer](**optimizer_params, **clipping(spec)),
        metrics=[build_metric(metric, loss) for metric in spec.get("metrics", [])],
    )

    if loss == "categorical_crossentropy" or (y.ndim == 1 and model.output_shape[-1] > 1 and loss == "mse"):
        y = np.eye(model.output_shape[-1], dtype=np.float32)[y]
    elif y.ndim == 1 and not loss.startswith("sparse"):
        y = y[:, None]

    if validation_rows is None:
        kind, params = component(spec.get("validation", "none"))
        validation_rows = np.arange(params["first"] if kind == "holdout" else 0)
    training_rows = np.setdiff1d(np.arange(len(x_NF)), validation_rows)
    callbacks = []
    if "early_stopping" in spec:
        params = dict(spec["early_stopping"])
        restore_best = params.pop("restore_best", False)
        callbacks = [keras.callbacks.EarlyStopping(**params, restore_best_weights=restore_best)]
    if "learning_rate_schedule" in spec:
        steps = -(-len(training_rows) // spec["batch_size"])
        callbacks.append(schedule(spec["learning_rate_schedule"], model.optimizer, steps))
    validation_data = [x_NF[validation_rows], y[validation_rows]]
    weighted: dict[str, Any] = {}
    if row_weights is not None:
        weighted = {"sample_weight": row_weights[training_rows]}
        validation_data.append(row_weights[validation_rows])
    if "class_weight" in spec:
        weighted["class_weight"] = {int(label): weight for label, weight in spec["class_weight"].items()}

    history = model.fit(
        x_NF[training_rows],
        y[training_rows],
        validation_data=tuple(validation_data) if len(validation_rows) else None,
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
        **weighted,
    ).history
    return {name: [float(v) for v in values] for name, values in history.items()}, get_weights(model)


def answer(case: Case) -> dict[str, Any]:
    data = case_data(case)
    spec, row_weights = full_spec(case), data.row_weights
    history, weights = train(spec, data.x_NF, data.y, data.weights, row_weights=row_weights)
    last_kernel = weights[f"{len(case.layers) - 1}.weight"]
    return {
        "history": {name: [float(f"{v:.9g}") for v in values] for name, values in history.items()},
        "last_kernel": [[float(f"{w:.9g}") for w in row] for row in last_kernel],
        **(
            {"marks": {name: _rounded(marks(value)) for name, value in weights.items()}}
            if case.shapes
            else {}
        ),
    }


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.9g}") for value in values]


def main() -> None:
    present = keras.backend.backend()
    answers = json.loads(ANSWERS.read_text(encoding="utf-8"))["cases"]
    wanted = sys.argv[1:] or [case.name for case in ALL_CASES]
    for case in ALL_CASES:
        if case.backend == present and case.name in wanted:
            print(case.name, flush=True)
            answers[case.name] = answer(case)
    names = [case.name for case in ALL_CASES]
    lines = [f"  {json.dumps(name)}: {json.dumps(answers[name])}" for name in names]
    version = f'"keras": "{keras.version()}"'
    ANSWERS.write_text(f'{{{version}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
