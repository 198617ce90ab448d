"""Weights files: safetensors, read as NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.errors import DataError

if TYPE_CHECKING:
    import numpy as np


def read_weights_file(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file.

    Raises:
        DataError: the file cannot be read, or is none of its kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(f"There is no weights file {path}.") from None
    except KeyError as error:  # safetensors names types, such as bfloat16, that NumPy does not know
        raise DataError(f"{path} holds arrays of type {error}, which cannot be read; save float32.") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is no safetensors file, or a damaged one: {error}.") from error
