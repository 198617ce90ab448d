"""From a place in the schema to the place in the source where it is written, and keys without a value.

The schema sees one form of everything; the source may say `dense: 64` or `optimizer: rmsprop`. A
*location* is the schema's: `("layers", 0, "dense", "units")`, with the names of components in
it, as pydantic reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnrun.errors import Problem
from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, ListOrMap, Record
from nnrun.spec.reading.nodes import ListNode, MapNode, Node, Place, ScalarNode, spell_path

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Spot:
    """Where a location is written.

    Attributes:
        form: what is allowed there; None where the schema knows no such key.
        node: what is written there; None where nothing is, and a default holds.
        key_place: the key it stands under, or the nearest that is written.
    """

    form: Form | None
    node: Node | None
    key_place: Place

    @property
    def place(self) -> Place:
        """The value where one is written, else the nearest key."""
        return self.key_place if self.node is None or _is_unwritten(self.node) else self.node.place


def locate(root: MapNode, location: Location) -> Spot:
    """Find where `location` is written in a spec's source."""
    spot = Spot(ROOT, root, root.place)
    for part in location:
        spot = _step(spot, part)
    return spot


def _step(spot: Spot, part: str | int) -> Spot:
    form, node = spot.form, spot.node
    if isinstance(form, ListOrMap):
        form = form.of(isinstance(part, str))
    if isinstance(form, Items) and isinstance(part, int):
        if isinstance(node, ListNode) and 0 <= part < len(node.items):
            return Spot(form.item, node.items[part], node.items[part].place)
        return Spot(form.item, node if form.one_is_enough else None, spot.key_place)
    if isinstance(form, Choice) and isinstance(part, str):
        component = form.components.get(part)
        inner = Record(component) if component else None
        if isinstance(node, MapNode) and len(node.entries) == 1:
            (entry,) = node.entries.values()
            return Spot(inner, entry.value, entry.key_place)
        return Spot(inner, None, node.place if node else spot.key_place)
    if isinstance(form, Keys) and isinstance(node, MapNode) and part in node.entries:
        entry = node.entries[str(part)]
        return Spot(form.value, entry.value, entry.key_place)
    if isinstance(form, Record) and isinstance(part, str):
        inner_form = form.form(part) if part in form.fields else None
        if isinstance(node, MapNode):
            if part in node.entries:
                entry = node.entries[part]
                return Spot(inner_form, entry.value, entry.key_place)
        elif part == form.model.bare:
            return Spot(inner_form, node, spot.key_place)
        return Spot(inner_form, None, spot.key_place)
    return Spot(None, node, spot.key_place)


def empty_values(root: MapNode) -> list[Problem]:
    """A problem for each key that could be null and has nothing written behind it.

    What YAML reads there is a null, which would switch the part off without a word. Where null is no value,
    the key is wrong anyway.
    """
    return list(_empty(ROOT, root, ()))


def _empty(form: Form, node: Node | None, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if isinstance(form, ListOrMap):
        form = form.of(isinstance(node, MapNode))
    if isinstance(form, Choice) and isinstance(node, MapNode) and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        component = form.components.get(str(schema.component_name(name)))
        if component is not None:
            yield from _empty(Record(component), entry.value, (*path, name))
    elif isinstance(form, Items) and isinstance(node, ListNode):
        for place, item in enumerate(node.items):
            yield from _empty(form.item, item, (*path, place))
    elif isinstance(form, Keys) and isinstance(node, MapNode):
        for key, entry in node.entries.items():
            yield from _empty(form.value, entry.value, (*path, key))
    elif isinstance(form, Record) and isinstance(node, MapNode):
        for key, entry in node.entries.items():
            if key not in form.fields:
                continue
            inner, below = form.form(key), (*path, key)
            nullable = key in form.model.switchable or (isinstance(inner, Items) and inner.one_is_enough)
            may_be_null = getattr(inner, "optional", False) or nullable
            if may_be_null and _is_unwritten(entry.value):
                spelled = spell_path(below)
                message = f"{spelled} has no value; write one, or `{key}: null` for none"
                yield entry.key_place.problem(message, path=spelled)
            else:
                yield from _empty(inner, entry.value, below)


def _is_unwritten(node: Node) -> bool:
    """Whether nothing stands in the source, which YAML reads as a null."""
    return isinstance(node, ScalarNode) and not node.written and not node.quoted
