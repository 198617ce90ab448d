"""Which column of a file to predict, where nobody says so, and whether as classes or as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from nnrun.data.describe_columns import counts_of_values
from nnrun.data.files.read import ReadTable
from nnrun.data.infer import Inferred
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError, UsageError
from nnrun.experiment.init import names
from nnrun.experiment.init.explained import explained
from nnrun.experiment.init.roles import Roles, is_dummy, roles_of, whole_numbers
from nnrun.spec.suggest import counted, listing, nearest, quoted

TaskName = Literal["classification", "regression"]

_FEW: Final = 10
_FEW_STEPS: Final = 6
_MOST_CLASSES: Final = 50
_ROWS_OF_A_VALUE: Final = 10
_ENOUGH_ROWS: Final = 20

# How much each sign counts, in points. The surest names are above all else; a position never outweighs one.
_USUAL_NAME: Final = 10_000
_NEXT_USUAL_NAME: Final = 200
_FILE_NAME: Final = 800
_OUTCOME_NAME: Final = 60
_OUTCOME_WORD: Final = 40
_MEDIUM_WORD: Final = 30
_WEAK_WORD: Final = 12
_SAME_WORD: Final = 25  # more, where it is all of the file's name but a number
_PRICE: Final = -25
_FAMILY: Final = -20
_COMPOUND: Final = 30
_FEW_COLUMNS: Final = 5
_ALONE: Final = 12  # the only column that could be classes, at one of the ends
_EXPLAINED: Final = 10
_CLEARLY: Final = 0.15  # of the variance
_BALANCED: Final = -15
_SHARED_LETTER: Final = 10
_MOST_SHARED: Final = 60
_LAST: Final = 25
_FIRST: Final = 18
_FIRST_OF_NUMBERS: Final = 27  # where both ends are numbers: a formula begins with what it explains
_NEXT_TO_FIRST_OF_NUMBERS: Final = 12
_THE_FIRST: Final = "the first column"
_NEXT_TO_LAST: Final = 10  # the last of those that could be one, and so for the first
_NEXT_TO_FIRST: Final = 8
_DUMMY: Final = -30
_NAMED_DUMMY: Final = -10
_AFTER: Final = 20
_TIME_TO_EVENT: Final = 40
_EVENT: Final = 30
_LATEST: Final = 28
_BEFORE: Final = -40
_SORTED: Final = -20
_RUNS: Final = -15
_STEPS: Final = -20  # a number of a few values such as a dose of 0.5, 1 and 2
_COMPUTED: Final = -60
_CONTEXT: Final = -35
_NAME: Final = -60
_GAPS: Final = -40


@dataclass(frozen=True)
class Candidate:
    """A column that could be predicted.

    Attributes:
        name: of the column.
        why: the surest sign that it is the target, as a remark next to it; empty where there is none.
        points: how much speaks for it.
    """

    name: str
    why: str
    points: float


def why_no_target(inferred: Inferred, n_rows: int) -> str | None:
    """Why a column cannot be predicted, as the end of a sentence that begins with it; None where it can.

    Two rows or more must differ, and texts must be classes: not nearly all different, each of two rows or
    more, so that one can be trained on and one validated. Rows without a value are left out.
    """
    if inferred.missing == n_rows:
        return "has no value in any row"
    if inferred.constant or inferred.distinct == 1:
        return "is the same in every row" if not inferred.missing else "has a single value"
    if inferred.wrong is not None:
        return "holds numbers mixed with texts"
    if inferred.infinite is not None:
        return "holds an infinite number"
    if n_rows - inferred.missing < 4:
        return f"has a value in only {counted(n_rows - inferred.missing, 'row')}"
    if isinstance(inferred.column, NumberColumn):
        return _why_no_two_classes(inferred) if is_dummy(inferred) else None
    return why_no_classes(inferred, n_rows)


def _why_no_two_classes(inferred: Inferred) -> str | None:
    counts = counts_of_values(inferred.column)
    rarest = min(counts, key=counts.__getitem__)
    return None if counts[rarest] > 1 else _single_row(rarest)


def _single_row(value: str) -> str:
    return (
        f"has the class {quoted(value)} in a single row, which cannot be used for both training and "
        "validation"
    )


def unable_by_name(file: ReadTable, roles: Roles) -> dict[str, str]:
    """Columns with a usual name of a target that are never chosen, each with the reason, as the end of a
    sentence that begins with it."""
    called = [name for name in file.columns if names.folded(name) in names.TARGET_NAMES]
    reasons = {name: why_no_target(file.columns[name], file.n_rows) for name in called}
    reasons |= {name: _why_never(name, roles) for name in called if name in roles.no_targets}
    return {name: why for name, why in reasons.items() if why is not None}


def why_no_classes(inferred: Inferred, n_rows: int) -> str | None:
    """Why a column does not name classes; None where it does."""
    counts = counts_of_values(inferred.column)
    present = n_rows - inferred.missing
    if len(counts) == present or (present >= _ENOUGH_ROWS and 2 * len(counts) > present):
        return f"has {len(counts):,} different values in {counted(present, 'row')}; these cannot be classes"
    rarest = min(counts, key=counts.__getitem__)
    return _single_row(rarest) if counts[rarest] < 2 else None


def candidates(file: ReadTable, stem: str, roles: Roles | None = None) -> tuple[Candidate, ...]:
    """The columns that could be the target, the likeliest first.

    Signs, the surest first: a usual name (`names.TARGET_NAMES`); the file's own name (mpg in mpg.csv); a word
    that targets often have in their names (price, salary, score); the longest word that the column's name
    shares with the file's; the last place, then the first (or the first, where the other numbers explain it
    clearly better). A number that is 0 or 1 beside others of its
    kind, what is computed from another column, and what is known beforehand (age, region) come after the
    others. Ids, counters, dates, weekdays, year dummies and marks of test rows are never chosen.

    Args:
        file: whose columns.
        stem: the file's name without its ending.
        roles: of the columns, if they are known.
    """
    roles = roles_of(file) if roles is None else roles
    able = [
        name
        for name, inferred in file.columns.items()
        if why_no_target(inferred, file.n_rows) is None
        and name not in roles.no_targets
        and not any(doubt.kind == "names" for doubt in inferred.doubts)
    ]
    others = frozenset(names.folded(name) for name in file.columns)
    dummies = [name for name in able if is_dummy(file.columns[name])]
    classes = [
        name for name in able if default_task(file.columns[name], file.n_rows, name) == "classification"
    ]
    ends = _Ends.of([name for name in file.columns if name not in roles.no_targets], able, others, file, len(dummies) == 1)
    explained_first = _first_is_explained(file, ends, able)
    times = [name for name in able if names.times_event(name) and not is_dummy(file.columns[name])]
    events = [
        name
        for name in able
        if names.names_event(name) and (file.columns[name].distinct or 0) in (2, 3) and name not in times
    ]
    found = []
    for name in able:
        signs = [*_signs_of_name(name, stem, others, file.columns[name]), *ends.signs(name)]
        if name in times and events:
            signs.append((_TIME_TO_EVENT, "a time until an event"))
        if name in events and times and "cens" not in names.folded(name):
            signs.append((_EVENT, "says whether the event happened"))
        if names.is_latest_year(name, others) and not is_dummy(file.columns[name]):
            signs.append((_LATEST, "the same as other columns, of a later year"))
        if name == ends.first and explained_first:
            why = "the first column, which the others explain better than the last"
            signs = [
                (points + _EXPLAINED, why) if said == _THE_FIRST else (points, said) for points, said in signs
            ]
        at_end = name in (ends.first, ends.last)
        alone = len(dummies) == 1 and at_end
        if at_end and classes == [name] and len(able) > _FEW_COLUMNS and not _is_balanced(file.columns[name]):
            signs.append((_ALONE, "the only column that could be classes"))
        doubts = _doubts(name, file, others, alone)
        why = max(signs, default=(0.0, ""))[1]
        found.append(Candidate(name, why, sum(points for points, _ in signs) + doubts))
    places = {name: place for place, name in enumerate(able)}
    return tuple(sorted(found, key=lambda candidate: (-candidate.points, -places[candidate.name])))


@dataclass(frozen=True)
class _Ends:
    """The first and the last column, ids and the like left out; and of those that could be the target and are
    not computed from others."""

    first: str | None
    last: str | None
    first_able: str | None
    last_able: str | None
    first_likelier: bool = False

    @classmethod
    def of(
        cls, columns: list[str], able: list[str], others: frozenset[str], file: ReadTable, lone: bool
    ) -> _Ends:
        own = [n for n in able if not _is_known(n, others)] or able
        return cls(
            *(columns[0], columns[-1]) if columns else (None, None),
            *(own[0], own[-1]) if own else (None, None),
            len(able) > 2
            and bool(own)
            and _is_measured(file.columns[own[0]])
            and _is_number(file.columns[own[-1]])
            and not (lone and is_dummy(file.columns[own[-1]])),
        )

    def signs(self, name: str) -> list[tuple[float, str]]:
        """What the place of a column says."""
        if name == self.last == self.last_able:
            return [(_LAST, "the last column")]
        if name == self.first == self.first_able:
            return [(_FIRST_OF_NUMBERS if self.first_likelier else _FIRST, _THE_FIRST)]
        if name == self.last_able:
            return [(_NEXT_TO_LAST, "the last column that could be a target")]
        if name == self.first_able:
            return [(_NEXT_TO_FIRST_OF_NUMBERS if self.first_likelier else _NEXT_TO_FIRST, "the first column that could be a target")]
        return []


def _is_known(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of something computed, known beforehand, or a person's or thing's name."""
    computed = names.transformed(name, others) is not None or names.is_before(name, others)
    of_several = names.numbered_family(name, others)
    return computed or of_several or names.is_context(name) or names.names_name(name)


