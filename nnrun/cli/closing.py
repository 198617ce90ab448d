"""The closing screens of a run (its scores next to the baseline) and of a sweep, and what to type next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nnrun.cli.output import (
    MOST_MEMBERS,
    aligned,
    in_blocks,
    terminal_width,
    wrapped,
)
from nnrun.errors import printable
from nnrun.experiment.finished.decision_text import decisions_text
from nnrun.experiment.finished.ensemble_text import ensemble_heading, ensemble_text
from nnrun.experiment.finished.look_text import looks_text
from nnrun.experiment.finished.nested_text import (
    choices_text,
    nested_columns,
    nested_heading,
    nested_interval_text,
    nested_rows,
    nested_text,
)
from nnrun.experiment.finished.record_text import (
    SMOKE_TEXT,
    baseline_text,
    caution_text,
    coverage_text,
    interval_text,
    kept_text,
    member_rows,
    procedure_text,
    rows_in_words,
    score_table,
    spread_rows,
    taken_over_headline,
    time_limit_text,
    unfinished_text,
)
from nnrun.experiment.finished.sweep_text import (
    MOST_SHOWN,
    best_trial_text,
    board,
    failures_text,
    optimism_text,
    sweep_headline,
)
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.records import MEASURING_COMMANDS
from nnrun.spec.duration import canonical_duration, seconds_of
from nnrun.spec.score_columns import INNER
from nnrun.spec.wording import counted, with_std

if TYPE_CHECKING:
    from nnrun.records import LookCount, RunDirectory, RunRecord, SweepDirectory, SweepRecord
    from nnrun.records.run_record import NestedRecord


_MOST_STOPPED = 5
"""So many folds are named with the epochs at which early stopping ended them; of more the range."""


def closing_text(
    run: RunDirectory, record: RunRecord, looks: LookCount | None = None, *, verbose: bool = False
) -> str:
    """The closing screen of a run, from its record only.

    Args:
        run: its folder.
        record: what its run.json holds.
        looks: how often its test set has been looked at up to now, others after it included; None
            where the record, which knows its own looks alone, is to tell.
        verbose: the scores of each fold or seed, however many there are.
    """
    width = terminal_width()
    blocks = [wrapped(_headline(record, verbose=verbose), width)]
    caution = caution_text(record)
    if caution:
        blocks.append(wrapped(caution, width))
    scores = score_table(record)
    if scores is not None:
        blocks.append(f"{wrapped(scores.heading, width)}\n{in_blocks(scores.rows(), width)}")
    each = member_rows(record)
    if each and (verbose or len(each[0]) - 1 <= MOST_MEMBERS):
        blocks.append(in_blocks(each, width))
    elif spread := spread_rows(record):
        blocks.append(f"{in_blocks(spread, width)}\n`nnrun show` has each {record.member_type}")
    remarks = (
        _why_it_ended(record),
        _chosen_from(record),
        record.own_verdict,
        ensemble_text(record),
        procedure_text(record),
        interval_text(record),
        coverage_text(record.coverage),
        _weights(record),
        decisions_text(record),
        baseline_text(record) if scores is not None else "",
        _test_uses(run, record, looks),
    )
    if any(remarks):
        blocks.append(wrapped("\n".join(text for text in remarks if text), width))
    blocks.append(_next_steps(run, record))
    return printable("\n\n".join(blocks))


def _headline(record: RunRecord, *, verbose: bool) -> str:
    if record.trained_elsewhere:
        text = f"{record.name}: {taken_over_headline(record)}"
        return f"{text}\n{SMOKE_TEXT}" if record.smoke else text
    status = str(record.status)
    done = {"completed": "trained", "running": "still training"}.get(status, status)
    text = f"{record.name}: {done}, {counted(record.epochs_run, 'epoch')} on {record.device}"
    if record.training_seconds is not None:
        text += f" in {record.training_seconds:.1f} s"
    if record.rows.train:
        text += f"; {rows_in_words(record.rows, ', ')}{_of_members(record)}"
    stopped = [(member.id, member.stopped_early) for member in record.members if member.stopped_early]
    if stopped and (verbose or len(stopped) <= _MOST_STOPPED):
        each = ", ".join(f"{record.member_type} {n} at epoch {epoch}" for n, epoch in stopped)
        text += f"\nStopped early: {each}."
    elif stopped:
        epochs = [epoch for _, epoch in stopped]
        which = f"{len(stopped)} of {len(record.members)}"
        text += f"\nStopped early: {which} {record.member_type}s, at epochs {min(epochs)} to {max(epochs)}."
    elif record.stopped_early:
        text += f"\nStopped early at epoch {record.stopped_early}."
    if timed := time_limit_text(record):
        text += f"\n{timed}"
    unfinished = unfinished_text(record)
    text += f"\n{unfinished}" if unfinished else ""
    text += f"\nThe model is {ensemble_heading(record)}." if record.ensemble is not None else ""
    return f"{text}\n{SMOKE_TEXT}" if record.smoke else text


def _of_members(record: RunRecord) -> str:
    ids = record.member_ids
    if not ids:
        return ""
    if record.member_type == "seed":
        return f"; seed {ids[0]} only" if len(ids) == 1 else f"; {len(ids)} seeds from {ids[0]}"
    return f" in fold {ids[0]} only" if len(ids) == 1 else f" in each of {len(ids)} folds"


def _why_it_ended(record: RunRecord) -> str:
    """Why a run did not complete, where its record knows."""
    error = (record.error or "").rstrip(".")
    return f"{error[:1].upper()}{error[1:]}." if error and record.status != "completed" else ""


def _chosen_from(record: RunRecord) -> str:
    """Why a final run trained for as long as it did, where another's validation decided."""
    from nnrun.validation.summary import monitor_mode  # it brings NumPy

    chosen = record.chosen_from
    if chosen is None or chosen.epoch != record.epochs_run:
        return ""
    column, over = chosen.column, chosen.smoothed_over
    curve = f"the smoothed mean {column}" if chosen.smoothed else column
    if over is not None and over > 1:
        curve = f"the mean {column}, smoothed over {over} epochs,"
    end = "highest" if monitor_mode(column, record.directions) == "max" else "lowest"
    return f"Trained for {counted(chosen.epoch, 'epoch')}, where {curve} of {chosen.parent} was {end}."


