"""What a predictor that never looks at the inputs scores, computed again without nnrun."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

import nnrun
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.baseline import constant_scores, mean_of
from nnrun.model.activations import ACTIVATIONS
from nnrun.spec.ports import OUTPUT
from nnrun.spec.schema import decision_activation
from nnrun.training.losses import build_loss
from nnrun.training.metric_types import Scored
from nnrun.training.metrics import MetricTotals, build_metrics
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import Head, TargetRows, TrainingProblem
from tests.support.networks import stack
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, load_small, spec_text, yes_or_no


def scores(
    known: Tensor,
    targets: Tensor,
    *,
    outputs: int = 1,
    activation: str = "linear",
    weights: Tensor | None = None,
    **changes: Any,
) -> dict[str, float]:
    """The constant predictor's scores for targets, (n,) or (n, K), of a network with so many outputs."""
    layers = [{"dense": {"units": outputs, "activation": activation}}]
    spec = spec_text(layers=layers, **changes).spec
    network = stack(spec.layers, 3)
    unused: Any = None  # it never looks at the inputs
    decides_as = decision_activation(spec.loss, activation)
    metrics = build_metrics(spec.metrics, decides_as)
    head = Head(outputs, decides_as, build_loss(spec.loss), targets[None], metrics)
    problem = TrainingProblem(
        network, build_optimizer(spec.optimizer), unused, {OUTPUT: head}, batch_size=8, spec=spec
    )
    own = None if weights is None else weights[None]
    rows = [{OUTPUT: TargetRows(part[None], part[None], own)} for part in (known, targets)]
    return constant_scores(problem, *rows)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


# --- regression: the mean, the median, or the minimizer ----------------------------------------------------


def test_the_mean_and_the_median() -> None:
    found = scores(column(1, 2, 6), column(0, 3, 5), metrics=["mae", "mse", "rmse", "r2"])
    # It says 3 for squares, and so it errs by 3, 0 and 2; and 2 for distances.
    mse = (9 + 0 + 4) / 3
    r2 = 1 - mse / np.var([0, 3, 5])
    expected = {"loss": mse, "mae": (2 + 1 + 3) / 3, "mse": mse, "rmse": math.sqrt(mse), "r2": r2}
    assert found == pytest.approx(expected, rel=1e-6)


def test_huber_s_minimizer_is_found() -> None:
    found = scores(column(1, 2, 6), column(0, 3, 5), loss="huber", metrics=[])
    # The pulls on 2 are -1, 0 and 1, so it says 2 and errs by 2, 1 and 3.
    assert found == pytest.approx({"loss": (1.5 + 0.5 + 2.5) / 3}, rel=1e-6)


