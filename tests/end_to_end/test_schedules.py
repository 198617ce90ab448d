"""Whole commands: the rates of the history, together and alone, and again in a final run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nnrun.cli import main
from tests.support.small_experiments import REGRESSION, only_run, write_small

CURVE = {"learning_rate_schedule": [{"warmup": 2}, {"step": {"every": 2, "factor": 0.5}}], "epochs": 6}
# Nothing improves by so much, so each rate holds for two epochs, but for the first.
PLATEAU: dict[str, Any] = {
    "learning_rate_schedule": {"reduce_on_plateau": {"patience": 2, "min_delta": 1000.0}},
    "epochs": 6,
}


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(folder: Path, command: str, *arguments: str) -> pd.DataFrame:
    assert main([command, *arguments, "-q", "--runs-dir", command]) == 0
    return pd.read_csv(only_run(folder / command) / "history.csv")


def test_the_history_tells_the_rate_of_each_epoch(tmp_path: Path) -> None:
    write_small(tmp_path, **CURVE, optimizer={"adam": 0.01})
    found = trained(tmp_path, "train", "small.yaml")
    assert found["learning_rate"].tolist() == pytest.approx([0.0025, 0.0075, 0.01, 0.01, 0.005, 0.005])


def test_a_fold_trains_alone_as_beside_the_others(tmp_path: Path) -> None:
    spec = {**REGRESSION, "validation": {"kfold": 3}, "gradient_clip": 1.0, "optimizer": {"adam": 0.3}}
    plateau = {"reduce_on_plateau": {"patience": 1, "factor": 0.5, "monitor": "val_mae"}}
    write_small(tmp_path, spec, learning_rate_schedule=plateau, epochs=9)
    every = trained(tmp_path, "train", "small.yaml")
    alone = trained(tmp_path, "kfold", "small.yaml", "--fold", "1")
    together = every[every["fold"] == 1].reset_index(drop=True)
    assert together["learning_rate"].nunique() > 1
    assert together["learning_rate"].tolist() == alone["learning_rate"].tolist()
    assert together["val_loss"].tolist() == pytest.approx(alone["val_loss"].tolist(), rel=1e-4)
    mean = pd.read_csv(only_run(tmp_path / "train") / "history_mean.csv")
    expected = every.groupby("epoch")["learning_rate"].mean().tolist()
    assert mean["learning_rate_mean"].tolist() == pytest.approx(expected)


def test_final_takes_the_rates_of_a_plateau_again_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small(tmp_path, **PLATEAU)
    first = trained(tmp_path, "train", "small.yaml")
    assert first["learning_rate"].tolist() == pytest.approx([1e-3] * 3 + [1e-4] * 2 + [1e-5])
    parent = only_run(tmp_path / "train")
    assert main(["final", str(parent), "--epochs", "5", "--runs-dir", "final"]) == 0
    assert f"each epoch has the learning rate that it had in {parent.name}" in capsys.readouterr().err
    again = pd.read_csv(only_run(tmp_path / "final") / "history.csv")
    assert again["learning_rate"].tolist() == first["learning_rate"].tolist()[:5]

    assert main(["final", "small.yaml", "--runs-dir", "other"]) == 2
    assert "a final run validates nothing" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_show_says_what_the_rates_will_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small(tmp_path, **CURVE)
    assert main(["show", "small.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "\nlearning rate 0.00025 in epoch 1, 0.001 in epoch 3, 0.0005 in epoch 6\n" in shown
    write_small(tmp_path, **PLATEAU)
    assert main(["show", "small.yaml"]) == 0
    shown = capsys.readouterr().out
    assert (
        "\nlearning rate 0.001 in epoch 1; then times 0.1 whenever val_loss has not improved for 2 epochs\n"
    ) in shown
    write_small(tmp_path)
    assert main(["show", "small.yaml"]) == 0
    assert "learning rate" not in capsys.readouterr().out
