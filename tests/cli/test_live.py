"""The live screen, drawn on a terminal that is a string."""

from __future__ import annotations

import gc
import io
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from nnrun.cli import main
from nnrun.cli.live import LiveListener
from nnrun.experiment.running.listener import Start
from nnrun.records import RunDirectory
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import write_small

Rows = list[dict[str, float]]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("JPY_PARENT_PID", "JPY_SESSION_NAME"):  # the tests may run in a notebook themselves
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("COLUMNS", "100")


def start(epochs: int, *, folds: int = 0, validated: bool = True) -> Start:
    return Start(
        RunDirectory(Path("runs/small")),
        name="small",
        member_type="fold" if folds else None,
        member_ids=range(max(folds, 1)),
        epochs=epochs,
        train_rows=32,
        validation_rows=16 if validated else 0,
        parameters=41,
        device="cpu",
    )


def losses(*values: float) -> Iterator[EpochRecord]:
    for epoch, value in enumerate(values, start=1):
        yield EpochRecord(epoch, {0: {"loss": 1 / epoch, "val_loss": value}}, {0: 0.001}, 0.25)


def last_picture(start: Start, records: Iterator[EpochRecord]) -> list[str]:
    """What stands on the screen at the end, without colours, line by line."""
    stream = io.StringIO()
    listener = LiveListener(
        Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    )
    listener.started(start)
    for record in records:
        listener.epoch(record)
    listener.ended()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    # Each picture is drawn over the one before; the last one begins at the last heading.
    (*_, at) = (i for i, line in enumerate(lines) if line.startswith("epoch  "))
    return [line for line in lines[at:] if line]


def test_the_whole_screen() -> None:
    *table, bar = last_picture(start(3), losses(0.9, 0.7, 0.8))
    assert table == [
        "epoch    loss  val_loss  seconds",
        "    1  1.0000    0.9000     0.25",
        "    2  0.5000    0.7000     0.25  best",
        "    3  0.3333    0.8000     0.25",
    ]
    assert re.fullmatch(r"━{30}  epoch 3/3  \d+ s", bar)


def test_folds_show_their_mean_and_deviation() -> None:
    rows = {0: {"loss": 1.0, "val_loss": 2.0}, 1: {"loss": 3.0, "val_loss": 2.0}}
    heading, row, _ = last_picture(start(1, folds=2), iter([EpochRecord(1, rows, {0: 0.001}, 0.25)]))
    assert heading == "epoch          loss    val_loss  seconds"
    assert row == "    1  2.0000 ± 1.4  2.0000 ± 0     0.25  best"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_row_takes_more_than_a_line(width: int) -> None:
    """Columns that have no room are left out: deviations first, then those of training."""
    columns = ("loss", "mae", "r2", "val_loss", "val_mae", "val_r2")
    rows = {fold: dict.fromkeys(columns, 12345.678 * (fold + 1)) for fold in range(3)}
    stream = io.StringIO()
    listener = LiveListener(Console(file=stream, force_terminal=True, width=width))
    listener.started(start(2, folds=3))
    listener.epoch(EpochRecord(1, rows, {0: 0.001}, 0.25))
    listener.ended()
    picture = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).rstrip().splitlines()
    heading, row, _ = picture[-3:]
    assert "val_loss" in heading
    assert row.split()[0] == "1"
    assert "…" not in heading + row


@pytest.mark.parametrize(
    "values",
    [
        (0.5, 12345.678, 7.25),
        (1e-7, 0.5, 3.0),
        (123456789.0, 0.001, 5.0),
        (-3.5, 0.25, 1e5),
        (float("nan"), 3.0, float("inf")),
        (0.0, 0.00001, 0.00002),
    ],
)
@pytest.mark.parametrize("name", ["loss", "a_metric_with_a_very_long_name_of_its_own"])
def test_columns_stay_straight(values: tuple[float, ...], name: str) -> None:
    """Numbers of very different size: a column ends in one place, with as many decimals."""
    records = (
        EpochRecord(epoch, {0: {name: value, "val_loss": value}}, {0: 0.001}, 10.0**epoch)
        for epoch, value in enumerate(values, start=1)
    )
    heading, *rows, _ = last_picture(start(3), records)
    end = heading.index("val_loss") + len("val_loss")
    cells = [row[:end].rstrip().split(" ")[-1] for row in rows]
    assert all(len(row[:end].rstrip()) == end for row in rows)
    assert len({len(cell.partition(".")[2]) for cell in cells if cell not in ("nan", "inf")}) == 1
    finite = [(value, float(cell)) for value, cell in zip(values, cells, strict=True) if abs(value) < 1e300]
    assert all(shown == pytest.approx(value, rel=0.01, abs=5e-5) for value, shown in finite)
    assert all(shown != 0 for value, shown in finite if value)


def test_a_resumed_run_knows_its_best_epoch_of_before() -> None:
    every = list(losses(0.9, 0.3, 0.8, 0.7))
    resumed = replace(start(4), earlier=every[:2])
    *table, bar = last_picture(resumed, iter(every[2:]))
    assert [(row.split()[0], "best" in row) for row in table[1:]] == [
        ("1", False),
        ("2", True),
        ("3", False),
        ("4", False),
    ]
    assert "epoch 4/4" in bar


