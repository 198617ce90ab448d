"""Short words for what a sweep tries, for tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from nnrun.spec.writing.dump import flow

_LONGEST = 40


def key_labels(keys: Sequence[str]) -> dict[str, str]:
    """Key → its last part, where that tells it from the others, else all of it."""
    last = {key: key.rpartition(".")[2] for key in keys}
    ends = list(last.values())
    return {key: end if ends.count(end) == 1 else key for key, end in last.items()}


def value_label(value: Any) -> str:
    """A value in a few characters: `0.001`, `adam`, `16 relu ×3, 1 sigmoid`."""
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def values_label(values: Mapping[str, Any]) -> str:
    """`units 32, loss mse`."""
    labels = key_labels(list(values))
    return ", ".join(f"{labels[key]} {value_label(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and all(map(_is_layer, value)):
        alike = [(text, len(list(group))) for text, group in groupby(map(_layer, value))]
        return ", ".join(f"{text} ×{count}" if count > 1 else text for text, count in alike)
    return value if isinstance(value, str) else flow(value)


def _is_layer(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in ("dense", "dropout")


def _layer(value: Mapping[str, Any]) -> str:
    ((kind, parameters),) = value.items()
    if isinstance(parameters, Mapping):
        shown = [parameters[key] for key in ("units", "activation", "rate") if key in parameters]
    else:
        shown = [parameters]
    words = " ".join(_text(part) for part in shown)
    return words if kind == "dense" else f"{kind} {words}"
