"""`nnrun tune`: from a file to a model in one command, and again where it was interrupted."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

import nnrun
import nnrun.experiment.sweeping.sweep
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.running.listener import Listener
from nnrun.records import list_runs, list_sweeps
from nnrun.training.loop import EpochRecord
from tests.support.clocks import let_trials_take_seconds
from tests.support.small_experiments import check_screen, files_of, steady

Capture = pytest.CaptureFixture[str]
RNG = np.random.RandomState

SPEC = """\
dataset: {csv: {path: cars.csv, target: price}}
preprocessing: {inputs: [standardize, one_hot], targets: standardize}
layers: [dense: {units: 4, activation: relu}, dropout: 0.1, dense: 1]
loss: mse
optimizer: {adamw: {learning_rate: 0.01, weight_decay: 0.1}}
metrics: [mae]
epochs: 3
"""


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_cars(path: Path, rows: int = 60, *, seed: int = 0) -> None:
    rng = RNG(seed)
    table = [(a, p, "bmw" if a % 3 else "vw", 90 * p - 40 * a) for a, p in rng.randint(1, 99, (rows, 2))]
    write_table(path, [("age", "power", "brand", "price"), *table])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: cars.csv is there. No trial takes time, but by the clock of limits."""
    monkeypatch.chdir(tmp_path)
    write_cars(tmp_path / "cars.csv")
    let_trials_take_seconds(monkeypatch)
    monkeypatch.setattr("nnrun.experiment.tuning.tune._Clock.spent", 0.0)
    return tmp_path


def write_spec(folder: Path, validation: str = "{kfold: {k: 2, shuffle: true}}") -> None:
    """A quick spec in place of the one that init would write."""
    (folder / "cars.yaml").write_text(f"{SPEC}validation: {validation}\n")


# --- whole screens -----------------------------------------------------------------------------------------


def test_the_screen(folder: Path, capsys: Capture) -> None:
    write_spec(folder)
    assert main(["tune", "cars.csv", "--time", "40s"]) == 0
    check_screen("tune", capsys.readouterr())
    assert files_of(folder)[:5] == [
        "cars.csv",
        "cars.yaml",
        "cars_best.yaml",
        "cars_report.html",
        "cars_tune.yaml",
    ]


def test_the_screen_of_rows_held_out_and_of_test_rows(folder: Path, capsys: Capture) -> None:
    write_cars(folder / "test.csv", 20, seed=1)
    write_spec(folder, "{holdout: {fraction: 0.25}}")
    text = (folder / "cars.yaml").read_text().replace("price}", "price, test: {path: test.csv}}")
    (folder / "cars.yaml").write_text(text)
    assert main(["tune", "cars.csv", "--time", "40s", "--seed", "3"]) == 0
    check_screen("tune_holdout", capsys.readouterr())


# --- again and again ---------------------------------------------------------------------------------------


def test_what_has_ended_is_taken_as_it_is(folder: Path, capsys: Capture) -> None:
    write_spec(folder, "{holdout: {fraction: 0.25}}")
    assert main(["tune", "cars.csv", "--time", "40s", "-q"]) == 0
    first, runs = capsys.readouterr().out, {run.id for run in list_runs(folder / "runs")}
    assert main(["tune", "cars.csv", "--time", "40s"]) == 0
    again = capsys.readouterr()
    assert {run.id for run in list_runs(folder / "runs")} == runs
    assert "   # its spec is there, and is used as it is\n" in again.err
    assert "   # they are trained: cars_tune-" in again.err
    assert "   # it is there: cars_tune-" in again.err
    assert without_hand(again.out) == without_hand(first)


def without_hand(text: str) -> str:
    """A screen without the commands that do the same: they name what is there already."""
    return text.partition("The steps as commands")[0]


def test_with_more_time_the_sweep_goes_on(folder: Path, capsys: Capture) -> None:
    write_spec(folder)
    assert main(["tune", "cars.csv", "--time", "20s", "-q", "--json"]) == 0
    short = json.loads(capsys.readouterr().out)
    assert main(["tune", "cars.csv", "--time", "1h", "-q", "--json"]) == 0
    long = json.loads(capsys.readouterr().out)
    assert short["trials"]["ended_by_time"] is not None
    assert short["trials"]["scored"] < long["trials"]["scored"] == long["trials"]["of"]
    assert long["sweep"] == short["sweep"]


