"""Where accuracy is the only measure of uneven classes, training and `check` warn; `init`'s specs do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.cli import main
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.experiment.setup.load_data import load_data
from nnrun.experiment.setup.rare_classes import rare_class_warning
from nnrun.spec.reading.load import load_spec

SIGMOID = "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\n"
SOFTMAX = "layers: [{dense: {units: 2, activation: softmax}}]\nloss: categorical_crossentropy\n"
TABLE = "dataset: {csv: {path: t.csv, target: sick}}\n"
EXPECTED = (
    "warning: class 'yes' has only 12 of 300 rows (4 %): always predicting 'no' gets an accuracy of 96 %; "
    "write `metrics: [accuracy, f1, average_precision]` and `class_weight: balanced`"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i % 7},{i % 11},{'yes' if i % 25 == 0 else 'no'}" for i in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,sick", *rows]))
    return tmp_path


@pytest.mark.parametrize("command", [["train"], ["kfold", "--k", "2"]])
def test_training_warns(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "s.yaml").write_text(f"{TABLE}{SIGMOID}metrics: [accuracy]\nepochs: 1\n")
    assert main([command[0], "s.yaml", *command[1:]]) == 0
    assert capsys.readouterr().err.splitlines().count(EXPECTED) == 1


def test_what_init_writes_is_not_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "t.csv", "--target", "sick", "-o", "s.yaml"]) == 0
    assert problems_of_data(load_spec(folder / "s.yaml")) == ()
    capsys.readouterr()
    assert main(["train", "s.yaml", "--epochs", "1"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize(("positives", "warned"), [(12, True), (50, False), (290, True)])
def test_arrays(one_hot: bool, positives: int, warned: bool, folder: Path) -> None:
    labels = (np.arange(300) < positives).astype(np.int64)
    targets = np.eye(2, dtype=np.float32)[labels] if one_hot else labels
    np.savez(folder / "t.npz", x_train=np.ones((300, 2), np.float32), y_train=targets)
    network = SOFTMAX if one_hot else SIGMOID
    (folder / "s.yaml").write_text(f"dataset: {{npz: {{path: t.npz}}}}\n{network}metrics: [accuracy]\n")
    spec = load_spec(folder / "s.yaml").spec
    assert (rare_class_warning(spec, load_data(spec)) is not None) == warned


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("metrics: [accuracy]", True),
        ("metrics: [accuracy, mae]", True),
        ("metrics: [accuracy, average_precision]", False),
        ("metrics: [accuracy, recall]", False),
        ("metrics: [accuracy]\nclass_weight: balanced", False),
        ("metrics: []", False),
    ],
)
def test_another_metric_or_weights_are_enough(more: str, warned: bool, folder: Path) -> None:
    (folder / "s.yaml").write_text(f"{TABLE}{SIGMOID}{more}\n")
    spec = load_spec(folder / "s.yaml").spec
    assert (rare_class_warning(spec, load_data(spec)) is not None) == warned
