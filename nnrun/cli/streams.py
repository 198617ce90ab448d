"""stdout and stderr that may be closed, whose reader may go away, or that cannot hold every character.

None of this is a fault of the work, or changes an exit code.
"""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any, Final, TextIO

# What a screen that knows ASCII only, or one code page, shows instead.
_INSTEAD: Final = {
    **dict.fromkeys("−–—─━⠒", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("⠿█", "#"),
    **dict.fromkeys("●•", "*"),
    "±": "+-",
    "×": "x",
    "·": ".",
    "…": "...",
    "²": "^2",
    "→": "->",
    "←": "<-",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "○": "o",
}
_HANDLER: Final = "nnrun-readable"


def readable_streams() -> None:
    """Let stdout and stderr write a readable substitute for what their encoding cannot hold."""
    codecs.register_error(_HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not encoding.startswith("utf"):
            reconfigure(errors=_HANDLER)


def _readable(error: UnicodeError) -> tuple[str, int]:
    """`+-` for ±; what has no such substitute as an escape, in the form that JSON has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_substitute(c) for c in error.object[error.start : error.end]), error.end


def _substitute(character: str) -> str:
    if (instead := _INSTEAD.get(character)) is not None:
        return instead
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def replace_closed_streams() -> None:
    """A stream that was closed before nnrun began (`2>&-`) is None; what is written to it goes nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it is open as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def write_to_nobody() -> None:
    """The reader went away (`nnrun ls | head -1`): what is left to write is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _drop(stream)


class Unheard:
    """A stream that goes on into nowhere once its terminal or its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError:
            _drop(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except OSError:
            _drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _drop(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
