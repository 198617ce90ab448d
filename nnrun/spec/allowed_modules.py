"""Which modules of a person's own may be imported: those that whoever starts nnrun has named, and no others.

Nothing heavy is imported here, so that the command line can note what it was told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from nnrun.errors import UsageError, printable

OPTION = "--allow-custom"
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed custom modules", default=())


def allow(modules: Sequence[str]) -> None:
    """Allow modules, and those below them where they are packages, until the surrounding `allowing` ends.

    Raises:
        UsageError: one of them is not a module name.
    """
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise UsageError(
                f"{OPTION} {printable(module)}: that is not a module name. Write it as Python's import "
                "does, for example my_losses or my_package.losses."
            )
    _allowed.set(tuple(modules))


@contextmanager
def allowing(modules: Sequence[str] = ()) -> Iterator[None]:
    """Within, these modules may be imported, and no others.

    Raises:
        UsageError: one of them is not a module name.
    """
    token = _allowed.set(())
    try:
        allow(modules)
        yield
    finally:
        _allowed.reset(token)


def is_allowed(module: str) -> bool:
    """Whether a module, or a package that it is in, was named."""
    return any(module == allowed or module.startswith(f"{allowed}.") for allowed in _allowed.get())


def allowed_modules() -> tuple[str, ...]:
    """The modules that were named."""
    return _allowed.get()
