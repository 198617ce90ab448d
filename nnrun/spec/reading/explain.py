"""What pydantic found wrong, in words: what was found, what is allowed, what to write instead.

Pydantic says that something is wrong, and where; the grammar says what is allowed there. So the message
follows from the form at that place, and no error type of pydantic's can reach a user.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from nnrun.errors import Problem
from nnrun.spec import schema
from nnrun.spec.reading.grammar import (
    ROOT,
    SCALARS,
    Choice,
    Form,
    Items,
    Keys,
    ListOrMap,
    Location,
    Record,
    Scalar,
    Spot,
    locate,
)
from nnrun.spec.reading.nodes import InvalidNode, ListNode, MapNode, Node, Place, ScalarNode, spell_path
from nnrun.spec.reading.yaml_reader import bool_hint, number_hint
from nnrun.spec.wording import listing, nearest, quoted


def explain(root: MapNode, errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """The problems behind pydantic's errors (`ValidationError.errors()`)."""
    errors = [
        {**error, "loc": [part for part in error["loc"] if part not in schema.TAGS]} for error in errors
    ]
    misspelled = _misspelled_keys(root, errors)
    problems = []
    seen: set[Location] = set()  # of values that may be of several types: pydantic has an error for each
    for error in errors:
        location: Location = _meant_as_list(root, tuple(error["loc"]))
        if isinstance(locate(root, location[:-1]).form, Scalar):
            location = location[:-1]
            if location in seen:
                continue
            seen.add(location)
        if error["type"] == "missing":
            holder = locate(root, location[:-1]).node
            refused = isinstance(holder, MapNode) and holder.incomplete
            if location not in misspelled and not refused:
                problems.append(_missing(root, location))
            continue
        spot = locate(root, location)
        if isinstance(spot.node, InvalidNode):
            continue  # reported when the source was read
        if error["type"] == "extra_forbidden":
            problems.append(_unknown_key(root, location))
        else:
            message = _wrong_value(spot, spell_path(location))
            problems.append(_wrong_place(spot).problem(message, path=spell_path(location)))
    return problems


def _meant_as_list(root: MapNode, location: Location) -> Location:
    """The place of a list of layers whose dashes were left out, which reads as a map of chains."""
    form = locate(root, location[:1]).form
    if not isinstance(form, ListOrMap) or len(location) < 2:
        return location
    node = locate(root, location[:2]).node
    item = form.items.item
    known = isinstance(item, Choice) and schema.component_name(location[1]) in item.components
    return location[:1] if known and not isinstance(node, ListNode) else location


# --- keys --------------------------------------------------------------------------------------------------


def _misspelled_keys(root: MapNode, errors: Iterable[Mapping[str, Any]]) -> set[Location]:
    """The locations that a misspelled key was meant for: that they are missing goes without saying."""
    meant = set()
    for error in errors:
        *parent, key = error["loc"]
        form = locate(root, tuple(parent)).form
        if error["type"] == "extra_forbidden" and isinstance(form, Record):
            match = nearest(key, form.fields)
            meant.add((*parent, match))
    return meant


def _missing(root: MapNode, location: Location) -> Problem:
    *parent, key = location
    spot = locate(root, tuple(parent))
    wanted = locate(root, location).form
    if not parent:  # missing from the whole file, so no line of it is to blame
        source = spot.key_place.source
        return Problem(f"{key} is missing; it is {_describe(wanted)}", path=str(key), file=source.file)
    message = f"{spell_path(parent)} needs {key}, {_describe(wanted)}"
    if isinstance(spot.form, Record) and issubclass(spot.form.model, schema.Component):
        name, example = spot.form.model.kind, _example(wanted)
        if isinstance(spot.node, MapNode) and spot.node.entries:
            message += f"; add `{key}: {example}`"
        elif spot.form.model.bare == key:
            message += f"; write `{name}: {example}`"
        else:
            message += f"; write `{name}: {{{key}: {example}}}`"
    return spot.key_place.problem(message, path=spell_path(location))


def _unknown_key(root: MapNode, location: Location) -> Problem:
    *parent, key = location
    spot = locate(root, tuple(parent))
    form = spot.form
    where = f" in {spell_path(parent)}" if parent else ""
    key = str(key)
    message = f"unknown key {quoted(key)}{where}"
    if isinstance(form, Record):
        name, colon, _ = key.partition(":")
        homes = _homes(key)
        # At the top, a parameter's own name says more than a key that looks like it.
        match = None if homes and not parent else nearest(key, form.fields)
        if colon and name in form.fields:
            message += f"; write a space after the ':' of `{name}:`"
        elif match:
            message += f"; did you mean {quoted(match)}?"
        elif homes:
            message += f"; {key} is a parameter {listing(f'of `{home}`' for home in homes)}"
        if not form.fields:
            message += f"; {spell_path(parent)} takes no parameters"
        elif not match:
            message += f". Allowed: {listing(form.fields, 'and')}"
    return locate(root, location).key_place.problem(message, path=spell_path(location))


def _homes(key: str) -> list[str]:
    """The top-level keys whose values have a parameter called `key`."""
    homes = []
    for name in ROOT.fields:
        form = ROOT.form(name)
        form = form.item if isinstance(form, Items) else form
        records = [Record(c) for c in form.components.values()] if isinstance(form, Choice) else [form]
        if any(isinstance(record, Record) and key in record.fields for record in records):
            homes.append(name)
    return homes


# --- values ------------------------------------------------------------------------------------------------


