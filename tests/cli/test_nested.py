"""`nnrun kfold --nested`: its screens, its JSON, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.records import RunDirectory, list_runs, list_sweeps
from tests.support.small_experiments import check_screen, record_of, write_small

Capture = pytest.CaptureFixture[str]
KFOLD = "validation={kfold: {k: 2, shuffle: true}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


def parts(folder: Path) -> dict[str | None, RunDirectory]:
    return {summary.nested: summary.run for summary in list_runs(folder / "runs")}


def test_the_screen(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--nested", "3", "--set", KFOLD]) == 0
    check_screen("kfold_nested", capsys.readouterr())


def test_rows_set_apart_for_the_choice_leave_the_inner_scores_as_they_are(
    folder: Path, capsys: Capture
) -> None:
    stopping = "early_stopping={on: inner, fraction: 0.2, patience: 2}"
    assert main(["kfold", "small.yaml", "--nested", "3", "--set", KFOLD, "--set", stopping, "-q"]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "choose the epoch by inner_loss of 2 inner folds" in screen
    assert (
        "Inner: the score of what was chosen, on rows that had no say in it; its networks trained" in screen
    )
    assert "optimistic" not in screen
    assert "inner, chosen on" not in screen


def test_the_screen_of_the_inner_run(folder: Path, capsys: Capture) -> None:
    """A holdout stays a holdout: without --k nothing takes its place."""
    assert main(["kfold", "small.yaml", "--nested", "3", "-q"]) == 0
    capsys.readouterr()
    inner = parts(folder)["inner"]
    assert record_of(inner.path)["rows"]["validation"] == 16
    assert main(["show", f"runs/{inner.id}"]) == 0
    shown = capsys.readouterr().out
    assert "41 parameters, in each of 3 networks" in shown
    assert "These are the inner folds of nested cross-validation" in shown


def test_json_and_the_list(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--nested", "3", "--fold", "1", "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    outer = parts(folder)["outer"]
    assert document == {**record_of(outer.path), "path": f"runs/{outer.id}"}
    nested = document["nested"]
    assert (nested["part"], nested["k"], nested["inner_folds"]) == ("outer", 3, 1)
    assert [fold["fold"] for fold in nested["folds"]] == [1]
    assert main(["ls", "--json"]) == 0
    assert {run["nested"] for run in json.loads(capsys.readouterr().out)} == {"inner", "outer"}
    assert main(["ls"]) == 0
    assert "kfold, inner" in (shown := capsys.readouterr().out)
    assert "kfold, nested" in shown


def test_k_makes_the_inner_folds(folder: Path) -> None:
    assert main(["kfold", "small.yaml", "--nested", "2", "--k", "3", "--epochs", "1", "-q"]) == 0
    assert record_of(parts(folder)["inner"].path)["folds"] == list(range(6))
    assert record_of(parts(folder)["outer"].path)["folds"] == [0, 1]


def test_a_smoke_run(folder: Path) -> None:
    assert main(["kfold", "small.yaml", "--nested", "20", "--smoke", "-q"]) == 0
    record = record_of(parts(folder)["outer"].path)
    assert record["smoke"]
    assert record["folds"] == list(range(8))


def test_an_ended_inner_run_resumed_gives_the_outer_one(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--nested", "3", "--json", "-q"]) == 0
    first = capsys.readouterr().out
    inner = parts(folder)["inner"]
    assert main(["kfold", "--resume", f"runs/{inner.id}", "--json"]) == 0
    assert capsys.readouterr() == (first, "")


def test_report(folder: Path) -> None:
    assert main(["kfold", "small.yaml", "--nested", "3", "-q"]) == 0
    outer = parts(folder)["outer"]
    assert main(["report", str(outer.path)]) == 0
    page = (outer.path / "report.html").read_text(encoding="utf-8")
    assert "3 outer folds, each scored with the epoch chosen within it" in page
    assert "rows that no choice has seen" in page


def test_what_was_fixed_is_refused(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "--resume", "@last", "--nested", "3"]) == 2
    sentence = "error: --nested was fixed when the run started; leave it out with --resume.\n"
    assert capsys.readouterr() == ("", sentence)


# --- sweeps ------------------------------------------------------------------------------------------------

UNITS = ["--over", "layers[0].dense.units=2,8", "--set", "optimizer=adam"]


def test_the_screen_of_a_sweep(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", "--nested", "3", *UNITS]) == 0
    check_screen("sweep_nested", capsys.readouterr())


def test_the_screen_of_a_search_within_each_fold(folder: Path, capsys: Capture) -> None:
    """TPE has trials of its own in each outer fold, so that none is the best of all."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    section = ["--method", "tpe", "--trials", "2", "--epochs", "2"]
    assert main(["sweep", "small.yaml", "--nested", "2", *UNITS, *section]) == 0
    check_screen("sweep_nested_tpe", capsys.readouterr())
    (sweep,) = list_sweeps(folder / "runs")
    assert main(["sweep", "--resume", sweep.id, "--trials", "3"]) == 2
    assert capsys.readouterr().err == (
        f"error: --trials 3: {sweep.id} searches within each outer fold, with as many trials in each as it "
        "was started with. For more, start a new sweep of its spec.\n"
    )


