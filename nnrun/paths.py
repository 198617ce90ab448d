"""Paths as a person writes them, on the command line, in the environment and from Python."""

from __future__ import annotations

import os
from pathlib import Path

from nnrun.errors import UsageError


def user_path(written: str | os.PathLike[str], what: str = "A path") -> Path:
    """A path with `~` as the home folder, also where no shell has replaced it.

    Args:
        written: by the user.
        what: what an error calls it: the option, the variable or the argument.

    Raises:
        UsageError: it is empty, which `Path` would take for the present folder.
    """
    text = os.fspath(written)
    if not text.strip():
        raise UsageError(f"{what} is empty; it must name a file or a folder ('.' is the current folder).")
    return Path(os.path.expanduser(text))


def path_of_variable(name: str) -> Path | None:
    """The path in an environment variable; None where the variable is empty or not set."""
    written = os.environ.get(name, "")
    return user_path(written, name) if written.strip() else None
