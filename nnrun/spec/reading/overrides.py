"""Changes to a spec from outside it: `--set optimizer.rmsprop.learning_rate=1e-4`, or a mapping from Python.

An override names a place as the schema knows it and writes there, whatever short form the spec used: below
`optimizer: rmsprop` or `dense: 64` it first turns the name or bare value into the map that it stands for. It
never exchanges one component for another in passing; that takes an override of the component itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnrun.errors import Problem, SpecError, UsageError
from nnrun.spec import schema
from nnrun.spec.reading.grammar import (
    ROOT,
    Choice,
    Form,
    Items,
    Keys,
    ListOrMap,
    Location,
    Record,
    Scalar,
    locate,
)
from nnrun.spec.reading.nodes import (
    Entry,
    InvalidNode,
    ListNode,
    MapNode,
    Node,
    Place,
    ScalarNode,
    SourceText,
    from_plain,
    spell_path,
)
from nnrun.spec.reading.yaml_reader import read_value
from nnrun.spec.wording import counted, listing, nearest, quoted

ON_COMMAND_LINE, IN_PYTHON = "--set", "overrides"
"""What messages call an override, by where it comes from. One with an option of its own has that name."""


@dataclass(frozen=True)
class Override:
    """A key and its value.

    Attributes:
        text: `key=value`, as messages show it.
        path_end: where in the text the key ends.
        value: the value, if it is one of Python's; None where it is YAML, and stands in the text.
        origin: what messages call it: `--set`, `--epochs`.
        prevails: it is written over what other overrides say of the key, which is no mistake of the user's.
    """

    text: str
    path_end: int
    value: tuple[Any] | None = None
    origin: str = ON_COMMAND_LINE
    prevails: bool = False

    @property
    def shown(self) -> str:
        """As another override's message names it."""
        return f"{self.origin} {self.text}"

    @classmethod
    def of_text(cls, text: str, origin: str = ON_COMMAND_LINE) -> Override:
        """`key=value`, the value YAML."""
        end = text.find("=")
        return cls(text, end if end >= 0 else len(text), None, origin)

    @classmethod
    def of_value(cls, path: str, value: Any, origin: str = IN_PYTHON, *, prevails: bool = False) -> Override:
        """A key and a value of Python's."""
        return cls(f"{path}={_shown(value)}", len(path), (value,), origin, prevails)


Overrides = str | Sequence[str | Override] | Mapping[str, Any]

_PART = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_]*)|\[(-?[0-9]{1,9})\]")


@dataclass(frozen=True)
class _Part:
    """One step of a path: a key or an index, and where it stands in the override."""

    key: str | int
    column: int


class _Refused(Exception):
    """The override cannot be applied."""

    def __init__(self, message: str, at: _Part | None = None) -> None:
        super().__init__(message)
        self.message, self.at = message, at


def apply_overrides(root: MapNode, overrides: Overrides) -> tuple[MapNode, list[Problem]]:
    """The spec with the overrides written into it, in order, and what was wrong with them."""
    problems: list[Problem] = []
    written: list[tuple[Location, Override]] = []
    for override in overrides_of(overrides):
        source = SourceText(override.origin, override.text, numbered=False)
        value, end = override.value, override.path_end
        start = Place(source, 1, 1)
        try:
            parts = _parse_path(source.text[:end])
            if value is None and end == len(source.text):
                raise _Refused("an override is KEY=VALUE, such as epochs=5")
            location = _location(root, parts)
            if not override.prevails:
                _refuse_overlap(location, written)
                written.append((location, override))
            if value is None:
                node, found = read_value(source, end + 1)
                problems += found
            else:
                node = from_plain(value[0], start)
            changed = _write(ROOT, root, parts, 0, node)
            assert isinstance(changed, MapNode)
            root = changed
        except SpecError as error:
            problems += error.problems
        except TypeError as error:
            problems.append(
                start.problem(f"the value is, or holds, {error}; a spec holds text, numbers, lists and maps")
            )
        except _Refused as refusal:
            place = Place(source, 1, refusal.at.column if refusal.at else 1)
            problems.append(place.problem(refusal.message))
    return root, problems


def put(root: MapNode, path: str, value: Node, path_place: Place) -> MapNode:
    """The spec with one value written into it.

    Args:
        root: the spec.
        path: where, spelled as for `--set`.
        value: what.
        path_place: where the path was written, for messages.

    Raises:
        SpecError: there is no such place.
    """
    try:
        changed = _write(ROOT, root, _parse_path(path), 0, value)
    except _Refused as refusal:
        raise SpecError([path_place.problem(refusal.message, path=path)]) from None
    assert isinstance(changed, MapNode)
    return changed


