"""Examples of the keys and components of a spec, as parts of a spec that a person can paste.

They follow from the schema: what must be given has a typical value. Where that would be no good example, the
schema names one: `example` of a component's class, or pydantic's `Field(examples=[...])` of a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, ListOrMap, Record, Scalar
from nnrun.spec.writing.dump import block_text, dump_value

_SINGLE: Final[dict[str, Any]] = {
    "int": 64,
    "float": 0.5,
    "bool": True,
    "str": "FILE",
    "column": "age",
    "place": "words.2",
    "value": 1,
    "source": "title",
    "shared": "encoder",
    "duration": "10m",
    "stratify": True,
    "auto_or_switch": True,
    "auto_or_amount": 0.5,
}
"""A typical value of each kind of single value."""

_NAMES: Final = {"inputs": "title", "outputs": "priority", "shared": "encoder"}
"""What examples call the user's own inputs, outputs and shared chains."""


def component_value(component: type[schema.Component]) -> Any:
    """A component as a spec may have it: its name alone, or with what it must be given."""
    if component.example is not None:
        return {component.kind: component.example}
    record = Record(component)
    given = {key: _typical(record.form(key)) for key in record.required}
    if not given:
        return component.kind
    return {component.kind: given[component.bare] if list(given) == [component.bare] else given}


def key_value(owner: Record, key: str) -> Any:
    """A value of a key, not its default where there is another one that is plain."""
    info, form = owner.fields[key], owner.form(key)
    if info.examples:
        return info.examples[0]
    if info.is_required():
        return _typical(form)
    default = dump_value(info.get_default(call_default_factory=True))
    if isinstance(form, Scalar) and form.kind == "bool":
        return not default
    if isinstance(form, Scalar) and form.kind == "enum":
        return next((choice for choice in form.choices if choice != default), default)
    if isinstance(form, Choice) and not isinstance(form, Scalar) and default is not None:
        others = [cls for name, cls in form.kinds if name not in (default, "custom", "none")]
        return next((component_value(cls) for cls in others if not Record(cls).required), default)
    return _typical(form) if default in (None, "", [], {}) else default


def _typical(form: Form) -> Any:
    if isinstance(form, Scalar):
        return form.choices[0] if form.kind == "enum" else _SINGLE[form.kind]
    if isinstance(form, Items):
        one = _typical(form.item)
        return one if form.one_is_enough else [one] * max(1, form.least)
    if isinstance(form, ListOrMap):
        return _typical(form.items)
    if isinstance(form, Choice):
        return component_value(form.kinds[0][1])
    if isinstance(form, Keys):
        return form.word if form.word is not None else {"name": _typical(form.value)}
    return {key: _typical(form.form(key)) for key in form.required}


def fragment(path: Sequence[str], value: Any) -> str:
    """The YAML of a spec's part that has `value` at a path, and what must stand beside it."""
    return block_text(_nested(ROOT, path, value, ""))


def _nested(form: Form, path: Sequence[str], value: Any, key: str) -> Any:
    if isinstance(form, ListOrMap):
        form = form.items
    if isinstance(form, Items) and (path or not isinstance(value, list)):
        return [_nested(form.item, path, value, key)]
    if not path:
        return value
    if isinstance(form, Keys):
        return {_NAMES.get(key, "name"): _nested(form.value, path, value, key)}
    first, *rest = path
    if isinstance(form, Choice):
        return {first: _nested(Record(form.components[first]), rest, value, first)}
    assert isinstance(form, Record), "a single value has nothing below it"
    beside = {} if form is ROOT else {k: key_value(form, k) for k in form.required if k != first}
    return {**beside, first: _nested(form.form(first), rest, value, first)}
