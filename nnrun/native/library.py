"""The shared libraries made of the C++ files in `cpp/`: compiled for this machine, kept in the cache, loaded.

Imports no torch: `nnrun doctor` asks for the compiler even where torch cannot be imported.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nnrun.atomic_files import locked
from nnrun.errors import LockedError, NnrunError
from nnrun.interrupts import stopping_at_once
from nnrun.limits import cxx_compiler
from nnrun.paths import cache_dir, distrust, private_folder

SOURCES = Path(__file__).parent / "cpp"
"""One library for each `NAME.cpp` here."""

_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
    "-pthread",
)
_FUSED = "--param=avoid-fma-max-bits=0"
"""GCC for AMD's CPUs: x * y + z is one instruction, rounded once, in every loop. By itself it takes two where
a sum waits for the one before, which differs between copies of a loop, and so between numbers of threads."""

_SECONDS = 600.0
"""How long the compiler may take; it needs 2 to 10 s, on a machine that is busy many times that."""

_SECONDS_IN_SILENCE = 5.0

THIS_CPU = "native"
"""The CPU to compile for: what `-march` calls the machine's own. Tests and benchmarks name others."""


class NotCompiledError(NnrunError):
    """The library could not be made; the message is one line."""


_ONE_AT_A_TIME = threading.Lock()


def load_library(
    name: str, on_message: Callable[[str], None] = lambda text: None, cpu: str = THIS_CPU
) -> ctypes.CDLL:
    """The library of `cpp/NAME.cpp`, from nnrun's cache or else compiled, which takes a few seconds.

    Of several processes that need it one compiles, and the others wait for it. Where the cache cannot be
    written or is not to be trusted, or has no locks, the library is compiled again in each process.
    A Ctrl-C while the compiler is running is answered at once, and ends the compiler.

    Args:
        name: of the C++ file.
        on_message: hears of a wait, and of a library in the cache that is not loaded.
        cpu: what `-march` is given.

    Raises:
        NotCompiledError: there is no compiler, it fails or hangs, or what it makes cannot be loaded.
            Later calls within the process raise it again, at once.
    """
    with stopping_at_once():
        if not _ONE_AT_A_TIME.acquire(timeout=_SECONDS_IN_SILENCE):
            on_message("waiting for the C++ compiler; --compile off trains without it")
            _ONE_AT_A_TIME.acquire()
        try:
            outcome = _load(name, cpu)
        finally:
            _ONE_AT_A_TIME.release()
    if isinstance(outcome, NotCompiledError):
        raise outcome
    if outcome.note is not None:
        on_message(outcome.note)
    return outcome.library


def is_compiled(name: str) -> bool:
    """Whether `load_library` finds the library of `cpp/NAME.cpp` in the cache and need not compile it."""
    compiler = cxx_compiler()
    return compiler is not None and library_path(name, compiler).is_file()


def begin_loading(name: str) -> None:
    """Compile the library of `cpp/NAME.cpp` in the background, where it is not in the cache.

    `load_library` waits for what is left.
    At the end of the process a compiler that is still running is stopped.
    """
    if cxx_compiler() is None or is_compiled(name):
        return

    def quietly() -> None:
        with _ONE_AT_A_TIME:  # `load_library` has the outcome
            _load(name, THIS_CPU)

    thread = threading.Thread(target=quietly, name="compiling", daemon=True)
    thread.start()

    def stop() -> None:
        _ending.set()
        while thread.is_alive():
            _stop_compiler()
            thread.join(timeout=0.05)

    atexit.register(stop)


@dataclass(frozen=True)
class _Loaded:
    """The library, and what to tell of how it was found."""

    library: ctypes.CDLL
    note: str | None = None


@cache
def _load(name: str, cpu: str) -> _Loaded | NotCompiledError:
    compiler = cxx_compiler()
    if compiler is None:
        return NotCompiledError("there is no C++ compiler on this machine (c++, g++ or clang++)")
    kept = library_path(name, compiler, cpu)
    found = _from_cache(kept)
    if isinstance(found, _Loaded):
        return found
    with _in_turn(kept.parent), tempfile.TemporaryDirectory(prefix="nnrun-") as folder:
        found = _from_cache(kept)  # another process may have made it meanwhile
        if isinstance(found, _Loaded):
            return found
        made = Path(folder) / kept.name
        try:
            _compile(name, compiler, cpu, made)
            return _Loaded(ctypes.CDLL(str(_keep(made, kept))), found)
        except NotCompiledError as error:
            return error
        except OSError as error:
            return NotCompiledError(f"the compiled code cannot be loaded: {error}")