def _first_is_explained(file: ReadTable, ends: _Ends, able: list[str]) -> bool:
    """Whether the other numbers explain the first column clearly better than the last: then it is the
    likelier target, since a target is what depends on the others."""
    if ends.first is None or ends.last is None or ends.first not in able or ends.last not in able:
        return False
    first, last = (explained(file, name, able) for name in (ends.first, ends.last))
    return first is not None and last is not None and first > last + _CLEARLY


def _signs_of_name(
    name: str, stem: str, others: frozenset[str], inferred: Inferred
) -> list[tuple[float, str]]:
    folded, words, balanced = names.folded(name), names.words_of(name), _is_balanced(inferred)
    too_many = names.names_classes(name) and (inferred.distinct or _MOST_CLASSES + 1) > _MOST_CLASSES
    signs: list[tuple[float, str]] = []
    if folded in names.TARGET_NAMES and not (folded == "y" and {"x", "z"} <= others) and not too_many:
        place = names.TARGET_NAMES.index(folded)
        signs.append((_USUAL_NAME - _NEXT_USUAL_NAME * place, "a common name for a target"))
    if folded and folded == "".join(names.words_of(stem)) and not balanced:
        signs.append((_FILE_NAME, "it has the same name as the file"))
    if folded in names.OUTCOME_WORDS:
        share = names.OUTCOME_WORDS.index(folded) / len(names.OUTCOME_WORDS)
        signs.append((_OUTCOME_NAME - share, "often the name of a target"))
    elif words and (words[-1] in names.OUTCOME_WORDS or words[0] in names.OUTCOME_WORDS):
        word = words[-1] if words[-1] in names.OUTCOME_WORDS else words[0]
        signs.append((_OUTCOME_WORD, f"'{word}' is often part of a target's name"))
    elif (compound := names.ends_like_outcome(name)) is not None:
        signs.append((_COMPOUND, f"'{compound}' is often part of a target's name"))
    elif names.counts_of_trials(name, others):
        signs.append((_OUTCOME_WORD, "the successes among the trials"))
    elif words and (words[-1] in names.MEDIUM_WORDS or words[0] in names.MEDIUM_WORDS):
        signs.append((_MEDIUM_WORD, "often the name of a target"))
    elif names.WEAK_WORDS & set(words):
        signs.append((_WEAK_WORD, "possibly the name of a target"))
    if names.is_after(name, others):
        signs.append((_AFTER, "named as the later value of another column"))
    if shared := names.shared_with(name, stem):
        same = _SAME_WORD if names.is_named_after(name, stem) and not balanced else 0
        signs.append((min(_MOST_SHARED, _SHARED_LETTER * shared) + same, "its name is part of the file's"))
    return signs


