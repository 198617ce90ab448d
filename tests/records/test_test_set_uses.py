"""Looks at a test set: lines of a file that read back whatever became of others, numbered over all runs."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import NnrunError
from nnrun.records import RunDirectory, RunRecord, all_looks, delete_run, list_runs
from nnrun.records.looks import Look, LookCount, looks_of_record
from nnrun.records.run_record import TestUse
from nnrun.records.run_summary import RunSummary
from nnrun.records.test_set_uses import (
    LEDGER,
    Looks,
    append_looks,
    count_look,
    look_at_test_set,
    missing_in_ledger,
    read_ledger,
)

pytestmark = pytest.mark.faults


def look(run: str = "a", **changes: Any) -> Look:
    known = {"data": "reuters", "sha256": ("1f",), "name": "reuters", "command": "final", "at": "2026-01-01"}
    return Look(run=run, **(known | changes))


def test_what_is_added_is_read_back_in_order(tmp_path: Path) -> None:
    looks = [look(name="Rosé\n", sha256=("1f", "2e")), look("b", command="evaluate"), look("b")]
    append_looks(tmp_path, looks[:1])
    append_looks(tmp_path, looks[1:])
    ledger = read_ledger(tmp_path)
    assert (ledger.looks, ledger.problem, ledger.exists) == (tuple(looks), None, True)
    first, *_ = (tmp_path / LEDGER).read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {
        "data": "reuters",
        "sha256": ["1f", "2e"],
        "name": "Rosé\n",
        "run": "a",
        "command": "final",
        "at": "2026-01-01",
    }


def test_what_was_added_since_can_be_read_alone(tmp_path: Path) -> None:
    end = append_looks(tmp_path, [look("a"), look("b")])
    assert end == (tmp_path / LEDGER).stat().st_size
    append_looks(tmp_path, [look("c")])
    assert read_ledger(tmp_path, start=end).looks == (look("c"),)


def test_no_ledger_is_no_looks(tmp_path: Path) -> None:
    ledger = read_ledger(tmp_path)
    assert (ledger.looks, ledger.problem, ledger.exists) == ((), None, False)


def test_many_at_once_lose_no_line(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda i: append_looks(tmp_path, [look(f"run-{i}")]), range(64)))
    ledger = read_ledger(tmp_path)
    assert ledger.problem is None
    assert sorted(each.run for each in ledger.looks) == sorted(f"run-{i}" for i in range(64))
    assert len(set(ends)) == 64
    assert max(ends) == (tmp_path / LEDGER).stat().st_size


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe\n", b"[]\n", b'{"data": "x"}\n', b"{}\n", b"[" * 100_000 + b"\n", b'{"data": "reu'],
)
def test_a_damaged_line_is_told_of_and_hides_no_other(damage: bytes, tmp_path: Path) -> None:
    append_looks(tmp_path, [look("a")])
    with (tmp_path / LEDGER).open("ab") as file:
        file.write(damage)
    append_looks(tmp_path, [look("b")])  # begins a line of its own, also after one that was never finished
    ledger = read_ledger(tmp_path)
    assert [each.run for each in ledger.looks] == ["a", "b"]
    assert ledger.problem == (
        f"{tmp_path / LEDGER}: line 2 is damaged: looks at a test set are counted from the runs' own "
        "records, so those of deleted runs may be missing."
    )


def test_several_damaged_lines_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("x\n\ny\n")
    problem = read_ledger(tmp_path).problem
    assert problem is not None
    assert problem.startswith(f"{tmp_path / LEDGER}: 2 lines from 1 on are damaged: ")


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / LEDGER).mkdir()
    problem = read_ledger(tmp_path).problem
    assert problem is not None
    assert problem.startswith(f"Cannot read {tmp_path / LEDGER} (Is a directory): ")
    with pytest.raises(NnrunError) as caught:
        append_looks(tmp_path, [look()])
    assert str(caught.value) == f"Cannot write {tmp_path / LEDGER}: Is a directory."


def test_a_line_is_on_the_disk_before_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_size))
    end = append_looks(tmp_path, [look()])
    assert seen == [end]


RECORD: dict[str, Any] = {
    "id": "reuters-1",
    "name": "reuters",
    "data": [{"name": "reuters.npz", "sha256": "1f", "rows": 3}],
    "test_uses": [{"command": "final", "at": "noon", "data": "reuters", "look": 2}],
}


def test_the_looks_of_a_record() -> None:
    assert looks_of_record(RunRecord.read(RECORD)) == (look("reuters-1", at="noon"),)
    # An older record does not name the data set; its file does.
    assert looks_of_record(RunRecord.read(RECORD | {"test_uses": [{"command": "final", "at": "noon"}]})) == (
        look("reuters-1", at="noon"),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"smoke": True},
        {"test_uses": []},
        {"test_uses": None},
        {"test_uses": "twice"},
        {"test_uses": [1, None]},
    ],
)
def test_a_record_of_no_looks(changes: dict[str, Any]) -> None:
    assert looks_of_record(RunRecord.read(RECORD | changes)) == ()


@pytest.mark.parametrize(
    ("changes", "together"),
    [
        ({}, True),
        ({"run": "b", "command": "evaluate", "at": "later"}, True),
        ({"sha256": ("0a", "1f")}, True),  # one of its files is the same
        ({"data": "newswires"}, True),  # the same file by another name
        ({"sha256": ("0a",)}, False),
        ({"sha256": ()}, False),
        ({"name": "reuters-wide"}, False),
    ],
)
def test_which_looks_count_together(changes: dict[str, Any], together: bool) -> None:
    other = look(**changes)
    found = Looks((look("x", name="else"), other)).like(look())
    assert found.by_name == together
    assert found.by_any == 1 + (not set(other.sha256).isdisjoint(look().sha256))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("1234"), max_size=3)),
        min_size=1,
        max_size=12,
    )
)
def test_counts_are_those_of_a_plain_search(looked: list[tuple[str, list[str]]]) -> None:
    looks = Looks(tuple(look(name=name, sha256=tuple(files)) for name, files in looked))
    for one in looks.looks:
        same = [other for other in looks.looks if set(other.sha256) & set(one.sha256)]
        assert looks.like(one) == LookCount(sum(o.name == one.name for o in same), len(same))


def test_many_looks_are_counted_without_comparing_each_with_each(tmp_path: Path) -> None:
    """One that compares each with each takes 400 million steps here, which is minutes."""
    looks = [look(f"run-{i}", name=f"experiment-{i % 500}") for i in range(20_000)]
    summaries = [RunSummary(RunDirectory(tmp_path / one.run), "completed", looks=(one,)) for one in looks]
    known = all_looks(tmp_path, summaries)
    assert {known.of_run(summary.looks) for summary in summaries} == {LookCount(40, 20_000)}


def look_of(runs_dir: Path, id_: str, at: str = "noon", **changes: Any) -> int:
    """A run that looks once more, as `final` and `evaluate` do; the look's number among those of its name."""
    return count_of(runs_dir, id_, at, **changes).by_name


