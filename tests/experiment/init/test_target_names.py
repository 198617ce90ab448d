"""What the names of columns tell about the target."""

from __future__ import annotations

import pytest

from nnrun.experiment.init import target_names


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("lprice", "price"),
        ("logPrice", "price"),
        ("pricesq", "price"),
        ("price_1", "price"),
        ("cprice", "price"),
        ("price", None),
        ("spice", None),
        ("ice", None),
    ],
)
def test_names_of_what_is_computed(name: str, of: str | None) -> None:
    assert target_names.transformed(name, frozenset({"price", "spice"})) == of


@pytest.mark.parametrize(
    ("name", "stem", "letters"),
    [
        ("bwght", "bwght2", 5),
        ("happy", "happiness", 4),
        ("tip", "tips", 3),
        ("sales", "salt", 0),
        ("FARE", "Airfares", 4),
        ("Flight Status", "FlightDelays", 6),
        ("sav", "saving", 3),
        ("age", "wage1", 0),
        ("price", "wine", 0),
        ("Sales Total", "sales_2024", 5),
    ],
)
def test_letters_shared_with_the_file(name: str, stem: str, letters: int) -> None:
    assert target_names.shared_with(name, stem) == letters


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("hsGPA", True),  # beside colGPA
        ("prewage", True),  # beside wage
        ("re74", True),
        ("re75", True),
        ("re78", False),  # the latest
        ("pressure", False),  # no column `ssure`
        ("colGPA", False),
        ("x12", False),
    ],
)
def test_names_of_earlier_values(name: str, before: bool) -> None:
    others = frozenset({"hsgpa", "colgpa", "prewage", "wage", "re74", "re75", "re78", "pressure", "x12"})
    assert target_names.is_before(name, others) is before


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("age", True),
        ("Home Region", True),
        ("faminc", True),
        ("customer_id", True),
        ("price", False),
        ("fertility", False),
        ("", False),
    ],
)
def test_names_of_what_is_known_beforehand(name: str, context: bool) -> None:
    assert target_names.is_context(name) is context


@pytest.mark.parametrize(
    ("name", "word"),
    [("avgsalary", "salary"), ("testscr", "scr"), ("numvisits", "visits"), ("salary", None), ("humid", None)],
)
def test_compounds(name: str, word: str | None) -> None:
    assert target_names.ends_like_outcome(name) == word


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("course_success", True), ("Default", True), ("success_before", False), ("---", False), ("", False)],
)
def test_names_whose_last_word_is_one_of_targets(name: str, outcome: bool) -> None:
    assert target_names.ends_in_outcome(name) is outcome


def test_a_price_beside_what_was_sold_at_it() -> None:
    assert target_names.is_price_of_sales("Price", frozenset({"price", "sales"}))
    assert not target_names.is_price_of_sales("Price", frozenset({"price", "lotsize"}))
    assert not target_names.is_price_of_sales("sales", frozenset({"price", "sales"}))


def test_no_word_is_both_of_a_target_and_known_beforehand() -> None:
    known = target_names._CONTEXT_WORDS
    assert not known & {*target_names.OUTCOME_WORDS, *target_names.MEDIUM_WORDS}
    assert len(set(target_names.OUTCOME_WORDS)) == len(target_names.OUTCOME_WORDS)
