"""How a trial of a sweep ended: as its run tells it, or as an earlier trial of the same spec did."""

from __future__ import annotations

from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import RunRecord, TrialRecord
from nnrun.spec.wording import listing


def take_in(trial: TrialRecord, run_id: str, found: RunRecord, monitor: str) -> None:
    """What the record of a trial's run says of how it ended."""
    trial.run, trial.status = run_id, found.status or "failed"
    trial.seconds, trial.error = found.training_seconds, found.error
    trial.stopped_by_time = found.stopped_by_time_at
    if trial.status == "completed":
        trial.score, trial.epoch = found.best.get(monitor), found.best_epoch
        if found.nested is not None and (diverged := found.nested.diverged):
            outer = listing(
                [str(n) for n in sorted({n // found.nested.inner_folds for n in diverged})], "and"
            )
            trial.status, trial.score, trial.epoch = "diverged", None, None
            trial.error = f"its loss stopped being a finite number within outer fold {outer}"
        elif trial.score is None:
            trial.status, trial.error = "failed", f"no epoch ended with a finite {monitor}"


def take_over(trial: TrialRecord, same: TrialRecord, listener: SweepListener) -> None:
    """A trial whose spec is that of an earlier one ends as that did: it would compute the same."""
    trial.run, trial.status, trial.error = same.run, same.status, same.error
    trial.score, trial.epoch = same.score, same.epoch
    listener.message(f"trial {trial.number} has the same spec as trial {same.number}: not trained again")
