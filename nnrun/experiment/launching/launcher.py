"""Who starts workers: processes of this machine, Ray or Slurm, behind one protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from nnrun.errors import UsageError
from nnrun.extras import require
from nnrun.limits import CPU_SHARE, wanted_threads
from nnrun.spec.allowed_modules import OPTION, allowed_modules

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of this nnrun's code."""

_TO_LEAVE = 20.0  # seconds
_LAST_WORDS = 2000  # characters

LauncherName = Literal["processes", "ray", "slurm"]


@dataclass(frozen=True)
class Workers:
    """How a sweep or run is shared among workers.

    Attributes:
        count: how many are started.
        launcher: who starts them.
        options: of the launcher: `num_cpus: 2` of Ray, `slurm_partition: gpu` of submitit.
    """

    count: int
    launcher: LauncherName = "processes"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerCommand:
    """What a worker is started as.

    Attributes:
        arguments: those of `nnrun`.
        folder: the working folder, from which code that the user brings is imported.
        work: the folder of the work, which all workers see.
        device: the one that was asked for.
    """

    arguments: Sequence[str]
    folder: Path
    work: Path
    device: str


class Launcher(Protocol):
    """Starts workers and knows how they are."""

    def start(self, command: WorkerCommand, count: int) -> None:
        """Start so many workers.

        Raises:
            UsageError: what it needs is not there.
        """

    def at_work(self) -> int:
        """How many are running, or are waiting for their turn."""

    def troubles(self) -> list[str]:
        """A sentence for each worker that has ended as it should not; each is told once."""

    def close(self, seconds: float) -> None:
        """Have those that are still there end, wait so long for it, and then end them."""


def make_launcher(workers: Workers) -> Launcher:
    """The launcher that was asked for.

    Raises:
        UsageError: its package is not installed, or an option does not fit it.
    """
    if workers.launcher == "ray":
        require("ray", {"ray": "Ray"}, "--launcher ray")
        from nnrun.experiment.launching.on_ray import RayLauncher

        return RayLauncher(workers.options)
    if workers.launcher == "slurm":
        require("slurm", {"submitit": "submitit"}, "--launcher slurm")
        from nnrun.experiment.launching.on_slurm import SlurmLauncher

        return SlurmLauncher(workers.options)
    if workers.options:
        raise UsageError(
            f"--launcher-set {next(iter(workers.options))}: processes of this machine have no options. "
            "--launcher ray and --launcher slurm have."
        )
    from nnrun.experiment.launching.processes import ProcessLauncher

    return ProcessLauncher()


def worker_arguments(
    command: str, folder: Path, *, device: str, compile_: str, data_dir: Path | None
) -> list[str]:
    """The command line of a worker that joins a sweep or a run, whose folder it is."""
    found = [command, "--worker", str(folder.resolve()), "--device", device, "-q", "--compile", compile_]
    if data_dir is not None:
        found += ["--data-dir", str(data_dir.resolve())]
    if (threads := wanted_threads()) is not None:
        found += ["--threads", str(threads)]
    for module in allowed_modules():
        found += [OPTION, module]
    return found


def command_line(arguments: Sequence[str]) -> list[str]:
    """How `nnrun` is started with the Python that runs here."""
    return [sys.executable, "-m", "nnrun", *arguments]


def environment(count_here: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a worker: this nnrun, and a share of this machine's CPUs.

    Args:
        count_here: how many workers share the machine.
        extra: variables to add.
    """
    found = {**os.environ, CPU_SHARE: str(count_here), "PYTHONSAFEPATH": "1", **(extra or {})}
    if PACKAGE.parent.name not in ("site-packages", "dist-packages"):  # a checkout, or code that Ray has sent
        earlier = found.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *([earlier] if earlier else [])])
    return found


def run_worker(arguments: Sequence[str], folder: str, count_here: int = 1) -> tuple[int, str]:
    """Run a worker to its end, in a process of its own where this is called; its exit code and last words.

    Whoever ends the caller ends the worker.
    """
    with subprocess.Popen(
        command_line(arguments),
        cwd=folder if os.path.isdir(folder) else None,
        env=environment(count_here),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, said = process.communicate()
        except BaseException:
            process.terminate()
            try:
                process.wait(_TO_LEAVE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, said[-_LAST_WORDS:]


def trouble(number: int, code: int, said: str) -> str | None:
    """A sentence about a worker that ended as it should not; None for one that did what it was to do."""
    if code in (0, 130, 143):
        return None
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    last = said.strip().splitlines()[-1:] if code > 0 else []
    return f"worker {number} {how}" + (f": {last[0].removeprefix('error: ')}" if last else "")
