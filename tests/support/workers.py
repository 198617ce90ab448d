"""Workers that are forked from a process which has imported everything, so that each starts in a moment."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from nnrun.experiment.launching.launcher import WorkerCommand, trouble
from tests.support.commands import Command, start_nnrun


class ForkLauncher:
    """A launcher of forked processes, which tests can kill.

    Args:
        started: is told when all have been started.
    """

    def __init__(self, started: Callable[[ForkLauncher], None] = lambda _: None) -> None:
        self.processes: list[Command | subprocess.Popen[str]] = []
        self._started, self._told = started, set[int]()

    def start(self, command: WorkerCommand, count: int) -> None:
        """Start so many processes."""
        self.processes = [start_nnrun(*command.arguments, cwd=command.folder) for _ in range(count)]
        self._started(self)

    def at_work(self) -> int:
        """How many are running."""
        return sum(process.poll() is None for process in self.processes)

    def troubles(self) -> list[str]:
        """What became of those that ended as they should not."""
        found = []
        for number, process in enumerate(self.processes):
            code = process.poll()
            if code is not None and number not in self._told:
                self._told.add(number)
                found += [sentence for sentence in [trouble(number + 1, code, "")] if sentence]
        return found

    def close(self, seconds: float) -> None:
        """End them."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(seconds)
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            process.stderr.close()


def fork_workers(monkeypatch: pytest.MonkeyPatch, launcher: ForkLauncher | None = None) -> ForkLauncher:
    """Have the workers of sweeps and runs forked."""
    made = launcher or ForkLauncher()

    def make(_: Any) -> ForkLauncher:
        return made

    for module in ("sweeping.shared_trials", "running.shared_run"):
        monkeypatch.setattr(f"nnrun.experiment.{module}.make_launcher", make)
    return made
