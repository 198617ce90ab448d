import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.runs_on_disk import make_run, write_history

REUTERS = "reuters-20260101T000000Z-aaaa"
WIDE = "wide-20260102T000000Z-bbbb"
BOSTON = "boston-20260103T000000Z-cccc"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs with accuracy, one of four folds with mae, one without an epoch."""
    monkeypatch.chdir(tmp_path)
    runs_dir = Path("runs")
    write_history(make_run(runs_dir, REUTERS), epochs=8)
    write_history(make_run(runs_dir, WIDE), epochs=5)
    write_history(make_run(runs_dir, BOSTON), epochs=30, folds=4, metric="mae")
    make_run(runs_dir, "empty-20260104T000000Z-dddd").history_writer(["epoch", "loss"]).close()
    with make_run(runs_dir, "bare-20260105T000000Z-eeee").history_writer(["epoch"]) as history:
        history.append({"epoch": 1})
    return runs_dir


def is_png(path: str) -> bool:
    return Path(path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["reuters"], [f"runs/{REUTERS}/plots/loss.png", f"runs/{REUTERS}/plots/accuracy.png"]),
        (["reuters", "reuters"], [f"runs/{REUTERS}/plots/loss.png", f"runs/{REUTERS}/plots/accuracy.png"]),
        (["reuters", "--metric", "val_accuracy"], [f"runs/{REUTERS}/plots/accuracy.png"]),
        (["boston"], [f"runs/{BOSTON}/plots/loss.png", f"runs/{BOSTON}/plots/mae.png"]),
        (
            ["boston", "--metric", "mae", "--smooth", "0.9", "--skip", "10"],
            [f"runs/{BOSTON}/plots/mae-smoothed.png"],
        ),
        (["boston", "--metric", "mae", "--skip", "10"], [f"runs/{BOSTON}/plots/mae-from-11.png"]),
        (
            ["reuters", "wide"],
            [f"runs/{REUTERS}/plots/compare-loss.png", f"runs/{REUTERS}/plots/compare-accuracy.png"],
        ),
        (["wide", "boston"], [f"runs/{WIDE}/plots/compare-loss.png"]),
        (["reuters", "wide", "-o", "both.png"], ["both.png"]),
        (
            ["boston", "--only", "validation", "--skip", "10", "--log"],
            [f"runs/{BOSTON}/plots/{name}-validation-from-11-log.png" for name in ("loss", "mae")],
        ),
        (["wide", "--only", "training", "--metric", "loss"], [f"runs/{WIDE}/plots/loss-training.png"]),
    ],
)
def test_figures_are_written_and_named(
    runs: Path, arguments: list[str], paths: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == paths
    assert all(map(is_png, paths))


def test_an_svg(runs: Path) -> None:
    assert main(["plot", "reuters", "-o", "all.svg"]) == 0
    assert ElementTree.parse("all.svg").getroot().tag.endswith("svg")


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "reuters", "--json", "-o", "x.png"]) == 0
    assert json.loads(capsys.readouterr().out) == {"figures": ["x.png"]}


def test_a_drawing_in_the_terminal(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["plot", "boston", "--terminal", "--metric", "mae", "--skip", "2"]) == 0
    screen = capsys.readouterr().out
    assert screen.startswith(
        "Training and validation MAE, mean of the folds, from epoch 3\n"  # val_loss chose the best epoch
    )
    assert "\x1b" not in screen
    assert not list(runs.glob("*/plots"))


@pytest.mark.parametrize(("seeds", "remark"), [(3, ", mean of the seeds"), (1, "")])
def test_seeds_are_drawn_as_their_mean(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seeds: int, remark: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    run = make_run(runs, "seeds-20260106T000000Z-ffff")
    write_history(run, epochs=8, folds=seeds, kind="seed")
    assert main(["plot", "seeds", "--terminal", "--metric", "loss"]) == 0
    title = capsys.readouterr().out.splitlines()[0]
    assert title == f"Training and validation loss{remark}, best at epoch 3"
    assert main(["plot", "seeds"]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert paths == [f"{run.path}/plots/loss.png", f"{run.path}/plots/accuracy.png"]
    assert all(map(is_png, paths))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["reuters", "--metric", "mae"], 2, f"{REUTERS} has no measure 'mae'; it has loss, accuracy."),
        (["empty"], 4, "empty-20260104T000000Z-dddd has no epochs yet: there is nothing to draw."),
        (["bare"], 4, "bare-20260105T000000Z-eeee has no loss in its history: there is nothing to draw."),
        (["reuters", "--skip", "8"], 2, f"--skip 8 leaves nothing of {REUTERS}, which has 8 epochs."),
        (["reuters", "--smooth", "1"], 2, "--smooth must be at least 0 and below 1, but got 1."),
        (["reuters", "--smooth", "nan"], 2, "--smooth must be at least 0 and below 1, but got nan."),
        (["reuters", "-o", "x.jpg"], 2, "-o must name a .png or .svg file, but got x.jpg."),
        (["reuters", "-o", "no/x.png"], 1, "Cannot write no/x.png: No such file or directory."),
        (
            ["reuters", "--terminal", "--json"],
            2,
            "--terminal prints the plot as text: it cannot be combined with --json or -o.",
        ),
        (["x"], 2, "No run 'x' in runs. `nnrun ls` lists all 5."),
    ],
)
def test_what_cannot_be_drawn_is_said(
    runs: Path, arguments: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *arguments]) == code
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_the_validation_curve_alone_in_the_terminal(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["plot", "reuters", "--terminal", "--metric", "loss", "--only", "validation", "--log"]) == 0
    title, *rows, epochs, keys = capsys.readouterr().out.splitlines()
    assert title == "Validation loss, logarithmic, best at epoch 3"
    assert (rows[0].split()[0], rows[-1].split()[0]) == ("1", "0.5")
    assert (epochs.split(), keys) == (["1", "8"], "⠒⠒ validation")


def test_the_validation_curve_of_a_run_that_validated_nothing(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(runs, "unvalidated-20260107T000000Z-ffff")
    with run.history_writer(["epoch", "loss"]) as history:
        history.append({"epoch": 1, "loss": 0.5})
    assert main(["plot", "unvalidated", "--only", "validation"]) == 2
    assert "unvalidated-20260107T000000Z-ffff had no validation" in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arguments", [[], ["--terminal"], ["-o", "x.svg"], ["--json"], ["--log"]])
def test_nothing_finite_is_a_sentence_and_no_figure(
    runs: Path, value: float, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(runs, "nan-20260107T000000Z-ffff")
    with run.history_writer(["epoch", "loss", "mae", "val_loss", "val_mae"]) as history:
        history.append({"epoch": 1, "loss": value, "mae": value, "val_loss": value, "val_mae": value})
    assert main(["plot", "nan", *arguments]) == 2
    printed = capsys.readouterr()
    assert "no finite value to draw" in printed.err
    assert not list(run.path.rglob("*.png"))
    assert not Path("x.svg").exists()


def test_what_is_not_finite_is_left_out_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs, "partly-20260107T000000Z-ffff")
    with run.history_writer(["epoch", "loss", "mae", "val_loss", "val_mae"]) as history:
        history.append({"epoch": 1, "loss": 2.0, "mae": math.nan, "val_loss": 3.0, "val_mae": math.nan})
    assert main(["plot", "partly"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run.path}/plots/loss.png\n"
    assert printed.err == "There is no finite value to draw: mae.\n"
    with make_run(runs, "below-20260107T000001Z-ffff").history_writer(["epoch", "loss"]) as history:
        history.append({"epoch": 1, "loss": -2.0})
    assert main(["plot", "below", "--log"]) == 2
    assert "on a logarithmic axis, which needs values above 0: loss." in capsys.readouterr().err


def test_what_only_some_runs_have_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "wide", "boston", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"figures": [f"runs/{WIDE}/plots/compare-loss.png"]}
    assert printed.err == (
        f"Not drawn, since some runs lack it: accuracy (not in {BOSTON}); mae (not in {WIDE}).\n"
    )
    assert main(["plot", "reuters", "wide"]) == 0
    assert capsys.readouterr().err == ""