def _wrong_place(spot: Spot) -> Place:
    """The place of a wrong value. A component with two names is shown at the name that is one too many."""
    if isinstance(spot.form, Choice) and isinstance(spot.node, MapNode) and len(spot.node.entries) > 1:
        return list(spot.node.entries.values())[1].key_place
    return spot.place


def _wrong_value(spot: Spot, path: str) -> str:
    form, node = spot.form, spot.node
    if isinstance(form, ListOrMap):
        form = form.items
    if form is None:
        return f"{path} cannot be {describe(node)}"
    if isinstance(form, Record) and not form.fields:
        return f"{path} takes no parameters; found {describe(node)}"
    if isinstance(form, Choice) and (isinstance(node, MapNode) or not form.or_values):
        return _wrong_component(form, node, path)
    hint = _scalar_hint(form, node) if isinstance(node, ScalarNode) else ""
    if isinstance(form, Items) and isinstance(node, MapNode):
        hint = "begin each entry with '- '"
    return f"{path} must be {form.describe()}; found {describe(node)}{f'; {hint}' if hint else ''}"


def _scalar_hint(form: Form, node: ScalarNode) -> str | None:
    """What to write instead of a single value."""
    value, text = node.value, node.written
    hint: str | None = None
    if isinstance(form, Keys) or (isinstance(form, Scalar) and form.kind == "enum"):
        words = form.choices if isinstance(form, Scalar) else [form.word] if form.word else []
        match = nearest(text, words)
        return f"did you mean {quoted(match)}?" if match else None
    if not isinstance(form, Scalar):
        names_or_numbers = not isinstance(form, Items) or isinstance(form.item, Choice)
        fits = value is not None and (names_or_numbers or isinstance(value, int))
        return f"write [{text}]" if fits and not isinstance(form, Record) else None
    if form.kind == "str" and value is not None:
        hint = f"put it in quotes: '{text}'"
    elif form.kind == "bool":
        hint = bool_hint(text)
    elif form.kind in ("int", "float") and isinstance(value, str):
        looks_right = node.quoted and text.strip().lstrip("+-").replace(".", "", 1).isdigit()
        hint = "write it without quotes" if looks_right else number_hint(text)
    elif isinstance(value, float) and not math.isfinite(value):
        hint = "it must be finite"
    elif form.kind == "int" and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        hint = f"write {int(value)}"
    return hint


def _wrong_component(form: Choice, node: Node | None, path: str) -> str:
    allowed = f"Allowed: {form.describe()}"
    if isinstance(node, MapNode) and len(node.entries) > 1:
        return _two_names(form, node, path)
    name = next(iter(node.entries)) if isinstance(node, MapNode) and node.entries else None
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        name = node.value
    if name is None:
        found = "empty" if _is_empty(node) else describe(node)
        return f"{path} is {found}; it must be a name, or a map from one name to its parameters. {allowed}"
    match = nearest(name, (*form.components, *form.aliases))
    if match:
        return f"{path} cannot be {quoted(name)}; did you mean {quoted(match)}? {allowed}"
    if owner := _named_by_value(form, name):
        return f"{path} cannot be {quoted(name)}; write `{{{owner}: {name}}}`. {allowed}"
    return f"{path} cannot be {quoted(name)}. {allowed}"


def _two_names(form: Choice, node: MapNode, path: str) -> str:
    first, *rest = node.entries
    keys = listing(map(quoted, node.entries), "and")
    message = f"{path} has {len(node.entries)} keys, {keys}, and must have one, its name"
    component = form.components.get(schema.component_name(first))
    if component is not None and all(key in component.model_fields for key in rest):
        are, them = ("is a parameter", "it") if len(rest) == 1 else ("are parameters", "them")
        message += f"; {listing(map(quoted, rest), 'and')} {are} of {first}"
        flow = f"`{first}: {{{', '.join(f'{key}: ...' for key in rest)}}}`"
        return f"{message}: indent {them} further, or write {flow}"
    if component is not None and schema.component_name(rest[0]) in form.components:
        return f"{message}; " + (
            "begin the second with its own '- '" if path.endswith("]") else "keep one of them"
        )
    return f"{message}. Allowed: {form.describe()}"


def _named_by_value(form: Choice, name: str) -> str | None:
    """The component whose bare value `name` could be: `iris` is a value of `sklearn`."""
    for kind, component in form.components.items():
        if component.bare is not None:
            bare = Record(component).form(component.bare)
            if isinstance(bare, Scalar) and name in bare.choices:
                return kind
    return None


# --- words -------------------------------------------------------------------------------------------------


def describe(node: Node | None) -> str:
    """What stands in the source, as it follows on 'found'."""
    if _is_empty(node):
        return "nothing"
    if isinstance(node, ListNode):
        return "a list" if node.items else "an empty list"
    if isinstance(node, MapNode):
        return f"a map with {listing(map(quoted, node.entries), 'and')}" if node.entries else "an empty map"
    assert isinstance(node, ScalarNode)
    if node.value is None:
        return "null"
    if isinstance(node.value, str):
        return f"the text {quoted(node.value)}"
    return node.written if isinstance(node.value, bool) else f"the number {node.written}"


def _is_empty(node: Node | None) -> bool:
    return not isinstance(node, (ListNode, MapNode)) and (
        not isinstance(node, ScalarNode) or (node.value is None and not node.written)
    )


def _describe(form: Form | None) -> str:
    if isinstance(form, Choice) or (isinstance(form, Scalar) and form.kind == "enum"):
        return f"one of {form.describe()}"
    return form.describe() if form is not None else "needed"


def _example(form: Form | None) -> str:
    if not isinstance(form, Scalar):
        return "..."
    return form.choices[0] if form.kind == "enum" else SCALARS[form.kind].example
