"""Weights files: safetensors, read as NumPy arrays. Those that nnrun writes tell of a flipped bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.errors import DataError, NnrunError, printable
from nnrun.records.files import replace_file

if TYPE_CHECKING:
    import numpy as np

_DIGEST = "nnrun.sha256"
"""The key of a file's metadata that holds the hash of its arrays: safetensors has no checksum of its own."""


def write_weights_file(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write a safetensors file, whole or not at all; equal arrays give equal files."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors writes an array's memory as it lies, so each must lie in C order.
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    metadata = {_DIGEST: _digest(arrays)}
    try:
        replace_file(path, lambda temporary: save_file(arrays, temporary, metadata=metadata))
    except SafetensorError as error:  # its own kind, for a full disk too
        raise NnrunError(f"Cannot write {path}: {error}.") from error


def read_weights_file(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file.

    Raises:
        DataError: the file cannot be read, is none of its kind, names an array twice, or holds other bytes
            than were written into it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for without end
        raise DataError(f"{path} is no ordinary file.")
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
        raise DataError(f"{path} is no safetensors file, or a damaged one: {_shown(error)}.") from error
    metadata = _metadata(content, path)
    if _DIGEST in metadata and metadata[_DIGEST] != _digest(arrays):
        raise DataError(
            f"{path} is damaged: its arrays are not those that were written (their SHA-256 is another one). "
            "Bring back the file, or train again."
        )
    return arrays


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


def _digest(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """The hash of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