def with_changes(
    overrides: Overrides, changes: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> Overrides:
    """Overrides, and changes that prevail over them.

    Args:
        overrides: the user's.
        changes: path → value.
        origins: path → what messages call its change.
    """
    named = origins or {}
    more = [
        Override.of_value(path, value, named.get(path, IN_PYTHON), prevails=True)
        for path, value in changes.items()
    ]
    return [*overrides_of(overrides), *more]


def overrides_of(overrides: Overrides, origin: str = ON_COMMAND_LINE) -> list[Override]:
    """Overrides in any of their forms; `origin` is where texts come from.

    Raises:
        UsageError: it is none of their forms.
    """
    if isinstance(overrides, str):
        return [Override.of_text(overrides, origin)]
    if isinstance(overrides, Mapping):
        return [Override.of_value(str(path), value) for path, value in overrides.items()]
    entries = list(overrides) if isinstance(overrides, Iterable) else [overrides]
    for wrong in [entry for entry in entries if not isinstance(entry, (str, Override))]:
        raise UsageError(
            f"overrides holds {_shown(wrong)}; overrides are a dict such as {{'epochs': 5}}, or texts such "
            "as 'epochs=5'."
        )
    return [Override.of_text(entry, origin) if isinstance(entry, str) else entry for entry in entries]


def location_of(root: MapNode, path: str) -> Location | None:
    """The place that a path means, however it is spelled; None where it means none.

    Two paths mean the same place where their locations are equal, and one lies inside the other where its
    location begins with the other's.
    """
    try:
        return _location(root, _parse_path(path))
    except _Refused:
        return None


def is_overridden(overrides: Overrides, path: str) -> bool:
    """Whether an override is of this very key."""
    return any(change.text[: change.path_end].strip() == path for change in overrides_of(overrides))


def is_inside(location: Location, other: Location) -> bool:
    """Whether a location is another, or lies inside it."""
    return location[: len(other)] == other


def _location(root: MapNode, parts: Sequence[_Part]) -> Location:
    """Where a path leads: components by their own names, entries of lists by places from 0."""
    found: Location = ()
    for done, part in enumerate(parts):
        spot, key = locate(root, found), part.key
        form, node = spot.form, spot.node
        if isinstance(form, ListOrMap):
            form = form.of(isinstance(key, str))
        if isinstance(form, Items) and form.one_is_enough and isinstance(key, str):
            found = (*found, 0)  # a single entry, named without its place
            form = form.item
        if isinstance(form, Items) and isinstance(key, int):
            length = len(node.items) if isinstance(node, ListNode) else int(node is not None)
            found = (*found, key + length if key < 0 else key)
        elif isinstance(form, Choice) and schema.component_name(key) in form.components:
            found = (*found, schema.component_name(key))
        elif isinstance(key, str) and (
            (isinstance(form, Keys) and form.named) or (isinstance(form, Record) and key in form.fields)
        ):
            found = (*found, key)
        else:
            return (*found, spell_path([part.key for part in parts[done:]]))
    return found


def _refuse_overlap(location: Location, written: Sequence[tuple[Location, Override]]) -> None:
    """Raise where an override writes what another one wrote: whichever came last would win in silence."""
    for other, override in written:
        if location == other:
            raise _Refused(f"{spell_path(location)} is set twice: {override.shown} is here as well; keep one")
        if is_inside(location, other):
            raise _Refused(
                f"this is a part of {spell_path(other)}, which {override.shown} sets as a whole; keep one of "
                f"them, or write this into the value of {spell_path(other)}"
            )
        if is_inside(other, location):
            raise _Refused(
                f"this sets {spell_path(location)} as a whole, and {override.shown} a part of it; keep one "
                f"of them, or write the part into the value of {spell_path(location)}"
            )


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a very deep list
        return f"a {type(value).__name__}"


def _parse_path(text: str) -> list[_Part]:
    parts: list[_Part] = []
    position = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    while position < end:
        match = _PART.match(text, position, end)
        begins_with_dot = text[position] == "."
        needs_dot = bool(parts) and match is not None and match[1] is not None
        if match is None or begins_with_dot != needs_dot:
            message = "this is not a path; write it like layers[0].dense.units=32"
            raise _Refused(message, _Part("", position + 1))
        name, index = match.groups()
        column = position + 1 + begins_with_dot
        parts.append(_Part(name if name is not None else int(index), column))
        position = match.end()
    if not parts:
        raise _Refused("an override is KEY=VALUE, such as epochs=5")
    return parts


# --- writing -----------------------------------------------------------------------------------------------


def _write(form: Form, node: Node | None, parts: Sequence[_Part], done: int, value: Node) -> Node:
    """`node` with `value` written at the end of the path, of which `done` parts are behind us."""
    if done == len(parts):
        return _unwrapped(form, value)
    if isinstance(node, InvalidNode):
        return node  # reported when the source was read
    if isinstance(form, ListOrMap):
        form = form.of(isinstance(node, MapNode))
    if isinstance(form, Items):
        return _write_item(form, node, parts, done, value)
    part, place, here = parts[done], value.place, _behind(parts, done)
    entries: Mapping[str, Entry] = node.entries if isinstance(node, MapNode) else {}
    if isinstance(form, Keys) and not (form.named and isinstance(part.key, str)):
        if form.word is not None:
            raise _Refused(f"the keys of {here} are names of classes; write {here}={{NAME: WEIGHT}}", part)
        if form.named:
            raise _Refused(_named_and_not_numbered(form, entries, parts, done, value), part)
        raise _Refused(f"the keys of {here} are paths themselves; write {here}={{KEY: VALUES}}", part)
    if isinstance(part.key, int):
        raise _Refused(f"{here} is not a list, and has no [{part.key}]", part)
    if isinstance(form, Choice):
        component = _component(form, node, parts, done, value)
        _, key_place, current = _present(node, place)
        if done + 1 == len(parts):
            _refuse_loss_of_parameters(component, current, parts, value)
        new = _write(Record(component), current, parts, done + 1, value)
        return MapNode({next(iter(entries), component.kind): Entry(key_place, new)}, place)
    if isinstance(form, Record):
        if part.key not in form.fields:
            raise _Refused(_unknown(part.key, form.fields, parts, done), part)
        entries, inner = _entries_of(form, node), form.form(part.key)
    elif isinstance(form, Keys):  # chains by name, the parameters of custom code
        inner = form.value
        if isinstance(inner, Items) and part.key not in entries and done + 1 < len(parts):
            raise _Refused(_unknown_chain(part.key, entries, here), part)
    else:
        raise _Refused(f"{here} is a single value, and has no key {quoted(part.key)}", part)
    old = entries.get(part.key)
    new = _write(inner, old.value if old else None, parts, done + 1, value)
    # What stood in the file keeps its place there.
    key_place = old.key_place if old and new.place.source == old.key_place.source else place
    return MapNode({**entries, part.key: Entry(key_place, new)}, node.place if node else place)


def _unwrapped(form: Form, value: Node) -> Node:
    """An array of one value, where a single value belongs, is that value."""
    if isinstance(form, Scalar) and isinstance(value, ListNode) and value.is_array and len(value.items) == 1:
        return value.items[0]
    return value


def _write_item(form: Items, node: Node | None, parts: Sequence[_Part], done: int, value: Node) -> Node:
    part = parts[done]
    if not isinstance(node, ListNode) and form.one_is_enough and node is not None:
        if isinstance(part.key, str):  # a single step, named without its index
            return _write(form.item, node, parts, done, value)
        node = ListNode((node,), node.place)
    items = node.items if isinstance(node, ListNode) else ()
    here = _behind(parts, done)
    if isinstance(part.key, str):
        if form.one_is_enough and not items:
            return _write(form.item, None, parts, done, value)
        rest = spell_path([p.key for p in parts[done:]])
        message = f"{here} is a list; say which entry, from 0: {here}[0].{rest}={_value_text(value)}"
        behind = parts[done + 1 :]
        named = isinstance(form.item, Choice) and schema.component_name(part.key) not in form.item.components
        if named and behind and isinstance(behind[0].key, int):  # as of a chain in a map of them
            path = spell_path([p.key for p in (*parts[:done], *behind)])
            message = f"{here} is a list, whose entries have no names; write {path}={_value_text(value)}"
        raise _Refused(message, part)
    index = part.key + len(items) if part.key < 0 else part.key
    if not 0 <= index < len(items):
        known = counted(len(items), "entry")
        span = (
            f", {here}[0] to {here}[{len(items) - 1}]" if len(items) > 1 else f", {here}[0]" if items else ""
        )
        raise _Refused(f"{here} has {known}{span}; there is no [{part.key}]", part)
    new = _write(form.item, items[index], parts, done + 1, value)
    assert isinstance(node, ListNode)
    return ListNode((*items[:index], new, *items[index + 1 :]), node.place)


def _component(
    form: Choice, node: Node | None, parts: Sequence[_Part], done: int, value: Node
) -> type[schema.Component]:
    """The component that the path names, which must be the one that the spec has there, if it has one."""
    part, here = parts[done], _behind(parts, done)
    present, _, _ = _present(node, value.place)
    component = form.components.get(schema.component_name(part.key))
    current = form.components.get(present) if present is not None else None
    if component is None:
        if current is not None and part.key in current.model_fields:
            rest = spell_path([p.key for p in parts[done:]])
            raise _Refused(f"{part.key} is a parameter of {present}; write {here}.{present}.{rest}=...", part)
        if any(part.key in other.model_fields for other in form.components.values()):
            names = form.describe()
            raise _Refused(f"write {here}.NAME.{part.key}=..., where NAME is {names}", part)
        raise _Refused(_unknown(str(part.key), (*form.components, *form.aliases), parts, done), part)
    if present is not None and present != component.kind:
        whole = _flow([step.key for step in parts[done:]], value)
        raise _Refused(
            f"{here} is {present} in this spec, and an override of a parameter cannot replace it; "
            f"to do so, write '{here}={whole}'",
            part,
        )
    return component


def _present(node: Node | None, default: Place) -> tuple[str | None, Place, Node | None]:
    """The name of the component that the spec has there, where it is written, and the parameters."""
    if isinstance(node, MapNode) and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        return schema.component_name(name), entry.key_place, entry.value
    if isinstance(node, ScalarNode) and node.value is not None:
        name = schema.component_name(node.value)
        return name if isinstance(name, str) else None, node.place, None
    return None, default, None


def _entries_of(form: Record, node: Node | None) -> Mapping[str, Entry]:
    """The map form of a record: nothing is an empty map, a bare value stands under its parameter's name."""
    if isinstance(node, MapNode):
        return node.entries
    bare, empty = form.model.bare, isinstance(node, ScalarNode) and node.value is None
    return {} if node is None or empty or bare is None else {bare: Entry(node.place, node)}


def _refuse_loss_of_parameters(
    component: type[schema.Component], current: Node | None, parts: Sequence[_Part], value: Node
) -> None:
    """A bare value written over a map would drop the map's other parameters in silence."""
    if not isinstance(current, MapNode) or isinstance(value, MapNode) or component.bare is None:
        return
    lost = [key for key in current.entries if key != component.bare]
    if lost:
        path = spell_path([part.key for part in parts])
        raise _Refused(
            f"this would drop {listing(lost, 'and')} of {path}; to change {component.bare} alone, write "
            f"{path}.{component.bare}={_value_text(value)}",
            parts[-1],
        )


# --- words -------------------------------------------------------------------------------------------------


def _behind(parts: Sequence[_Part], done: int) -> str:
    return spell_path([part.key for part in parts[:done]])


def _value_text(value: Node) -> str:
    return value.written if isinstance(value, ScalarNode) and len(value.written) < 30 else "..."


def _flow(keys: Sequence[str | int], value: Node) -> str:
    """The rest of a path and its value as one YAML value: `{adam: {learning_rate: 1e-4}}`."""
    text = _value_text(value)
    for key in reversed(keys):
        text = f"[{text}]" if isinstance(key, int) else f"{{{key}: {text}}}"
    return text


def _named_and_not_numbered(
    form: Keys, entries: Mapping[str, Entry], parts: Sequence[_Part], done: int, value: Node
) -> str:
    """What is said of a place, `[0]`, in a map whose entries have names, such as those of chains."""
    of_chains = isinstance(form.value, Items)
    names, rest = list(entries), parts[done:] if of_chains else parts[done + 1 :]
    chosen = names[0] if names else "NAME"
    path = spell_path([*(p.key for p in parts[:done]), chosen, *(p.key for p in rest)])
    held = f" ({listing(names, 'and')})" if names else ""
    return (
        f"{_behind(parts, done)} is a map of {'chains' if of_chains else 'entries'} with names{held}, not a "
        f"list; say which by its name: {path}={_value_text(value)}"
    )


def _unknown_chain(name: str, entries: Mapping[str, Entry], here: str) -> str:
    """What is said of a path that leads into a chain that is not there."""
    match = nearest(name, entries)
    hint = f"did you mean {quoted(match)}?" if match else f"there is {listing(entries, 'and') or 'none'}"
    return f"{here} has no chain {quoted(name)}; {hint}"


def _unknown(key: str, allowed: Any, parts: Sequence[_Part], done: int) -> str:
    where = f" in {_behind(parts, done)}" if done else ""
    match = nearest(key, allowed)
    if match:
        return f"unknown key {quoted(key)}{where}; did you mean {quoted(match)}?"
    return f"unknown key {quoted(key)}{where}. Allowed: {listing(allowed, 'and')}"