# Each with the last activation that it is made for.
LOSSES: list[Any] = [
    "mse", "mae", {"huber": 0.3}, {"huber": 2.0}, "log_cosh", "mape", "msle", {"quantile": 0.9},
    {"quantile": [0.2, 0.7]}, {"quantile": {"quantiles": [0.2, 0.7]}}, "poisson", "cosine_similarity",
]  # fmt: skip
CLASS_LOSSES: list[tuple[Any, str]] = [
    ("binary_crossentropy", "sigmoid"),
    ("binary_focal_crossentropy", "sigmoid"),
    ({"binary_focal_crossentropy": {"apply_class_balancing": True, "label_smoothing": 0.1}}, "sigmoid"),
    ("hinge", "linear"),
    ("squared_hinge", "linear"),
    ("dice", "sigmoid"),
    ({"tversky": {"alpha": 0.2, "beta": 0.9}}, "sigmoid"),
    ("categorical_crossentropy", "softmax"),
    ("categorical_focal_crossentropy", "softmax"),
    ({"categorical_focal_crossentropy": {"gamma": 0.5, "label_smoothing": 0.2}}, "softmax"),
    ("kl_divergence", "softmax"),
    ("categorical_hinge", "linear"),
    ("dice", "softmax"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_constant_has_a_lower_loss(loss: Any, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.lognormal(0, 1, (31, 2)).astype(np.float32))
    w = torch.from_numpy(rng.integers(0, 4, 31).astype(np.float32)) if weighted else None
    activation = "exponential" if loss == "poisson" else "linear"
    made: dict[str, Any] = {"outputs": 2, "activation": activation, "loss": loss, "metrics": []}
    found = scores(y, y, weights=w, **made)["loss"]
    layers = [{"dense": {"units": 2, "activation": activation}}]
    start = y.mean(0).log() if loss == "poisson" else y.mean(0)
    best = least(spec_text(loss=loss, layers=layers, metrics=[]).spec.loss, activation, y, w, start)
    assert found <= best + 1e-6
    assert found == pytest.approx(best, rel=1e-4)


def least(loss: Any, activation: str, y: Tensor, w: Tensor | None, *starts: Tensor) -> float:
    """The least loss of any constant that scipy finds from one of these values before the activation."""
    row_loss = build_loss(loss)

    def of(constant: np.ndarray) -> float:
        z = torch.tensor(constant, dtype=torch.float64).expand(1, *y.shape)
        losses = row_loss(z, ACTIVATIONS[activation](z), y.double()[None])
        value = float((losses if w is None else losses * w).mean())
        return value if math.isfinite(value) else math.inf

    options = {"xatol": 1e-7, "fatol": 1e-10, "maxfev": 500}
    found = [minimize(of, start.numpy(), method="Nelder-Mead", options=options).fun for start in starts]
    return float(min(found))


@pytest.mark.parametrize(("loss", "activation"), CLASS_LOSSES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("even", [False, True], ids=["majority", "no majority"])
def test_no_other_constant_has_a_lower_loss_of_classes(
    loss: Any, activation: str, weighted: bool, even: bool
) -> None:
    """With a class that most rows have, and without."""
    rng = np.random.default_rng(3)
    several = activation == "softmax" or loss == "categorical_hinge"
    shares = [0.35, 0.4, 0.25] if even else [0.15, 0.7, 0.15]
    y = np.eye(3)[rng.choice(3, 40, p=shares)] if several else rng.random((40, 3)) < shares
    targets = torch.from_numpy(y.astype(np.float32))
    w = torch.from_numpy(rng.integers(0, 4, 40).astype(np.float32)) if weighted else None
    made: dict[str, Any] = {"outputs": 3, "activation": activation, "loss": loss, "metrics": []}
    found = scores(targets, targets, weights=w, **made)["loss"]
    layers = [{"dense": {"units": 3, "activation": activation}}]
    built = spec_text(loss=loss, layers=layers, metrics=[]).spec.loss
    best = least(built, activation, targets, w, torch.tensor([-1.0, 0.9, -1]))
    assert found <= best + 1e-5
    if loss != "dice" and "tversky" not in loss:  # they have several valleys, of which scipy looks into one
        assert found == pytest.approx(best, rel=2e-3, abs=1e-4)


def test_several_columns_have_each_their_mean() -> None:
    known = torch.tensor([[0.0, 10.0], [2.0, 20.0]])  # it says 1 and 15
    targets = torch.tensor([[1.0, 15.0], [3.0, 18.0]])
    found = scores(known, targets, outputs=2)
    assert found == pytest.approx({"loss": (4 + 9) / 4, "mae": (2 + 3) / 4})


def test_on_what_it_knows_the_mean_explains_nothing() -> None:
    rows = column(1, 2, 6)
    assert scores(rows, rows, metrics=["r2"])["r2"] == pytest.approx(0, abs=1e-6)


# --- classes: their shares ---------------------------------------------------------------------------------


def test_yes_or_no() -> None:
    """It says 3/4 for every row: yes, since that is the majority."""
    found = scores(
        column(1, 1, 1, 0),
        column(1, 0, 0, 0, 0),
        activation="sigmoid",
        loss="binary_crossentropy",
        metrics=["accuracy", "auc", "recall"],
    )
    assert found == pytest.approx(
        {
            "loss": -(math.log(3 / 4) + 4 * math.log(1 / 4)) / 5,
            "accuracy": 1 / 5,
            "auc": 0.5,
            "recall": 1,
            "accuracy_shuffled": (1 / 5) ** 2 + (4 / 5) ** 2,
        },
        rel=1e-6,
    )


KNOWN = [0, 0, 0, 1, 2, 2]
SCORED = [0, 1, 1, 2]


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_several_classes(loss: str) -> None:
    known, targets = torch.tensor(KNOWN), torch.tensor(SCORED)
    if loss == "categorical_crossentropy":
        known, targets = torch.eye(3)[known], torch.eye(3)[targets]
    found = scores(
        known, targets, outputs=3, activation="softmax", loss=loss, metrics=["accuracy", {"top_k": 2}]
    )
    entropy = -(math.log(3 / 6) + 2 * math.log(1 / 6) + math.log(2 / 6)) / 4
    shuffled = (1 / 4) ** 2 + (2 / 4) ** 2 + (1 / 4) ** 2
    expected = {"loss": entropy, "accuracy": 1 / 4, "top_k": 2 / 4, "accuracy_shuffled": shuffled}
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_class_that_no_training_row_has_costs_much_and_not_infinitely_much() -> None:
    found = scores(
        torch.tensor([0, 0, 1]),
        torch.tensor([2, 0]),
        outputs=3,
        activation="softmax",
        loss="sparse_categorical_crossentropy",
        metrics=[],
    )
    assert found == pytest.approx({"loss": -(math.log(1e-7) + math.log(2 / 3)) / 2}, rel=1e-5)
    found = scores(column(1, 1), column(0, 1), activation="sigmoid", loss="binary_crossentropy", metrics=[])
    assert found == pytest.approx({"loss": -math.log(1e-7) / 2}, rel=1e-2)


def test_rows_with_several_labels_have_no_order_to_shuffle() -> None:
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    found = scores(
        labels, labels, outputs=2, activation="sigmoid", loss="binary_crossentropy", metrics=["accuracy"]
    )
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert found == pytest.approx({"loss": entropy, "accuracy": 2 / 3}, rel=1e-6)


def test_the_mean_over_folds() -> None:
    assert mean_of([{"loss": 1.0, "mae": 2.0}, {"loss": 3.0, "mae": 2.5}]) == {"loss": 2, "mae": 2.25}


# --- beside a run ------------------------------------------------------------------------------------------


def baseline_of(folder: Path, spec: dict[str, Any], **changes: Any) -> dict[str, float]:
    run = run_experiment(load_small(folder, spec, **changes), Settings("train", folder / "runs"))
    found = run.read_record().baseline
    assert isinstance(found, dict)
    return found


def test_each_fold_knows_its_own_training_rows(tmp_path: Path) -> None:
    found = baseline_of(tmp_path, REGRESSION, validation=KFOLD)
    y = np.load(tmp_path / "small.npz")["y_train"]
    maes = []
    for fold in range(3):
        validates = np.arange(48) // 16 == fold
        maes.append(np.abs(y[validates] - np.median(y[~validates])).mean())
    assert found["mae"] == pytest.approx(np.mean(maes), rel=1e-6)


def test_without_validation_it_is_measured_on_the_training_rows(tmp_path: Path) -> None:
    found = baseline_of(tmp_path, BINARY, validation="none")
    share = yes_or_no()["y_train"].mean()
    assert share > 0.5
    assert found["accuracy"] == pytest.approx(share)
    assert found["loss"] == pytest.approx(
        -(share * math.log(share) + (1 - share) * math.log(1 - share)), rel=1e-6
    )


def test_boston_s_mean_and_median(specs_dir: Path, tmp_path: Path) -> None:
    """The folds are contiguous, and so they are easy to cut by hand."""
    run = nnrun.train(
        specs_dir / "boston.yaml", overrides={"epochs": 1, "batch_size": 64}, runs_dir=tmp_path / "runs"
    )
    y = _boston_targets()[:404]
    maes, squares = [], []
    for part in np.array_split(np.arange(404), 4):
        others = np.delete(y, part)
        maes.append(np.abs(y[part] - np.median(others)).mean())
        squares.append(((y[part] - others.mean()) ** 2).mean())
    expected = {"loss": np.mean(squares), "mae": np.mean(maes)}
    assert run.baseline == pytest.approx(expected, rel=1e-6)


def _boston_targets() -> np.ndarray:
    """All 506 prices in Keras's order."""
    path = Path(nnrun.__file__).parent / "data" / "sources" / "bundled" / "boston_house_prices.csv"
    prices = np.loadtxt(path, delimiter=",", skiprows=2)[:, -1]
    order = np.arange(506)
    np.random.RandomState(113).shuffle(order)
    prices = prices[order]
    assert prices[:3].tolist() == [15.2, 42.3, 50.0]  # as the book prints them
    assert prices[401:404].tolist() == [19.4, 19.4, 29.1]
    return prices


def test_reuters_s_shuffled_labels(specs_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    """The book's listing 3.21: test labels agree with themselves in another order in 0.19 of the cases."""
    run = nnrun.final(
        specs_dir / "reuters.yaml",
        epochs=1,
        overrides={
            "dataset.reuters.num_words": 200,
            "layers[0].dense.units": 46,
            "layers[1].dense.units": 46,
        },
        data_dir=data_dir,
        runs_dir=tmp_path / "runs",
    )
    labels = np.load(data_dir / "reuters.npz")["y"]
    order = np.arange(len(labels))
    np.random.RandomState(113).shuffle(order)
    train, test = np.split(labels[order], [8982])
    assert len(test) == 2246
    rng = np.random.RandomState(0)
    agreements = [(rng.permutation(test) == test).mean() for _ in range(20)]
    assert run.baseline["accuracy_shuffled"] == pytest.approx(np.mean(agreements), abs=0.005)
    assert run.baseline["accuracy_shuffled"] == pytest.approx(0.19, abs=0.01)
    majority = np.bincount(train).argmax()
    assert run.baseline["accuracy"] == pytest.approx((test == majority).mean())
    assert run.test["accuracy"] > run.baseline["accuracy"]


BINARY_LOSS: dict[str, Any] = {
    "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
    "loss": "binary_crossentropy",
}
DECIDED = ["balanced_accuracy", "specificity", "mcc", "cohen_kappa"]


@pytest.mark.parametrize("metric", DECIDED)
@pytest.mark.parametrize("labels", [1, 3])
def test_no_other_decision_for_all_rows_has_a_higher_score(metric: str, labels: int) -> None:
    rng = np.random.default_rng(4)
    targets = torch.from_numpy((rng.random((30, labels)) < [0.3, 0.6, 0.8][:labels]).astype(np.float32))
    made: dict[str, Any] = {"outputs": labels, "activation": "sigmoid", "loss": "binary_crossentropy"}
    found = scores(targets, targets, metrics=[metric], **made)[metric]
    (built,) = build_metrics(spec_text(metrics=[metric], **BINARY_LOSS).spec.metrics, "sigmoid")
    others = []
    for said in np.ndindex(*(2,) * labels):
        z = (200 * torch.tensor(said, dtype=torch.float64) - 100).expand(1, 30, labels)
        totals = MetricTotals([built], 1)
        totals.add([0], Scored(z, torch.sigmoid(z), targets[None]))
        others.append(totals.values(0)[metric])
    assert found == pytest.approx(max(others))
