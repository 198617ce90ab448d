"""Targets that a loss cannot compare with are refused once the data are known; all other forms are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

import nnrun
from nnrun.cli import main
from nnrun.data import Dataset, Samples, load_dataset
from nnrun.data.dataset import output_data
from nnrun.data.load_data import load_data
from nnrun.data.targets import (
    balanced,
    class_weight_of_rows,
    rare_class_warnings,
    refuse_unsuitable_fold,
    refuse_unsuitable_targets,
)
from nnrun.errors import DataError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.experiment.setup.groups import make_problem, prepare_groups, training_problem
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    load_small,
    record_of,
    spec_text,
    standardized,
    write_small,
    yes_or_no,
)

X = np.random.default_rng(0).normal(size=(12, 3))
ONE = {"dense": {"units": 1, "activation": "sigmoid"}}
THREE = {"dense": {"units": 3, "activation": "softmax"}}
CLASSES = np.arange(12) % 3
NAMES = np.array(["ant", "bee", "cow"])[CLASSES]


def write(folder: Path, y: np.ndarray, last: Any, loss: str, targets: str | None = None) -> Path:
    np.savez(folder / "data.npz", x_train=X, y_train=y)
    spec: dict[str, Any] = {"dataset": {"npz": "data.npz"}, "layers": [last], "loss": loss}
    if targets:
        spec["preprocessing"] = {"targets": targets}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


OUTSIDE = "but binary_crossentropy expects values from 0 to 1."
SEVERAL = (
    "For several classes use sparse_categorical_crossentropy with one softmax unit for each; for a number to "
    "predict use mse."
)


@pytest.mark.parametrize(
    ("y", "last", "loss", "sentence"),
    [
        (
            np.where(np.arange(12) % 2, 1, -1),
            ONE,
            "binary_crossentropy",
            f"Row 0 of the training rows has the target -1, {OUTSIDE} Write the two classes as 0 and 1.",
        ),
        (
            CLASSES,
            ONE,
            "binary_crossentropy",
            f"Row 2 of the training rows has the target 2, {OUTSIDE} {SEVERAL}",
        ),
        (
            X[:, :3].round(1),
            THREE,
            "categorical_crossentropy",
            "Row 0 of the training rows has targets from -0.1 to 0.6 that sum to 0.6, but "
            "categorical_crossentropy expects shares: none negative, summing to 1. For several labels per "
            "row use binary_crossentropy with sigmoid units; for numbers to predict use mse.",
        ),
        (
            NAMES,
            ONE,
            "binary_crossentropy",
            "The data do not match the spec: binary_crossentropy is for two classes, and data.npz has 3; use "
            "categorical_crossentropy with 3 softmax units.",
        ),
        (
            np.where(np.arange(12) % 2, 1, -1),
            {"dense": 1},
            "hinge",
            "Row 0 of the training rows has the target -1, but hinge expects values from 0 to 1. Write the "
            "two classes as 0 and 1.",
        ),
        (
            np.arange(12) - 5,
            {"dense": {"units": 1, "activation": "exponential"}},
            "poisson",
            "Row 0 of the training rows has the target -5, but poisson is for numbers of 0 and more. Use "
            "mse, mae or huber.",
        ),
    ],
    ids=["minus one", "three classes", "no shares", "three names", "hinge of minus one", "negative count"],
)
def test_targets_that_do_not_suit_are_refused(
    y: np.ndarray, last: Any, loss: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        nnrun.train(write(tmp_path, y, last, loss), runs_dir=tmp_path / "runs")
    assert str(caught.value) == sentence
    assert not (tmp_path / "runs").exists()


def test_names_are_no_numbers_to_predict(tmp_path: Path) -> None:
    path = write(tmp_path, X[:, 0].round(1).astype(str), {"dense": 1}, "mse")
    with pytest.raises(DataError, match=r"^The data do not match the spec: .*classes.*\.$"):
        nnrun.train(path, runs_dir=tmp_path / "runs")


@pytest.mark.parametrize(
    ("y", "loss", "targets"),
    [
        (CLASSES, "sparse_categorical_crossentropy", "none"),
        (CLASSES, "sparse_categorical_crossentropy", "class_index"),
        (NAMES, "sparse_categorical_crossentropy", None),
        (NAMES, "sparse_categorical_crossentropy", "none"),
        (CLASSES, "categorical_crossentropy", None),
        (np.eye(3)[CLASSES], "categorical_crossentropy", None),
        (np.eye(3)[CLASSES], "categorical_crossentropy", "none"),
    ],
)
def test_every_form_of_the_same_classes_trains_the_same(
    y: np.ndarray, loss: str, targets: str | None, tmp_path: Path
) -> None:
    run = nnrun.train(write(tmp_path, y, THREE, loss, targets), runs_dir=tmp_path / "runs")
    reference = tmp_path / "reference"
    reference.mkdir()
    plain = write(reference, CLASSES, THREE, "sparse_categorical_crossentropy")
    expected = nnrun.train(plain, runs_dir=tmp_path / "runs").history["loss"]
    np.testing.assert_allclose(run.history["loss"], expected, rtol=1e-6)


def test_one_unit_takes_class_indices_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, np.arange(12) % 2, ONE, "binary_crossentropy", "class_index")
    assert nnrun.train(path, runs_dir=tmp_path / "runs").status == "completed"


# --- files of rows: what their numbers are is known by the loss ---------------------------------------------


def read_as(folder: Path, targets: list[Any], units: int, loss: str, **dataset: Any) -> Dataset:
    rows = "".join(f"{i},{target}\n" for i, target in enumerate(targets))
    (folder / "data.csv").write_text(f"a,y\n{rows}")
    last = {"dense": {"units": units, "activation": "sigmoid" if units == 1 else "softmax"}}
    spec = {
        "dataset": {"csv": {"path": "data.csv", "target": "y", **dataset}},
        "layers": [last],
        "loss": loss,
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    loaded = load_spec(path).spec
    data = load_data(loaded)
    refuse_unsuitable_targets(loaded, data, loaded.preprocessing.targets)
    return data


@pytest.mark.parametrize(
    ("numbers", "units", "loss", "labels", "names"),
    [
        ([1, 2, 3, 2], 3, "sparse_categorical_crossentropy", [0, 1, 2, 1], ("1", "2", "3")),
        ([9, 3, 5, 3], 3, "categorical_crossentropy", [2, 0, 1, 0], ("3", "5", "9")),
        ([-1, 1, 1, -1], 1, "binary_crossentropy", [0, 1, 1, 0], ("-1", "1")),
        ([10, 2, 10, 2], 2, "sparse_categorical_crossentropy", [1, 0, 1, 0], ("2", "10")),
        ([0, 1, 2, 1], 3, "sparse_categorical_crossentropy", [0, 1, 2, 1], None),
        ([1, 2, 3, 2], 4, "sparse_categorical_crossentropy", [1, 2, 3, 2], None),
        ([0, 1, 1, 0], 1, "binary_crossentropy", [0, 1, 1, 0], None),
        ([1, 2, 3, 2], 1, "mse", [1, 2, 3, 2], None),
    ],
)
def test_whole_numbers_become_classes_where_they_are_no_labels(
    tmp_path: Path, numbers: list[int], units: int, loss: str, labels: list[int], names: Any
) -> None:
    dataset = read_as(tmp_path, numbers, units, loss)
    assert (dataset.train.targets.tolist(), dataset.class_names) == (labels, names)
    assert names is None or dataset.classes == len(names)


def test_the_test_set_has_the_same_labels(tmp_path: Path) -> None:
    numbers = [7, 5] * 5
    dataset = read_as(tmp_path, numbers, 1, "binary_crossentropy", test={"fraction": 0.2, "shuffle": False})
    assert dataset.test is not None
    assert dataset.test.targets.tolist() == [1, 0]
    assert dataset.class_names == ("5", "7")


@pytest.mark.parametrize(
    ("targets", "units", "loss", "said"),
    [
        (
            ["a", "b", "c", "a"],
            1,
            "binary_crossentropy",
            "binary_crossentropy is for two classes, and data.csv has 3",
        ),
        (["a", "b", "c", "a"], 4, "sparse_categorical_crossentropy", "units must be 3; found 4"),
        ([1, 2, 5, 9], 3, "sparse_categorical_crossentropy", "units must be 4; found 3"),
        (
            [0.5, 1, 2, 3],
            3,
            "sparse_categorical_crossentropy",
            "is for classes, and data.csv has a number to predict",
        ),
    ],
)
def test_what_the_file_turns_out_to_hold_is_checked_against_the_spec(
    tmp_path: Path, targets: list[Any], units: int, loss: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_as(tmp_path, targets, units, loss)
    assert str(caught.value).startswith("The data do not match the spec: ")
    assert said in str(caught.value)


def test_a_class_that_only_rows_that_validate_have(tmp_path: Path) -> None:
    dataset = read_as(tmp_path, ["a", "b", "a", "b", "c", "c"], 3, "sparse_categorical_crossentropy")
    spec = load_spec(tmp_path / "spec.yaml").spec
    outputs = output_data(spec, dataset)
    refuse_unsuitable_fold(outputs, 0, np.arange(5), np.array([5]))
    refuse_unsuitable_fold(outputs, 0, np.arange(6), np.array([], np.int64))
    with pytest.raises(DataError) as caught:
        refuse_unsuitable_fold(outputs, 0, np.arange(4), np.array([4, 5]))
    assert str(caught.value) == (
        "Only validation rows have the class 'c' (2 rows, the first is line 6 of the file), so no network "
        "can learn it. Shuffle the rows (shuffle: true), stratify (stratify: true), or remove the class."
    )


def test_targets_that_float32_cannot_tell_apart(tmp_path: Path) -> None:
    """Rounded to multiples of 64 they would all be the same, with a baseline that is perfect."""
    path = write(tmp_path, 1e9 + X[:, 0], {"dense": 1}, "mse")
    with pytest.raises(DataError, match="rounds numbers of this size to multiples of 64: most of what"):
        nnrun.train(path, overrides={"epochs": 1}, runs_dir=tmp_path / "runs")
    fits = {"epochs": 1, "preprocessing.targets": "standardize"}
    baseline = nnrun.train(path, overrides=fits, runs_dir=tmp_path / "runs").baseline
    assert baseline["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_scores_are_of_the_targets_before_they_are_rounded(mean: float, tmp_path: Path) -> None:
    """Around 1e6 float32 keeps multiples of 0.0625."""
    y = mean + X[:, 0]
    path = write(tmp_path, y, {"dense": 1}, "mse")
    changes = {"epochs": 1, "metrics": ["mae", "r2"]}
    baseline = nnrun.train(path, overrides=changes, runs_dir=tmp_path / "runs").baseline
    assert baseline["mae"] == pytest.approx(np.abs(y - np.median(y)).mean(), rel=1e-6)
    assert baseline["r2"] == pytest.approx(0, abs=1e-9)


CPU = torch.device("cpu")


def dataset(targets: Any, **known: Any) -> Dataset:
    targets = np.asarray(targets)
    return Dataset("made", Samples(np.zeros((len(targets), 3)), targets), None, (), **known)


def weights(class_weight: Any, data: Dataset, train_rows: Any = None) -> list[float]:
    rows = np.arange(len(data.train)) if train_rows is None else np.asarray(train_rows)
    found = class_weight_of_rows(spec_text(BINARY, class_weight=class_weight).spec, data, rows)
    assert found is not None
    assert found.dtype == np.float32
    return [float(weight) for weight in found]


def refusal(class_weight: Any, data: Dataset) -> str:
    with pytest.raises(DataError) as caught:
        weights(class_weight, data)
    return str(caught.value)


# --- balanced ----------------------------------------------------------------------------------------------


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_balanced_weights_are_scikit_learn_s(labels: list[int]) -> None:
    expected = compute_sample_weight("balanced", labels)
    found = balanced(np.array(labels), 6)[labels]
    np.testing.assert_allclose(found, expected)
    # All classes together weigh as much as each other, and all rows as much as without weights.
    assert found.sum() == pytest.approx(len(labels))
    sums = [found[np.array(labels) == label].sum() for label in set(labels)]
    assert sums == pytest.approx([sums[0]] * len(sums))


def test_only_the_training_rows_are_counted() -> None:
    """A row that is validated, and a class that it alone has, change nothing; the class then weighs 1."""
    data = dataset([0, 0, 0, 1, 1, 2])
    assert weights("balanced", data, [0, 1, 2, 3]) == pytest.approx([2 / 3] * 3 + [2, 2, 1])


def test_each_fold_has_its_own(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, BINARY, validation=KFOLD, class_weight="balanced")
    data = load_dataset(loaded.spec.dataset)
    (group,) = prepare_groups(loaded.spec, data)
    problem = training_problem(loaded.spec, group, data, CPU)
    assert problem.head.weights is None, "what is measured has no weights"
    assert problem.head.training_weights is not None
    assert len({tuple(row.tolist()) for row in problem.head.training_weights}) == 3
    for fold, found in zip(group.folds, problem.head.training_weights, strict=True):
        labels = data.train.targets[fold.train_rows]
        np.testing.assert_allclose(
            found[fold.train_rows], compute_sample_weight("balanced", labels), rtol=1e-6
        )


def test_replicas_share_what_is_alike(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, BINARY, validation=KFOLD, class_weight={"0": 3})
    data = load_dataset(loaded.spec.dataset)
    (group,) = prepare_groups(loaded.spec, data)
    problem = training_problem(loaded.spec, group, data, CPU)
    assert problem.head.training_weights is not None
    assert problem.head.training_weights.shape == (1, 48)
    plain = load_small(tmp_path, BINARY, validation=KFOLD)
    (group,) = prepare_groups(plain.spec, data)
    assert training_problem(plain.spec, group, data, CPU).head.training_weights is None


# --- given -------------------------------------------------------------------------------------------------

NAMED = {"classes": 3, "class_names": ("cat", "dog", "eel"), "task": "multiclass"}


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ({"0": 2, "2": 0.5}, {}, [2, 1, 0.5]),
        ({"dog": 4}, NAMED, [1, 4, 1]),
        ({"dog": 4, "0": 0}, NAMED, [0, 4, 1]),
        # Names that are numbers are names, in the order of the labels.
        ({"3": 2}, {**NAMED, "class_names": ("1", "2", "3")}, [1, 1, 2]),
    ],
)
def test_a_class_has_the_weight_that_it_is_given_or_1(
    given: dict[str, float], known: dict[str, Any], expected: list[float]
) -> None:
    assert weights(given, dataset([0, 1, 2], **known)) == expected


@pytest.mark.parametrize(
    "targets",
    [[0.0, 1.0, 0.0], [[0.0], [1.0], [0.0]], [[1, 0], [0, 1], [1, 0]], [False, True, False]],
    ids=["floats", "column", "one-hot", "booleans"],
)
def test_a_class_may_be_written_in_several_ways(targets: Any) -> None:
    assert weights({"1": 5}, dataset(targets)) == [1, 5, 1]


def test_an_unknown_class_is_refused_by_naming_the_known_ones() -> None:
    assert refusal({"eels": 2}, dataset([0, 1, 2], **NAMED)) == (
        "class_weight: made has no class called 'eels'. Did you mean 'eel'? Its classes: cat, dog and eel."
    )
    assert refusal({"7": 2}, dataset([0, 3, 3])) == (
        "class_weight: made has no class called '7'. Its classes: 0 and 3."
    )
    numbered = {**NAMED, "class_names": ("1", "2", "3")}
    assert "no class called '0'" in refusal({"0": 2}, dataset([0, 1, 2], **numbered))
    many = {"classes": 70, "class_names": tuple(f"c{i:02}" for i in range(70))}
    assert refusal({"x": 2}, dataset([0, 1], **many)).endswith("c58, c59 and 10 more.")


def test_a_class_that_is_named_twice_is_refused() -> None:
    assert refusal({"dog": 2, "1": 3}, dataset([0, 1, 2], **NAMED)) == (
        "class_weight names one class twice, as 'dog' and as '1'. Keep one of them."
    )


@pytest.mark.parametrize(
    ("targets", "known"),
    [([0.5, 1.0], {}), ([-1, 1], {}), ([[1, 1], [0, 1]], {}), ([0, 1], {"task": "regression"})],
)
def test_what_has_no_single_class_a_row_is_refused(targets: Any, known: dict[str, Any]) -> None:
    for class_weight in ("balanced", {"1": 2}):
        assert refusal(class_weight, dataset(targets, **known)) == (
            "class_weight needs one class for each row: a name, a whole number from 0, or a row of 0 and a "
            "single 1. The targets of made are something else; remove class_weight."
        )


def test_it_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, BINARY, class_weight={"2": 3})
    with pytest.raises(DataError, match="no class called '2'"):
        run_experiment(loaded, Settings("train", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


# --- with the weights of rows ------------------------------------------------------------------------------


def weighted_rows(folder: Path, **changes: Any) -> tuple[Any, Dataset]:
    """A spec, and its data with weights of the training and the test rows."""
    loaded = load_spec(write_small(folder, BINARY, **changes))
    data = load_dataset(loaded.spec.dataset)
    assert data.test is not None
    rng = np.random.default_rng(5)
    parts = [
        Samples(part.inputs, part.targets, rng.uniform(0, 3, len(part)).astype(np.float32))
        for part in (data.train, data.test)
    ]
    return loaded, Dataset("made", *parts, data.sources, data.task, data.classes)  # type: ignore[arg-type]


def test_both_are_multiplied_while_training_and_rows_alone_count_when_measured(tmp_path: Path) -> None:
    loaded, data = weighted_rows(tmp_path, class_weight={"1": 4})
    (group,) = prepare_groups(loaded.spec, data)
    problem = training_problem(loaded.spec, group, data, CPU)
    assert data.train.weights is not None
    assert problem.head.weights is not None
    assert problem.head.training_weights is not None
    np.testing.assert_array_equal(problem.head.weights[0], data.train.weights)
    expected = data.train.weights * np.where(data.train.targets == 1, 4, 1)
    np.testing.assert_allclose(problem.head.training_weights[0], expected, rtol=1e-6)
    assert data.test is not None
    measured = make_problem(loaded.spec, group.network, group.fitted, data.test, CPU)
    assert measured.head.weights is not None
    np.testing.assert_array_equal(measured.head.weights[0], data.test.weights)


def test_the_losses_of_a_run_are_weighted_and_its_metrics_are_not(tmp_path: Path) -> None:
    """val_loss and the baseline's loss against those by hand; metrics as those of the same weights."""
    loaded, data = weighted_rows(tmp_path, epochs=1, class_weight="balanced")
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"), dataset=data)
    history = run.read_history()
    assert data.train.weights is not None
    state, network = standardized(run.read_preprocessing()), run.read_weights()
    x, y, w = (a[:16] for a in (data.train.inputs, data.train.targets, data.train.weights))
    h = np.maximum(
        (np.asarray(x) - state["mean"]) / state["std"] @ network["0.weight"].T + network["0.bias"], 0
    )
    p = 1 / (1 + np.exp(-(h @ network["1.weight"].T + network["1.bias"])[:, 0]))
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert history["val_loss"][0] == pytest.approx(float((losses * w).mean()), rel=1e-5)
    assert history["val_accuracy"][0] == pytest.approx(float(((p > 0.5) == y).mean()))
    share = np.average(data.train.targets[16:], weights=data.train.weights[16:])
    constant = -(y * np.log(share) + (1 - y) * np.log(1 - share))
    assert record_of(run.path)["baseline"]["loss"] == pytest.approx(float((constant * w).mean()), rel=1e-5)


def test_evaluation_repeats_the_val_loss_of_balanced_classes(tmp_path: Path) -> None:
    """What is measured knows nothing of the weights of classes."""
    loaded = load_small(tmp_path, BINARY, class_weight="balanced", arrays=yes_or_no())
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"))
    measured = evaluate_run(run, split="validation")
    last = run.read_history().iloc[-1]
    assert measured.scores["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-6)


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
    assert bool(rare_class_warnings(spec, load_data(spec))) == warned


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
    assert bool(rare_class_warnings(spec, load_data(spec))) == warned
