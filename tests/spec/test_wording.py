"""Words for messages."""

from __future__ import annotations

import pytest

from nnrun.spec.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "layer", "1 layer"), (3, "layer", "3 layers"), (2, "array", "2 arrays"), (0, "entry", "0 entries")],
)
def test_counted_things(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said