def test_json_of_a_sweep(folder: Path, capsys: Capture) -> None:
    assert main(["sweep", "small.yaml", "--nested", "3", *UNITS, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    (sweep,) = list_sweeps(folder / "runs")
    nested = document["nested"]
    assert nested == sweep.read_record().to_json()["nested"]
    assert {fold["trial"] for fold in nested["folds"]} <= {1, 2}
    assert document["best_spec"] is not None
    assert "nested" not in sweep.best_spec.read_text(encoding="utf-8")
    assert main(["sweep", "--resume", sweep.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nested"] == nested


def test_how_long_was_chosen_is_no_difference_of_specs(folder: Path, capsys: Capture) -> None:
    base = ["kfold", "small.yaml", "--epochs", "12", "--set", "early_stopping={patience: 3}", "-q"]
    for rate in ("0.001", "3"):
        assert main([*base, "--nested", "3", "--set", f"optimizer.rmsprop.learning_rate={rate}"]) == 0
    assert main([*base, "--k", "3"]) == 0
    plain, second, _, first, _ = [summary.run for summary in list_runs(folder / "runs")]
    chosen = [[fold["epoch"] for fold in record_of(run.path)["nested"]["folds"]] for run in (first, second)]
    assert max(chosen[0]) != max(chosen[1]), "the case is of no use otherwise"
    capsys.readouterr()
    assert main(["compare", f"runs/{first.id}", f"runs/{second.id}", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [found["path"] for found in document["spec_differences"]] == ["optimizer.rmsprop.learning_rate"]
    assert main(["compare", f"runs/{first.id}", f"runs/{second.id}"]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    for label, (a, b, c) in zip("AB", chosen, strict=True):
        assert f"{label} for {a}, {b} and {c} epochs" in screen
    assert main(["compare", f"runs/{first.id}", f"runs/{plain.id}", "--json"]) == 0
    paths = [found["path"] for found in json.loads(capsys.readouterr().out)["spec_differences"]]
    assert not {"epochs", "early_stopping"} & set(paths)


MEMBERS = ["--nested", "3", "--members", "folds"]


def test_the_screen_of_members(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", *MEMBERS, "--set", KFOLD, "-q"]) == 0
    check_screen("kfold_nested_members", capsys.readouterr())
    assert main(["ls"]) == 0
    shown = capsys.readouterr().out
    assert "kfold, nested" in shown
    assert "*" not in shown


def test_of_members_that_inner_rows_stopped_the_screen_tells_one_thing(folder: Path, capsys: Capture) -> None:
    stop = "early_stopping={on: inner, fraction: 0.25, patience: 1, restore_best: true}"
    changes = [
        "--set",
        KFOLD,
        "--set",
        stop,
        "--set",
        "epochs=12",
        "--set",
        "optimizer={adam: {learning_rate: 0.2}}",
    ]
    assert main(["kfold", "small.yaml", *MEMBERS, *changes, "-q"]) == 0
    shown = capsys.readouterr().out
    assert "average the networks of 2 inner folds, with the weights that each kept." in shown
    assert "\nWeights: " in shown
    assert "The scores above are of epoch" not in shown
    assert "the scores above are of one epoch" not in shown


def test_the_screen_of_members_of_a_sweep(folder: Path, capsys: Capture) -> None:
    over = ["--over", "layers[0].dense.units=2,8"]
    assert main(["sweep", "small.yaml", *over, *MEMBERS, "--set", KFOLD, "-q"]) == 0
    check_screen("sweep_nested_members", capsys.readouterr())


@pytest.mark.parametrize("command", ["kfold", "sweep"])
def test_members_are_for_outer_folds(command: str, folder: Path, capsys: Capture) -> None:
    assert main([command, "small.yaml", "--members", "folds"]) == 2
    assert capsys.readouterr().err == (
        "error: --members folds is for --nested K: it says what is scored on outer folds. Without them, "
        "train first, and make the average by nnrun final RUN --members folds.\n"
    )
