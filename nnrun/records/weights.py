"""Weights files and checkpoints: safetensors, read as NumPy arrays. Those of nnrun tell of a flipped bit.

A checkpoint is the state at the end of an epoch, from which a run is resumed as if it had never stopped:

    checkpoint-000012/
        state.safetensors   every tensor that training changes
        state.json          everything else, the history among it
        manifest.json       size and SHA-256 of the two

It appears whole or not at all: it is written into a folder of another name, brought to the disk, and renamed.
The one before it goes only when the new one reads back as it was written. Nothing in it needs pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nnrun.atomic_files import read_json_object, replace_file
from nnrun.errors import DataError, NnrunError, printable

if TYPE_CHECKING:
    import numpy as np


_DIGEST = "nnrun.sha256"
"""The key of a file's metadata that holds the hash of its arrays: safetensors has no checksum of its own."""

_WEIGHTS = "nnrun.weights"
"""The key of the same, as JSON, with the weights' epoch: safetensors writes several keys in any order, and
files of equal weights must not differ."""

WeightsChoice = Literal["last", "best"]
"""Which weights of a run: those that it ended with, or those of its best epoch."""


@dataclass(frozen=True)
class WeightsEpoch:
    """The epoch of which the weights in a file are. The file says it, so that it is true wherever it goes.

    Attributes:
        epoch: from 1.
        last: whether the network was trained no further.
        best: whether it is the best epoch by validation.
        restored: whether early stopping put these weights back.
        averaged: whether they are the optimizer's moving averages up to there.
    """

    epoch: int
    last: bool = False
    best: bool = False
    restored: bool = False
    averaged: bool = False

    def as_document(self) -> dict[str, Any]:
        """As a file holds it; `averaged` only where it is true, since older files lack it."""
        return {name: value for name, value in asdict(self).items() if value or name != "averaged"}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WeightsEpoch | None:
        """What a file tells; None where it tells nothing of it."""
        epoch = values.get("epoch")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            return None
        return cls(epoch, *(values.get(name) is True for name in ("last", "best", "restored", "averaged")))


@dataclass(frozen=True, eq=False)
class KeptWeights:
    """The weights of a network, as a file has them.

    Attributes:
        arrays: name → array.
        epoch: when they were trained; None where the file does not say.
    """

    arrays: dict[str, np.ndarray[Any, Any]]
    epoch: WeightsEpoch | None


def write_weights_file(
    path: Path, tensors: Mapping[str, np.ndarray[Any, Any]], epoch: WeightsEpoch | None = None
) -> None:
    """Write a safetensors file, whole or not at all; equal arrays of equal epochs give equal files."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors writes an array's memory as it lies, so each must lie in C order.
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    digest = _digest(arrays, epoch)
    metadata = {_DIGEST: digest}
    if epoch is not None:
        metadata = {_WEIGHTS: json.dumps({**epoch.as_document(), "sha256": digest})}
    try:
        replace_file(path, lambda temporary: save_file(arrays, temporary, metadata=metadata))
    except SafetensorError as error:  # its own kind, for a full disk too
        raise NnrunError(f"Cannot write {path}: {error}.") from error


def read_weights_file(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file; errors are those of `read_kept_weights`."""
    return read_kept_weights(path).arrays


def read_kept_weights(path: Path) -> KeptWeights:
    """The arrays of a safetensors file, and of which epoch they are.

    Raises:
        DataError: the file cannot be read, is none of its kind, names an array twice, or holds other bytes
            than were written into it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for without end
        raise DataError(f"{path} is not a regular file.")
    try:
        content = path.read_bytes()
        arrays = load(content)
    except FileNotFoundError:
        raise DataError(f"There is no weights file {path}.") from None
    except KeyError as error:  # safetensors names types, such as bfloat16, that NumPy does not know
        raise DataError(
            f"{path} holds arrays of type {_shown(error)}, which cannot be read; save float32."
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is not a safetensors file, or it is damaged: {_shown(error)}.") from error
    metadata = _metadata(content, path)
    told = _told(metadata)
    epoch = WeightsEpoch.of(told)
    digest = str(told.get("sha256")) if told else metadata.get(_DIGEST)
    if digest is not None and digest != _digest(arrays, epoch):
        raise DataError(
            f"{path} is damaged: its arrays differ from those that were written (their SHA-256 differs). "
            "Restore the file, or train again."
        )
    return KeptWeights(arrays, epoch)


def _told(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What nnrun wrote of the weights; empty in a file of another program or of an older nnrun."""
    try:
        told = json.loads(metadata.get(_WEIGHTS, "{}"))
    except (TypeError, ValueError):
        told = None
    return told if isinstance(told, dict) else {"sha256": "unreadable"}


def _metadata(content: bytes, path: Path) -> dict[str, Any]:
    """The metadata of a file that safetensors has accepted. It takes the last of two arrays of one name."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length], object_pairs_hook=lambda pairs: _once(pairs, path))
    metadata = header.get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def _shown(error: Exception) -> str:
    """The library's words, which repeat what the file holds."""
    return printable(str(error)[:200])


def _once(pairs: Iterable[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DataError(f"{path} is damaged: its header names {name[:60]!r} twice.")
        found[name] = value
    return found


def _digest(arrays: Mapping[str, np.ndarray[Any, Any]], epoch: WeightsEpoch | None) -> str:
    """The hash of names, types, shapes and values, and of the epoch where it is told."""
    import numpy as np

    digest = hashlib.sha256()
    if epoch is not None:
        digest.update(json.dumps(epoch.as_document()).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy: it may be large
    return digest.hexdigest()


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
        kept = "The previous one is kept." if older else "There is none of an earlier epoch."
        raise NnrunError(f"Cannot keep a checkpoint in {run}: {reason}. {kept}") from error
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
        raise DataError(f"{run} has no intact checkpoint, so the run cannot be resumed. {' '.join(damaged)}")
    raise DataError(
        f"{run} has no checkpoint: it ended before the first was written, or was written by an older nnrun."
    )


def has_checkpoint(run: Path) -> bool:
    """Whether a run's folder holds a checkpoint, whole or not."""
    return bool(_numbers(run))


def remove_unfinished(run: Path) -> None:
    """Remove what a process left that was killed while it wrote a checkpoint."""
    for entry in run.iterdir() if run.is_dir() else ():
        if _UNFINISHED.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def remove_checkpoints(run: Path) -> None:
    """Remove the states of a run that nothing will go on from."""
    for number in _numbers(run):
        shutil.rmtree(run / f"checkpoint-{number:06d}", ignore_errors=True)


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
