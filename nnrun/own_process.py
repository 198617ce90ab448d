"""Whether this process is a command's own: nobody works in it with Python, and it ends with the command."""

from __future__ import annotations

_own = False


def is_own_process() -> bool:
    """Whether `nnrun` was started as a command, and not imported."""
    return _own


def begin_own_process() -> None:
    """Called by the installed command as it starts."""
    global _own
    _own = True
