"""The book's experiments: nnrun beside Keras and a plain PyTorch loop, in one run.

    pip install -e '.[bench]'
    NNRUN_DATA_DIR=... python tests/benchmarks/book.py [imdb] [imdb88k] [reuters] [boston] [--repeat 3]

Each system runs in a process of its own, one after the other, so that peak memory and start-up are its own.
The peers get dense rows that are ready on disk (`.npy`), which saves them the reading and encoding that nnrun
does, and Keras makes all steps of an epoch in one call. `keras-jax-pinned` is held to one core, which is
faster where steps are small: threads that wait for each other cost more than they compute. Printed are the
seconds of the training phase (with validation), those of the whole process, the peak memory, and each peer's
training time as a multiple of nnrun's. Of several repeats the fastest counts. `--clock cpu` takes processor
time for the training phase, for a machine that is busy; it adds up the threads of a process.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPECS = Path(__file__).parents[2] / "specs"
# Keras's time for Boston is that of 500 epochs, from the difference of two short runs: it would take minutes.
SHORT, LONG, ALL = 5, 15, 500


@dataclass(frozen=True)
class Work:
    """One experiment of the book."""

    spec: str
    overrides: tuple[str, ...]
    loss: str
    metric: str
    units: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    folds: int = 0


WORKS = {
    "imdb": Work("imdb.yaml", (), "binary_crossentropy", "accuracy", (16, 16, 1), "sigmoid", 20, 512),
    "imdb88k": Work(
        "imdb.yaml",
        ("dataset.imdb.num_words=88000",),
        "binary_crossentropy",
        "accuracy",
        (16, 16, 1),
        "sigmoid",
        20,
        512,
    ),
    "reuters": Work(
        "reuters.yaml", (), "categorical_crossentropy", "accuracy", (64, 64, 46), "softmax", 20, 512
    ),
    "boston": Work("boston.yaml", (), "mse", "mae", (64, 64, 1), "linear", ALL, 1, folds=4),
}
PEERS = {
    "imdb": ("keras-tensorflow", "keras-jax", "torch"),
    "imdb88k": (),  # 5 GB of dense rows, and twice that in Keras
    "reuters": ("keras-tensorflow", "keras-jax", "torch"),
    "boston": ("keras-tensorflow", "keras-jax", "keras-jax-pinned", "torch"),
}


# --- the data, dense and ready: fold_arrays.py writes them -------------------------------------------------


def data_dir() -> Path | None:
    named = os.environ.get("NNRUN_DATA_DIR")
    return Path(named) if named else None


Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_fold(folder: Path, fold: int) -> Fold:
    parts = ("x_train", "y_train", "x_validation", "y_validation")
    x_train, y_train, x_validation, y_validation = (np.load(folder / f"{p}_{fold}.npy") for p in parts)
    return x_train, y_train, x_validation, y_validation


# --- the systems: each gives the seconds of its training phase ---------------------------------------------


def nnrun_seconds(work: Work, folder: Path) -> float:
    """Through the command, as people start it."""
    from nnrun.cli import entry_point

    runs = folder / "runs" / str(os.getpid())
    overrides = [part for override in work.overrides for part in ("--set", override)]
    sys.argv = ["nnrun", "train", str(SPECS / work.spec), *overrides, "--runs-dir", str(runs), "--quiet"]
    with suppress(SystemExit):  # as a command ends; its record says how
        entry_point()
    (path,) = runs.glob("*/run.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["status"] == "completed", record
    return float(record["training_seconds"])


def keras_seconds(work: Work, folder: Path) -> float:
    import keras

    def fit(fold: Fold, epochs: int) -> float:
        x_train, y_train, x_validation, y_validation = fold
        *hidden, last = work.units
        model = keras.Sequential(
            [
                keras.Input((x_train.shape[1],)),
                *(keras.layers.Dense(units, activation="relu") for units in hidden),
                keras.layers.Dense(last, activation=work.activation),
            ]
        )
        steps = math.ceil(len(x_train) / work.batch_size)
        model.compile(optimizer="rmsprop", loss=work.loss, metrics=[work.metric], steps_per_execution=steps)
        started = time.perf_counter()
        model.fit(
            x_train,
            y_train,
            epochs=epochs,
            batch_size=work.batch_size,
            validation_data=(x_validation, y_validation),
            verbose=0,
        )
        return time.perf_counter() - started

    if not work.folds:
        return fit(read_fold(folder, 0), work.epochs)
    fold = read_fold(folder, 0)
    short, long = fit(fold, SHORT), fit(fold, LONG)
    per_epoch = (long - short) / (LONG - SHORT)
    return work.folds * (short + (work.epochs - SHORT) * per_epoch)


def torch_seconds(work: Work, folder: Path) -> float:
    """The loop that a PyTorch tutorial would write, on dense rows."""
    import torch
    from torch import nn

    losses: dict[str, nn.Module] = {
        "binary_crossentropy": nn.BCEWithLogitsLoss(),
        "categorical_crossentropy": nn.CrossEntropyLoss(),
        "mse": nn.MSELoss(),
    }
    loss_function = losses[work.loss]

    def fit(fold: Fold, epochs: int) -> float:
        x_train, y_train, x_validation, y_validation = (torch.from_numpy(part) for part in fold)
        layers: list[nn.Module] = []
        width = x_train.shape[1]
        for units in work.units[:-1]:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        model = nn.Sequential(*layers, nn.Linear(width, work.units[-1]))
        optimizer = torch.optim.RMSprop(model.parameters(), lr=0.001, alpha=0.9, eps=1e-7)
        started = time.perf_counter()
        for _ in range(epochs):
            total = 0.0
            for rows in torch.randperm(len(x_train)).split(work.batch_size):
                optimizer.zero_grad()
                loss = loss_function(model(x_train[rows]), y_train[rows])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            with torch.no_grad():
                loss_function(model(x_validation), y_validation).item()
        return time.perf_counter() - started

    fold = read_fold(folder, 0)
    if not work.folds:
        return fit(fold, work.epochs)
    per_epoch = (fit(fold, LONG) - fit(fold, SHORT)) / (LONG - SHORT)
    return work.folds * work.epochs * per_epoch


SYSTEMS: dict[str, Callable[[Work, Path], float]] = {
    "nnrun": nnrun_seconds,
    "keras-tensorflow": keras_seconds,
    "keras-jax": keras_seconds,
    "keras-jax-pinned": keras_seconds,
    "torch": torch_seconds,
}


WRITE = "write"
"""Not a system: writes the dense rows for the peers."""

PINNED = "-pinned"
"""How the name of a system ends that is held to one core."""


# --- the comparison ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    training: float
    whole: float
    megabytes: float


def measure(system: str, name: str, folder: Path, clock: str) -> Measured:
    """Run one system on one work in a process of its own."""
    started = time.perf_counter()
    output = in_a_process(system, name, folder, clock)
    whole = time.perf_counter() - started
    answer = json.loads(output.splitlines()[-1])
    return Measured(answer["training"], whole, answer["megabytes"])


def in_a_process(system: str, name: str, folder: Path, clock: str = "wall") -> str:
    """What `run_one` prints. A process begins with the peak memory of its parent, so that one stays small."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if system.startswith("keras-"):
        environment["KERAS_BACKEND"] = system.split("-")[1]
    pinned = system.endswith(PINNED) and hasattr(os, "sched_setaffinity")
    result = subprocess.run(
        [sys.executable, __file__, "--one", system, name, str(folder), "--clock", clock],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=pin if pinned else None,
    )
    if result.returncode:
        raise SystemExit(f"{system} failed on {name}:\n{result.stderr}")
    return result.stdout


