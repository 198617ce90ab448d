"""Workers that are forked from a process which has imported everything, so that each starts in a moment."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.launching.launcher import WorkerCommand, trouble
from tests.support.commands import Command, start_nnrun


class ForkLauncher:
    """A launcher of forked processes, which tests can kill.

    Args:
        started: is told when all have been started.
        setups: Python that the workers of the first start run before they begin, of the second, and so on.
    """

    def __init__(
        self, started: Callable[[ForkLauncher], None] = lambda _: None, setups: Sequence[str] = ()
    ) -> None:
        self.processes: list[Command | subprocess.Popen[str]] = []
        self.starts: list[int] = []
        self._started, self._setups, self._told = started, setups, set[int]()

    def start(self, command: WorkerCommand, count: int) -> None:
        """Start so many processes."""
        setup, self._told = self._setups[len(self.starts) : len(self.starts) + 1], set()
        env = {"PYTEST_NNRUN_SETUP": setup[0]} if setup else None
        self.processes = [start_nnrun(*command.arguments, cwd=command.folder, env=env) for _ in range(count)]
        self.starts.append(count)
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


_DYING = """
import os, signal
from nnrun.experiment.launching.membership import Membership
note, own = Membership.note, [0]
def and_perhaps_die(self, what):
    note(self, what)
    own[0] += 1
    for number, epoch in enumerate({epochs}):
        if own[0] >= epoch:
            try:
                os.close(os.open(os.path.join({folder!r}, f"died-{{number}}"), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
Membership.note = and_perhaps_die
"""


def dying(folder: Path, *epochs: int) -> str:
    """A setup of workers of whom some are killed by SIGKILL at an epoch, however fast or slow they are.

    Args:
        folder: for a file of each death.
        epochs: for each death how many epochs a worker has trained by then, those of all its networks' runs
            counted. Who comes to it first dies, and each dies once.
    """
    folder.mkdir()
    return _DYING.format(epochs=epochs, folder=str(folder))


def deaths(folder: Path) -> int:
    """How many have died."""
    return len(list(folder.glob("died-*")))


def fork_workers(monkeypatch: pytest.MonkeyPatch, launcher: ForkLauncher | None = None) -> ForkLauncher:
    """Have the workers of sweeps and runs forked."""
    made = launcher or ForkLauncher()

    def make(_: Any) -> ForkLauncher:
        return made

    for module in ("sweeping.shared_trials", "running.shared_run"):
        monkeypatch.setattr(f"nnrun.experiment.{module}.make_launcher", make)
    return made
