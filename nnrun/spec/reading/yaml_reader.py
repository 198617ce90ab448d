"""YAML text → values that know their line and column.

PyYAML's scanner and parser give the events; the values are made here, so that nothing is constructed,
converted or expanded that a spec does not need. What is refused, and why:

- tags (`!!python/object`, `!anything`): a spec is data
- duplicate keys, merge keys (`<<`), keys that are not text: which value counts should never be a question
- more than one document, an empty one, one that is not a map
- files over 1 MiB, nesting over 50 levels, more than 10,000 values once aliases are followed, aliases of
  themselves
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from nnrun.errors import Problem, SpecError
from nnrun.spec.reading.nodes import (
    FORBIDDEN,
    MAX_DEPTH,
    Entry,
    InvalidNode,
    ListNode,
    MapNode,
    Node,
    Place,
    ScalarNode,
    SourceText,
)
from nnrun.spec.reading.yaml_scalars import resolve
from nnrun.spec.wording import quoted

MAX_BYTES = 2**20
MAX_VALUES = 10_000


def decode(data: bytes, file: str) -> SourceText:
    """The text of a spec file: UTF-8, with or without a byte order mark.

    Raises:
        SpecError: too large, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise SpecError([_too_large(file)])
    try:
        return SourceText(file, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace").removeprefix("\ufeff")
        readable = SourceText(file, data.decode("utf-8", errors="replace").removeprefix("\ufeff"))
        message = (
            f"byte 0x{data[error.start]:02x} at position {error.start:,} is not UTF-8; save the file as UTF-8"
        )
        raise SpecError([_place_after(readable, before).problem(message)]) from None


def read_yaml(source: SourceText) -> tuple[MapNode, list[Problem]]:
    """The map that a spec's text holds, and the problems that did not hinder reading it.

    Raises:
        SpecError: the text is no YAML, or not a single map; holds all problems found until then.
    """
    node, problems = _read(source)
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        raise SpecError(
            [_file_problem(source, "the file is empty; a spec needs at least dataset, layers and loss")]
        )
    if isinstance(node, MapNode):
        return node, problems
    if not isinstance(node, InvalidNode):
        kind = "a list" if isinstance(node, ListNode) else "a single value"
        problems.append(node.place.problem(f"found {kind}; a spec is a map of keys such as `epochs: 20`"))
    raise SpecError(problems)


def read_value(source: SourceText, start: int) -> tuple[Node, list[Problem]]:
    """The value that stands in `source` from position `start` on: what follows the `=` of an override.

    Raises:
        SpecError: that is no YAML.
    """
    # Blanks in front keep every line and column that the parser reports true to the whole text.
    node, problems = _read(source, " " * start + source.text[start:])
    if node is None:
        place = _place_after(source, source.text[:start])
        return ScalarNode(None, place, ""), problems
    return node, problems


def read_values(source: SourceText, start: int) -> tuple[Node, list[Problem]]:
    """The list of values that stand in `source` from position `start` (at least 1) on, with commas between.

    Raises:
        SpecError: that is no YAML.
    """
    node, problems = _read(source, f"{' ' * (start - 1)}[{source.text[start:]}]")
    assert node is not None, "brackets are never nothing"
    return node, problems


def _read(source: SourceText, text: str | None = None) -> tuple[Node | None, list[Problem]]:
    text = source.text if text is None else text
    if len(text) > MAX_BYTES:
        raise SpecError([_too_large(source.file)])
    if forbidden := FORBIDDEN.search(text):
        place = _place_after(source, text[: forbidden.start()])
        code = f"U+{ord(forbidden.group()):04X}"
        raise SpecError(
            [place.problem(f"{code} is a control character, which a spec may not hold; remove it")]
        )
    builder = _Builder(source)
    try:
        builder = _built(source, text)
    except _StopReading as stop:
        builder.problems.append(stop.problem)
        raise SpecError(builder.problems) from None
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax_problem(source, error))
        raise SpecError(builder.problems) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # such as "\UFFFFFFFF", which chr() refuses
        message = "this is not YAML: an escape or a version number in it is out of range"
        builder.problems.append(_file_problem(source, message))
        raise SpecError(builder.problems) from None
    return builder.document, builder.problems


def _built(source: SourceText, text: str) -> _Builder:
    """What the text holds. Tabs that separate are read as blanks, as YAML 1.2 has it and PyYAML has not."""
    for _ in range(text.count("\t") + 1):
        builder = _Builder(source)
        try:
            builder.build(yaml.parse(text, Loader=yaml.SafeLoader))
            return builder
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is None or "found character '\\t'" not in (error.problem or ""):
                raise
            without = _without_separating_tab(text, mark.line, mark.column)
            if without is None:
                raise
            text = without
    raise AssertionError("each round leaves fewer tabs")


