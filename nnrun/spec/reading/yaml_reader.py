"""YAML text → values that know their line and column.

PyYAML's scanner and parser give the events; the values are made here, so that nothing is constructed,
converted or expanded that a spec does not need. What is refused, and why:

- tags (`!!python/object`, `!anything`): a spec is data
- duplicate keys, merge keys (`<<`), keys that are not text: which value counts should never be a question
- more than one document, an empty one, one that is not a map
- files over 1 MiB, nesting over 50 levels, more than 10,000 values once aliases are followed, aliases of
  themselves

An unquoted word means what the core schema of YAML 1.2 says, and nothing else. YAML 1.1, which PyYAML reads,
turns `no` into false, `12:30` into 750 and `1e-3` into text. Here each of them is what it looks like. A
number that the two versions read differently (`012` is 10 or 12) stays text, so that whoever wanted a number
is told.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from typing import NoReturn

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
    Plain,
    ScalarNode,
    SourceText,
)
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
    try:
        return _built(source, text)
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(source, error)]) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # such as "\UFFFFFFFF", which chr() refuses
        message = "this is not YAML: an escape or a version number in it is out of range"
        raise SpecError([_file_problem(source, message)]) from None


def _built(source: SourceText, text: str) -> tuple[Node | None, list[Problem]]:
    """What the text holds. Tabs that separate are read as blanks, as YAML 1.2 has it and PyYAML has not."""
    for _ in range(text.count("\t") + 1):
        builder = _Builder(source, _events(text))
        try:
            return builder.document(), builder.problems
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is None or "found character '\\t'" not in (error.problem or ""):
                raise
            without = _without_separating_tab(text, mark.line, mark.column)
            if without is None:
                raise
            text = without
    raise AssertionError("each round leaves fewer tabs")


_AS_IN_C = re.compile(r"[\n \"-$'-)+-=A-Z\[\]^_a-{}~]*")  # ASCII without ! % & * > ? @ | ` and backslashes
_C_LOADER = getattr(yaml, "CSafeLoader", None)  # PyYAML may have been built without it


def _events(text: str) -> Iterator[yaml.Event]:
    """The parser's events: of libyaml, in a tenth of the time, where it surely says what PyYAML says.

    They differ in what they make of rare characters, in messages, and in where a missing value stands.
    """
    if _C_LOADER is not None and _AS_IN_C.fullmatch(text):
        with contextlib.suppress(yaml.YAMLError):
            events = list(yaml.parse(text, Loader=_C_LOADER))
            if not any(
                isinstance(each, yaml.ScalarEvent) and not (each.value or each.style) for each in events
            ):
                return iter(events)
    return yaml.parse(text, Loader=yaml.SafeLoader)


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


class _Builder:
    """Makes values of the parser's events. It calls itself for what is inside, at most `MAX_DEPTH` deep."""

    def __init__(self, source: SourceText, events: Iterator[yaml.Event]) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._events = events
        self._open: list[str | None] = []  # the anchors of the lists and maps that are being read
        self._anchors: dict[str, tuple[Node, int, int]] = {}  # the node, its values and its depth
        self._values = 0  # how many there are, once aliases are followed

    def document(self) -> Node | None:
        """The value of the only document; None where there is none. SpecError where reading cannot go on."""
        node, documents = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(self._place(event), "a second document begins here; a spec file holds one")
            elif isinstance(event, yaml.NodeEvent):
                node, _ = self._node(event)
        return node

    def _stop(self, place: Place, message: str) -> NoReturn:
        raise SpecError([place.problem(message)])

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None  # the parser marks every event
        return Place(self.source, mark.line + 1, mark.column + 1)

    def _node(self, event: yaml.Event) -> tuple[Node, int]:
        """The value that begins here, and how many lists and maps are inside each other in it."""
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            node, values, depth = self._anchored(event, place)
            self._count(place, values, depth)
            return node, depth
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)), "one of them begins a value"
        before, refused = self._values, self._check_tag(event, place)
        if isinstance(event, yaml.ScalarEvent):
            self._count(place, 1, 0)
            node, depth = InvalidNode(place) if refused else self._scalar(event, place), 0
        else:
            self._count(place, 1, 1)
            self._open.append(event.anchor)
            is_map = isinstance(event, yaml.MappingStartEvent)
            node, depth = self._map(place) if is_map else self._list(place)
            self._open.pop()
            node = InvalidNode(place) if refused else node
        if event.anchor:
            self._anchors[event.anchor] = (node, self._values - before, depth)
        return node, depth

    def _inside(self) -> Iterator[tuple[Node, int]]:
        """What is in the list or map that has begun, up to its end."""
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            yield self._node(event)

    def _list(self, place: Place) -> tuple[Node, int]:
        items = list(self._inside())
        depth = 1 + max((depth for _, depth in items), default=0)
        return ListNode(tuple(node for node, _ in items), place), depth

    def _map(self, place: Place) -> tuple[Node, int]:
        entries: dict[str, Entry] = {}
        incomplete, deepest, inside = False, 0, self._inside()
        for (key, depth_of_key), (value, depth) in zip(inside, inside, strict=True):
            deepest = max(deepest, depth_of_key, depth)
            incomplete |= not self._add_entry(entries, key, value)
        return MapNode(entries, place, incomplete), deepest + 1

    def _anchored(self, event: yaml.AliasEvent, place: Place) -> tuple[Node, int, int]:
        """What an alias stands for, its number of values and its depth."""
        name = event.anchor
        if name in self._open:
            self._stop(place, f"*{name} is inside &{name}: it would contain itself")
        if name not in self._anchors:
            self._stop(place, f"*{name} refers to nothing: no &{name} comes before")
        return self._anchors[name]

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Node:
        if event.style:  # quoted, or a block of text: never anything but text
            forbidden = FORBIDDEN.search(event.value)
            if forbidden is None:
                return ScalarNode(event.value, place, event.value, quoted=True)
            message = f"this text holds the control character U+{ord(forbidden.group()):04X}; remove it"
        else:
            try:
                return ScalarNode(resolve(event.value), place, event.value)
            except OverflowError as error:
                message = f"{quoted(event.value)} is {error}"
        self.problems.append(place.problem(message))
        return InvalidNode(place)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> bool:
        """Whether a value carries a tag, which is reported."""
        if event.tag is None:
            return False
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self.problems.append(place.problem(f"tag {quoted(tag)}: a spec is plain data; remove the tag"))
        return True

    def _count(self, place: Place, values: int, depth: int) -> None:
        """Take note of values, that many and that deep, before they are read."""
        self._values += values
        if len(self._open) + depth > MAX_DEPTH:
            self._stop(place, f"more than {MAX_DEPTH} lists and maps inside each other; a spec needs few")
        if self._values > MAX_VALUES:
            more = f"more than {MAX_VALUES:,} values, counting what aliases repeat; a spec is smaller"
            self._stop(place, more)

    def _add_entry(self, entries: dict[str, Entry], key: Node, value: Node) -> bool:
        """Put an entry into a map; False where its key is none, which is reported."""
        if isinstance(key, InvalidNode):
            return False
        scalar = key if isinstance(key, ScalarNode) else None
        if scalar is not None and scalar.value == "<<" and not scalar.quoted:
            message = (
                "merge keys (<<) are not supported: a merged value has no line of its own; write the keys out"
            )
        elif scalar is None or scalar.value is None:
            found = scalar.written if scalar is not None else "a list or map"
            hint = f"; put it in quotes: '{found}'" if scalar is not None and found else ""
            message = f"a key is text, and {found or 'nothing'} is not{hint}"
        else:
            # A class or column may be called 0 or true.
            name = scalar.value if isinstance(scalar.value, str) else scalar.written
            if name not in entries:
                entries[name] = Entry(key.place, value)
                return True
            first = entries[name].key_place
            where = f"on line {first.line}: {quoted(first.snippet.strip())}"
            if first.line == key.place.line:
                where = f"in column {first.column} of this line"
            message = f"key {quoted(name)} occurs twice in one map (first {where}); keep one of them"
            self.problems.append(key.place.problem(message))
            return True
        self.problems.append(key.place.problem(message))
        return False


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


