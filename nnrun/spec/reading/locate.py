"""From a place in the schema to the place in the source where it is written.

The schema sees one form of everything; the source may say `dense: 64` or `optimizer: rmsprop`. A
*location* is the schema's: `("layers", 0, "dense", "units")`, with the names of components in
it, as pydantic reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, Record
from nnrun.spec.reading.nodes import ListNode, MapNode, Node, Place, ScalarNode

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
        if self.node is None or (
            isinstance(self.node, ScalarNode) and not self.node.written and not self.node.quoted
        ):
            return self.key_place
        return self.node.place


def locate(root: MapNode, location: Location) -> Spot:
    """Find where `location` is written in a spec's source."""
    spot = Spot(ROOT, root, root.place)
    for part in location:
        spot = _step(spot, part)
    return spot


def _step(spot: Spot, part: str | int) -> Spot:
    form, node = spot.form, spot.node
    if isinstance(form, Items) and isinstance(part, int):
        if isinstance(node, ListNode) and part < len(node.items):
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
