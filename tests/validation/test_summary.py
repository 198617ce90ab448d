import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.spec.score_columns import BestRule
from nnrun.validation.summary import (
    LARGEST_WIDTH,
    WIDTH_SHARE,
    best_epoch,
    history_mean,
    monitor_mode,
    overfitting_sentence,
    smooth,
    smooth_both_sides,
    smoothed_best_epoch,
)
from tests.support.history_tables import history_table

finite = st.floats(-1e6, 1e6)
curves = st.lists(finite, min_size=1, max_size=30)


def folds_history(curves: list[list[float]]) -> pd.DataFrame:
    rows = [
        {"fold": fold, "epoch": epoch, "loss": value, "seconds": 0.1}
        for fold, curve in enumerate(curves)
        for epoch, value in enumerate(curve, start=1)
    ]
    return pd.DataFrame(rows)


def _mean(history: pd.DataFrame) -> pd.DataFrame:
    return history_mean(history_table(history)).frame()


def test_the_mean_of_four_folds() -> None:
    mean = _mean(folds_history([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0], [4.0, 6.0]]))
    assert list(mean.columns) == ["epoch", "loss_mean", "loss_std", "seconds_mean", "seconds_std"]
    assert mean["epoch"].tolist() == [1, 2]
    assert mean["loss_mean"].tolist() == [2.5, 3.0]
    assert mean["loss_std"].tolist() == pytest.approx([np.std([1, 2, 3, 4], ddof=1), 2.0])


@given(st.lists(curves, min_size=1, max_size=5))
def test_the_mean_is_pandas_s_also_where_folds_stop_early(curves: list[list[float]]) -> None:
    history = folds_history(curves)
    mean = _mean(history)
    by_epoch = history.groupby("epoch")["loss"]
    np.testing.assert_allclose(mean["loss_mean"], by_epoch.mean(), atol=1e-6)
    np.testing.assert_allclose(mean["loss_std"], by_epoch.std(), atol=1e-6)


def test_one_fold_has_no_deviation_and_a_diverged_one_is_not_hidden() -> None:
    assert _mean(folds_history([[1.0]]))["loss_std"].isna().all()
    mean = _mean(folds_history([[1.0, math.nan], [1.0, 1.0]]))
    assert mean["loss_mean"].isna().tolist() == [False, True]
    mean = _mean(folds_history([[1.0, math.inf, 1e200], [1.0, 1.0, 0.0]]))
    assert mean["loss_mean"].tolist() == [1, math.inf, 5e199]
    assert mean["loss_std"].map(math.isfinite).tolist() == [True, False, False]


def test_the_mean_over_seeds_is_the_mean_over_folds() -> None:
    """The numbers of the seeds have no part in it."""
    history = folds_history([[1.0, 2.0], [2.0, 2.0], [3.0]])
    seeds = history.rename(columns={"fold": "seed"}).replace({"seed": {0: 10**12}})
    pd.testing.assert_frame_equal(_mean(seeds), _mean(history))


@pytest.mark.parametrize(
    ("column", "mode"),
    [
        ("loss", "min"),
        ("val_loss", "min"),
        ("val_mae", "min"),
        ("val_loss_mean", "min"),
        ("accuracy", "max"),
        ("val_accuracy_mean", "max"),
        ("val_top_k", "max"),
        ("val_r2", "max"),
        ("auc", "max"),
        ("precision", "max"),
        ("val_recall", "max"),
    ],
)
def test_monitor_mode(column: str, mode: str) -> None:
    assert monitor_mode(column) == mode


def test_a_direction_that_is_said_goes_before_the_name() -> None:
    own = {"distance_score": False, "ratio_mean": True, "loss": False}
    assert monitor_mode("val_distance_score", own) == "min"
    assert monitor_mode("val_distance_score_mean", own) == "min"
    assert monitor_mode("val_ratio_mean_mean", own) == "max"
    assert monitor_mode("val_ratio_mean", own) == "max"
    assert monitor_mode("val_accuracy", own) == "max"


@pytest.mark.parametrize(
    ("values", "mode", "epoch"),
    [
        ([3, 1, 2], "min", 2),
        ([3, 1, 2], "max", 1),
        ([2, 1, 1], "min", 2),
        ([math.nan, 5, math.nan], "min", 2),
        ([math.nan, -math.inf, 5], "min", 3),
        ([math.inf, 5], "max", 2),
        ([math.nan], "min", None),
        ([], "min", None),
    ],
)
def test_best_epoch(values: list[float], mode: str, epoch: int | None) -> None:
    assert best_epoch(np.array(values, float), mode) == epoch  # type: ignore[arg-type]
    assert best_epoch(pd.Series(values, dtype=float), mode) == epoch  # type: ignore[arg-type]


