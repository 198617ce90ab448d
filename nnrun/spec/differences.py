"""Where specs differ, path by path, as `--set` spells a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nnrun.spec.dump import dump_value, flow_text
from nnrun.spec.schema import Component, Config
from nnrun.spec.source import spell_path


class _Absent:
    """What stands for a list entry in a spec whose list is shorter."""


ABSENT: Final = _Absent()


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


def spec_differences(configs: Sequence[Config]) -> list[SpecDifference]:
    """Every place where specs, or the same parts of specs, differ; in the order of the schema.

    Another component (`rmsprop`, `adam`) is one difference: its parameters mean nothing to the other.
    """
    return list(_differences((), tuple(configs)))


def _differences(path: tuple[str | int, ...], values: tuple[Any, ...]) -> Iterator[SpecDifference]:
    if all(value == values[0] for value in values):
        return
    (first, *others) = values
    alike = all(type(value) is type(first) for value in others)
    if alike and isinstance(first, Config):
        below = (*path, first.kind) if isinstance(first, Component) else path
        for key in type(first).model_fields:
            yield from _differences((*below, key), tuple(getattr(value, key) for value in values))
    elif alike and isinstance(first, list) and _hold_configs(values):
        for place in range(max(map(len, values))):
            entries = tuple(value[place] if place < len(value) else ABSENT for value in values)
            yield from _differences((*path, place), entries)
    else:
        yield SpecDifference(spell_path(path), values)


def _hold_configs(lists: Sequence[list[Any]]) -> bool:
    return all(isinstance(item, Config) for items in lists for item in items)
