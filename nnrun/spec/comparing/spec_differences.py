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
            lacks is one difference. Otherwise by position: where lists are equally long, `--set` with the
            paths and values of one spec then makes that spec of another.
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
    elif alike and isinstance(first, Mapping) and _have_same_names(values):
        for key in first:
            yield from _differences((*path, key), tuple(value[key] for value in values), align)
    elif alike and isinstance(first, list) and _hold_configs(values):
        for place, entries in (_aligned if align else _by_position)(values):
            yield from _differences((*path, place), entries, align)
    else:
        yield SpecDifference(spell_path(path), values)


def _have_same_names(maps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether maps have the same keys, each of which a path can name."""
    return all(each.keys() == maps[0].keys() for each in maps) and "" not in maps[0]


_Row = tuple[int, tuple[Any, ...]]
"""A place, and the entry that each list has there."""


def _by_position(lists: Sequence[Sequence[Any]]) -> list[_Row]:
    return [
        (place, tuple(items[place] if place < len(items) else ABSENT for items in lists))
        for place in range(max(map(len, lists)))
    ]


def _aligned(lists: Sequence[Sequence[Any]]) -> list[_Row]:
    """Rows of entries that belong together in lists of components, and where each row's entry stands.

    A layer that one network has and another lacks is one difference, and no layer after it becomes another:
    entries are matched with the first list's by what they are, in order (the longest common sequence of
    kinds, of which the one with the most equal entries). The place is that of the first list that has
    the entry.
    """
    rows: list[_Row] = [(place, (entry,)) for place, entry in enumerate(lists[0])]
    for number, items in enumerate(lists[1:], start=1):
        known = [next(entry for entry in row if entry is not ABSENT) for _, row in rows]
        merged: list[_Row] = []
        row, at = 0, 0
        for matched, place in [*_matches(known, items), (len(rows), len(items))]:
            merged += [(its_place, (*entries, ABSENT)) for its_place, entries in rows[row:matched]]
            merged += [(new, (*[ABSENT] * number, items[new])) for new in range(at, place)]
            merged += [
                (its_place, (*entries, items[place])) for its_place, entries in rows[matched : matched + 1]
            ]
            row, at = matched + 1, place + 1
        rows = _joined(merged)
    return rows


def _matches(first: Sequence[Any], second: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    """Pairs of places, ascending in both, of entries of one kind: as many as can be, as alike as can be."""
    nothing: tuple[float, tuple[tuple[int, int], ...]] = (0.0, ())
    best = [[nothing] * (len(second) + 1) for _ in range(len(first) + 1)]  # of what begins at both places
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            choices = [best[i + 1][j], best[i][j + 1]]
            if _kind(first[i]) == _kind(second[j]):
                points, pairs = best[i + 1][j + 1]
                choices.insert(0, (points + _likeness(first[i], second[j]), ((i, j), *pairs)))
            best[i][j] = max(choices, key=lambda choice: choice[0])  # of equals the first
    return best[0][0][1]


def _kind(entry: Any) -> Any:
    return entry.kind if isinstance(entry, Component) else type(entry)


def _likeness(first: Any, second: Any) -> float:
    """1 for entries of one kind, and a little more the more of their fields are equal."""
    fields = type(first).model_fields
    same = sum(getattr(first, key) == getattr(second, key, None) for key in fields)
    return 1 + (0.5 if first == second else 0.25 * same / max(len(fields), 1)) / _MANY


def _joined(rows: Sequence[_Row]) -> list[_Row]:
    """Neighbours of which one ends and the other begins are one row: another layer in the same place."""
    result: list[_Row] = []
    for place, entries in rows:
        pairs = list(zip(result[-1][1], entries, strict=True)) if result else []
        if pairs and all((a is ABSENT) != (b is ABSENT) for a, b in pairs):
            place, entries = result.pop()[0], tuple(b if a is ABSENT else a for a, b in pairs)
        result.append((place, entries))
    return result


def _hold_configs(lists: Sequence[list[Any]]) -> bool:
    return all(isinstance(item, Config) for items in lists for item in items)
