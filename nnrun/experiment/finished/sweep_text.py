"""What the record of a sweep shows: a headline, a table of trials, what was chosen, what that is worth."""

from __future__ import annotations

from collections.abc import Collection

from nnrun.experiment.finished.record_text import SMOKE_TEXT
from nnrun.records import MEASURING_COMMANDS, SweepRecord, TrialRecord
from nnrun.spec.wording import counted, with_std
from nnrun.spec.writing.value_labels import key_labels, value_label, values_label

MOST_SHOWN = 10
_WITHOUT_SCORE = ("pruned", "diverged", "failed", "interrupted", "running", "waiting")


def board(
    record: SweepRecord, *, with_runs: bool = True, every: bool = False, gone: Collection[int] = ()
) -> list[list[str]]:
    """The best trials as rows of a table, its headings first.

    With `every` all of them, those without a score below, with how they ended in its place; each with its
    outer fold where trials are those of one. `gone` are the numbers of trials whose run has been deleted.
    """
    shown = record.ranked()[: None if every else MOST_SHOWN]
    if record.command in MEASURING_COMMANDS:
        shown.sort(key=lambda trial: trial.number)  # nothing is chosen among them
    if every:
        shown += [trial for trial in record.trials if trial.score is None]
    keys = list(shown[0].values) if shown else []
    labels = key_labels(keys)
    of_folds = every and any(trial.outer_fold is not None for trial in shown)

    def row(trial: TrialRecord) -> list[str]:
        fold = "" if trial.outer_fold is None else str(trial.outer_fold)
        score = trial.status if trial.score is None else with_std(trial.score)
        epoch = "" if trial.epoch is None else str(trial.epoch)
        values = [value_label(trial.values[key]) if key in trial.values else "" for key in keys]
        mark = " (gone)" if trial.number in gone else ""
        run = [f"{trial.run or ''}{mark}"] if with_runs else []
        return [str(trial.number), *([fold] if of_folds else []), *values, score, epoch, *run]

    columns = [*(["outer fold"] if of_folds else []), *(labels[key] for key in keys)]
    headings = ["trial", *columns, record.monitor, "epoch", *(["run"] if with_runs else [])]
    return [headings, *map(row, shown)]


def sweep_headline(record: SweepRecord) -> str:
    """`reuters: done, 23 of 24 trials with a score (1 diverged)`, and what the time limit left out."""
    done = {"completed": "done", "running": "not finished"}.get(record.status, record.status)
    scored = len(record.ranked())
    text = f"{record.name}: {done}, {scored} of {counted(record.total, 'trial')} with a score"
    counts = [(status, sum(trial.status == status for trial in record.trials)) for status in _WITHOUT_SCORE]
    others = ", ".join(f"{number} {status}" for status, number in counts if number)
    text += f" ({others})" if others else ""
    if record.ended_by_time is not None:
        left = counted(record.left, "trial")
        text += f"\nThe time limit of {record.ended_by_time} ended it: {left} left out."
    if cut := sum(trial.stopped_by_time is not None for trial in record.trials):
        text += (
            f"\nTime ended {counted(cut, 'trial')} before the last epoch: their scores are of fewer epochs."
        )
    return f"{text}\n{SMOKE_TEXT}" if record.smoke else text


def best_trial_text(record: SweepRecord) -> str:
    """Which trial is the best, and by what it was chosen; empty where none was chosen among all."""
    if not record.has_best or record.command in MEASURING_COMMANDS:
        return ""
    best, better = record.ranked()[0], "highest" if record.maximize else "lowest"
    return (
        f"Best: trial {best.number} ({values_label(best.values)}), chosen by the {better} {record.monitor}, "
        f"{best.score:.4g} at epoch {best.epoch}."
    )


def failures_text(record: SweepRecord) -> str:
    """The trials that went wrong, each with its error; a line each."""
    wrong = [trial for trial in record.trials if trial.status in ("failed", "diverged")]
    lines = []
    for trial in wrong[:MOST_SHOWN]:
        in_run = f" in {trial.run}" if trial.run else ""
        first_line, _, _ = (trial.error or "").partition("\n")
        lines.append(f"trial {trial.number} {trial.status}{in_run}: {first_line}")
    more = [f"... and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []
    return "\n".join([*lines, *more])


def optimism_text(record: SweepRecord) -> str:
    """What the best score is worth; empty where no trial is the best of all."""
    if not record.has_best or record.command in MEASURING_COMMANDS:
        return ""
    scored = len(record.ranked())
    if scored > 1 and record.nested is not None:
        return (
            f"The best of {scored} validation scores is optimistic: part of it is luck. The outer folds "
            "measure the choice."
        )
    return (
        f"The best of {scored} validation scores is optimistic: part of it is luck. Only rows that were not "
        "used to choose it can measure it."
        if scored > 1
        else "A single trial says nothing about values that were not tried."
    )
