"""Workers as processes of this machine, which share its CPUs, and its GPUs one after the other."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from typing import IO

from nnrun.experiment.launching.launcher import WorkerCommand, command_line, environment, trouble
from nnrun.lazy_torch import torch


class ProcessLauncher:
    """Starts workers as processes. A Ctrl-C in the terminal reaches the owner alone, which ends them."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._words: list[IO[bytes]] = []
        self._told: set[int] = set()

    def start(self, command: WorkerCommand, count: int) -> None:
        """Start so many processes."""
        gpus = _gpus(command.device)
        for number in range(count):
            own = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}
            words = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
            self._words.append(words)
            self._processes.append(
                subprocess.Popen(
                    command_line(command.arguments),
                    cwd=command.folder,
                    env=environment(count, own),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=words,
                    start_new_session=True,
                )
            )

    def at_work(self) -> int:
        """How many are running."""
        return sum(process.poll() is None for process in self._processes)

    def troubles(self) -> list[str]:
        """What became of those that ended as they should not."""
        found = []
        for number, process in enumerate(self._processes):
            if process.poll() is None or number in self._told:
                continue
            self._told.add(number)
            words = self._words[number]
            words.seek(0)
            said = words.read().decode("utf-8", "replace")
            if sentence := trouble(number + 1, process.returncode, said):
                found.append(sentence)
        return found

    def close(self, seconds: float) -> None:
        """End them: by asking, and after so many seconds without."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + seconds
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        for words in self._words:
            words.close()
        self._processes, self._words = [], []


def _gpus(device: str) -> list[str]:
    """The GPUs that workers are divided among, as CUDA_VISIBLE_DEVICES names them."""
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return given or [str(index) for index in range(torch.cuda.device_count())]
