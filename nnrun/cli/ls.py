"""`nnrun ls`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import (
    message,
    paragraph,
    print_json,
    shortened,
    size_text,
    table,
    terminal_width,
)
from nnrun.errors import printable
from nnrun.spec.wording import ordinal

if TYPE_CHECKING:
    from nnrun.records import LookCount, RunSummary


@dataclass(frozen=True)
class _Short:
    """How rows are shortened.

    Attributes:
        scores: so many of validation and of test at most.
        ids: whether ids are cut, and a status is told only where it is not `completed`.
        status: whether a status stands where the scores would, in a row that has none.
        letters: whether the other statuses are one letter each, which a line below the table explains.
    """

    scores: int
    ids: bool = False
    status: bool = False
    letters: bool = False


_MOST_SCORES = 3
_LONGEST_CELL = 100
_OPTIMISTIC = " *"
_OPTIMISTIC_TEXT = "*: the rows that measure it chose its epoch, or it among trials: optimistic"
_KEPT = "KEPT WEIGHTS"
_KEPT_TEXT = (
    "VALIDATION: at the best epoch, the same for every fold or seed; KEPT WEIGHTS: at each one's own epoch, "
    "as its out-of-fold predictions"
)
_LETTER = "S"
# What is done, in turn, where the terminal is too narrow: a column gives way, or what
# stands in columns is shortened. Scores stay longest.
_NARROWER: tuple[str | _Short, ...] = (
    *("DEVICE", "SIZE", "COMMAND", "TOOK", _KEPT, "STARTED", "LOOK", "EPOCHS"),
    _Short(scores=2),
    _Short(scores=2, ids=True),
    _Short(scores=2, ids=True, status=True),
    _Short(scores=2, ids=True, status=True, letters=True),
    _Short(scores=1, ids=True, status=True, letters=True),
    "TEST",
)


_Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="KEY",
        help="started, name, status, epochs, took, size, or a score, best first: val_loss, test_mae, ...",
    ),
]
_Status = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="Only runs with this status: completed, ..."),
]


def ls(
    sort: _Sort = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False,
    name: options.NamePattern = None,
    status: _Status = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="NAME", help="Only runs of this command: kfold, ...")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Only runs on this data set: imdb, ...")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Show at most N runs.")
    ] = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """List the runs, newest first: how they ended, and how well they did."""
    from nnrun.experiment.finished.listing import select_runs, sort_runs
    from nnrun.records import MEASURING_COMMANDS, all_looks, list_runs
    from nnrun.spec.wording import counted, listing

    every = list_runs(runs_dir, sizes=True)
    # Sorted before one is left out: which columns there are does not depend on what is shown.
    ordered = sort_runs(every, sort or "started", reverse=reverse)
    fitting = select_runs(ordered, name=name, status=status, command=command, data=data)
    runs = [run for run in fitting if command or run.command not in MEASURING_COMMANDS]
    hidden, runs = len(fitting) - len(runs), runs[:limit]
    looks = all_looks(runs_dir, every)
    if looks.problem is not None:
        message(printable(looks.problem))
    of_name = [looks.of_run(run.looks) for run in runs]
    if as_json:
        print_json([as_document(run, count) for run, count in zip(runs, of_name, strict=True)])
    elif not every:
        message(f"No runs in {runs_dir}/ yet. Start with: nnrun train specs/reuters.yaml")
    elif not fitting:
        message(f"None of the {len(every)} runs in {runs_dir}/ matches.")
    else:
        if runs:
            print(_table(runs, of_name, terminal_width(), sort, beside=[run.id for run in every]))
        if hidden:
            theirs = listing([f"nnrun ls --command {name}" for name in sorted(MEASURING_COMMANDS)], "or")
            were = "was" if hidden == 1 else "were"
            message(f"{counted(hidden, 'run')} that {were} trained to measure a setting: {theirs}")
        for run in runs:
            if run.problem:
                message(f"{run.id} is broken: {run.problem}")


def as_document(run: RunSummary, looks: LookCount | None) -> dict[str, Any]:
    """A run as `--json` gives it; `looks` at its test set up to now, where it has looked."""
    return {
        "id": run.id,
        "path": str(run.run.path),
        "name": run.name,
        "command": run.command,
        **({} if run.nested is None else {"nested": run.nested}),
        "status": run.status,
        "device": run.device,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "seconds": run.seconds,
        "bytes": run.size,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "best": dict(run.best),
        "kept": dict(run.kept),
        "optimistic": run.optimistic,
        "test": dict(run.test),
        "data": list(run.data),
        "test_uses": len(run.looks),
        "look": run.look,
        "looks": None if looks is None else looks.by_name,
        "look_of_any": run.look_of_any,
        "looks_of_any": None if looks is None else looks.by_any,
        "problem": run.problem,
    }


def as_row(
    run: RunSummary, looks: LookCount | None, sort: str | None = None, scores: int = _MOST_SCORES
) -> dict[str, str]:
    """A run as a row of the table: heading → text; the score that is sorted by before the others.

    `scores` is how many of validation and of test are shown at most. LOOK is which
    look at its test set its last was, of how many by experiments of its name, and by any where that differs.
    """
    validated_first = _after("val_", sort)
    epochs = "" if run.epochs is None else str(run.epochs)
    if run.best_epoch is not None:
        epochs = f"{epochs or '?'}, best {run.best_epoch}"
    return {
        "ID": _printable(run.id),
        "STATUS": run.status,
        "COMMAND": _printable(_command(run)),
        "DEVICE": _printable(run.device or ""),
        "EPOCHS": epochs,
        "VALIDATION": _scores(run.best, "val_", validated_first, scores)
        + (_OPTIMISTIC if run.optimistic else ""),
        _KEPT: _scores(run.kept, "val_", validated_first, scores),
        "TEST": _scores(run.test, "", _after("test_", sort), scores),
        "LOOK": "" if looks is None else _look(run, looks),
        "STARTED": _local_time(run.started),
        "TOOK": _duration(run.seconds),
        "SIZE": size_text(run.size),
    }


def _look(run: RunSummary, looks: LookCount) -> str:
    """`2nd of 3`; `2nd of 3, 4th of 7 by any` where experiments of other names have looked, too."""
    by_name, by_any = ("?" if n is None else ordinal(n) for n in (run.look, run.look_of_any))
    text = f"{by_name} of {looks.by_name}"
    return text if looks.by_any == looks.by_name else f"{text}, {by_any} of {looks.by_any} by any"


def _command(run: RunSummary) -> str:
    """`kfold`; `kfold, nested` of outer folds, `kfold, inner` of the folds that choose within them."""
    part = {None: "", "inner": ", inner", "outer": ", nested"}.get(run.nested, "")
    return f"{run.command or ''}{part}"


def _table(
    runs: Sequence[RunSummary],
    looks: Sequence[LookCount | None],
    width: int | None,
    sort: str | None,
    beside: Sequence[str],
) -> str:
    """The runs as a table that takes no more than `width` columns, as far as that can be.

    Columns give way, then scores and ids are shortened: scores stay longest, and next to them the column that
    is sorted by. A status other than `completed` is always visible. A shortened id is a beginning that no
    other run has.

    Args:
        runs: one row each.
        looks: how often the test set of each has been looked at.
        width: None for a table that may be as wide as it is.
        sort: the key that is sorted by.
        beside: the ids of all runs in the folder.
    """
    sorted_by = "VALIDATION" if _after("val_", sort) else "TEST" if _after("test_", sort) else ""
    sorted_by = sorted_by or (sort or "").upper()
    whole = [run.id for run in runs]

    def rows(short: _Short) -> list[dict[str, str]]:
        made = [as_row(run, count, sort, short.scores) for run, count in zip(runs, looks, strict=True)]
        ids = shortest_beginnings(whole, beside) if short.ids else whole
        for row, id_, run in zip(made, ids, runs, strict=True):
            row["ID"] = _printable(id_)
            if short.ids and run.status == "completed":
                row["STATUS"] = ""
            told = bool(short.status and row["STATUS"] and not row["VALIDATION"])
            if told:
                row["VALIDATION"] = f"({row['STATUS']})"
            if short.letters:
                status = row.pop("STATUS")
                row[_LETTER] = "" if told else status[:1].upper()
        return [_ordered(row) for row in made] if short.letters else made

    hidden: list[str] = []
    shown = rows(_Short(_MOST_SCORES))
    text = _lines(shown, hidden)
    # The sort is stable: the column that is sorted by alone moves, to the end.
    for step in sorted(_NARROWER, key=lambda step: step == sorted_by):
        if width is None or max(map(len, text.split("\n"))) <= width:
            break
        if isinstance(step, _Short):
            shown = rows(step)
        else:
            hidden.append(step)
        text = _lines(shown, hidden)
    notes = _notes([{name: row[name] for name in row if name not in hidden} for row in shown], runs)
    return "\n".join([text, *(paragraph(note, width) for note in notes)])


def _notes(shown: Sequence[Mapping[str, str]], runs: Sequence[RunSummary]) -> list[str]:
    """What a table explains of itself: marks, columns and letters that are in it."""
    notes = []
    if any(row.get("VALIDATION", "").endswith(_OPTIMISTIC) for row in shown):
        notes.append(_OPTIMISTIC_TEXT)
    if any(row.get(_KEPT) for row in shown):
        notes.append(_KEPT_TEXT)
    letters = {row[_LETTER]: run.status for row, run in zip(shown, runs, strict=True) if row.get(_LETTER)}
    if letters:
        said = ", ".join(f"{letter} {status}" for letter, status in letters.items())
        notes.append(f"{_LETTER}: {said}")
    return notes


def _ordered(row: Mapping[str, str]) -> dict[str, str]:
    """A row whose status stands next to its id, in whatever form it has."""
    first = ("ID", "STATUS", _LETTER)
    return {name: row[name] for name in (*first, *(n for n in row if n not in first)) if name in row}


def _lines(rows: Sequence[Mapping[str, str]], without: Sequence[str]) -> str:
    """Rows under their headings, without columns that hold no text."""
    headings = [name for name in rows[0] if name not in without and any(row[name] for row in rows)]
    return table([headings, *([row[name] for name in headings] for row in rows)])


def shortest_beginnings(ids: Sequence[str], beside: Sequence[str], shortest: int = 16) -> list[str]:
    """Ids cut to a beginning that none of the others has, with `…` for the rest."""
    others = sorted({*ids, *beside})
    cut = []
    for id_ in ids:
        place = bisect_left(others, id_)
        near = [*others[max(place - 1, 0) : place], *others[place + 1 : place + 2]]
        needed = max((_alike(id_, other) + 1 for other in near), default=1)
        length = max(needed, shortest)
        cut.append(id_ if length + 1 >= len(id_) else f"{id_[:length]}…")
    return cut


def _alike(one: str, other: str) -> int:
    """How many letters two texts have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _after(prefix: str, sort: str | None) -> str:
    """The measure that is sorted by, where it is one of this kind."""
    return sort.removeprefix(prefix) if sort is not None and sort.startswith(prefix) else ""


