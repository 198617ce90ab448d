"""Commands on several processes, which find the variables that torchrun sets."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.commands import Command, run_program, start_nnrun

_TORCHRUN = """
import runpy, sys
sys.argv[0] = "torchrun"
runpy.run_module("torch.distributed.run", run_name="__main__", alter_sys=True)
"""


def torchrun(processes: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `torchrun --nproc-per-node PROCESSES ARGUMENTS`; the processes that it starts import all anew."""
    return run_program(_TORCHRUN, "--nproc-per-node", processes, *arguments, cwd=cwd)


def start_on_ranks(
    world_size: int, *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> list[Command | subprocess.Popen[str]]:
    """Start one command as torchrun would, one process for each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "none",
        **(env or {}),
    }
    return [
        start_nnrun(*arguments, cwd=cwd, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world_size)
    ]


def outcomes(
    processes: Sequence[Command | subprocess.Popen[str]],
) -> list[subprocess.CompletedProcess[str]]:
    """Wait for their ends: exit codes and streams, rank by rank."""
    found = []
    for process in processes:
        out, err = process.communicate()
        assert process.returncode is not None
        found.append(subprocess.CompletedProcess([], process.returncode, out, err))
    return found


def run_on_ranks(
    world_size: int, *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """Both."""
    return outcomes(start_on_ranks(world_size, *arguments, cwd=cwd, env=env))
