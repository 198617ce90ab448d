"""`nnrun eject`: scripts that train as nnrun does, without nnrun."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.ejecting_rows import token_code
from tests.support.ejected_scripts import SPECS, needs_keras, same_histories, styled, write_tokens
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, write_small, yes_or_no

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
    "scores": {
        "metrics": ["r2", "mape", "msle", "median_ae", "explained_variance", "pearson", "d2", "rmse"],
        "preprocessing": {"targets": "standardize"},
    },
    "excluded": {"optimizer": {"adamw": {"weight_decay": 0.3, "exclude_from_weight_decay": "bias"}}},
    "ema": {"weight_averaging": "ema", "layers": [*DENSE, "batch_normalization", *ONE]},
    "ema_decay": {"weight_averaging": {"ema": 0.9}, "validation": KFOLD},
    "swa": {"weight_averaging": {"swa": 3}, "epochs": 5},
    "stops": {"epochs": 30, "optimizer": {"adam": 0.3}, "early_stopping": {"patience": 1}},
    "stops_late": {
        "epochs": 30,
        "optimizer": {"adam": 0.3},
        "early_stopping": {"monitor": "val_mae", "patience": 2, "min_delta": 0.01, "start_from_epoch": 2},
        "validation": KFOLD,
    },
    "stops_by_r2": {
        "epochs": 30,
        "optimizer": {"adam": 0.3},
        "metrics": ["r2"],
        "early_stopping": {"monitor": "val_r2", "patience": 1, "restore_best": True},
    },
    "inner": {
        "epochs": 20,
        "optimizer": {"adam": 0.1},
        "early_stopping": {"on": "inner", "patience": 2, "restore_best": True},
    },
    "inner_alone": {
        "epochs": 20,
        "optimizer": {"adam": 0.1},
        "early_stopping": {"on": "inner", "patience": 2},
        "validation": "none",
    },
    "ensemble": {
        "ensemble": {"members": 2, "kind": "independent"},
        "layers": [*DENSE, {"dropout": 0.2}, *ONE],
        "preprocessing": {"targets": "standardize"},
        "weight_averaging": "ema",
        "validation": KFOLD,
    },
    "all_of_it": {
        "epochs": 20,
        "layers": [*DENSE, {"dropout": 0.2}, *ONE],
        "optimizer": {"adamw": {"learning_rate": 0.1, "exclude_from_weight_decay": "bias"}},
        "preprocessing": {"inputs": "standardize", "targets": "standardize"},
        "metrics": ["mae", "r2"],
        "weight_averaging": "ema",
        "early_stopping": {"on": "inner", "patience": 3, "restore_best": True},
        "validation": KFOLD,
    },
}
BINARIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stratified": {"validation": {"holdout": {"fraction": 0.25, "stratify": True}}},
    "smoothed": {"loss": {"binary_crossentropy": {"label_smoothing": 0.1}}},
    "weighted": {"class_weight": "balanced"},
    "mse": {"loss": "mse"},
    "scores": {
        "metrics": [
            "auc",
            {"precision": 0.4},
            "recall",
            "f1",
            "average_precision",
            "balanced_accuracy",
            "mcc",
            "cohen_kappa",
            "log_loss",
            "brier",
        ]
    },
    "ensemble": {"ensemble": {"members": 3, "kind": "independent"}},
    "hinge": {"loss": "hinge", "layers": [*DENSE, *ONE]},
    "squared_hinge": {"loss": "squared_hinge", "layers": [*DENSE, *ONE], "metrics": []},
}


def in_folders(
    folder: Path, changes: Mapping[str, dict[str, Any]], spec: dict[str, Any] = REGRESSION
) -> dict[str, Path]:
    """A small spec for each of several changes, in a folder of its own."""
    made = {}
    for name, own in changes.items():
        (folder / "specs" / name).mkdir(parents=True)
        made[name] = write_small(
            folder / "specs" / name, spec, yes_or_no() if spec is BINARY else None, **own
        )
    return made


def test_regressions(tmp_path: Path) -> None:
    same_histories(tmp_path, in_folders(tmp_path, REGRESSIONS), "pytorch")
    styled(*tmp_path.glob("*.py"))


def test_yes_or_no(tmp_path: Path) -> None:
    same_histories(tmp_path, in_folders(tmp_path, BINARIES, BINARY), "pytorch")
    styled(*tmp_path.glob("*.py"))


CHAPTER = {
    "imdb": [
        "imdb",
        "imdb_mse",
        "imdb_tanh",
        "imdb_sweep",
        "imdb_embedding",
        "imdb_lstm",
        "imdb_transformer",
        "imdb_bigrams",
    ],
    "reuters": ["reuters", "reuters_best", "reuters_sparse", "reuters_bottleneck", "reuters_weighted"],
}


@pytest.mark.parametrize("dataset", CHAPTER)
def test_the_chapter(dataset: str, tmp_path: Path) -> None:
    """Its specs, on a few rows. Layers that are copied from nnrun have its longer lines."""
    write_tokens(tmp_path, dataset)
    specs = {name: small_chapter(tmp_path, name, dataset) for name in CHAPTER[dataset]}
    same_histories(tmp_path, specs, "pytorch", tmp_path)
    styled(*(tmp_path / f"{name}.py" for name in specs if name != "imdb_transformer"))


def small_chapter(folder: Path, spec: str, dataset: str) -> Path:
    """A spec of the chapter for the few rows of `write_tokens`."""
    from nnrun.spec.reading.load import load_spec
    from nnrun.spec.writing.dump import dump_spec

    few = {} if spec in ("imdb_bigrams", "reuters_best") else {"num_words": 25}
    overrides = {
        "dataset": {dataset: few},
        "epochs": 2,
        "batch_size": 16,
        "validation.holdout.first": 20,
    }
    path = folder / f"{spec}.yaml"
    path.write_text(dump_spec(load_spec(SPECS / f"{spec}.yaml", overrides).spec), encoding="utf-8")
    return path


@pytest.mark.parametrize("weighting", ["count", "tf_idf", "nb_ratio"])
def test_words_with_weights(weighting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that would be large in full stay sparse."""
    monkeypatch.setattr(token_code, "_MOST_BYTES", 0)
    write_tokens(tmp_path, "imdb")
    spec = {
        "dataset": {"imdb": {"num_words": 25}},
        "preprocessing": {"inputs": {"multi_hot": {"weighting": weighting, "ngrams": 2}}},
        "layers": [*DENSE, *YES],
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
        "optimizer": "adam",
        "epochs": 2,
        "validation": {"kfold": 2},
    }
    if weighting == "count":
        spec["preprocessing"] = {"inputs": {"multi_hot": {"weighting": "count"}}}
    (tmp_path / "words.yaml").write_text(json.dumps(spec), encoding="utf-8")
    same_histories(tmp_path, {"words": tmp_path / "words.yaml"}, "pytorch", tmp_path)
    styled(tmp_path / "words.py")


