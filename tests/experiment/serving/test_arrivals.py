"""Bodies that arrive slowly, or too many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from nnrun.experiment.serving import arrivals
from nnrun.experiment.serving.arrivals import Arrivals
from nnrun.experiment.serving.requests import Refused


class Sent:
    """What a client sends, and then nothing more."""

    def __init__(self, *parts: bytes, whole: bool = False) -> None:
        self.parts, self.whole = list(parts), whole

    async def __call__(self) -> MutableMapping[str, Any]:
        if not self.parts:
            await asyncio.Event().wait()
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.whole}


async def refused(arrivals: Arrivals, sent: Sent) -> Refused:
    with pytest.raises(Refused) as refusal:
        await arrivals.body(sent)
    return refusal.value


def test_a_body_of_several_parts() -> None:
    async def read() -> tuple[bytes | None, int]:
        found = Arrivals()
        return await found.body(Sent(b"ab", b"", b"cd", whole=True)), found.bytes

    assert asyncio.run(read()) == (b"abcd", 0)


def test_a_body_that_does_not_arrive_in_time_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_SECONDS", 0.05)

    async def read() -> tuple[Refused, int]:
        found = Arrivals()
        return await refused(found, Sent(b"ab")), found.bytes

    refusal, left = asyncio.run(read())
    assert (refusal.status, refusal.detail, left) == (
        408,
        "the body did not arrive within 0.05 s: 2 bytes of it came",
        0,
    )


def test_bodies_have_less_time_once_the_service_is_asked_to_stop() -> None:
    async def read() -> list[Refused]:
        found = Arrivals()
        first = asyncio.ensure_future(refused(found, Sent(b"a")))
        await asyncio.sleep(0)
        found.leave(0.05)
        second = await asyncio.wait_for(refused(found, Sent(b"b")), 10)
        return [await asyncio.wait_for(first, 10), second]

    assert [refusal.status for refusal in asyncio.run(read())] == [408, 408]


def test_unfinished_bodies_are_bounded_together_and_whole_ones_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_MOST_ARRIVING", 5)

    async def read() -> tuple[Refused, bytes | None, int, int]:
        found = Arrivals()
        held = asyncio.ensure_future(found.body(Sent(b"abcd")))
        await asyncio.sleep(0)
        refusal = await refused(found, Sent(b"xy"))
        whole = await found.body(Sent(b"abcdefgh", whole=True))
        during = found.bytes
        held.cancel()
        with pytest.raises(asyncio.CancelledError):  # the server ends: that is not late
            await held
        return refusal, whole, during, found.bytes

    refusal, whole, during, after = asyncio.run(read())
    assert (refusal.status, whole, during, after) == (503, b"abcdefgh", 4, 0)
