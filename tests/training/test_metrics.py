"""One contract over every metric, however rows are batched; the values are scikit-learn's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from nnrun.model.activations import ACTIVATIONS
from nnrun.spec import schema
from nnrun.spec.lint import lint
from nnrun.training.metric_types import Scored
from nnrun.training.metrics import METRICS, MetricTotals, build_metrics
from nnrun.training.rankings import area_under_roc, log_odds
from nnrun.validation.summary import monitor_mode
from tests.support.example_tables import line_for

# `character_error_rate` compares sequences with steps: `test_ctc.py`.
KINDS = {
    kind: cls for kind, cls in schema.components(schema.Metric).items() if kind != "character_error_rate"
}
CLASSES = 7  # more than the five of `top_k`
seeds = st.integers(0, 2**32)


def logit(probability: float) -> float:
    """The value that a sigmoid makes this probability of."""
    return math.log(probability) - math.log1p(-probability)


def example(kind: str) -> schema.Component:
    """A metric with nothing but what a spec must say of it."""
    cls = KINDS[kind]
    values = {int: 2, float: 0.5}
    required = {k: field.annotation for k, field in cls.model_fields.items() if field.is_required()}
    return cls.model_validate({name: values[annotation] for name, annotation in required.items()})


@dataclass(frozen=True)
class Form:
    """A loss and a last layer, which decide how outputs and targets look."""

    loss: str
    activation: str
    units: int

    def __str__(self) -> str:
        return f"{self.loss} of {self.units} {self.activation}"

    def allows(self, kind: str) -> bool:
        """Whether a spec may ask for this metric: what lint lets through must work."""
        spec = schema.ExperimentSpec(
            dataset=schema.Npz(path="rows.npz"),
            layers=[schema.Dense(units=self.units, activation=self.activation)],
            loss=self.loss,
            metrics=[example(kind)],
        )
        return not [finding for finding in lint(spec) if finding.severity == "error"]

    def draw(self, rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Values before the activation (..., K), coarse for the sake of ties; targets (..., K) or (...)."""
        z = rng.integers(-6, 7, (*shape, self.units)) / 4
        if self.activation == "softmax":
            targets = rng.integers(0, self.units, shape)
            if not self.loss.startswith("sparse"):
                targets = np.eye(self.units, dtype=np.float32)[targets]
        elif self.activation == "sigmoid":
            targets = rng.integers(0, 2, z.shape).astype(np.float32)
        else:
            targets = rng.normal(size=z.shape).astype(np.float32)
        return z.astype(np.float32), targets

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """What the activation makes of these values, as far as float32 has it."""
        return ACTIVATIONS[self.activation](torch.from_numpy(z)).numpy()

    def perfect(self, targets: np.ndarray) -> np.ndarray:
        """The values before the activation that say just what the targets say."""
        ones = np.eye(self.units, dtype=np.float32)[targets] if self.loss.startswith("sparse") else targets
        return ones if self.activation == "linear" else np.where(ones > 0.5, 200, -200).astype(np.float32)


FORMS = [
    Form("mse", "linear", 1),
    Form("huber", "linear", 2),
    Form("mse", "sigmoid", 1),
    Form("binary_crossentropy", "sigmoid", 1),
    Form("binary_crossentropy", "sigmoid", 3),
    Form("categorical_crossentropy", "softmax", CLASSES),
    Form("sparse_categorical_crossentropy", "softmax", CLASSES),
]
ALLOWED = [(kind, form) for kind in KINDS for form in FORMS if form.allows(kind)]


def scored(form: Form, z: np.ndarray, targets: np.ndarray) -> Scored:
    """Of (R, n, K) values before the activation."""
    return Scored(*(torch.from_numpy(part) for part in (z, form.outputs(z), targets)))


def measure(spec: schema.Component, form: Form, z: np.ndarray, targets: np.ndarray) -> float:
    """The metric of (N, K) values before the activation that came in one batch."""
    totals = MetricTotals(build_metrics([spec], form.activation), 1)
    totals.add([0], scored(form, z[None], targets[None]))
    return totals.values(0)[spec.kind]


# --- the contract ------------------------------------------------------------------------------------------


