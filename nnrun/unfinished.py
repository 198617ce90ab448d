"""Files that appear whole or not at all: a hidden file is written first and then renamed.

A process that is killed leaves one behind. Its name tells whose it was, so that the next writer in the same
folder can remove it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"\..+\.(?P<process>\d+)\.[0-9a-f]{4}\.tmp", re.DOTALL)


def unfinished(path: Path) -> Path:
    """The hidden file to write in place of `path`, beside it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(2)}.tmp")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `path`, flush it to disk, and rename it to `path`.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    remove_abandoned(path.parent)
    temporary = unfinished(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the user's umask has it; safetensors would make it private
        write(temporary)
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # a disk that is read-only now has said so above
            temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove the hidden files in a folder whose process is gone; errors are for whoever writes there next."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _NAME.fullmatch(entry.name)
            if found and not _is_running(int(found["process"])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _is_running(process: int) -> bool:
    """Whether a process has this number; True where that cannot be known."""
    if os.name != "posix":
        return True  # on Windows os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
