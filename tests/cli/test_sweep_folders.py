"""What `show`, `report`, `rm`, `diff` and `compare` do with the folder of a sweep."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.atomic_files import locked
from nnrun.cli import main
from nnrun.records import SweepDirectory, list_runs, list_sweeps
from tests.support.small_experiments import check_screen, write_small

Capture = pytest.CaptureFixture[str]
RATE, UNITS = "optimizer.rmsprop.learning_rate", "layers[0].dense.units"
GRID = ["--over", f"{UNITS}=2,8", "--over", f"{RATE}=0.01,0.1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, epochs=2)
    return tmp_path


def swept(capsys: Capture, *options: str, over: Sequence[str] = GRID) -> SweepDirectory:
    assert main(["sweep", "small.yaml", *over, *options, "-q"]) == 0
    capsys.readouterr()
    (sweep,) = list_sweeps(Path("runs"))
    return sweep


def show(sweep: SweepDirectory, *options: str) -> int:
    return main(["show", f"runs/{sweep.id}", *options])


def test_show(folder: Path, capsys: Capture) -> None:
    """All trials, also one without a score, the best, and what it is worth."""
    optimizers = "optimizer={rmsprop: 0.1},{sgd: 1e30},{rmsprop: 0.01}"
    assert show(swept(capsys, over=["--over", optimizers])) == 0
    check_screen("show_sweep", capsys.readouterr())


def test_show_of_outer_folds(folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys, "--nested", "3")
    assert show(sweep) == 0
    check_screen("show_sweep_nested", capsys.readouterr())
    assert show(sweep, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == f"runs/{sweep.id}"
    assert [fold["fold"] for fold in document["nested"]["folds"]] == [0, 1, 2]


def test_show_of_a_search_within_each_outer_fold(folder: Path, capsys: Capture) -> None:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    assert show(swept(capsys, "--nested", "2", "--method", "tpe", "--trials", "2")) == 0
    shown = capsys.readouterr().out
    (heading,) = [line.split() for line in shown.splitlines() if line.startswith("  trial  outer fold")]
    assert heading[:3] == ["trial", "outer", "fold"]
    assert "Best: " not in shown


def test_show_of_what_measured_a_setting(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    (sweep,) = list_sweeps(Path("runs"))
    assert show(sweep) == 0
    shown = capsys.readouterr().out
    assert "Next   the same command (nnrun lr) shows what it measured" in shown
    assert "Best" not in shown
    assert "optimistic" not in shown


@pytest.mark.parametrize("option", [["--set", "epochs=3"], ["--plot", "x.svg"]])
def test_show_refuses_what_is_for_specs(option: list[str], folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys)
    assert show(sweep, *option) == 2
    assert capsys.readouterr().err == (
        f"error: {option[0]} is for a spec or a run, and {sweep.id} is a sweep. Leave it out; or name the "
        f"run of a trial, or the spec runs/{sweep.id}/best.yaml.\n"
    )


@pytest.mark.parametrize("nested", [False, True])
def test_report(nested: bool, folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys, *(["--nested", "3"] if nested else []))
    assert main(["report", sweep.id]) == 0
    assert capsys.readouterr().out == f"runs/{sweep.id}/report.html\n"
    page = (sweep.path / "report.html").read_text()
    record = sweep.read_record()
    assert "<svg" in page
    assert all(f">{trial.run}<" in page for trial in record.trials)
    best = record.ranked()[0]
    assert f"Best: trial {best.number} " in page
    assert "chosen by the lowest val_loss" in page
    assert "validation scores is optimistic: part of it is luck." in page
    assert ("Chosen within each outer fold" in page) == nested
    assert main(["report", sweep.id, "-o", "page.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "page.html"}
    assert Path("page.html").read_text() == page


def test_diff_and_compare_say_what_to_name_instead(folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys)
    best = sweep.read_record().ranked()[0]
    assert main(["diff", sweep.id, "small.yaml"]) == 2
    assert capsys.readouterr().err == (
        f"error: {sweep.id} is a sweep, which has many specs. Name one: its best trial's, "
        f"runs/{sweep.id}/best.yaml; the one that repeats the sweep, runs/{sweep.id}/resolved.yaml; or a "
        f"trial's run (nnrun show runs/{sweep.id}).\n"
    )
    assert main(["compare", sweep.id, str(best.run)]) == 2
    assert capsys.readouterr().err == (
        f"error: {sweep.id} is a sweep, not a run: it has no network of its own. Name the run of a trial, "
        f"such as {best.run} (trial {best.number}, the best by val_loss); `nnrun show runs/{sweep.id}` lists "
        "them all.\n"
    )


# --- rm ----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def left() -> tuple[int, int]:
    """How many runs and sweeps are left."""
    return len(list_runs(Path("runs"))), len(list_sweeps(Path("runs")))


def test_rm_asks_and_leaves_the_trials(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = swept(capsys)
    for answer, after in (("n\n", (4, 1)), ("y\n", (4, 0))):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert main(["rm", sweep.id]) == 0
        assert "Delete this sweep, whose trials stay, (" in capsys.readouterr().err
        assert left() == after


def test_rm_with_its_trials(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of outer folds too, and no other run."""
    sweep = swept(capsys, "--nested", "2")
    assert main(["train", "small.yaml", "-q"]) == 0
    (other,) = [run.id for run in list_runs(Path("runs")) if run.command == "train"]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    capsys.readouterr()
    made = left()[0] - 1
    assert main(["rm", sweep.id, "--trials"]) == 0
    assert f"Delete these {made} runs and 1 sweep (" in capsys.readouterr().err
    assert [run.id for run in list_runs(Path("runs"))] == [other]
    assert list_sweeps(Path("runs")) == []
    assert main(["rm", other, "--trials", "--yes"]) == 2
    assert left() == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        (["small-sweep-*"], (4, 0)),
        (["small*"], (0, 0)),
        (["--name", "small"], (0, 0)),
        (["--status", "completed"], (0, 0)),
        (["small-sweep-*", "--status", "interrupted"], (4, 1)),
        (["--status", "failed"], (4, 1)),
    ],
)
def test_rm_chooses_sweeps_as_it_chooses_runs(
    arguments: list[str], after: tuple[int, int], folder: Path, capsys: Capture
) -> None:
    swept(capsys)
    assert main(["rm", *arguments, "--yes"]) == 0
    assert left() == after


def test_rm_of_one_that_a_killed_process_left(folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys)
    record = sweep.read_record()
    record.status = "running"
    sweep.write_record(record)
    with locked(sweep.path):
        assert main(["rm", sweep.id, "--yes"]) == 6
        assert capsys.readouterr().err == (
            f"error: runs/{sweep.id} was not deleted: another process is running it. Stop it first.\n"
        )
    assert main(["rm", "--status", "interrupted", "--yes"]) == 0
    assert left() == (4, 0)


def test_rm_refuses_what_is_not_beyond_doubt_a_sweep(folder: Path, capsys: Capture) -> None:
    sweep = swept(capsys)
    renamed = SweepDirectory(sweep.path.with_name("other"))
    sweep.path.rename(renamed.path)
    assert main(["rm", "runs/other", "--yes"]) == 2
    assert "its sweep.json says id" in capsys.readouterr().err
    (renamed.path / "sweep.json").write_text("[]")
    assert main(["rm", "runs/other", "--yes"]) == 2
    assert "its record cannot be read" in capsys.readouterr().err
    assert left() == (4, 1)