def test_every_metric_of_the_schema_has_its_function_and_a_network_to_measure() -> None:
    assert set(METRICS) == {*KINDS.values(), schema.CharacterErrorRate, schema.CustomMetric}
    assert {kind for kind, _ in ALLOWED} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_is_one_of_classes_or_one_of_numbers(kind: str) -> None:
    """Lint and the comparison of runs ask for one of the two; a `BuiltInMetric` alone would escape both."""
    assert issubclass(KINDS[kind], (schema.ClassMetric, schema.NumberMetric))


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
def test_a_metric_is_a_finite_number_under_its_own_name(kind: str, form: Form) -> None:
    outputs, targets = form.draw(np.random.default_rng(1), 40)
    (metric,) = build_metrics([example(kind)], form.activation)
    assert metric.name == kind
    value = measure(example(kind), form, outputs, targets)
    assert type(value) is float
    assert math.isfinite(value)


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
def test_perfect_outputs_are_better_than_any_others(kind: str, form: Form) -> None:
    """In the direction that early stopping and the best epoch take for better."""
    outputs, targets = form.draw(np.random.default_rng(1), 40)
    best = measure(example(kind), form, form.perfect(targets), targets)
    other = measure(example(kind), form, outputs, targets)
    if monitor_mode(f"val_{kind}") == "max":
        assert best == pytest.approx(1, rel=1e-12)
        assert best > other
    else:
        assert best == pytest.approx(0, abs=1e-12)
        assert best < other


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
@settings(max_examples=20)
@given(seed=seeds, rows=st.integers(2, 30), cuts=st.lists(st.integers(1, 29), max_size=5))
def test_it_does_not_matter_how_the_rows_were_batched(
    kind: str, form: Form, seed: int, rows: int, cuts: list[int]
) -> None:
    outputs, targets = form.draw(np.random.default_rng(seed), rows)
    totals = MetricTotals(build_metrics([example(kind)], form.activation), 1)
    edges = sorted({0, rows, *(cut for cut in cuts if cut < rows)})
    for start, end in pairwise(edges):
        totals.add([0], scored(form, outputs[None, start:end], targets[None, start:end]))
    assert totals.rows.tolist() == [rows]
    whole = measure(example(kind), form, outputs, targets)
    assert totals.values(0)[kind] == pytest.approx(whole, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
def test_each_replica_is_measured_by_its_own_rows(kind: str, form: Form) -> None:
    """Replicas add batches together and apart, as folds of unequal length do."""
    rng = np.random.default_rng(2)
    lengths = [12, 9, 14]
    data = [form.draw(rng, length) for length in lengths]
    totals = MetricTotals(build_metrics([example(kind)], form.activation), 3)
    steps: list[tuple[list[int], int, int]] = [([0, 1, 2], 0, 8), ([1], 8, 9), ([0, 2], 8, 12), ([2], 12, 14)]
    for places, start, end in steps:
        outputs, targets = (np.stack([data[p][i][start:end] for p in places]) for i in (0, 1))
        totals.add(places, scored(form, outputs, targets))
    assert totals.rows.tolist() == lengths
    for place, (outputs, targets) in enumerate(data):
        alone = measure(example(kind), form, outputs, targets)
        assert totals.values(place) == {kind: pytest.approx(alone, rel=1e-9)}


def test_several_metrics_are_columns_in_the_order_of_the_spec() -> None:
    specs = [schema.Auc(), schema.Recall(), schema.Accuracy()]
    form = Form("binary_crossentropy", "sigmoid", 1)
    outputs, targets = form.draw(np.random.default_rng(3), 20)
    totals = MetricTotals(build_metrics(specs, form.activation), 1)
    totals.add([0], scored(form, outputs[None], targets[None]))
    found = totals.values(0)
    assert list(found) == ["auc", "recall", "accuracy"]
    assert found == {spec.kind: measure(spec, form, outputs, targets) for spec in specs}


# --- scikit-learn's values ---------------------------------------------------------------------------------


def sklearn_says(spec: Any, form: Form, z: np.ndarray, targets: np.ndarray) -> float:
    """The same metric by scikit-learn, in float64."""
    outputs, z = form.outputs(z).astype(float), z.astype(float)
    targets = targets.astype(float) if targets.dtype == np.float32 else targets
    match spec.kind:
        case "mae":
            return float(sklearn.mean_absolute_error(targets, outputs))
        case "mse":
            return float(sklearn.mean_squared_error(targets, outputs))
        case "rmse":  # Keras's root is taken once, over rows and outputs
            return math.sqrt(sklearn.mean_squared_error(targets, outputs))
        case "r2":
            return float(sklearn.r2_score(targets, outputs))
        case "mape":  # in percent
            nonzero = np.where(np.abs(targets) < 1e-7, 1e-7, targets)  # scikit-learn's limit is smaller
            return 100 * float(np.mean(np.abs(targets - outputs) / np.abs(nonzero)))
        case "msle":
            return float(sklearn.mean_squared_log_error(np.maximum(targets, 0), np.maximum(outputs, 0)))
        case "median_ae":
            return float(sklearn.median_absolute_error(targets, outputs))
        case "explained_variance":
            return float(sklearn.explained_variance_score(targets, outputs))
        case "pearson":
            pairs = [np.stack([targets[:, k], outputs[:, k]]) for k in range(outputs.shape[1])]
            varied = all(np.ptp(pair, axis=1).all() for pair in pairs)
            return float(np.mean([np.corrcoef(pair)[0, 1] for pair in pairs])) if varied else math.nan
        case "d2":
            return float(sklearn.d2_absolute_error_score(targets, outputs))
    if form.activation == "softmax":
        true = targets.argmax(-1) if targets.ndim == 2 else targets
        macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
        match spec.kind:
            case "accuracy":
                return float(sklearn.accuracy_score(true, z.argmax(-1)))
            case "balanced_accuracy" | "mcc" | "cohen_kappa":
                return of_confusion(spec, true, z.argmax(-1))
            case "specificity":  # one class against the others
                held = np.union1d(true, z.argmax(-1))
                negative = [(true != k, z.argmax(-1) != k) for k in held]
                return float(np.mean([sklearn.recall_score(*pair, zero_division=0) for pair in negative]))
            case "log_loss":
                probabilities = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
                return float(sklearn.log_loss(true, probabilities, labels=range(CLASSES)))
            case "brier":
                probabilities = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
                return float(((probabilities - np.eye(CLASSES)[true]) ** 2).sum(-1).mean())
            case "auc":
                probabilities = ACTIVATIONS["softmax"](torch.from_numpy(z)).numpy()
                held = np.unique(true)
                return float(np.mean([sklearn.roc_auc_score(true == k, probabilities[:, k]) for k in held]))
            case "precision":
                return float(sklearn.precision_score(true, z.argmax(-1), **macro))
            case "recall":
                return float(sklearn.recall_score(true, z.argmax(-1), **macro))
            case "f1":
                return float(sklearn.f1_score(true, z.argmax(-1), **macro))
            case "average_precision":  # one class against the others
                probabilities = ACTIVATIONS["softmax"](torch.from_numpy(z)).numpy()
                scores = [
                    sklearn.average_precision_score(true == k, probabilities[:, k]) for k in np.unique(true)
                ]
                return float(np.mean(scores))
            case "top_k":
                labels = range(CLASSES)
                return float(sklearn.top_k_accuracy_score(true, z, k=spec.k, labels=labels))
    # One label, or several of a row, each counted for itself (micro).
    true, threshold = targets.ravel(), getattr(spec, "threshold", 0.5)
    chosen = (z.astype(np.float32) > np.float32(logit(threshold))).ravel().astype(float)
    scores = {
        "auc": lambda t, _: sklearn.roc_auc_score(t, z.ravel()),
        "balanced_accuracy": lambda t, c: of_confusion(spec, t, c),
        "mcc": lambda t, c: of_confusion(spec, t, c),
        "cohen_kappa": lambda t, c: of_confusion(spec, t, c),
        "specificity": lambda t, c: sklearn.recall_score(1 - t, 1 - c, zero_division=0),
        "log_loss": lambda t, _: sklearn.log_loss(t, 1 / (1 + np.exp(-z.ravel())), labels=[0, 1]),
        "brier": lambda t, _: ((outputs.ravel() - t) ** 2).mean(),
        "average_precision": lambda t, _: sklearn.average_precision_score(t, z.ravel()),
        "f1": lambda t, c: sklearn.f1_score(t, c, zero_division=0),
        "accuracy": sklearn.accuracy_score,
        "precision": lambda t, c: sklearn.precision_score(t, c, zero_division=0),
        "recall": lambda t, c: sklearn.recall_score(t, c, zero_division=0),
    }
    score = line_for(scores, spec.kind, "`sklearn_says` of tests/training/test_metrics.py")
    return float(score(true, chosen))


def of_confusion(spec: Any, true: np.ndarray, predicted: np.ndarray) -> float:
    """What scikit-learn makes of the confusion matrix."""
    if spec.kind == "mcc":
        if len(np.union1d(true, predicted)) == 1:  # scikit-learn warns, and gives 0
            return 0.0
        return float(sklearn.matthews_corrcoef(true, predicted))
    if spec.kind == "cohen_kappa":
        weights, labels = None if spec.weights == "none" else spec.weights, range(max(2, int(true.max()) + 1))
        labels = range(max(len(labels), int(predicted.max()) + 1))
        return float(sklearn.cohen_kappa_score(true, predicted, labels=list(labels), weights=weights))
    return float(np.mean([np.mean(predicted[true == k] == k) for k in np.unique(true)]))


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
@settings(max_examples=30)
@given(seed=seeds, rows=st.integers(2, 40))
def test_the_value_is_scikit_learn_s(kind: str, form: Form, seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, targets = form.draw(rng, rows)
    if kind in ("auc", "average_precision", "r2", "cohen_kappa") and form.activation == "sigmoid":
        targets[:2] = [[0], [1]]  # neither says anything where all targets are the same: see below
    if kind == "top_k":  # scikit-learn breaks ties by the class's number
        outputs = rng.permuted(np.tile(np.arange(CLASSES, dtype=np.float32), (rows, 1)), axis=1)
    if kind in ("auc", "cohen_kappa") and form.activation == "softmax":  # of two classes at least
        targets[:2] = [0, 1] if targets.ndim == 1 else np.eye(CLASSES)[:2]
    if kind in ("auc", "average_precision") and form.activation == "softmax":
        # Else rounding decides what is a tie.
        outputs = rng.normal(size=outputs.shape).astype(np.float32)[rng.integers(0, rows, rows)]
    spec = example(kind)
    expected = sklearn_says(spec, form, outputs, targets)
    found = measure(spec, form, outputs, targets)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=kind == "pearson")


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("kind", ["precision", "recall", "f1"])
@pytest.mark.parametrize("units", [1, 3])
def test_a_threshold_decides_what_counts_as_positive(kind: str, threshold: float, units: int) -> None:
    form = Form("binary_crossentropy", "sigmoid", units)
    outputs, targets = form.draw(np.random.default_rng(4), 60)
    outputs[0] = np.float32(logit(threshold))  # as large is not larger
    spec = KINDS[kind].model_validate({"threshold": threshold})
    expected = sklearn_says(spec, form, outputs, targets)
    assert measure(spec, form, outputs, targets) == pytest.approx(expected)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_a_mistake_of_kappa_counts_by_the_distance_of_the_classes(weights: Any) -> None:
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    outputs, targets = form.draw(np.random.default_rng(6), 60)
    spec = schema.CohenKappa(weights=weights)
    assert measure(spec, form, outputs, targets) == pytest.approx(sklearn_says(spec, form, outputs, targets))


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_d2_of_a_quantile_is_that_of_its_pinball_loss(quantile: float) -> None:
    form = Form("mse", "linear", 1)
    outputs, targets = form.draw(np.random.default_rng(7), 61)
    expected = sklearn.d2_pinball_score(targets, outputs, alpha=quantile)
    assert measure(schema.D2(quantile=quantile), form, outputs, targets) == pytest.approx(expected)


def test_log_loss_of_large_values_is_not_cut_off() -> None:
    form, z = Form("binary_crossentropy", "sigmoid", 1), np.array([[900.0], [-900.0]], np.float32)
    assert measure(schema.LogLoss(), form, z, np.array([[0.0], [0.0]], np.float32)) == pytest.approx(450)


@pytest.mark.parametrize("kind", ["cohen_kappa", "pearson"])
def test_what_cannot_vary_has_no_agreement(kind: str) -> None:
    form = Form("mse", "linear", 1) if kind == "pearson" else Form("binary_crossentropy", "sigmoid", 1)
    zeros = np.zeros((5, 1), np.float32)
    assert math.isnan(measure(KINDS[kind](), form, zeros, zeros))


@pytest.mark.parametrize("k", [1, 2, 6])
def test_top_k_of_one_is_accuracy_and_of_more_is_more(k: int) -> None:
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    rng = np.random.default_rng(5)
    outputs = rng.normal(size=(80, CLASSES)).astype(np.float32)
    targets = rng.integers(0, CLASSES, 80)
    found = measure(schema.TopK(k=k), form, outputs, targets)
    assert found == pytest.approx(sklearn.top_k_accuracy_score(targets, outputs, k=k))
    if k == 1:
        assert found == measure(schema.Accuracy(), form, outputs, targets)


# --- where the data do not say -----------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    positive = [score for score, is_positive in pairs if is_positive]
    negative = [score for score, is_positive in pairs if not is_positive]
    found = area_under_roc(np.array([s for s, _ in pairs], float), np.array([p for _, p in pairs]))
    if not positive or not negative:
        assert math.isnan(found)
        return
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert found == pytest.approx(sum(wins) / len(wins))


@pytest.mark.parametrize("kind", ["precision", "recall", "f1"])
def test_with_nothing_to_count_precision_and_recall_are_zero(kind: str) -> None:
    form = Form("binary_crossentropy", "sigmoid", 1)
    nobody = np.zeros((5, 1), np.float32)
    assert measure(KINDS[kind](), form, nobody - 3, nobody) == 0


@pytest.mark.parametrize("kind", ["auc", "average_precision"])
def test_without_positives_a_ranking_has_no_value(kind: str) -> None:
    form = Form("binary_crossentropy", "sigmoid", 1)
    nobody = np.zeros((5, 1), np.float32)
    assert math.isnan(measure(KINDS[kind](), form, nobody, nobody))


# --- what rounding must not decide -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["auc", "average_precision"])
@pytest.mark.parametrize(("low", "high"), [(90, 100), (12, 20), (-120, -90), (9_990, 10_010)])
def test_rankings_of_large_values_are_those_before_the_sigmoid(kind: str, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (200, 1)).astype(np.float32)
    z = (rng.uniform(low, high, (200, 1)) + targets * (high - low) * 0.3).astype(np.float32)
    expected = {"auc": sklearn.roc_auc_score, "average_precision": sklearn.average_precision_score}[kind]
    found = measure(KINDS[kind](), Form("binary_crossentropy", "sigmoid", 1), z, targets)
    assert found == pytest.approx(float(expected(targets[:, 0], z[:, 0].astype(float))), rel=1e-12)


def test_classes_of_large_values_keep_their_order() -> None:
    """All probabilities are 0 or 1 in float32; the odds still tell them apart."""
    rng = np.random.default_rng(1)
    true = rng.integers(0, 3, 120)
    z = (rng.normal(0, 300, (120, 3)) + 200 * np.eye(3)[true]).astype(np.float32)
    form = Form("sparse_categorical_crossentropy", "softmax", 3)
    others = [np.delete(z, k, axis=1).astype(float).max(1) for k in range(3)]  # the odds, but for 1e-100
    expected = [sklearn.average_precision_score(true == k, z[:, k] - others[k]) for k in range(3)]
    assert measure(schema.AveragePrecision(), form, z, true) == pytest.approx(np.mean(expected))
    ranks = measure(schema.TopK(k=2), form, z, true)
    assert ranks == sklearn.top_k_accuracy_score(true, z, k=2)


@given(seed=seeds, scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_odds_are_those_of_the_probabilities(seed: int, scale: float) -> None:
    z = np.random.default_rng(seed).normal(0, scale, (5, 4))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert log_odds(z) == pytest.approx(np.log(p / (1 - p)), rel=1e-6, abs=1e-9)


@given(seed=seeds, rows=st.integers(1, 8), classes=st.integers(2, 6))
def test_log_odds_where_classes_are_equally_probable(seed: int, rows: int, classes: int) -> None:
    """Also of those that share the highest probability; rows of the same values in another order tie."""
    rng = np.random.default_rng(seed)
    z = rng.integers(-2, 3, (rows, classes)).astype(np.float32) / 2
    p = np.exp(z.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    odds = log_odds(z)
    assert odds == pytest.approx(np.log(p / (1 - p)), rel=1e-9, abs=1e-9)
    order = rng.permutation(classes)
    assert (log_odds(z[:, order]) == odds[:, order]).all()


def test_a_value_barely_above_the_threshold_counts() -> None:
    """Its probability is 0.5 in float32."""
    z, targets = np.array([[1e-9], [-1e-9]], np.float32), np.array([[1.0], [0.0]], np.float32)
    form = Form("binary_crossentropy", "sigmoid", 1)
    assert (form.outputs(z) == 0.5).all()
    assert [measure(KINDS[kind](), form, z, targets) for kind in ("accuracy", "recall", "f1")] == [1, 1, 1]


@given(seed=seeds, rows=st.integers(1, 20), k=st.integers(1, 6))
def test_ties_count_by_the_chance_of_a_fair_draw(seed: int, rows: int, k: int) -> None:
    """The mean over all ways to break the ties is what drawing among them gives in the long run."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 3, (rows, CLASSES)).astype(np.float32)
    true = rng.integers(0, CLASSES, rows)
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    chances = []
    for row, label in zip(z, true, strict=True):
        above, tied = (row > row[label]).sum(), (row == row[label]).sum()
        places = [above + place < k for place in range(tied)]  # each as likely as the others
        chances.append(np.mean(places))
    assert measure(schema.TopK(k=k), form, z, true) == pytest.approx(np.mean(chances))


def test_a_constant_has_the_top_k_of_a_fair_draw() -> None:
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    true = np.arange(70) % CLASSES
    assert measure(schema.TopK(k=3), form, np.zeros((70, CLASSES), np.float32), true) == pytest.approx(3 / 7)


@pytest.mark.parametrize("kind", ["precision", "recall", "f1"])
def test_classes_that_neither_rows_nor_predictions_have_are_left_out(kind: str) -> None:
    rng = np.random.default_rng(2)
    true, predicted = rng.integers(0, 3, 50), rng.integers(1, 4, 50)  # of seven classes
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    z = 5 * np.eye(CLASSES, dtype=np.float32)[predicted]
    score = getattr(sklearn, f"{kind}_score")
    expected = score(true, predicted, average="macro", zero_division=0)
    assert measure(KINDS[kind](), form, z, true) == pytest.approx(expected)


@pytest.mark.parametrize("error", [0.0, 0.5])
@settings(max_examples=50)
@given(constant=st.floats(-1e3, 1e3, width=32), rows=st.integers(2, 500))
def test_r2_of_targets_that_are_all_the_same(error: float, constant: float, rows: int) -> None:
    """scikit-learn's 1 for perfect outputs, its and Keras's 0 for others.

    Rounding must not decide: a spread of 1e-12 instead of 0 would make any number of it, one far above 1 too,
    and that would be the best epoch.
    """
    targets = np.full((rows, 1), constant, np.float32)
    outputs = targets + np.float32(error)
    assert measure(schema.R2(), Form("mse", "linear", 1), outputs, targets) == (0 if error else 1)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_r2_of_one_row_is_no_number(error: float) -> None:
    targets = np.full((1, 1), 3.0, np.float32)
    assert math.isnan(measure(schema.R2(), Form("mse", "linear", 1), targets + np.float32(error), targets))


@given(seed=seeds, mean=st.sampled_from([0.0, 1.0, 1e3, -1e4, 1e6, 1e9]))
def test_r2_is_right_for_targets_far_from_zero(seed: int, mean: float) -> None:
    """Their squares would swallow the spread; float64 targets, as scaled ones are in their own units."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(mean, 1, (60, 1))
    outputs = targets + rng.normal(0, 0.5, targets.shape)
    expected = sklearn.r2_score(targets - mean, outputs - mean)
    form, totals = Form("mse", "linear", 1), MetricTotals(build_metrics([schema.R2()], "linear"), 1)
    for start in range(0, 60, 7):
        rows = slice(start, start + 7)
        totals.add([0], scored(form, outputs[None, rows], targets[None, rows]))
    assert totals.values(0)["r2"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("kind", "form"), [(k, f) for k, f in ALLOWED if monitor_mode(k) == "max"], ids=str)
def test_outputs_that_are_no_numbers_are_never_perfect(kind: str, form: Form) -> None:
    """A network that diverged must not look like the best there ever was."""
    _, targets = form.draw(np.random.default_rng(6), 40)
    outputs = np.full((40, form.units), np.nan, np.float32)
    found = measure(example(kind), form, outputs, targets)
    assert math.isnan(found) or found < 1
