"""A sweep as plain lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.running.listener import Start
from nnrun.experiment.sweeping.sweep_listener import (
    SweepLines,
    SweepListener,
    Working,
    sweep_line,
    trial_line,
)
from nnrun.machine import this_process
from nnrun.records import RunDirectory, SweepRecord, TrialRecord
from nnrun.records.claims import SignOfLife
from nnrun.training.loop import EpochRecord

VALUES = {"layers[0].dense.units": 32, "loss": "mse"}
START = Start(RunDirectory(Path("runs/small")), "small", None, [0], 3, 32, 16, 41, "cpu")


def record(*trials: TrialRecord, **changes: Any) -> SweepRecord:
    made = SweepRecord(
        id="small-sweep",
        name="small",
        status="running",
        content="",
        method="grid",
        monitor="val_accuracy",
        maximize=True,
        seed=0,
        total=24,
        smoke=False,
        started="",
        trials=list(trials),
    )
    return made.model_copy(update=changes)


def completed(number: int, score: float) -> TrialRecord:
    return TrialRecord(
        number=number,
        values=VALUES,
        status="completed",
        run=f"run-{number}",
        score=score,
        epoch=4,
        seconds=1.234,
    )


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (record(), "small: 24 trials of a grid, compared by val_accuracy (higher is better)"),
        (
            record(method="random", total=1, monitor="val_loss", maximize=False),
            "small: 1 trial drawn at random, compared by val_loss (lower is better)",
        ),
        (
            record(
                completed(1, 0.5),
                TrialRecord(number=2, values={}, status="pruned"),
                TrialRecord(number=3, values={}),
                method="tpe",
            ),
            "small: 24 trials chosen by TPE, compared by val_accuracy (higher is better); 2 finished",
        ),
    ],
)
def test_the_first_line(made: SweepRecord, line: str) -> None:
    assert sweep_line(made) == line


def test_the_line_of_a_trial() -> None:
    first, better, worse = completed(1, 0.5), completed(2, 0.75), completed(3, 0.25)
    failed = TrialRecord(number=4, values=VALUES, status="diverged", run="run-4", seconds=0.5)
    head = "units 32, loss mse: "
    assert trial_line(first, record(first)) == (f"trial  1/24  {head}val_accuracy 0.5000 at epoch 4  1.23 s")
    assert trial_line(better, record(first, better)) == (
        f"trial  2/24  {head}val_accuracy 0.7500 at epoch 4, the best so far  1.23 s"
    )
    assert trial_line(worse, record(first, better, worse)) == (
        f"trial  3/24  {head}val_accuracy 0.2500 at epoch 4 (best 0.7500, trial 2)  1.23 s"
    )
    assert trial_line(failed, record(first, failed)) == f"trial  4/24  {head}diverged  0.50 s"


def told(listener: SweepListener) -> None:
    trial = completed(1, 0.5)
    listener.message("a message")
    listener.detail("a detail")
    listener.began(record(trial))
    listener.trial_began(trial, START)
    listener.epoch(trial, EpochRecord(1, {0: {"loss": 0.5, "val_loss": 0.25}}, {0: 0.001}, 0.1))
    listener.trial_ended(trial)
    listener.ended()


def test_lines() -> None:
    lines: list[str] = []
    told(SweepLines(lines.append))
    trial = completed(1, 0.5)
    assert lines == ["a message", sweep_line(record(trial)), trial_line(trial, record(trial))]


def test_details() -> None:
    lines: list[str] = []
    told(SweepLines(lines.append, details=True))
    trial = completed(1, 0.5)
    assert lines == [
        "a message",
        "a detail",
        sweep_line(record(trial)),
        "small: a network of 41 parameters, 32 training and 16 validation rows, on cpu",
        "epoch 1/3  loss 0.5000  val_loss 0.2500  0.10 s",
        trial_line(trial, record(trial)),
    ]


def test_nobody_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told(SweepListener())
    assert capsys.readouterr() == ("", "")


def test_workers_are_shown_to_the_curious_when_they_change() -> None:
    doing = {"trials": [3, 4], "epoch": 5, "scores": {"3": 0.25, "4": None}}
    working = Working.of(SignOfLife("a-1", this_process(), doing=doing))
    assert working == Working("a-1", (3, 4), 5, {3: 0.25})
    idle = Working.of(SignOfLife("b-2", this_process()))
    written: list[str] = []
    lines = SweepLines(written.append, details=True)
    for _ in range(2):
        lines.working([working, idle])
    assert written == ["a-1: trials 3 and 4, epoch 5", "b-2: no trial yet, or waiting"]


def test_the_line_of_a_trial_names_its_worker() -> None:
    trial = completed(1, 0.5).model_copy(update={"worker": "a-1"})
    assert trial_line(trial, record(trial)).endswith("val_accuracy 0.5000 at epoch 4  1.23 s  by a-1")
