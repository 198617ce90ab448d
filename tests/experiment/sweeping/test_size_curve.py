"""Learning curves over training rows: what is trained on which rows, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.size_curve import CurveOptions, plan_curve, run_curve
from nnrun.experiment.sweeping.size_curve_result import (
    SizeCurve,
    SizePoint,
    read_size_curve,
    size_sentence,
)
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import SweepDirectory, list_runs
from nnrun.validation.paired import paired_test
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    growing_tokens,
    numbers,
    record_of,
    standardized,
    write_small,
)

PARTS = CurveOptions(fractions=[0.25, 1.0], seeds=2)


def trained(folder: Path, options: CurveOptions = PARTS, **changes: Any) -> SweepDirectory:
    planned = plan_curve(write_small(folder, **changes), Settings("x", folder / "runs"), options=options)
    return run_curve(planned)


def runs(sweep: SweepDirectory) -> list[Path]:
    """Of each part, ascending."""
    return [sweep.run_of(trial).path for trial in sweep.read_record().trials]


def test_folds_of_each_part_train_side_by_side_for_as_many_steps(tmp_path: Path) -> None:
    sweep = trained(tmp_path, validation=KFOLD)
    records = [record_of(run) for run in runs(sweep)]
    # 32 rows are 4 steps of 8, and 8 rows are one.
    assert [(r["rows"]["train"], r["rows"]["validation"], r["epochs"]) for r in records] == [
        (8, 16, 12),
        (32, 16, 3),
    ]
    assert [r["folds"] for r in records] == [[0, 1, 2]] * 2
    assert all("linear_baseline" not in r for r in records)
    curve = read_size_curve(sweep)
    assert [point.rows for point in curve.points] == [8, 32]
    assert curve.member_type == "fold"
    assert curve.test is not None
    assert curve.test.corrected
    assert sweep.figure.is_file()


def test_what_each_part_says_is_told_once(tmp_path: Path) -> None:
    """Of folds whose vocabularies differ, in each part."""
    heard: list[str] = []

    class Hears(SweepListener):
        def message(self, text: str) -> None:
            heard.append(text)

    small = write_small(
        tmp_path, BINARY, growing_tokens(), preprocessing={"inputs": "multi_hot"}, epochs=1, validation=KFOLD
    )
    planned = plan_curve(small, Settings("x", tmp_path / "runs"), options=PARTS)
    sweep = run_curve(planned, Hears())
    assert len(runs(sweep)) == 2
    assert len([text for text in heard if "they train in groups, one after the other" in text]) == 1
    assert len(set(heard)) == len(heard)


def test_the_preprocessing_is_fitted_to_the_part(tmp_path: Path) -> None:
    import json

    sweep = trained(tmp_path)
    part, whole = (
        standardized(json.loads((run / "seed-0" / "preprocessing.json").read_text()))["mean"]
        for run in runs(sweep)
    )
    assert part != whole
    np.testing.assert_allclose(whole, numbers()["x_train"][16:].mean(0), rtol=1e-6)


def test_seeds_where_there_are_no_folds(tmp_path: Path) -> None:
    sweep = trained(tmp_path)
    assert [record_of(run)["seeds"] for run in runs(sweep)] == [[0, 1]] * 2
    assert read_size_curve(sweep).member_type == "seed"
    number = len(list_runs(tmp_path / "runs"))
    again = trained(tmp_path)  # trains nothing
    assert (again.id, len(list_runs(tmp_path / "runs"))) == (sweep.id, number)
    more = trained(tmp_path, CurveOptions(fractions=[0.25, 1.0], seeds=3))
    assert more.id != sweep.id


def test_as_many_epochs_where_they_are_asked_for(tmp_path: Path) -> None:
    sweep = trained(tmp_path, CurveOptions(fractions=[0.25, 1.0], seeds=2, same_epochs=True))
    assert [record_of(run)["epochs"] for run in runs(sweep)] == [3, 3]


def test_patience_grows_with_the_epochs(tmp_path: Path) -> None:
    path = write_small(tmp_path, early_stopping={"monitor": "val_loss", "patience": 2})
    planned = plan_curve(path, Settings("x", tmp_path / "runs"), options=PARTS)
    found = [(t.loaded.spec.epochs, t.loaded.spec.early_stopping) for t in planned.plan.trials]
    assert [(n, s.patience) for n, s in found if s is not None] == [(12, 8), (3, 2)]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"validation": "none"}, PARTS, "curve compares scores on validation rows"),
        ({}, CurveOptions(fractions=[1.0]), "there must be two or more, above 0 and at most 1"),
        ({}, CurveOptions(fractions=[0.5, 2.0]), "The fractions of the training rows are 0.5, 2;"),
        ({}, CurveOptions(seeds=1), "A curve needs 2 or more seeds"),
        ({}, CurveOptions(metric="auc"), "metric auc: the spec has no such score. It has loss and mae."),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: Any, options: CurveOptions, message: str) -> None:
    path = write_small(tmp_path, **changes)
    with pytest.raises(UsageError, match=message):
        plan_curve(path, Settings("x", tmp_path / "runs"), options=options)


# --- the sentence ------------------------------------------------------------------------------------------


def curve_of(*values: list[float], next_gain: float | None = None) -> SizeCurve:
    """Losses of three folds on 100, 200, 400, ... rows."""
    points = [
        SizePoint(
            2.0 ** (n - len(values) + 1), "completed", 100 * 2**n, 5, 3, dict(enumerate(own)), 0.1, {}, {}
        )
        for n, own in enumerate(values)
    ]
    gain = points[-2].mean - points[-1].mean
    test = paired_test(values[-2], values[-1])
    return SizeCurve(SweepDirectory(Path("x")), "val_loss", False, "fold", points, gain, test, next_gain)


def test_a_gain_beyond_chance() -> None:
    curve = curve_of([0.90, 0.92, 0.91], [0.70, 0.73, 0.71], next_gain=0.1)
    assert curve.helped
    assert size_sentence(curve) == (
        "More data would probably help. From 100 to 200 rows val_loss became better by 0.1967 ± 0.0033 over "
        "3 folds (p < 0.001). Twice as many rows may bring about 0.1000 more if the curve goes on as it did, "
        "which no rows have shown."
    )


def test_a_gain_within_chance() -> None:
    curve = curve_of([0.90, 0.92, 0.70], [0.80, 0.93, 0.75])
    assert curve.helped is False
    assert size_sentence(curve) == (
        "It cannot be said that more data would help. From 100 to 200 rows val_loss became better by 0.013 ± "
        "0.045 over 3 folds, which may be chance (p = 0.79): either the curve is nearly flat here, or 3 "
        "folds are too few to see its rise."
    )


def test_a_loss_beyond_chance() -> None:
    text = size_sentence(curve_of([0.70, 0.73, 0.71], [0.90, 0.92, 0.91]))
    assert text.startswith(
        "More data would probably not help this network. From 100 to 200 rows val_loss became"
    )


def test_the_guess_shrinks_as_the_gains_do() -> None:
    from nnrun.experiment.sweeping.size_curve_result import _next_gain

    points = curve_of([1.0] * 3, [0.8] * 3, [0.7] * 3).points
    assert _next_gain(points, [0.2, 0.1]) == pytest.approx(0.05)
    assert _next_gain(points, [0.1, 0.2]) == pytest.approx(0.2)
    assert _next_gain(points, [-0.1, 0.2]) is None
    assert _next_gain(points[1:], [0.1]) is None


def test_losses_in_units_of_each_part_are_not_compared(tmp_path: Path) -> None:
    """Targets are standardized by the rows of each part, so that val_loss has another unit in each."""
    path = write_small(tmp_path, validation=KFOLD, preprocessing={"targets": "standardize"})
    assert plan_curve(path, Settings("x", tmp_path / "runs")).plan.monitor == "val_mae"
    with pytest.raises(UsageError, match=r"val_loss cannot compare parts .* --metric mae\."):
        plan_curve(path, Settings("x", tmp_path / "runs"), options=CurveOptions(metric="loss"))
    bare = write_small(tmp_path, validation=KFOLD, preprocessing={"targets": "standardize"}, metrics=[])
    with pytest.raises(UsageError, match=r"Add one: --set metrics=\[mae\]\."):
        plan_curve(bare, Settings("x", tmp_path / "runs"))
    plain = write_small(tmp_path, validation=KFOLD)
    assert plan_curve(plain, Settings("x", tmp_path / "runs")).plan.monitor == "val_loss"
