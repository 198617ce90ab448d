"""`nnrun sweep`: what a person sees, and what a script gets."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import nnrun
from nnrun.cli import main
from nnrun.cli.closing import sweep_closing_text
from nnrun.cli.live import LiveBoard
from nnrun.experiment.running.listener import Start
from nnrun.records import RunDirectory, SweepDirectory, SweepRecord, TrialRecord, list_sweeps, locked
from nnrun.training.loop import EpochRecord
from tests.support.clocks import let_trials_take_seconds
from tests.support.small_experiments import BINARY, check_screen, steady, write_small

Capture = pytest.CaptureFixture[str]
UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"
OVER = ["--over", f"{UNITS}=4,8", "--over", f"{RATE}=0.01,0.001"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: small.yaml is there, and runs/ will be."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


def the_sweep(folder: Path) -> SweepDirectory:
    (sweep,) = list_sweeps(folder / "runs")
    return sweep


def test_the_screen_of_a_grid(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", *OVER]) == 0
    check_screen("sweep_grid", capsys.readouterr())


def test_the_screen_of_a_sweep_at_random(folder: Path, capsys: Capture) -> None:
    write_small(folder, BINARY)
    arguments = ["--method", "random", "--trials", "3", "--over", f"{RATE}={{log_uniform: [1e-4, 0.1]}}"]
    assert main(["sweep", "small.yaml", *arguments, "--monitor", "val_accuracy", "--epochs", "2"]) == 0
    check_screen("sweep_random", capsys.readouterr())


def test_the_screen_of_a_sweep_that_goes_wrong_in_places(folder: Path, capsys: Capture) -> None:
    rates = ",".join(f"{{sgd: {{learning_rate: {rate}}}}}" for rate in ("1e-3", "1e30"))
    assert main(["sweep", "small.yaml", "--over", f"optimizer={rates}"]) == 0
    check_screen("sweep_diverged", capsys.readouterr())


def test_where_no_trial_has_a_score_the_exit_code_is_1(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", "--over", "optimizer={sgd: {learning_rate: 1e30}}"]) == 1
    check_screen("sweep_all_diverged", capsys.readouterr())


def test_the_screen_of_a_finished_sweep(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", *OVER, "-q"]) == 0
    first = capsys.readouterr()
    assert main(["sweep", "small.yaml", *OVER]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    sweep = the_sweep(folder)
    assert again.err == f"{sweep.id} is already complete. To run it again: --new.\n"
    assert main(["sweep", "small.yaml", *OVER, "-q", "--new"]) == 0
    assert len(list_sweeps(folder / "runs")) == 2


def test_the_screens_of_a_sweep_that_time_ends_and_that_goes_on(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_trials_take_seconds(monkeypatch)
    arguments = ["sweep", "small.yaml", "--over", f"{UNITS}=4,8,16,32"]
    assert main([*arguments, "--time", "10s"]) == 0
    check_screen("sweep_time", capsys.readouterr())
    sweep = the_sweep(folder)
    assert sweep.read_record().ended_by_time == "10s"
    ran = [trial.run for trial in sweep.read_record().trials if trial.run is not None]
    assert main(["sweep", "--resume", sweep.id, "--time", "1h"]) == 0
    check_screen("sweep_time_goes_on", capsys.readouterr())
    record = sweep.read_record()
    assert [trial.run for trial in record.trials][: len(ran)] == ran
    assert record.ended_by_time is None


def test_a_limit_in_the_section_is_that_of_the_sweep(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_trials_take_seconds(monkeypatch)
    write_small(folder, sweep={"over": {UNITS: [4, 8, 16]}, "time_limit": 5}, epochs=50)
    assert main(["sweep", "small.yaml", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ended_by_time"] == "5s"
    first, *others = found["trials"]
    assert first["status"] == "completed"
    assert 1 <= first["stopped_by_time"] < 50
    assert {trial["status"] for trial in others} == {"waiting"}
    assert "stopped_by_time" not in others[0]
    assert main(["sweep", "small.yaml", "-q", "--time", "5s", "--set", "sweep.time_limit=6"]) == 2
    assert capsys.readouterr().err == (
        "error: --time and the override of sweep.time_limit set the same value; leave out one.\n"
    )


def test_more_trials_than_the_board_shows(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", "--over", f"epochs={','.join(map(str, range(1, 13)))}", "-q"]) == 0
    printed = steady(capsys.readouterr().out)
    assert printed.startswith("small: done, 12 of 12 trials with a score\n\nthe best 10\n  trial  epochs ")
    assert len(re.findall(r"^  \d+ .* small-<ID>$", printed, re.MULTILINE)) == 10


def test_as_json(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", *OVER, "--json", "-q"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    sweep = the_sweep(folder)
    record = json.loads((sweep.path / "sweep.json").read_text())
    here = f"runs/{sweep.id}"
    assert document == {
        **record,
        "path": here,
        "best_spec": f"{here}/best.yaml",
        "figure": f"{here}/plots/sweep.png",
        "runs_gone": [],
    }
    assert printed.err == ""
    assert main(["train", document["best_spec"], "-q"]) == 0


def test_options_change_spec_and_sweep(folder: Path, capsys: Capture) -> None:
    arguments = ["--epochs", "2", "--seed", "7", "--set", "batch_size=16", "--runs-dir", "elsewhere"]
    assert main(["sweep", "small.yaml", *OVER, *arguments, "-q", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["seed"] == 7
    resolved = (folder / "elsewhere" / document["trials"][0]["run"] / "resolved.yaml").read_text()
    assert "epochs: 2\nbatch_size: 16\n" in resolved


def test_the_sweep_of_a_section(folder: Path, capsys: Capture) -> None:
    write_small(folder, sweep={"over": {UNITS: [4, 8]}})
    assert main(["sweep", "small.yaml", "--over", f"{UNITS}=3", "--over", "epochs=1,2", "-q", "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [list(trial["values"].values()) for trial in trials] == [[3, 1], [3, 2]]


def test_several_keys_have_the_same_value(folder: Path, capsys: Capture) -> None:
    hidden = {"dense": {"units": 8, "activation": "relu"}}
    write_small(folder, layers=[hidden, hidden, {"dense": 1}])
    both = "layers[0].dense.units, layers[1].dense.units"
    assert main(["sweep", "small.yaml", "--over", f"{both}=3,5", "--epochs", "1", "-q", "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["values"] for trial in trials] == [{both: 3}, {both: 5}]
    for trial, units in zip(trials, (3, 5), strict=True):
        resolved = (folder / "runs" / trial["run"] / "resolved.yaml").read_text()
        assert resolved.count(f"units: {units},") == 2
    assert main(["sweep", "small.yaml", "--over", f"{both}=3", "--over", "layers[1].dense.units=4"]) == 3
    assert "this is the key layers[1].dense.units, which is swept already" in capsys.readouterr().err
    assert main(["sweep", "small.yaml", "--over", "layers[0].dense.units, layers[7].dense.units=3"]) == 3
    assert "layers[7]" in capsys.readouterr().err
    assert main(["sweep", "small.yaml", "--over", "epochs, epochs=3"]) == 3
    assert "this is the key epochs, which is swept already" in capsys.readouterr().err


def test_smoke(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["sweep", str(specs_dir / "digits.yaml"), "--smoke", "--over", f"{UNITS}=4,8", "-q"]) == 0
    assert "\nThis was a smoke run: its numbers are meaningless.\n" in capsys.readouterr().out


def test_warnings_are_shown(folder: Path, capsys: Capture) -> None:
    write_small(folder, validation={"holdout": {"fraction": 0.25}})
    arguments = ["--over", "seed=0,1", "--epochs", "1"]
    assert main(["sweep", "small.yaml", *arguments]) == 0
    assert capsys.readouterr().err.startswith(
        "--over: warning: the seed draws the validation rows, so trials with different seeds are scored on "
    )
    assert main(["sweep", "small.yaml", *arguments, "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_losses_are_compared_by_a_metric(folder: Path, capsys: Capture) -> None:
    arguments = ["sweep", "small.yaml", "--over", f"{UNITS}=4,8", "--over", "loss=mse,mae", "-q"]
    assert main(arguments) == 3
    assert capsys.readouterr() == (
        "",
        "--over: error: val_loss cannot rank trials with loss mse and mae: the losses are different ones. "
        "val_mae means the same in all trials; compare by it: --monitor val_mae, or `sweep: {monitor: "
        "val_mae}`\n"
        "      | loss=mse,mae\n      | ^\n1 error: nothing was run.\n",
    )
    assert not (folder / "runs").exists()
    assert main([*arguments, "--monitor", "val_mae", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["monitor"] == "val_mae"
    assert found["best"] == min(found["trials"], key=lambda trial: trial["score"])["number"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "error: small.yaml has no sweep section. Say what to try: --over"),
        (["--over", "epochs"], 3, "--over: error: this is KEY=VALUE,VALUE, such as"),
        (["--over", "epochs=1,0"], 3, "--over: error: epochs must be a whole number, 1 or more; found"),
        (
            ["--over", "epochs=1,2", "--trials", "3"],
            3,
            "--trials: error: a grid tries every combination; remove",
        ),
        (
            ["--over", "epochs=1,2", "--monitor", "val_acc"],
            3,
            "--monitor: error: no validated column is called",
        ),
        (["--over", "epochs=1,2", "--method", "best"], 2, "error: Invalid value for '--method'"),
        (["--over", "epochs=1,2", "--device", "cuda:99"], 2, "error: "),
        (["--over", "dataset={npz: nothing.npz}"], 4, "error: "),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    arguments: list[str], code: int, said: str, folder: Path, capsys: Capture
) -> None:
    assert main(["sweep", "small.yaml", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.err.startswith(said)
    assert printed.out == ""
    assert not (folder / "runs").exists()


def test_another_process_at_work_is_exit_code_6(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", *OVER, "-q"]) == 0
    capsys.readouterr()
    sweep = the_sweep(folder)
    with locked(sweep.path):
        assert main(["sweep", "small.yaml", *OVER]) == 6
    assert capsys.readouterr() == (
        "",
        f"error: another process is running {sweep.id}. Wait until it ends, or start another with --new.\n",
    )


def test_an_interrupted_sweep_says_how_to_go_on(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, trial: TrialRecord, epoch: EpochRecord) -> None:
        if trial.number == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("nnrun.experiment.sweeping.sweep_listener.SweepLines.epoch", stop)
    assert main(["sweep", "small.yaml", *OVER]) == 130
    check_screen("sweep_interrupted", capsys.readouterr())


def test_resume_goes_on_with_what_the_command_line_began(folder: Path, capsys: Capture) -> None:
    """Neither the spec nor the options are needed again; the trials are those of the first start."""
    assert main(["sweep", "small.yaml", *OVER, "--epochs", "2", "-q"]) == 0
    sweep = the_sweep(folder)
    record = sweep.read_record()
    record.status, record.trials[1].status = "interrupted", "waiting"
    sweep.write_record(record)
    last = RunDirectory(folder / "runs" / str(record.trials[1].run))
    interrupted = last.read_record()
    interrupted.status = "interrupted"
    last.write_record(interrupted)
    (folder / "small.yaml").unlink()
    capsys.readouterr()
    for reference in ("@last", sweep.id, sweep.id[:-2], str(sweep.path)):
        assert main(["sweep", "--resume", reference]) == 0
        said = capsys.readouterr().err
    assert f"{sweep.id} is already complete" in said
    ended = sweep.read_record()
    assert ended.status == "completed"
    assert [trial.values for trial in ended.trials] == [trial.values for trial in record.trials]
    assert [trial.run == before.run for trial, before in zip(ended.trials, record.trials, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("screen", "command"),
    [
        ("sweep_resume_changed", ["--resume", "@last", "--epochs", "9"]),
        ("sweep_resume_nowhere", ["--resume", "nowhere"]),
        ("sweep_no_spec", []),
    ],
)
def test_what_resume_refuses(screen: str, command: list[str], folder: Path, capsys: Capture) -> None:
    assert main(["sweep", *command]) == 2
    check_screen(screen, capsys.readouterr())


def test_trials_are_listed_and_a_sweep_is_not(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", *OVER, "-q"]) == 0
    capsys.readouterr()
    sweep = the_sweep(folder)
    assert main(["ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(run["command"], run["status"]) for run in listed] == [("sweep", "completed")] * 4
    assert main(["evaluate", sweep.id]) == 2
    assert "is a sweep, not a run" in capsys.readouterr().err
    assert sweep.is_sweep()
    assert main(["final", listed[0]["id"], "-q"]) == 0


def test_train_says_that_the_sweep_was_left_out(folder: Path, capsys: Capture) -> None:
    write_small(folder, sweep={"over": {UNITS: [4, 8]}})
    assert main(["train", "small.yaml"]) == 0
    assert capsys.readouterr().err.startswith("the sweep section was left out: this trains the spec itself")
    assert list_sweeps(folder / "runs") == []


def test_show_shows_the_section(folder: Path, capsys: Capture) -> None:
    write_small(
        folder,
        sweep={"over": {UNITS: [4, 8], RATE: {"log_uniform": [0.001, 0.1]}}, "method": "random", "trials": 3},
    )
    assert main(["show", "small.yaml"]) == 0
    assert (
        "sweep:\n"
        "  method: random\n"
        "  over:\n"
        '    "layers[0].dense.units": [4, 8]\n'
        "    optimizer.rmsprop.learning_rate: {log_uniform: {range: [0.001, 0.1]}}\n"
        "  trials: 3\n"
    ) in capsys.readouterr().out


def test_the_same_from_python(folder: Path, capsys: Capture) -> None:
    sweep = nnrun.sweep("small.yaml", over={UNITS: [4, 8], RATE: [0.01, 0.001]})
    assert (sweep.path, sweep.record.status) == (Path("runs") / the_sweep(folder).id, "completed")
    table = sweep.trials
    assert table.columns.tolist() == ["number", "status", "run", "score", "epoch", "seconds", UNITS, RATE]
    assert table[UNITS].tolist() == [4, 4, 8, 8]
    assert sweep.best is not None
    assert sweep.best.best["val_loss"] == table["score"].min()
    assert sweep.best_spec.is_file()
    assert nnrun.sweep("small.yaml", over=[f"{UNITS}=4,8", f"{RATE}=0.01,0.001"]).path == sweep.path
    assert capsys.readouterr() == ("", "")
    drawn = nnrun.sweep(
        "small.yaml", over={RATE: {"log_uniform": [1e-4, 0.1]}}, method="random", trials=2, verbose=True
    )
    assert drawn.trials[RATE].between(1e-4, 0.1).all()
    assert capsys.readouterr().err.count("\n") == 3


# --- the live board ----------------------------------------------------------------------------------------


def record(*trials: TrialRecord, total: int = 24) -> SweepRecord:
    return SweepRecord(
        id="small-sweep",
        name="small",
        status="running",
        content="",
        method="grid",
        monitor="val_accuracy",
        maximize=True,
        seed=0,
        total=total,
        smoke=False,
        started="",
        trials=list(trials),
    )


def completed(number: int, score: float) -> TrialRecord:
    return TrialRecord(
        number=number,
        values={UNITS: 32, "loss": "mse"},
        status="completed",
        run=f"run-{number}",
        score=score,
        epoch=4,
        seconds=1.2,
    )


def test_the_live_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("COLUMNS", "100")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    board = LiveBoard(console)
    trials = [completed(number, number / 100) for number in range(1, 13)]
    made = record(
        *trials, TrialRecord(number=13, values={UNITS: 32, "loss": "mse"}, status="running", run="run-13")
    )
    board.began(made)
    board.trial_began(made.trials[12], Start(RunDirectory(Path("x")), "small", None, [0], 20, 1, 1, 1, "cpu"))
    board.epoch(made.trials[12], EpochRecord(7, {0: {"val_accuracy": 0.5}}, {0: 0.001}, 0.1))
    picture = io.StringIO()
    Console(file=picture, width=100).print(board._screen())
    board.trial_ended(made.trials[12])
    board.ended()
    lines = [line.rstrip() for line in picture.getvalue().splitlines()]
    at = 0
    assert lines[at].split() == ["trial", "units", "loss", "val_accuracy", "epoch"]
    shown = [line.split() for line in lines[at + 1 : at + 11]]
    assert [row[0] for row in shown] == [str(number) for number in range(12, 2, -1)]
    assert shown[0] == ["12", "32", "mse", "0.1200", "4"]
    assert lines[at + 11] == "trial 13: units 32, loss mse  epoch 7/20  val_accuracy 0.5000"
    assert "12/24 trials" in lines[at + 12]
    assert (
        stream.getvalue().splitlines()[0]
        == "small: 24 trials of a grid, compared by val_accuracy (higher is better); 12 finished"
    )


def test_the_closing_screen_escapes_what_a_file_says() -> None:
    made = record(
        TrialRecord(number=1, values={"x": "\x1b[31mred"}, status="failed", error="bad \x1b[0m"), total=1
    )
    assert "\x1b" not in sweep_closing_text(SweepDirectory(Path("runs/x")), made)


def test_the_closing_screen_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    failed = TrialRecord(number=3, values={"x": 3}, status="failed", error="a long reason " * 12)
    blocks = sweep_closing_text(
        SweepDirectory(Path("runs/s")), record(completed(1, 0.8), completed(2, 0.7), failed)
    ).split("\n\n")
    assert blocks[-2].splitlines() == [
        "The best of 2 validation scores is optimistic: part of it is luck. Only rows",
        "that were not used to choose it can measure it.",
    ]
    assert max(map(len, blocks[-3].splitlines())) <= 80