def test_new_starts_over(folder: Path, capsys: Capture) -> None:
    write_spec(folder)
    assert main(["tune", "cars.csv", "--time", "20s", "-q"]) == 0
    assert main(["tune", "cars.csv", "--time", "20s", "-q", "--new"]) == 0
    assert len(list_sweeps(folder / "runs")) == 2
    assert (folder / "cars.yaml").read_text().startswith("# price from cars.csv: a first spec")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, name: str, epoch: int) -> None:
    """Let a listener's class act as if Ctrl-C was pressed at the end of this epoch, counted over all."""
    heard = 0

    def interrupted(self: Listener, record: EpochRecord) -> None:
        nonlocal heard
        heard += 1
        if heard == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(name, interrupted)


def test_interrupted_in_the_sweep_it_goes_on(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spec(folder)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "nnrun.experiment.sweeping.at_work._TrialListener.epoch", 5)
        assert main(["tune", "cars.csv", "--time", "40s", "-q"]) == 130
    said = steady(capsys.readouterr().err)
    assert said.endswith("cars_tune-sweep-<ID>. Type the same command again: it goes on.\n")
    (sweep,) = list_sweeps(folder / "runs")
    finished = [trial.run for trial in sweep.read_record().trials if trial.status == "completed"]
    assert len(finished) == 1
    assert main(["tune", "cars.csv", "--time", "40s", "-q"]) == 0
    assert [trial.run for trial in sweep.read_record().trials][:1] == finished
    assert len(list_sweeps(folder / "runs")) == 1