def count_of(runs_dir: Path, id_: str, at: str = "noon", **changes: Any) -> LookCount:
    run = RunDirectory(runs_dir / id_)
    if run.is_run():
        record = run.read_record()
    else:
        run.path.mkdir(parents=True)
        source = {"name": "reuters.npz", "sha256": "1f"}
        record = RunRecord.read(
            {"id": id_, "name": "reuters", "status": "completed", "data": [source], **changes}
        )
    record.test_uses = [*record.test_uses, TestUse(command="final", at=at)]
    number, problem = count_look(runs_dir, looks_of_record(record)[-1])
    assert problem is None
    run.write_record(record)
    return number


def total(runs_dir: Path, id_: str) -> int | None:
    count = all_looks(runs_dir).of_record(RunDirectory(runs_dir / id_).read_record())
    return None if count is None else count.by_name


def test_looks_by_experiments_of_other_names_are_counted_beside(tmp_path: Path) -> None:
    renamed = [{"name": "newswires.npz", "sha256": "1f"}]
    counts = [
        count_of(tmp_path, "a"),
        count_of(tmp_path, "b", name="wide", data=renamed),
        count_of(tmp_path, "c", name="wide", data=[{"name": "imdb.npz", "sha256": "2e"}]),
        count_of(tmp_path, "a", "later"),
    ]
    assert counts == [LookCount(1, 1), LookCount(1, 2), LookCount(1, 1), LookCount(2, 3)]
    shutil.rmtree(tmp_path / "b")
    delete_run(RunDirectory(tmp_path / "a"), tmp_path)
    assert count_of(tmp_path, "d", name="third") == LookCount(1, 4)


