"""Shared work: each part is claimed by one worker at a time, and each result is written once."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.errors import DataError
from nnrun.machine import ProcessName, this_process
from nnrun.records.claims import SignOfLife, Timing, WorkFolder, WorkPlan, changed
from nnrun.records.create_once import create_once
from nnrun.records.takeover import MOST_ATTEMPTS, Observer, given_up, next_claim
from nnrun.records.work_starts import begin, remove, starts

QUICK = Timing(every=0.05, patience=0.5)
ELSEWHERE = ProcessName("elsewhere", "00000000", 1, "")


def work(tmp_path: Path, parts: list[list[int]], timing: Timing = QUICK) -> WorkFolder:
    return begin(tmp_path, WorkPlan(parts, timing), this_process())


def sign(folder: WorkFolder, name: str, count: int = 1, **what: object) -> SignOfLife:
    """Have a worker of another machine give a sign of life."""
    given = replace(SignOfLife(name, ELSEWHERE, count), **what)  # type: ignore[arg-type]
    folder.write_sign(given)
    return given


def all_at_once(count: int, act: object) -> list[object]:
    """Call a function from so many threads at the same moment."""
    barrier, found = threading.Barrier(count), []

    def one(number: int) -> None:
        barrier.wait()
        found.append(act(number))  # type: ignore[operator]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_many_that_make_a_file_one_does(tmp_path: Path) -> None:
    for round_ in range(20):
        path = tmp_path / f"file-{round_}"
        made = all_at_once(8, lambda number, path=path: create_once(path, b"%d" % number) and number)
        (winner,) = [number for number in made if number is not False]
        assert path.read_bytes() == b"%d" % winner  # type: ignore[operator]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_one_does_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refused)
    made = all_at_once(8, lambda number: create_once(tmp_path / "file", b"%d" % number))
    assert Counter(made) == {True: 1, False: 7}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [FileExistsError(errno.EEXIST, "exists"), OSError(errno.EIO, "lost")])
def test_a_link_whose_answer_was_lost_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    link = os.link

    def lost(*names: object) -> None:
        link(*names)  # type: ignore[arg-type]
        raise error

    monkeypatch.setattr(os, "link", lost)
    assert create_once(tmp_path / "file", b"mine")
    monkeypatch.setattr(os, "link", link)
    assert not create_once(tmp_path / "file", b"other")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_once(tmp_path / "gone" / "file", b"")


@given(st.lists(st.lists(st.integers(1, 999), min_size=1, max_size=4), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_every_part_is_claimed_once_whoever_asks(parts: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        own = work(Path(folder), parts)
        plan = own.read_plan()
        assert [list(part) for part in plan.parts] == parts
        observer = Observer(own, QUICK)
        for name in ("a", "b"):
            sign(own, name)
        claims = []
        while claim := next_claim(own, plan, observer, random.choice("ab")):
            claims.append(claim)
        assert sorted(claim.part for claim in claims) == list(range(len(parts)))
        assert {claim.generation for claim in claims} == {1}
        assert all(own.is_held(claim) for claim in claims)


def test_a_takeover_goes_to_one_and_the_one_before_notices(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]])
    plan = own.read_plan()
    sign(own, "old")
    old = own.take(0, 1, "old")
    assert old is not None
    sign(own, "old", left=True)
    taken = all_at_once(8, lambda n: next_claim(own, plan, Observer(own, QUICK), f"new-{n}"))
    (new,) = [claim for claim in taken if claim is not None]
    assert new.generation == 2  # type: ignore[attr-defined]
    assert not own.is_held(old)
    assert own.is_held(new)  # type: ignore[arg-type]


def test_one_is_dead_when_an_observer_has_seen_no_change_for_so_long(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]])
    now = [100.0]
    observer = Observer(own, Timing(every=2.0, patience=10.0), lambda: now[0])
    last = sign(own, "w")
    assert not observer.is_gone("w")
    for _ in range(4):
        now[0] += 2.4
        assert not observer.is_gone("w")
    last = changed(last)
    own.write_sign(last)
    assert not observer.is_gone("w")  # it has changed at the last moment
    now[0] += 1000.0  # the observer itself was asleep
    assert not observer.is_gone("w")
    now[0] += 4.0
    assert not observer.is_gone("w")
    now[0] += 4.0
    assert observer.is_gone("w")
    own.write_sign(changed(last))
    assert not observer.is_gone("w")


def test_one_that_never_signed_is_waited_for_and_one_that_left_is_not(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]])
    now = [0.0]
    observer = Observer(own, Timing(every=1.0, patience=2.0), lambda: now[0])
    assert not observer.is_gone("never")
    now[0] += 2.0
    assert observer.is_gone("never")
    sign(own, "left", left=True)
    assert observer.is_gone("left")


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]])
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    dead = replace(this_process(), pid=process.pid or 0, started="")
    own.write_sign(SignOfLife("w", dead))
    assert Observer(own, Timing()).is_gone("w")


def test_a_part_with_which_many_die_is_given_up_and_one_that_was_given_back_is_not(tmp_path: Path) -> None:
    own = work(tmp_path, [[1], [2]])
    plan = own.read_plan()
    for generation in range(1, MOST_ATTEMPTS + 3):
        for part in (0, 1):
            name = f"w{part}-{generation}"
            claim = own.take(part, generation, name) if generation <= MOST_ATTEMPTS or part else None
            if claim is not None:
                sign(own, name, left=True)
                if part:
                    own.give_back(claim)
    observer = Observer(own, QUICK)
    assert given_up(own, plan, observer) == [0]
    claim = next_claim(own, plan, observer, "next")
    assert claim is not None
    assert claim.part == 1
    assert next_claim(own, plan, observer, "other") is None


def test_a_result_is_written_once(tmp_path: Path) -> None:
    own = work(tmp_path, [[7]])
    published = all_at_once(8, lambda number: own.publish(7, {"by": number}) and number)
    (winner,) = [number for number in published if number is not False]
    assert own.result(7) == {"by": winner}
    assert own.finished() == {7}
    assert own.result(8) is None


def test_starts_are_numbered_and_go(tmp_path: Path) -> None:
    first = work(tmp_path, [[1]])
    second = work(tmp_path, [[1]])
    assert starts(tmp_path) == [first, second]
    remove(second)
    remove(first)
    assert starts(tmp_path) == []
    assert not list(tmp_path.iterdir())
    assert first.is_stopped()
    with pytest.raises(DataError):
        first.read_plan()
    assert work(tmp_path, [[1]]).path.name == "start-1"


def test_what_workers_tell_comes_in_whole_lines(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]])
    own.tell("w", "message", "one\ntwo")
    lines, position = own.told("w", 0)
    assert lines == [("message", "one\ntwo")]
    with (own.path / "worker-w.log").open("ab") as log:
        log.write(b'["detail", "to')
    assert own.told("w", position) == ([], position)
    with (own.path / "worker-w.log").open("ab") as log:
        log.write(b'rn"]\n')
    assert own.told("w", position)[0] == [("detail", "torn")]
