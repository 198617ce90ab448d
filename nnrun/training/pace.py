"""When to stop because the time is up: before a part that is not expected to end in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_RECENT = 3  # parts, whose mean is how long the next is expected to take


@dataclass
class Pace:
    """How long parts of some work take (epochs, bundles of trials), against the time that there is.

    Attributes:
        seconds: from now on; None for as long as it takes.
        clock: gives seconds.
    """

    seconds: float | None
    clock: Callable[[], float] = time.perf_counter
    _began: float = field(init=False)
    _marks: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._marks = [self._began]

    @property
    def left(self) -> float | None:
        """The seconds that are left, 0 or less where there are none; None where there is no limit."""
        return None if self.seconds is None else self._began + self.seconds - self.clock()

    def part_ended(self) -> None:
        """Take note that a part ended, and that the next begins."""
        self._marks = [*self._marks[-_RECENT:], self.clock()]

    def is_over(self) -> bool:
        """Whether the next part is not expected to end in time."""
        left, parts = self.left, len(self._marks) - 1
        expected = (self._marks[-1] - self._marks[0]) / parts if parts else 0.0
        return left is not None and (left <= 0 or left < expected)
