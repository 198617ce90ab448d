"""Where specs differ, path by path, as `--set` spells a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nnrun.spec.reading.nodes import spell_path
from nnrun.spec.schema import Component, Config
from nnrun.spec.writing.dump import dump_value, flow_text


class _Absent:
    """What stands for a list entry in a spec whose list is shorter."""


ABSENT: Final = _Absent()
_MANY = 10_000  # more entries than a list has: however alike entries are, one more pair counts for more


@dataclass(frozen=True)
class SpecDifference:
    """A place where specs differ.

    Attributes:
        path: `layers[0].dense.units`.
        values: of each spec, in order; `ABSENT` where its list has no such entry.
    """

    path: str
    values: tuple[Any, ...]

    @property
    def texts(self) -> list[str]:
        """The values as a spec would have them, components without their defaults; `-` for absent ones."""
        return ["-" if value is ABSENT else flow_text(value) for value in self.values]

    @property
    def plain(self) -> list[Any]:
        """The values as JSON can hold them, whole. None for absent ones: no list of a spec holds a null."""
        return [None if value is ABSENT else dump_value(value) for value in self.values]


def spec_differences(configs: Sequence[Config], *, align: bool = False) -> list[SpecDifference]:
    """Every place where specs, or the same parts of specs, differ; in the order of the schema.

    Another component (`rmsprop`, `adam`) is one difference: its parameters mean nothing to the other.

    Args:
        configs: the specs.
        align: compare entries of lists by what they are, so that a layer that one network has and another
            lacks is one difference. Otherwise by position: `--set` with the paths and values of one spec
            then makes that spec of another.
    """
    return list(_differences((), tuple(configs), align))


def _differences(
    path: tuple[str | int, ...], values: tuple[Any, ...], align: bool
) -> Iterator[SpecDifference]:
    if all(value == values[0] for value in values):
        return
    (first, *others) = values
    alike = all(type(value) is type(first) for value in others)
    if alike and isinstance(first, Config):
        below = (*path, first.kind) if isinstance(first, Component) else path
        for key in type(first).model_fields:
            yield from _differences((*below, key), tuple(getattr(value, key) for value in values), align)
    elif alike and isinstance(first, Mapping) and all(value.keys() == first.keys() for value in values):
        for key in first:
            yield from _differences((*path, key), tuple(value[key] for value in values), align)
    elif alike and isinstance(first, list) and _hold_configs(values):
        for place, entries in (_aligned if align else _by_position)(values):
            yield from _differences((*path, place), entries, align)
    else:
        yield SpecDifference(spell_path(path), values)


def _by_position(lists: Sequence[Sequence[Any]]) -> list[tuple[int, tuple[Any, ...]]]:
    return [
        (place, tuple(items[place] if place < len(items) else ABSENT for items in lists))
        for place in range(max(map(len, lists)))
    ]


def _aligned(lists: Sequence[Sequence[Any]]) -> list[tuple[int, tuple[Any, ...]]]:
    """Rows of entries that belong together in lists of components, and where each row's entry stands.

    A layer that one network has and another lacks is one difference, and no layer after it becomes another:
    entries are matched with the first list's by what they are, in order (the longest common sequence of
    kinds, of which the one with the most equal entries). The place is that of the first list that has
    the entry.
    """
    columns: list[list[Any]] = [[entry] for entry in lists[0]]
    places = list(range(len(lists[0])))
    for number, items in enumerate(lists[1:], start=1):
        matched = dict(_matches([_known(column) for column in columns], items))
        merged: list[list[Any]] = []
        merged_places: list[int] = []
        at = 0
        for row, column in enumerate(columns):
            place = matched.get(row)
            for new in range(at, place if place is not None else at):
                merged.append([*[ABSENT] * number, items[new]])
                merged_places.append(new)
            at = place + 1 if place is not None else at
            merged.append([*column, ABSENT if place is None else items[place]])
            merged_places.append(places[row])
        for new in range(at, len(items)):
            merged.append([*[ABSENT] * number, items[new]])
            merged_places.append(new)
        columns, places = _joined(merged, merged_places)
    return [(place, tuple(column)) for place, column in zip(places, columns, strict=True)]


def _known(column: Sequence[Any]) -> Any:
    return next(entry for entry in column if entry is not ABSENT)


def _matches(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[int, int]]:
    """Pairs of places, ascending in both, of entries of one kind: as many as can be, as alike as can be."""
    best = [[0.0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1])
            if _kind(first[i]) == _kind(second[j]):
                best[i][j] = max(best[i][j], best[i + 1][j + 1] + _likeness(first[i], second[j]))
    pairs = []
    i = j = 0
    while i < len(first) and j < len(second):
        taken = best[i + 1][j + 1] + _likeness(first[i], second[j])
        if _kind(first[i]) == _kind(second[j]) and best[i][j] == taken:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _kind(entry: Any) -> Any:
    return entry.kind if isinstance(entry, Component) else type(entry)


def _likeness(first: Any, second: Any) -> float:
    """1 for entries of one kind, and a little more the more of their fields are equal."""
    fields = type(first).model_fields
    same = sum(getattr(first, key) == getattr(second, key, None) for key in fields)
    return 1 + (0.5 if first == second else 0.25 * same / max(len(fields), 1)) / _MANY


def _joined(columns: list[list[Any]], places: list[int]) -> tuple[list[list[Any]], list[int]]:
    """Neighbours of which one ends and the other begins are one row: another layer in the same place."""
    result: list[list[Any]] = []
    where: list[int] = []
    for column, place in zip(columns, places, strict=True):
        before = result[-1] if result else None
        if before is not None and all(
            (a is ABSENT) != (b is ABSENT) for a, b in zip(before, column, strict=True)
        ):
            result[-1] = [b if a is ABSENT else a for a, b in zip(before, column, strict=True)]
            continue
        result.append(column)
        where.append(place)
    return result, where


def _hold_configs(lists: Sequence[list[Any]]) -> bool:
    return all(isinstance(item, Config) for items in lists for item in items)
