"""Bodies that are being received: how long they may take, and how many bytes they may be together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from nnrun.experiment.serving.requests import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MOST_BYTES = 32 << 20
"""Of a body."""
TOO_LONG = f"the body is longer than {MOST_BYTES:,} bytes: ask for fewer rows at a time"
_MOST_ARRIVING = 1 << 28  # bytes of all unfinished bodies; what comes then is told to come again
_SECONDS = 60.0
"""A body that has not arrived by then is dropped."""


class Arrivals:
    """The bodies that are being received.

    Attributes:
        bytes: of all bodies that have begun to arrive and are not whole yet.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._seconds = _SECONDS
        self._open: set[_Arrival] = set()

    def leave(self, seconds: float) -> None:
        """From now on a body has no more than so many seconds to arrive, one that is arriving too."""
        self._seconds = min(self._seconds, seconds)
        for arrival in self._open:
            arrival.end_within(self._seconds)

    async def body(self, receive: Receive) -> bytes | None:
        """The body of a request; None where the connection ended before it.

        Raises:
            Refused: it took too long (408), is too long (413), or too much is arriving (503).
        """
        arrival = _Arrival()
        arrival.end_within(self._seconds)
        self._open.add(arrival)
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part: bytes = message.get("body", b"")
                if len(body) + len(part) > MOST_BYTES:
                    raise Refused(413, TOO_LONG)
                if not message.get("more_body", False):
                    return part if not body else bytes(body + part)
                if self.bytes + len(part) > _MOST_ARRIVING:
                    raise Refused(503, "too many unfinished bodies are arriving; ask again in a second")
                body += part
                self.bytes += len(part)
        except asyncio.CancelledError:
            if not arrival.late:
                raise  # the server ends
            raise Refused(
                408, f"the body did not arrive within {arrival.seconds:g} s: {len(body):,} bytes of it came"
            ) from None
        finally:
            arrival.end.cancel()
            self._open.discard(arrival)
            self.bytes -= len(body)


class _Arrival:
    """The time that a body has. Python 3.10 has no `asyncio.timeout`, and `wait_for` starts a task each time.

    Attributes:
        seconds: so many, since it began or since they were made fewer.
        late: whether they are over.
        end: what comes then.
    """

    end: asyncio.TimerHandle

    def __init__(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self.seconds, self.late = 0.0, False

    def end_within(self, seconds: float) -> None:
        """Cancel the task that receives after so many seconds, unless its time is over before."""
        when = self._loop.time() + seconds
        if self.seconds:
            if self.end.when() <= when:
                return
            self.end.cancel()
        self.seconds, self.end = seconds, self._loop.call_at(when, self._over)

    def _over(self) -> None:
        self.late = True
        if self._task is not None:
            self._task.cancel()