def pin() -> None:
    """Hold this process to the last core that it may use."""
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])


def run_one(system: str, name: str, folder: Path, clock: str) -> None:
    if system == WRITE:
        from fold_arrays import write_folds

        write_folds(SPECS / WORKS[name].spec, WORKS[name].overrides, folder, data_dir())
        return
    if clock == "cpu":
        time.perf_counter = time.process_time  # that of nnrun's history too
    training = SYSTEMS[system](WORKS[name], folder)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"training": training, "megabytes": megabytes}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("works", nargs="*", help=f"some of {', '.join(WORKS)}; default: all")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--one", nargs=3, metavar=("SYSTEM", "WORK", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.one:
        system, name, folder = arguments.one
        run_one(system, name, Path(folder), arguments.clock)
        return
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {datetime.date.today()}")
    print(f"{'work':<8} {'system':<17} {'training':>9} {'whole':>8} {'memory':>9} {'times nnrun':>12}")
    for name in arguments.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            if PEERS[name]:
                in_a_process(WRITE, name, Path(folder))
            ours = 0.0
            for system in ("nnrun", *PEERS[name]):
                repeats = [
                    measure(system, name, Path(folder), arguments.clock) for _ in range(arguments.repeat)
                ]
                best = min(repeats, key=lambda m: m.training)
                # What is extrapolated has no process to measure.
                whole = f"{min(m.whole for m in repeats):.1f} s"
                if WORKS[name].folds and system != "nnrun":
                    whole = "-"
                ours = ours or best.training
                print(
                    f"{name:<8} {system:<17} {best.training:>7.2f} s {whole:>8} "
                    f"{best.megabytes:>6.0f} MB {best.training / ours:>11.1f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
