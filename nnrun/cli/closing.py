"""The closing screen of a run: its scores next to the baseline, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnrun.cli.output import (
    MOST_MEMBERS,
    aligned,
    in_blocks,
    nth_look,
    ordinal,
    terminal_width,
    times,
    wrapped,
)
from nnrun.errors import printable
from nnrun.experiment.finished.record_text import (
    baseline_text,
    caution_text,
    interval_text,
    member_rows,
    rows_in_words,
    score_table,
    unfinished_text,
)
from nnrun.experiment.finished.sound_record import sound
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.records import members_of_record, recorded_directions
from nnrun.spec.wording import with_std

if TYPE_CHECKING:
    from nnrun.records import RunDirectory


def closing_text(
    run: RunDirectory, record: Mapping[str, Any], looks: int | None = None, *, verbose: bool = False
) -> str:
    """The closing screen of a run, from its record only.

    Args:
        run: its folder.
        record: what its run.json holds.
        looks: how often experiments of its name have looked at its test set up to now, where others may have
            since; the record tells only which look its own was.
        verbose: the scores of each fold or seed, however many there are.
    """
    record = sound(record)
    width = terminal_width()
    blocks = [wrapped(_headline(record), width)]
    caution = caution_text(record)
    if caution:
        blocks.append(wrapped(caution, width))
    scores = score_table(record)
    if scores is not None:
        blocks.append(f"{wrapped(scores.heading, width)}\n{aligned(scores.rows())}")
    each = member_rows(record)
    if each and (verbose or len(each[0]) - 1 <= MOST_MEMBERS):
        blocks.append(in_blocks(each, width))
    remarks = (
        _why_it_ended(record),
        _chosen_from(record),
        record.get("verdict"),
        interval_text(record),
        _weights(record),
        baseline_text(record) if scores is not None else "",
        _test_uses(run, record, looks),
    )
    if any(remarks):
        blocks.append(wrapped("\n".join(text for text in remarks if text), width))
    blocks.append(_next_steps(run, record))
    return printable("\n\n".join(blocks))


def _headline(record: Mapping[str, Any]) -> str:
    name, status, epochs = record.get("name"), record.get("status"), record.get("epochs_run")
    rows = record.get("rows") or {}
    done = {"completed": "trained", "running": "still training"}.get(str(status), str(status))
    parts = [f"{name}: {done}, {_counted(epochs, 'epoch')} on {record.get('device')}"]
    seconds = record.get("training_seconds")
    if isinstance(seconds, (int, float)):
        parts.append(f"in {seconds:.1f} s")
    text = " ".join(parts)
    if rows.get("train"):
        text += f"; {rows_in_words(rows, ', ')}"
        text += _of_members(record)
    stopped = record.get("stopped_early")
    if stopped:
        kind, _ = members_of_record(record)
        text += "\nStopped early" + (
            f" at epoch {next(iter(stopped.values()))}."
            if kind is None
            else ": "
            + ", ".join(f"{kind} {number} at epoch {epoch}" for number, epoch in stopped.items())
            + "."
        )
    unfinished = unfinished_text(record)
    text += f"\n{unfinished}" if unfinished else ""
    return f"{text}\nThis was a smoke run: its numbers are meaningless." if record.get("smoke") else text


def _of_members(record: Mapping[str, Any]) -> str:
    kind, numbers = members_of_record(record)
    if kind is None:
        return ""
    if len(numbers) == 1:
        return f"; seed {numbers[0]} only" if kind == "seed" else f" in fold {numbers[0]} only"
    return (
        f"; {len(numbers)} seeds from {numbers[0]}" if kind == "seed" else f" in each of {len(numbers)} folds"
    )


def _why_it_ended(record: Mapping[str, Any]) -> str:
    """Why a run did not complete, where its record knows."""
    error = str(record.get("error") or "").rstrip(".")
    return f"{error[:1].upper()}{error[1:]}." if error and record.get("status") != "completed" else ""


def _chosen_from(record: Mapping[str, Any]) -> str:
    """Why a final run trained for as long as it did, where another's validation decided."""
    from nnrun.validation.summary import monitor_mode  # it brings NumPy

    chosen = record.get("chosen_from")
    if not isinstance(chosen, Mapping) or chosen.get("epoch") != record.get("epochs_run"):
        return ""
    column = str(chosen.get("column"))
    over = chosen.get("smoothed_over")
    curve = f"the smoothed mean {column}" if chosen.get("smoothed") else column
    if isinstance(over, int) and over > 1:
        curve = f"the mean {column}, smoothed over {over} epochs,"
    end = "highest" if monitor_mode(column, recorded_directions(record)) == "max" else "lowest"
    trained = f"Trained for {_counted(chosen['epoch'], 'epoch')}"
    return f"{trained}, where {curve} of {chosen.get('parent')} was {end}."


