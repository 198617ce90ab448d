"""Columns found by their names in a line of names, and names listed for a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from nnrun.errors import DataError, printable
from nnrun.spec.wording import counted

_MOST_NAMES = 12  # that a message lists


def places_of(
    names: Sequence[str],
    header: Sequence[str],
    where: str,
    on_message: Callable[[str], None],
    *,
    holder: str,
    called: Callable[[str], str] = str,
) -> list[int]:
    """The position of each of `names` in `header`; tells of names there that are not used.

    Args:
        names: that the network takes.
        header: a line of names.
        where: what messages call the file.
        on_message: is told.
        holder: who has the names, as a sentence begins: `It`, `Its first line`.
        called: what messages call a name that the network takes.

    Raises:
        DataError: a name is not there, or stands there twice.
    """
    found = Counter(header)
    lacking = [name for name in names if name not in found]
    if lacking:
        raise DataError(
            f"{where} lacks {counted(len(lacking), 'column')} that the network takes: "
            f"{listed_names(list(map(called, lacking)))}. {holder} has: {listed_names(header)}."
        )
    twice = [name for name in names if found[name] > 1]
    if twice:
        raise DataError(f"{where} names {listed_names(list(map(called, twice)))} more than once.")
    place = {name: place for place, name in enumerate(header)}
    wanted = set(names)
    say_unused([name for name in header if name not in wanted], where, on_message)
    return [place[name] for name in names]


def say_unused(names: Sequence[str], where: str, on_message: Callable[[str], None]) -> None:
    """Tell of names that the network does not take, if there are any."""
    if names:
        on_message(f"{where}: not used: {listed_names(names)}")


def listed_names(names: Sequence[str]) -> str:
    """Names for a message: the first dozen of many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return printable(", ".join(name[:60] for name in names[:_MOST_NAMES])) + more
