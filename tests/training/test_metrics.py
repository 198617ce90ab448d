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

from nnrun.spec import schema
from nnrun.spec.lint import lint
from nnrun.training.metrics import METRICS, MetricTotals, area_under_roc, build_metrics
from nnrun.validation.summary import monitor_mode

KINDS = schema.components(schema.Metric)
CLASSES = 7  # more than the five of `top_k`
seeds = st.integers(0, 2**32)


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
        """Outputs (..., K) and targets (..., K) or (...): coarse, so that there are ties."""
        scores = rng.integers(-6, 7, (*shape, self.units)) / 4
        if self.activation == "softmax":
            outputs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            targets = rng.integers(0, self.units, shape)
            if not self.loss.startswith("sparse"):
                targets = np.eye(self.units, dtype=np.float32)[targets]
        elif self.activation == "sigmoid":
            outputs = 1 / (1 + np.exp(-scores))
            targets = rng.integers(0, 2, scores.shape).astype(np.float32)
        else:
            outputs, targets = scores, rng.normal(size=scores.shape).astype(np.float32)
        return outputs.astype(np.float32), targets

    def perfect(self, targets: np.ndarray) -> np.ndarray:
        """The outputs that say just what the targets say."""
        return np.eye(self.units, dtype=np.float32)[targets] if self.loss.startswith("sparse") else targets


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


def measure(spec: schema.Component, form: Form, outputs: np.ndarray, targets: np.ndarray) -> float:
    """The metric of (N, K) outputs that came in one batch."""
    totals = MetricTotals(build_metrics([spec], form.activation), 1)
    totals.add([0], torch.from_numpy(outputs)[None], torch.from_numpy(targets)[None])
    return totals.values(0)[spec.kind]


# --- the contract ------------------------------------------------------------------------------------------


def test_every_metric_of_the_schema_has_its_function_and_a_network_to_measure() -> None:
    assert set(METRICS) == set(KINDS.values())
    assert {kind for kind, _ in ALLOWED} == set(KINDS)


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
        assert best == 1 > other
    else:
        assert best == 0 < other


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
        part = torch.from_numpy(outputs[None, start:end]), torch.from_numpy(targets[None, start:end])
        totals.add([0], *part)
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
        totals.add(places, torch.from_numpy(outputs), torch.from_numpy(targets))
    assert totals.rows.tolist() == lengths
    for place, (outputs, targets) in enumerate(data):
        alone = measure(example(kind), form, outputs, targets)
        assert totals.values(place) == {kind: pytest.approx(alone, rel=1e-9)}


def test_several_metrics_are_columns_in_the_order_of_the_spec() -> None:
    specs = [schema.Auc(), schema.Recall(), schema.Accuracy()]
    form = Form("binary_crossentropy", "sigmoid", 1)
    outputs, targets = form.draw(np.random.default_rng(3), 20)
    totals = MetricTotals(build_metrics(specs, form.activation), 1)
    totals.add([0], torch.from_numpy(outputs)[None], torch.from_numpy(targets)[None])
    found = totals.values(0)
    assert list(found) == ["auc", "recall", "accuracy"]
    assert found == {spec.kind: measure(spec, form, outputs, targets) for spec in specs}


# --- scikit-learn's values ---------------------------------------------------------------------------------


