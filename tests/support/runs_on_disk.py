"""Runs as a training would leave them, made in a moment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nnrun.records import MemberType, RunDirectory, history_columns
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.writing.dump import dump_spec


def write_record(run: RunDirectory, record: Mapping[str, Any]) -> None:
    """Write run.json as it is given, sound or not."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (run.path / "run.json").write_text(text, encoding="utf-8")


def make_run(runs_dir: Path, id_: str, **record: Any) -> RunDirectory:
    """A run with a record and no history."""
    (runs_dir / id_).mkdir(parents=True)
    run = RunDirectory(runs_dir / id_)
    write_record(
        run, {"id": id_, "name": id_.split("-")[0], "command": "train", "status": "completed", **record}
    )
    return run


def write_history(
    run: RunDirectory, epochs: int, folds: int = 0, metric: str = "accuracy", kind: MemberType = "fold"
) -> None:
    """A history that overfits after epoch 3, of one network or of so many folds (or what `kind` says)."""
    columns = history_columns([metric], validated=True, member_type=kind if folds else None)
    with run.history_writer(columns) as history:
        for fold in range(max(folds, 1)):
            for epoch in range(1, epochs + 1):
                loss = 1 / epoch + fold / 10
                val_loss = 0.5 + abs(epoch - 3) / 10 + fold / 10
                row = {
                    "epoch": epoch,
                    "loss": loss,
                    "val_loss": val_loss,
                    "seconds": 0.1,
                    "learning_rate": 0.001,
                }
                row |= {metric: 1 - loss / 2, f"val_{metric}": 1 - val_loss / 2}
                history.append(row | ({kind: fold} if folds else {}))


SPEC: dict[str, Any] = {
    "name": "small",
    "dataset": {"imdb": 1000},
    "preprocessing": {"inputs": "multi_hot"},
    "layers": [
        {"dense": {"units": 16, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ],
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
    "validation": {"holdout": {"first": 100}},
}
DATA: list[dict[str, Any]] = [{"name": "imdb.npz", "sha256": "aa", "rows": 50_000}]
BEST = 2
"""The best epoch, of three, of each run that `scored_run` makes."""


def scored_run(
    runs_dir: Path,
    id_: str,
    scores: Mapping[int, Mapping[str, float]],
    *,
    kind: MemberType | None = "seed",
    spec: Mapping[str, Any] | None = None,
    **record: Any,
) -> RunDirectory:
    """A run whose networks have these values (`val_loss`, ...) at the best epoch, and others elsewhere.

    Args:
        runs_dir, id_: where.
        scores: fold or seed → column → value; of one network under any number.
        kind: what tells the networks apart.
        spec: keys that are not as in `SPEC`.
        record: keys of its record.
    """
    text = json.dumps({**SPEC, **(spec or {})})
    numbers = {f"{kind}s": list(scores)} if kind else {}
    best = {"epochs_run": 3, "best_epoch": BEST, "data": DATA}
    run = make_run(runs_dir, id_, **{**best, **numbers, **record})
    run.write_resolved(dump_spec(load_spec_text(text, file=id_, base=runs_dir, default_name=id_).spec))
    columns = list(next(iter(scores.values())))
    metrics = [name.removeprefix("val_") for name in columns if name != "val_loss"]
    with run.history_writer(history_columns(metrics, validated=True, member_type=kind)) as history:
        for epoch in range(1, 4):
            for number, values in scores.items():
                row = dict(values) if epoch == BEST else dict.fromkeys(columns, 99.0)
                row |= {name.removeprefix("val_"): value for name, value in row.items()}
                history.append({"epoch": epoch, **row, **({kind: number} if kind else {})})
    return run


def scores_of(*values: float, first: int = 0, measure: str = "val_accuracy") -> dict[int, dict[str, float]]:
    """Scores of several networks, numbered from `first`; their loss is 1 less the score."""
    return {first + i: {"val_loss": 1 - value, measure: value} for i, value in enumerate(values)}


def records_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that from now on gets the id of each run whose run.json is read."""
    read: list[str] = []
    original = RunDirectory.read_written_record

    def watched(run: RunDirectory) -> Any:
        read.append(run.id)
        return original(run)

    monkeypatch.setattr(RunDirectory, "read_written_record", watched)
    return read
