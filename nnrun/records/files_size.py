"""How many bytes the files of a folder take, and whether they still do, without asking for each file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from nnrun.file_state import FileState


@dataclass(frozen=True)
class FilesSize:
    """The size of the files of a folder and of those in it, as they were at one time.

    Attributes:
        bytes: of all files; of those that come or go meanwhile as many as are found.
        folders: those in it, relative to it; links are not followed.
        state: of the folder and those in it, its text as from `folders_state`; None where one went meanwhile.
    """

    bytes: int
    folders: Sequence[str]
    state: FileState | None


def measure(path: str) -> FilesSize:
    """The files of a folder, measured one by one."""
    total, found, states = 0, [""], list[FileState]()
    for name in found:  # which grows meanwhile
        folder = os.path.join(path, name) if name else path
        with suppress(OSError):  # before it is read: what changes meanwhile gives another state
            states.append(FileState.of(os.stat(folder)))
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append(os.path.join(name, entry.name))
                elif not (entry.is_symlink() and os.path.isdir(entry.path)):
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    if len(states) < len(found):
        return FilesSize(total, found[1:], None)
    text = " ".join(state.text for state in states)
    return FilesSize(total, found[1:], FileState(text, max(state.changed_ns for state in states)))


def folders_state(path: str, folders: Sequence[str]) -> str | None:
    """The state of a folder and of those in it: another one as soon as a file is added, replaced or removed.

    None where one of them is gone.
    """
    try:
        state = FileState.text_of(os.stat(path))
        inner = [FileState.text_of(os.stat(os.path.join(path, name))) for name in folders]
    except OSError:
        return None
    return " ".join([state, *inner]) if inner else state
