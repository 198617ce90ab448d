"""How many folds, and which tables are like those that were measured."""

from __future__ import annotations

import pytest

from nnrun.experiment.init.sizes import Sizes


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
