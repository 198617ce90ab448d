"""Tables in which the tests of a whole registry have an example, or the expected values, of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

T = TypeVar("T")


def line_for(table: Mapping[str, T], kind: str, where: str) -> T:
    """The line of a kind; fails the test, and says where a new kind needs its line, where there is none."""
    if kind not in table:
        pytest.fail(f"{kind} has no line in {where}. Add one: CONTRIBUTING.md says what it holds.")
    return table[kind]
