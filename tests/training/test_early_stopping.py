"""Early stopping is Keras's, for any course of the watched column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.spec import schema
from nnrun.training.early_stopping import EarlyStopping
from tests.support.keras_early_stopping import keras_would

# Quarters: sums and differences of them are exact, so that no rounding decides who is better.
quarters = st.integers(-40, 40).map(lambda n: n / 4)
courses = st.lists(quarters | st.just(math.nan), min_size=1, max_size=20)


def ours(values: Sequence[float], *, maximize: bool, **settings: Any) -> tuple[int | None, int | None]:
    watcher = EarlyStopping(schema.EarlyStopping(**settings), maximize)
    for epoch, value in enumerate(values, start=1):
        assert watcher.improved(epoch, value) == (watcher.best_epoch == epoch)
        if watcher.best_epoch is not None:
            assert watcher.best == values[watcher.best_epoch - 1]
        if watcher.should_stop(epoch):
            return epoch, watcher.best_epoch
    return None, watcher.best_epoch


@given(
    values=courses,
    patience=st.integers(0, 5),
    min_delta=st.integers(0, 8).map(lambda n: n / 4),
    maximize=st.booleans(),
    baseline=st.none() | quarters,
    start_from_epoch=st.integers(0, 4),
)
def test_it_stops_when_keras_stops_and_holds_the_same_epoch_for_the_best(
    values: list[float], **settings: Any
) -> None:
    assert ours(values, **settings) == keras_would(values, **settings)


@given(values=courses, maximize=st.booleans())
def test_the_best_epoch_is_the_first_of_the_best_numbers(values: list[float], maximize: bool) -> None:
    _, best_epoch = ours(values, patience=len(values) + 1, min_delta=0, maximize=maximize)
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        assert best_epoch is None
        return
    best = max(numbers) if maximize else min(numbers)
    assert best_epoch == values.index(best) + 1


@pytest.mark.parametrize(("patience", "stops"), [(0, 3), (1, 3), (2, 4), (3, 8), (4, None)])
def test_patience_counts_the_epochs_without_improvement(patience: int, stops: int | None) -> None:
    values = [3.0, 2.0, 2.5, 2.25, 1.0, 1.5, 1.25, 1.125]  # better in epochs 1, 2 and 5
    assert ours(values, patience=patience, min_delta=0, maximize=False)[0] == stops


@pytest.mark.parametrize(
    ("min_delta", "best_epoch"), [(0.0, 4), (0.25, 3), (0.5, 4), (1.0, 3), (1.5, 4), (1.75, 1)]
)
def test_an_improvement_is_one_by_more_than_min_delta(min_delta: float, best_epoch: int) -> None:
    """Measured against the best, not against the epoch before: small steps add up."""
    falling = [3.0, 2.0, 1.5, 1.25]
    assert ours(falling, patience=9, min_delta=min_delta, maximize=False)[1] == best_epoch
    rising = [-value for value in falling]
    assert ours(rising, patience=9, min_delta=min_delta, maximize=True)[1] == best_epoch


def test_a_nan_never_counts_as_best_and_never_hides_what_comes_after_it() -> None:
    nan = math.nan
    assert ours([nan, 2.0, nan, 3.0], patience=9, min_delta=0, maximize=False) == (None, 2)
    assert ours([nan, 2.0, nan, 3.0], patience=9, min_delta=0, maximize=True) == (None, 4)
    assert ours([nan, nan, nan], patience=2, min_delta=0, maximize=False) == (2, None)
