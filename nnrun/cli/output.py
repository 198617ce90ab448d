"""Where a command's words go: results to stdout, messages to stderr, JSON where it is asked for.

Both streams may be closed, their reader may go away, or they cannot hold every character. None of this is a
fault of the work, or changes an exit code.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

from nnrun.cells import json_for, json_text
from nnrun.errors import NnrunError, SpecError, folder_of, one_line, printable
from nnrun.spec.wording import counted

_WIDEST = 110
_USUAL_WIDTH = 80
# A source line under its gutter (`   12 | layers:`), any line that is indented, or one of several columns.
_AS_IT_IS = re.compile(r"^\s|^\d+ \| |\S  +\S")

MOST_MEMBERS = 10
"""So many folds or seeds are shown one by one; more with -v."""
# Jupyter's kernels, Colab and Databricks hand these to what they start; a terminal beside a kernel has none.
_NOTEBOOK_VARIABLES = (
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
    "COLAB_RELEASE_TAG",
    "DATABRICKS_RUNTIME_VERSION",
)


def message(text: str) -> None:
    """A message for the person at the terminal, on stderr. Where nobody reads it, the work continues."""
    with contextlib.suppress(OSError):
        lines, width = printable(text).split("\n"), _stderr_width()
        print(
            *(line if _AS_IT_IS.search(line) else wrapped(line, width) for line in lines),
            sep="\n",
            file=sys.stderr,
            flush=True,
        )


def _stderr_width() -> int | None:
    """Columns for messages: $COLUMNS, else those of the terminal that stderr is; None where it is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    if not sys.stderr.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def print_json(document: Any) -> None:
    """One JSON document on stdout (NaN and infinity as null: JSON has no word for them)."""
    print(json_for(json_text(_finite(document), indent=2), sys.stdout.encoding))


def print_result(as_json: bool, document: Callable[[], Any], text: Callable[[], str]) -> None:
    """Print what a command found: as one JSON document, or as text."""
    if as_json:
        print_json(document())
    else:
        print(printable(text()))


def _finite(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # NumPy's numbers and arrays
        value = value.tolist()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def error_text(error: NnrunError) -> str:
    """What went wrong, as it is shown."""
    if isinstance(error, SpecError):
        errors = sum(p.severity == "error" for p in error.problems)
        return f"{error}\n{counted(errors, 'error')}: nothing was run."
    return f"error: {error}"


def report_error(error: NnrunError, *, as_json: bool = False) -> None:
    """Say what went wrong: sentences on stderr, and with --json a document on stdout as well."""
    message(error_text(error))
    if as_json:
        document: dict[str, Any] = {
            "error": type(error).__name__,
            "exit_code": error.exit_code,
            "message": str(error),
            **folder_document(error),
        }
        if isinstance(error, SpecError):
            document["problems"] = [vars(p) for p in error.problems]
        print_json(document)


def folder_document(error: BaseException) -> dict[str, str]:
    """The id and the folder of the run or sweep that an error ended, as keys of a JSON document."""
    folder = folder_of(error)
    return {} if folder is None else {"id": folder.name, "path": str(folder)}


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows in aligned columns; those of `right` are aligned to the right. Each cell stands in one line."""
    # Nearly all rows need no change, and there may be many: one look at each instead of one at each cell.
    rows = [row if "".join(row).isprintable() else [one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{'>' if i in right else '<'}{width}}}" for i, width in enumerate(widths))
    return "\n".join([line.format(*row).rstrip() for row in rows])


def aligned(rows: Sequence[Sequence[str]], *, right_first: bool = False) -> str:
    """`table`, indented: the first column to the left (or right), the others to the right."""
    right = range(0 if right_first else 1, len(rows[0]))
    return textwrap.indent(table(rows, right), "  ")


def in_blocks(table: Sequence[Sequence[str]], width: int | None) -> str:
    """`aligned`, cut into blocks of columns that fit `width` (if any), each with the first column."""
    table = [[one_line(cell) for cell in row] for row in table]
    blocks: list[list[int]] = []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    room = 0
    for column, needed in enumerate(widths[1:], start=1):
        if not blocks or (width is not None and needed + 2 > room):
            blocks.append([0])
            room = (width or 0) - 2 - widths[0]
        blocks[-1].append(column)
        room -= needed + 2
    return "\n\n".join(aligned([[row[i] for i in block] for row in table]) for block in blocks)


def size_text(number: int) -> str:
    """Bytes in words: `812 B`, `12.3 kB`, `812 MB`, `1.2 GB`."""
    size, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"


def ascii_only() -> bool:
    """Whether stdout cannot show braille dots, so that plots are drawn in ASCII."""
    try:
        "⠿·│".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return True
    return False


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def paragraph(text: str, width: int | None) -> str:
    """Sentences broken between words to fit `width`; one line where it is None."""
    return (
        text if width is None else textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)
    )


def wrapped(text: str, width: int | None) -> str:
    """`paragraph`, line by line."""
    return "\n".join(paragraph(line, width) if line else line for line in text.split("\n"))


def hanging(text: str, indent: int, width: int | None) -> str:
    """Labelled lines, each broken to fit `width` with what follows below its text, not below its label."""
    if width is None:
        return text
    below = " " * indent
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=below, break_on_hyphens=False, break_long_words=False)
        for line in text.split("\n")
    )


def live_screen() -> bool:
    """Whether messages go to a terminal on which a picture can be drawn again and again.

    A notebook is none: `!nnrun train` has a terminal of its own there, but the page shows each picture of it
    below the one before.
    """
    in_notebook = any(os.environ.get(name) for name in _NOTEBOOK_VARIABLES) or "ipykernel" in sys.modules
    return sys.stderr.isatty() and not in_notebook and os.environ.get("TERM") != "dumb"


def shortened(text: str, longest: int) -> str:
    """`text`, its end left out where it is longer than that."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def text_width() -> int:
    """Columns for running text: those of the terminal, and no more than can be read."""
    return min(shutil.get_terminal_size().columns, _WIDEST) if sys.stdout.isatty() else _WIDEST


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
