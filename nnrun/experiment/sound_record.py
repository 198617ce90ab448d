"""A run's record without what is not of its kind: it may have been written by another hand, or damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def sound(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's entries that are what nnrun writes there; others are left out, as if never written."""
    return {
        key: value
        for key, value in record.items()
        if value is None or key not in _KINDS or _KINDS[key](value)
    }


def _text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _map_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(key, str) and (item is None or kind(item)) for key, item in value.items())
    )


def _list_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _maps(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _chosen_from(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _count(value.get("epoch"))
        and all(isinstance(value.get(key), str) for key in ("column", "parent"))
    )


_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        ("id", "name", "status", "command", "device", "parent", "reproduces", "verdict", "error"), _text
    ),
    **dict.fromkeys(("baseline_on", "chosen_by", "started", "ended"), _text),
    **dict.fromkeys(("seed", "epochs", "epochs_run", "best_epoch", "last_epoch", "parameters"), _count),
    **dict.fromkeys(
        ("best", "best_std", "last", "last_std", "test", "test_std", "baseline"), _map_of(_number)
    ),
    **dict.fromkeys(("rows", "stopped_early"), _map_of(_count)),
    **dict.fromkeys(("folds", "seeds"), _list_of(_count)),
    **dict.fromkeys(("test_uses", "data", "resumed", "custom"), _maps),
    "best_interval": _map_of(_interval),
    "training_seconds": _number,
    "weights_epoch": lambda value: _count(value) or _map_of(_count)(value),
    "versions": _map_of(_text),
    "chosen_from": _chosen_from,
}
