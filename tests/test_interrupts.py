"""Ctrl-C waits for what belongs together."""

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from nnrun import interrupts
from nnrun.interrupts import (
    Leave,
    stop_if_asked,
    stopping_at_once,
    stopping_between_batches,
    uninterrupted,
)
from tests.support.commands import nnrun_command

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


def test_of_an_answer_that_is_swallowed_nothing_is_printed_and_it_is_given_later() -> None:
    """As in a callback of an import that is under way."""
    program = """
import signal
from nnrun.interrupts import Leave, stop_if_leaving
class Finalized:
    def __init__(self, error):
        self.error = error
    def __del__(self):
        if self.error:
            raise self.error
        signal.raise_signal(signal.SIGINT)
Leave().install()
Finalized(ValueError("told"))
Finalized(None)
try:
    stop_if_leaving()
except KeyboardInterrupt:
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "stopped\n"
    assert "ValueError: told" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr


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


def test_training_stops_where_it_looks_and_not_before() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def train() -> None:
        for batch in range(5):
            stop_if_asked()
            if batch == 2:
                signal.raise_signal(signal.SIGINT)
            done.append(batch)

    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        train()
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is before
    stop_if_asked()  # the request has been answered


def test_a_request_after_the_last_look_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        signal.raise_signal(signal.SIGINT)


def test_a_request_is_not_lost_where_an_error_ends_the_training() -> None:
    """A sweep would go on with its next trial."""

    def diverge() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("diverged")

    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        diverge()


def test_a_second_request_does_not_wait() -> None:
    done = []

    def train() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("first")
        signal.raise_signal(signal.SIGINT)
        done.append("second")

    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        train()
    assert done == ["first"]


def test_a_request_while_compiling_does_not_wait() -> None:
    done = []

    def compile_steps() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("compiled")

    with pytest.raises(KeyboardInterrupt), stopping_between_batches(), stopping_at_once():
        compile_steps()
    assert not done


def test_what_belongs_together_is_kept_together_during_training_too() -> None:
    done = []

    def train() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("kept")
        done.append("batch")
        stop_if_asked()

    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        train()
    assert done == ["kept", "batch"]


def test_what_a_program_answers_itself_is_left_to_it() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with stopping_between_batches():
            signal.raise_signal(signal.SIGTERM)
            stop_if_asked()
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_training_in_another_thread_leaves_signals_alone() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def train() -> None:
        with stopping_between_batches(), stopping_at_once():
            found.append(signal.getsignal(signal.SIGINT))
            stop_if_asked()

    def ask_and_train() -> None:
        signal.raise_signal(signal.SIGINT)  # is for the main thread alone
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()

    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        ask_and_train()
    assert found == [before]


def test_a_request_that_got_lost_before_is_answered_where_training_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An import may swallow a KeyboardInterrupt."""
    monkeypatch.setattr(interrupts, "_leaving", False)
    leave = Leave()
    with suppress(KeyboardInterrupt):
        leave(signal.SIGTERM, None)
    done = []
    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        done.append("batch")
    assert not done
    assert leave.came == signal.SIGTERM


def test_a_request_that_was_swallowed_is_answered_before_something_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupts, "_leaving", False)
    interrupts.stop_if_leaving()
    leave = Leave()
    leave.asked(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interrupts.stop_if_leaving()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["plot", "report"])
def test_a_request_that_something_swallows_ends_the_command_all_the_same(
    number: int, command: str, tmp_path: Path
) -> None:
    """As a callback from C does, or a finalizer: Python prints what was raised there, and goes on."""
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"id": "x", "name": "x", "status": "completed"}')
    (run / "history.csv").write_text("epoch,loss,learning_rate,seconds\n1,0.5,0.1,0.1\n")
    (run / "resolved.yaml").write_text("name: x\n")
    setup = f"""
import os
import nnrun.experiment.describing.learning_curves as curves, nnrun.experiment.describing.report as report
import nnrun.experiment.describing.run_blocks as blocks
report.analysis_blocks = lambda *_: []
made = curves.make_panels
def swallowing(*args, **kwargs):
    class Dying:
        def __del__(self):
            os.kill(os.getpid(), {number:d})
    Dying()
    return made(*args, **kwargs)
curves.make_panels = blocks.make_panels = swallowing
"""
    done = nnrun_command(command, "x", cwd=tmp_path, env={"PYTEST_NNRUN_SETUP": setup})
    assert done.returncode == 128 + number
    assert "interrupted" in done.stderr
    assert not [path for path in run.rglob("*") if path.suffix in (".png", ".html", ".tmp")]