def _without_separating_tab(text: str, line: int, column: int) -> str | None:
    """The text with blanks for the tabs at a place; None where they indent, or stand within a value."""
    lines = re.split(r"(\r\n|\r|\n)", text)
    content = lines[2 * line]
    before, rest = content[:column], content[column:].lstrip("\t ")
    ends = not rest or rest[0] in "#,]}"
    if not ends and (not before.strip() or before.rstrip(" \t")[-1] not in ":-?,[{"):
        return None
    width = len(content) - column - len(rest)
    lines[2 * line] = f"{before}{' ' * width}{rest}"
    return "".join(lines)


# --- from events to values ---------------------------------------------------------------------------------


class _StopReading(Exception):
    """Reading cannot continue."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


@dataclass(frozen=True)
class _Size:
    """How much a value holds once aliases are followed."""

    values: int = 1
    depth: int = 0


@dataclass
class _Open:
    """A list or map that is being read."""

    place: Place
    anchor: str | None
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: Node | None = None
    values: int = 1
    depth: int = 0
    incomplete: bool = False
    invalid: bool = False

    def close(self) -> Node:
        """The complete value."""
        if self.invalid:
            return InvalidNode(self.place)
        if self.is_map:
            return MapNode(self.entries, self.place, self.incomplete)
        return ListNode(tuple(self.items), self.place)


class _Builder:
    """Makes values of the parser's events. Open lists and maps are a stack, so depth costs no recursion."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.document: Node | None = None
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, _Size]] = {}
        self._values = 0

    def build(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            place = self._place(event)
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise _StopReading(place.problem("a second document begins here; a spec file holds one"))
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event, place)
            elif isinstance(event, yaml.ScalarEvent):
                self._finish(self._scalar(event, place), _Size(), event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event, place)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None  # the parser marks every event
        return Place(self.source, mark.line + 1, mark.column + 1)

    def _begin(self, event: yaml.CollectionStartEvent, place: Place) -> None:
        invalid = self._check_tag(event, place)
        self._check_size(place, values=1, depth=1)
        self._values += 1
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(place, event.anchor, is_map, invalid=invalid))
        if event.anchor:
            self._anchors.pop(
                event.anchor, None
            )  # until it is complete, an alias of it is an alias of itself

    def _end(self) -> None:
        done = self._open.pop()
        self._values -= done.values
        self._finish(done.close(), _Size(done.values, done.depth + 1), done.anchor)

    def _alias(self, event: yaml.AliasEvent, place: Place) -> None:
        if any(part.anchor == event.anchor for part in self._open):
            raise _StopReading(
                place.problem(f"*{event.anchor} is inside &{event.anchor}: it would contain itself")
            )
        if event.anchor not in self._anchors:
            raise _StopReading(
                place.problem(f"*{event.anchor} refers to nothing: no &{event.anchor} comes before")
            )
        node, size = self._anchors[event.anchor]
        self._check_size(place, size.values, size.depth)
        self._finish(node, size, None)

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Node:
        if self._check_tag(event, place):
            return InvalidNode(place)
        if event.style is not None:  # quoted, or a block of text: never anything but text
            if forbidden := FORBIDDEN.search(event.value):
                code = f"U+{ord(forbidden.group()):04X}"
                self.problems.append(
                    place.problem(f"this text holds the control character {code}; remove it")
                )
                return InvalidNode(place)
            return ScalarNode(event.value, place, event.value, quoted=True)
        try:
            return ScalarNode(resolve(event.value), place, event.value)
        except OverflowError as error:
            self.problems.append(place.problem(f"{quoted(event.value)} is {error}"))
            return InvalidNode(place)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> bool:
        """Whether a value carries a tag, which is reported."""
        if event.tag is None:
            return False
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self.problems.append(place.problem(f"tag {quoted(tag)}: a spec is plain data; remove the tag"))
        return True

    def _check_size(self, place: Place, values: int, depth: int) -> None:
        if len(self._open) + depth > MAX_DEPTH:
            raise _StopReading(
                place.problem(f"more than {MAX_DEPTH} lists and maps inside each other; a spec needs few")
            )
        if self._values + values > MAX_VALUES:
            raise _StopReading(
                place.problem(
                    f"more than {MAX_VALUES:,} values, counting what aliases repeat; a spec is smaller"
                )
            )

    def _finish(self, node: Node, size: _Size, anchor: str | None) -> None:
        """Hand a complete value to what holds it."""
        self._check_size(node.place, size.values, 0)
        self._values += size.values
        if anchor:
            self._anchors[anchor] = (node, size)
        if not self._open:
            self.document = node
            return
        parent = self._open[-1]
        parent.values += size.values
        parent.depth = max(parent.depth, size.depth)
        if not parent.is_map:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self._add_entry(parent, parent.key, node)
            parent.key = None

    def _add_entry(self, parent: _Open, key: Node, value: Node) -> None:
        if isinstance(key, ScalarNode) and isinstance(key.value, str) and (key.value != "<<" or key.quoted):
            self._add_text_entry(parent, key, key.value, value)
            return
        if isinstance(key, ScalarNode) and key.value is not None and key.value != "<<":
            self._add_text_entry(parent, key, key.written, value)  # a class or column may be called 0 or true
            return
        parent.incomplete = True
        if isinstance(key, InvalidNode):
            return
        if isinstance(key, ScalarNode) and key.value == "<<":
            message = (
                "merge keys (<<) are not supported: a merged value has no line of its own; write the keys out"
            )
        else:
            found = key.written if isinstance(key, ScalarNode) else "a list or map"
            hint = f"; put it in quotes: '{found}'" if isinstance(key, ScalarNode) and found else ""
            message = f"a key is text, and {found or 'nothing'} is not{hint}"
        self.problems.append(key.place.problem(message))

    def _add_text_entry(self, parent: _Open, key: ScalarNode, name: str, value: Node) -> None:
        if name not in parent.entries:
            parent.entries[name] = Entry(key.place, value)
            return
        first = parent.entries[name].key_place
        where = f"on line {first.line}: {quoted(first.snippet.strip())}"
        if first.line == key.place.line:
            where = f"in column {first.column} of this line"
        message = f"key {quoted(name)} occurs twice in one map (first {where}); keep one of them"
        self.problems.append(key.place.problem(message))


