"""The parts of PyTorch that only its compilers and exporters need, executed when they are first asked for.

These two modules are a third of the processor time of `import torch`. `torch._meta_registrations` is how
operators compute on tensors without values (of the device `meta`, or PyTorch's "fake" ones); `torch.export`
is the exporter. What trains and predicts on a CPU asks for neither. So in a process of a command that does,
they are modules without content, which are executed, both, in PyTorch's own order,

- before any other module of PyTorch is imported: its compilers, `torch.func.vmap`, forward derivatives and
  fake tensors all begin with such an import, and training with none;
- when an attribute of one of them is asked for;
- by `whole_torch`, which is called before whatever else may need them: modules of a person's own, rows on the
  device `meta`, a GPU.

Who imports nnrun, or PyTorch before nnrun does, gets all of PyTorch at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from nnrun.garbage import without_collecting
from nnrun.interrupts import uninterrupted

_COMPILERS = ("torch.export", "torch._meta_registrations")  # in the order in which PyTorch imports them

_late = False
"""Whether an import of PyTorch by nnrun leaves them for later."""


def leave_compilers_for_later() -> None:
    """Have nnrun import PyTorch without them. For a process of the command `nnrun` only."""
    global _late
    _late = True


def whole_torch() -> None:
    """Execute what was left for later, if anything; an import of PyTorch from now on is that of all of it."""
    global _late
    _late = False
    _finder.execute()


@contextmanager
def compilers_later() -> Iterator[None]:
    """Within this, PyTorch is imported without its compilers, where that was asked for."""
    if not _late or "torch" in sys.modules:
        yield
        return
    sys.meta_path.insert(0, _finder)
    try:
        yield
    except BaseException:  # PyTorch cannot be imported: a next try is for all of it
        sys.meta_path.remove(_finder)
        _finder.waiting.clear()
        raise
    _finder.torch_is_there = True


class _Empty(ModuleType):
    """A module that is executed when an attribute is first asked for."""

    def __getattr__(self, name: str) -> Any:
        # `inspect` asks every module for its file, and those without path have none.
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _finder.execute(self)
        return getattr(self, name)


class _EmptyLoader(Loader):
    """Makes the empty module, and executes nothing."""

    def __init__(self, loader: Loader) -> None:
        self.whole = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert isinstance(module, _Empty)
        _finder.waiting[module.__name__] = module


class _Finder(MetaPathFinder):
    """Finds the modules that are left for later; afterwards sees each import of a module of PyTorch.

    Attributes:
        waiting: name → a module that was not yet executed.
        torch_is_there: whether the import of PyTorch itself has ended.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, _Empty] = {}
        self.torch_is_there = False
        self._lock = threading.RLock()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.torch_is_there:
            if name.startswith("torch."):
                self.execute()
        elif name in _COMPILERS:
            spec = PathFinder.find_spec(name, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _EmptyLoader(spec.loader)
            return spec
        return None

    def execute(self, asked: _Empty | None = None) -> None:
        """Execute the modules that wait; while PyTorch itself is being imported, only the one asked for."""
        if not self.waiting:
            return
        with self._lock, without_collecting(), uninterrupted():
            for name in _COMPILERS:
                module = self.waiting.get(name)
                if module is None or not (self.torch_is_there or module is asked):
                    continue
                del self.waiting[name]
                spec = module.__spec__
                assert spec is not None
                assert isinstance(spec.loader, _EmptyLoader)
                spec.loader = module.__loader__ = spec.loader.whole
                module.__class__ = ModuleType  # type: ignore[assignment]
                spec.loader.exec_module(module)


_finder = _Finder()
