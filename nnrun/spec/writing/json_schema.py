"""The grammar of a spec as a JSON Schema, for editors that complete and check YAML.

`schema.json` next to this file is its output. To update it: `nnrun schema > nnrun/spec/schema.json`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic.fields import FieldInfo

from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, SCALARS, Choice, Form, Items, Keys, ListOrMap, Record, Scalar
from nnrun.spec.writing.dump import dump_value


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec file."""
    definitions: dict[str, Any] = {}
    root = _record(ROOT, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nnrun spec",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _record(record: Record, definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {
        key: {**_described(info), **_form(record.form(key), definitions), **_default(info)}
        for key, info in record.fields.items()
    }
    document: dict[str, Any] = {
        "description": inspect.getdoc(record.model) or "",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if record.required:
        document["required"] = list(record.required)
    return document


def _described(info: FieldInfo) -> dict[str, Any]:
    return {} if info.description is None else {"description": info.description}


def _default(info: FieldInfo) -> dict[str, Any]:
    if info.is_required() or info.default is None:
        return {}
    return {"default": dump_value(info.default)}


def _form(form: Form, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(form, Scalar):
        document = _scalar(form)
    elif isinstance(form, Items):
        item = _form(form.item, definitions)
        document = {"type": "array", "items": item}
        if form.least:
            document["minItems"] = form.least
        if form.most is not None:
            document["maxItems"] = form.most
        if form.one_is_enough:
            document = {"anyOf": [item, document]}
    elif isinstance(form, Record):
        document = _record(form, definitions)
        if form.model.bare is not None:
            document = {"anyOf": [document, _form(_required(form.form(form.model.bare)), definitions)]}
    elif isinstance(form, ListOrMap):
        document = {"anyOf": [_form(part, definitions) for part in (form.items, form.keys)]}
    elif isinstance(form, Keys):
        values = _form(form.value, definitions)
        document = {"type": "object", "minProperties": 1, "additionalProperties": values}
        if form.word is not None:
            document = {"anyOf": [{"enum": [form.word]}, document]}
    else:
        document = {"anyOf": [_component(form, cls, definitions) for cls in form.components.values()]}
        if form.or_values:
            document["anyOf"].insert(0, {"type": "array", "minItems": 1})
        if form.or_steps:
            one = {"type": "array", "items": dict(document), "minItems": 1, "maxItems": 1}
            document = {"anyOf": [*document["anyOf"], one, {"const": list(form.or_steps)}]}
    return {"anyOf": [document, {"type": "null"}]} if form.optional else document


def _required(form: Form) -> Form:
    return form if isinstance(form, ListOrMap) else replace(form, optional=False)


def _scalar(form: Scalar) -> dict[str, Any]:
    if form.kind == "enum":
        aliases = [alias for alias, name in schema.ALIASES.items() if name in form.choices]
        return {"enum": [*form.choices, *aliases]}
    bounds = {words.keyword: limit for words, limit in form.limits}
    return {"type": SCALARS[form.kind].json_types, **bounds}


def _component(form: Choice, cls: type[schema.Component], definitions: dict[str, Any]) -> dict[str, Any]:
    """A component's accepted forms: its name alone, or a map from it to its parameters or bare value."""
    names = [cls.kind, *(alias for alias, name in form.aliases.items() if name == cls.kind)]
    reference = {"$ref": f"#/$defs/{_define(cls, definitions)}"}
    as_map: Mapping[str, Any] = {
        "type": "object",
        "properties": dict.fromkeys(names, reference),
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    description = inspect.getdoc(cls) or ""
    if Record(cls).required:
        return {"description": description, **as_map}
    return {"description": description, "anyOf": [{"enum": names}, as_map]}


def _define(cls: type[schema.Component], definitions: dict[str, Any]) -> str:
    """Put a component's parameters into the definitions, once, and name them."""
    name = cls.__name__
    if name not in definitions:
        record, definitions[name] = Record(cls), {}  # layers may hold layers
        forms = [_record(record, definitions)]
        if cls.bare is not None:
            forms.append(_form(record.form(cls.bare), definitions))
        if not record.required:
            forms.append({"type": "null"})
        definitions[name] = {"anyOf": forms} if len(forms) > 1 else forms[0]
    return name
