"""Which runs a list shows, and in which order."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import UsageError
from nnrun.experiment.finished.listing import select_runs, sort_runs
from nnrun.records import RunDirectory, RunRecord, RunSummary
from nnrun.records.run_record import DataRecord
from nnrun.records.run_summary import summary_of

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def summary(id_: str, minutes: int = 0, took: float | None = None, **fields: Any) -> RunSummary:
    started = NOON + timedelta(minutes=minutes)
    ended = None if took is None else (started + timedelta(seconds=took)).isoformat()
    known = {"status": "completed", "name": id_, "started": started.isoformat(), "ended": ended}
    return summary_of(RunDirectory(Path(id_)), RunRecord(**{**known, **fields}))


# Newest first, as list_runs gives them.
RUNS = [
    summary(
        "c",
        3,
        9.0,
        epochs_run=5,
        best={"val_loss": 0.3, "val_accuracy": 0.8},
        data=[DataRecord(name="imdb.npz")],
    ),
    summary(
        "b",
        2,
        2.5,
        status="failed",
        command="kfold",
        data=[DataRecord(name="reuters.npz"), DataRecord(name="words.json")],
    ),
    summary(
        "d", 1, None, status="running", epochs_run=9, best={"val_loss_mean": 0.2, "val_accuracy_mean": 0.9}
    ),
    summary("a", 0, 4.0, epochs_run=1, best={"val_loss": 0.4}, test={"accuracy": 0.7}, command="final"),
    summary_of(RunDirectory(Path("x")), RunRecord(), "it is broken"),
]


def ids(runs: list[RunSummary]) -> str:
    return "".join(run.id for run in runs)


@pytest.mark.parametrize(
    ("key", "order", "reversed_order"),
    [
        ("started", "cbdax", "adbcx"),
        ("name", "abcdx", "dcbax"),
        ("status", "xcabd", "dbcax"),
        ("epochs", "dcabx", "acdbx"),
        ("took", "cabdx", "bacdx"),
        ("val_loss", "dcabx", "acdbx"),  # the lowest is the best
        ("val_accuracy", "dcbax", "cdbax"),  # the highest is
        ("test_accuracy", "acbdx", "acbdx"),
    ],
)
def test_order(key: str, order: str, reversed_order: str) -> None:
    """Best first, those without the column last in any case, equals newest first."""
    assert ids(sort_runs(RUNS, key)) == order
    assert ids(sort_runs(RUNS, key, reverse=True)) == reversed_order


@given(
    st.lists(st.none() | st.floats(-5, 5) | st.sampled_from([0.0, 1.0])),
    st.sampled_from(["val_loss", "val_r2"]),
    st.booleans(),
)
def test_a_sort_loses_no_run_and_keeps_equals(values: list[float | None], key: str, reverse: bool) -> None:
    runs = [summary(str(i), best={} if v is None else {key: v}) for i, v in enumerate(values)]
    if all(value is None for value in values) and runs:
        with pytest.raises(UsageError):
            sort_runs(runs, key, reverse=reverse)
        return
    places = [int(run.id) for run in sort_runs(runs, key, reverse=reverse)]
    assert sorted(places) == list(range(len(values)))
    sign = -1 if (key == "val_r2") != reverse else 1
    keys = [(v is None, 0.0 if v is None else sign * v, i) for i, v in ((i, values[i]) for i in places)]
    assert keys == sorted(keys)


def test_an_unknown_column_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        sort_runs(RUNS, "accuracy")
    assert str(caught.value) == (
        "--sort 'accuracy' is not a column. Did you mean val_accuracy? Columns are started, name, status, "
        "epochs, took, size; the scores of these runs are val_loss, val_accuracy, test_accuracy."
    )
    with pytest.raises(UsageError) as caught:
        sort_runs([RUNS[1]], "val_loss")
    assert str(caught.value) == (
        "--sort 'val_loss' is not a column. Columns are started, name, status, epochs, took, size; these "
        "runs "
        "have no scores."
    )


def test_where_there_are_no_runs_any_score_may_be_one() -> None:
    assert sort_runs([], "val_loss") == []
    with pytest.raises(UsageError):
        sort_runs([], "vall_loss")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "cbdax"),
        ({"name": "[ab]"}, "ba"),
        ({"name": "A"}, ""),
        ({"name": "x"}, "x"),  # a run without a name goes by its id
        ({"status": "completed"}, "ca"),
        ({"status": "broken"}, "x"),
        ({"command": "kfold"}, "b"),
        ({"data": "imdb"}, "c"),
        ({"data": "imdb.npz"}, "c"),
        ({"data": "*s"}, "b"),
        ({"data": "imdb", "status": "failed"}, ""),
    ],
)
def test_selection(wanted: dict[str, str], found: str) -> None:
    assert ids(select_runs(RUNS, **wanted)) == found


def test_an_unknown_status_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        select_runs(RUNS, status="done")
    assert str(caught.value) == (
        "--status must be one of running, completed, interrupted, failed, diverged or broken, but got 'done'."
    )