def _weights(record: RunRecord) -> str:
    """Of which epoch the kept weights are, and what is to be known of their scores."""
    used = recorded_weights(record)
    if used is None:
        return ""
    text = f"Weights: {used.text}"
    kept = kept_text(record)  # then they stand in the table
    scores = [f"{n} {with_std(v)}" for n, v in record.last.items() if n.startswith("val_") and not kept]
    of_last_row = used.epoch == record.epochs_run and not record.weights_averaged
    if len(used.epochs) == 1 and used.others and scores and of_last_row:
        text += f" ({', '.join(scores)})"
    text += f"; {used.others}." if used.others else "."
    # Of outer folds the scores above are of the average of these very weights.
    if record.ensemble is not None or not record.best or record.has_outer_scores:
        return text
    if kept:
        text += f" {kept}"
    elif used.chosen_apart:
        kind = record.member_type
        text += (
            f" Each {kind}'s epoch was chosen on the rows that score it, so the validation scores of these "
            f"weights are optimistic; the scores above are of one epoch for all {kind}s."
        )
    elif used.chosen_on_inner_rows and record.rows.validation and used.epoch != record.best_epoch:
        text += (
            f" The scores above are of epoch {record.best_epoch}; `nnrun evaluate RUN --split validation` "
            "scores these weights."
        )
    return text


def _test_uses(run: RunDirectory, record: RunRecord, looks: LookCount | None) -> str:
    """How often the test set was looked at, by this run and by others; or why not."""
    if record.command == "final" and record.reproduces:
        return f"It repeats {record.reproduces} and did not look at the test set."
    if record.command == "final" and not record.test_uses and record.status == "completed":
        return "The data set has no test set, so nothing was tested."
    return looks_text(record, looks, run.runs_dir)


def _next_steps(run: RunDirectory, record: RunRecord) -> str:
    path = run.word
    steps = [f"nnrun train --resume {path}"] if run.can_go_on(record) else []
    steps += [f"nnrun plot {path}"] if record.epochs_run else [f"nnrun show {path}"]
    if record.ensemble is not None:
        steps.append(f"nnrun predict {path} INPUT")
    elif record.status == "completed" and not record.smoke and record.best_epoch and not record.is_inner:
        steps.append(f"nnrun final {path}{_as_they_are(record)}")
        if record.command != "final" and (more := _more_time(run, record)):
            steps.append(f"nnrun train --resume {path} --time {more}")
    origin = [f"From   {record.parent}"] if record.parent else []
    return "\n".join(
        [*origin, f"Files  {run.path}", f"Next   {steps[0]}", *(f"       {step}" for step in steps[1:])]
    )


