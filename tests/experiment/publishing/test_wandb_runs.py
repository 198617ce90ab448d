"""Runs of Weights & Biases, written offline, and read back from W&B's own file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnrun

datastore = pytest.importorskip("wandb.sdk.internal.datastore")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def _records(folder: Path) -> Iterator[object]:
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    store = datastore.DataStore()
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _history(folder: Path) -> list[dict[str, object]]:
    rows = []
    for record in _records(folder):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return rows


def test_a_run_and_its_folds_are_runs_of_one_group(folds: nnrun.Run, tmp_path: Path) -> None:
    (published,) = nnrun.publish(folds, to="wandb", into=tmp_path)
    assert published.new
    assert published.model
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 3
    (own,) = [folder for folder in folders if folder.name.endswith(published.tracker_id)]
    means = [row["val_loss_mean"] for row in _history(own) if "val_loss_mean" in row]
    assert means == list(folds.history_mean["val_loss_mean"])
    kinds = {record.WhichOneof("record_type") for record in _records(own)}
    assert {"run", "history", "artifact"} <= kinds
    (run,) = [r.run for r in _records(own) if r.WhichOneof("record_type") == "run"][:1]
    assert (run.project, run.run_group, run.display_name) == ("flats", folds.id, folds.id)


def test_the_same_again_changes_nothing(single: nnrun.Run, tmp_path: Path) -> None:
    nnrun.publish(single, to="wandb", into=tmp_path, model=False)
    before = sorted(tmp_path.rglob("*.wandb"))
    (again,) = nnrun.publish(single, to="wandb", into=tmp_path, model=False)
    assert not again.new
    assert sorted(tmp_path.rglob("*.wandb")) == before
