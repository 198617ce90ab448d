"""What a learning curve over training rows found: scores for each fraction, whether more data would help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from nnrun.errors import DataError
from nnrun.experiment.evaluating.compare import overlap
from nnrun.experiment.finished.run_scores import RunScores, read_run_scores
from nnrun.records import MemberType, RunDirectory, SweepDirectory, TrialStatus
from nnrun.spec import schema
from nnrun.spec.wording import counted
from nnrun.validation.paired import PairedTest, p_text, paired_test, with_error

COMMAND = "curve"
"""What the records of a curve say of the command that made them."""

KEY = "train_fraction"
"""The key of the spec that is swept."""


@dataclass(frozen=True)
class SizePoint:
    """What came of one fraction.

    Attributes:
        fraction: of the training rows of each fold.
        status: `completed`, `diverged`, ...
        rows: training rows, the mean over folds; 0 where it did not train.
        epochs: that were trained.
        epoch: the best, whose scores these are; None where there is none.
        validation: fold or seed → the compared score on its validation rows.
        training: the mean score on the training rows.
        scores: every measure → its mean at that epoch, those of validation rows with `val_`.
        std: the same for standard deviations over the folds or seeds.
    """

    fraction: float
    status: TrialStatus
    rows: int
    epochs: int
    epoch: int | None
    validation: Mapping[int, float]
    training: float | None
    scores: Mapping[str, float | None]
    std: Mapping[str, float | None]

    @property
    def mean(self) -> float:
        """Of the compared score; NaN without one."""
        return float(np.mean(list(self.validation.values()))) if self.validation else math.nan


@dataclass(frozen=True)
class SizeCurve:
    """A curve.

    Attributes:
        sweep: its folder.
        monitor: the compared column, such as `val_loss`.
        maximize: whether it is better the higher it is.
        member_type: `fold` or `seed`.
        points: one for each fraction, ascending.
        gain: of the last step, how much better the score became; None where there are not two scores.
        test: the paired test of that step over folds or seeds; None where none is known, as in time.
        next_gain: a guess of what as many rows again would bring; None where nothing speaks for one.
    """

    sweep: SweepDirectory
    monitor: str
    maximize: bool
    member_type: MemberType
    points: Sequence[SizePoint]
    gain: float | None
    test: PairedTest | None
    next_gain: float | None

    @property
    def helped(self) -> bool | None:
        """Whether the last step made the score better by more than chance; None where that is not known."""
        if self.gain is None or self.test is None or self.test.p is None:
            return None
        return self.gain > 0 and self.test.p < _CHANCE


_CHANCE = 0.05


def read_size_curve(sweep: SweepDirectory) -> SizeCurve:
    """What a curve found, from its records.

    Raises:
        DataError: they are damaged, or those of another sweep.
    """
    record = sweep.read_record()
    if record.command != COMMAND or not record.trials:
        raise DataError(f"{sweep.path} is not a learning curve over training rows.")
    points, last, kind = [], None, None
    for trial in record.trials:
        fraction = float(trial.values[KEY])
        if trial.run is None:
            points.append(SizePoint(fraction, trial.status, 0, 0, None, {}, None, {}, {}))
            continue
        last = read_run_scores(RunDirectory(sweep.run_of(trial).path))
        kind = last.record.member_type or kind
        points.append(_point(fraction, trial.status, last, record.monitor))
    points.sort(key=lambda point: point.fraction)
    assert kind is not None or last is None, "a curve trains folds or seeds"
    sign = 1 if record.maximize else -1
    gains = [sign * (after.mean - before.mean) for before, after in pairwise(points)]
    gain = gains[-1] if gains and math.isfinite(gains[-1]) else None
    test = None if last is None or gain is None else _test(points[-2], points[-1], last)
    curve = SizeCurve(
        sweep, record.monitor, record.maximize, kind or "fold", points, gain, test, next_gain=None
    )
    if not curve.helped:
        return curve
    return SizeCurve(**{**vars(curve), "next_gain": _next_gain(points, gains)})


def _point(fraction: float, status: TrialStatus, run: RunScores, monitor: str) -> SizePoint:
    record = run.record
    low, high = record.rows.ranges.get("train") or [record.rows.train] * 2
    own = run.validation.get(monitor, {})
    finite = all(math.isfinite(value) for value in own.values()) and status == "completed"
    return SizePoint(
        fraction=fraction,
        status=status,
        rows=round((low + high) / 2),
        epochs=record.epochs_run,
        epoch=record.best_epoch,
        validation=own if finite else {},
        training=record.best.get(monitor.removeprefix("val_")),
        scores=record.best,
        std=record.best_std,
    )


def _test(before: SizePoint, after: SizePoint, run: RunScores) -> PairedTest | None:
    """Over the folds or seeds that both have; none of a time series, whose folds share rows."""
    common = sorted(before.validation.keys() & after.validation.keys())
    if len(common) < 2 or isinstance(run.spec.validation, schema.TimeSeries):
        return None
    pairs = [[point.validation[member] for member in common] for point in (before, after)]
    return paired_test(*pairs, overlap=overlap(run))


def _next_gain(points: Sequence[SizePoint], gains: Sequence[float]) -> float | None:
    """The last gain, smaller by as much as it is smaller than the one before.

    None unless three fractions were each as many times larger than the one before, and both steps gained.
    """
    if len(gains) < 2 or not (gains[-2] > 0 and math.isfinite(gains[-2])):
        return None
    ratios = [after.fraction / before.fraction for before, after in pairwise(points[-3:])]
    if not math.isclose(*ratios, rel_tol=1e-6):
        return None
    return gains[-1] * min(1.0, gains[-1] / gains[-2])


def size_sentence(curve: SizeCurve) -> str:
    """Whether more data would help, as far as the last step tells."""
    if curve.gain is None:
        return "Whether more data would help cannot be said: the last two parts have no scores to compare."
    before, after = curve.points[-2:]
    kinds = counted(max(len(after.validation), 1), curve.member_type)
    step = f"From {before.rows:,} to {after.rows:,} rows {curve.monitor}"
    test, amount = curve.test, with_error(abs(curve.gain))
    if test is not None:
        amount = with_error(abs(curve.gain), test.standard_error)
    became = f"{step} became {'better' if curve.gain > 0 else 'worse'} by {amount} over {kinds}"
    if curve.gain == 0:
        became = f"{step} stayed the same over {kinds}"
    if test is None or test.p is None:
        why = "folds of a time series share rows, so" if test is None else "the spread cannot be estimated:"
        return f"{became}; {why} whether that is more than chance is not known."
    if curve.helped:
        return f"More data would probably help. {became} ({p_text(test.p)}).{_guess(curve)}"
    if test.p < _CHANCE:
        return f"More data would probably not help this network. {became} ({p_text(test.p)})."
    return (
        f"It cannot be said that more data would help. {became}, which may be chance ({p_text(test.p)}): "
        f"either the curve is nearly flat here, or {kinds} are too few to see its rise."
    )


def _guess(curve: SizeCurve) -> str:
    if curve.next_gain is None:
        return ""
    before, after = curve.points[-2:]
    times = after.fraction / before.fraction
    again = "Twice as many rows" if math.isclose(times, 2) else f"{times:.3g} times as many rows"
    return (
        f" {again} may bring about {with_error(curve.next_gain)} more if the curve goes on as it did, which "
        "no rows have shown."
    )


def draw_size_curve(curve: SizeCurve, path: Path) -> None:
    """Draw the scores against the rows into a file, .png or .svg."""
    from nnrun.figures.curve_figure import save  # they bring Matplotlib, which takes half a second
    from nnrun.figures.size_figure import size_figure

    shown = [point for point in curve.points if point.validation]
    figure = size_figure(
        [point.rows for point in shown],
        [list(point.validation.values()) for point in shown],
        [math.nan if point.training is None else point.training for point in shown],
        measure=curve.monitor.removeprefix("val_"),
        kind=curve.member_type,
    )
    save(figure, path)
