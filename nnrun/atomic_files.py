"""Files and folders that several processes use: written whole or not at all, locked, and errors in sentences.

A hidden file is written first and then renamed. A process that is killed leaves one behind; its name tells
whose it was, and of which machine, so that the next writer in the same folder can remove it. A lock goes with
its process, however that ends: there is nothing to clean up.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnrun.errors import DataError, LockedError, NnrunError, UsageError
from nnrun.machine import is_running, this_machine

_NAME = re.compile(r"\..+\.(?:(?P<machine>[0-9a-f]{8})-)?(?P<process>\d+)\.[0-9a-f]{4}\.tmp", re.DOTALL)
"""An older nnrun named no machine."""

_A_DAY = 86400.0
_PLAIN = frozenset((str, int, bool))
"""Types of values that JSON holds as they are."""


def unfinished(path: Path) -> Path:
    """The hidden file to write in place of `path`, beside it."""
    return path.with_name(f".{path.name}.{this_machine()}-{os.getpid()}.{secrets.token_hex(2)}.tmp")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `path`, flush it to disk, and rename it to `path`.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    remove_abandoned(path.parent)
    temporary = unfinished(path)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o666))
        mode = os.stat(temporary).st_mode  # as the user's umask has it; safetensors would make it private
        write(temporary)
        handle = os.open(temporary, os.O_RDONLY)
        try:
            if os.fstat(handle).st_mode != mode:
                os.chmod(temporary, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a disk that is read-only now has said so
            os.unlink(temporary)
        raise


def is_unfinished(name: str) -> bool:
    """Whether a file is called as the hidden ones that `write_whole` fills."""
    return _NAME.fullmatch(name) is not None


def remove_abandoned(folder: Path) -> None:
    """Remove the hidden files in a folder whose process is gone; errors are for whoever writes there next.

    Whether processes of another machine are at work cannot be known here: theirs stay for a day.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _NAME.fullmatch(entry.name)
            if found and _is_abandoned(entry, found["machine"], int(found["process"])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _is_abandoned(entry: os.DirEntry[str], machine: str | None, process: int) -> bool:
    if machine in (None, this_machine()):
        return not is_running(process)
    with contextlib.suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _A_DAY
    return False


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy's numbers as Python's, paths as text, NaN and infinity as None."""
    if value is None or type(value) in _PLAIN:  # most values: the questions below take ten times as long
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    if os.path.isdir(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"Cannot make the folder {folder}: a file of that name already exists.") from error
    except OSError as error:
        raise UsageError(f"Cannot make the folder {folder}: {error.strerror}.") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where a file cannot be written, raise NnrunError with a sentence that says so."""
    try:
        yield
    except OSError as error:
        raise NnrunError(f"Cannot write {path}: {error.strerror or error}.") from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file next to `path`, flush it to disk, and rename it to `path`."""
    make_folder(path.parent)
    with writing(path):
        write_whole(path, write)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all; its line ends stay as they are."""
    data = text.encode("utf-8")
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def read_text(path: Path) -> str:
    """A UTF-8 text file, its line ends as they are."""
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise DataError(f"{path} is damaged: it is not a regular file.")
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path.parent} has no {path.name}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: it is not UTF-8 text.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: it is not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: it must hold a JSON object, but holds {type(value).__name__}.")
    return value


def refuse_newer(path: Path, version: int, known: int) -> None:
    """Raise DataError where a record has a format that only a newer nnrun knows."""
    if version > known:
        raise DataError(
            f"{path} was written by a newer nnrun: its format has version {version}, and this nnrun reads "
            f"version {known}."
        )


_WITHOUT_LOCKS = frozenset(
    getattr(errno, name)
    for name in ("ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS", "EINVAL", "EBADF")
    if hasattr(errno, name)
)
"""What flock says on file systems that have no locks, or none for folders (NFS)."""

_PATIENCE_SECONDS = 0.2
"""`is_held` takes the lock for a moment to see whether it can, and must not be mistaken for an owner."""


@contextmanager
def locked(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock of a folder (flock, on the folder itself).

    Windows and some network file systems have none, and go without.

    Args:
        folder: it exists.
        busy: what to say where another process holds the lock; None: wait until it is free.

    Raises:
        LockedError: another process holds the lock, and `busy` was given.
    """
    if sys.platform == "win32":
        yield
        return
    handle = _opened(folder)
    try:
        _lock(handle, folder, busy)
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool | None:
    """Whether some process holds the lock of a folder; None where that cannot be known."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = _opened(folder)
    except NnrunError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise NnrunError(f"Cannot open {folder}: {error.strerror}.") from error


def _lock(handle: int, folder: Path, busy: str | None) -> None:
    import fcntl

    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
        except BlockingIOError:
            if time.monotonic() > patience:
                raise LockedError(busy or "") from None
            time.sleep(0.01)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return
            raise NnrunError(f"Cannot lock {folder}: {error.strerror}.") from error
        else:
            return
