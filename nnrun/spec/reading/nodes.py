"""Values that know where they were written.

A spec is kept as a small immutable tree until it is valid, so that every problem can show its line. Nodes are
shared where YAML shares them (an alias), and an override builds new nodes instead of changing old ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from nnrun.errors import Problem

Plain = bool | int | float | str | None

MAX_DEPTH = 50
"""Lists and maps inside each other; a spec has about six."""

# Characters that no text of a spec may hold: what commands a terminal, breaks a line behind the reader's
# back, or is half a character.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class SourceText:
    """A text that holds values: a spec file, or one override.

    Attributes:
        file: how the user named it; `--set` for an override.
        text: all of it.
        numbered: whether lines have numbers worth showing.
    """

    file: str
    text: str
    numbered: bool = True

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends."""
        return re.split(r"\r\n|\r|\n", self.text)


@dataclass(frozen=True)
class Place:
    """A position in a text, line and column from 1."""

    source: SourceText
    line: int
    column: int

    @property
    def snippet(self) -> str:
        """The line of text at this place."""
        lines = self.source.lines
        return lines[self.line - 1] if self.line <= len(lines) else ""

    def problem(
        self, message: str, *, path: str = "", severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """A problem at this place."""
        return Problem(
            message=message,
            path=path,
            file=self.source.file,
            line=self.line if self.source.numbered else None,
            column=self.column,
            snippet=self.snippet,
            severity=severity,
        )


@dataclass(frozen=True)
class ScalarNode:
    """A single value. `written` is its text in the file, `quoted` whether it stands in quotes there."""

    value: Plain
    place: Place
    written: str
    quoted: bool = False


@dataclass(frozen=True)
class ListNode:
    """A sequence of values. `is_array`: it was one of NumPy's."""

    items: tuple[Node, ...]
    place: Place
    is_array: bool = False


@dataclass(frozen=True)
class Entry:
    """One key of a map: where the key stands, and its value."""

    key_place: Place
    value: Node


@dataclass(frozen=True)
class MapNode:
    """A map from text keys to values, in the order of the file.

    `incomplete`: it held keys that were refused and reported, so that what is missing may be among them.
    """

    entries: Mapping[str, Entry]
    place: Place
    incomplete: bool = False


@dataclass(frozen=True)
class InvalidNode:
    """Stands where something was refused that has already been reported, so that no one reports it twice."""

    place: Place


Node = ScalarNode | ListNode | MapNode | InvalidNode


def plain(node: Node) -> Any:
    """The values of a tree without their places. An invalid node stands for itself."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, MapNode):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    return node


def from_plain(value: Any, place: Place, depth: int = 0) -> Node:
    """The tree of a Python value, all of it at one place.

    Arrays (NumPy's, or whatever has `dtype` and `tolist`) are lists, their scalars numbers, paths texts.

    Raises:
        TypeError: the value is, or holds, something that YAML has no word for.
    """
    if depth > MAX_DEPTH:
        raise TypeError(f"more than {MAX_DEPTH} lists and maps inside each other")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    is_array = hasattr(value, "dtype") and hasattr(value, "tolist")
    if is_array:
        value = value.tolist()
    if isinstance(value, Mapping):
        entries = {}
        for key, item in value.items():
            name = _key_text(key)
            if name in entries:
                raise TypeError(f"a map with the key {name!r} twice")
            entries[name] = Entry(place, from_plain(item, place, depth + 1))
        return MapNode(entries, place)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return ListNode(tuple(from_plain(item, place, depth + 1) for item in value), place, is_array)
    if isinstance(value, str) and FORBIDDEN.search(value):
        raise TypeError("text with a control character")
    if isinstance(value, int) and abs(value) >= 2**64:
        raise TypeError("a whole number of more than 64 bits")
    for kind in (bool, int, float, str):  # exact types: a NumPy float is a float, and should read back as one
        if isinstance(value, kind):
            return ScalarNode(kind(value), place, str(value), quoted=isinstance(value, str))
    if value is None:
        return ScalarNode(None, place, "null")
    raise TypeError(f"a {type(value).__name__}")


def _key_text(key: Any) -> str:
    """The key of a map: a text, or a number or truth value by its name, as the keys of classes are."""
    if hasattr(key, "dtype") and hasattr(key, "tolist"):
        key = key.tolist()
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, int) and abs(key) < 2**64:
        return str(key)
    if isinstance(key, float):
        return repr(float(key))
    if not isinstance(key, str):
        raise TypeError("a map whose keys are not all texts or numbers")
    return str(key)


def spell_path(path: Sequence[str | int]) -> str:
    """A path as `--set` spells it: `layers[0].dense.units`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
