"""A look at the test set is counted over all runs of a name before it is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nnrun.experiment.evaluating import evaluate as evaluate_module
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.running.final import final_of_run, final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory, all_looks
from nnrun.records.test_set_uses import LEDGER, read_ledger
from tests.support.small_experiments import BINARY, REGRESSION, load_small, record_of


def settings(folder: Path, *, smoke: bool = False) -> Settings:
    return Settings("train", folder / "runs", smoke=smoke)


def looks_of(run: RunDirectory) -> list[int | None]:
    return [use.get("look") for use in record_of(run.path)["test_uses"]]


def test_final_and_evaluate_count_on_over_all_runs(tmp_path: Path) -> None:
    parent = run_experiment(load_small(tmp_path), settings(tmp_path))
    first = final_of_run(parent, settings(tmp_path))
    second = final_of_spec(load_small(tmp_path, epochs=1), settings(tmp_path))
    assert [evaluate_run(parent).look, evaluate_run(first).look] == [3, 4]
    assert [looks_of(run) for run in (parent, first, second)] == [[3], [1, 4], [2]]
    other = final_of_spec(load_small(tmp_path, BINARY, name="other"), settings(tmp_path))
    assert looks_of(other) == [1]
    ledger = read_ledger(tmp_path / "runs")
    assert [(look.run, look.command) for look in ledger.looks] == [
        (first.id, "final"),
        (second.id, "final"),
        (parent.id, "evaluate"),
        (first.id, "evaluate"),
        (other.id, "final"),
    ]
    assert {look.data for look in ledger.looks} == {"small"}


def test_a_test_file_is_the_same_whatever_it_is_called_and_whoever_trained_on_what(tmp_path: Path) -> None:
    """Three looks at the same 12 rows, of which one file is a copy; another file is another test set."""
    rows = [f"{i % 5},{i % 7},{i % 5 - i % 7}\n" for i in range(60)]
    for file, its_rows in {"train": rows[24:], "held": rows[:12], "others": rows[12:24]}.items():
        (tmp_path / f"{file}.csv").write_text("a,b,y\n" + "".join(its_rows))
    shutil.copy(tmp_path / "held.csv", tmp_path / "renamed.csv")
    table = {"csv": {"path": "train.csv", "target": "y"}}

    def final(name: str, test: str) -> list[int | None]:
        loaded = load_small(tmp_path, epochs=1, name=name, dataset=table)
        run = final_of_spec(loaded, settings(tmp_path), test=tmp_path / test)
        use = record_of(run.path)["test_uses"][-1]
        return [use["look"], use["look_of_any"]]

    assert final("a", "held.csv") == [1, 1]
    assert final("b", "renamed.csv") == [1, 2]
    assert final("b", "others.csv") == [1, 1]
    assert final("b", "held.csv") == [2, 3]


def test_validation_rows_and_smoke_runs_do_not_count(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))
    assert evaluate_run(run, split="validation").look is None
    smoke = final_of_spec(load_small(tmp_path), settings(tmp_path, smoke=True))
    assert looks_of(smoke) == [None]
    assert evaluate_run(smoke).look is None
    assert not (tmp_path / "runs" / LEDGER).exists()
    assert all_looks(tmp_path / "runs").looks == ()


def test_a_look_that_fails_is_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))

    def fail(*arguments: object) -> None:
        assert looks_of(run) == [1]
        assert len(read_ledger(tmp_path / "runs").looks) == 1
        raise RuntimeError

    monkeypatch.setattr(evaluate_module, "score", fail)
    with pytest.raises(RuntimeError):
        evaluate_run(run)


def test_who_listens_hears_of_a_number_that_may_be_too_low(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path, REGRESSION), settings(tmp_path))
    evaluate_run(run)
    (tmp_path / "runs" / LEDGER).unlink()
    heard: list[str] = []

    class Hears(Listener):
        def message(self, text: str) -> None:
            heard.append(text)

    assert evaluate_run(run, Access(listener=Hears())).look == 2
    assert [text.partition(":")[0] for text in heard] == [f"{tmp_path}/runs/{LEDGER} is missing"]
