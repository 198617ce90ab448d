"""How many folds, and which tables are like those that were measured."""

from __future__ import annotations

import pytest

from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.validation import usual_split


@pytest.mark.parametrize(
    ("rows", "folds", "measured"),
    [
        (299, 5, False),
        (300, 10, True),
        (999, 10, True),
        (1_250, 8, True),  # of which 250 are held back
        (6_000, 8, True),  # of which 1,200 are held back
        (6_250, 5, True),
        (62_500, 5, True),
        (62_502, None, False),
    ],
)
def test_a_table_has_folds_up_to_50_000_training_rows(rows: int, folds: int | None, measured: bool) -> None:
    sizes = Sizes(rows, columns=True)
    assert (sizes.folds, sizes.measured) == (folds, measured)


@pytest.mark.parametrize("sizes", [Sizes(4_000), Sizes(4_000, columns=True, texts=True)])
def test_arrays_and_texts_have_one_validation_set_from_2_000_rows_on(sizes: Sizes) -> None:
    assert not sizes.measured
    assert sizes.folds is None


def test_no_more_folds_than_the_rarest_class_has_rows() -> None:
    assert Sizes(400, {"a": 394, "b": 6}, columns=True).folds == 6


@pytest.mark.parametrize(("rarest", "said"), [(6, True), (60, False)])
def test_a_spec_says_why_there_are_fewer_folds(rarest: int, said: bool) -> None:
    why = usual_split(Sizes(400, {"a": 400 - rarest, "b": rarest}, columns=True)).why
    assert ("(in 10 folds, the rarest class could not be in each of them)" in why) is said
