"""Rows of the comparison that time epochs and updates: nnrun's own history beside Keras and plain PyTorch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.comparison import Line, Row, RowMaker, Sitting
from tests.benchmarks.programs import HERE, ROOT, Program, python

JAX, TENSORFLOW, TORCH = "Keras-JAX", "Keras-TF", "PyTorch"
Spec = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Reads 5e-3 as the number that it is in YAML 1.2, and to nnrun."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?e[-+]?[0-9]+$"), list("-+0123456789")
)


def shipped(name: str) -> Spec:
    """A spec of `specs/`, as it is written."""
    text = (ROOT / "specs" / f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, _Loader))  # noqa: S506 - a SafeLoader


def peer(system: str, folder: Path, sitting: Sitting, epochs: int) -> Program:
    """A system that trains what `fold_arrays.py` wrote into a folder."""
    options = [str(folder), "--epochs", str(epochs), "--clock", sitting.clock]
    if system == TORCH:
        return Program(system, python("peers/torch_fit.py", *options))
    backend = {JAX: "jax", TENSORFLOW: "tensorflow"}[system]
    command = [sitting.peers, str(HERE / "peers" / "keras_fit.py"), *options]
    return Program(system, command, {"KERAS_BACKEND": backend}, needs=("keras", backend))


def trainer(
    name: str, spec: Path, sitting: Sitting, *options: str, cores: int = 1, clock: str | None = None
) -> Program:
    """`nnrun train`, timed by its history."""
    runs = sitting.folder / "runs"
    runs.mkdir(exist_ok=True)
    data = ["--data-dir", str(sitting.data_dir)] if sitting.data_dir else []
    command = python("time_nnrun.py", clock or sitting.clock, runs, spec, *options, *data)
    return Program(name, command, cores=cores)


def write_spec(folder: Path, spec: Mapping[str, Any]) -> Path:
    """A spec as a file; every JSON document is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spec.yaml"
    path.write_text(json.dumps(spec, indent=2), encoding="utf-8")
    return path


def arrays(spec: Path, folder: Path, sitting: Sitting) -> Program:
    """Writes the rows for the peers."""
    data = ["--data-dir", str(sitting.data_dir)] if sitting.data_dir else []
    return Program("arrays", python("fold_arrays.py", spec, folder, *data))


def _compared(
    sitting: Sitting,
    name: str,
    spec: Spec,
    lines: Sequence[Line],
    peers: Sequence[str],
    *,
    made: Sequence[Program] = (),
    peer_epochs: int | None = None,
) -> Row:
    """nnrun's epochs of a spec beside those of the peers, on the same rows."""
    folder = sitting.folder / name
    path = write_spec(folder, spec)
    return Row(
        lines,
        trainer("nnrun", path, sitting),
        [peer(system, folder, sitting, peer_epochs or spec["epochs"]) for system in peers],
        before=[*made, arrays(path, folder, sitting)],
    )


def _of_reviews(sitting: Sitting, name: str, spec: Spec, work: str, reach: str) -> Row:
    """IMDB's reviews, or generated ones where they are not at hand."""
    made = []
    if sitting.data_dir is None or not (sitting.data_dir / "imdb.npz").exists():
        file, rows = sitting.folder / "reviews.npz", str(sitting.size(25_000))
        made = [] if file.exists() else [Program("reviews", python("generated.py", "reviews", file, rows))]
        holdout = {"holdout": {"first": sitting.size(10_000)}}
        spec = {**spec, "dataset": {"npz": str(file)}, "validation": holdout}
        work += ", generated reviews"
    return _compared(sitting, name, spec, [Line(work, "epoch", "s/epoch", reach)], [JAX, TORCH], made=made)


def imdb_embedding(sitting: Sitting) -> Row:
    spec = {**shipped("imdb_embedding"), "epochs": 5}
    return _of_reviews(sitting, "imdb_embedding", spec, "imdb_embedding", "≤ 0.5")


def imdb_lstm(sitting: Sitting) -> Row:
    spec = {**shipped("imdb_lstm"), "epochs": 2}
    return _of_reviews(sitting, "imdb_lstm", spec, "imdb_lstm", "≤ 0.75")


def imdb_gru(sitting: Sitting) -> Row:
    spec = {**shipped("imdb_lstm"), "epochs": 2, "name": "imdb_gru"}
    spec["layers"] = [{"gru": 32} if layer == {"lstm": 32} else layer for layer in spec["layers"]]
    assert {"gru": 32} in spec["layers"]
    return _of_reviews(sitting, "imdb_gru", spec, "a GRU of the same size", "≤ 0.4")


