"""How often a test set has been looked at, in words."""

from __future__ import annotations

from pathlib import Path

from nnrun.records import LookCount, RunRecord
from nnrun.spec.wording import ordinal, times


def this_look_text(
    count: LookCount | None, data: str, name: str, runs_dir: Path, *, by_this_run: int = 1
) -> str:
    """Which look one was that has just been made, as a sentence.

    Args:
        count: which look at this test set it was; None for that of a smoke run, which counts only for itself.
        data: the data set, as a spec names it.
        name: the experiment's name.
        runs_dir: the folder of the runs that are counted.
        by_this_run: which look it was by its run.
    """
    if count is None:
        return f"This run has looked at the test set {times(by_this_run)}."
    text = f"This is the {ordinal(count.by_name)} look at the {data} test set by experiments named '{name}'"
    if count.by_any != count.by_name:
        text += f", the {ordinal(count.by_any)} by any experiment"
    text += f" (in {runs_dir}/)"
    if 1 < by_this_run < count.by_name:
        text += f", the {ordinal(by_this_run)} by this run"
    return f"{text}."


def looks_text(record: RunRecord, looks: LookCount | None, runs_dir: Path) -> str:
    """How often a run has looked at its test set, as a sentence; empty where it has not.

    Args:
        record: the run's record, which tells which look its last one was then.
        looks: how many there are by now; None where that is no other number.
        runs_dir: the folder of the runs that are counted.
    """
    uses = record.test_uses
    if not uses:
        return ""
    last, name, own = uses[-1], str(record.name), len(uses)
    if last.look is None:  # of a smoke run, or of an older record
        text = f"This run has looked at the test set {times(own)}."
        if looks is None:
            return text
        any_ = "" if looks.by_any == looks.by_name else f", any experiments {times(looks.by_any)}"
        text += f" Experiments named '{name}' have looked at it {times(looks.by_name)}{any_}"
        return f"{text} (in {runs_dir}/)."
    of_any = last.look if last.look_of_any is None and looks is None else last.look_of_any
    then = LookCount(last.look, last.look if of_any is None else of_any)
    if own == 1 and looks in (None, then):
        return this_look_text(then, str(last.data), name, runs_dir)
    of_name = looks.by_name if looks else 1
    number = f"{ordinal(last.look)} of {of_name} looks" if of_name > 1 else f"{ordinal(last.look)} look"
    text = (
        f"This run has looked at the {last.data} test set {times(own)}, {'the last time ' if own > 1 else ''}"
        f"as the {number} by experiments named '{name}'"
    )
    if of_any is None:  # an older record did not count those of other names
        assert looks is not None
        text += (
            "" if looks.by_any == looks.by_name else f"; there were {looks.by_any} looks by any experiment"
        )
    elif of_any != last.look or (looks and looks.by_any != looks.by_name):
        text += f", the {ordinal(of_any)}{f' of {looks.by_any}' if looks else ''} by any experiment"
    return f"{text} (in {runs_dir}/)."
