"""What brings faults about: a process that is warm and forks, and a library that spoils its system calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

Fault = Literal["count", "kill before", "kill amid", "fail from", "fail once"]
_MODES: tuple[Fault, ...] = ("count", "kill before", "kill amid", "fail from", "fail once")
KILLED = -9
"""The exit code of a process that SIGKILL ended."""

# Each line of its input is [commands, folder, mode, moment, errno, limits]; each of its output the child's
# [exit code, stdout, stderr, calls that were counted]. A child that is asked for several commands ends with
# the code of the first that fails. Its streams are pipes: what goes there is no file.
_SERVER = """
import ctypes, fcntl, gc, io, json, os, resource, sys
import matplotlib.figure, safetensors.numpy, scipy.special, torch, pandas
import nnrun.figures.curves, nnrun.figures.evaluation
import nnrun.experiment.run, nnrun.experiment.evaluate, nnrun.experiment.predict, nnrun.experiment.report
import nnrun.experiment.compare, nnrun.experiment.listing, nnrun.experiment.describe
import nnrun.cli.app, nnrun.cli.running, nnrun.cli.closing
from nnrun.cli import main
torch.set_num_threads(1)
figure = matplotlib.figure.Figure()
figure.subplots().set_title("fonts and writers of images are loaded at the first figure")
figure.savefig(io.BytesIO(), format="png")
pandas.read_csv(io.StringIO("a,b\\n1,2\\n"))
exec(sys.argv[2])
gc.freeze()  # a child that looks for garbage need not copy what it only looks at
shim = ctypes.CDLL(sys.argv[1]) if sys.argv[1] else None
for line in sys.stdin:
    commands, folder, mode, moment, code, limits = json.loads(line)
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for number in (1, 2):
            fcntl.fcntl(pipes[number - 1][1], fcntl.F_SETPIPE_SZ, 1 << 20)
            os.dup2(pipes[number - 1][1], number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
        for name, most in limits.items():
            if name == "RLIMIT_AS":
                most += int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(getattr(resource, name), (most, most))
        if shim is not None:
            shim.fault_arm(mode, moment, code)
        worst = 0
        for command in commands:
            worst = worst or main(command)
            sys.stdout.flush()
        calls = shim.fault_calls() if shim is not None else 0
        os.write(pipes[2][1], str(calls).encode())
        os._exit(worst)
    told = []
    for end, other in pipes:
        os.close(other)
        with os.fdopen(end, errors="replace") as stream:
            told.append(stream.read())
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), *told[:2], int(told[2] or 0)]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str
    calls: int


@dataclass
class Server:
    """A process that has imported everything, and runs `nnrun` commands in children of its own."""

    process: subprocess.Popen[str]

    def run(
        self,
        *commands: Sequence[str],
        cwd: Path,
        fault: Fault | None = None,
        moment: int = 0,
        code: int = 0,
        limits: dict[str, int] | None = None,
    ) -> Outcome:
        """Run commands in one child, and give how it ended.

        Args:
            commands: each as `nnrun` would get it.
            cwd: where.
            fault, moment, code: the system call that goes wrong, how, and the error that it gives.
            limits: names of `resource`'s limits, and what they are set to (of memory: what may be added).
        """
        mode = 0 if fault is None else _MODES.index(fault) + 1
        order = [[list(command) for command in commands], str(cwd), mode, moment, code, limits or {}]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Outcome(*json.loads(self.process.stdout.readline()))


@contextmanager
def server(shim: Path | None = None, setup: str = "") -> Iterator[Server]:
    """Start one, which does `setup`, a piece of Python, once; it ends with the block."""
    preload = {} if shim is None else {"LD_PRELOAD": str(shim)}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(shim or ""), setup],
        env={**os.environ, **preload, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process)
    finally:
        process.communicate(timeout=60)


def build_shim(folder: Path) -> Path:
    """Compile the library; skips the test where there is no compiler for it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults in system calls need Linux and a C compiler")
    source, library = Path(__file__).with_name("shim.c"), folder / "shim.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def whole_json(path: Path) -> Any:
    """What a file of JSON holds; an error where it is not whole."""
    return json.loads(path.read_text(encoding="utf-8"))
