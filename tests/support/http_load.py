"""Clients that ask a server again and again over connections that stay open, with little work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Load:
    """What so many clients got.

    Attributes:
        answers: status → how many.
        seconds: of each answer.
        bodies: the last body of each client.
        errors: what went wrong with connections.
        refused: connections that could not be made, as after the server was stopped.
        closed: connections that the server closed after an answer which said so.
        took: seconds from the first request to the last answer.
    """

    answers: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    refused: int = 0
    closed: int = 0
    took: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers."""
        return sum(self.answers.values()) / self.took

    def percentile(self, share: float) -> float:
        """Seconds within which so many answers came."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def post(host: str, path: str, body: bytes) -> bytes:
    """A request, as bytes."""
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class _Client(asyncio.Protocol):
    """One connection, which asks for the next answer when it has one."""

    def __init__(self, number: int, load: Load, requests: Sequence[bytes], more: Callable[[], bool]) -> None:
        self.number, self.load, self.requests, self.more = number, load, requests, more
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked = 0
        self.waiting = self.last = False
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        if self.last or not self.more():
            self.transport.close()
            return
        request = self.requests[(self.number + self.asked) % len(self.requests)]
        self.asked, self.waiting, self.started = self.asked + 1, True, time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        status = int(head[9:12])
        self.load.answers[status] = self.load.answers.get(status, 0) + 1
        self.load.seconds.append(time.perf_counter() - self.started)
        self.load.bodies[self.number] = body
        self.buffer, self.waiting, self.last = b"", False, b"connection: close" in lower
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting:
            self.load.errors.append(f"closed before the answer: {error!r}")
        elif self.last:
            self.load.closed += 1
        if not self.done.done():
            self.done.set_result(None)


async def load_server(
    host: str,
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    most: int = 1_000_000,
) -> Load:
    """Ask a server by so many clients at once, for so long or so many requests."""
    load, loop = Load(), asyncio.get_running_loop()
    started = time.perf_counter()
    asked = 0

    def more() -> bool:
        nonlocal asked
        asked += 1
        return asked <= most and time.perf_counter() - started < seconds

    async def client(number: int) -> None:
        try:
            _, own = await loop.create_connection(lambda: _Client(number, load, requests, more), host, port)
        except ConnectionRefusedError:
            load.refused += 1
        else:
            await own.done

    await asyncio.gather(*map(client, range(clients)))
    load.took = time.perf_counter() - started
    return load
