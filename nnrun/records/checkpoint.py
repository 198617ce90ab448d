"""Checkpoints: the state at the end of an epoch, from which a run is resumed as if it had never stopped.

    checkpoint-000012/
        state.safetensors   every tensor that training changes
        state.json          everything else, the history among it
        manifest.json       size and SHA-256 of the two

A checkpoint appears whole or not at all: it is written into a folder of another name, brought to the disk,
and renamed. The one before it goes only when the new one reads back as it was written. Nothing in it needs
pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nnrun.atomic_files import read_json_object
from nnrun.errors import DataError, NnrunError

if TYPE_CHECKING:
    import numpy as np

Arrays = Mapping[str, "np.ndarray[Any, Any]"]

T = TypeVar("T")

_FOLDER = re.compile(r"checkpoint-(\d{6,})")
_UNFINISHED = re.compile(r"\.checkpoint-[0-9a-f]{8}\.tmp")
_TENSORS = "state.safetensors"
_DOCUMENT = "state.json"
_MANIFEST = "manifest.json"
_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A state that was kept.

    Attributes:
        number: from 1, rising: the newest has the highest.
        arrays: name → array.
        document: plain values.
    """

    number: int
    arrays: Arrays
    document: Mapping[str, Any]


def write_checkpoint(run: Path, arrays: Arrays, document: Mapping[str, Any]) -> None:
    """Keep a state in a run's folder, and remove the older ones once it reads back as it was written.

    Args:
        run: the run's folder.
        arrays: name → array.
        document: what `json` can write; floats keep every bit.

    Raises:
        NnrunError: it cannot be written, or does not read back; the older one stays.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    older = sorted(_numbers(run))
    number = older[-1] + 1 if older else 1
    temporary = run / f".checkpoint-{secrets.token_hex(4)}.tmp"
    target = run / f"checkpoint-{number:06d}"
    try:
        temporary.mkdir()
        save_file({name: np.asarray(a, order="C") for name, a in arrays.items()}, temporary / _TENSORS)
        (temporary / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        manifest = {name: _fingerprint(temporary / name) for name in (_TENSORS, _DOCUMENT)}
        text = json.dumps({"version": _VERSION, "files": manifest}, indent=2)
        (temporary / _MANIFEST).write_text(text + "\n", encoding="utf-8")
        for name in (_TENSORS, _DOCUMENT, _MANIFEST):
            _sync(temporary / name)
        _sync(temporary)
        os.rename(temporary, target)
        _sync(run)
        _verify(target)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise NnrunError(f"Cannot keep a checkpoint in {run}: {reason}. The previous one is kept.") from error
    except DataError as error:
        raise NnrunError(
            f"The checkpoint in {run} could not be read back: {error} The disk may be failing."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # it is gone, unless something went wrong above
    for old in older:
        shutil.rmtree(run / f"checkpoint-{old:06d}", ignore_errors=True)


def read_checkpoint(run: Path, interpret: Callable[[Checkpoint], T]) -> T:
    """The newest checkpoint of a run that is whole.

    Args:
        run: the run's folder.
        interpret: what it means; raises DataError where it means nothing, and an older one is tried.

    Raises:
        DataError: there is none, or none is whole.
    """
    from nnrun.records.weights import read_weights_file

    damaged = []
    for number in sorted(_numbers(run), reverse=True):
        folder = run / f"checkpoint-{number:06d}"
        try:
            _verify(folder)
            arrays, document = read_weights_file(folder / _TENSORS), read_json_object(folder / _DOCUMENT)
            return interpret(Checkpoint(number, arrays, document))
        except DataError as error:
            damaged.append(str(error))
    if damaged:
        raise DataError(
            f"{run} has no intact checkpoint, so the run cannot be resumed. {' '.join(damaged)} "
            "`nnrun train` on its spec.yaml trains it again from the start."
        )
    raise DataError(
        f"{run} has no checkpoint: it ended before the first was written, or was written by an older nnrun. "
        "`nnrun train` on its spec.yaml trains it again from the start."
    )


def has_checkpoint(run: Path) -> bool:
    """Whether a run's folder holds a checkpoint, whole or not."""
    return bool(_numbers(run))


def remove_unfinished(run: Path) -> None:
    """Remove what a process left that was killed while it wrote a checkpoint."""
    for entry in run.iterdir() if run.is_dir() else ():
        if _UNFINISHED.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def _numbers(run: Path) -> list[int]:
    if not run.is_dir():
        return []
    found = (_FOLDER.fullmatch(entry.name) for entry in run.iterdir())
    return [int(match.group(1)) for match in found if match]


def _verify(folder: Path) -> None:
    """Raise DataError unless every file of a checkpoint is as its manifest says."""
    manifest = read_json_object(folder / _MANIFEST)
    files = manifest.get("files")
    if manifest.get("version") != _VERSION or not isinstance(files, dict):
        raise DataError(
            f"{folder} was written by another version of nnrun; this one reads version {_VERSION}."
        )
    for name in (_TENSORS, _DOCUMENT):
        try:
            found = _fingerprint(folder / name)
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if found != files.get(name):
            raise DataError(f"{folder / name} is damaged: it differs from what was written.")


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk. Systems that cannot open folders skip the latter."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