def _from_cache(kept: Path) -> _Loaded | str | None:
    """The library, or why what is there is not loaded; None where there is none, or it is damaged."""
    with suppress(OSError):
        if kept.is_file():
            reason = distrust(kept)
            if reason is None:
                return _Loaded(ctypes.CDLL(str(kept)))
            return f"compiled code in the cache is not loaded, and compiled again: {reason}"
    return None


_ending = threading.Event()
"""Set when the process ends: a thread that compiles in the background waits for nobody any more."""


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """One process after the other, so that the first compiles for all; without locks all at once."""
    end = time.monotonic() + _SECONDS
    with ExitStack() as stack:
        # A folder that cannot be made or opened keeps nothing for others.
        with suppress(NnrunError, OSError):
            if not folder.is_dir():  # of one that is there `distrust` sees what others could do until now
                private_folder(folder)
            while time.monotonic() < end and not _ending.is_set():
                with suppress(LockedError):
                    stack.enter_context(locked(folder, busy="another process compiles"))
                    break
        yield


def library_path(name: str, compiler: str, cpu: str = THIS_CPU) -> Path:
    """Where it is kept, by a hash of what decides its content: sources, compiler's path, options and CPU."""
    files = [SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    content = [*texts, compiler, *_FLAGS, _FUSED, cpu, _cpu()]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()
    return cache_dir() / "compiled" / f"{name}-{digest[:32]}.so"


def _compile(name: str, compiler: str, cpu: str, target: Path) -> None:
    end = time.monotonic() + _SECONDS
    said = ""
    # Not every compiler knows -march, or this machine's CPU; only GCC knows its parameters.
    for flags in ((*_FLAGS, f"-march={cpu}", _FUSED), (*_FLAGS, f"-march={cpu}"), _FLAGS):
        command = [compiler, *flags, str(SOURCES / f"{name}.cpp"), "-o", str(target)]
        code, said = _run(command, end, scratch=target.parent)
        if code == 0 and not target.is_file():
            raise NotCompiledError(f"{compiler} ended without an error but wrote no library")
        if code == 0:
            return
        said = next((line for line in said.splitlines() if "error" in line), said[:200])
    raise NotCompiledError(f"{compiler} failed: {said.strip() or 'no error message'}")


_compiler_at_work: subprocess.Popen[bytes] | None = None


def _run(command: Sequence[str], end: float, scratch: Path) -> tuple[int, str]:
    """The exit code and the messages of a compiler, which is stopped where it is not done by `end`.

    `scratch` is for its own files: one that is stopped does not delete them.
    """
    global _compiler_at_work
    try:
        # A session of its own: what the compiler starts is ended with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch))},
        )
    except OSError as error:
        raise NotCompiledError(f"{command[0]}: {error}") from error
    _compiler_at_work = process
    try:
        said = process.communicate(timeout=max(0.0, end - time.monotonic()))[1]
    except subprocess.TimeoutExpired:
        raise NotCompiledError(f"{command[0]} did not finish within {_SECONDS:g} s") from None
    finally:
        _stop_compiler()
        _compiler_at_work = None
        if process.stderr is not None:
            process.stderr.close()
    # A compiler writes in the encoding of its user's language, whatever it is.
    return process.returncode, said.decode("utf-8", errors="replace")


def _stop_compiler() -> None:
    """End a compiler that is running, and the programs that it started."""
    process = _compiler_at_work
    if process is None or process.poll() is not None:
        return
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _keep(made: Path, kept: Path) -> Path:
    """Move the library into the cache, whole or not at all; where that is not possible leave it."""
    try:
        private_folder(kept.parent)
        with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=kept.name, delete=False) as beside:
            beside.write(made.read_bytes())
        os.replace(beside.name, kept)
    except OSError:
        return made
    return kept if distrust(kept) is None else made


@cache
def _cpu() -> str:
    """What tells CPUs apart that share a cache: their instructions, where the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    listed = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(listed))])
