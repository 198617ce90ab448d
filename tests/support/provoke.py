"""What brings faults about: a process that is warm and forks, and a library that spoils its system calls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

Fault = Literal["count", "kill before", "kill amid", "fail from", "fail once", "kill in a write"]
_MODES: tuple[Fault, ...] = (
    *("count", "kill before", "kill amid", "fail from", "fail once"),
    "kill in a write",  # counts only writes; a kill amid any other call is one before the next call
)
KILLED = -9
"""The exit code of a process that SIGKILL ended."""

# Each line of its input is [commands, folder, mode, moment, errno, limits, setup]; each of its output the
# child's [exit code, stdout, stderr, calls that were counted]. The child first runs `setup`, a piece of
# Python. One that is asked for several commands ends with the code of the first that fails. Its streams are
# pipes: what goes there is no file.
# Or a line is ["start", arguments, folder, files for its streams], answered with the child's number at once,
# and later ["wait", number], answered with its exit code.
_SERVER = """
import contextlib, ctypes, fcntl, gc, io, json, os, resource, sys, tempfile
import matplotlib.figure, numpy as np, safetensors.numpy, scipy.special, torch, pandas
import nnrun.figures.curve_figure, nnrun.figures.evaluation_figures
import nnrun.experiment.running.train
import nnrun.experiment.evaluating.evaluate
import nnrun.experiment.predicting.predict
import nnrun.experiment.describing.report
import nnrun.experiment.evaluating.compare
import nnrun.experiment.finished.listing
import nnrun.experiment.describing.describe_spec
import nnrun.experiment.sweeping.sweep
import nnrun.experiment.sweeping.worker
import nnrun.cli.app, nnrun.cli.running, nnrun.cli.closing
from nnrun.cli import entry_point, main
with contextlib.suppress(ImportError):
    import optuna.storages.journal
WARM = '''
dataset: {npz: warm.npz}
preprocessing: {inputs: standardize}
layers: [{dense: {units: 8, activation: relu}}, {dense: 1}]
loss: mse
metrics: [mae]
epochs: 2
batch_size: 8
validation: {kfold: {k: 2}}
'''
torch.set_num_threads(1)
figure = matplotlib.figure.Figure()
figure.subplots().set_title("fonts and writers of images are loaded at the first figure")
figure.savefig(io.BytesIO(), format="png")
pandas.read_csv(io.StringIO("a,b\\n1,2\\n"))
def threads():
    return os.path.exists("/proc/self/task") and os.listdir("/proc/self/task")

before = threads()
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    # A first training takes twice as long as the next, here once instead of in each child. One thread
    # computes: another would not survive the fork.
    rows = np.random.RandomState(0).normal(size=(32, 3))
    np.savez(folder + "/warm.npz", x_train=rows, y_train=rows.sum(1))
    with open(folder + "/warm.yaml", "w") as file:
        file.write(WARM)
    runs = ["--runs-dir", folder + "/runs", "-q"]
    assert main(["train", folder + "/warm.yaml", "--compile", "off", *runs]) == 0
    assert main(["evaluate", "@last", "--split", "validation", *runs]) == 0
assert threads() == before
gc.freeze()  # a child that looks for garbage need not copy what it only looks at
sys.path.append(sys.argv[2])
from fork_server import use_large_pages
use_large_pages()
sys.path.pop()
shim = ctypes.CDLL(sys.argv[1]) if sys.argv[1] else None
def started(arguments, folder, out, err):
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w") for n in (1, 2))
        sys.argv = ["nnrun", *arguments]
        code = 1
        try:
            entry_point()
        except SystemExit as leaving:
            code = leaving.code
        finally:
            os._exit(code)
    return child

for line in sys.stdin:
    order = json.loads(line)
    if order[0] == "start":
        print(started(*order[1:]), flush=True)
        continue
    if order[0] == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(order[1], 0)[1]), flush=True)
        continue
    commands, folder, mode, moment, code, limits, setup = order
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
        exec(setup)
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
    """A process that has imported everything, and runs `nnrun` commands in children of its own.

    Attributes:
        process: it.
        setup: a piece of Python that each child of `run` runs first.
    """

    process: subprocess.Popen[str]
    setup: str = ""

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
        order = [
            [list(command) for command in commands],
            str(cwd),
            mode,
            moment,
            code,
            limits or {},
            self.setup,
        ]
        return Outcome(*json.loads(self._asked(order)))

    def start(self, *arguments: str, cwd: Path) -> Started:
        """Start `nnrun` as its installed command does, and go on while it works."""
        out, err = (cwd / f"{name}-{os.urandom(4).hex()}" for name in ("stdout", "stderr"))
        number = int(self._asked(["start", arguments, str(cwd), str(out), str(err)]))
        return Started(self, number, out, err)

    def wait(self, number: int) -> int:
        """The exit code of a child that was started, once it has ended."""
        return int(self._asked(["wait", number]))

    def _asked(self, order: list[Any]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@dataclass(frozen=True)
class Started:
    """A command that may still be at work, in a process of its own."""

    server: Server
    number: int
    out: Path
    err: Path

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; its number is its own until `end` has been called."""
        os.kill(self.number, number)

    def end(self, seconds: float) -> tuple[int, str, str]:
        """Wait for its end. Returns its exit code and what it wrote to stdout and stderr."""
        impatience = threading.Timer(seconds, os.kill, (self.number, signal.SIGKILL))
        impatience.start()
        try:
            code = self.server.wait(self.number)
        finally:
            impatience.cancel()
        return code, self.out.read_text(), self.err.read_text()


@contextmanager
def server(shim: Path | None = None) -> Iterator[Server]:
    """Start one; it ends with the block."""
    preload = {} if shim is None else {"LD_PRELOAD": str(shim)}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(shim or ""), str(Path(__file__).parent)],
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
