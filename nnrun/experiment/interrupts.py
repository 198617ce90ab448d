"""A Ctrl-C, or another request to stop, at a moment when what belongs together is kept together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A request to stop that comes meanwhile is answered at the end, by whoever would have answered it.

    Only requests that something in Python answers are held back. Other threads are never interrupted anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    answers = {number: signal.getsignal(number) for number in _REQUESTS}
    held = {number: answer for number, answer in answers.items() if callable(answer)}
    for number in held:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, answer in held.items():
            signal.signal(number, answer)
    if came:
        answer = held[signal.Signals(came[0])]
        assert callable(answer), "only such were held back"
        answer(came[0], None)
