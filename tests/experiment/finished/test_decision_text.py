"""What is told of calibrations and thresholds: what was fitted and what given, and what it is worth."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.experiment.finished.decision_text import decision_text
from nnrun.records.run_record import DecisionRecord


def told(**changes: Any) -> str:
    """Of a temperature that was fitted on 120 rows."""
    own: dict[str, Any] = {
        "rows": 120,
        "out_of_fold": True,
        "parts": 3,
        "bins": 15,
        "weights": "epoch 20, the last",
        "method": "temperature 1.5",
        "log_loss": {"before": 0.6, "after": 0.5},
        "calibration_error": {"before": 0.2, "after": 0.1},
    }
    return decision_text(DecisionRecord(**own | changes))


def test_a_fitted_calibration_says_on_which_rows_and_weights() -> None:
    text = told()
    assert text.startswith(
        "Calibration (temperature 1.5), fitted on 120 out-of-fold predictions by the weights of epoch 20, "
        "the last. Each fold by what the other folds fit: log loss 0.6000 before, 0.5000 after;"
    )
    assert "given" not in text
    assert "leave" not in text


def test_a_given_temperature_beside_a_fitted_threshold_is_told_as_given() -> None:
    text = told(given=["calibrate"], threshold=0.3, maximizes="f1", score={"before": 0.5, "after": 0.6})
    assert text.startswith("Threshold 0.3 (maximizes f1), fitted on 120 out-of-fold predictions by")
    assert text.endswith("Calibration (temperature 1.5): given by the spec.")


def test_a_given_threshold_beside_a_fitted_calibration_is_told_as_given() -> None:
    for given in (["threshold"], []):  # earlier versions did not say which was given
        text = told(given=given, threshold=0.3)
        assert text.startswith("Calibration (temperature 1.5), fitted on")
        assert text.endswith("Threshold 0.3: given by the spec.")


def test_what_another_run_fitted_and_what_the_spec_gives() -> None:
    text = told(rows=None, parent="a-1", given=["calibrate"], threshold=0.3)
    assert text == (
        "Threshold 0.3: taken from a-1, which fitted on rows that its networks had not seen. Calibration "
        "(temperature 1.5): given by the spec."
    )


WORSE = {"before": 0.1, "after": 0.2}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"log_loss": WORSE, "calibration_error": WORSE},
            "The calibration does not lower the log loss or calibration error on other rows: leave calibrate "
            "out.",
        ),
        (
            {"log_loss": WORSE},
            "The calibration does not lower the log loss on other rows: leave calibrate out, unless the "
            "calibration error counts for more.",
        ),
        (
            {"calibration_error": WORSE},
            "The calibration does not lower the calibration error on other rows: leave calibrate out, unless "
            "the log loss counts for more.",
        ),
        (
            {"given": ["calibrate"], "threshold": 0.3, "maximizes": "f1", "log_loss": WORSE},
            "The calibration does not lower the log loss on these rows: leave calibrate out, unless the "
            "calibration error counts for more.",
        ),
    ],
)
def test_a_calibration_that_makes_it_worse_is_said(changes: dict[str, Any], sentence: str) -> None:
    assert told(**changes).endswith(sentence)