def _scores(scores: Mapping[str, float], prefix: str, first: str, at_most: int) -> str:
    """So many of the scores whose names begin with `prefix`, which is left out; that called `first` first."""
    if not scores:
        return ""
    shown = [
        f"{label} {value:.4g}"
        for name, value in (_with_first(scores, prefix, first) if first else scores.items())
        if (label := _label(name, prefix)) is not None
    ]
    return ", ".join(shown[:at_most]) + (", ..." if len(shown) > at_most else "")


def _with_first(scores: Mapping[str, float], prefix: str, first: str) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda score: _label(score[0], prefix) != first)


@cache  # most runs have the same scores
def _label(name: str, prefix: str) -> str | None:
    """What a score is called beside its value; None where it does not begin with `prefix`."""
    return _printable(name[len(prefix) :].removesuffix("_mean")) if name.startswith(prefix) else None


def _printable(text: str) -> str:
    """Text from a record, which may hold anything, as one short line without control characters."""
    if len(text) <= _LONGEST_CELL and text.isprintable():
        return text
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shortened(text, _LONGEST_CELL)


def _local_time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    with suppress(OverflowError, ValueError, OSError):  # a year that this machine's clock does not know
        moment = datetime.fromtimestamp(moment.timestamp())
    return moment.isoformat(" ", "minutes")[:16]  # without the offset


def _duration(seconds: float | None) -> str:
    if seconds is None or seconds < 0:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
