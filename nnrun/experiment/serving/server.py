"""A run's service on a port of this machine, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access
from nnrun.experiment.predicting.predict import Predictor, load_predictor
from nnrun.experiment.serving.answers import Answers
from nnrun.experiment.serving.app import Service
from nnrun.experiment.serving.batches import Batcher
from nnrun.experiment.serving.requests import NO_OPTIONS, Asked, Options
from nnrun.experiment.serving.typical_row import typical_row
from nnrun.extras import require
from nnrun.interrupts import REQUESTS
from nnrun.records import RunDirectory

_LOOPBACK = "127.0.0.1"
_BACKLOG = 2048
_WARM_UP = 3
_LEAVE_SECONDS = 1.0
"""So long may a request that is on its way, or its body, arrive once the service was asked to stop."""
_FINISH_SECONDS = 60


@dataclass(frozen=True)
class Place:
    """Where a service listens.

    Attributes:
        host: a name or an address of this machine.
        port: 0 for one that is free.
    """

    host: str = _LOOPBACK
    port: int = 8000


USUAL_PLACE = Place()


def place_of(host: str | None, port: int | None) -> Place:
    """The usual place, but for what is given."""
    return Place(USUAL_PLACE.host if host is None else host, USUAL_PLACE.port if port is None else port)


@dataclass(frozen=True)
class Served:
    """A service that listens.

    Attributes:
        predictor: the networks that answer.
        url: where it is reached.
        host, port: where it listens.
        example: a row that it takes.
    """

    predictor: Predictor
    url: str
    host: str
    port: int
    example: Any

    @property
    def for_all(self) -> bool:
        """Whether other machines may reach it."""
        return not (self.host == "localhost" or self.host == "::1" or self.host.startswith("127."))


def serve_run(
    run: RunDirectory,
    access: Access = DEFAULT_ACCESS,
    place: Place = USUAL_PLACE,
    *,
    usual: Options = NO_OPTIONS,
    spread: bool = False,
    started: Callable[[Served], None] = lambda served: None,
) -> int:
    """Answer requests until the process is asked to stop; those that came before are answered.

    Args:
        run: its folder.
        access: how it is opened.
        place: where to listen.
        usual: what an answer holds where a request does not say.
        spread: whether answers hold the standard deviation over several networks.
        started: is told once requests are answered.

    Returns:
        how many requests were answered.

    Raises:
        UsageError: the extra is not installed; the port is taken; or the run has not what is asked for.
        DataError: the run's files are missing or damaged.
    """
    require_serve()
    predictor = load_predictor(run, access, spread=spread, interval=usual.interval)
    answers, example = Answers(predictor, usual), typical_row(predictor)
    for _ in range(_WARM_UP):  # the first rows take longer than all others
        answers.answer([Asked(json.dumps(example).encode())])
    message = access.listener.message
    batcher = Batcher(
        answers.answer, lambda error: message(f"a request failed: {type(error).__name__}: {error}")
    )
    listening = _listening(place)
    with contextlib.closing(listening):
        port = listening.getsockname()[1]
        shown = f"[{place.host}]" if ":" in place.host else place.host
        served = Served(predictor, f"http://{shown}:{port}", place.host, port, example)
        service = Service(predictor, answers, batcher, example, served.url)
        _run(service, listening, lambda: started(served))
    batcher.close()
    return batcher.requests


def require_serve() -> None:
    """Raise UsageError unless the packages of the extra are here."""
    require("serve", {"fastapi": "fastapi", "uvicorn": "uvicorn"}, "`nnrun serve`")


def _listening(place: Place) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: there is no such address here, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"--host {place.host} is no address of this machine: {error}.") from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise UsageError(
            f"nnrun cannot listen on port {place.port} of {place.host}: {error.strerror or error}. Name "
            "another port, or --port 0 for one that is free."
        ) from None
    return found


def _run(service: Service, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answer what comes to a socket until a signal asks to stop."""
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn, but what is on its way when it is asked to stop is answered."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As uvicorn, but no signal is raised again at the end: the command has ended well."""
            before = {
                number: signal.signal(number, self.handle_exit)
                for number in REQUESTS
                if signal.getsignal(number) is not signal.SIG_IGN
            }
            try:
                yield
            finally:
                for number, answer in before.items():
                    signal.signal(number, answer)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """The first request to stop is awaited, the second is not."""
            self.force_exit = self.should_exit
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for server in self.servers:
                server.close()
            service.leave(_LEAVE_SECONDS)
            await self._left()
            await super().shutdown(sockets)

        async def _left(self) -> None:
            """Wait until all connections are closed, or nothing more comes."""
            for _ in range(int(_LEAVE_SECONDS / 0.02)):
                if not self.server_state.connections or self.force_exit:
                    return
                await asyncio.sleep(0.02)

    config = uvicorn.Config(
        service,
        access_log=False,
        log_config=None,
        log_level="critical",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    Server(config).run(sockets=[listening])