def _doubts(name: str, file: ReadTable, others: frozenset[str], alone: bool) -> float:
    inferred = file.columns[name]
    points: float = 0
    if is_dummy(inferred) and not alone:
        points += _NAMED_DUMMY if names.ends_in_outcome(name) else _DUMMY
    if _is_balanced(inferred) and names.folded(name) not in names.TARGET_NAMES:
        points += _BALANCED
    if _has_steps(inferred):
        points += _STEPS
    if names.transformed(name, others) is not None:
        points += _COMPUTED
    if names.is_context(name):
        points += _CONTEXT
    if names.is_before(name, others):
        points += _BEFORE
    if names.is_price_of_sales(name, others):
        points += _PRICE
    if names.numbered_family(name, others):
        points += _FAMILY
    if _is_set(inferred):
        points += _SORTED
    if names.names_name(name):
        points += _NAME
    if 2 * inferred.missing > file.n_rows:
        points += _GAPS
    return points


def _is_balanced(inferred: Inferred) -> bool:
    """Whether each value stands in as many rows as every other: the groups or doses of an experiment."""
    if inferred.missing or inferred.distinct is None:
        return False
    if isinstance(inferred.column, NumberColumn) and whole_numbers(inferred) is None:
        return False
    rows_of_each = set(counts_of_values(inferred.column).values())
    return len(rows_of_each) == 1 and rows_of_each != {1}


def _is_number(inferred: Inferred) -> bool:
    return isinstance(inferred.column, NumberColumn)


def _is_measured(inferred: Inferred) -> bool:
    """Whether a column is a number of more than a few values that nobody set."""
    many = inferred.distinct is None or inferred.distinct > _FEW
    return _is_number(inferred) and many and not _is_set(inferred)


