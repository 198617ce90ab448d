"""The screens that whole outputs are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_experiments import SCREENS, agree, steady


def test_every_screen_belongs_to_a_test() -> None:
    files = Path(__file__).parents[1].rglob("test_*.py")
    tests = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [path.stem for path in sorted(SCREENS.iterdir()) if f'"{path.stem}"' not in tests] == []


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ("loss  12.3456 on cpu", True),
        ("loss  12.3457 on cpu", True),  # the last digit may be another CPU's
        ("loss  12.3756 on cpu", False),
        ("loss  12.3456  on cpu", False),
        ("loss  12.3456 on cuda", False),
        ("loss  1.2346 on cpu", False),
    ],
)
def test_a_screen_may_differ_in_a_last_digit_and_in_nothing_else(found: str, same: bool) -> None:
    assert agree(found, "loss  12.3456 on cpu") is same


def test_what_changes_from_run_to_run_has_a_name() -> None:
    """Ids and times; everything else stays."""
    assert steady(
        "runs/small-20260101T000000Z-0a1b in 12.3 s; 3 rows\nloss 0.5000  0.35 s\n/tmp/x", {"/tmp": "<T>"}
    ) == ("runs/small-<ID> in <TIME>; 3 rows\nloss 0.5000  <TIME>\n<T>/x")
