"""Programs that are measured: each runs in a fresh process, pinned to a core, with one thread.

A process begins with the peak memory of its parent, so that this module imports little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PRESET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NNRUN_RUNS_DIR", "NNRUN_THREADS", "PYTHONPATH")
PRESET += ("PYTHONDONTWRITEBYTECODE",)  # each process would compile what it imports
"""Variables of the person's shell that would make a system slower, or give it other files."""

COMPILED = (
    "from nnrun.native.library import SOURCES, load_library\n"
    "for path in SOURCES.glob('*.cpp'): load_library(path.stem)"
)
"""The code of a program after which nnrun's C++ is compiled."""

CPU_SECONDS, MEGABYTES = "cpu seconds", "megabytes"
"""Values that are known of every process: user and system time with its children, and peak memory."""


class ProgramFailedError(Exception):
    """A program ended with an error; the message has the end of what it said."""


@dataclass(frozen=True)
class Program:
    """A command that is measured.

    Attributes:
        system: what the table calls it.
        command: its arguments, from the interpreter on.
        environment: variables of its own.
        cores: how many cores it may use. One is the same for all programs.
        needs: modules that its interpreter must find.
        busy: whether another process keeps the first of the cores busy meanwhile.
    """

    system: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: int = 1
    needs: Sequence[str] = ()
    busy: bool = False


def python(script: str, *arguments: str | os.PathLike[str]) -> list[str]:
    """A script of this folder, run by the present interpreter."""
    return [sys.executable, str(HERE / script), *map(os.fspath, arguments)]


def nnrun(*arguments: str | os.PathLike[str]) -> list[str]:
    """The command, as people start it."""
    return [sys.executable, "-m", "nnrun", *map(os.fspath, arguments)]


def usable_cores() -> list[int]:
    """The cores that this process may use; [] where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def missing(program: Program) -> list[str]:
    """The modules that the program's interpreter does not find."""
    if not program.needs:
        return []
    code = "import importlib.util, sys; print(*(m for m in sys.argv[1:] if not importlib.util.find_spec(m)))"
    asked = [program.command[0], "-c", code, *program.needs]
    result = subprocess.run(asked, capture_output=True, text=True, check=True)
    return result.stdout.split()


def run(program: Program, cache: Path) -> dict[str, float]:
    """What one process of the program took, by the name of the value.

    Beside `CPU_SECONDS` and `MEGABYTES` these are the numbers of the JSON object in its last line, if any.

    Args:
        program: what to run.
        cache: nnrun's, for this sitting.

    Raises:
        ProgramFailedError: it ended with an error.
    """
    environment = {k: v for k, v in os.environ.items() if k not in PRESET}
    environment |= {"NNRUN_CACHE_DIR": str(cache)}
    environment |= ONE_THREAD if program.cores == 1 else {}
    cores = usable_cores()[-program.cores :]
    pin = partial(os.sched_setaffinity, 0, cores) if cores else None
    load = _busy(cores[0]) if program.busy and cores else nullcontext()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors, load:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**environment, **program.environment},
            preexec_fn=pin,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        said = output.read()
        if process.returncode:
            end = "\n".join((said + errors.read()).splitlines()[-8:])
            raise ProgramFailedError(f"{program.system} ended with {process.returncode}:\n{end}")
    taken = {CPU_SECONDS: usage.ru_utime + usage.ru_stime, MEGABYTES: usage.ru_maxrss / 1024}
    return {**_answer(said), **taken}


def _answer(said: str) -> dict[str, float]:
    """The numbers of the JSON object in the last line; {} where there is none."""
    lines = said.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {}
    return {k: v for k, v in json.loads(lines[-1]).items() if isinstance(v, int | float)}


@contextmanager
def _busy(core: int) -> Iterator[None]:
    """A process that computes on this core without a pause, as another user's would."""
    spin = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], preexec_fn=partial(os.sched_setaffinity, 0, [core])
    )
    try:
        yield
    finally:
        spin.kill()
        spin.wait()
