"""The name of one of several networks of a run, and what follows from it: a column, a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

MemberKind = Literal["fold", "seed"]
MEMBER_KINDS: tuple[MemberKind, ...] = get_args(MemberKind)

_FOLDER = re.compile(rf"({'|'.join(MEMBER_KINDS)})-(0|[1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Member:
    """`fold 2`, `seed 7`.

    Attributes:
        kind: also the first column of the run's history.
        number: the fold's index, or the seed.
    """

    kind: MemberKind
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def folder(self) -> str:
        """The name of its folder in the run's."""
        return f"{self.kind}-{self.number}"


def member_of_folder(name: str) -> Member | None:
    """The member whose folder has this name, or None."""
    match = _FOLDER.fullmatch(name)
    if match is None:
        return None
    kind: MemberKind = "fold" if match[1] == "fold" else "seed"
    return Member(kind, int(match[2]))


def member_kind(columns: Iterable[object]) -> MemberKind | None:
    """What tells apart the networks of a history with these columns; None where there is one network."""
    names = set(columns)
    return next((kind for kind in MEMBER_KINDS if kind in names), None)


def members_of_record(record: Mapping[str, Any]) -> tuple[MemberKind | None, list[int]]:
    """What tells apart the networks of a run by its record (None for one network), and their numbers."""
    for kind in MEMBER_KINDS:
        numbers = record.get(f"{kind}s")
        if isinstance(numbers, list) and numbers and all(isinstance(number, int) for number in numbers):
            return kind, numbers
    return None, []
