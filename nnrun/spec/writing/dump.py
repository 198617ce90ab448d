"""A spec back to YAML: defaults filled in, laid out as a person would write it.

A layer's initializers, constraints and rarer regularizers stand there where they are no defaults.

What is written reads the same in YAML 1.1 and 1.2, so that any other reader agrees with ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from nnrun.spec.schema import Component, Config, ExperimentSpec, NamedColumns

_WIDTH = 100

# Letters first, then nothing that YAML gives a meaning.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# Words that are no text to some version of YAML.
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def dump_spec(spec: ExperimentSpec, width: int = _WIDTH) -> str:
    """The YAML text of a spec; loading it gives an equal spec. A sweep is in it where there is one.

    Lines are no longer than `width` where a value can stand below its key.
    """
    values = dump_value(spec)
    for part in ("sweep", "shared", "inputs", "outputs"):
        if not values[part]:
            del values[part]
    for part in ("loss", "metrics", "class_weight"):
        if spec.outputs and not values[part]:  # each output has its own
            del values[part]
    if not spec.outputs and spec.total_loss == "sum":
        del values["total_loss"]
    return dump_mapping(values, width)


def dump_mapping(values: Mapping[str, Any], width: int = _WIDTH) -> str:
    """The YAML text of plain values, as `dump_spec` lays it out."""
    return "".join(_entry(key, value, 0, width) for key, value in values.items())


def dump_value(value: Any) -> Any:
    """Plain values: components as their map, or as their name alone where they have no parameters."""
    if isinstance(value, Config):
        fields = {
            key: dump_value(getattr(value, key))
            for key, field in type(value).model_fields.items()
            if key not in value.rarely_changed or getattr(value, key) != field.default
        }
        if isinstance(value, NamedColumns) and not value.target:  # `outputs` name the targets
            del fields["target"]
        if isinstance(value, Component):
            return {value.kind: fields} if fields else value.kind
        return fields
    if isinstance(value, Mapping):
        return {key: dump_value(item) for key, item in value.items()}
    return [dump_value(item) for item in value] if isinstance(value, list) else value


def block_text(values: Mapping[str, Any], width: int = _WIDTH) -> str:
    """Keys and plain values, each key on a line of its own."""
    return "".join(_entry(key, value, 0, width) for key, value in values.items())


def flow_text(value: Any) -> str:
    """A value as one line of YAML, as a person would write it: without what is the default anyway."""
    return flow(_without_defaults(value))


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _without_defaults(item) for key, item in value.items()}
    if not isinstance(value, Config):
        return value
    held = {key: (getattr(value, key), field) for key, field in type(value).model_fields.items()}
    fields = {
        key: _without_defaults(item)
        for key, (item, field) in held.items()
        if field.is_required() or item != field.get_default(call_default_factory=True)
    }
    if not isinstance(value, Component):
        # `{}` switches a part off, so a part with every default names one of them
        named = [(key, _without_defaults(item)) for key, (item, _) in held.items() if item is not None]
        return fields or dict(named[:1])
    if value.bare is not None and list(fields) == [value.bare]:
        return {value.kind: fields[value.bare]}
    return {value.kind: fields} if fields else value.kind


def _entry(key: str, value: Any, indent: int, width: int) -> str:
    """`key: value` on one line where it fits, else the value below its key."""
    line = f"{' ' * indent}{_scalar(key)}: {flow(value)}\n"
    # Layers stand one below the other, as the stack that they are.
    if (len(line) <= width and key != "layers") or not value or not isinstance(value, (Mapping, list)):
        return line
    if isinstance(value, Mapping):
        inner = "".join(_entry(name, item, indent + 2, width) for name, item in value.items())
    else:
        inner = "".join(_item(item, indent + 2, width) for item in value)
    return f"{' ' * indent}{_scalar(key)}:\n{inner}"


def _item(value: Any, indent: int, width: int) -> str:
    if isinstance(value, Mapping) and value:
        block = "".join(_entry(name, item, indent + 2, width) for name, item in value.items())
        return f"{' ' * indent}- {block.lstrip()}"
    return f"{' ' * indent}- {flow(value)}\n"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML 1.1 takes 1e-07 for text: it wants a point in the mantissa.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
