"""The table of scores that the closing screen and the page share."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.experiment.finished.record_text import (
    baseline_text,
    drowned_loss,
    drowned_text,
    rows_in_words,
    score_table,
)
from nnrun.records import RunRecord
from nnrun.records.run_record import DrownedLoss, RowCounts
from nnrun.spec import schema
from tests.support.small_experiments import spec_text


def table(**record: Any) -> tuple[str, list[list[str]]]:
    found = score_table(RunRecord.read(record))
    assert found is not None
    return found.heading, found.rows()


def test_a_test_of_other_weights_than_the_best_says_of_which() -> None:
    record: dict[str, Any] = {
        "best": {"loss": 0.5, "val_loss": 0.75},
        "best_epoch": 3,
        "weights_epoch": 20,
        "test": {"loss": 1.25},
    }
    assert table(**record) == (
        "best epoch 3, chosen on these validation rows",
        [["", "training", "validation", "test, epoch 20"], ["loss", "0.5000", "0.7500", "1.2500"]],
    )
    assert table(**record | {"test_epoch": 3})[1][0] == ["", "training", "validation", "test"]
    assert table(**record | {"weights_epoch": 3})[1][0] == ["", "training", "validation", "test"]


def test_networks_without_validation_have_the_last_epoch_that_all_reached() -> None:
    record = {
        "last": {"loss": 0.5},
        "last_std": {"loss": 0.25},
        "last_epoch": 4,
        "epochs_run": 9,
        "seeds": [0, 1],
    }
    assert table(**record) == (
        "epoch 4 (mean ± std over seeds)",
        [["", "training"], ["loss", "0.5000 ± 0.2500"]],
    )


def test_one_network_without_validation_has_the_last_epoch() -> None:
    assert table(last={"loss": 0.5}, epochs_run=9)[0] == "epoch 9"


@pytest.mark.parametrize("record", [{}, {"best": {}, "last": {}, "baseline": {"loss": 1.0}}])
def test_without_scores_there_is_no_table(record: dict[str, Any]) -> None:
    assert score_table(RunRecord.read(record)) is None


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({}, "712 training rows, 179 validation rows"),
        (
            {"train": [712, 713], "validation": [178, 179]},
            "712 or 713 training rows, 178 or 179 validation rows",
        ),
        ({"train": [1_000, 3_000]}, "1,000 to 3,000 training rows, 179 validation rows"),
    ],
)
def test_rows_of_folds_that_differ_are_ranges(ranges: dict[str, list[int]], words: str) -> None:
    assert rows_in_words(RowCounts(train=712, validation=179, ranges=ranges), ", ") == words


CHAINS = {
    "kind": [{"dense": {"units": 3, "activation": "softmax"}}],
    "mass": [{"dense": 1}],
    "size": [{"dense": 1}],
}
LOSSES: dict[str, dict[str, Any]] = {
    "kind": {"loss": "categorical_crossentropy", "preprocessing": "one_hot"},
    "mass": {"loss": "mse"},
    "size": {"loss": "mae", "preprocessing": "standardize"},
}


def spec_of(total: str = "sum", **changes: dict[str, Any]) -> schema.ExperimentSpec:
    outputs = {name: {**own, **changes.get(name, {})} for name, own in LOSSES.items()}
    text = {
        "dataset": {"csv": {"path": "t.csv"}},
        "inputs": {"x": {"columns": ["a", "b"]}},
        "layers": {name: [{"from": "x"}, *chain] for name, chain in CHAINS.items()},
        "outputs": outputs,
        "total_loss": total,
        "epochs": 2,
    }
    return spec_text(text).spec


def row(kind: float, mass: float, size: float = 10.0) -> dict[str, float]:
    return {"loss": 0.0, "kind_loss": kind, "mass_loss": mass, "size_loss": size, "kind_accuracy": 0.0}


@pytest.mark.parametrize("mass", [100.0, 50.0, 0.011])
def test_up_to_a_hundred_times_nothing_is_said(mass: float) -> None:
    assert drowned_loss(spec_of(), [row(1.0, mass, 1.0)]) is None


def test_more_than_a_hundred_times_is_found() -> None:
    found = drowned_loss(spec_of(), [row(2.0, 4e6)])
    assert found == DrownedLoss(
        output="kind", loss=2.0, by="mass", by_loss=4e6, loss_weight=5e-7, standardize=True
    )
    assert drowned_text(found) == (
        "In the first epoch the weighted loss of 'mass' was 4e+06, that of 'kind' 2: one that is more than "
        "100 times another drowns it, and 'kind' is hardly learned. Write preprocessing: standardize, or "
        "loss_weight: 5e-07 into the output 'mass'."
    )


def test_weights_count() -> None:
    assert drowned_loss(spec_of(mass={"loss_weight": 1e-5}), [row(2.0, 4e6)]) is None
    found = drowned_loss(spec_of(mass={"loss_weight": 0.5}), [row(2.0, 4e6)])
    assert found is not None
    assert (found.by_loss, found.loss_weight) == (2e6, pytest.approx(5e-7))
    found = drowned_loss(spec_of("mean"), [row(3.0, 6e6, 30.0)])
    assert found is not None
    assert (found.loss, found.by_loss, found.loss_weight) == (1.0, 2e6, pytest.approx(5e-7))


def test_an_output_that_is_only_watched_drowns_nothing() -> None:
    assert drowned_loss(spec_of(mass={"loss_weight": 0}), [row(2.0, 4e6)]) is None


@pytest.mark.parametrize(
    "change",
    [{"preprocessing": "standardize"}, {"loss": "msle"}, {"loss": "mape"}],
)
def test_what_cannot_be_standardized_gets_a_weight(change: dict[str, Any]) -> None:
    found = drowned_loss(spec_of(mass=change), [row(2.0, 4e6)])
    assert found is not None
    assert not found.standardize
    assert ". Write loss_weight: 5e-07 into the output 'mass'." in drowned_text(found)


def test_several_networks_are_taken_together() -> None:
    """101 and 99 times are 100 times on average."""
    assert drowned_loss(spec_of(), [row(1.0, 101.0), row(1.0, 99.0)]) is None
    assert drowned_loss(spec_of(), [row(1.0, 101.0), row(1.0, 101.0)]) is not None


@pytest.mark.parametrize("kind", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_size_is_not_compared(kind: float) -> None:
    assert drowned_loss(spec_of(), [row(kind, 200.0)]) is None


def test_a_spec_of_one_output_has_nothing_to_compare() -> None:
    assert drowned_loss(spec_text().spec, [{"loss": 4e6}]) is None
    assert drowned_text(None) == ""


@pytest.mark.parametrize(
    ("r2", "more"),
    [
        (0.0, ""),
        (-0.00001, ""),
        (-0.0104, ". r2 is below 0: the constant is the training rows' mean, not these rows'"),
    ],
)
def test_a_baseline_of_r2_below_0_is_explained(r2: float, more: str) -> None:
    record = RunRecord(baseline={"loss": -1.5, "r2": r2}, baseline_on="validation")
    assert baseline_text(record) == (
        f"Baseline: the best constant for each score, on the validation rows{more}."
    )
