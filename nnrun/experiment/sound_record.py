"""A run's record without what is not of its kind: it may have been written by another hand, or damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_LARGEST = 2**63
"""JSON can hold whole numbers that no float, and no other program, can."""


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
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _number(value: object) -> bool:
    return isinstance(value, float) or _count(value)


def _map_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(key, str) and (item is None or kind(item)) for key, item in value.items())
    )


def _rows(value: object) -> bool:
    """Counts, and the ranges of those that differ between folds."""
    if not isinstance(value, Mapping) or not _map_of(_list_of(_count))(value.get("ranges", {})):
        return False
    return _map_of(_count)({part: number for part, number in value.items() if part != "ranges"})


def _list_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _maps(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _member_scores(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, Mapping)
        and isinstance(item.get("member"), str)
        and all(item.get(part) is None or _map_of(_number)(item[part]) for part in ("best", "last"))
        for item in value
    )


def _chosen_from(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _count(value.get("epoch"))
        and all(isinstance(value.get(key), str) for key in ("column", "parent"))
    )


def _near_perfect(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("score"), str)
        and _number(value.get("value"))
        and isinstance(value.get("column"), str)
        and _number(value.get("alone"))
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
    "stopped_early": _map_of(_count),
    "rows": _rows,
    **dict.fromkeys(("folds", "seeds", "not_trained"), _list_of(_count)),
    **dict.fromkeys(("test_uses", "data", "resumed", "custom"), _maps),
    "members": _member_scores,
    "best_interval": _map_of(_interval),
    "not_better_than_baseline": _map_of(_interval),
    "near_perfect": _near_perfect,
    "training_seconds": _number,
    **dict.fromkeys(
        ("weights_epoch", "best_weights_epoch", "test_epoch"),
        lambda value: _count(value) or _map_of(_count)(value),
    ),
    "smoothed_over": _count,
    "versions": _map_of(_text),
    "chosen_from": _chosen_from,
}
