"""Weights files: safetensors, read as NumPy arrays. Those that nnrun writes tell of a flipped bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnrun.atomic_files import replace_file
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
    """

    epoch: int
    last: bool = False
    best: bool = False
    restored: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WeightsEpoch | None:
        """What a file tells; None where it tells nothing of it."""
        epoch = values.get("epoch")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            return None
        return cls(epoch, *(values.get(name) is True for name in ("last", "best", "restored")))


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
        metadata = {_WEIGHTS: json.dumps({**asdict(epoch), "sha256": digest})}
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
        digest.update(json.dumps(asdict(epoch)).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy: it may be large
    return digest.hexdigest()