def test_the_best_epoch_is_that_of_the_column_that_chooses() -> None:
    values = [(0.5, 0.7), (0.4, 0.9), (0.3, 0.8)]
    records = (
        EpochRecord(epoch, {0: {"loss": 1.0, "val_loss": loss, "val_accuracy": accuracy}}, {0: 0.001}, 0.2)
        for epoch, (loss, accuracy) in enumerate(values, start=1)
    )
    table = last_picture(replace(start(3), monitor="val_accuracy", maximize=True), records)[1:-1]
    assert ["best" in row for row in table] == [False, True, False]


@pytest.mark.parametrize("variable", ["JPY_PARENT_PID", "DATABRICKS_RUNTIME_VERSION"])
def test_a_notebook_gets_plain_lines(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`!nnrun train` in a notebook has a terminal, on which nothing can be drawn over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "1234")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    write_small(tmp_path)
    assert main(["train", "small.yaml"]) == 0
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("epoch ")] == [
        "1/3",
        "2/3",
        "3/3",
    ]


def test_a_long_training_shows_its_last_epochs_and_the_best() -> None:
    values = [1.0] * 30
    values[4] = 0.5
    *table, bar = last_picture(start(100), losses(*values))
    epochs = [int(line.split()[0]) for line in table[1:]]
    assert epochs == [5, *range(20, 31)]
    assert table[1].endswith("best")
    assert re.search(r"  epoch 30/100  \d+ s elapsed, \d+ s left$", bar)


def test_a_low_terminal_shows_fewer_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "9")
    table = last_picture(start(100), losses(0.5, *[1.0] * 29))[1:-1]
    assert [int(line.split()[0]) for line in table] == [1, 29, 30]


def test_without_validation_no_epoch_is_called_best() -> None:
    """The loss that a network was trained on chooses nothing."""
    records = (EpochRecord(epoch, {0: {"loss": 1 / epoch}}, {0: 0.001}, 0.25) for epoch in range(1, 21))
    *table, _ = last_picture(start(20, validated=False), records)
    assert [int(line.split()[0]) for line in table[1:]] == list(range(9, 21))
    assert not any("best" in line for line in table)


def test_the_weights_of_past_epochs_are_not_held() -> None:
    """A record carries its epoch's weights; a screen that kept them would fill the memory."""
    listener = LiveListener(Console(file=io.StringIO(), force_terminal=True, width=100))
    listener.started(start(20))
    held = []
    for epoch in range(1, 21):
        weights = torch.zeros(3)
        held.append(weakref.ref(weights))
        listener.epoch(EpochRecord(epoch, {0: {"loss": 1.0}}, {0: 0.001}, 0.25, {0: {"0.weight": weights}}))
    del weights
    gc.collect()
    assert sum(reference() is not None for reference in held) == 0
    listener.ended()


def test_messages_stand_above_the_table() -> None:
    stream = io.StringIO()
    listener = LiveListener(Console(file=stream, width=100))
    listener.message("downloading [bold]all[/bold]")
    listener.detail("not wanted")
    listener.ended()
    assert stream.getvalue() == "downloading [bold]all[/bold]\n"
    wanting = LiveListener(Console(file=stream, width=100), details=True)
    wanting.detail("wanted")
    assert stream.getvalue().endswith("\nwanted\n")


def test_a_training_that_ends_before_its_first_epoch_draws_nothing() -> None:
    stream = io.StringIO()
    listener = LiveListener(Console(file=stream, force_terminal=True, width=100, color_system=None))
    listener.started(start(3))
    listener.ended()
    assert (
        "small: a network of 41 parameters, 32 training and 16 validation rows, on cpu" in stream.getvalue()
    )
    assert "epoch" not in stream.getvalue()


def test_a_terminal_gets_the_live_screen_and_anything_else_plain_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    write_small(tmp_path)
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    assert main(["train", "small.yaml"]) == 0
    screen = stream.getvalue()
    assert "epoch 3/3" in screen
    assert "━" * 30 in screen
    assert "best" in screen
    assert set(re.findall(r"\x1b\[([0-9;]*)m", screen)) == {"0", "1"}  # bold headings, and no colour
    assert capsys.readouterr().out.startswith("small: trained, 3 epochs on cpu in ")


def test_folds_that_train_after_others_have_a_table_of_their_own() -> None:
    stream = io.StringIO()
    listener = LiveListener(
        Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    )
    listener.started(start(2, folds=3))
    for numbers, value in (((0, 2), 0.1), ((1,), 0.7)):
        for epoch in (1, 2):
            rows = {number: {"loss": 0.5, "val_loss": value / epoch} for number in numbers}
            listener.epoch(EpochRecord(epoch, rows, dict.fromkeys(numbers, 0.001), 0.25))
    listener.ended()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n").split("\n")
    lines = [line.rstrip() for line in lines]
    first, second = lines.index("folds 0, 2"), len(lines) - 1 - lines[::-1].index("fold 1")
    assert first < second
    assert lines[second + 1 : second + 4] == [
        "epoch    loss  val_loss  seconds",
        "    1  0.5000    0.7000     0.25",
        "    2  0.5000    0.3500     0.25  best",  # of these folds, although others were better
    ]
