"""Everything nnrun refuses to do, as one small tree.

    NnrunError              exit code 1: the run failed
    ├── UsageError          2: the command line asks for something impossible
    ├── SpecError           3: the spec is invalid (holds every problem at once)
    ├── DataError           4: data missing, corrupt, or not what the spec says
    ├── DivergedError       5: the loss became NaN or infinite
    ├── LockedError         6: another process is working there
    └── RankLostError       130: a process of the same training has ended

An interruption by the user (Ctrl-C) is Python's KeyboardInterrupt and ends with exit code 130.

A message is a sentence that says what was found, what the rule is, and what to do next.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

EXIT_INTERRUPTED = 130

_SNIPPET_WIDTH = 120
_CUT = "..."
_FOLDER = "nnrun_folder"


class NnrunError(Exception):
    """The run failed for a reason that nnrun can name."""

    exit_code: ClassVar[int] = 1


def keep_folder(error: BaseException, folder: Path) -> None:
    """Note the folder of the run or sweep that an error ended, for who reports the error (`folder_of`)."""
    error.__dict__.setdefault(_FOLDER, folder)


def folder_of(error: BaseException) -> Path | None:
    """The folder of the run or sweep that an error ended; None where it ended none."""
    folder = error.__dict__.get(_FOLDER)
    return folder if isinstance(folder, Path) else None


class UsageError(NnrunError):
    """The command line asks for something impossible."""

    exit_code = 2


class AmbiguousRunError(UsageError):
    """A name of a run that several runs match.

    Attributes:
        reference: the name.
        matches: the ids of the runs, the newest first.
    """

    def __init__(self, message: str, reference: str, matches: Sequence[str]) -> None:
        super().__init__(message)
        self.reference, self.matches = reference, tuple(matches)


class DataError(NnrunError):
    """Data is missing, corrupt, or not what the spec says.

    Attributes:
        location: keys and positions from the top of the spec to what the data contradict; None where that is
            not one place.
    """

    exit_code = 4

    def __init__(self, message: str, location: tuple[str | int, ...] | None = None) -> None:
        super().__init__(message)
        self.location = location


class DivergedError(NnrunError):
    """Training diverged: a loss became NaN or infinite."""

    exit_code = 5


class LockedError(NnrunError):
    """Another process is working on the same thing."""

    exit_code = 6


class RankLostError(NnrunError):
    """A process that trains the same network has ended, or does not answer: this one cannot go on."""

    exit_code = EXIT_INTERRUPTED


class NoRowOfTableError(IndexError):
    """A word index is no row of an embedding's table, which has `rows` of them: a fault of preprocessing."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"a word index is not below {rows:,}, the number of rows of the embedding's table")


@dataclass(frozen=True)
class Problem:
    """One thing wrong (or doubtful) in a spec, with its place.

    Attributes:
        message: what was found, what is allowed, the closest name if there is one.
        path: where in the spec, as `--set` spells it: `layers[0].dense.units`.
        file: the spec's file as the user named it, or `--set` for an override, or None.
        line: 1-based line in the file, or None when the place is not in a file.
        column: 1-based column, or None.
        snippet: the source line, without its newline, or None.
        severity: an `error` makes the spec invalid, a `warning` does not.
    """

    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    snippet: str | None = None
    severity: Literal["error", "warning"] = "error"

    def render(self) -> str:
        """The problem as users see it: place, message, source line and a caret under the place.

        What comes from a file is escaped, so that it cannot command the terminal, and a long line is clipped
        around the place.
        """
        # A column is worth naming in a file of many lines, not in an override, where the caret shows it.
        numbers = (self.line, self.column) if self.line is not None else ()
        place = ":".join(str(p) for p in (self.file, *numbers) if p is not None)
        head = printable(
            f"{place}: {self.severity}: {self.message}" if place else f"{self.severity}: {self.message}"
        )
        if self.snippet is None or self.column is None:
            return head
        before, after = _clip(self.snippet, self.column - 1)
        gutter = f"{'' if self.line is None else self.line:>5} | "
        return f"{head}\n{gutter}{before}{after}\n{' ' * (len(gutter) - 2)}| {' ' * _width(before)}^"


class SpecError(NnrunError):
    """The spec is invalid. Holds all its problems, in the order of the file.

    Attributes:
        problems: every error and warning found, errors and warnings in file order.
    """

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(p.render() for p in self.problems))


def printable(text: str) -> str:
    """`text` with everything that a terminal could take for a command written as an escape; newlines stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def one_line(text: str) -> str:
    """A text from a file, in one line: `printable`, and a line break as `\\n`."""
    if text.isprintable():  # a line break is not
        return text
    return printable(text).replace("\n", "\\n")


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\t":
        return "\\t"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _clip(line: str, at: int) -> tuple[str, str]:
    """The printable parts of `line` before and from position `at`, a long line cut to a window around it."""
    start = max(0, at - _SNIPPET_WIDTH * 2 // 3) if len(line) > _SNIPPET_WIDTH else 0
    end = start + _SNIPPET_WIDTH
    before, after = one_line(line[start:at]), one_line(line[at:end])
    return (_CUT if start else "") + before, after + (_CUT if end < len(line) else "")


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
