"""A script's files: a name that imports leave free, and beside it arrays that replace no file of a person."""

from __future__ import annotations

import ast
import io
import keyword
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.errors import UsageError
from nnrun.version import __version__

_MARK: Final = "written_by_nnrun"
"""The array by which a file is known as nnrun's own."""

_OF_PYTORCH: Final = frozenset(
    ("torch", "numpy", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "fsspec", "filelock")
)
"""What PyTorch imports, in whatever script that imports it."""


def arrays_content(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The content of the .npz file beside a script, with the mark by which nnrun knows it again."""
    content = io.BytesIO()
    np.savez(content, **{**arrays, _MARK: np.array(__version__)})  # type: ignore[arg-type]
    return content.getvalue()


def refuse_foreign_arrays(path: Path) -> None:
    """Raise UsageError where a file that nnrun did not write has the name of the arrays beside a script."""
    if not os.path.lexists(path) or _is_own(path):
        return
    raise UsageError(
        f"{path} exists, and nnrun did not write it: beside a script, its arrays would be written there. "
        "Name another script with -o, or move that file away."
    )


def _is_own(path: Path) -> bool:
    """Whether the list of an archive's files, which is read without its arrays, has the mark."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{_MARK}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def refuse_taken_name(path: Path, source: str) -> None:
    """Raise UsageError where a script's name cannot be imported, or hides a module from its own imports.

    Python looks for modules in a script's folder first, so that `torch.py` would import itself.

    Args:
        path: the script.
        source: its text.
    """
    name = path.stem
    if keyword.iskeyword(name):
        raise UsageError(
            f"{path}: {name} is a keyword of Python, so that nothing could import the script. Choose "
            "another name with -o."
        )
    if name in sys.stdlib_module_names or name in _OF_PYTORCH or name in _imported(source):
        raise UsageError(
            f"{path}: {name} is the name of a module, and what the script imports would find the script "
            "instead. Choose another name with -o."
        )


def _imported(source: str) -> set[str]:
    """The modules that a script imports, each by the first part of its name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found
