"""Where a command's words go: results to stdout, messages to stderr, JSON where it is asked for."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from nnrun.errors import NnrunError, SpecError


_WIDEST = 110


def message(text: str) -> None:
    """A message for the person at the terminal, on stderr. Where nobody reads it, the work goes on."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout (NaN and infinity as null: JSON has no word for them)."""
    print(json.dumps(_finite(document), indent=2, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def report_error(error: NnrunError, *, as_json: bool = False) -> None:
    """Say what went wrong: sentences on stderr, and with --json a document on stdout as well."""
    if isinstance(error, SpecError):
        errors = sum(p.severity == "error" for p in error.problems)
        message(f"{error}\n{errors} error{'s' if errors != 1 else ''}: nothing was run.")
    else:
        message(f"error: {error}")
    if as_json:
        document: dict[str, Any] = {
            "error": type(error).__name__,
            "exit_code": error.exit_code,
            "message": str(error),
        }
        if isinstance(error, SpecError):
            document["problems"] = [vars(p) for p in error.problems]
        print_json(document)


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def aligned(table: Sequence[Sequence[str]], *, right_first: bool = False) -> str:
    """Rows of text, indented: the first column to the left (or right), the others to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        first = row[0].rjust(widths[0]) if right_first else row[0].ljust(widths[0])
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"  {'  '.join([first, *cells])}".rstrip())
    return "\n".join(lines)


def text_width() -> int:
    """Columns for running text: those of the terminal, and no more than can be read."""
    return min(shutil.get_terminal_size().columns, _WIDEST) if sys.stdout.isatty() else _WIDEST


def with_std(value: object, std: object = None) -> str:
    """`0.8123 ± 0.0040`; nothing where there is no number."""
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.4f} ± {std:.4f}" if isinstance(std, (int, float)) else f"{value:.4f}"