def _images(sitting: Sitting, epochs: int) -> tuple[Spec, list[Program]]:
    """The network of `specs/mnist_conv.yaml` with Adam; 9,000 random images to train on, 1,000 more."""
    file = sitting.folder / "images.npz"
    rows = str(sitting.size(10_000))
    made = [] if file.exists() else [Program("images", python("generated.py", "images", file, rows))]
    spec = shipped("mnist_conv") | {
        "name": "convnet",
        "dataset": {"npz": str(file)},
        "preprocessing": {"inputs": "none"},
        "optimizer": "adam",
        "epochs": epochs,
        "validation": {"holdout": {"first": sitting.size(1000)}},
    }
    return spec, made


def convnet(sitting: Sitting) -> Row:
    spec, made = _images(sitting, 2)
    lines = [Line("convnet 28 x 28, 32-64-64", "epoch", "s/epoch", "≤ 0.8")]
    return _compared(sitting, "convnet", spec, lines, [TORCH, TENSORFLOW, JAX], made=made)


def convnet_four(sitting: Sitting) -> Row:
    """Four seeds side by side against one of them."""
    spec, made = _images(sitting, 2)
    path = write_spec(sitting.folder / "convnet_four", spec)
    lines = [Line("the same, four replicas", "epoch", "s/epoch", "≤ 2.5")]
    one = trainer("nnrun, one replica", path, sitting)
    return Row(lines, trainer("nnrun", path, sitting, "--seeds", "4"), [one], before=made)


def _table(sitting: Sitting, name: str, rows: int, columns: int, classes: int) -> tuple[Path, list[Program]]:
    file = sitting.folder / f"{name}.npz"
    numbers = map(str, (sitting.size(rows), columns, classes))
    return file, [] if file.exists() else [Program(name, python("generated.py", "table", file, *numbers))]


def wide_table(sitting: Sitting) -> tuple[Spec, list[Program]]:
    """A table of 90,000 rows to train on and 98 numbers each."""
    file, made = _table(sitting, "table", 100_000, 98, 2)
    hidden = {"dense": {"units": 256, "activation": "relu"}}
    spec = {
        "name": "table",
        "dataset": {"npz": str(file)},
        "layers": [hidden, hidden, {"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "optimizer": "adam",
        "metrics": ["accuracy"],
        "epochs": 4,
        "batch_size": 1024,
        "validation": {"holdout": {"first": sitting.size(10_000)}},
    }
    return spec, made


def dense_table(sitting: Sitting) -> Row:
    spec, made = wide_table(sitting)
    lines = [Line("dense 98-256-256-1, batch 1,024", "epoch", "s/epoch", "≤ 0.75")]
    return _compared(sitting, "dense_table", spec, lines, [JAX, TORCH], made=made)


def dense_pixels(sitting: Sitting) -> Row:
    """The network of `specs/mnist.yaml`, 55,000 random rows to train on."""
    file, made = _table(sitting, "pixels", 60_000, 784, 10)
    spec = shipped("mnist") | {
        "name": "pixels",
        "dataset": {"npz": str(file)},
        "preprocessing": {"inputs": "none"},
        "layers": [layer for layer in shipped("mnist")["layers"] if layer != "flatten"],
        "epochs": 3,
        "validation": {"holdout": {"first": sitting.size(5000)}},
    }
    lines = [Line("dense 784-512-10, batch 128", "epoch", "s/epoch", "≤ 0.75")]
    return _compared(sitting, "dense_pixels", spec, lines, [JAX, TORCH], made=made)


def _small(sitting: Sitting, name: str, validation: Mapping[str, Any], work: str) -> Row:
    """`specs/digits.yaml` for under 5,000 steps; nnrun's C++ from the first step on is one of the peers."""
    spec = {**shipped("digits"), "epochs": 20, "validation": validation}
    lines = [Line(work, "update", "µs/update", "C++ from the first step")]
    row = _compared(sitting, name, spec, lines, [JAX, TORCH], peer_epochs=10)
    compiled = trainer("nnrun --compile on", sitting.folder / name / "spec.yaml", sitting, "--compile", "on")
    return Row(row.lines, row.nnrun, [*row.peers, compiled], row.before)


def small_folds(sitting: Sitting) -> Row:
    folds = {"kfold": {"k": 2, "shuffle": True}}
    return _small(sitting, "small_folds", folds, "small stack under 5,000 steps, 2 folds")


def small_seed(sitting: Sitting) -> Row:
    holdout = {"holdout": {"fraction": 0.2}}
    return _small(sitting, "small_seed", holdout, "small stack under 5,000 steps, 1 seed")


ROWS: dict[str, RowMaker] = {
    "imdb_embedding": imdb_embedding,
    "imdb_lstm": imdb_lstm,
    "imdb_gru": imdb_gru,
    "convnet": convnet,
    "convnet_four": convnet_four,
    "dense_table": dense_table,
    "dense_pixels": dense_pixels,
    "small_folds": small_folds,
    "small_seed": small_seed,
}