def _as_they_are(record: RunRecord) -> str:
    """The option that averages the networks that a run has; empty where one trained anew is as good."""
    if len(record.members) < 2:
        return ""
    # Weights that were chosen by rows that score nothing make a good model as they are.
    chosen_apart = (record.chosen_by or "").startswith(INNER)
    # Only networks of folds get the linear model that the spec asks for.
    gets_linear_member = record.linear_member and record.member_type == "fold"
    return f" --members {record.member_type}s" if chosen_apart or gets_linear_member else ""


def _more_time(run: RunDirectory, record: RunRecord) -> str | None:
    """Twice the time that ended a run, which can go on from its last epoch; None where it cannot."""
    one_after_the_other = (record.networks_at_once or 0) < len(record.members)
    if record.stopped_by_time_at is None or record.time_limit is None or one_after_the_other:
        return None
    return canonical_duration(2 * seconds_of(record.time_limit)) if run.has_checkpoint() else None


def sweep_closing_text(sweep: SweepDirectory, record: SweepRecord, *, every: bool = False) -> str:
    """The closing screen of a sweep, from its record only; with `every` the table has all of its trials."""
    width = terminal_width()
    blocks = [wrapped(sweep_headline(record), width)]
    if record.nested is not None:
        blocks += _nested_blocks(record, record.nested, width)
    scored = len(record.ranked()) if record.has_best else 0
    if scored or (every and record.trials):
        shown = f"the best {MOST_SHOWN}\n" if scored > MOST_SHOWN and not every else ""
        if record.nested is not None and record.has_best:
            shown += "all trials, by the mean over the inner folds of all outer folds\n"
        blocks.append(f"{shown}{aligned(board(record, every=every, gone=sweep.gone(record)))}")
    best = best_trial_text(record) if every else ""
    remarks = [failures_text(record), "\n".join(text for text in (best, optimism_text(record)) if text)]
    blocks += [wrapped(text, width) for text in remarks if text]
    blocks.append(_sweep_next_steps(sweep, record))
    return printable("\n\n".join(blocks))


def _nested_blocks(record: SweepRecord, nested: NestedRecord, width: int | None) -> list[str]:
    """What was chosen within the outer folds, how it scores there, and of what that is the score."""
    names, columns = nested_columns(nested)
    table = [["", *columns], *([name, *(cells[name] for cells in columns.values())] for name in names)]
    tried = counted(record.total, "trial")
    if not record.has_best:
        tried = f"{counted(record.total // nested.k, 'trial')} in each outer fold"
    remarks = (
        choices_text(nested, tried),
        nested_text(nested, has_best=record.has_best),
        nested_interval_text(nested),
    )
    return [
        f"{wrapped(nested_heading(nested), width)}\n{aligned(table)}",
        in_blocks(nested_rows(nested), width),
        wrapped("\n".join(text for text in remarks if text), width),
    ]


def _sweep_next_steps(sweep: SweepDirectory, record: SweepRecord) -> str:
    lines = [f"Files  {sweep.path}"]
    if sweep.figure.is_file():
        lines.append(f"Figure {sweep.figure}")
    steps = [] if record.status == "completed" else ["the same command resumes this sweep"]
    if record.command in MEASURING_COMMANDS:
        steps = [f"the same command (nnrun {record.command}) shows what it measured"]
    if record.ended_by_time is not None:
        steps = [f"nnrun sweep --resume {sweep.word}   to go on"]
    if record.has_best and record.command not in MEASURING_COMMANDS:
        lines.append(f"Best   {sweep.best_spec}")
        best, file = record.ranked()[0], shlex.quote(str(sweep.best_spec))
        if record.nested is not None and record.nested.members is not None:
            steps.append(f"nnrun kfold {file}")  # whose networks are then the members
        else:
            steps.append(f"nnrun train {file}")
            if best.number not in sweep.gone(record):
                run = sweep.run_of(best)
                steps.append(f"nnrun final {run.word}{_as_they_are(run.read_record())}")
    lines += [f"{'       ' if place else 'Next   '}{step}" for place, step in enumerate(steps)]
    return "\n".join(lines)


def sweep_document(sweep: SweepDirectory, record: SweepRecord) -> dict[str, Any]:
    """A sweep as `--json` gives it: its record, where its files are, and which trials' runs were deleted."""
    gone = sweep.gone(record)
    return {
        **record.to_json(),
        "path": str(sweep.path),
        "best_spec": str(sweep.best_spec) if record.has_best else None,
        "figure": str(sweep.figure) if sweep.figure.is_file() else None,
        "runs_gone": [trial.run for trial in record.trials if trial.number in gone],
    }
