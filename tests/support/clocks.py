"""Clocks that do not depend on how fast a machine is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nnrun.training.pace import Pace


def ticking() -> Callable[[], float]:
    """A clock on which a second has passed each time that it is asked."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1
        return now

    return clock


def let_epochs_take_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an epoch take two seconds by the clock of time limits."""
    monkeypatch.setattr("nnrun.training.loop.Pace", lambda seconds: Pace(seconds, ticking()))


def let_trials_take_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trials that train together take seconds, and so epochs, by the clock of time limits."""
    let_epochs_take_seconds(monkeypatch)
    monkeypatch.setattr("nnrun.experiment.sweeping.at_work.Pace", lambda seconds: Pace(seconds, ticking()))
