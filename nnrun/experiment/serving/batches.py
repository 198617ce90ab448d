"""Requests that come while others are computed wait for each other, and are then computed together."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from nnrun.experiment.serving.answers import Answer, failed_answer
from nnrun.experiment.serving.requests import Asked, Refused

_MOST_REQUESTS = 1024
_MOST_BYTES = 1 << 22  # of a batch of several requests
_MOST_WAITING = 1 << 28  # bytes; what comes then is told to come again
_AT_ONCE_SECONDS = 0.004
"""What takes less is computed between two events of the loop: a thread would wait longer for its turn."""


class Batcher:
    """Collects requests and has them answered, one batch at a time.

    Args:
        answer: answers some requests; called in the loop's thread or in another, never in both at once.
        failed: is told of an error that no request should cause.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], list[Answer]],
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._answer, self._failed = answer, failed
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._bytes = 0
        self._busy = False
        self._thread = ThreadPoolExecutor(1, "nnrun-predict")
        # What the command was asked, such as a number of threads, holds in the loop and in the thread.
        self._context = contextvars.copy_context()
        self._last = (1, 1.0)  # bytes and seconds of the last batch; of the first nothing is known
        self.batches = self.requests = 0

    async def ask(self, asked: Asked) -> Answer:
        """The answer to a request.

        Raises:
            Refused: too much is waiting (503).
        """
        if self._bytes > _MOST_WAITING:
            raise Refused(503, "too many rows are waiting; ask again in a second")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, future))
        self._bytes += len(asked.body)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next, loop)  # after the other requests that came with this one
        return await future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer those that wait, as many as make a batch."""
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        size = 0
        while self._waiting and len(batch) < _MOST_REQUESTS:
            asked, future = self._waiting[0]
            if batch and size + len(asked.body) > _MOST_BYTES:
                break
            self._waiting.popleft()
            self._bytes -= len(asked.body)
            if not future.cancelled():  # who asked may have left
                batch.append((asked, future))
                size += len(asked.body)
        if not batch:
            self._busy = False
        elif self._last[1] * max(1.0, size / self._last[0]) < _AT_ONCE_SECONDS:
            self._give(loop, batch, size, self._timed(batch))
        else:
            done = loop.run_in_executor(self._thread, self._timed, batch)
            done.add_done_callback(lambda found: self._give(loop, batch, size, found.result()))

    def _timed(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> tuple[list[Answer], float]:
        """The answers, and the seconds that they took."""
        return self._context.run(self._answered, batch)

    def _answered(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> tuple[list[Answer], float]:
        """The answers, and the seconds that they took."""
        started = time.perf_counter()
        answers = self._answers([asked for asked, _ in batch])
        return answers, time.perf_counter() - started

    def _answers(self, asked: Sequence[Asked]) -> list[Answer]:
        """The answers; an error is that of the one request that causes it, found by halving."""
        try:
            return self._answer(asked)
        except Exception as error:  # noqa: BLE001 - who asked gets an answer, and the server goes on
            if len(asked) > 1:
                half = len(asked) // 2
                return self._answers(asked[:half]) + self._answers(asked[half:])
            self._failed(error)
            return [failed_answer(error)]

    def _give(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[tuple[Asked, asyncio.Future[Answer]]],
        size: int,
        found: tuple[list[Answer], float],
    ) -> None:
        answers, seconds = found
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.cancelled():
                future.set_result(answer)
        self.batches, self.requests = self.batches + 1, self.requests + len(batch)
        self._last = (max(1, size), seconds)
        if self._waiting:
            loop.call_soon(self._next, loop)
        else:
            self._busy = False

    def close(self) -> None:
        """End the thread, once its batch is done."""
        self._thread.shutdown()
