"""The file of a spec: its bytes, or what is there instead and what may be meant."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from nnrun.errors import UsageError
from nnrun.spec.reading.yaml_reader import MAX_BYTES
from nnrun.spec.wording import listing_of_some, nearest_file

_SHOWN = 5
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq", ".npz")


def read_spec_file(path: Path) -> bytes:
    """The bytes of a spec's file, one more than are allowed where it is larger than that.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path} is a folder; name a spec file{_specs_in(path, 'in it')}")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path} is not a regular file; a spec is read from a file")
        if _is_table(path.name):
            command = f"nnrun init {shlex.quote(str(path))}"
            raise UsageError(f"{path} holds rows, and a spec is YAML; `{command}` writes one for it")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            target = path.readlink()
            raise UsageError(f"{path} is a link to {target}, which does not exist") from None
        raise UsageError(f"{path}: no such file{_nearest_files(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be read: {reason.lower()}") from None


def _is_table(name: str) -> bool:
    """Whether a file of this name holds rows that `nnrun init` reads."""
    return name.lower().removesuffix(".gz").endswith(_TABLES)


def _yaml_names(folder: Path) -> list[str]:
    return _names(folder, lambda name: name.endswith((".yaml", ".yml")))


def _names(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if wanted(entry.name))
    except OSError:
        return []


def _nearest_files(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f" (there is no folder {path.parent})"
    match = nearest_file(path.name, _yaml_names(path.parent))
    if match:
        return f"; did you mean {path.parent / match}?"
    tables = _names(path.parent, _is_table)
    table = next((name for name in tables if name.split(".")[0] == path.name.split(".")[0]), None)
    if table is not None:
        return f"; `nnrun init {shlex.quote(str(path.parent / table))}` writes one for the rows beside it"
    return _specs_in(path.parent, f"in {path.parent}")


def _specs_in(folder: Path, where: str) -> str:
    names = _yaml_names(folder)
    if not names:
        return f" (there is no .yaml file {where})"
    return f" ({where}: {listing_of_some(names, _SHOWN)})"
