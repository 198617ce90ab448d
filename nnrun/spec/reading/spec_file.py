"""Reading a spec's file, and saying in a sentence why it cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nnrun.errors import UsageError
from nnrun.spec.reading.yaml_reader import MAX_BYTES
from nnrun.spec.wording import listing, nearest

_SHOWN = 5


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


def _yaml_names(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return []


def _nearest_files(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f" (there is no folder {path.parent})"
    match = nearest(path.name, _yaml_names(path.parent)) or nearest(
        f"{path.name}.yaml", _yaml_names(path.parent)
    )
    return f"; did you mean {path.parent / match}?" if match else _specs_in(path.parent, f"in {path.parent}")


def _specs_in(folder: Path, where: str) -> str:
    names = _yaml_names(folder)
    if not names:
        return f" (there is no .yaml file {where})"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = listing(names[:_SHOWN], "and") if not more else ", ".join(names[:_SHOWN])
    return f" ({where}: {shown}{more})"
