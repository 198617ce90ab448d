"""The scores of a run one by one, each with its rows, interval, baselines, and what makes it better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nnrun.experiment.finished.kept_scores import kept_scores
from nnrun.experiment.finished.record_text import linear_scores
from nnrun.experiment.finished.run_scores import read_run_spec
from nnrun.experiment.finished.used_weights import UsedWeights, recorded_weights
from nnrun.records import LookCount, RunDirectory, RunRecord
from nnrun.spec import schema
from nnrun.spec.score_columns import INNER
from nnrun.validation.conformal import share_interval

_VALIDATION = "val_"
_ACCURACY = "accuracy"


@dataclass(frozen=True)
class CardScore:
    """One score.

    Attributes:
        name: the measure: `loss`, `mae`, of several outputs `<output>_mae`.
        split: on which rows.
        value: of one network, of one average of networks, or the mean over several.
        std: the standard deviation over several; None for one.
        interval: the 95 % interval of this very value: of a mean over folds or seeds, or of a share of test
            rows; None where none is known.
        baseline: what the best constant scores on the same rows; None where it is not known.
        linear: what a linear model scores there; likewise.
        caution: why new rows may score worse: `optimistic: these rows chose the epoch`; empty where nothing
            is known that makes it so.
    """

    name: str
    split: Literal["test", "validation"]
    value: float
    std: float | None = None
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    linear: float | None = None
    caution: str = ""


def scores_of(
    run: RunDirectory,
    record: RunRecord,
    spec: schema.ExperimentSpec,
    used: UsedWeights,
    looks: LookCount | None,
) -> list[CardScore]:
    """All that a run's record knows of the weights that are used: on the test set, then on validation rows.

    None of a smoke run.

    Args:
        run: its folder.
        record: the run's.
        spec: its spec.
        used: the weights.
        looks: how often its test set was looked at, by experiments of its name and by any; None for never.
    """
    if record.smoke:
        return []  # they mean nothing, and a site of models would show them
    return [*_test_scores(record, spec, used, looks), *_validation_scores(run, record, spec, used)]


def parent_scores(run: RunDirectory, record: RunRecord) -> list[CardScore]:
    """What the run scored on validation rows that this one was trained after, where it lies beside it."""
    if record.parent is None or record.ensemble is not None:
        return []
    parent = RunDirectory(run.runs_dir / record.parent)
    if not parent.is_run():
        return []
    of_parent = parent.read_record()
    used = recorded_weights(of_parent)
    return [] if used is None else _validation_scores(parent, of_parent, read_run_spec(parent), used)


def _test_scores(
    record: RunRecord, spec: schema.ExperimentSpec, used: UsedWeights, looks: LookCount | None
) -> list[CardScore]:
    if record.test_epoch is not None and used.epoch not in (None, record.test_epoch):
        return []  # other weights were measured
    many = looks.by_any if looks is not None else len(record.test_uses)
    why = f"perhaps optimistic: this test set was looked at {many} times" if many > 1 else ""
    return [
        CardScore(
            name,
            "test",
            value,
            record.test_std.get(name),
            _interval_of_share(name, value, record, spec),
            *_beside(record, name, "test"),
            why,
        )
        for name, value in record.test.items()
        if value is not None
    ]


def _validation_scores(
    run: RunDirectory, record: RunRecord, spec: schema.ExperimentSpec, used: UsedWeights
) -> list[CardScore]:
    std: Mapping[str, float | None] = {}
    intervals: Mapping[str, Sequence[float]] = {}
    if record.is_nested and record.nested is not None:
        scores, std, intervals = record.listed_scores, record.last_std, record.nested.interval
    elif record.ensemble is not None:
        whole = len(used.members) == len(record.member_ids)  # of one member alone nothing is recorded
        scores = record.listed_scores if whole else {}
        intervals = {f"{_VALIDATION}{name}": of for name, of in record.ensemble.validation_interval.items()}
    else:
        kept = kept_scores(run, record, spec, used)
        scores, std, intervals = kept.scores, kept.std, kept.interval
    found = []
    for column, value in scores.items():
        name = column.removeprefix(_VALIDATION)
        if name != column and value is not None:
            interval = intervals.get(column)
            found.append(
                CardScore(
                    name,
                    "validation",
                    value,
                    std.get(column),
                    None if interval is None else (interval[0], interval[1]),
                    *_beside(record, name, "validation"),
                    _why_optimistic(record, used),
                )
            )
    return found


def _beside(record: RunRecord, name: str, split: str) -> tuple[float | None, float | None]:
    """What the best constant and a linear model score on the same rows, where these were the rows."""
    if record.baseline_on != split:
        return None, None
    return record.baseline.get(name), linear_scores(record).get(name)


def _why_optimistic(record: RunRecord, used: UsedWeights) -> str:
    """Why validation scores are too good."""
    at_best = used.chosen_on_validation or (bool(record.best) and used.epoch == record.best_epoch)
    whys = []
    on_inner = (record.chosen_by or "").startswith(INNER)
    if record.ensemble is not None:
        if record.ensemble.optimistic:
            whys.append("these rows chose the networks' epochs")
    elif at_best and record.chosen_by is not None and not on_inner and not record.is_nested:
        whys.append("these rows chose the epoch")
    if record.sweep is not None and not record.is_nested:
        whys.append("trials of a sweep were compared on them")
    return f"optimistic: {' and '.join(whys)}" if whys else ""


def _interval_of_share(
    name: str, value: float, record: RunRecord, spec: schema.ExperimentSpec
) -> tuple[float, float] | None:
    """Of the share of test rows that are right, of one model and without weights of rows."""
    one_model = record.member_type is None or record.ensemble is not None
    weighted = getattr(spec.dataset, "weight", None) is not None
    rows = record.rows.test
    if name != _ACCURACY or not rows or not one_model or weighted or record.test_std:
        return None
    right = round(value * rows)
    return share_interval(right, rows) if abs(right - value * rows) < 1e-3 else None
