"""Keys without a value: `early_stopping:` above lines that are comments, `--set init_weights=$UNSET`."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.errors import Problem
from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Record
from nnrun.spec.reading.nodes import ListNode, MapNode, Node, ScalarNode, spell_path


def empty_values(root: MapNode) -> list[Problem]:
    """A problem for each key that could be null and has nothing written behind it.

    What YAML reads there is a null, which would switch the part off without a word. Where null is no value,
    the key is wrong anyway.
    """
    return list(_empty(ROOT, root, ()))


def _empty(form: Form, node: Node | None, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if isinstance(form, Choice) and isinstance(node, MapNode) and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        component = form.components.get(str(schema.component_name(name)))
        if component is not None:
            yield from _empty(Record(component), entry.value, (*path, name))
    elif isinstance(form, Items) and isinstance(node, ListNode):
        for place, item in enumerate(node.items):
            yield from _empty(form.item, item, (*path, place))
    elif isinstance(form, Record) and isinstance(node, MapNode):
        for key, entry in node.entries.items():
            if key not in form.fields:
                continue
            inner, below = form.form(key), (*path, key)
            nullable = key in form.model.switchable or (isinstance(inner, Items) and inner.one_is_enough)
            may_be_null = getattr(inner, "optional", False) or nullable
            if may_be_null and _is_empty(entry.value):
                spelled = spell_path(below)
                message = f"{spelled} has no value; write one, or `{key}: null` for none"
                yield entry.key_place.problem(message, path=spelled)
            else:
                yield from _empty(inner, entry.value, below)


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None and not node.written and not node.quoted