def smooth_curve(points: list[float], factor: float) -> list[float]:
    """The exponential moving average, as one writes it down."""
    smoothed: list[float] = []
    for point in points:
        smoothed.append(smoothed[-1] * factor + point * (1 - factor) if smoothed else point)
    return smoothed


@given(curves, st.floats(0, 0.999))
def test_smoothing(points: list[float], factor: float) -> None:
    assert smooth(np.array(points), factor).tolist() == smooth_curve(points, factor)


def test_smoothing_leaves_a_gap_where_a_value_is_missing() -> None:
    values = smooth(pd.Series([1.0, math.nan, 2.0]), 0.5)
    np.testing.assert_array_equal(values, [1.0, math.nan, 1.5])


# --- the best epoch of a noisy curve -----------------------------------------------------------------------


@given(st.lists(st.one_of(finite, st.just(math.nan)), min_size=1, max_size=100))
def test_smoothing_on_both_sides_is_the_weighted_mean_of_all_that_is_known(points: list[float]) -> None:
    values = np.array(points)
    epochs = np.arange(1, len(points) + 1)
    known = np.isfinite(values)
    expected = []
    for epoch in epochs:
        distance = np.abs(epochs - epoch)
        weights = np.exp(-distance / min(LARGEST_WIDTH, WIDTH_SHARE * epoch)) * (known & (distance <= 60))
        expected.append(weights[known] @ values[known] / weights.sum() if known[epoch - 1] else math.nan)
    np.testing.assert_allclose(smooth_both_sides(values), expected, rtol=1e-9, atol=1e-6)


def test_a_fold_that_diverged_leaves_a_gap() -> None:
    smoothed = smooth_both_sides(np.array([2.0, 1.0, math.inf, 1.0, math.nan]))
    assert np.isfinite(smoothed).tolist() == [True, True, False, True, False]
    assert smoothed_best_epoch(np.array([math.nan, math.inf]), "min") is None
    assert smoothed_best_epoch(np.array([]), "min") is None


@given(st.integers(1, 250), st.integers(2, 500))
def test_on_a_curve_without_noise_it_is_the_raw_best_or_near_it(lowest: int, epochs: int) -> None:
    """Falls fast, then rises slowly, as a validation loss does; for as long again, to be told from an end."""
    epochs = max(epochs, 2 * lowest)
    epoch = np.arange(1, epochs + 1)
    curve = lowest / epoch + np.log(epoch)  # lowest at epoch `lowest`
    raw = best_epoch(curve, "min")
    smoothed = smoothed_best_epoch(curve, "min")
    assert raw == lowest
    assert smoothed is not None
    assert abs(smoothed - raw) <= max(2, 0.2 * raw)  # it is flat about its minimum
    assert curve[smoothed - 1] - curve[raw - 1] <= 0.03
    assert smoothed_best_epoch(-curve, "max") == smoothed


@pytest.mark.parametrize("lowest", [20, 60, 100])
def test_where_noise_moves_the_minimum_it_is_nearer_to_the_real_one(lowest: int) -> None:
    epoch = np.arange(1, 501)
    curve = lowest / epoch + np.log(epoch)
    rng = np.random.RandomState(0)
    raw, smoothed = [], []
    for _ in range(100):
        noisy = curve + rng.normal(0, 0.2, len(epoch))
        raw.append(curve[(best_epoch(noisy, "min") or 0) - 1])
        smoothed.append(curve[(smoothed_best_epoch(noisy, "min") or 0) - 1])
    best = curve.min()
    assert np.mean(smoothed) - best < 0.6 * (np.mean(raw) - best)


@pytest.mark.parametrize(
    ("start_from", "epoch"), [(0, 1), (1, 3), (3, 4), (4, 5), (5, 1), (9, 1)], ids=lambda value: str(value)
)
def test_the_first_epochs_may_not_count(start_from: int, epoch: int) -> None:
    values = np.array([1.0, 5.0, 2.0, 3.0, 4.0])
    assert best_epoch(values, "min", BestRule(start_from=start_from)) == epoch
    assert best_epoch(-values, "max", BestRule(start_from=start_from)) == epoch
    rising = np.linspace(1, 2, 9)
    expected = 1 if start_from >= len(rising) else start_from + 1
    assert smoothed_best_epoch(rising, "min", start_from) == expected


def test_a_curve_that_still_falls_is_best_at_its_end() -> None:
    assert smoothed_best_epoch(np.linspace(2, 1, 20), "min") == 20


