"""Every file that a run leaves, and what stands in it, kind by kind."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import nnrun
from nnrun.cli import main
from nnrun.records import RunDirectory
from nnrun.records.index import RUN_ID
from tests.support.small_experiments import REGRESSION, files_of, only_run, record_of, write_small

ALWAYS = ["history.csv", "labels.json", "resolved.yaml", "run.json", "spec.yaml"]
ALONE = sorted([*ALWAYS, "preprocessing.json", "weights.safetensors"])
HOLDOUT = "epoch,loss,mae,val_loss,val_mae,learning_rate,seconds"
FOLDS = f"fold,{HOLDOUT}"
MEAN = (
    "epoch,loss_mean,loss_std,mae_mean,mae_std,val_loss_mean,val_loss_std,val_mae_mean,val_mae_std,"
    "learning_rate_mean,learning_rate_std,seconds_mean,seconds_std"
)


# The keys of run.json that others rely on (DESIGN, section 5); `test` only where the test set was used.
DESIGNED = {
    *("id", "name", "command", "status", "seed", "device", "threads", "started", "ended"),
    *("best_epoch", "best", "baseline", "versions", "data", "parent"),
}


def of_members(kind: str, *numbers: int) -> list[str]:
    kept = ("preprocessing.json", "weights.safetensors")
    each = [f"{kind}-{number}/{name}" for number in numbers for name in kept]
    return sorted([*ALWAYS, "history_mean.csv", "oof.csv", *each])


# What is typed → the files, the columns of history.csv, its rows.
KINDS: dict[str, tuple[list[str], list[str], str, int]] = {
    "holdout": (["train", "small.yaml"], ALONE, HOLDOUT, 3),
    "without validation": (
        ["train", "small.yaml", "--set", "validation=none"],
        ALONE,
        "epoch,loss,mae,learning_rate,seconds",
        3,
    ),
    "without metrics": (
        ["train", "small.yaml", "--set", "metrics=[]"],
        ALONE,
        "epoch,loss,val_loss,learning_rate,seconds",
        3,
    ),
    "kfold": (["kfold", "small.yaml", "--k", "3"], of_members("fold", 0, 1, 2), FOLDS, 9),
    "kfold of the spec": (
        ["train", "small.yaml", "--set", "validation={kfold: 2}"],
        of_members("fold", 0, 1),
        FOLDS,
        6,
    ),
    "one fold": (["kfold", "small.yaml", "--k", "3", "--fold", "2"], of_members("fold", 2), FOLDS, 3),
    "repeats": (
        ["kfold", "small.yaml", "--set", "validation={kfold: {k: 2, shuffle: true}}", "--repeats", "2"],
        of_members("fold", 0, 1, 2, 3),
        FOLDS,
        12,
    ),
    "seeds": (["train", "small.yaml", "--seeds", "2"], of_members("seed", 0, 1), f"seed,{HOLDOUT}", 6),
    "final": (["final", "small.yaml"], ALONE, "epoch,loss,mae,learning_rate,seconds", 3),
    "smoke": (["train", "small.yaml", "--smoke", "--epochs", "50"], ALONE, HOLDOUT, 2),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_files(kind: str, folder: Path) -> None:
    arguments, files, columns, rows = KINDS[kind]
    before = datetime.now(timezone.utc).replace(microsecond=0)
    assert main([*arguments, "-q"]) == 0
    after = datetime.now(timezone.utc)
    path = only_run(folder / "runs")
    assert RUN_ID.fullmatch(path.name)
    assert [name for name in files_of(path) if not name.startswith("checkpoint-")] == files
    (checkpoint,) = path.glob("checkpoint-*")
    assert files_of(checkpoint) == ["manifest.json", "state.json", "state.safetensors"]

    history = (path / "history.csv").read_text()
    header, *lines = history.splitlines()
    assert header == columns
    assert len(lines) == rows
    assert history.endswith("\n")
    assert all(line.count(",") == columns.count(",") for line in lines)
    if "history_mean.csv" in files:
        assert (path / "history_mean.csv").read_text().splitlines()[0] == MEAN

    assert (path / "spec.yaml").read_text() == Path("small.yaml").read_text()
    record = record_of(path)
    assert set(record) >= DESIGNED
    assert ("test" in record) == (kind == "final")
    assert record["id"] == path.name
    assert (record["name"], record["command"], record["status"]) == ("small", arguments[0], "completed")
    assert (record["device"], record["seed"]) == ("cpu", 0)
    started, ended = datetime.fromisoformat(record["started"]), datetime.fromisoformat(record["ended"])
    assert before <= started <= ended <= after
    assert [set(data) for data in record["data"]] == [{"name", "sha256", "rows", "note"}]
    assert {"nnrun", "python", "torch", "numpy"} <= set(record["versions"])
    # Strict JSON: no NaN, and two spaces where a person looks into it.
    text = (path / "run.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def test_numbered_as_people_count(folder: Path) -> None:
    """Epochs from 1, folds from 0; a row for each fold where its epoch ends."""
    assert main(["kfold", "small.yaml", "--k", "3", "--epochs", "2", "-q"]) == 0
    history = RunDirectory(only_run(folder / "runs")).read_history()
    assert history["fold"].tolist() == [0, 1, 2, 0, 1, 2]
    assert history["epoch"].tolist() == [1, 1, 1, 2, 2, 2]
    assert history["seconds"].nunique() == 2  # folds that train together share an epoch's time


def test_weights_have_the_layout_that_a_spec_may_start_from(folder: Path) -> None:
    """`<i>.weight` is (out, in), `<i>` the place among all layers; and the file can be trained on."""
    layers: list[Any] = [{"dropout": 0.1}, *REGRESSION["layers"]]
    write_small(folder, layers=layers)
    assert main(["train", "small.yaml", "-q"]) == 0
    path = only_run(folder / "runs")
    weights = load_file(path / "weights.safetensors")
    assert {name: (value.shape, str(value.dtype)) for name, value in weights.items()} == {
        "1.weight": ((8, 3), "float32"),
        "1.bias": ((8,), "float32"),
        "2.weight": ((1, 8), "float32"),
        "2.bias": ((1,), "float32"),
    }
    write_small(folder, layers=layers, init_weights=f"runs/{path.name}/weights.safetensors")
    assert main(["train", "small.yaml", "-q", "--runs-dir", "again"]) == 0
    # Where it went on, it is better than where it began.
    first, second = (nnrun.Run(run).history["loss"] for run in (path, only_run(folder / "again")))
    assert second.iloc[0] < first.iloc[0]


def test_data_are_named_by_their_hash(folder: Path) -> None:
    assert main(["train", "small.yaml", "-q"]) == 0
    (data,) = record_of(only_run(folder / "runs"))["data"]
    sha256 = hashlib.sha256((folder / "small.npz").read_bytes()).hexdigest()
    assert data == {"name": "small.npz", "sha256": sha256, "rows": 60, "note": ""}


def test_a_run_s_name_is_safe_as_a_folder_s(folder: Path) -> None:
    assert main(["train", "small.yaml", "-q", "--set", "name='../Grüße an: alle'", "--epochs", "1"]) == 0
    path = only_run(folder / "runs")
    assert path.name.startswith("Grusse-an-alle-")
    assert record_of(path)["name"] == "../Grüße an: alle"
