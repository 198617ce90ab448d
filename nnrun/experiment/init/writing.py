"""Words and lines of a first spec: comments over as many lines as they need, lists broken between items."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from nnrun.errors import one_line, printable
from nnrun.spec.writing.dump import flow

_WIDTH: Final = 100


def spec_text(what: str, file: str, *parts: Sequence[str]) -> str:
    """The YAML of a first spec: a comment that says from where it is, then the lines of its parts."""
    head = f"{what} from {file}: a first spec, written by nnrun init. Change it as you like."
    return "\n".join([comment(head), *chain.from_iterable(parts)]) + "\n"


def dataset_lines(kind: str, path: Path, spec_path: Path) -> list[str]:
    """The beginning of the data set: its kind, and where it is."""
    return ["dataset:", f"  {kind}:", f"    path: {flow(relative(path, spec_path))}"]


def relative(path: Path, spec_path: Path) -> str:
    """The path from the spec's folder, by names only, as the loader of specs joins them again."""
    try:
        return Path(os.path.relpath(path, spec_path.parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.absolute().as_posix()


def some(names: Sequence[str]) -> str:
    """Up to eight names, and how many more there are."""
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return ", ".join(printable(name) for name in names[:8]) + more


def comment(text: str, indent: str = "") -> str:
    """A comment on one line."""
    return f"{indent}# {one_line(text)}"


def comments(text: str, indent: str) -> list[str]:
    """A comment over as many lines as it needs."""
    width = _WIDTH - len(indent) - 2
    return [comment(line, indent) for line in textwrap.wrap(printable(text), width, break_on_hyphens=False)]


def remarked(line: str, remark: str, indent: str) -> list[str]:
    """A line with a remark at its end, or above it where it would be too long."""
    if not remark:
        return [line]
    beside = f"{line}  {comment(remark)}"
    return [beside] if len(beside) <= _WIDTH + 10 else [*comments(remark, indent), line]


def flow_list(key: str, items: Sequence[str], indent: str) -> list[str]:
    """`key: [a, b]`, broken between items where it is long."""
    lines, line = [], f"{indent}{key}: ["
    for number, item in enumerate(items):
        text = flow(item) + ("]" if number == len(items) - 1 else ",")
        if len(line) + len(text) + 1 > _WIDTH and line.strip() != f"{key}: [":
            lines.append(line)
            line = f"{indent}  {text}"
        else:
            line += text if line.endswith("[") else f" {text}"
    return [*lines, line]
