"""What was read or found once, kept in nnrun's cache: tables, token lists, the keys of JSON lines.

An entry is a folder, written under another name and then renamed, whole or not at all. Its `entry.json` holds
a document of who wrote it and the CRC-32 of each other file, and ends with its own. All are compared whenever
an entry is read. A damaged entry is told and removed, and so is one that another user could have written.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from nnrun.paths import distrust_entry, make_private, private_place

OnMessage = Callable[[str], None]
T = TypeVar("T")

_DOCUMENT: Final = "entry.json"
_BLOCK: Final = 1 << 18
_SECONDS_UNUSED: Final = 30 * 86400.0


def load_entry(entry: Path, load: Callable[[Any], T], on_message: OnMessage, instead: str) -> T | None:
    """What `load` makes of an entry; None where it cannot be used. One that is damaged is removed.

    Args:
        entry: its folder.
        load: is given the document; raises ValueError, KeyError or TypeError where that does not fit.
        on_message: called where there is an entry that cannot be used.
        instead: what is done then, for the message.
    """
    try:
        if not (entry / _DOCUMENT).exists():
            return None
        loaded = load(_verified(entry))
        with suppress(OSError):
            os.utime(entry / _DOCUMENT)  # for `remove_unused`
        return loaded
    except (OSError, ValueError, KeyError, TypeError) as error:
        on_message(f"{entry} cannot be used ({error}); {instead}")
        shutil.rmtree(entry, ignore_errors=True)
        return None


@contextmanager
def folder_beside(entry: Path) -> Iterator[Path]:
    """A folder in which the files of an entry are written; it is removed at the end unless it was kept.

    Raises:
        OSError: it cannot be made.
    """
    private_place(entry.parent)
    folder = Path(tempfile.mkdtemp(dir=entry.parent, suffix=".partial"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_entry(folder: Path, entry: Path, document: Any) -> None:
    """Make the folder the entry, unless another process was first.

    Args:
        folder: of `folder_beside`, with all files.
        entry: where it will be.
        document: plain values.

    Raises:
        OSError: it cannot be written.
    """
    checksums = {path.name: _checksum(path) for path in folder.iterdir()}
    text = json.dumps({"document": document, "crc32": checksums}).encode()
    (folder / _DOCUMENT).write_bytes(b"%s\n%d\n" % (text, zlib.crc32(text)))
    for path in folder.iterdir():
        make_private(path)
    try:
        os.replace(folder, entry)
    except OSError:
        if not (entry / _DOCUMENT).exists():
            raise


def remove_unused(place: Path) -> None:
    """Remove the entries of a folder that were not loaded for a month."""
    oldest = time.time() - _SECONDS_UNUSED
    for document in place.glob(f"*/{_DOCUMENT}"):
        with suppress(OSError):
            if document.stat().st_mtime < oldest:
                shutil.rmtree(document.parent, ignore_errors=True)


def _verified(entry: Path) -> Any:
    for path in (entry, *entry.iterdir()):
        if (reason := distrust_entry(path)) is not None:
            raise ValueError(reason)
    text, checksum, *rest = (entry / _DOCUMENT).read_bytes().split(b"\n")
    if rest != [b""] or checksum != b"%d" % zlib.crc32(text):
        raise ValueError("its checksum does not match")
    content = json.loads(text)
    for name, known in content["crc32"].items():
        if _checksum(entry / name) != known:
            raise ValueError(f"the checksum of {name} does not match")
    return content["document"]


def _checksum(path: Path) -> int:
    checksum, block = 0, memoryview(bytearray(_BLOCK))  # one that stays in the CPU's cache
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            checksum = zlib.crc32(block[:size], checksum)
    return checksum
