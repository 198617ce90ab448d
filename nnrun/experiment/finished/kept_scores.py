"""What the weights that are used score on validation rows: those of each network's own epoch.

The scores of the best epoch (`RunRecord.best`) are of one epoch for all folds or seeds. Early stopping may
have restored another epoch's weights in each, and those are the ones that predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnrun.errors import DataError
from nnrun.experiment.finished.run_scores import validation_in
from nnrun.experiment.finished.used_weights import UsedWeights, recorded_weights
from nnrun.experiment.finished.verdict import interval_of, pooled_rows
from nnrun.history_table import HistoryTable
from nnrun.records import RunDirectory, RunRecord
from nnrun.records.run_record import MemberRecord
from nnrun.spec import schema
from nnrun.validation.summary import mean_and_deviation


@dataclass(frozen=True)
class KeptScores:
    """Scores of weights, of several networks their mean.

    Attributes:
        scores: `val_<measure>` → value; empty where they are not known.
        std: the standard deviation over several networks; empty for one.
        interval: the 95 % interval of the mean over several networks; likewise.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)
    interval: Mapping[str, Sequence[float]] = field(default_factory=dict)


def kept_scores(
    run: RunDirectory, record: RunRecord, spec: schema.ExperimentSpec, used: UsedWeights
) -> KeptScores:
    """What these weights of a run scored when its history was written.

    None are known of moving averages, which the epochs before the last were not scored with; of an epoch that
    is not recorded; and of an epoch with a score that is not finite.

    Args:
        run: its folder, with the history.
        record: its record.
        spec: its spec, which tells what values a measure can have.
        used: the weights of one of its networks, or of several.
    """
    try:
        each = scores_of_each(run.read_history_table(), used)
    except DataError:  # a folder that was shared by an older nnrun may lack the history
        return KeptScores()
    return mean_scores(each, spec, pooled_rows(record, spec)) if each else KeptScores()


def scores_of_each(history: HistoryTable, used: UsedWeights) -> list[dict[str, float]]:
    """What each network's weights scored on validation rows; none where that of one is not known."""
    each: list[dict[str, float]] = []
    for member, epoch in zip(used.members, used.epochs, strict=True):
        if epoch is None or epoch.averaged:
            return []
        found = validation_in(history, epoch.epoch)
        number = 0 if member is None else member.id
        each.append({name: values[number] for name, values in found.items() if number in values})
    return each


def kept_verdict(history: HistoryTable, record: RunRecord, spec: schema.ExperimentSpec) -> RunRecord:
    """The fields of a run's record that say what its kept weights scored; none where that is not known.

    Args:
        history: the run's.
        record: which weights it kept.
        spec: the experiment.
    """
    found, used = RunRecord(), recorded_weights(record)
    each = scores_of_each(history, used) if used is not None and record.nested is None else []
    if not each or not all(each):
        return found
    mean = mean_scores(each, spec)
    found.kept = dict(mean.scores)
    if mean.std:
        found.kept_std = dict(mean.std)
    assert used is not None, "its scores are known"
    named = [(member, of) for member, of in zip(used.members, each, strict=True) if member is not None]
    found.members = [MemberRecord(member=member.folder, kept=dict(of)) for member, of in named]
    return found


def mean_scores(
    each: Sequence[Mapping[str, float]], spec: schema.ExperimentSpec, rows: int | None = None
) -> KeptScores:
    """The mean over networks of each score that all have, its deviation and its interval."""
    names = [name for name in each[0] if all(np.isfinite(of.get(name, np.nan)) for of in each)]
    scores: dict[str, float] = {}
    std: dict[str, float] = {}
    for name in names:
        scores[name], deviation = mean_and_deviation([of[name] for of in each])
        if deviation is not None:
            std[name] = deviation
    return KeptScores(scores, std, intervals(scores, std, len(each), spec, rows))


def intervals(
    scores: Mapping[str, float],
    std: Mapping[str, float],
    n: int,
    spec: schema.ExperimentSpec,
    rows: int | None,
) -> dict[str, list[float]]:
    """The 95 % intervals of means over n networks; `rows` as for `interval_of`."""
    return {name: interval_of(name, scores[name], of, n, spec, rows) for name, of in std.items()}