def sklearn_says(spec: Any, form: Form, outputs: np.ndarray, targets: np.ndarray) -> float:
    """The same metric by scikit-learn, in float64. A new metric needs its line here."""
    outputs = outputs.astype(float)
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
        case "auc":
            return float(sklearn.roc_auc_score(targets.ravel(), outputs.ravel()))
    if form.activation == "softmax":
        true = targets.argmax(-1) if targets.ndim == 2 else targets
        labels = range(CLASSES)  # a class that nobody has and nobody predicts counts as 0
        macro: dict[str, Any] = {"labels": labels, "average": "macro", "zero_division": 0}
        match spec.kind:
            case "accuracy":
                return float(sklearn.accuracy_score(true, outputs.argmax(-1)))
            case "precision":
                return float(sklearn.precision_score(true, outputs.argmax(-1), **macro))
            case "recall":
                return float(sklearn.recall_score(true, outputs.argmax(-1), **macro))
            case "top_k":
                return float(sklearn.top_k_accuracy_score(true, outputs, k=spec.k, labels=labels))
    # One label, or several of a row, each counted for itself (micro).
    true, threshold = targets.ravel(), getattr(spec, "threshold", 0.5)
    chosen = (outputs > np.float32(threshold)).ravel().astype(float)
    score = {
        "accuracy": sklearn.accuracy_score,
        "precision": lambda t, c: sklearn.precision_score(t, c, zero_division=0),
        "recall": lambda t, c: sklearn.recall_score(t, c, zero_division=0),
    }[spec.kind]
    return float(score(true, chosen))


@pytest.mark.parametrize(("kind", "form"), ALLOWED, ids=str)
@settings(max_examples=30)
@given(seed=seeds, rows=st.integers(2, 40))
def test_the_value_is_scikit_learn_s(kind: str, form: Form, seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, targets = form.draw(rng, rows)
    if kind in ("auc", "r2") and form.activation == "sigmoid":
        targets[:2] = [[0], [1]]  # neither says anything where all targets are the same: see below
    if kind == "top_k":  # scikit-learn breaks ties by the class's number
        outputs = rng.permuted(np.tile(np.arange(CLASSES, dtype=np.float32), (rows, 1)), axis=1)
    spec = example(kind)
    expected = sklearn_says(spec, form, outputs, targets)
    assert measure(spec, form, outputs, targets) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("kind", ["precision", "recall"])
@pytest.mark.parametrize("units", [1, 3])
def test_a_threshold_decides_what_counts_as_positive(kind: str, threshold: float, units: int) -> None:
    form = Form("binary_crossentropy", "sigmoid", units)
    outputs, targets = form.draw(np.random.default_rng(4), 60)
    outputs[0] = np.float32(threshold)  # as large is not larger
    spec = KINDS[kind].model_validate({"threshold": threshold})
    expected = sklearn_says(spec, form, outputs, targets)
    assert measure(spec, form, outputs, targets) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 6])
def test_top_k_of_one_is_accuracy_and_of_more_is_more(k: int) -> None:
    form = Form("sparse_categorical_crossentropy", "softmax", CLASSES)
    rng = np.random.default_rng(5)
    outputs = rng.dirichlet(np.ones(CLASSES), 80).astype(np.float32)
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


@pytest.mark.parametrize("kind", ["precision", "recall"])
def test_with_nothing_to_count_precision_and_recall_are_zero(kind: str) -> None:
    form = Form("binary_crossentropy", "sigmoid", 1)
    nobody = np.zeros((5, 1), np.float32)
    assert measure(KINDS[kind](), form, nobody, nobody) == 0


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


@given(seed=seeds, mean=st.sampled_from([0.0, 1.0, 1e3, -1e4, 1e5]))
def test_r2_is_right_for_targets_far_from_zero(seed: int, mean: float) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.normal(mean, 1, (30, 1)).astype(np.float32)
    outputs = (targets + rng.normal(0, 0.5, targets.shape)).astype(np.float32)
    expected = sklearn.r2_score(targets.astype(float), outputs.astype(float))
    assert measure(schema.R2(), Form("mse", "linear", 1), outputs, targets) == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.parametrize(("kind", "form"), [(k, f) for k, f in ALLOWED if monitor_mode(k) == "max"], ids=str)
def test_outputs_that_are_no_numbers_are_never_perfect(kind: str, form: Form) -> None:
    """A network that diverged must not look like the best there ever was."""
    _, targets = form.draw(np.random.default_rng(6), 40)
    outputs = np.full((40, form.units), np.nan, np.float32)
    found = measure(example(kind), form, outputs, targets)
    assert math.isnan(found) or found < 1