def test_sets_of_scikit_learn(tmp_path: Path) -> None:
    specs = {}
    for name, classes in (("breast_cancer", 0), ("iris", 3), ("digits", 10)):
        last = [{"dense": {"units": classes, "activation": "softmax"}}] if classes else YES
        spec = {
            "dataset": {"sklearn": name},
            "preprocessing": {"inputs": "standardize"},
            "layers": [*DENSE, *last],
            "loss": "sparse_categorical_crossentropy" if classes else "binary_crossentropy",
            "metrics": ["accuracy", *(["f1", "auc", "log_loss", "brier", {"top_k": 2}] if classes else [])],
            "epochs": 2,
            "validation": {"holdout": {"fraction": 0.2}},
        }
        specs[name] = tmp_path / f"{name}.yaml"
        specs[name].write_text(json.dumps(spec), encoding="utf-8")
    same_histories(tmp_path, specs, "pytorch")
    styled(*tmp_path.glob("*.py"))


def test_table(tmp_path: Path) -> None:
    """Numbers with gaps, categories with gaps, classes that are texts, and rows set apart to test with."""
    rng = np.random.RandomState(0)
    size = rng.normal(10, 3, 80)
    table = pd.DataFrame(
        {
            "size": np.where(rng.rand(80) < 0.1, np.nan, size),
            "age": rng.randint(1, 90, 80),
            "town": np.where(rng.rand(80) < 0.1, "", rng.choice(["a", "b", "c"], 80)),
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
    same_histories(tmp_path, {"table": tmp_path / "table.yaml"}, "pytorch")
    styled(tmp_path / "table.py")


def test_names_of_columns(tmp_path: Path) -> None:
    """A name may hold what separates names, what ends a text, and characters beyond 16 bits."""
    rng = np.random.RandomState(0)
    names = ["\U0001f3e0 town, of the owner", 'the "kind", as one sees it', "colour \\ of the door, if any"]
    table = pd.DataFrame({name: rng.choice(["a", "b, c", "\U0001f600"], 60) for name in names})
    table["\U0001f3e0, m\u00b2"] = rng.normal(10, 3, 60)
    table["sold, \U0001f600"] = rng.choice(["no", "yes"], 60)
    table.to_csv(tmp_path / "\U0001f3e0.csv", index=False)
    spec = {
        "dataset": {"csv": {"path": "\U0001f3e0.csv", "target": "sold, \U0001f600"}},
        "preprocessing": {"inputs": ["standardize", "one_hot"]},
        "layers": [*DENSE, *YES],
        "loss": "binary_crossentropy",
        "epochs": 2,
        "validation": {"kfold": 3},
    }
    (tmp_path / "table.yaml").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    same_histories(tmp_path, {"table": tmp_path / "table.yaml"}, "pytorch")


@needs_keras
def test_keras(tmp_path: Path) -> None:
    names = (
        "plain",
        "folds",
        "batch_normalization",
        "residual",
        "adamw",
        "clip_norm",
        "no_validation",
        "excluded",
        "ema",
        "ema_decay",
        "swa",
        "stops",
        "stops_late",
        "stops_by_r2",
        "inner",
        "inner_alone",
    )
    changes = {name: REGRESSIONS[name] for name in names}
    changes["all_of_it"] = REGRESSIONS["all_of_it"] | {
        "layers": [*DENSE, *ONE]
    }  # Keras draws its own dropout
    same_histories(tmp_path, in_folders(tmp_path, changes), "keras")
    styled(*tmp_path.glob("*.py"))


@needs_keras
def test_scores_of_keras(tmp_path: Path) -> None:
    metrics = [{"precision": 0.4}, "recall", "f1", "log_loss"]
    changes = {"scores": {"metrics": metrics}, "hinge": BINARIES["hinge"]}
    same_histories(tmp_path, in_folders(tmp_path, changes, BINARY), "keras")
    styled(*tmp_path.glob("*.py"))


@pytest.mark.parametrize("to", ["pytorch", pytest.param("keras", marks=needs_keras)])
def test_what_init_writes(to: Literal["pytorch", "keras"], tmp_path: Path) -> None:
    """The first spec for a table: gaps, bins, ranks, rare categories, averaged weights, inner rows.

    Not for so many epochs as it says: there rounding grows.
    """
    rng = np.random.RandomState(0)
    size = rng.normal(10, 3, 400).round(2)
    kind = np.where(size + rng.normal(0, 2, 400) > 10, "large", "small")
    table = {
        "size": np.where(rng.rand(400) < 0.1, np.nan, size),
        "rooms": rng.randint(1, 4, 400),
        "town": np.where(rng.rand(400) < 0.1, "", rng.choice(["a", "b", "c", "c", "c"], 400)),
        "new": rng.rand(400) > 0.5,
        "street": np.where(np.arange(400) < 4, "rare", rng.choice(["x", "y"], 400)),
    }
    specs = {}
    for name, target in (("kinds", kind), ("prices", 2 * size + rng.normal(0, 1, 400))):
        pd.DataFrame({**table, "target": target}).to_csv(tmp_path / f"{name}.csv", index=False)
        specs[name] = tmp_path / f"{name}.yaml"
        assert main(["init", str(tmp_path / f"{name}.csv"), "-y", "-o", str(specs[name])]) == 0
        text = specs[name].read_text(encoding="utf-8")
        assert "weight_averaging: ema" in text
        assert "on: inner" in text
        text = text.replace("epochs: 300", "epochs: 4").replace("k: 10", "k: 3")
        if to == "keras":
            text = "".join(line for line in text.splitlines(True) if "dropout" not in line)
        specs[name].write_text(text, encoding="utf-8")
    same_histories(tmp_path, specs, to)
    styled(*(tmp_path / f"{name}.py" for name in specs))


@pytest.mark.parametrize("to", ["pytorch", pytest.param("keras", marks=needs_keras)])
def test_images(to: Literal["pytorch", "keras"], tmp_path: Path) -> None:
    """Convolutions, and a stratified fraction, whose rows are in the file beside the script."""
    layers: list[Any] = [
        {"reshape": [8, 8, 1]},
        {"conv2d": {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}},
        "max_pooling",
        "flatten",
        {"dense": {"units": 10, "activation": "softmax"}},
    ]
    spec = {
        "dataset": {"sklearn": "digits"},
        "preprocessing": {"inputs": {"rescale": 0.0625}, "targets": "one_hot"},
        "layers": layers,
        "loss": "categorical_crossentropy",
        "optimizer": "adam",
        "metrics": ["accuracy"],
        "epochs": 2,
        "validation": {"holdout": {"fraction": 0.2, "stratify": True}},
    }
    (tmp_path / "images.yaml").write_text(json.dumps(spec), encoding="utf-8")
    same_histories(tmp_path, {"images": tmp_path / "images.yaml"}, to)


@pytest.mark.parametrize("to", ["pytorch", pytest.param("keras", marks=needs_keras)])
def test_handwritten_digits(to: Literal["pytorch", "keras"], tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    arrays = {f"x_{part}": rng.randint(0, 256, (50, 28, 28)).astype(np.uint8) for part in ("train", "test")}
    arrays |= {f"y_{part}": rng.randint(0, 10, 50).astype(np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "mnist.npz", **arrays)  # type: ignore[arg-type]
    specs = {"digits": tmp_path / "digits.yaml"}
    text = (SPECS / "mnist.yaml").read_text(encoding="utf-8")
    specs["digits"].write_text(text.replace("epochs: 5", "epochs: 2"), encoding="utf-8")
    same_histories(tmp_path, specs, to, tmp_path)
    styled(tmp_path / "digits.py")


@needs_keras
@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_the_chapter_with_keras(name: str, tmp_path: Path) -> None:
    write_tokens(tmp_path, name)
    names = [name, *(["reuters_best"] if name == "reuters" else [])]
    specs = {each: small_chapter(tmp_path, each, name) for each in names}
    same_histories(tmp_path, specs, "keras", tmp_path)
    styled(*tmp_path.glob("*.py"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"early_stopping": {"patience": 2, "baseline": 1}}, "eject cannot write the baseline of early_st"),
        ({"ensemble": 2}, "eject cannot write an ensemble whose members share kernels"),
        ({"optimizer": "lamb"}, "eject cannot write the optimizer lamb. "),
        ({"loss": "log_cosh"}, "eject cannot write the loss log_cosh. "),
        ({"metrics": [{"d2": 0.9}]}, "eject cannot write the metric d2 of another quantile"),
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


def test_files_of_a_person_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, script = write_small(tmp_path, REGRESSION), tmp_path / "my lesson.py"
    for beside, said in (
        ("my lesson_weights.npz", "nnrun did not"),
        ("my lesson_history.csv", "no script of"),
    ):
        (tmp_path / beside).write_bytes(b"mine")
        with pytest.raises(UsageError, match=rf"{beside} exists, and {said}.* Name another script with -o"):
            nnrun.eject(spec, "pytorch", script)
        assert (tmp_path / beside).read_bytes() == b"mine"
        assert not script.exists()
        (tmp_path / beside).unlink()
    nnrun.eject(spec, "pytorch", script)
    (tmp_path / "my lesson_history.csv").write_text("as the script has written it")
    assert main(["eject", str(spec), "--to", "pytorch", "-o", str(script)]) == 0  # its own
    assert f"run      python '{script}'" in capsys.readouterr().out
    for name in ("class", "torch", "csv", "typing_extensions"):
        with pytest.raises(UsageError, match="Choose another name"):
            nnrun.eject(spec, "pytorch", tmp_path / f"{name}.py")
        assert not (tmp_path / f"{name}.py").exists()


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
