"""nnrun from Python: what a notebook does."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import nnrun
from nnrun.errors import DataError, DivergedError, SpecError, UsageError
from tests.support.small_experiments import KFOLD, files_of, numbers, without_seconds, write_small


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small spec, in a folder where runs/ will be made."""
    monkeypatch.chdir(tmp_path)
    return write_small(tmp_path)


def csv_of(run: nnrun.Run, name: str = "history.csv") -> list[dict[str, float]]:
    with (run.path / name).open(newline="") as file:
        return [{key: float(text) for key, text in row.items()} for row in csv.DictReader(file)]


# --- training ----------------------------------------------------------------------------------------------


def test_train(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = nnrun.train(spec)
    assert capsys.readouterr() == ("", "")
    assert run.path.parent == Path("runs")
    assert (run.id, run.status) == (run.path.name, "completed")
    assert isinstance(run.history, pd.DataFrame)
    assert list(run.history.columns) == [
        "epoch",
        "loss",
        "mae",
        "val_loss",
        "val_mae",
        "learning_rate",
        "seconds",
    ]
    assert run.history.to_dict("records") == csv_of(run)
    assert run.best_epoch == 3
    assert run.best == {name: run.history[name].iloc[2] for name in ("loss", "mae", "val_loss", "val_mae")}
    assert set(run.baseline) == {"loss", "mae"}
    assert run.test == {}
    assert {name: value.shape for name, value in run.weights().items()} == {
        "0.weight": (8, 3),
        "0.bias": (8,),
        "1.weight": (1, 8),
        "1.bias": (1,),
    }
    assert run.record == json.loads((run.path / "run.json").read_text())


def test_verbose_is_one_line_an_epoch_on_stderr(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nnrun.train(spec, verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0] == "small: a network of 41 parameters, 32 training and 16 validation rows, on cpu"
    assert [line.split("  ")[0] for line in lines[1:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"epochs": 2, "layers[0].dense.units": 5, "optimizer": {"sgd": {"learning_rate": 0.01}}, "seed": 3},
        ["epochs=2", "layers[0].dense.units=5", "optimizer={sgd: {learning_rate: 0.01}}", "seed=3"],
    ],
)
def test_overrides(spec: Path, overrides: Any) -> None:
    run = nnrun.train(spec, overrides=overrides)
    assert run.weights()["0.weight"].shape == (5, 3)
    assert run.history["learning_rate"].tolist() == [0.01, 0.01]
    assert run.record["seed"] == 3


def test_a_path_may_be_text_and_runs_go_where_they_are_told(spec: Path, tmp_path: Path) -> None:
    run = nnrun.train(str(spec), runs_dir=str(tmp_path / "elsewhere"))
    assert run.path.parent == tmp_path / "elsewhere"
    assert not (tmp_path / "runs").exists()


def test_a_smoke_run(spec: Path) -> None:
    run = nnrun.train(spec, overrides={"epochs": 100}, smoke=True)
    assert (run.record["smoke"], len(run.history)) == (True, 2)


def test_kfold(spec: Path) -> None:
    run = nnrun.kfold(spec, k=3)
    assert run.record["command"] == "kfold"
    assert run.history.to_dict("records") == csv_of(run)
    assert run.history_mean.to_dict("records") == csv_of(run, "history_mean.csv")
    assert run.history["fold"].tolist() == [0, 1, 2] * 3
    assert run.weights(fold=2)["0.weight"].shape == (8, 3)
    with pytest.raises(DataError) as caught:
        run.weights()
    assert str(caught.value) == f"{run.path} has no weights.safetensors: it holds fold 0, fold 1, fold 2."


def test_kfold_nested(spec: Path) -> None:
    run = nnrun.kfold(spec, nested=2, overrides={"epochs": 1})
    assert run.record["nested"]["k"] == 2
    assert run.record["folds"] == [0, 1]


def test_kfold_is_the_spec_s_own_where_it_has_one(spec: Path, tmp_path: Path) -> None:
    own = write_small(tmp_path, validation={"kfold": {"k": 5, "shuffle": True}}, epochs=1)
    assert sorted(nnrun.kfold(own).history["fold"]) == [0, 1, 2, 3, 4]
    assert sorted(nnrun.kfold(own, k=2).history["fold"]) == [0, 1]
    assert sorted(nnrun.kfold(own, k=2, repeats=2).history["fold"]) == [0, 1, 2, 3]


def test_one_fold(spec: Path) -> None:
    whole = nnrun.kfold(spec, k=3).history.query("fold == 1").drop(columns="seconds")
    alone = nnrun.kfold(spec, k=3, fold=1).history.drop(columns="seconds")
    pd.testing.assert_frame_equal(alone, whole.reset_index(drop=True), rtol=1e-5)


def test_seeds(spec: Path) -> None:
    run = nnrun.train(spec, seeds=3, overrides={"seed": 4})
    assert (run.record["command"], run.record["seeds"]) == ("train", [4, 5, 6])
    assert run.history.to_dict("records") == csv_of(run)
    assert run.history_mean.to_dict("records") == csv_of(run, "history_mean.csv")
    assert run.history["seed"].tolist() == [4, 5, 6] * 3
    at_best = run.history.query(f"epoch == {run.best_epoch}")
    assert run.best["val_loss"] == pytest.approx(at_best["val_loss"].mean())
    weights = [run.weights(seed=seed)["0.weight"] for seed in (4, 5, 6)]
    assert [w.shape for w in weights] == [(8, 3)] * 3
    assert len({w.tobytes() for w in weights}) == 3
    for wrong, sentence in (
        ({}, f"{run.path} has no weights.safetensors: it holds seed 4, seed 5, seed 6."),
        ({"fold": 0}, f"{run.path} has no fold-0/weights.safetensors: it holds seed 4, seed 5, seed 6."),
    ):
        with pytest.raises(DataError) as caught:
            run.weights(**wrong)
        assert str(caught.value) == sentence
    with pytest.raises(UsageError) as both:
        run.weights(fold=0, seed=4)
    assert str(both.value) == "weights: name a fold or a seed, not both."


@pytest.mark.parametrize("seeds", [0, -1, 1.5, "3", True])
def test_a_number_of_seeds_that_is_none(spec: Path, tmp_path: Path, seeds: Any) -> None:
    with pytest.raises(UsageError) as caught:
        nnrun.train(spec, seeds=seeds)
    assert str(caught.value) == f"seeds is {seeds!r}; it must be a whole number from 1."
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("fold", [3, -1])
def test_a_fold_that_is_not_there(spec: Path, tmp_path: Path, fold: int) -> None:
    with pytest.raises(UsageError) as caught:
        nnrun.kfold(spec, k=3, fold=fold)
    assert str(caught.value) == f"--fold {fold}: there are 3 folds, numbered from 0 to 2."
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_s_gradient_mode_plays_no_part(spec: Path, mode: Callable[[], Any]) -> None:
    """A Ctrl-C at a bad moment leaves a notebook in such a mode: the next run must not fail for it."""
    usual = nnrun.train(spec)
    with mode():
        run = nnrun.train(spec)
    assert without_seconds(run.path) == without_seconds(usual.path)


# --- final and evaluate ------------------------------------------------------------------------------------


def test_final_of_a_run(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = nnrun.train(spec)
    made = nnrun.final(run)
    assert (made.record["parent"], made.record["epochs_run"]) == (run.id, 3)
    assert set(made.test) == {"loss", "mae"}
    assert made.best_epoch is None
    assert len(nnrun.final(run, epochs=1).history) == 1
    assert capsys.readouterr() == ("", "")


def test_final_of_a_spec(spec: Path, tmp_path: Path) -> None:
    made = nnrun.final(spec, epochs=2, overrides={"seed": 1})
    assert (made.record["parent"], made.record["seed"], len(made.history)) == (None, 1, 2)
    with pytest.raises(UsageError) as caught:
        nnrun.final(spec, epochs="best")
    assert str(caught.value) == "epochs='best' needs a run with validation; give the run, or a number."


@pytest.mark.parametrize("epochs", [0, -3, "7", 1.5, True])
def test_final_of_a_run_for_no_number_of_epochs(spec: Path, tmp_path: Path, epochs: Any) -> None:
    run = nnrun.train(spec)
    for source in (run, spec):
        with pytest.raises(UsageError) as caught:
            nnrun.final(source, epochs=epochs)
        assert str(caught.value) == f"epochs is {epochs!r}; it must be a whole number from 1, or 'best'."
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_split_that_there_is_not(spec: Path) -> None:
    with pytest.raises(UsageError) as caught:
        nnrun.evaluate(nnrun.train(spec), split="nope")  # type: ignore[arg-type]
    assert str(caught.value) == "split is 'nope'; it must be test or validation."


def test_the_environment_says_where_runs_are_kept(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNRUN_RUNS_DIR", str(tmp_path / "elsewhere"))
    assert nnrun.train(spec).path.parent == tmp_path / "elsewhere"
    assert nnrun.load_run("@last").path.parent == tmp_path / "elsewhere"


def test_a_run_without_folds_has_no_mean(spec: Path) -> None:
    run = nnrun.train(spec)
    with pytest.raises(DataError) as caught:
        _ = run.history_mean
    assert str(caught.value) == f"{run.path} has no history_mean.csv: it holds one network, not several."


def test_evaluate(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = nnrun.train(spec)
    validation = nnrun.evaluate(run, split="validation")
    last = run.history.iloc[-1]
    expected = {"loss": last["val_loss"], "mae": last["val_mae"]}
    assert validation.scores == pytest.approx(expected, rel=1e-5)
    assert run.record["test_uses"] == []
    evaluation = nnrun.evaluate(run)
    assert run.test == evaluation.scores
    assert evaluation.test_uses == len(run.record["test_uses"]) == 1
    assert capsys.readouterr() == ("", "")


def test_predict(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = nnrun.kfold(spec, k=3)
    (tmp_path / "small.npz").unlink()  # the run is enough
    rows = numbers()["x_test"]
    frame = nnrun.predict(run, rows)
    assert (list(frame.columns), list(frame.index)) == (["prediction"], list(range(12)))
    each = [nnrun.predict(run, rows.tolist(), member=f"fold-{i}")["prediction"] for i in range(3)]
    pd.testing.assert_series_equal(frame["prediction"], sum(each) / 3, rtol=1e-5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^The table of inputs has shape \(12, 2\)"):
        nnrun.predict(run, rows[:, :2])
    assert capsys.readouterr() == ("", "")


# --- runs on disk ------------------------------------------------------------------------------------------


def test_a_run_is_found_by_what_it_is_called(spec: Path, tmp_path: Path) -> None:
    run = nnrun.train(spec)
    for reference in (run.id, "small-", "@last", str(run.path), str(tmp_path / "runs" / run.id)):
        found = nnrun.load_run(reference)
        assert found.path.resolve() == run.path.resolve()
        assert found.history.equals(run.history)
    with pytest.raises(UsageError) as caught:
        nnrun.load_run("@last", runs_dir=tmp_path / "empty")
    assert str(caught.value) == f"@last: there are no runs in {tmp_path}/empty yet."


def test_the_last_run_is_the_one_that_began_last(spec: Path) -> None:
    """Also where all began in the same second."""
    for _ in range(6):
        run = nnrun.train(spec, overrides={"epochs": 1})
        assert nnrun.load_run("@last").id == run.id


def test_the_resolved_spec_repeats_the_run(spec: Path) -> None:
    run = nnrun.train(spec, overrides={"seed": 5, "validation": KFOLD, "epochs": 2})
    again = nnrun.train(run.path / "resolved.yaml")
    assert without_seconds(again.path) == without_seconds(run.path)
    assert files_of(again.path) == files_of(run.path)
    for name in (name for name in files_of(run.path) if name.endswith(("tensors", "preprocessing.json"))):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


def test_one_fold_alone_has_a_mean_and_no_deviation(spec: Path) -> None:
    run = nnrun.kfold(spec, k=3, fold=0)
    mean = run.history_mean
    assert mean["val_loss_mean"].tolist() == run.history["val_loss"].tolist()
    assert mean["val_loss_std"].map(math.isnan).all()


# --- errors ------------------------------------------------------------------------------------------------


def test_errors_are_those_of_nnrun(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError) as invalid:
        nnrun.train(spec, overrides={"loss": "msee"})
    assert [problem.path for problem in invalid.value.problems] == ["loss"]
    with pytest.raises(UsageError):
        nnrun.train(tmp_path / "nothing.yaml")
    with pytest.raises(DataError):
        nnrun.train(spec, overrides={"dataset": {"npz": "nothing.npz"}})
    assert not (tmp_path / "runs").exists()
    with pytest.raises(DivergedError):
        nnrun.train(spec, overrides={"optimizer": {"sgd": {"learning_rate": 1e30}}})
    assert nnrun.load_run("@last").status == "diverged"
    assert capsys.readouterr() == ("", "")


def test_what_is_exported() -> None:
    assert sorted(nnrun.__all__) == [
        "Classifier",
        "DEFAULT_RUNS_DIR",
        "Regressor",
        "Run",
        "Sweep",
        "Tuned",
        "__version__",
        "card",
        "check_data",
        "curve",
        "eject",
        "evaluate",
        "final",
        "importance",
        "kfold",
        "load_run",
        "lr",
        "predict",
        "publish",
        "serve",
        "sweep",
        "train",
        "tune",
    ]


def test_data_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec, the run that it trains, and a file; three rows of the test set are training rows."""
    monkeypatch.chdir(tmp_path)
    arrays = numbers()
    for name in ("x", "y"):
        arrays[f"{name}_test"][:3] = arrays[f"{name}_train"][:3]
    spec = write_small(tmp_path, arrays=arrays)
    for what in (spec, nnrun.train(spec), "small.npz"):
        (finding,) = nnrun.check_data(what).findings
        assert (finding.kind, finding.severity) == ("identical_rows_in_test", "serious")
        assert [pair[0]["row"] for pair in finding.evidence["pairs"]] == [0, 1, 2]
    with pytest.raises(UsageError, match="No run 'nowhere'"):
        nnrun.check_data("nowhere")


def test_a_run_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By path, id, name and @last, for every function that takes one."""
    monkeypatch.chdir(tmp_path)
    run = nnrun.train(write_small(tmp_path))
    row = [[1.0, 2.0, 3.0]]
    for name in (run, run.path, str(run.path), run.id, "small", "@last"):
        assert nnrun.predict(name, row).equals(nnrun.predict(run, row))
        assert (
            nnrun.evaluate(name, split="validation").scores == nnrun.evaluate(run, split="validation").scores
        )
    for name in (run.path, run.id):
        assert nnrun.final(name, epochs=1, runs_dir="runs").record["parent"] == run.id
    for call in (nnrun.evaluate, lambda name: nnrun.predict(name, row), nnrun.final):
        with pytest.raises(UsageError, match="No run 'nowhere'"):
            call("nowhere")
    with pytest.raises(UsageError, match="a run is a Run, a path"):
        nnrun.evaluate(5)  # type: ignore[arg-type]


def test_errors_name_arguments_of_python(tmp_path: Path) -> None:
    spec = write_small(tmp_path)
    for call in (
        lambda: nnrun.train(spec, overrides=["epochs=0"]),
        lambda: nnrun.train(spec, overrides="epochs=0"),
        lambda: nnrun.train(spec, overrides={"epochs": 0}),
        lambda: nnrun.kfold(spec, k=1),
        lambda: nnrun.sweep(spec, over=["epochs=0,1"]),
        lambda: nnrun.sweep(spec, over={"epochs": [1, 2]}, trials=3),
    ):
        with pytest.raises(SpecError) as caught:
            call()
        assert "--" not in str(caught.value), caught.value
