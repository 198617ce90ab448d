"""The name of one of several networks of a run: the column of its history and the folder of its weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

MemberType = Literal["fold", "seed"]
MEMBER_TYPES: tuple[MemberType, ...] = get_args(MemberType)

_FOLDER = re.compile(rf"({'|'.join(MEMBER_TYPES)})-(0|[1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Member:
    """`fold 2`, `seed 7`.

    Attributes:
        type: also the first column of the run's history.
        id: the fold's index, or the seed.
    """

    type: MemberType
    id: int

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def folder(self) -> str:
        """The name of its folder in the run's."""
        return f"{self.type}-{self.id}"


def member_of_folder(name: str) -> Member | None:
    """The member whose folder has this name, or None."""
    match = _FOLDER.fullmatch(name)
    if match is None:
        return None
    return Member("fold" if match[1] == "fold" else "seed", int(match[2]))


def member_type_of(columns: Iterable[object]) -> MemberType | None:
    """What tells apart the networks of a history with these columns; None where there is one network."""
    names = set(columns)
    return next((member_type for member_type in MEMBER_TYPES if member_type in names), None)
