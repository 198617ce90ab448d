"""What the names of columns tell about the target."""

from __future__ import annotations

import itertools

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
    assert target_names.is_price_of_demand("Price", frozenset({"price", "sales"}))
    assert target_names.is_price_of_demand("price", frozenset({"price", "income"}))
    assert not target_names.is_price_of_demand("Price", frozenset({"price", "lotsize"}))
    assert not target_names.is_price_of_demand("sales", frozenset({"price", "sales"}))


@pytest.mark.parametrize(
    ("name", "without"),
    [("CO2 (g/km)", "CO2"), ("strength[MPa] of steel", "strength of steel"), ("(a)", "(a)"), ("b(", "b(")],
)
def test_names_without_their_unit(name: str, without: str) -> None:
    assert target_names.without_unit(name) == without


@pytest.mark.parametrize(
    ("name", "series"),
    [("V12", "v"), ("alpha 7", "alpha"), ("x_3", "x"), ("weight", None), ("12", None), ("x2y", None)],
)
def test_what_numbered_names_share(name: str, series: str | None) -> None:
    assert target_names.series_of(name) == series


@pytest.mark.parametrize(
    ("name", "others", "is_y"),
    [
        ("Y house price", {"x1date"}, True),
        ("y1", {"x1", "x2"}, True),
        ("y", {"x1"}, True),
        ("y1", {"x10"}, False),
        ("year", {"x1"}, False),
        ("z1", {"x1"}, False),
    ],
)
def test_y_beside_x1(name: str, others: set[str], is_y: bool) -> None:
    assert target_names.is_y_of_x1(name, frozenset(others)) is is_y


def test_no_word_is_both_of_a_target_and_known_beforehand() -> None:
    known = target_names._CONTEXT_WORDS
    lists = (set(target_names.OUTCOME_WORDS), target_names.MEDIUM_WORDS, target_names.WEAK_WORDS, known)
    assert not [word for a, b in itertools.combinations(lists, 2) for word in a & b]
    assert len(set(target_names.OUTCOME_WORDS)) == len(target_names.OUTCOME_WORDS)
