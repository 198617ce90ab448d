"""Looks at a test set, numbered over all runs of a folder, the deleted ones too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nnrun.records import Look, RunDirectory, all_looks, count_look, delete_run, list_runs, looks_of_record
from nnrun.records.test_set_ledger import LEDGER


def look_of(runs_dir: Path, id_: str, at: str = "noon", **changes: Any) -> int:
    """A run that looks once more, as `final` and `evaluate` do; the look's number."""
    run = RunDirectory(runs_dir / id_)
    if run.is_run():
        record = run.read_record()
    else:
        run.path.mkdir(parents=True)
        source = {"name": "reuters.npz", "sha256": "1f"}
        record = {"id": id_, "name": "reuters", "status": "completed", "data": [source], **changes}
    record["test_uses"] = [*record.get("test_uses", []), {"command": "final", "at": at}]
    numbered = count_look(runs_dir, looks_of_record(record)[-1])
    assert numbered.problem is None
    run.write_record(record)
    return numbered.number


def total(runs_dir: Path, id_: str) -> int | None:
    return all_looks(runs_dir).of_record(RunDirectory(runs_dir / id_).read_record())


def test_looks_are_numbered_over_all_runs_of_a_name(tmp_path: Path) -> None:
    assert [look_of(tmp_path, "a"), look_of(tmp_path, "b"), look_of(tmp_path, "a", "later")] == [1, 2, 3]
    assert look_of(tmp_path, "c", name="wide") == 1
    assert look_of(tmp_path, "d", data=[{"name": "imdb.npz", "sha256": "2e"}]) == 1
    assert [total(tmp_path, id_) for id_ in "abcd"] == [3, 3, 1, 1]


def test_a_deleted_run_has_looked_all_the_same(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    look_of(tmp_path, "b")
    delete_run(RunDirectory(tmp_path / "a"), tmp_path)
    shutil.rmtree(tmp_path / "b")
    assert look_of(tmp_path, "c") == 3


def test_without_the_ledger_the_records_count(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    look_of(tmp_path, "b")
    delete_run(RunDirectory(tmp_path / "b"), tmp_path)
    (tmp_path / LEDGER).unlink()
    looks = all_looks(tmp_path)
    assert len(looks.looks) == 1
    assert looks.problem == (
        f"{tmp_path / LEDGER} is missing: looks at a test set are counted from the runs' own records, so "
        "looks by deleted runs are not included."
    )
    numbered = count_look(tmp_path, looks.looks[0].__class__(**{**vars(looks.looks[0]), "run": "c"}))
    assert (numbered.number, numbered.problem) == (2, looks.problem)
    assert all_looks(tmp_path).problem is None  # there is one again, and it has been said


def test_deleting_a_run_older_than_the_ledger_writes_its_looks_there(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    look_of(tmp_path, "a", "later")
    (tmp_path / LEDGER).unlink()
    delete_run(RunDirectory(tmp_path / "a"), tmp_path)
    assert look_of(tmp_path, "b") == 3


def test_a_copied_run_has_not_looked_again(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert look_of(tmp_path, "b") == 2
    (tmp_path / LEDGER).unlink()
    assert total(tmp_path, "b") == 2


def test_runs_that_never_looked_need_no_ledger(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a")
    run.path.mkdir()
    run.write_record({"id": "a", "name": "reuters", "status": "completed", "test_uses": []})
    looks = all_looks(tmp_path)
    assert (looks.looks, looks.problem) == ((), None)
    assert looks.of_record(run.read_record()) is None
    assert all_looks(tmp_path / "nowhere").looks == ()


def test_a_ledger_that_cannot_be_written_is_said_and_the_record_counts(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    (tmp_path / LEDGER).unlink()
    (tmp_path / LEDGER).mkdir()
    numbered = count_look(tmp_path, Look("reuters", ("1f",), "reuters", "b", "final", "later"))
    assert numbered.number == 2
    assert numbered.problem == (
        f"Cannot write {tmp_path / LEDGER}: Is a directory. The look is counted only in the run's record."
    )


def test_a_list_tells_a_run_s_looks_and_its_last_number(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    record = RunDirectory(tmp_path / "a").read_record()
    record["test_uses"] = [{"command": "final", "at": "noon", "look": 7}]
    RunDirectory(tmp_path / "a").write_record(record)
    (summary,) = list_runs(tmp_path)
    assert (summary.look, len(summary.looks)) == (7, 1)
