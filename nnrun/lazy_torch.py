"""PyTorch, imported when something of it is first used: its import takes longer than most commands.

`from nnrun.lazy_torch import F, torch` stands for `import torch` and `import torch.nn.functional as F`. So
modules that compute with PyTorch can be imported without it, and a network be built, its shapes known and
its parameters counted. What uses an attribute of `torch` while its module is imported (a base class, a
default value, an entry of a table) imports PyTorch at once; `Tensor` in annotations does not, where it is
imported for type checking only.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from nnrun.garbage import without_collecting
from nnrun.interrupts import uninterrupted
from nnrun.torch_compilers import compilers_later

if TYPE_CHECKING:
    import torch as torch
    import torch.nn.functional as F
else:

    class _Lazy(ModuleType):
        """A module whose attributes are those of the module of its name."""

        def __getattr__(self, name: str) -> Any:
            """Called for what was not asked for before: it is kept, so that later uses cost nothing."""
            value = getattr(_imported(self.__name__), name)
            setattr(self, name, value)
            return value

    def _imported(name: str) -> ModuleType:
        """The module. To look for garbage on the way takes a twentieth of the time, and all objects stay."""
        # A KeyboardInterrupt in Python that PyTorch's C++ calls meanwhile aborts the process.
        with without_collecting(), uninterrupted(), compilers_later():
            return import_module(name)

    torch = _Lazy("torch")
    F = _Lazy("torch.nn.functional")


def import_torch() -> None:
    """Import PyTorch now, before modules that import it themselves: there Ctrl-C may abort the process."""
    _ = torch.nn


class AutogradFunction:
    """Inherit from this instead of `torch.autograd.Function`, which would import PyTorch at once.

    A subclass has static methods `forward(ctx, *arguments)` and `backward(ctx, *gradients)`. With
    `once_differentiable`, `backward` computes what autograd does not follow, and gradients of gradients are
    refused.
    """

    once_differentiable: ClassVar[bool] = False
    _function: ClassVar[Any] = None

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """What `forward` gives, differentiable by `backward`."""
        if cls._function is None:
            methods = {name: value for name, value in vars(cls).items() if isinstance(value, staticmethod)}
            if cls.once_differentiable:
                once = torch.autograd.function.once_differentiable
                methods["backward"] = staticmethod(once(methods["backward"].__func__))
            cls._function = type(cls.__name__, (torch.autograd.Function,), methods)
        return cls._function.apply(*arguments)


__all__ = ["AutogradFunction", "F", "import_torch", "torch"]
