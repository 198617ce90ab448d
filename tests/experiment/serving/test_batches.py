"""Requests that wait for each other."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from nnrun.experiment.serving import batches
from nnrun.experiment.serving.answers import Answer
from nnrun.experiment.serving.batches import Batcher
from nnrun.experiment.serving.requests import Asked, Refused


class Told:
    """Answers each request with its own body, and notes the batches."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def answer(self, asked: Sequence[Asked]) -> list[Answer]:
        time.sleep(self.seconds)
        self.batches.append(len(asked))
        self.threads.add(threading.current_thread().name.rpartition("_")[0] or "main")
        if any(each.body == b"broken" for each in asked):
            raise ZeroDivisionError("no answer")
        return [Answer(200, each.body) for each in asked]


async def ask_all(batcher: Batcher, bodies: Sequence[bytes]) -> list[Answer]:
    found = await asyncio.gather(*(batcher.ask(Asked(body)) for body in bodies))
    batcher.close()
    return list(found)


def bodies(number: int) -> list[bytes]:
    return [b"%d" % place for place in range(number)]


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_everyone_gets_their_own_answer_and_few_batches_are_made(seconds: float) -> None:
    told = Told(seconds)

    async def waves() -> list[Answer]:
        batcher, found = Batcher(told.answer), []
        for wave in range(5):
            found += await asyncio.gather(*(batcher.ask(Asked(b"%d" % (10 * wave + i))) for i in range(10)))
        batcher.close()
        return found

    assert [answer.body for answer in asyncio.run(waves())] == bodies(50)
    assert told.batches == [10] * 5
    assert "nnrun-predict" in told.threads  # the first, of which nothing is known, does not hold up the loop
    assert ("MainThread" in told.threads or "main" in told.threads) == (seconds == 0.0)


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_what_the_command_was_asked_holds_for_all(seconds: float) -> None:
    asked: ContextVar[str] = ContextVar("asked", default="nothing")

    def answer(requests: Sequence[Asked]) -> list[Answer]:
        time.sleep(seconds)
        return [Answer(200, asked.get().encode()) for _ in requests]

    asked.set("two threads")
    batcher = Batcher(answer)
    asked.set("later")

    async def one_by_one() -> list[Answer]:
        return [await batcher.ask(Asked(b"x")) for _ in range(3)]

    assert asyncio.run(one_by_one()) == [Answer(200, b"two threads")] * 3
    batcher.close()


def test_a_batch_is_no_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST_REQUESTS", 4)
    told = Told()
    assert len(asyncio.run(ask_all(Batcher(told.answer), bodies(10)))) == 10
    assert told.batches == [4, 4, 2]
    monkeypatch.setattr(batches, "_MOST_BYTES", 3)
    told = Told()
    asyncio.run(ask_all(Batcher(told.answer), [b"xx", b"x", b"x", b"xxxxx", b"x"]))
    assert told.batches == [2, 1, 1, 1]


def test_an_error_is_an_answer_and_the_next_request_is_answered() -> None:
    told = Told()
    failed: list[Exception] = []

    async def two() -> list[Answer]:
        batcher = Batcher(told.answer, failed.append)
        found = [await batcher.ask(Asked(body)) for body in (b"broken", b"good")]
        batcher.close()
        return found

    broken, good = asyncio.run(two())
    assert (broken.status, json.loads(broken.body)) == (500, {"detail": "Internal Server Error"})
    assert (good, [str(error) for error in failed]) == (Answer(200, b"good"), ["no answer"])


def test_an_error_is_the_answer_to_none_but_the_request_that_causes_it() -> None:
    told = Told()
    failed: list[Exception] = []
    asked = [*bodies(6), b"broken", *bodies(5)]
    found = asyncio.run(ask_all(Batcher(told.answer, failed.append), asked))
    assert [answer.status for answer in found] == [200] * 6 + [500] + [200] * 5
    assert [answer.body for answer in found if answer.status == 200] == [*bodies(6), *bodies(5)]
    assert (len(failed), told.batches[0]) == (1, 12)
    assert len(told.batches) <= 1 + 2 * 4  # halves, not one by one


def test_who_left_is_not_answered() -> None:
    told = Told()

    async def leaving() -> Answer:
        batcher = Batcher(told.answer)
        left = asyncio.ensure_future(batcher.ask(Asked(b"left")))
        stays = asyncio.ensure_future(batcher.ask(Asked(b"stays")))
        await asyncio.sleep(0)
        left.cancel()
        found = await stays
        batcher.close()
        return found

    assert asyncio.run(leaving()) == Answer(200, b"stays")
    assert told.batches == [1]


def test_too_much_that_waits_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST_WAITING", 3)
    told = Told()

    async def many() -> list[object]:
        batcher = Batcher(told.answer)
        found = await asyncio.gather(*(batcher.ask(Asked(b"xx")) for _ in range(3)), return_exceptions=True)
        batcher.close()
        return list(found)

    first, second, third = asyncio.run(many())
    assert (first, second) == (Answer(200, b"xx"), Answer(200, b"xx"))
    assert isinstance(third, Refused)
    assert third.status == 503
