"""Words for messages."""

from __future__ import annotations

import pytest

from nnrun.spec.wording import counted, listing_of_some, nearest, nearest_file, score_text, with_std


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "layer", "1 layer"), (3, "layer", "3 layers"), (2, "array", "2 arrays"), (0, "entry", "0 entries")],
)
def test_counted_things(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("word", "meant"),
    [("lr", "learning_rate"), ("LR", "learning_rate"), ("eps", "epsilon"), ("wd", None), ("rhoo", "rho")],
)
def test_names_of_other_libraries_are_known(word: str, meant: str | None) -> None:
    assert nearest(word, ["learning_rate", "epsilon", "rho", "momentum"]) == meant


@pytest.mark.parametrize(
    ("name", "files", "meant"),
    [
        ("penguins.yaml", ["mpg.yaml", "iris.yaml"], None),
        ("pengins.yaml", ["mpg.yaml", "penguins.yaml"], "penguins.yaml"),
        ("penguins", ["penguins.yaml"], "penguins.yaml"),
        ("pengins.csv", ["penguins.tsv", "penguins.csv", "penguins.csv.gz"], "penguins.csv"),
        (".hiden", [".hidden.yaml"], ".hidden.yaml"),
    ],
)
def test_a_file_is_meant_by_more_than_its_ending(name: str, files: list[str], meant: str | None) -> None:
    assert nearest_file(name, files) == meant


def test_some_of_many_names() -> None:
    assert listing_of_some(["a"], 3) == "a"
    assert listing_of_some(["a", "b", "c"], 3) == "a, b and c"
    assert listing_of_some(list("abcde"), 3) == "a, b, c and 2 more"
    assert listing_of_some(["a"] * 2003, 3) == "a, a, a and 2,000 more"


def test_a_score_that_rounds_to_nothing_has_no_sign() -> None:
    assert [with_std(value) for value in (-0.00001, -0.0, 0.0, -0.00006)] == ["0.0000"] * 3 + ["-0.0001"]
    assert with_std(-0.00001, 0.00002) == "0.0000 ± 0.0000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9_999_999.0, "9999999.0000"),
        (1e7, "1.0000e+07"),
        (-1.23456e30, "-1.2346e+30"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (2, "2.0000"),
    ],
)
def test_large_scores_are_written_with_an_exponent(value: float, text: str) -> None:
    assert score_text(value) == with_std(value) == text
    assert with_std(0.5, value) == f"0.5000 ± {text}"
