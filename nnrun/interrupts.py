"""A Ctrl-C, or another request to stop, at a moment when a computation can be left as it is.

Python raises KeyboardInterrupt between any two instructions. Training stops between two batches instead:
engines call `stop_if_asked` before each, which does nothing outside `stopping_between_batches`. A second
request does not wait. What another program has set up to answer a signal is left alone, and so are threads
other than the main one, which Python never interrupts.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop; Windows has no SIGHUP."""

Answer = Callable[[int, Any], Any]


_leaving = False
"""Whether a command was asked to stop. A KeyboardInterrupt may get lost in an import that is under way."""


_first: int | None = None
"""The number of the first signal that asked a command to stop."""


def exit_code_of_interruption() -> int:
    """What a command that was asked to stop ends with, as a shell reports a signal: 130 for Ctrl-C."""
    return 128 + (signal.SIGINT if _first is None else _first)


def _tell_no_lost_answers() -> None:
    """Have Python write nothing of a KeyboardInterrupt that gets lost; `stop_if_leaving` answers after it."""
    before = sys.unraisablehook
    if getattr(before, "tells_no_lost_answers", False):
        return

    def tell(found: sys.UnraisableHookArgs) -> None:
        if not (_leaving and issubclass(found.exc_type, KeyboardInterrupt)):
            before(found)

    tell.tells_no_lost_answers = True  # type: ignore[attr-defined]
    sys.unraisablehook = tell


class Leave:
    """How a command answers requests to stop: the first as Ctrl-C does, the second by leaving at once.

    Attributes:
        came: the number of the first signal, once there was one.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._answered: list[int] = []

    def install(self) -> None:
        """Answer those that nobody has changed: under nohup SIGHUP is ignored, and stays so."""
        global _leaving, _first
        _leaving, _first = False, None
        _tell_no_lost_answers()
        for number in REQUESTS:
            untouched = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            if signal.getsignal(number) is untouched:
                self._answered.append(number)
                signal.signal(number, self)

    def asked(self, number: int) -> None:
        """Take note of the first. The system itself ends the process at the next, whatever it is doing."""
        global _leaving, _first
        _leaving = True
        if self.came is None:
            self.came = _first = number
        for each in self._answered:
            signal.signal(each, signal.SIG_DFL)

    def __call__(self, number: int, frame: object) -> None:
        """Raise KeyboardInterrupt, and let the next one end the process."""
        self.asked(number)
        raise KeyboardInterrupt


class _Watch:
    """What answers requests to stop during a training."""

    def __init__(self) -> None:
        self.patient = True
        self.came = False
        self._before = {
            number: answer
            for number in REQUESTS
            if (answer := signal.getsignal(number)) is signal.default_int_handler or isinstance(answer, Leave)
        }

    def install(self) -> None:
        for number in self._before:
            signal.signal(number, self)

    def remove(self) -> None:
        for number, answer in self._before.items():
            if signal.getsignal(number) is self:  # else the first request has settled what answers the next
                signal.signal(number, answer)

    def __call__(self, number: int, frame: object) -> None:
        answer = self._before[signal.Signals(number)]
        self.remove()
        if isinstance(answer, Leave):
            answer.asked(number)
        self.came = True
        if not self.patient:
            stop_if_asked()


_watch: _Watch | None = None


@contextmanager
def stopping_between_batches() -> Iterator[None]:
    """A request to stop that comes meanwhile is answered by the next `stop_if_asked`, or at the end."""
    global _watch
    if _watch is not None or not _in_main_thread():
        yield
        return
    if _leaving:
        raise KeyboardInterrupt
    watch = _watch = _Watch()
    watch.install()
    try:
        yield
    finally:
        watch.remove()
        _watch = None
        if watch.came:  # whatever else ended it: the user wants no more of the work, such as the next trial
            raise KeyboardInterrupt


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt where there was a request to stop. Called before every batch."""
    if _watch is not None and _watch.came and _in_main_thread():
        _watch.came = False  # whoever cleans up after it is not interrupted again
        raise KeyboardInterrupt


def stop_if_leaving() -> None:
    """Raise KeyboardInterrupt where the command was asked to stop, and something swallowed the answer.

    An import that is under way, a callback from C and a finalizer all do.
    """
    if _leaving and _in_main_thread():
        raise KeyboardInterrupt


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Within `stopping_between_batches`: work that is not a batch and takes long, such as compiling."""
    watch = _watch if _in_main_thread() else None
    if watch is None or not watch.patient:
        yield
        return
    stop_if_asked()
    watch.patient = False
    try:
        yield
    finally:
        watch.patient = True


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A request to stop that comes meanwhile is answered at the end, by whoever would have answered it.

    Only requests that something in Python answers are held back. Other threads are never interrupted anyway.
    """
    if not _in_main_thread():
        yield
        return
    came: list[int] = []
    answers = {number: signal.getsignal(number) for number in REQUESTS}
    # A watch raises nothing, and lets a second request through at once.
    held = {n: answer for n, answer in answers.items() if callable(answer) and not isinstance(answer, _Watch)}
    for number in held:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, answer in held.items():
            signal.signal(number, answer)
    if came:
        answer = held[signal.Signals(came[0])]
        assert callable(answer), "only callable answers were held back"
        answer(came[0], None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
