"""What a run scored, as its files tell: at its best epoch network by network, and on the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnrun.history_table import HistoryTable
from nnrun.records import RunDirectory, RunRecord, member_type_of
from nnrun.records.run_record import NestedRecord
from nnrun.spec import schema
from nnrun.spec.reading.load import read_kept_spec
from nnrun.validation.summary import mean_and_deviation


@dataclass(frozen=True)
class Score:
    """A score, or the mean over folds or seeds.

    Attributes:
        mean: NaN where a network's is not finite.
        std: standard deviation over the networks (ddof 1); None for one network.
    """

    mean: float
    std: float | None = None


@dataclass(frozen=True, eq=False)
class RunScores:
    """A run, as far as it can be compared.

    Attributes:
        run: its folder.
        record: what its run.json holds.
        spec: every default filled in.
        validation: `val_<measure>` → member id → value at the best epoch, of outer folds at the epoch chosen
            within each; empty where there is none yet.
    """

    run: RunDirectory
    record: RunRecord
    spec: schema.ExperimentSpec
    validation: Mapping[str, Mapping[int, float]]

    @property
    def member_ids(self) -> tuple[int, ...]:
        """The folds or seeds, ascending; the spec's seed for one network."""
        return tuple(sorted(self.record.member_ids)) or (self.spec.seed,)

    @property
    def validation_scores(self) -> dict[str, Score]:
        """`val_<measure>` → the mean over the networks at the best epoch."""
        return {name: score_of(list(values.values())) for name, values in self.validation.items()}

    @property
    def test(self) -> dict[str, Score]:
        """Measure → score on the test set."""
        std = self.record.test_std
        return {name: Score(v, std.get(name)) for name, v in self.record.test.items() if v is not None}

    @property
    def tested_epochs(self) -> tuple[int, ...]:
        """The epochs whose weights were tested, ascending."""
        networks = self.record.networks if self.record.test_uses else ()
        epochs = {network.test_epoch or network.weights_epoch for network in networks}
        return tuple(sorted(epoch for epoch in epochs if epoch is not None))


def read_run_scores(run: RunDirectory) -> RunScores:
    """Read what a run scored. No data are loaded, and nothing is trained or measured.

    Raises:
        DataError, SpecError: a file of the run is missing or damaged.
    """
    record, spec = run.read_record(), read_run_spec(run)
    if record.has_outer_scores and record.nested is not None:
        validation = _of_outer_folds(record.nested)
    else:
        validation = validation_at(run, record.best_epoch, spec.seed) if record.best_epoch else {}
    return RunScores(run, record, spec, validation)


def _of_outer_folds(nested: NestedRecord) -> dict[str, dict[int, float]]:
    """The same of outer folds, each at the epoch that was chosen within it; empty before all have ended."""
    if not nested.scores:
        return {}
    each = {name: {fold.fold: fold.scores.get(name) for fold in nested.folds} for name in nested.scores}
    return {
        name: {fold: math.nan if value is None else value for fold, value in values.items()}
        for name, values in each.items()
    }


def read_run_spec(run: RunDirectory) -> schema.ExperimentSpec:
    """The spec that a run kept, which need not be one that could run here and now."""
    return read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")


def validation_at(run: RunDirectory, epoch: int, seed: int = 0) -> dict[str, dict[int, float]]:
    """`val_<measure>` → member id → value at an epoch, as the history has them.

    A run of one network has `seed` in place of the id.

    Raises:
        DataError: the history is missing or damaged.
    """
    return validation_in(run.read_history_table(), epoch, seed)


def validation_in(history: HistoryTable, epoch: int, seed: int = 0) -> dict[str, dict[int, float]]:
    """The same of a history that has been read."""
    table = history.rows(history["epoch"] == epoch)
    member_type = member_type_of(table.columns)
    ids = [seed] * len(table) if member_type is None else table[member_type].tolist()
    columns = [name for name in table.columns if name.startswith("val_")]
    return {
        name: dict(sorted(zip(map(int, ids), table.floats(name).tolist(), strict=True)))
        for name in columns
        if not np.isnan(table.floats(name)).all()
    }


def score_of(values: list[float]) -> Score:
    """The mean over networks, and how far they lie apart."""
    if not np.isfinite(values).all():
        return Score(float("nan"))
    return Score(*mean_and_deviation(values))
