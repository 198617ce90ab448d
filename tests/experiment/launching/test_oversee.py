"""What the owner of shared work tells of its workers."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.experiment.launching.oversee import Oversight


class Heard:
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


class EndedByASignal:
    def troubles(self) -> list[str]:
        return ["worker 1 was ended by signal 9"]


def test_a_worker_that_died_just_before_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another had done all that was left before the owner looked again."""
    nothing: Any = None
    launcher: Any = EndedByASignal()
    audience: Any = Heard()
    oversight = Oversight(folder=nothing, plan=nothing, audience=audience, launcher=launcher)
    monkeypatch.setattr(oversight, "_take_results", lambda: True)
    oversight._until_done(nothing)
    assert audience.said == ["worker 1 was ended by signal 9; its work goes to another"]
