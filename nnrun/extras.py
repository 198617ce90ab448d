"""Packages that only some users need, the extras of pyproject.toml: are they here, and how to get them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from nnrun.errors import UsageError


def installation(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'nnrun[{extra}]' (from a checkout: pip install -e '.[{extra}]')"


def require(extra: str, packages: Mapping[str, str], what: str) -> None:
    """Raise UsageError unless the packages of an extra can be imported.

    Args:
        extra: its name.
        packages: module → what people call it.
        what: what needs them, as the beginning of a sentence: `--format onnx`.
    """
    missing = [name for module, name in packages.items() if find_spec(module) is None]
    if missing:
        names = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
        raise UsageError(
            f"{what} needs {names}, which this Python does not have. Install the extra: "
            f"{installation(extra)}."
        )
