"""Runs of Weights & Biases, written offline, and found in W&B's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

import nnrun
from tests.experiment.publishing.conftest import folders_told

pytest.importorskip("wandb", reason="the extra wandb")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def _written(folder: Path) -> bytes:
    """What W&B's own file of a run holds; values stand in it as JSON."""
    (file,) = folder.glob("*.wandb")
    return file.read_bytes()


def test_a_run_and_its_folds_are_runs_of_one_group(folds: nnrun.Run, tmp_path: Path) -> None:
    (published,) = nnrun.publish(folds, to="wandb", into=tmp_path)
    assert published.new
    assert published.model
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 3
    (own,) = [folder for folder in folders if folder.name.endswith(published.tracker_id)]
    held = _written(own)
    for value in folds.history_mean["val_loss_mean"]:
        assert repr(float(value)).encode() in held
    assert folds.id.encode() in held
    for number, folder in enumerate(sorted(set(folders) - {own}, key=lambda each: _fold_of(each))):
        history = folds.history[folds.history["fold"] == number]
        for value in history["val_loss"]:
            assert repr(float(value)).encode() in _written(folder)


def _fold_of(folder: Path) -> int:
    return 0 if b"fold-0" in _written(folder) else 1


def test_the_same_again_changes_nothing(single: nnrun.Run, tmp_path: Path) -> None:
    nnrun.publish(single, to="wandb", into=tmp_path, model=False)
    before = sorted(tmp_path.rglob("*.wandb"))
    (again,) = nnrun.publish(single, to="wandb", into=tmp_path, model=False)
    assert not again.new
    assert sorted(tmp_path.rglob("*.wandb")) == before


def test_no_folder_of_this_machine_is_published(folds: nnrun.Run, tmp_path: Path) -> None:
    nnrun.publish(folds, to="wandb", into=tmp_path)
    assert folders_told(folds, tmp_path) == []