def _is_set(inferred: Inferred) -> bool:
    """Whether a number goes only up, or stays the same over several rows: what somebody set or sorted by."""
    column = inferred.column
    if not isinstance(column, NumberColumn) or inferred.missing or is_dummy(inferred):
        return False
    values, counts = np.unique(column.values, return_counts=True)
    if values[0] == 0 and counts.argmax() == 0:
        return False  # a count of something rare
    steps = np.diff(column.values.astype(np.float64))
    return len(steps) > _FEW and bool((steps >= 0).all() or (2 * (steps == 0).sum() > len(steps)))


def _has_steps(inferred: Inferred) -> bool:
    """Whether a column is a few numbers that are not whole: an amount that somebody set."""
    number = isinstance(inferred.column, NumberColumn) and whole_numbers(inferred) is None
    return number and inferred.distinct is not None and inferred.distinct <= _FEW_STEPS


def default_target(file: ReadTable, stem: str) -> tuple[str, str]:
    """The column to predict, and why it was chosen.

    Raises:
        DataError: no column can be predicted.
    """
    best = require_candidates(file, stem)[0]
    return best.name, best.why


def require_candidates(file: ReadTable, stem: str) -> tuple[Candidate, ...]:
    """The columns that could be the target, the likeliest first: one or more.

    Raises:
        DataError: there is none.
    """
    roles = roles_of(file)
    found = candidates(file, stem, roles)
    if found:
        return found
    told = [
        f"{quoted(name)} {why_no_target(inferred, file.n_rows) or _why_never(name, roles)}"
        for name, inferred in list(file.columns.items())[:4]
    ]
    raise DataError(
        f"{file.name}: no column can be the target: {'; '.join(told)}"
        f"{'; and so on' if len(file.columns) > len(told) else ''}. To predict one of them anyway, name it: "
        "--target COLUMN."
    )


def _why_never(name: str, roles: Roles) -> str:
    if name in roles.splits:
        return "marks training and test rows"
    if name in roles.members:
        return "identifies who or what a row belongs to"
    if name in roles.dates or name in roles.times:
        return "is a time"
    return "numbers or names the rows"


def require_target(file: ReadTable, name: str) -> None:
    """Raise where a column that somebody named cannot be predicted.

    Raises:
        UsageError: there is no such column.
        DataError: it cannot be the target.
    """
    if name not in file.columns:
        match = nearest(name, file.columns)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        shown = [quoted(column) for column in list(file.columns)[:12]]
        more = f" and {len(file.columns) - 12:,} more" if len(file.columns) > 12 else ""
        has = ", ".join(shown) + more if more else listing(shown, "and")
        raise UsageError(f"{file.name} has no column {quoted(name)}.{hint} It has {has}.")
    why = why_no_target(file.columns[name], file.n_rows)
    if why is not None:
        raise DataError(f"{file.name}: column {quoted(name)} cannot be the target: it {why}.")


def default_task(inferred: Inferred, n_rows: int, name: str = "") -> TaskName:
    """Classification for texts, and for whole numbers of 2 values, or of up to 10 with 10 rows for each.

    Under a name such as class, label, type or species the whole numbers from 0 or 1 on are up to 50 classes.
    """
    if not isinstance(inferred.column, NumberColumn):
        return "classification"
    if inferred.distinct is None or inferred.distinct > _MOST_CLASSES:
        return "regression"
    present = whole_numbers(inferred)
    if present is None:
        return "regression"
    values, counts = np.unique(present, return_counts=True)
    if counts.min() < 2:
        return "regression"
    if len(values) == 2:
        return "classification"
    in_a_row = bool(values[0] in (0, 1)) and bool((np.diff(values) == 1).all())
    if names.names_classes(name) and in_a_row:
        return "classification"
    few = len(values) <= _FEW and len(values) * _ROWS_OF_A_VALUE <= n_rows
    return "classification" if few else "regression"


def possible_tasks(inferred: Inferred) -> tuple[TaskName, ...]:
    """How a target can be treated. What is 0 or 1 is two classes."""
    if isinstance(inferred.column, NumberColumn) and not is_dummy(inferred):
        return ("classification", "regression")
    return ("classification",)


def labels_of(file: ReadTable) -> tuple[str, ...]:
    """Columns that look like several labels per row: numbers that are 0 or 1, two or more, and called so.

    Their names begin alike (target_1, label_spam), or they are the last columns of a file with texts.
    """
    dummies = [name for name, inferred in file.columns.items() if is_dummy(inferred)]
    called = [name for name in dummies if names.is_label_of_several(name)]
    if len(called) > 1:
        return tuple(called)
    if not any(inferred.type == "text" for inferred in file.columns.values()):
        return ()
    tail: list[str] = []
    for name in reversed(list(file.columns)):
        if name not in dummies:
            break
        tail.append(name)
    return tuple(reversed(tail)) if len(tail) > 1 else ()
