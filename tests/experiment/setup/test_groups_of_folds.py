"""Folds that cannot train in one step: of different widths, or with too many rows of their own."""

import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import nnrun
from nnrun.cli.closing import closing_text
from nnrun.errors import UsageError
from nnrun.experiment.describing.report import report_page
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup import groups
from nnrun.spec.reading.load import load_spec
from nnrun.training.loop import EpochRecord


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


TABLE = """
dataset: {csv: {path: rows.csv, target: y}}
layers:
  - dense: {units: 4, activation: tanh}
  - dense: {units: 1, activation: sigmoid}
loss: binary_crossentropy
metrics: [accuracy]
epochs: 3
batch_size: 8
validation: {kfold: {k: 3}}
"""


def table_spec(folder: Path) -> Path:
    """60 rows of a number, a number that is missing here and there, and a category."""
    rng = np.random.default_rng(0)
    rows = [
        f"{rng.normal():.5f},{rng.normal():.5f},{'abc'[rng.integers(3)]},{rng.integers(2)}"
        if i % 7
        else f"{rng.normal():.5f},,a,{rng.integers(2)}"
        for i in range(60)
    ]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,y", *rows]) + "\n")
    (folder / "spec.yaml").write_text(TABLE)
    return folder / "spec.yaml"


@pytest.mark.parametrize("inputs", ["", "  - one_hot\n", "  - hashing: {columns: [c], buckets: 512}\n"])
def test_folds_whose_own_rows_are_too_many_train_one_after_the_other_with_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inputs: str
) -> None:
    path = table_spec(tmp_path)
    if inputs:
        path.write_text(f"{TABLE}preprocessing:\n  inputs:\n  - impute\n  - standardize\n{inputs}")
    together = nnrun.train(path, runs_dir=tmp_path / "runs")
    monkeypatch.setattr(groups, "MOST_BYTES_OF_OWN_ROWS", 2000)
    apart = nnrun.train(path, runs_dir=tmp_path / "runs", verbose=True)
    assert re.match(
        r"the rows of all folds would take \d kB side by side: folds train one after the other, with the "
        r"same results\n",
        capsys.readouterr().err,
    )
    assert apart.record["networks_at_once"] == 1
    assert apart.record["baseline"] == together.record["baseline"]
    columns = ["fold", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    by_fold = together.history.sort_values(["fold", "epoch"], ignore_index=True)
    pd.testing.assert_frame_equal(apart.history[columns], by_fold[columns], rtol=1e-5)
    alone = nnrun.kfold(path, fold=1, runs_dir=tmp_path / "runs")
    assert alone.history["loss"].tolist() == apart.history.query("fold == 1")["loss"].tolist()


@pytest.mark.parametrize("rows", [1, 10**9], ids=["apart", "together"])
def test_folds_that_trained_one_after_the_other_cannot_all_go_on_to_more_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(groups, "MOST_BYTES_OF_OWN_ROWS", rows)
    run = nnrun.train(table_spec(tmp_path), runs_dir=tmp_path / "runs")
    before = run.history
    kept = [path.name for path in Path(run.path).glob("checkpoint-*")]
    if rows == 1:
        assert not kept, "nothing could go on from the state of the last group"
        with pytest.raises(
            UsageError, match="cannot be extended to 5 epochs: its networks did not all train side by side"
        ):
            resume_run(run._directory, overrides={"epochs": 5})
        pd.testing.assert_frame_equal(run.history, before)
        assert run.status == "completed"
    else:
        assert len(kept) == 1
        assert resume_run(run._directory, overrides={"epochs": 5})
        assert run.history.groupby("fold").size().tolist() == [5, 5, 5]


def test_of_folds_apart_the_rows_of_one_alone_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table_spec(tmp_path)
    monkeypatch.setattr(groups, "MOST_BYTES_OF_OWN_ROWS", 2000)
    make, made, alive = groups.make_inputs, [], []

    def watched(*args: Any, **options: Any) -> Any:
        inputs = make(*args, **options)
        alive.append(sum(ref() is not None for ref in made))
        made.extend(map(weakref.ref, inputs.values()))
        return inputs

    monkeypatch.setattr(groups, "make_inputs", watched)
    nnrun.train(path, runs_dir=tmp_path / "runs")
    assert alive == [0, 0, 0]


def test_folds_that_share_their_rows_train_together_however_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.5f},{rng.integers(2)}" for _ in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,y", *lines]) + "\n")
    (tmp_path / "spec.yaml").write_text(f"{TABLE}preprocessing: {{inputs: none}}\n")
    monkeypatch.setattr(groups, "MOST_BYTES_OF_OWN_ROWS", 1)
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    assert run.record["networks_at_once"] == 3


class _InterruptsAfter(Listener):
    """Raises after so many epochs of all groups together."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, record: EpochRecord) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def token_spec(folder: Path, odd_fold: int) -> Path:
    """5 contiguous folds, of which one has a network that is narrower than those of the others."""
    rng = np.random.default_rng(0)
    lists = np.empty(30, object)
    lists[:] = [rng.integers(0, 20, 9).tolist() for _ in range(30)]
    lists[6 * odd_fold] = [120]
    np.savez(folder / "data.npz", x_train=lists, y_train=np.arange(30) % 2)
    spec = {
        "dataset": {"npz": "data.npz"},
        "preprocessing": {"inputs": "multi_hot"},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "epochs": 3,
        "validation": {"kfold": {"k": 5}},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.parametrize(
    ("odd_fold", "epochs", "untrained", "sentence", "mean"),
    [
        (2, 2, [2], "Fold 2 was not trained: the scores are of 4 of 5 folds.", "4 of 5 folds"),
        (0, 3, [1, 2, 3, 4], "Folds 1, 2, 3 and 4 were not trained: the scores are of fold 0 only.", None),
        (2, 4, None, "Fold 2 reached epoch 1 only.", "folds"),
    ],
)
def test_a_run_that_is_interrupted_names_the_folds_that_were_not_trained(
    odd_fold: int, epochs: int, untrained: list[int] | None, sentence: str, mean: str | None, tmp_path: Path
) -> None:
    loaded = load_spec(token_spec(tmp_path, odd_fold))
    with pytest.raises(RunInterrupted) as interruption:
        run_experiment(loaded, Settings("kfold", tmp_path / "runs"), _InterruptsAfter(epochs))
    run = interruption.value.run
    record = run.read_record().to_json()
    assert record.get("not_trained") == untrained
    trained = [fold for fold in range(5) if fold not in (untrained or ())]
    alone = [nnrun.kfold(tmp_path / "spec.yaml", fold=fold, runs_dir=tmp_path / "alone") for fold in trained]
    for name, value in record["baseline"].items():  # of the folds that the scores beside it are of
        assert value == pytest.approx(np.mean([run.record["baseline"][name] for run in alone]))
    assert sentence in closing_text(run, run.read_record()).split("\n")
    assert sentence in report_page([run], {})
    blocks = closing_text(run, run.read_record()).split("\n\n")
    heading = next(block for block in blocks if block.startswith("best epoch")).partition("\n")[0]
    assert heading.endswith("rows" if mean is None else f"(mean ± std over {mean})")
    resume_run(run)
    record = run.read_record().to_json()
    assert "not_trained" not in record
    assert "not trained" not in closing_text(run, run.read_record())
    assert "reached epoch" not in closing_text(run, run.read_record())
    whole = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "whole")
    assert record["best"] == whole.record["best"]
    assert record["baseline"] == whole.record["baseline"]
