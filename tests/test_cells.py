"""Texts as fields of CSV."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.cells import several_in_one


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ([], ""),
        (["low"], "low"),
        (["low", "top"], "low;top"),
        ([0, 12], "0;12"),
        (["a;b", "c"], '"a;b";c'),
        (["a", "b", "c"], "a;b;c"),
        (["a, b", 'say "a"'], 'a, b;"say ""a"""'),
        ([""], '""'),
    ],
)
def test_names_in_one_field(names: list[str | int], field: str) -> None:
    assert several_in_one(names) == field


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_the_names_read_back(names: list[str]) -> None:
    read = list(csv.reader(io.StringIO(several_in_one(names), newline=""), delimiter=";"))
    assert read == ([names] if names else [])
