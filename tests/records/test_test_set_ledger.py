"""The file that counts looks at test sets: lines are added, and read back whatever became of others."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import NnrunError
from nnrun.records.test_set_ledger import LEDGER, Look, append_looks, looks_of_record, read_ledger

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
    assert looks_of_record(RECORD) == (look("reuters-1", at="noon"),)
    # An older record does not name the data set; its file does.
    assert looks_of_record(RECORD | {"test_uses": [{"command": "final", "at": "noon"}]}) == (
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
    assert looks_of_record(RECORD | changes) == ()


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
    assert look().counts_with(look(**changes)) is together