def _weights(record: Mapping[str, Any]) -> str:
    """Of which epoch the kept weights are, and what is to be known of their scores."""
    used = recorded_weights(record)
    if used is None:
        return ""
    text = f"Weights: {used.text}"
    last = record.get("last") or {}
    scores = [f"{n} {with_std(v)}" for n, v in last.items() if n.startswith("val_")]
    if len(used.epochs) == 1 and used.others and scores and used.epoch == record.get("epochs_run"):
        text += f" ({', '.join(scores)})"
    text += f"; {used.others}." if used.others else "."
    if used.chosen_apart and record.get("best"):
        kind = members_of_record(record)[0]
        text += (
            f" Each {kind}'s epoch was chosen on the rows that score it, so the validation scores of these "
            f"weights are optimistic; the scores above are of one epoch for all {kind}s."
        )
    return text


def _test_uses(run: RunDirectory, record: Mapping[str, Any], looks: int | None) -> str:
    """How often the test set was looked at, by this run and by all of its name."""
    uses = record.get("test_uses") or []
    if record.get("command") == "final" and record.get("reproduces"):
        return f"It repeats {record['reproduces']} and did not look at the test set."
    if record.get("command") == "final" and not uses and record.get("status") == "completed":
        return "The data set has no test set, so nothing was tested."
    if not uses:
        return ""
    last = uses[-1] if isinstance(uses[-1], Mapping) else {}
    look, data = last.get("look"), last.get("data")
    name = record.get("name")
    if not isinstance(look, int):
        sentence = f"This run has looked at the test set {times(len(uses))}."
        of_all = f" Experiments named '{name}' have looked at it {times(looks or 0)} (in {run.runs_dir}/)."
        return sentence + (of_all if looks is not None else "")
    if len(uses) == 1 and (looks or look) == look:
        return f"{nth_look(look, str(data), str(name), run.runs_dir)}."
    number = f"{ordinal(look)} of {looks} looks" if looks is not None else f"{ordinal(look)} look"
    return (
        f"This run has looked at the {data} test set {times(len(uses))}, "
        f"{'the last time ' if len(uses) > 1 else ''}as the {number} by experiments named '{name}' "
        f"(in {run.runs_dir}/)."
    )


def _next_steps(run: RunDirectory, record: Mapping[str, Any]) -> str:
    path = shlex.quote(str(run.path))
    steps = [f"nnrun train --resume {path}"] if run.can_go_on(record) else []
    steps += [f"nnrun plot {path}"] if record.get("epochs_run") else [f"nnrun show {path}"]
    ended = record.get("status") == "completed" and not record.get("smoke")
    if ended and record.get("best_epoch") is not None:
        steps.append(f"nnrun final {path}")
    origin = [f"From   {record['parent']}"] if record.get("parent") else []
    return "\n".join(
        [*origin, f"Files  {run.path}", f"Next   {steps[0]}", *(f"       {step}" for step in steps[1:])]
    )


def _counted(number: Any, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
