"""`nnrun publish`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun import extras
from nnrun.cli import main
from tests.support.small_experiments import only_run, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> str:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q", "--epochs", "2"]) == 0
    capsys.readouterr()
    return only_run(tmp_path / "runs").name


def test_what_is_said_and_the_document(run: str, capsys: Capture) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard")
    assert main(["publish", "@last", "--to", "tensorboard"]) == 0
    assert capsys.readouterr().out == f"{run}: published in tensorboard ({run})\n"
    assert main(["publish", "@last", "--to", "tensorboard"]) == 0
    assert capsys.readouterr().out == f"{run}: is in tensorboard already, unchanged ({run})\n"
    assert main(["publish", "@last", "--to", "tensorboard", "--into", "elsewhere", "--json"]) == 0
    (published,) = json.loads(capsys.readouterr().out)["published"]
    assert published == {"run": run, "where": "elsewhere", "tracker_id": run, "new": True, "model": False}
    assert Path("elsewhere", run).is_dir()


def test_a_tracker_that_there_is_not_is_answered_by_the_nearest(capsys: Capture) -> None:
    assert main(["publish", "@last", "--to", "mlflw"]) == 2
    assert capsys.readouterr().err == (
        "error: Invalid value for '--to': 'mlflw' is not one of 'mlflow', 'tensorboard', 'wandb'. "
        "Did you mean 'mlflow'?\nTry 'nnrun publish --help'.\n"
    )


@pytest.mark.parametrize(
    ("tracker", "name"), [("mlflow", "MLflow"), ("tensorboard", "TensorBoard"), ("wandb", "W&B (wandb)")]
)
def test_without_the_extra(
    tracker: str, name: str, run: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    assert main(["publish", "@last", "--to", tracker]) == 2
    assert capsys.readouterr().err == (
        f"error: --to {tracker} needs {name}, which this Python does not have. Install the extra: "
        f"pip install 'nnrun[{tracker}]' (from a checkout: pip install -e '.[{tracker}]').\n"
    )


def test_a_project_name_that_wandb_refuses(
    run: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["publish", "@last", "--to", "wandb", "--experiment", "a/b:c", "--no-model"]) == 1
    err = capsys.readouterr().err
    assert f"error: W&B refused {run}: Invalid project name 'a/b:c': " in err
    assert err.endswith(". Name another project with --experiment.\n")
    assert "login" not in err