def test_only_the_files_of_test_rows_tell_test_sets_apart(tmp_path: Path) -> None:
    """Other training rows with the same test file, and another test file beside the same training rows."""
    heard: list[str] = []

    def looked(id_: str, *hashes: str) -> LookCount | None:
        run = RunDirectory(tmp_path / id_)
        run.path.mkdir()
        data = [{"name": name, "sha256": sha256} for name, sha256 in zip(("a", "b"), hashes, strict=True)]
        record = RunRecord.read({"id": id_, "name": "x", "status": "completed", "data": data})
        count = look_at_test_set(run, record, "x", "final", heard.append, sha256=hashes[1:])
        assert run.read_record().test_uses[0].sha256 == [hashes[1]]
        return count

    assert looked("first", "train", "test") == LookCount(1, 1)
    assert looked("second", "train", "other") == LookCount(1, 1)
    assert looked("third", "more", "test") == LookCount(2, 2)
    (tmp_path / LEDGER).unlink()
    assert [total(tmp_path, id_) for id_ in ("first", "second", "third")] == [2, 1, 2]
    assert heard == []


def test_what_the_ledger_lacks(tmp_path: Path) -> None:
    lines = [look("a"), look("b", name="Rosé")]
    assert missing_in_ledger(tmp_path, lines) == lines
    append_looks(tmp_path, lines[:1])
    text = json.dumps(
        {**json.loads(json.dumps(asdict(lines[1])))}, sort_keys=True
    )  # as another program may write it
    assert missing_in_ledger(tmp_path, lines) == lines[1:]
    with (tmp_path / LEDGER).open("a") as file:
        file.write(text + "\n")
    assert missing_in_ledger(tmp_path, lines) == []


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
    counted = count_look(tmp_path, replace(looks.looks[0], run="c"))
    assert counted == (LookCount(2, 2), looks.problem)
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
    run.write_record(RunRecord(id="a", name="reuters", status="completed", test_uses=[]))
    looks = all_looks(tmp_path)
    assert (looks.looks, looks.problem) == ((), None)
    assert looks.of_record(run.read_record()) is None
    assert all_looks(tmp_path / "nowhere").looks == ()


def test_a_ledger_that_cannot_be_written_is_said_and_the_record_counts(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    (tmp_path / LEDGER).unlink()
    (tmp_path / LEDGER).mkdir()
    number, problem = count_look(tmp_path, Look("reuters", ("1f",), "reuters", "b", "final", "later"))
    assert number == LookCount(2, 2)
    assert problem == (
        f"Cannot write {tmp_path / LEDGER}: Is a directory. The look is counted only in the run's record."
    )


def test_a_list_tells_a_run_s_looks_and_its_last_number(tmp_path: Path) -> None:
    look_of(tmp_path, "a")
    record = RunDirectory(tmp_path / "a").read_record()
    record.test_uses = [TestUse(command="final", at="noon", look=7, look_of_any=9)]
    RunDirectory(tmp_path / "a").write_record(record)
    (summary,) = list_runs(tmp_path)
    assert (summary.look, summary.look_of_any, len(summary.looks)) == (7, 9, 1)
