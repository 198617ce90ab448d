"""Which C++ kernels layers and optimizers may call: libraries of `cpp/` that are compiled already.

Training has its kernels compiled before the first step (`prepare`). Whoever only predicts or measures takes
what the cache holds, and waits for no compiler. Within `switched_off` there are none: `--compile off`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nnrun.limits import cxx_compiler
from nnrun.native.library import NotCompiledError, library_path, load_library

_SWITCHED_OFF = ContextVar("kernels switched off", default=False)

_ready: dict[str, ctypes.CDLL | None] = {}
"""By name what this process computes with; None where it found nothing: it stays with PyTorch."""


def prepare(name: str, on_message: Callable[[str], None] = lambda text: None) -> ctypes.CDLL:
    """The library of `cpp/NAME.cpp`, compiled where that is needed; from now on `kernel` gives it.

    Raises:
        NotCompiledError: as `load_library`.
    """
    library = load_library(name, on_message)
    _ready[name] = library
    return library


def kernel(name: str) -> ctypes.CDLL | None:
    """The library of `cpp/NAME.cpp` where it is loaded or in the cache; None where PyTorch must do."""
    if _SWITCHED_OFF.get():
        return None
    if name not in _ready:
        _ready[name] = _from_cache(name)
    return _ready[name]


def _from_cache(name: str) -> ctypes.CDLL | None:
    compiler = cxx_compiler()
    if compiler is None or not library_path(name, compiler).is_file():
        return None
    try:
        return load_library(name)
    except NotCompiledError:  # what lies there is of no use, and neither is the compiler
        return None


@contextmanager
def switched_off(off: bool = True) -> Iterator[None]:
    """Without kernels, in this thread; with `off` false nothing is changed."""
    if not off:
        yield
        return
    token = _SWITCHED_OFF.set(True)
    try:
        yield
    finally:
        _SWITCHED_OFF.reset(token)
