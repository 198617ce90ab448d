"""`--resume`: what a person sees of a resumed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.train import run_experiment
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import (
    KFOLD,
    check_screen,
    load_small,
    of_members,
    only_run,
    record_of,
    without_seconds,
    write_small,
)

Capture = pytest.CaptureFixture[str]


class StopsAfterTwo(Listener):
    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == 2:
            raise StopTraining("enough")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in runs/ that was stopped after two of three epochs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)
    with pytest.raises(StopTraining):
        run_experiment(load_small(tmp_path), Settings("train", Path("runs")), StopsAfterTwo())
    return only_run(tmp_path / "runs")


def test_the_screens(run: Path, capsys: Capture) -> None:
    assert main(["show", "@last"]) == 0
    assert f"nnrun train --resume {run.relative_to(Path.cwd())}" in capsys.readouterr().out
    assert main(["train", "--resume", "@last"]) == 0
    check_screen("resume", capsys.readouterr())
    assert main(["train", "--resume", "@last"]) == 0
    check_screen("resume_ended", capsys.readouterr())
    assert main(["train", "--resume", "@last", "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"


def test_more_epochs(run: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--resume", run.name, "--epochs", "5", "-q"]) == 0
    assert record_of(run)["epochs_run"] == 5


@pytest.mark.parametrize(
    ("screen", "command"),
    [
        ("resume_other_spec", ["train", "--resume", "@last", "--set", "batch_size=4"]),
        ("resume_other_seed", ["train", "small.yaml", "--resume", "@last", "--seed", "4"]),
        ("resume_smoke", ["train", "--resume", "@last", "--smoke"]),
        ("resume_compile", ["train", "--resume", "@last", "--compile", "off"]),
        ("resume_folds", ["kfold", "--resume", "@last", "--k", "3"]),
        ("resume_first_fold", ["kfold", "--resume", "@last", "--fold", "0"]),
        ("resume_kfold_of_one_network", ["kfold", "--resume", "@last"]),
        ("resume_kfold_of_one_network", ["kfold", "small.yaml", "--resume", "@last"]),
        ("resume_final_of_a_training", ["final", "--resume", "@last"]),
        ("resume_final_of", ["final", "@last", "--resume", "@last"]),
        ("resume_final_best", ["final", "--resume", "@last", "--epochs", "best"]),
        ("resume_final_unknown", ["final", "--resume", "@last", "--allow-unknown"]),
        ("resume_inexact_alone", ["kfold", "small.yaml", "--allow-inexact"]),
        ("resume_inexact_alone", ["train", "--worker", "@last", "--allow-inexact"]),
        ("resume_no_spec", ["train"]),
        ("resume_no_run", ["train", "--resume", "nowhere"]),
        ("resume_final_nothing", ["final"]),
    ],
)
def test_what_is_refused(screen: str, command: list[str], run: Path, capsys: Capture) -> None:
    before = record_of(run)
    assert main(command) == 2
    check_screen(screen, capsys.readouterr())
    assert record_of(run) == before


STOPPING: dict[str, Any] = {
    "validation": KFOLD,
    "early_stopping": {"patience": 2, "restore_best": True},
    "optimizer": {"adam": {"learning_rate": 0.1}},
}


def test_folds_that_had_not_stopped_early_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, **STOPPING)
    for epochs, folder in (("5", "runs"), ("14", "whole")):
        assert main(["train", "small.yaml", "--epochs", epochs, "--runs-dir", folder, "-q"]) == 0
    run, whole = only_run(tmp_path / "runs"), only_run(tmp_path / "whole")
    stopped = of_members(run, "stopped_early")
    assert 0 < len(stopped) < 3
    assert main(["train", "--resume", "@last", "--epochs", "14", "-q"]) == 0
    assert len(of_members(run, "stopped_early")) == 3
    assert of_members(run, "stopped_early") == of_members(whole, "stopped_early")
    assert without_seconds(run) == without_seconds(whole)
    weights = list(whole.glob("fold-*/*.safetensors"))
    assert len(weights) >= 3
    for kept in weights:
        assert (run / kept.relative_to(whole)).read_bytes() == kept.read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", "@last", "--epochs", "20", "-q"]) == 0
    assert capsys.readouterr().err == (
        f"{run.name} has ended: there is nothing to resume. Early stopping ended all its folds: more epochs "
        "would change nothing.\n"
    )


def test_a_run_of_workers_cannot_be_extended_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, validation=KFOLD)
    assert main(["train", "small.yaml", "--workers", "2", "-q"]) == 0
    run = only_run(tmp_path / "runs")
    capsys.readouterr()
    assert main(["train", "--resume", "@last", "--epochs", "5", "-q"]) == 2
    assert capsys.readouterr().err == (
        f"error: {run.name} cannot be extended to 5 epochs: its networks did not all train side by side "
        "(they were shared among workers, or trained in groups one after the other), and then the state of "
        "those that have finished is not kept. Start a new run.\n"
    )
    assert main(["train", "--resume", "@last", "--epochs", "5", "--workers", "2", "-q"]) == 2
    assert capsys.readouterr().err == (
        f"error: {run.name} has no parts that workers could go on with: it was not shared among any, or all "
        "parts have ended. Leave out --workers with --resume.\n"
    )
    assert record_of(run)["epochs_run"] == 3
