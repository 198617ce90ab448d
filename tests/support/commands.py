"""`nnrun` as a command in a process of its own: with its own streams, signals and exit code.

To import torch and pandas takes 2 s of processor time. `start_nnrun` and `nnrun_command` save it by asking a
server that forks (`tests.support.fork_server`). What only a new process can show starts one: what is
imported, a request to stop while nnrun starts, limits of memory.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

_SERVER = Path(__file__).with_name("fork_server.py")

# Variables that are looked up when they are needed. Any other may have been read by an import of the server.
_READ_LATE = ("NNRUN_", "PYTEST_", "HOME", "PATH", "PWD", "OLDPWD", "TMPDIR", "CXX", "COLUMNS")
_READ_LATE += ("MLFLOW_", "_MLFLOW_")  # which MLflow sets for processes that it knows nothing of
_READ_LATE += ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "TORCHELASTIC_", "GLOO_")  # of torchrun
_READ_LATE_ALONE = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "_")

# Set by scikit-learn when it is imported, here perhaps after the server was started.
_SET_BY_IMPORTS = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")

ENVIRONMENT: dict[str, str] = {}
"""What no test has changed yet (`tests/conftest.py`): a server with what one changed would serve no other."""


@dataclass
class Command:
    """A command at work. Attributes and methods are those of `subprocess.Popen` in text mode."""

    pid: int
    stdin: IO[str] | None
    stdout: IO[str]
    stderr: IO[str]
    told: socket.socket
    """Where the server writes the exit code."""
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it is at work."""
        if self.returncode is None and select.select([self.told], [], [], 0)[0]:
            self.returncode = int(_line(self.told))
            self.told.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and give its exit code.

        Raises:
            TimeoutExpired: it has not ended after so many seconds.
        """
        if self.returncode is None and not select.select([self.told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("nnrun", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write to its stdin, read its stdout and stderr to their ends, and wait for its own.

        Raises:
            TimeoutExpired: it has not ended after so many seconds.
        """
        with ThreadPoolExecutor(3) as pool:
            if self.stdin is not None:
                pool.submit(_write, self.stdin, input or "")
            read = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except BaseException:
                self.kill()  # else the threads would wait on
                raise
        with self.stdout, self.stderr:
            out, err = (each.result() for each in read)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            # The server may have reaped it, and be about to write its exit code.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def start_nnrun(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, piped: bool = False
) -> Command | subprocess.Popen[str]:
    """Start `nnrun`: forked, or new where the environment differs in what an import may have read.

    Args:
        arguments: as on the command line.
        cwd: where.
        env: variables that are added to the environment.
        piped: whether stdin is a pipe; else there is nothing to read.
    """
    environment = {**os.environ, **(env or {})}
    server, its_own = _server("all")
    differing = {name for name, _ in environment.items() ^ its_own.items()}
    alike = (*_READ_LATE_ALONE, *_SET_BY_IMPORTS)
    read_early = sorted(name for name in differing if not name.startswith(_READ_LATE) and name not in alike)
    if read_early:
        assert "PYTEST_NNRUN_SETUP" not in environment, f"{read_early} ask for a new process, without a setup"
        return start_new_nnrun(*arguments, cwd=cwd, env=env, piped=piped)
    return _forked(server, arguments, cwd, environment, piped)


def _forked(
    server: socket.socket,
    arguments: Sequence[str],
    cwd: Path,
    environment: dict[str, str],
    piped: bool = False,
) -> Command:
    (reads_out, out), (reads_err, err) = os.pipe(), os.pipe()
    stdin, writes = os.pipe() if piped else (os.open(os.devnull, os.O_RDONLY), None)
    told, tells = socket.socketpair()
    socket.send_fds(server, [b"!"], [stdin, out, err, tells.fileno()])
    for descriptor in (stdin, out, err):
        os.close(descriptor)
    tells.close()
    told.sendall(json.dumps([arguments, str(cwd), environment]).encode() + b"\n")
    pid = int(_line(told))
    to = None if writes is None else open(writes, "w")  # noqa: SIM115 - as long as the command
    return Command(pid, to, open(reads_out), open(reads_err), told)


def start_new_nnrun(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, piped: bool = False
) -> subprocess.Popen[str]:
    """Start `nnrun` in a process that has imported nothing."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "nnrun", *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=pipe if piped else subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def nnrun_command(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `nnrun` to its end, in a process that is forked."""
    process = start_nnrun(*arguments, cwd=cwd, env=env, piped=input is not None)
    out, err = process.communicate(input)
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def run_program(
    program: str, *arguments: str, cwd: Path, imported: Literal["packages", "keras", "all"] = "packages"
) -> subprocess.CompletedProcess[str]:
    """Run Python code as `python -c` does, in a process forked after the imports of PyTorch and pandas.

    Args:
        program: the code.
        arguments: `sys.argv` after the first.
        cwd: where.
        imported: what the code finds imported: nothing of nnrun; nor then, but Keras as well, which computes
            with PyTorch; or all of nnrun, which has trained once.
    """
    server, _ = _server(imported)
    variables = {**os.environ, "PYTEST_PROGRAM": program}
    if imported == "keras":
        variables["KERAS_BACKEND"] = "torch"
    process = _forked(server, arguments, cwd, variables, piped=False)
    out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def run_script(path: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python file as `python PATH ARGUMENTS` does, forked as `run_program`."""
    program = f"import runpy, sys; sys.argv[0] = {path!r}; runpy.run_path({path!r}, run_name='__main__')"
    return run_program(program, *arguments, cwd=cwd)


def forked_nnrun_for_a_shell(folder: Path, imported: Literal["all", "packages"] = "all") -> tuple[Path, int]:
    """Make `nnrun` for a shell: an executable that has a server fork the command.

    Args:
        folder: where it is written; to stand first in the shell's PATH.
        imported: what a command finds imported. After `packages` (PyTorch, pandas and so on) each imports
            the modules of nnrun that it needs, as a new process does.

    Returns:
        its path, and the descriptor that the shell must inherit (`pass_fds` of `subprocess`).
    """
    server, _ = _server(imported)
    path = folder / "nnrun"
    path.write_text(_FORKED.format(python=sys.executable, server=server.fileno()))
    path.chmod(0o755)
    return path, server.fileno()


_FORKED = """#!{python} -IS
import json, os, socket, sys

told, tells = socket.socketpair()
socket.send_fds(socket.socket(fileno={server}), [b"!"], [0, 1, 2, tells.fileno()])
tells.close()
told.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
pid, code = map(int, told.makefile().read().split())
sys.exit(code if code >= 0 else 128 - code)
"""


def _write(stdin: IO[str], text: str) -> None:
    with contextlib.suppress(BrokenPipeError), stdin:  # the command need not read all of it
        stdin.write(text)


def _line(told: socket.socket) -> str:
    """A line, and nothing of what follows it."""
    line = b""
    while not line.endswith(b"\n"):
        part = told.recv(1)
        assert part, "the server of commands has ended"
        line += part
    return line.decode()


@cache
def _server(imported: str) -> tuple[socket.socket, dict[str, str]]:
    """The server, started at the first call, and its environment. That of packages forks the others."""
    ours, theirs = socket.socketpair()
    environment = {**(ENVIRONMENT or os.environ)}
    if imported == "packages":
        process = subprocess.Popen(
            [sys.executable, str(_SERVER), str(theirs.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    else:
        first, environment = _server("packages")
        socket.send_fds(first, [imported[:1].encode()], [theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        if imported == "packages":
            process.wait(60)

    atexit.register(end)  # the last to be registered is the first to be called
    return ours, environment