def test_interrupted_in_the_folds_it_goes_on(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spec(folder, "{holdout: {fraction: 0.25}}")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "nnrun.experiment.running.listener.Listener.epoch", 2)
        assert main(["tune", "cars.csv", "--time", "40s", "-q"]) == 130
    (folds,) = [run.run for run in list_runs(folder / "runs") if run.command == "kfold"]
    assert folds.read_record().status == "interrupted"
    assert main(["tune", "cars.csv", "--time", "40s", "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folds"] == f"runs/{folds.id}"
    record = folds.read_record()
    assert (record.status, record.epochs_run, len(record.resumed)) == ("completed", 3, 1)


# --- kinds of data -----------------------------------------------------------------------------------------


def write_kinds(folder: Path) -> None:
    rng = RNG(0)
    words, moods = ["red", "blue", "tree", "house", "we", "they"], {"good": "fine", "bad": "awful"}
    texts = [
        (" ".join([*rng.choice(words, 6), moods[mood], *rng.choice(words, 5)]), mood)
        for mood in rng.choice(list(moods), 60)
    ]
    write_table(folder / "mail.csv", [("text", "label"), *texts])
    numbers = rng.normal(size=(90, 2)).round(3)
    kinds = [(u, v, "abc"[int(u > 0) + int(v > 0)]) for u, v in numbers]
    write_table(folder / "kinds.csv", [("u", "v", "kind"), *kinds])
    both = [(u, v, round(2 * u + v, 3), "yes" if v > 0 else "no") for u, v in numbers]
    write_table(folder / "both.csv", [("u", "v", "sum", "above"), *both])
    np.savez(folder / "arrays.npz", x_train=numbers, y_train=(numbers[:, 0] > 0).astype(int))


@pytest.mark.parametrize(
    ("file", "arguments", "predicted"),
    [
        ("cars.csv", [], "row,prediction"),
        ("mail.csv", [], "row,prediction,probability"),
        ("kinds.csv", ["--target", "kind"], "row,prediction,probability"),
        ("both.csv", ["--target", "sum", "--target", "above"], "row,sum,above,above_probability"),
        ("arrays.npz", [], "row,prediction,probability"),
    ],
)
def test_every_kind_of_data(
    folder: Path, capsys: Capture, file: str, arguments: list[str], predicted: str
) -> None:
    write_kinds(folder)
    assert main(["tune", file, *arguments, "--time", "12s", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["score"] in ("honest", "optimistic", "none")
    assert Path(found["report"]).read_text().startswith("<!DOCTYPE html>")
    assert main(["check", found["spec"], found["sweep_spec"], found["best_spec"]]) == 0
    capsys.readouterr()
    if file.endswith(".csv"):
        assert main(["predict", found["model"], file, "-q"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == predicted


def test_its_commands_do_the_same(folder: Path, capsys: Capture) -> None:
    write_spec(folder, "{holdout: {fraction: 0.25}}")
    assert main(["tune", "cars.csv", "--time", "1h", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    init, *commands = [command.split() for command in found["commands"]]
    assert init[:2] == ["nnrun", "init"]
    made = []
    for words in commands:
        changed = [made[-1] if made and word.startswith("runs/") else word for word in words[1:]]
        assert main([*changed, *([] if words[1] == "report" else ["--runs-dir", "by_hand"]), "--json"]) == 0
        made.append(json.loads(capsys.readouterr().out).get("path", ""))
    ours, theirs = (nnrun.load_run(path) for path in (found["model"], made[-2]))
    scores = [run.record["ensemble"]["validation"] for run in (ours, theirs)]
    assert scores[0] == scores[1]


def test_rows_that_are_chosen_are_not_split_into_folds(folder: Path, capsys: Capture) -> None:
    write_spec(folder, "{holdout: {first: 12}}")
    assert main(["tune", "cars.csv", "--time", "40s", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folds"], found["score"]) == (None, "none")
    assert re.fullmatch(r"nnrun final runs/cars_tune-\S+", found["commands"][-2])


@pytest.mark.parametrize(
    ("stopping", "score"), [("null", "honest"), ("{on: inner}", "honest"), ("{patience: 1}", "optimistic")]
)
def test_a_single_trial_chooses_no_more_than_its_epoch(
    folder: Path, capsys: Capture, stopping: str, score: str
) -> None:
    write_spec(folder)
    with (folder / "cars.yaml").open("a") as file:
        file.write(f"early_stopping: {stopping}\n")
    assert main(["tune", "cars.csv", "--time", "2s", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trials"]["scored"], found["score"]) == (1, score)


def test_from_python(folder: Path, capsys: Capture) -> None:
    write_spec(folder)
    found = nnrun.tune("cars.csv", time_limit=40)
    assert found.model.status == "completed"
    assert found.folds is not None
    assert found.sweep.best is not None
    assert found.folds.path == found.sweep.best.path
    assert found.best_spec == Path("cars_best.yaml")
    assert capsys.readouterr() == ("", "")


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_spec_of_another_file_is_not_taken(folder: Path, capsys: Capture) -> None:
    write_spec(folder)
    write_cars(folder / "others.csv")
    assert main(["tune", "others.csv", "-o", "cars.yaml"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: cars.yaml is there, and is not a spec of others.csv. Choose another name with -o, or "
        "overwrite it with --new.\n"
    )
    assert main(["tune", "cars.csv", "--target", "age"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: cars.yaml is there, and predicts price. Leave out --target to use it, choose another name "
        "with -o, or overwrite it with --new.\n"
    )


def test_a_spec_of_several_targets_is_taken_when_they_are_typed_again(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_further(*_: object) -> NoReturn:
        raise UsageError("as far as the sweep")

    monkeypatch.setattr("nnrun.experiment.tuning.tune.sizes_to_sweep", no_further)
    for _ in range(2):  # the first writes the spec
        assert main(["tune", "cars.csv", "--target", "price, age"]) == 2
        assert capsys.readouterr().err.endswith("error: as far as the sweep\n")
    assert main(["tune", "cars.csv", "--target", "age"]) == 2
    assert "cars.yaml is there, and predicts price, age." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--time", "soon"],
            "error: --time is 'soon'; it must be a time above 0, such as 90s, 10m or 2h (a bare number is "
            "seconds).\n",
        ),
        (["-o", "cars.txt"], "error: -o must name a .yaml file, but got cars.txt.\n"),
    ],
)
def test_what_is_refused(folder: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    assert main(["tune", "cars.csv", *arguments]) == 2
    assert capsys.readouterr().err == said
    assert files_of(folder) == ["cars.csv"]


def test_a_spec_that_tune_did_not_write_stays(folder: Path, capsys: Capture) -> None:
    (folder / "cars_best.yaml").write_text(SPEC)
    assert main(["tune", "cars.csv", "--target", "price"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "cars_best.yaml exists, and nnrun tune did not write it" in said
    assert "Choose another name with -o" in said
    assert (folder / "cars_best.yaml").read_text() == SPEC
    assert sorted(path.name for path in folder.iterdir()) == ["cars.csv", "cars_best.yaml"]
