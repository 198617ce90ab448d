"""Keras trains what `fold_arrays.py` wrote. Prints {"epoch": seconds, "update": microseconds}.

    KERAS_BACKEND=jax python tests/benchmarks/peers/keras_fit.py FOLDER --epochs N [--clock cpu]

The epoch is the median of the second to the last, validation included. Imports no nnrun: only Keras and a
backend must be installed. Steps are compiled, and one call makes all steps of an epoch
(`steps_per_execution`), which spares Keras's work between steps.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def build(work: dict[str, Any], row_shape: tuple[int, ...], words: int) -> Any:
    """The compiled model. `words` is the input dimension of an embedding."""
    from keras import Input, Sequential, layers

    kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
        "dense": lambda p: layers.Dense(p["units"], activation=p["activation"]),
        "embedding": lambda p: layers.Embedding(words, p["output_dim"]),
        "global_average_pooling": lambda p: layers.GlobalAveragePooling1D(),
        "lstm": lambda p: layers.LSTM(p["units"]),
        "gru": lambda p: layers.GRU(p["units"]),
        "conv2d": lambda p: layers.Conv2D(
            p["filters"], (p["kernel_size"] * 2)[:2], activation=p["activation"]
        ),
        "max_pooling": lambda p: layers.MaxPooling2D(),
        "flatten": lambda p: layers.Flatten(),
    }
    takes_words = work["layers"][0]["kind"] == "embedding"
    inputs = Input(row_shape, dtype="int32" if takes_words else "float32")
    return Sequential([inputs, *(kinds[layer["kind"]](layer) for layer in work["layers"])])


def compile_model(model: Any, work: dict[str, Any], steps: int) -> None:
    """With the spec's loss and optimizer, and accuracy or the mean absolute error."""
    from keras import optimizers

    settings = work["optimizer"]
    kinds = {"adam": optimizers.Adam, "rmsprop": optimizers.RMSprop}
    model.compile(
        optimizer=kinds[settings["kind"]](settings["learning_rate"]),
        loss=work["loss"]["kind"],
        metrics=["mae" if work["loss"]["kind"] == "mse" else "accuracy"],
        steps_per_execution=steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    clock = CLOCKS[arguments.clock]
    work = json.loads((arguments.folder / "work.json").read_text(encoding="utf-8"))
    names = ("x_train", "y_train", "x_validation", "y_validation")
    x, y, x_validation, y_validation = (np.load(arguments.folder / f"{name}_0.npy") for name in names)
    words = 0
    if work["layers"][0]["kind"] == "embedding":
        x, x_validation = x.astype(np.int32), x_validation.astype(np.int32)
        words = int(max(x.max(), x_validation.max())) + 1

    import keras

    class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.epochs: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = clock()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # called after the validation
            self.epochs.append(clock() - self.began)

    model = build(work, x.shape[1:], words)
    compile_model(model, work, math.ceil(len(x) / work["batch_size"]))
    watch = Stopwatch()
    model.fit(
        x,
        y,
        batch_size=work["batch_size"],
        epochs=arguments.epochs,
        validation_data=(x_validation, y_validation),
        verbose=0,
        callbacks=[watch],
    )
    steps = math.ceil(len(x) / work["batch_size"])
    epoch = statistics.median(watch.epochs[1:])
    print(json.dumps({"epoch": epoch, "update": epoch / steps * 1e6}))


if __name__ == "__main__":
    main()
