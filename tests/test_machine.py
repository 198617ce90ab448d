"""A process is known to have ended only where its machine can be asked."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from nnrun.machine import ProcessName, is_running, this_machine, this_process


def test_this_process_has_not_ended_and_is_named_alike_each_time() -> None:
    assert this_process() == this_process()
    assert not this_process().has_ended()
    assert len(this_machine()) == 8


def test_one_that_ended_has_ended_even_if_nobody_has_asked_how() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    named = replace(this_process(), pid=process.pid, started="")
    while is_running(process.pid):
        pass
    assert named.has_ended()
    process.wait()
    assert named.has_ended()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the start of a process is known on Linux alone")
def test_a_number_that_was_given_again_is_another_process() -> None:
    own = this_process()
    assert own.started.isdecimal()
    assert replace(own, started=str(int(own.started) + 1)).has_ended()


def test_a_process_of_another_machine_cannot_be_asked() -> None:
    assert not ProcessName("elsewhere", "00000000", 2**22 + 1, "").has_ended()