_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")

_LONGEST_NUMBER = 400
"""Digits; a float has at most 17 that count, and an integer of a spec is below 2**63."""


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar.

    Raises:
        OverflowError: a number that no float can hold, so that it would change in silence.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789" or _LEADING_ZERO.fullmatch(text):
        return text
    if _INT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        if len(text) > _LONGEST_NUMBER:
            raise OverflowError("too long for a number")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _INF.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if text in _NAN else text


def _float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise OverflowError("too long for a number")
    value = float(text)
    if math.isinf(value):
        raise OverflowError("too large for a number (at most about 1.8e308)")
    if value == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
        raise OverflowError("too small for a number (at least about 4.9e-324)")
    return value


def number_hint(text: str) -> str | None:
    """What to write instead of a text that looks like a number and is none, or None."""
    if _LEADING_ZERO.fullmatch(text):
        sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.lstrip("+"))
        decimal = f"{sign}{digits.lstrip('0') or '0'}"
        if re.fullmatch("[0-7]+", digits) and int(digits, 8) != int(digits):
            octal = f"{sign}0o{digits.lstrip('0') or '0'}"
            return (
                f"{text} means {int(digits, 8)} to YAML 1.1 and {int(digits)} to YAML 1.2; write {decimal}"
                + (f" or {octal}" if not sign else "")
            )
        return f"a number does not begin with 0; write {decimal}"
    if re.fullmatch(r"[-+]?[0-9][0-9_ ]*[0-9](\.[0-9_]*)?", text):
        return f"write {re.sub('[_ ]', '', text)}"
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"a decimal point is written '.': {text.replace(',', '.')}"
    if re.fullmatch(r"[0-9.]+ *%", text):
        return "write a fraction such as 0.2, not a percentage"
    return None


def bool_hint(text: str) -> str | None:
    """What to write instead of a word that YAML 1.1 takes for a truth value, or None."""
    folded = text.lower()
    if folded in ("yes", "on", "y", "true", "1", "t"):
        return "write true"
    if folded in ("no", "off", "n", "false", "0", "f"):
        return "write false"
    return None
