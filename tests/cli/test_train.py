"""`nnrun train`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.cli import main
from nnrun.spec.reading.load import load_spec
from tests.support.clocks import let_epochs_take_seconds
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    check_screen,
    only_run,
    record_of,
    without_seconds,
    write_small,
)

Capture = pytest.CaptureFixture[str]
STOPPING = {"monitor": "val_loss", "patience": 1, "restore_best": True}
JUMPY: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 0.3}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: small.yaml is there, and runs/ will be."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


# --- whole screens -----------------------------------------------------------------------------------------


def test_boston(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["train", str(specs_dir / "boston.yaml"), "--epochs", "3", "--set", "batch_size=64"]) == 0
    check_screen("train_boston", capsys.readouterr())


SCREENS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "train_holdout": (REGRESSION, {}),
    "train_without_validation": (BINARY, {"validation": "none"}),
    "train_classes": (BINARY, {}),
    "train_stopped_early": (REGRESSION, JUMPY | {"early_stopping": STOPPING, "epochs": 50}),
    "train_inner_rows": (
        REGRESSION,
        JUMPY
        | {
            "early_stopping": {"on": "inner", "patience": 1, "restore_best": True},
            "validation": {"kfold": {"k": 3}},
            "weight_averaging": {"ema": 0.5},
            "epochs": 50,
        },
    ),
    "train_one_epoch": (REGRESSION, {"epochs": 1, "name": "Ein Name: mit Ünicode"}),
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_of_a_run(name: str, folder: Path, capsys: Capture) -> None:
    spec, changes = SCREENS[name]
    write_small(folder, spec, **changes)
    assert main(["train", "small.yaml"]) == 0
    check_screen(name, capsys.readouterr())


def test_the_screen_of_a_smoke_run_with_a_warning(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["train", str(specs_dir / "reuters_bottleneck.yaml"), "--smoke"]) == 0
    check_screen("train_smoke", capsys.readouterr(), {str(specs_dir): "specs"})


def test_the_screen_with_details(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "-v", "--compile", "off"]) == 0
    sha256 = record_of(only_run(folder / "runs"))["data"][0]["sha256"]
    check_screen("train_verbose", capsys.readouterr(), {str(folder): "<FOLDER>", sha256: "<SHA256>"})


def test_the_screen_of_a_run_that_diverges(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--set", "optimizer.rmsprop.learning_rate=1e30"]) == 5
    check_screen("train_diverged", capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "--set", "optimizer.rmsprop.learning_rate=1e30"], 5),
        (["kfold", "--k", "3", "--set", "optimizer.rmsprop.learning_rate=1e30"], 5),
        (["train", "--seeds", "2", "--set", "optimizer.rmsprop.learning_rate=1e30"], 5),
        (["final", "--set", "optimizer.rmsprop.learning_rate=1e30", "--set", "validation=none"], 5),
    ],
)
def test_the_document_of_a_run_that_failed_names_its_folder(
    arguments: list[str], code: int, folder: Path, capsys: Capture
) -> None:
    command, *rest = arguments
    assert main([command, "small.yaml", "-q", "--json", *rest]) == code
    document = json.loads(capsys.readouterr().out)
    run = only_run(Path("runs"))
    assert (document["id"], document["path"]) == (run.name, str(run))


def test_the_document_of_an_error_before_the_run_names_no_folder(folder: Path, capsys: Capture) -> None:
    assert main(["train", "missing.yaml", "--json"]) != 0
    assert "path" not in json.loads(capsys.readouterr().out)


def test_the_screen_of_an_invalid_spec(folder: Path, capsys: Capture) -> None:
    write_small(folder, loss="msee", epochs=0)
    assert main(["train", "small.yaml", "--set", "seeed=1"]) == 3
    check_screen("train_invalid", capsys.readouterr())
    assert not (folder / "runs").exists()


def test_the_screen_of_missing_data(
    folder: Path, specs_dir: Path, empty_cache: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of this machine answers nobody, so that the test needs no network and reaches none.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("NNRUN_DATA_DIR", raising=False)
    assert main(["train", str(specs_dir / "reuters.yaml")]) == 4
    check_screen("train_data_missing", capsys.readouterr(), {str(empty_cache): "<CACHE>"})
    assert not (folder / "runs").exists()


# --- options -----------------------------------------------------------------------------------------------


def test_set_seed_and_epochs_change_the_spec(folder: Path) -> None:
    changes = ["--set", "layers[0].dense.units=5", "--set", "optimizer={adam: 1e-2}"]
    assert main(["train", "small.yaml", *changes, "--seed", "7", "--epochs", "2"]) == 0
    run = only_run(folder / "runs")
    record = record_of(run)
    assert (record["command"], record["seed"], record["epochs_run"]) == ("train", 7, 2)
    # It is the run that a spec with these values gives.
    units = [{"dense": {"units": 5, "activation": "relu"}}, {"dense": 1}]
    path = write_small(folder, layers=units, optimizer={"adam": 0.01}, seed=7, epochs=2)
    assert load_spec(run / "resolved.yaml").spec == load_spec(path).spec
    assert main(["train", "small.yaml", "--runs-dir", "again"]) == 0
    assert without_seconds(only_run(folder / "again")) == without_seconds(run)


@pytest.mark.parametrize(("key", "value"), [("epochs", 1), ("seed", 3)])
def test_an_option_and_an_override_of_the_same_key(
    key: str, value: int, folder: Path, capsys: Capture
) -> None:
    arguments = ["--set", f"{key}=9", f"--{key}", str(value)]
    for command in ("train", "kfold", "final", "sweep"):
        over = ["--over", "batch_size=8,16"] if command == "sweep" else []
        assert main([command, "small.yaml", *over, *arguments]) == 3
        assert capsys.readouterr().err.startswith(
            f"--{key}: error: {key} is set twice: --set {key}=9 is here as well; keep one\n"
        )
    assert not (folder / "runs").exists()


def test_quiet_is_the_result_alone(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml"]) == 0
    usual = capsys.readouterr().out
    assert main(["train", "small.yaml", "--quiet", "--runs-dir", "again"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[1:8] == usual.splitlines()[1:8]  # without the time and the folders
    assert main(["train", str(specs_dir / "reuters_bottleneck.yaml"), "--smoke", "-q"]) == 0
    assert capsys.readouterr().err == ""  # no warnings either


def test_json_is_one_document(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--json"]) == 0
    printed = capsys.readouterr()
    run = only_run(folder / "runs")
    assert json.loads(printed.out) == {**record_of(run), "path": f"runs/{run.name}"}
    assert printed.err.count("\n") == 4  # the progress goes on, elsewhere


FAILURES: dict[str, tuple[list[str], int, str]] = {
    "spec": (["--set", "loss=msee"], 3, "SpecError"),
    "data": (["--set", "dataset={npz: nothing.npz}"], 4, "DataError"),
    "usage": (["--device", "gpu"], 2, "UsageError"),
    "divergence": (["--set", "optimizer={sgd: 1e30}"], 5, "DivergedError"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_one_json_document_too(case: str, folder: Path, capsys: Capture) -> None:
    arguments, code, kind = FAILURES[case]
    assert main(["train", "small.yaml", "--json", "-q", *arguments]) == code
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["error"], document["exit_code"]) == (kind, code)
    assert document["message"] in printed.err
    assert (folder / "runs").exists() == (case == "divergence")


def test_runs_go_where_the_environment_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNRUN_RUNS_DIR", "mine")
    assert main(["train", "small.yaml"]) == 0
    assert only_run(folder / "mine").name.startswith("small-")
    assert main(["train", "small.yaml", "--runs-dir", "yours"]) == 0
    assert only_run(folder / "yours").name.startswith("small-")


def test_data_are_found_where_the_environment_says(
    folder: Path, specs_dir: Path, keras_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 newswires of a file that somebody put there: they are taken, and the record says what they are."""
    monkeypatch.setenv("NNRUN_DATA_DIR", str(keras_folder))
    arguments = ["--epochs", "1", "--set", "validation.holdout.first=10", "--set", "batch_size=16"]
    assert main(["train", str(specs_dir / "reuters.yaml"), *arguments]) == 0
    (data,) = record_of(only_run(folder / "runs"))["data"]
    assert (data["name"], data["rows"], data["note"]) == ("reuters.npz", 100, "not the published file")


