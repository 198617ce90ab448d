"""What the weights that are used score on validation rows: those of each network's own epoch.

The scores of the best epoch (`RunRecord.best`) are of one epoch for all folds or seeds. Early stopping may
have restored another epoch's weights in each, and those are the ones that predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnrun.errors import DataError
from nnrun.experiment.finished.run_scores import validation_at
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.finished.verdict import limits_of, possible
from nnrun.records import RunDirectory, RunRecord
from nnrun.spec import schema
from nnrun.validation.summary import interval_of_mean, mean_and_deviation


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
    each: list[dict[str, float]] = []
    for member, epoch in zip(used.members, used.epochs, strict=True):
        if epoch is None or epoch.averaged:
            return KeptScores()
        try:
            found = validation_at(run, epoch.epoch)
        except DataError:  # a folder that was shared by an older nnrun may lack the history
            return KeptScores()
        number = 0 if member is None else member.id
        each.append({name: values[number] for name, values in found.items() if number in values})
    return mean_scores(each, spec)


def mean_scores(each: Sequence[Mapping[str, float]], spec: schema.ExperimentSpec) -> KeptScores:
    """The mean over networks of each score that all have, its deviation and its interval."""
    names = [name for name in each[0] if all(np.isfinite(of.get(name, np.nan)) for of in each)]
    scores: dict[str, float] = {}
    std: dict[str, float] = {}
    for name in names:
        scores[name], deviation = mean_and_deviation([of[name] for of in each])
        if deviation is not None:
            std[name] = deviation
    return KeptScores(scores, std, intervals(scores, std, len(each), spec))


def intervals(
    scores: Mapping[str, float], std: Mapping[str, float], n: int, spec: schema.ExperimentSpec
) -> dict[str, list[float]]:
    """The 95 % intervals (Student's t) of means over n networks, within what each measure can reach."""
    limits = limits_of(spec)
    return {name: possible(name, *interval_of_mean(scores[name], of, n), limits) for name, of in std.items()}
