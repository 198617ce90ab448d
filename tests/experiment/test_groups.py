"""Folds of different vocabularies have networks of different widths."""

from pathlib import Path

import numpy as np
import yaml

import nnrun


def test_token_folds_of_different_vocabularies_train_one_after_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lists = np.empty(30, object)
    lists[:] = [rng.integers(0, 50, 6).tolist() for _ in range(30)]
    lists[0] = [120]  # only fold 0 validates this row, so that its own network has no column for it
    np.savez(tmp_path / "data.npz", x_train=lists, y_train=np.arange(30) % 2)
    spec = {
        "dataset": {"npz": "data.npz"},
        "preprocessing": {"inputs": "multi_hot"},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "epochs": 2,
        "validation": {"kfold": {"k": 3}},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    assert run.status == "completed"
    assert [run.weights(fold=fold)["0.weight"].shape for fold in range(3)] == [(1, 50), (1, 121), (1, 121)]
    assert sorted(zip(run.history["fold"], run.history["epoch"], strict=True)) == [
        (fold, epoch) for fold in range(3) for epoch in (1, 2)
    ]
    alone = nnrun.kfold(path, fold=0, overrides={"validation.kfold.k": 3}, runs_dir=tmp_path / "runs")
    assert alone.history["loss"].tolist() == run.history.query("fold == 0")["loss"].tolist()
