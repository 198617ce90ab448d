"""`nnrun eject`: scripts that train as nnrun does, without nnrun."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import UsageError
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, numbers, write_small

SPECS = Path(__file__).parents[3] / "specs"
GOLDEN = Path(__file__).parent / "boston_pytorch.py.txt"
DENSE = [{"dense": {"units": 8, "activation": "relu"}}]
ONE: list[dict[str, Any]] = [{"dense": 1}]
YES: list[dict[str, Any]] = [{"dense": {"units": 1, "activation": "sigmoid"}}]

# name → what is changed of REGRESSION, or of BINARY
REGRESSIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "folds": {"validation": KFOLD},
    "drawn_folds": {"validation": {"kfold": {"k": 3, "shuffle": True}}},
    "no_validation": {"validation": "none", "shuffle": False},
    "dropout": {"layers": [*DENSE, {"dropout": 0.4}, *ONE], "validation": KFOLD},
    "batch_normalization": {"layers": [*DENSE, "batch_normalization", *ONE]},
    "residual": {"layers": [*DENSE, {"residual": [{"dense": 8}]}, "layer_normalization", *ONE]},
    "momentum": {"optimizer": {"sgd": {"learning_rate": 0.001, "momentum": 0.9}}},
    "nesterov": {"optimizer": {"sgd": {"learning_rate": 0.001, "momentum": 0.9, "nesterov": True}}},
    "rmsprop_momentum": {"optimizer": {"rmsprop": {"momentum": 0.5}}},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": {"adamw": {"weight_decay": 0.1}}, "learning_rate_schedule": "cosine"},
    "adagrad": {"optimizer": {"adagrad": {"learning_rate": 0.1}}},
    "clip_norm": {"gradient_clip": {"norm": 0.5}},
    "clip_value": {"gradient_clip": {"value": 0.05}},
    "scaled_target": {"preprocessing": {"inputs": "min_max", "targets": "standardize"}},
    "mae": {"loss": "mae", "metrics": ["mse", "rmse"]},
    "huber": {"loss": {"huber": {"delta": 0.5}}, "metrics": []},
}
BINARIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stratified": {"validation": {"holdout": {"fraction": 0.25, "stratify": True}}},
    "smoothed": {"loss": {"binary_crossentropy": {"label_smoothing": 0.1}}},
    "weighted": {"class_weight": "balanced"},
    "mse": {"loss": "mse"},
}


def same_history(folder: Path, spec: Path, to: str, data_dir: Path | None = None) -> str:
    """Run a spec's script where nnrun cannot be imported, and compare what it writes; give the script."""
    script = folder / "lesson.py"
    ejected = nnrun.eject(spec, to, script, data_dir=data_dir)  # type: ignore[arg-type]
    own = nnrun.train(spec, runs_dir=folder / "runs", data_dir=data_dir).history
    blocked = folder / "blocked" / "nnrun"
    blocked.mkdir(parents=True, exist_ok=True)
    (blocked / "__init__.py").write_text("raise ImportError('a script needs no nnrun')\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(blocked.parent), "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(script.with_suffix(".csv"))
    assert list(found.columns) == list(own.columns)
    keys = [name for name in ("fold", "epoch") if name in own]
    own, found = (each.sort_values(keys).drop(columns="seconds") for each in (own, found))
    np.testing.assert_allclose(found.to_numpy(), own.to_numpy(), rtol=1e-4, atol=1e-4)
    source = script.read_text(encoding="utf-8")
    assert source.count("\n") == ejected.lines
    return source


def styled(script: Path) -> None:
    """ruff, by its own defaults, has nothing to say, and would write it no otherwise."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--diff"]):
        done = subprocess.run(
            [*ruff, *command, "--isolated", str(script)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions(name: str, tmp_path: Path) -> None:
    same_history(tmp_path, write_small(tmp_path, **REGRESSIONS[name]), "pytorch")
    styled(tmp_path / "lesson.py")


@pytest.mark.parametrize("name", BINARIES)
def test_yes_or_no(name: str, tmp_path: Path) -> None:
    arrays = numbers()
    arrays = {key: (a > 3).astype(int) if key[0] == "y" else a for key, a in arrays.items()}
    same_history(tmp_path, write_small(tmp_path, BINARY, arrays, **BINARIES[name]), "pytorch")
    styled(tmp_path / "lesson.py")


def write_tokens(folder: Path, dataset: str) -> None:
    """A file as Keras publishes it, with a few short texts of words below 30."""
    rng = np.random.RandomState(0)
    lists = np.empty(120, object)
    lists[:] = [rng.randint(1, 30, rng.randint(3, 20)).tolist() for _ in lists]
    if dataset == "reuters":
        np.savez(folder / "reuters.npz", x=lists, y=rng.randint(0, 46, 120))
        return
    labels = np.array([int(sum(words) > 160) for words in lists])
    arrays = {"x_train": lists[:90], "y_train": labels[:90], "x_test": lists[90:], "y_test": labels[90:]}
    np.savez(folder / "imdb.npz", **arrays)


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        ("imdb", "imdb"),
        ("imdb_mse", "imdb"),
        ("imdb_embedding", "imdb"),
        ("imdb_lstm", "imdb"),
        ("imdb_transformer", "imdb"),
        ("reuters", "reuters"),
        ("reuters_sparse", "reuters"),
        ("reuters_bottleneck", "reuters"),
        ("reuters_weighted", "reuters"),
    ],
)
def test_the_chapter(spec: str, dataset: str, tmp_path: Path) -> None:
    """Its specs, on a few rows."""
    write_tokens(tmp_path, dataset)
    path = small_chapter(tmp_path, spec, dataset)
    same_history(tmp_path, path, "pytorch", tmp_path)


def small_chapter(folder: Path, spec: str, dataset: str) -> Path:
    """A spec of the chapter for the few rows of `write_tokens`."""
    from nnrun.spec.reading.load import load_spec
    from nnrun.spec.writing.dump import dump_spec

    overrides = {
        "dataset": {dataset: {"num_words": 25}},
        "epochs": 2,
        "batch_size": 16,
        "validation.holdout.first": 20,
    }
    path = folder / f"{spec}.yaml"
    path.write_text(dump_spec(load_spec(SPECS / f"{spec}.yaml", overrides).spec), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "digits"])
def test_sets_of_scikit_learn(name: str, tmp_path: Path) -> None:
    last = {"breast_cancer": YES}.get(
        name, [{"dense": {"units": 3 if name == "iris" else 10, "activation": "softmax"}}]
    )
    loss = "binary_crossentropy" if name == "breast_cancer" else "sparse_categorical_crossentropy"
    spec = {
        "dataset": {"sklearn": name},
        "preprocessing": {"inputs": "standardize"},
        "layers": [*DENSE, *last],
        "loss": loss,
        "metrics": ["accuracy"],
        "epochs": 2,
        "validation": {"holdout": {"fraction": 0.2}},
    }
    path = tmp_path / f"{name}.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")
    same_history(tmp_path, path, "pytorch")


def test_table(tmp_path: Path) -> None:
    """Numbers with gaps, categories with gaps, classes that are texts, and rows set apart to test with."""
    rng = np.random.RandomState(0)
    size = rng.normal(10, 3, 80)
    table = pd.DataFrame(
        {
            "size": np.where(rng.rand(80) < 0.1, np.nan, size),
            "age": rng.randint(1, 90, 80),
            "town": np.where(rng.rand(80) < 0.1, None, rng.choice(["a", "b", "c"], 80)),
            "kind": np.where(size > 10, "large", "small"),
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    spec = {
        "dataset": {"csv": {"path": "table.csv", "target": "kind", "test": {"fraction": 0.2}}},
        "preprocessing": {"inputs": [{"impute": "median"}, "standardize", "one_hot"]},
        "layers": [*DENSE, *YES],
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 2,
        "validation": {"kfold": 3},
    }
    (tmp_path / "table.yaml").write_text(json.dumps(spec), encoding="utf-8")
    same_history(tmp_path, tmp_path / "table.yaml", "pytorch")
    styled(tmp_path / "lesson.py")


needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="needs the extra: pip install -e '.[keras]'"
)


@needs_keras
@pytest.mark.parametrize(
    "name", ["plain", "folds", "batch_normalization", "adamw", "clip_norm", "no_validation"]
)
def test_keras(name: str, tmp_path: Path) -> None:
    same_history(tmp_path, write_small(tmp_path, **REGRESSIONS[name]), "keras")
    styled(tmp_path / "lesson.py")


@needs_keras
@pytest.mark.parametrize(("spec", "dataset"), [("imdb", "imdb"), ("reuters", "reuters")])
def test_the_chapter_with_keras(spec: str, dataset: str, tmp_path: Path) -> None:
    write_tokens(tmp_path, dataset)
    same_history(tmp_path, small_chapter(tmp_path, spec, dataset), "keras", tmp_path)
    styled(tmp_path / "lesson.py")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"early_stopping": {"patience": 2}}, "eject cannot write the key early_stopping. "),
        ({"weight_averaging": "ema"}, "eject cannot write the key weight_averaging. "),
        ({"optimizer": "lamb"}, "eject cannot write the optimizer lamb. "),
        ({"loss": "log_cosh"}, "eject cannot write the loss log_cosh. "),
        ({"metrics": ["r2"]}, "eject cannot write the metric r2. "),
        (
            {"layers": [{"dense": {"units": 4, "kernel_regularizer": {"l2": 0.1}}}, {"dense": 1}]},
            "eject cannot write the kernel_regularizer of the layer dense (layers[0]). ",
        ),
        (
            {"layers": [{"dense": 4}, {"gaussian_noise": 0.1}, {"dense": 1}]},
            "eject cannot write the layer gaussian_noise (1). ",
        ),
        ({"preprocessing": {"inputs": "robust"}}, "eject cannot write the step robust. "),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    spec = write_small(tmp_path, REGRESSION, **changes)
    with pytest.raises(UsageError) as raised:
        nnrun.eject(spec, "pytorch", tmp_path / "lesson.py")
    assert str(raised.value).startswith(said)
    assert not (tmp_path / "lesson.py").exists()


def test_the_listing_of_boston(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole script, as a reader sees it. `NNRUN_WRITE_SCREENS=1` writes it; read it."""
    monkeypatch.delenv("NNRUN_DATA_DIR", raising=False)
    nnrun.eject(SPECS / "boston.yaml", "pytorch", tmp_path / "boston.py")
    styled(tmp_path / "boston.py")
    source = (tmp_path / "boston.py").read_text(encoding="utf-8")
    if os.environ.get("NNRUN_WRITE_SCREENS"):
        GOLDEN.write_text(source, encoding="utf-8")
    expected = GOLDEN.read_text(encoding="utf-8")
    assert source == expected, "\n".join(difflib.unified_diff(expected.split("\n"), source.split("\n")))
