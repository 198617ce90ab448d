"""The C++ code in `cpp/`, compiled for this machine and loaded."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from nnrun.cache_folder import cache_dir
from nnrun.errors import NnrunError
from nnrun.training.compiler import cxx_compiler

SOURCE = Path(__file__).parent / "cpp" / "steps.cpp"

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
_OF_THIS_CPU = "-march=native"  # which not every compiler knows
_SECONDS = 120


class NotCompiledError(NnrunError):
    """The library could not be made; the message is one line."""


_ONE_AT_A_TIME = threading.Lock()


def load_library() -> ctypes.CDLL:
    """The library, from nnrun's cache or else compiled, which takes about two seconds.

    Where the cache cannot be written, the library is made anew in each process.

    Raises:
        NotCompiledError: there is no compiler, it fails, or what it makes cannot be loaded.
    """
    with _ONE_AT_A_TIME:
        return _load()


def begin_loading() -> None:
    """Compile the library in the background, where it is not there; `load_library` waits for what is left."""
    compiler = cxx_compiler()
    if compiler is None or library_path(compiler).is_file():
        return

    def quietly() -> None:
        with suppress(NotCompiledError):  # `load_library` tries again, and says so
            load_library()

    threading.Thread(target=quietly, name="compiling").start()


@cache
def _load() -> ctypes.CDLL:
    compiler = cxx_compiler()
    if compiler is None:
        raise NotCompiledError("there is no C++ compiler on this machine (c++, g++ or clang++)")
    kept = library_path(compiler)
    # One that is damaged is written anew.
    with suppress(OSError):
        if kept.is_file():
            return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory(prefix="nnrun-") as folder:
        made = Path(folder) / kept.name
        _compile(compiler, made)
        try:
            path = _keep(made, kept)
            return ctypes.CDLL(str(path))
        except OSError as error:
            raise NotCompiledError(f"the compiled steps cannot be loaded: {error}") from error


def library_path(compiler: str) -> Path:
    """Where it is kept, by a hash of what decides its content: sources, compiler's path, options and CPU."""
    files = [SOURCE, *sorted(SOURCE.parent.glob("*.h"))]
    content = [*(file.read_text(encoding="utf-8") for file in files), compiler, *_FLAGS, _OF_THIS_CPU, _cpu()]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()
    return cache_dir() / "compiled" / f"steps-{digest[:32]}.so"


def _compile(compiler: str, target: Path) -> None:
    said = ""
    for flags in ((*_FLAGS, _OF_THIS_CPU), _FLAGS):
        command = [compiler, *flags, str(SOURCE), "-o", str(target)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotCompiledError(f"{compiler}: {error}") from error
        if ended.returncode == 0:
            return
        said = next((line for line in ended.stderr.splitlines() if "error" in line), ended.stderr[:200])
    raise NotCompiledError(f"{compiler} fails: {said.strip()}")


def _keep(made: Path, kept: Path) -> Path:
    """Move the library into the cache, whole or not at all; where that is not possible leave it."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=kept.name, delete=False) as beside:
            beside.write(made.read_bytes())
        os.replace(beside.name, kept)
    except OSError:
        return made
    return kept


def _cpu() -> str:
    """What tells CPUs apart that share a cache: their instructions, where the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    listed = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(listed))])
