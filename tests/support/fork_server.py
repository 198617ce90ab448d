"""A process that has imported what `nnrun` needs, and runs each command in a child that it forks.

`tests.support.commands` starts it as `python fork_server.py FD`, where FD is a Unix socket. It has imported
PyTorch, pandas and so on, and nothing of nnrun. Each message there is one byte. `!` is an order, with four
descriptors, of the command's stdin, stdout and stderr, and of a socket of its own. From this socket the child
reads a line of JSON, [arguments, folder, environment], and answers with a line, its process id. When it has
ended, the server adds a line with its exit code, as `subprocess` has it. `a` and `k` come with the socket of
another server, which is forked: after `a` it imports all of nnrun, after `k` Keras. A server ends with the
socket that it was given.

No thread is started and no parallel region of OpenMP entered before a fork, which neither would survive.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def import_nnrun() -> None:
    """All modules of nnrun, and what a command does first."""
    import nnrun

    for module in pkgutil.walk_packages(nnrun.__path__, "nnrun."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # The first spec of a process builds the types of all specs.
    from nnrun.spec.reading.load import load_spec_text

    spec = "{dataset: boston_housing, preprocessing: {inputs: standardize}, layers: [dense: 1], loss: mse}"
    load_spec_text(spec, file="a spec", base=Path.cwd(), default_name="any")


def import_packages() -> None:
    """What commands import from other packages when they first need it."""
    for name in (
        *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.font_manager"),
        *(
            "pandas",
            "safetensors.numpy",
            "safetensors.torch",
            "scipy.special",
            "scipy.stats",
            "sklearn.metrics",
        ),
        *("rich.console", "rich.live", "rich.progress", "torch"),
    ):
        importlib.import_module(name)


def warm_up() -> None:
    """Train a network, so that children find made what the first command of a process makes.

    These are pydantic's validators, Typer's parsers, regular expressions and the versions of packages: a
    fifth of what a small training costs. Whether there is a library of C++, each child finds out by itself.
    """
    import numpy as np

    from nnrun.cli import main

    threads = len(os.listdir("/proc/self/task"))  # packages may have started some that need not survive
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(NNRUN_CACHE_DIR=name, HOME=name)  # a child has its own
        np.savez(folder / "rows.npz", x_train=np.eye(8), y_train=np.arange(8.0))
        spec = "{dataset: {npz: rows.npz}, layers: [dense: 1], loss: mse, epochs: 1, validation: none}"
        (folder / "spec.yaml").write_text(spec)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            command = [
                "train",
                str(folder / "spec.yaml"),
                "--runs-dir",
                str(folder / "runs"),
                "--compile",
                "off",
            ]
            code = main(command)
    assert code == 0, f"nnrun train ended with {code}"
    assert len(os.listdir("/proc/self/task")) == threads, "a thread does not survive a fork"


def serve(control: socket.socket) -> socket.socket:
    """Fork a child for each order, and tell how it ended. Returns in children alone, with their socket."""
    children: dict[int, socket.socket | None] = {}
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(children)
        if control not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 1, 4)
        if not message:
            for pid in [pid for pid, told in children.items() if told is None]:
                os.waitpid(pid, 0)  # a server, whose socket is closed as well
            os._exit(0)
        own = socket.socket(fileno=descriptors[-1])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for other in (control, *children.values()):
                if other is not None:
                    other.close()
            os.close(woken)
            os.close(wakes)
            if message != b"!":
                import_more(message)
                return serve(own)
            for number, descriptor in enumerate(descriptors[:3]):
                os.dup2(descriptor, number)
        for descriptor in descriptors[:-1]:
            os.close(descriptor)
        if pid == 0:
            return own
        if message == b"!":
            children[pid] = own
        else:
            children[pid] = None
            own.close()


def import_more(message: bytes) -> None:
    """What a server is forked for."""
    if message == b"k":
        os.environ["KERAS_BACKEND"] = "torch"
        importlib.import_module("keras")
    else:
        import_nnrun()
        warm_up()
    gc.collect()
    gc.freeze()
    use_large_pages()


def use_large_pages() -> None:
    """Have what lies in memory in pages of 2 MiB, of which a fork has few to copy: Linux 6.1 and later do."""
    libc, collapse, size = ctypes.CDLL(None), 25, 1 << 21
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps.readlines():
            addresses, rights, *_ = line.split()
            first, last = (int(each, 16) for each in addresses.split("-"))
            first, last = -(-first // size) * size, last // size * size
            if rights == "rw-p" and first < last:
                libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), collapse)


def reap(children: dict[int, socket.socket | None]) -> None:
    """Tell of the children that have ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        own = children.pop(pid)
        if own is not None:
            with own:
                own.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(own: socket.socket) -> None:
    """Take over an order's arguments, folder, environment and streams, as a process that has just started."""
    with own, own.makefile("r", encoding="utf-8") as orders:
        arguments, folder, environment = json.loads(orders.readline())
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        own.sendall(f"{os.getpid()}\n".encode())
    sys.argv = ["nnrun", *arguments]  # `runpy` puts the module's path in front
    sys.path[0] = folder
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, f"__{name}__")
        binary = io.BufferedReader(io.FileIO(0, closefd=False)) if number == 0 else None
        stream = io.TextIOWrapper(
            binary or io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=number == 2 or os.isatty(number),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    """Serve; in a child, run `python -m nnrun`, or a program as `python -c` does."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import_packages()
    os.fsync = os.fstat  # type: ignore[assignment]  # as in tests/conftest.py
    gc.collect()
    gc.freeze()  # a child that looks for garbage need not copy what it only looks at
    use_large_pages()
    become(serve(control))
    exec(os.environ.pop("PYTEST_NNRUN_SETUP", ""), {})  # what a test changes in this process
    if (program := os.environ.pop("PYTEST_PROGRAM", None)) is not None:
        sys.argv[0] = "-c"
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # to take apart what PyTorch and pandas made takes half a second
    runpy.run_module("nnrun", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
