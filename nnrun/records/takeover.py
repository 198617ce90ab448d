"""Who may claim a part of shared work, or take it over from a worker that died."""

from __future__ import annotations

import time
from collections.abc import Callable

from nnrun.records.claims import Claim, SignOfLife, Timing, WorkFolder, WorkPlan

MOST_ATTEMPTS = 4
"""So many workers die with a part before nobody takes it any more."""


class Observer:
    """Judges whether processes have died, by what it sees of their signs of life.

    One is dead if it is known to have ended on this machine, or if its sign has not changed for `patience`
    seconds of the observer's own clock. Where the observer itself was paused, that time counts only as far as
    it could have looked.

    Args:
        folder: where the signs are.
        timing: how often they come.
        clock: gives seconds.
    """

    def __init__(
        self, folder: WorkFolder, timing: Timing, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._timing, self._clock = folder, timing, clock
        self._seen: dict[str, tuple[SignOfLife | None, float, float]] = {}

    def is_gone(self, name: str) -> bool:
        """Whether a worker, or for an empty name the owner, has left or died."""
        sign, now = self._folder.read_sign(name), self._clock()
        before = self._seen.get(name)
        silent = 0.0
        if before is not None and _count(before[0]) == _count(sign):
            silent = before[1] + min(now - before[2], 2 * self._timing.every)
        self._seen[name] = sign, silent, now
        if sign is not None and (sign.left or sign.process.has_ended()):
            return True
        return silent >= self._timing.patience


def _count(sign: SignOfLife | None) -> int:
    return -1 if sign is None else sign.count


def next_claim(folder: WorkFolder, plan: WorkPlan, observer: Observer, worker: str) -> Claim | None:
    """Claim the first part that nobody does, or whose worker is gone; None where there is none at present.

    Raises:
        OSError: the folder is gone, or cannot be written.
    """
    finished, claims = folder.finished(), folder.claims()
    for part, items in enumerate(plan.parts):
        if set(items) <= finished:
            continue
        generation = claims.get(part, 0)
        if generation and not _may_take_over(folder, observer, part, generation):
            continue
        if (claim := folder.take(part, generation + 1, worker)) is not None:
            return claim
    return None


def _may_take_over(folder: WorkFolder, observer: Observer, part: int, generation: int) -> bool:
    left = folder.given_back().get(part, set())
    if generation - len(left) >= MOST_ATTEMPTS:
        return False
    return generation in left or _holder_is_gone(folder, observer, part, generation)


def _holder_is_gone(folder: WorkFolder, observer: Observer, part: int, generation: int) -> bool:
    holder = folder.holder(part, generation)
    # Without hard links a claim may lie there empty: its worker died between two calls, and signs nothing.
    return observer.is_gone(f"?{part}.{generation}" if holder is None else holder)


def given_up(folder: WorkFolder, plan: WorkPlan, observer: Observer) -> list[int]:
    """The parts that have no result, and with which so many workers have died that nobody takes them."""
    finished, left, found = folder.finished(), folder.given_back(), []
    for part, generation in folder.claims().items():
        deaths = generation - len(left.get(part, set()))
        if deaths < MOST_ATTEMPTS or set(plan.parts[part]) <= finished:
            continue
        if _holder_is_gone(folder, observer, part, generation):
            found.append(part)
    return found
