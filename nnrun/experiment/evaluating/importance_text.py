"""What `nnrun importance` found, in words: for its screen, the report's page and the titles of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnrun.errors import one_line
from nnrun.experiment.finished.record_text import range_in_words
from nnrun.records.importance_record import DependenceCurve, ImportanceRecord, ImportanceTable
from nnrun.spec.wording import counted, listing_of_some, quoted, score_text, with_std

_MOST_NAMED = 20
_MOST_PAIRS = 5
_MOST_VALUES = 7


def measured_on(record: ImportanceRecord, spread: str = "±") -> str:
    """`5 folds, each on its own 178 or 179 validation rows; 5 permutations, ± over the folds`.

    Args:
        record: what was found.
        spread: what stands beside the numbers.
    """
    rows = f"{range_in_words(record.rows)} {record.split} rows"
    times = counted(record.repeats, "permutation")
    if record.over == "repeats":
        over = f", {spread} over these" if record.repeats > 1 else ""
        return f"{rows}; {times} of each column{over}"
    own = "each on its own " if record.split == "validation" and record.over == "folds" else "each on "
    over = f"{spread} over the {record.over}"
    return f"{record.networks} {record.over}, {own}{rows}; {times} of each column, {over}"


def bars_title(table: ImportanceTable) -> str:
    """`Importance of columns for body_mass`."""
    return "Importance of columns" + ("" if table.output is None else f" for {table.output}")


def _gets_worse(table: ImportanceTable) -> str:
    return "falls" if table.higher_is_better else "rises"


def heading(table: ImportanceTable) -> str:
    """`accuracy falls by`: above the numbers, below the bars."""
    return f"{table.metric} {_gets_worse(table)} by"


def table_rows(table: ImportanceTable, *, everything: bool = False) -> list[list[str]]:
    """A row for each column that matters, or for every column, the most important first."""
    shown = [c for c in table.columns if everything or not c.within_noise]
    return [[c.column, with_std(c.importance, c.std)] for c in shown]


def table_sentences(table: ImportanceTable) -> list[str]:
    """What stands below the numbers: the score as it is, and the columns that make no difference."""
    as_it_is = f"With all columns as they are, {table.metric} is {score_text(table.score)}."
    dead = [quoted(column.column) for column in table.columns if column.within_noise]
    if not dead:
        return [as_it_is]
    if len(dead) == len(table.columns) > 1:
        return [as_it_is, "No column matters more than noise: each 95 % interval of a mean reaches 0."]
    names = listing_of_some(dead, _MOST_NAMED)
    return [as_it_is, f"Within noise of 0 (the 95 % interval of the mean reaches 0): {names}."]


def cautions(record: ImportanceRecord) -> list[str]:
    """What the numbers do not say."""
    found = [_of_average(record)] if record.averaged and record.networks > 1 else []
    if record.correlated:
        found.append(_of_correlated(record))
    return found


def _of_average(record: ImportanceRecord) -> str:
    rows = "on rows that it did not train on" if record.split == "validation" else "on the test rows"
    return (
        f"The model is the average of {record.networks} networks. The numbers are of each network by itself, "
        f"{rows}, averaged over them."
    )


def _of_correlated(record: ImportanceRecord) -> str:
    """Columns that the network can read from each other."""
    pairs = [
        f"{quoted(pair.first)} and {quoted(pair.second)} ({pair.correlation:.2f})"
        for pair in record.correlated
    ]
    more = f" and {counted(len(pairs) - _MOST_PAIRS, 'more pair')}" if len(pairs) > _MOST_PAIRS else ""
    named = "; ".join(pairs[:_MOST_PAIRS]) + more
    return (
        "Columns that say nearly the same (Spearman's correlation of numbers, Cramér's V of categories): "
        f"{named}. While one of a pair is shuffled, the network still sees the other, so each may matter "
        "more than its number says."
    )


def curve_title(curve: DependenceCurve) -> str:
    """`mean probability of yes by sex`."""
    return f"{predicted_text(curve)} by {one_line(curve.column)}"


def predicted_text(curve: DependenceCurve) -> str:
    """What the numbers of a curve are: `mean probability of yes`, `mean prediction of body_mass`."""
    names = [curve.lines[0].name] if len(curve.lines) == 1 else []
    of = " of ".join(one_line(name) for name in [*names, curve.output or ""] if name)
    return f"mean {curve.predicted}{f' of {of}' if of else ''}"


def curve_rows(curve: DependenceCurve, *, everything: bool = False) -> list[list[str]]:
    """A table: a row for each value, a column for each line; the first row has the headings.

    Of numbers and dates there are a few, evenly spaced, or all.
    """
    headings = [curve.predicted] if len(curve.lines) == 1 else [line.name for line in curve.lines]
    rows = [[curve.column, *headings]]
    places: Sequence[int] = range(len(curve.values))
    if curve.kind != "category" and not everything and len(places) > _MOST_VALUES:
        steps = len(places) - 1
        places = [round(i * steps / (_MOST_VALUES - 1)) for i in range(_MOST_VALUES)]
    largest = max(abs(mean) for line in curve.lines for mean in line.mean)
    digits = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 4
    for place in places:
        value = curve.values[place]
        cells = [
            _number(line.mean[place], None if line.std is None else line.std[place], digits)
            for line in curve.lines
        ]
        rows.append([value if isinstance(value, str) else f"{value:.6g}", *cells])
    return rows


def _number(mean: float, std: float | None, digits: int) -> str:
    text = score_text(mean, digits)
    return text if std is None else f"{text} ± {score_text(std, digits)}"


def curve_note(record: ImportanceRecord, curve: DependenceCurve) -> str:
    """`over 1,000 validation rows of each fold, ± over the 5 folds`."""
    rows = f"over {curve.rows:,} {record.split} rows"
    if record.over == "repeats":
        return rows
    return f"{rows} of each {record.over[:-1]}, ± over the {record.networks} {record.over}"


def curve_cautions(curves: Sequence[DependenceCurve]) -> list[str]:
    """That a curve may be of rows that cannot be."""
    if not curves:
        return []
    return [
        "A curve gives every row the same value in the column and leaves the other columns as they are. "
        "Where columns are correlated there may be no such rows: the network then extrapolates. It shows "
        "what the network does, not what the column causes."
    ]
