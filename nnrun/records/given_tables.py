"""The rows that a Python program gave: kept beside the runs that learned from them, and never deleted.

A file is called for its content, so that runs on the same rows share it, and nobody writes it twice.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from nnrun.atomic_files import replace_file
from nnrun.paths import GIVEN_ROWS

_DIGITS = 16


def keep_table(runs_dir: Path, name: str, content: bytes, ending: str) -> Path:
    """Keep rows in a folder of runs.

    Args:
        runs_dir: the folder.
        name: of the spec, for people who look into it.
        content: of the file.
        ending: of its name, such as `jsonl`.

    Returns:
        its path, absolute.
    """
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    letters = "".join(letter if letter.isalnum() else "-" for letter in name)[:40]
    path = runs_dir.absolute() / GIVEN_ROWS / f"{letters}-{digest}.{ending}"
    if not path.is_file() or path.stat().st_size != len(content):
        replace_file(path, lambda temporary: temporary.write_bytes(content))
    return path
