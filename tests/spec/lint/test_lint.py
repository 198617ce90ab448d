"""What lint lets through: what is meant, above all the book's. What it refuses is in `bad/lint_*.txt`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.errors import SpecError
from nnrun.spec.reading.load import load_spec, load_spec_text

RELU = "{dense: {units: 64, activation: relu}}"
IMDB = "dataset: {imdb: {num_words: 10000}}\npreprocessing: {inputs: multi_hot}\n"
REUTERS = "dataset: {reuters: {num_words: 10000}}\n"
NPZ = "dataset: {npz: data.npz}\n"


def layers(units: int, activation: str) -> str:
    return f"layers: [{RELU}, {{dense: {{units: {units}, activation: {activation}}}}}]\n"


MEANT = {
    "book 3.4": IMDB
    + layers(1, "sigmoid")
    + "loss: binary_crossentropy\nmetrics: [accuracy, precision, recall, auc]\n",
    "book 3.4, mse": IMDB + layers(1, "sigmoid") + "loss: mse\nmetrics: [accuracy, mae]\n",
    "two softmax units": IMDB
    + layers(2, "softmax")
    + "loss: categorical_crossentropy\nmetrics: [accuracy]\n",
    "book 3.5": REUTERS
    + "preprocessing: {inputs: multi_hot, targets: one_hot}\n"
    + layers(46, "softmax")
    + "loss: categorical_crossentropy\nmetrics: [accuracy, top_k]\nvalidation: {holdout: {first: 1000}}\n",
    "book 3.5, sparse": REUTERS
    + "preprocessing: {inputs: multi_hot, targets: class_index}\n"
    + layers(46, "softmax")
    + "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]\n",
    "squared error of one-hot rows": REUTERS
    + "preprocessing: {inputs: multi_hot, targets: one_hot}\n"
    + layers(46, "softmax")
    + "loss: mse\nmetrics: [accuracy]\n",
    "book 3.6": "dataset: boston_housing\npreprocessing: {inputs: standardize}\n"
    + layers(1, "linear")
    + "loss: mse\nmetrics: [mae, rmse, r2]\nbatch_size: 1\nvalidation: {kfold: 4}\n",
    "standardized target": "dataset: boston_housing\n"
    + "preprocessing: {inputs: standardize, targets: standardize}\n"
    + layers(1, "linear")
    + "loss: huber\n",
    "repeated folds": "dataset: {sklearn: iris}\n"
    + layers(3, "softmax")
    + "loss: sparse_categorical_crossentropy\n"
    + "validation: {kfold: {k: 5, shuffle: true, stratify: true, repeats: 3}}\n",
    "rows that are one-hot already": NPZ
    + "preprocessing: {targets: none}\n"
    + layers(3, "softmax")
    + "loss: categorical_crossentropy\nmetrics: [accuracy, top_k: 2]\n",
    "indices as they are": NPZ
    + "preprocessing: {targets: none}\n"
    + layers(3, "softmax")
    + "loss: sparse_categorical_crossentropy\n",
    "several labels": NPZ + layers(5, "sigmoid") + "loss: binary_crossentropy\nmetrics: [accuracy, auc]\n",
    "several numbers": NPZ + layers(5, "linear") + "loss: mse\nmetrics: [mae, r2]\n",
    "tokens in an archive": NPZ
    + "preprocessing: {inputs: multi_hot}\n"
    + layers(1, "sigmoid")
    + "loss: mse\n",
    "stopping at the training loss": NPZ
    + layers(1, "linear")
    + "loss: mse\nearly_stopping: {monitor: loss}\n",
    "stopping at a metric": NPZ
    + layers(1, "linear")
    + "loss: mse\nmetrics: [mae]\nvalidation: holdout\nearly_stopping: {monitor: val_mae}\n",
    "columns one by one": "dataset: {sklearn: iris}\n"
    "preprocessing: {inputs: [{standardize: [0, 1]}, {standardize: [3]}]}\n"
    + layers(3, "softmax")
    + "loss: categorical_crossentropy\n",
    "nesterov": NPZ + layers(1, "linear") + "loss: mse\noptimizer: {sgd: {momentum: 0.9, nesterov: true}}\n",
}


@pytest.mark.parametrize("text", MEANT.values(), ids=MEANT.keys())
def test_what_is_meant_passes_without_a_word(text: str) -> None:
    loaded = load_spec_text(text, file="spec.yaml", base=Path("/"), default_name="spec")
    assert [problem.render() for problem in loaded.warnings] == []


@pytest.mark.parametrize("key", ["calibrate: temperature", "threshold: {maximize: f1}"])
def test_a_class_of_each_step_has_no_calibration_and_no_threshold(key: str, tmp_path: Path) -> None:
    x = np.zeros((12, 6, 2), np.float32)
    np.savez(tmp_path / "steps.npz", x_train=x, y_train=np.zeros((12, 6), int))
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "dataset: {npz: steps.npz}\n"
        "layers: [{gru: {units: 4, return_sequences: true}}, {dense: {units: 3, activation: softmax}}]\n"
        "loss: sparse_categorical_crossentropy\nvalidation: holdout\n"
    )
    load_spec(spec)
    spec.write_text(f"{spec.read_text()}{key}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    (problem,) = caught.value.problems
    assert problem.line == 5
    assert problem.message == (
        f"{key.partition(':')[0]} is for one class in each row, and the last layer tells the class of each "
        "step; remove it"
    )


LINEAR_MEMBER = (
    "dataset: {csv: {path: houses.csv, target: price, inputs: [area]}}\n"
    + layers(1, "linear")
    + "loss: mse\nvalidation: {kfold: 3}\nlinear_member: true\n"
)


def test_a_linear_member_is_meant_and_nested_folds_do_not_score_it() -> None:
    def warnings(text: str) -> list[str]:
        loaded = load_spec_text(text, file="s.yaml", base=Path("/nowhere"), default_name="s")
        return [problem.message for problem in loaded.warnings]

    assert warnings(LINEAR_MEMBER) == []
    (said,) = warnings(LINEAR_MEMBER + "nested: {k: 3}\n")
    assert said.startswith("the outer folds of `nested` score the networks alone")