# --- mistakes ----------------------------------------------------------------------------------------------

MISTAKES: list[tuple[list[str], int, str]] = [
    (
        ["smal.yaml"],
        2,
        "error: smal.yaml: no such file; did you mean small.yaml?\n",
    ),
    (
        ["small.yaml", "--device", "gpu"],
        2,
        "error: --device is 'gpu'; it must be auto, cpu, cuda or cuda:N, N a number from 0.\n",
    ),
    (
        ["small.yaml", "--runs-dir", "small.npz"],
        2,
        "error: Cannot make the folder small.npz: a file of that name already exists.\n",
    ),
    (
        ["small.yaml", "--set", "dataset={npz: nothing.npz}"],
        4,
        "error: {folder}/nothing.npz does not exist. "
        "The dataset npz needs a file with arrays x_train and y_train.\n",
    ),
    ([], 2, "error: A spec is missing. Name one, or a run to resume: --resume RUN.\n"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_and_no_run(
    arguments: list[str], code: int, sentence: str, folder: Path, capsys: Capture
) -> None:
    assert main(["train", *arguments]) == code
    assert capsys.readouterr() == ("", sentence.replace("{folder}", str(folder)))
    assert not (folder / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_a_gpu_where_there_is_none(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--device", "cuda:1"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: --device cuda:1: PyTorch finds no CUDA GPU here. Use --device cpu, or see `nnrun doctor`.\n",
    )
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("arguments", [["train"], ["train", "x.yaml", "--epochs", "0"], ["trian"]])
def test_a_wrong_command_line_gives_a_document_with_json(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 2
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["error"], document["exit_code"]) == ("UsageError", 2)
    assert printed.err == f"error: {document['message']}\n"


# --- several seeds -----------------------------------------------------------------------------------------

SEEDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "train_seeds": ({}, ["--seeds", "3"]),
    "train_one_seed": ({}, ["--seeds", "1", "--seed", "7"]),
    "train_seeds_stopped_early": (JUMPY | {"early_stopping": STOPPING, "epochs": 50}, ["--seeds", "3"]),
    "train_seeds_without_validation": ({"validation": "none"}, ["--seeds", "2", "--seed", "5"]),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_screen_of_seeds(name: str, folder: Path, capsys: Capture) -> None:
    changes, arguments = SEEDS[name]
    write_small(folder, **changes)
    assert main(["train", "small.yaml", *arguments]) == 0
    check_screen(name, capsys.readouterr())


def test_the_screen_of_a_seed_that_diverges(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--seeds", "2", "--set", "optimizer={sgd: 1e30}", "--seed", "8"]) == 5
    check_screen("train_seeds_diverged", capsys.readouterr())


def test_json_of_seeds(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--seeds", "2", "--seed", "3", "--json", "-q"]) == 0
    printed = capsys.readouterr()
    run = only_run(folder / "runs")
    document = json.loads(printed.out)
    assert document == {**record_of(run), "path": f"runs/{run.name}"}
    assert (document["seeds"], document["folds"]) == ([3, 4], None)
    assert printed.err == ""


def test_seeds_of_a_kfold_are_refused(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--seeds", "2", "--set", "validation={kfold: 3}"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: --seeds trains one split with several seeds, and this spec declares k-fold. "
        "For several splits use `nnrun kfold --repeats N` (it needs shuffle: true), "
        "or change `validation`.\n",
    )
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_a_number_of_seeds_that_is_none(number: str, folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--seeds", number]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "'--seeds'" in printed.err
    assert not (folder / "runs").exists()


def test_the_screen_of_a_training_that_time_ends(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_epochs_take_seconds(monkeypatch)
    write_small(folder, epochs=20)
    assert main(["train", "small.yaml", "--time", "10s"]) == 0
    check_screen("train_time", capsys.readouterr())
    assert main(["train", "--resume", "@last", "--time", "10"]) == 0
    assert capsys.readouterr().err.endswith(
        " has ended: there is nothing to resume. Its time limit ended it: with a longer one (--time) it goes "
        "on.\n"
    )
    assert main(["train", "--resume", "@last", "--time", "1h", "-q"]) == 0
    assert capsys.readouterr().out.startswith("small: trained, 20 epochs on cpu in ")


def test_the_screen_of_folds_that_time_ends(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_epochs_take_seconds(monkeypatch)
    write_small(folder, epochs=20)
    assert main(["kfold", "small.yaml", "--k", "3", "--time", "10s", "-q"]) == 0
    check_screen("kfold_time", capsys.readouterr())