# --- problems ----------------------------------------------------------------------------------------------

# What PyYAML says → what we say. The first entry whose first part occurs in PyYAML's problem wins.
_SYNTAX = (
    ("found character '\\t'", "a tab; YAML indents with spaces, and a value that holds a tab goes in quotes"),
    ("found character '%'", "a value that begins with % goes in quotes"),
    ("found character '@'", "a value that begins with @ goes in quotes"),
    ("found character '`'", "a value that begins with a backquote goes in quotes"),
    (
        "mapping values are not allowed",
        "a ':' where no key is allowed; check the indentation, or put a text that holds ': ' in quotes",
    ),
    ("could not find expected ':'", "a key without ':'; write `key: value`, the ':' followed by a space"),
    (
        "sequence entries are not allowed",
        "a list item ('- ') where none is allowed; begin the list on its own line",
    ),
    (
        "block sequence entries are not allowed",
        "a '- ' where none is allowed; begin the list on its own line",
    ),
    ("block mapping", "this line does not fit the map that it is in; check its indentation"),
    (
        "expected ',' or ']'",
        "the list that begins with '[' goes wrong here; write ',' between values and ']' at its end",
    ),
    (
        "expected ',' or '}'",
        "the map that begins with '{' goes wrong here; write ',' between keys and '}' at its end",
    ),
    ("expected <block end>", "this line does not fit the lines above it; check its indentation"),
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("found unexpected document separator", "a quote is opened and not closed before this line"),
    (
        "found unknown escape character",
        "an unknown escape in double quotes; write \\\\ for a backslash, or use single quotes",
    ),
    (
        "expected escape sequence",
        "an incomplete escape in double quotes; write \\\\ for a backslash, or use single quotes",
    ),
    (
        "found unexpected ':'",
        "a ':' inside a list or map in brackets; put the text in quotes, or a space after the ':'",
    ),
    ("expected the node content", "a value is missing here"),
    ("found duplicate anchor", "this anchor's name is used twice"),
    ("but found another document", "a second document begins here; a spec file holds one"),
    ("expected '<document start>'", "this line does not fit the map above it; check its indentation"),
    ("found incompatible YAML document", "this version of YAML is not supported; remove the %YAML line"),
)


def _syntax_problem(source: SourceText, error: yaml.MarkedYAMLError) -> Problem:
    said = error.problem or "it cannot be read"
    # PyYAML notices a problem at `problem_mark`, while it reads what began at `context_mark`.
    mark = error.problem_mark or error.context_mark
    context = error.context_mark
    words = f"{error.context or ''} {said}"
    message = next((ours for theirs, ours in _SYNTAX if theirs in said), None)
    if message is None:
        unknown = f"this is not YAML: {words.strip()}"
        message = next((ours for theirs, ours in _SYNTAX if theirs in words), unknown)
    if context is not None and mark is not None and context.line != mark.line and "flow" in words:
        message += f" (it begins on line {context.line + 1})"
    if context is not None and ("end of stream" in said or "could not find expected ':'" in said):
        mark = context  # noticed a line or a file later: the opening quote, or the key, is the place
    if mark is None:
        return _file_problem(source, message)
    place = Place(source, mark.line + 1, mark.column + 1)
    if "expected <block end>" in said and place.snippet[: mark.column].strip():
        message = "the value before this has ended; put the whole text in quotes, or remove the rest"
    return place.problem(message)


def _too_large(file: str) -> Problem:
    return Problem(f"the file is larger than {MAX_BYTES // 2**20} MiB; a spec is a page of text", file=file)


def _file_problem(source: SourceText, message: str) -> Problem:
    return Problem(message, file=source.file)


def _place_after(source: SourceText, before: str) -> Place:
    lines = SourceText("", before).lines
    return Place(source, len(lines), len(lines[-1]) + 1)
