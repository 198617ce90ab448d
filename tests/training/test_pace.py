"""When time is up: before a part that is not expected to end in time."""

from __future__ import annotations

import pytest

from nnrun.training.pace import Pace


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def parts_in(seconds: float | None, durations: list[float]) -> int:
    """How many parts are begun, of which the first is in any case."""
    clock = Clock()
    pace = Pace(seconds, clock)
    begun = 0
    for duration in durations:
        if begun and pace.is_over():
            break
        begun += 1
        clock.now += duration
        pace.part_ended()
    return begun


@pytest.mark.parametrize(
    ("seconds", "durations", "begun"),
    [
        (None, [1.0] * 50, 50),
        (10, [1.0] * 50, 10),
        (10.5, [1.0] * 50, 10),
        (10, [3.0] * 50, 3),  # a fourth would end after 12
        (10, [60.0] * 3, 1),
        (20, [10.0, *[1.0] * 50], 11),  # the first was slow, and is soon forgotten
        (0, [1.0] * 3, 1),
    ],
)
def test_no_part_begins_that_would_not_end_in_time(
    seconds: float | None, durations: list[float], begun: int
) -> None:
    assert parts_in(seconds, durations) == begun


def test_what_is_left() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    assert not pace.is_over()
    clock.now += 12
    assert (pace.left, pace.is_over()) == (-2, True)
    assert Pace(None, clock).left is None