def history(loss: list[float], val_loss: list[float], suffix: str = "") -> pd.DataFrame:
    return pd.DataFrame({f"loss{suffix}": loss, f"val_loss{suffix}": val_loss})


FALLING = np.linspace(2, 1, 20).tolist()


@pytest.mark.parametrize("suffix", ["", "_mean"])
@pytest.mark.parametrize(
    ("loss", "val_loss", "sentence"),
    [
        ([1.0], [1.0], "One epoch is too few to see a trend in val_loss."),
        (FALLING, FALLING, "val_loss was still falling at epoch 20, the last: more epochs may help."),
        (
            FALLING,
            [*np.linspace(2, 1, 9), *np.linspace(1.1, 2, 11)],
            "val_loss was best at epoch 9; after that, the network kept improving on the training set only "
            "(overfitting).",
        ),
        (
            FALLING,
            [*np.linspace(2, 1, 9), *[1.005] * 11],
            "val_loss was best at epoch 9 and has been flat since: more epochs would not help.",
        ),
        (
            FALLING,
            [*np.linspace(2, 1, 19), 1.1],
            "val_loss was best at epoch 19, near the last: more epochs may help.",
        ),
        (
            [2.0, 1.0, 3.0, 4.0],
            [2.0, 1.0, 3.0, 4.0],
            "val_loss was best at epoch 2; after that, the training loss became worse as well.",
        ),
        ([1.0, 1.0, 1.2], [1.0, 1.1, 1.2], "The training loss did not fall: another learning rate may help."),
        (FALLING, [math.nan] * 20, "val_loss was never a finite number."),
        (
            [1.0, math.nan],
            [1.0, math.nan],
            "val_loss was finite only at epoch 1: one epoch is too few to see a trend.",
        ),
        (
            FALLING,
            [*[math.nan] * 19, 1.0],
            "val_loss was finite only at epoch 20: one epoch is too few to see a trend.",
        ),
        (
            FALLING,
            [*np.linspace(2, 1, 9), *[math.nan] * 11],
            "val_loss was best at epoch 9; after that it was never a finite number.",
        ),
        (
            [*np.linspace(2, 1, 8), *[math.nan] * 12],
            [*np.linspace(2, 1, 9), *np.linspace(1.1, 2, 11)],
            "val_loss was best at epoch 9, and has been worse since.",
        ),
    ],
)
def test_one_sentence_on_overfitting(
    loss: list[float], val_loss: list[float], sentence: str, suffix: str
) -> None:
    best = best_epoch(np.array(val_loss), "min")
    assert overfitting_sentence(history_table(history(loss, val_loss, suffix)), "val_loss", best) == sentence


def test_a_score_that_rises_is_called_rising() -> None:
    frame = pd.DataFrame({"loss": FALLING, "val_accuracy": np.linspace(0.5, 0.9, 20)})
    assert overfitting_sentence(history_table(frame), "val_accuracy", 20) == (
        "val_accuracy was still rising at epoch 20, the last: more epochs may help."
    )


@given(
    curves.flatmap(
        lambda loss: st.tuples(st.just(loss), st.lists(finite, min_size=len(loss), max_size=len(loss)))
    )
)
def test_there_is_always_a_sentence(pair: tuple[list[float], list[float]]) -> None:
    loss, val_loss = pair
    sentence = overfitting_sentence(
        history_table(history(loss, val_loss)), "val_loss", best_epoch(np.array(val_loss), "min")
    )
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("val_loss", "sentence"),
    [
        (FALLING, "val_loss was still falling at epoch 20 of 100, where the training ended."),
        (
            [*np.linspace(2, 1, 19), 1.1],
            "val_loss was best at epoch 19, near epoch 20 of 100, where the training ended.",
        ),
        ([*np.linspace(2, 1, 9), *[1.005] * 11], "val_loss was best at epoch 9 and has been flat since."),
    ],
)
def test_what_ended_before_its_epochs_is_not_advised_to_have_more(
    val_loss: list[float], sentence: str
) -> None:
    frame = history(FALLING, val_loss)
    best = best_epoch(np.array(val_loss), "min")
    assert overfitting_sentence(history_table(frame), "val_loss", best, epochs=100) == sentence
    assert overfitting_sentence(history_table(frame), "val_loss", best, epochs=20) == overfitting_sentence(
        history_table(frame), "val_loss", best
    )


def test_the_sentence_names_the_smoothed_mean() -> None:
    frame = history(FALLING, FALLING, "_mean")
    assert overfitting_sentence(history_table(frame), "val_loss", 20, smoothed=True) == (
        "The smoothed mean val_loss was still falling at epoch 20, the last: more epochs may help."
    )
