"""A worker in shared work. Processes race, die and are paused on one folder, and note what they do."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from nnrun.experiment.launching.membership import ClaimLost, Membership, WorkStopped
from nnrun.machine import ProcessName, this_process
from nnrun.records.claims import SignOfLife, Timing, WorkFolder, WorkPlan
from nnrun.records.takeover import Observer, given_up
from nnrun.records.work_starts import begin

QUICK = Timing(every=0.05, patience=0.5)
ELSEWHERE = ProcessName("elsewhere", "00000000", 1, "")


def work(tmp_path: Path, parts: list[list[int]], timing: Timing = QUICK) -> WorkFolder:
    return begin(tmp_path, WorkPlan(parts, timing), this_process())


def test_a_worker_leaves_when_it_is_asked_to_and_its_part_is_free(tmp_path: Path) -> None:
    own = work(tmp_path, [[1], [2]])

    def stop(member: Membership) -> None:
        with member:
            assert member.next() is not None
            own.ask_to_stop()
            member.publish(1, {})

    with pytest.raises(WorkStopped):
        stop(Membership(own))
    assert own.given_back() == {0: {1}}
    assert own.finished() == set()
    assert [each.left for each in own.workers()] == [True]


def test_a_worker_leaves_when_its_owner_is_gone(tmp_path: Path) -> None:
    own = work(tmp_path, [[1]], Timing(every=0.02, patience=0.1))
    own.write_sign(SignOfLife("", ELSEWHERE))
    until = time.monotonic() + 120

    def wait(member: Membership) -> None:
        member.next()
        while time.monotonic() < until:
            member.check()
            time.sleep(0.01)

    with Membership(own) as member, pytest.raises(WorkStopped):
        wait(member)


def test_a_worker_that_was_taken_for_dead_writes_nothing_more(tmp_path: Path) -> None:
    own = work(tmp_path, [[1], [2]])
    with Membership(own) as member:
        claim = member.next()
        assert claim is not None
        other = own.take(claim.part, claim.generation + 1, "other")
        assert other is not None
        with pytest.raises(ClaimLost):
            member.publish(1, {"by": "old"})
        assert member.claim is None
        assert own.finished() == set()
        again = member.next()
        assert again is not None
        assert again.part == 1


# --- many processes, some of which die or are paused ---------------------------------------------------


def labour(folder: Path, seed: int, journal: Path) -> None:
    """A worker that notes what it begins and ends; at random it dies at once, in whatever it is doing."""
    rng = random.Random(seed)

    def note(what: str, part: int) -> None:
        with journal.open("ab") as file:
            file.write(f"{what} {part} {os.getpid()}\n".encode())

    def perhaps_die() -> None:
        if rng.random() < 0.12:
            os.kill(os.getpid(), signal.SIGKILL)

    with Membership(WorkFolder(folder)) as member:
        try:
            while (claim := member.next()) is not None:
                note("began", claim.part)
                try:
                    for item in member.plan.parts[claim.part]:
                        time.sleep(rng.random() * 0.01)
                        perhaps_die()
                        member.check(now=True)
                        if member.publish(item, {"by": os.getpid()}):
                            note("wrote", item)
                        perhaps_die()
                except ClaimLost:
                    note("lost", claim.part)
        except WorkStopped:
            pass


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize(("seed", "patience", "pause"), [(1, 1.0, 0.1), (2, 0.2, 0.6)])
def test_processes_that_race_die_and_sleep_do_everything_once(
    tmp_path: Path, seed: int, patience: float, pause: float
) -> None:
    """Six workers at a time on 60 parts of two items; the dead are replaced, and one sleeps now and then.

    Where it sleeps for longer than others wait, they take its part, and it goes on with another.
    """
    rng = random.Random(seed)
    parts = [[2 * n, 2 * n + 1] for n in range(60)]
    own = work(tmp_path, parts, Timing(every=0.05, patience=patience))
    context, journal = multiprocessing.get_context("fork"), tmp_path / "journal"
    items, alive, started = {item for part in parts for item in part}, [], 0
    until, count = time.monotonic() + 300, 0
    while not items <= own.finished():
        assert time.monotonic() < until, "the workers do not come to an end"
        alive = [process for process in alive if process.is_alive()]
        while len(alive) < 6:
            started += 1
            process = context.Process(target=labour, args=(own.path, 1000 * seed + started, journal))
            process.start()
            alive.append(process)
        sleeper = rng.choice(alive)
        if sleeper.is_alive() and sleeper.pid is not None:
            os.kill(sleeper.pid, signal.SIGSTOP)
            time.sleep(rng.random() * pause)
            os.kill(sleeper.pid, signal.SIGCONT)
        # Nobody takes a part from which so many have died: here they die without a reason.
        for part in given_up(own, own.read_plan(), Observer(own, QUICK)):
            for item in parts[part]:
                own.publish(item, {"by": 0})
        count += 1
        own.write_sign(SignOfLife("", this_process(), count))
    own.ask_to_stop()
    for process in alive:
        process.join(120)
    assert own.finished() == items
    lines = [line.split() for line in journal.read_text().splitlines()]
    wrote = Counter(int(number) for what, number, _ in lines if what == "wrote")
    by_workers = {item for item in items if (own.result(item) or {})["by"] != 0}
    assert set(wrote.values()) <= {1}, "an item was written twice"
    assert set(wrote) <= by_workers
    # Who wrote a result may have been killed before it noted so, and never the other way round.
    assert len(by_workers - set(wrote)) <= started
    assert started > 6, "nobody died"
    begun = Counter(int(number) for what, number, _ in lines if what == "began")
    assert set(begun) == set(range(60))
    # How many are taken for dead depends on the load, which makes signs of life come late.
    claims = own.claims()
    assert all(times <= claims[part] for part, times in begun.items()), "a claim was used twice"
