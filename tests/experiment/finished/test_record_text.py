"""The table of scores that the closing screen and the page share."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.experiment.finished.record_text import rows_in_words, score_table
from nnrun.records import RunRecord
from nnrun.records.run_record import RowCounts


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
