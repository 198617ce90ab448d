"""How often a test set has been looked at: every sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.finished.look_text import looks_text, this_look_text
from nnrun.records import LookCount, RunRecord

RUNS = Path("runs")


@pytest.mark.parametrize(
    ("count", "by_this_run", "text"),
    [
        (None, 2, "This run has looked at the test set twice."),
        (
            LookCount(1, 1),
            1,
            "This is the 1st look at the iris test set by experiments named 'b' (in runs/).",
        ),
        (
            LookCount(1, 7),
            1,
            "This is the 1st look at the iris test set by experiments named 'b', the 7th by any experiment "
            "(in runs/).",
        ),
        (
            LookCount(3, 7),
            2,
            "This is the 3rd look at the iris test set by experiments named 'b', the 7th by any experiment "
            "(in runs/), the 2nd by this run.",
        ),
        (
            LookCount(2, 2),
            2,
            "This is the 2nd look at the iris test set by experiments named 'b' (in runs/).",
        ),
    ],
)
def test_a_look_that_has_just_been_made(count: LookCount | None, by_this_run: int, text: str) -> None:
    assert this_look_text(count, "iris", "b", RUNS, by_this_run=by_this_run) == text


def uses(*looks: tuple[int | None, int | None]) -> list[dict[str, Any]]:
    return [
        {
            "data": "iris",
            **{n: v for n, v in zip(("look", "look_of_any"), each, strict=True) if v is not None},
        }
        for each in looks
    ]


@pytest.mark.parametrize(
    ("looked", "now", "text"),
    [
        ([], None, ""),
        (
            uses((1, 7)),
            None,
            "This is the 1st look at the iris test set by experiments named 'b', the 7th by any experiment "
            "(in runs/).",
        ),
        (
            uses((1, 1)),
            LookCount(1, 1),
            "This is the 1st look at the iris test set by experiments named 'b' (in runs/).",
        ),
        (
            uses((1, 1)),
            LookCount(1, 2),
            "This run has looked at the iris test set once, as the 1st look by experiments named 'b', the "
            "1st of 2 by any experiment (in runs/).",
        ),
        (
            uses((1, 1), (3, 4)),
            LookCount(5, 9),
            "This run has looked at the iris test set twice, the last time as the 3rd of 5 looks by "
            "experiments named 'b', the 4th of 9 by any experiment (in runs/).",
        ),
        (
            uses((1, 1), (3, 3)),
            None,
            "This run has looked at the iris test set twice, the last time as the 3rd look by experiments "
            "named 'b' (in runs/).",
        ),
        (
            uses((2, None)),  # an older record
            None,
            "This is the 2nd look at the iris test set by experiments named 'b' (in runs/).",
        ),
        (
            uses((2, None)),
            LookCount(3, 8),
            "This run has looked at the iris test set once, as the 2nd of 3 looks by experiments named 'b'; "
            "there were 8 looks by any experiment (in runs/).",
        ),
        (uses((None, None)), None, "This run has looked at the test set once."),
        (
            uses((None, None)),
            LookCount(3, 8),
            "This run has looked at the test set once. Experiments named 'b' have looked at it 3 times, any "
            "experiments 8 times (in runs/).",
        ),
    ],
)
def test_the_looks_of_a_run(looked: list[dict[str, Any]], now: LookCount | None, text: str) -> None:
    record = RunRecord.read({"name": "b", "test_uses": looked})
    assert looks_text(record, now, RUNS) == text
