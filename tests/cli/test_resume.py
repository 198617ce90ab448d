"""`--resume`: what a person sees of a resumed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.train import run_experiment
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import check_screen, load_small, only_run, record_of

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
        ("resume_kfold_of_one_network", ["kfold", "--resume", "@last"]),
        ("resume_kfold_of_one_network", ["kfold", "small.yaml", "--resume", "@last"]),
        ("resume_final_of_a_training", ["final", "--resume", "@last"]),
        ("resume_final_of", ["final", "@last", "--resume", "@last"]),
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
