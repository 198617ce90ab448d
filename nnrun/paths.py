"""Paths as a person writes them, and the folder of what nnrun would otherwise download or compile again."""

from __future__ import annotations

import os
import stat
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


def path_from_here(path: str | os.PathLike[str]) -> str:
    """A path as others may read it: relative as it is, else from the current folder, or the name alone."""
    given, here = Path(path), Path.cwd()
    if not given.is_absolute():
        return os.fspath(path)
    return str(given.relative_to(here)) if given.is_relative_to(here) else given.name


GIVEN_ROWS = ".data"
"""The folder within that of runs that holds the rows which Python programs gave."""


def is_given_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of rows which a Python program gave, by the folder that they are kept in."""
    return os.path.basename(os.path.dirname(path)) == GIVEN_ROWS


_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_dir() -> Path:
    """nnrun's cache: NNRUN_CACHE_DIR, or the system's folder for caches."""
    chosen = path_of_variable("NNRUN_CACHE_DIR")
    if chosen is not None:
        return chosen
    from platformdirs import user_cache_path

    return user_cache_path("nnrun")


def private_folder(path: Path) -> Path:
    """Make a folder of the cache that only this user may write to, or take that right from others.

    Raises:
        OSError: it cannot be made, or its mode cannot be changed, since it is another user's.
    """
    path.mkdir(parents=True, exist_ok=True)
    if os.name == "posix" and path.stat().st_mode & _WRITABLE_BY_OTHERS:
        path.chmod(path.stat().st_mode & ~_WRITABLE_BY_OTHERS)
    return path


def distrust(path: Path) -> str | None:
    """Why a file of the cache must not be trusted, as a part of a sentence; None where it can be.

    A file that another user wrote, or could have written, may hold anything; compiled code would run with
    this user's rights. Symbolic links are not followed. Where files have no owners
    (Windows), all are trusted.

    Args:
        path: a file that exists. The folder it lies in is looked at as well.
    """
    if os.name != "posix":
        return None
    for place in (path.parent, path):
        found = place.lstat()
        if stat.S_ISLNK(found.st_mode) and place is path:
            return f"{place} is a symbolic link"
        if found.st_uid not in (os.geteuid(), 0):
            return f"{place} belongs to another user (number {found.st_uid})"
        if found.st_mode & _WRITABLE_BY_OTHERS and not stat.S_ISLNK(found.st_mode):
            return f"{place} may be written to by other users"
    return None


def private_place(folder: Path) -> Path:
    """Make a folder somewhere within the cache; neither it nor those above it may others write to.

    Raises:
        OSError: as `private_folder`.
    """
    above = [place for place in reversed(folder.parents) if place.is_relative_to(cache_dir())]
    for place in (*above, folder):
        private_folder(place)
    return folder


def distrust_entry(path: Path) -> str | None:
    """`distrust` of a file or folder within the cache, and of all folders between it and the cache.

    Raises:
        OSError: it does not exist.
    """
    places = [place for place in (path, *path.parents) if cache_dir() in place.parents]
    return next((reason for place in places if (reason := distrust(place)) is not None), None)


def make_private(path: Path) -> None:
    """Take from others the right to write to a file of the cache, whatever the umask gave them."""
    if os.name == "posix":
        path.chmod(path.stat().st_mode & ~_WRITABLE_BY_OTHERS)
