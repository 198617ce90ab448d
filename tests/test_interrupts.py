"""Ctrl-C waits for what belongs together."""

import signal
import threading

import pytest

from nnrun.interrupts import uninterrupted

pytestmark = pytest.mark.faults


def test_a_ctrl_c_is_raised_at_the_end() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")

    with pytest.raises(KeyboardInterrupt), uninterrupted():
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_one_nothing_is_raised() -> None:
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_goes_through_and_the_handler_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match=r"^mine$"), uninterrupted():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_does_nothing() -> None:
    done: list[str] = []

    def work() -> None:
        with uninterrupted():
            done.append("here")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["here"]
