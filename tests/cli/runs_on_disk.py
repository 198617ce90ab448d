"""Runs as a training would leave them, made in a moment."""

from pathlib import Path
from typing import Any

from nnrun.records import MemberKind, RunDirectory, history_columns


def make_run(runs_dir: Path, id_: str, **record: Any) -> RunDirectory:
    """A run with a record and no history."""
    (runs_dir / id_).mkdir(parents=True)
    run = RunDirectory(runs_dir / id_)
    run.write_record(
        {"id": id_, "name": id_.split("-")[0], "command": "train", "status": "completed", **record}
    )
    return run


def write_history(
    run: RunDirectory, epochs: int, folds: int = 0, metric: str = "accuracy", kind: MemberKind = "fold"
) -> None:
    """A history that overfits after epoch 3, of one network or of so many folds (or what `kind` says)."""
    columns = history_columns([metric], validated=True, kind=kind if folds else None)
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
