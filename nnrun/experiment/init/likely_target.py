"""Which column of a file to predict, where nobody says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.column_types import ColumnInference
from nnrun.errors import DataError
from nnrun.experiment.init import names, target_names, value_patterns
from nnrun.experiment.init.explained import explained
from nnrun.experiment.init.roles import Roles, is_dummy, roles_of
from nnrun.experiment.init.target import MOST_CLASSES, default_task, why_no_target
from nnrun.spec.wording import quoted

_CLEARLY: Final = 0.15  # of the variance
_FEW: Final = 10  # values
_FEWEST_NUMBERED: Final = 3


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


@dataclass(frozen=True)
class _Table:
    """A file, and what the rules ask of all its columns.

    Attributes:
        file: whose columns.
        stem: the file's name without its ending.
        roles: of the columns.
    """

    file: ReadTable
    stem: str
    roles: Roles

    @cached_property
    def able(self) -> list[str]:
        """Columns that could be the target."""
        return [
            name
            for name, inferred in self.file.columns.items()
            if why_no_target(inferred, self.file.n_rows) is None
            and name not in self.roles.no_targets
            and not any(warning.kind == "names" for warning in inferred.warnings)
        ]

    @cached_property
    def folded(self) -> frozenset[str]:
        """The names of all columns."""
        return frozenset(names.folded(name) for name in self.file.columns)

    @cached_property
    def dummies(self) -> list[str]:
        """Those that are 0 or 1."""
        return [name for name in self.able if is_dummy(self.file.columns[name])]

    @cached_property
    def classes(self) -> list[str]:
        """Those that would be predicted as classes."""
        columns, n = self.file.columns, self.file.n_rows
        return [name for name in self.able if default_task(columns[name], n, name) == "classification"]

    @cached_property
    def events(self) -> list[str]:
        """Those that say whether something has happened."""
        columns, events = self.file.columns, target_names.EVENTS
        return [n for n in self.able if names.folded(n) in events and columns[n].distinct in (2, 3)]

    @cached_property
    def main_series(self) -> frozenset[str]:
        """What the names of numbered columns have in common, if those are half of all or more."""
        series = Counter(map(target_names.series_of, self.able))
        half = max(_FEWEST_NUMBERED, len(self.able) / 2)
        outside = len(self.able) > max(series.values(), default=0)
        return frozenset(stem for stem, n in series.items() if stem is not None and n >= half and outside)

    @cached_property
    def ends(self) -> tuple[str | None, str | None]:
        """The first and the last column, ids and the like left out."""
        columns = [name for name in self.file.columns if name not in self.roles.no_targets]
        return (columns[0], columns[-1]) if columns else (None, None)

    @cached_property
    def own_ends(self) -> tuple[str | None, str | None]:
        """The first and the last column that could be the target and is neither computed from another nor
        known beforehand."""
        own = [name for name in self.able if not self._is_known(name)] or self.able
        return (own[0], own[-1]) if own else (None, None)

    def _is_known(self, name: str) -> bool:
        computed = target_names.transformed(name, self.folded) is not None
        before = target_names.is_before(name, self.folded) or target_names.is_context(name)
        return computed or before or names.names_name(name)

    @cached_property
    def explains_first(self) -> bool:
        """Whether the other numbers explain the first column clearly better than the last: a target is what
        depends on the others.

        What is 0 or 1 is never explained as well by a line as a measurement, and so it is not compared.
        """
        first, last = self.ends
        if first is None or last is None or not {first, last} <= set(self.able) or last in self.dummies:
            return False
        of_first, of_last = (explained(self.file, name, self.able) for name in (first, last))
        return of_first is not None and of_last is not None and of_first > of_last + _CLEARLY


@dataclass(frozen=True)
class _Column:
    """A column that could be the target, in its table."""

    name: str
    table: _Table

    @property
    def inferred(self) -> ColumnInference:
        return self.table.file.columns[self.name]

    @property
    def folded(self) -> str:
        return names.folded(self.name)

    @property
    def is_dummy(self) -> bool:
        return is_dummy(self.inferred)

    @property
    def is_balanced(self) -> bool:
        return value_patterns.is_balanced(self.inferred)

    @property
    def is_only_dummy(self) -> bool:
        """Whether it is the only column of 0 and 1, and at an end."""
        return self.table.dummies == [self.name] and self.name in self.table.ends

    @property
    def ends_in_outcome(self) -> bool:
        return target_names.ends_in_outcome(self.name)

    @property
    def has_few_values(self) -> bool:
        return self.inferred.distinct is not None and self.inferred.distinct <= _FEW


# --- what speaks for a column: points, and why -------------------------------------------------------------

_Sign = tuple[float, str]


def _usual_name(column: _Column) -> _Sign | None:
    """The surest names are above all else; a position never outweighs one."""
    if column.folded not in target_names.TARGET_NAMES:
        return None
    if column.folded == "y" and {"x", "z"} <= column.table.folded:
        return None  # a place
    distinct = column.inferred.distinct
    if names.names_classes(column.name) and (distinct is None or distinct > MOST_CLASSES):
        return None
    place = target_names.TARGET_NAMES.index(column.folded)
    return 10_000 - 200 * place, "a common name for a target"


def _outcome_word(column: _Column) -> _Sign | None:
    words, outcomes = names.words_of(target_names.without_unit(column.name)), target_names.OUTCOME_WORDS
    ends = {*words[:1], *words[-1:]}
    if column.folded in outcomes:
        return 65 - outcomes.index(column.folded) / len(outcomes), "often the name of a target"
    if word := next((word for word in words[::-1] if word in ends and word in outcomes), None):
        return 40, f"'{word}' is often part of a target's name"
    if (word := target_names.ends_like_outcome(column.name)) is not None:
        return 30, f"'{word}' is often part of a target's name"
    if ends & target_names.MEDIUM_WORDS:
        return 35, "often the name of a target"
    return (24, "sometimes the name of a target") if target_names.WEAK_WORDS & set(words) else None


def _shared_with_file(column: _Column) -> _Sign | None:
    shared = target_names.shared_with(column.name, column.table.stem)
    points: float = min(50, 10 * shared)
    if column.is_balanced or target_names.is_context(column.name):
        points *= 0.3  # the schools in schooldays.csv
    return (points, "its name resembles the file's") if shared else None


def _place(column: _Column) -> _Sign | None:
    table, name = column.table, column.name
    (first, last), (own_first, own_last) = table.ends, table.own_ends
    if name == last == own_last:
        return 28, "the last column"
    if name == first == own_first and table.explains_first:
        return 40, "the first column, which the others predict better than they predict the last"
    if name == first == own_first:
        return 25, "the first column"
    if name == own_last:
        return 8, "the last column that could be a target"
    return (14, "the first column that could be a target") if name == own_first else None


_SIGNS: Final[tuple[Callable[[_Column], _Sign | None], ...]] = (
    _usual_name,
    _outcome_word,
    _shared_with_file,
    _place,
)

_PLAIN_SIGNS: Final[tuple[tuple[float, str, Callable[[_Column], bool]], ...]] = (
    (
        800,
        "it has the same name as the file",
        lambda c: bool(c.folded) and c.folded == names.folded(c.table.stem) and not c.is_balanced,
    ),
    (60, "its name says that it is of a later time", lambda c: target_names.is_forecast(c.name)),
    (
        60,
        "its name begins with y, and others' with x",
        lambda c: target_names.is_y_of_x1(c.name, c.table.folded) and not target_names.is_forecast(c.name),
    ),
    (
        40,
        "the time until an event",
        lambda c: (
            c.folded in target_names.TIMES_TO_EVENT and not c.is_dummy and bool({*c.table.events} - {c.name})
        ),
    ),
    (
        17,
        "the only column that could be classes",
        lambda c: (
            c.table.classes == [c.name]
            and len(c.table.able) > 2
            and c.name in c.table.ends
            and not c.is_balanced
        ),
    ),
    (
        12,  # beside other columns of classes: more than the first column has for its place
        "the last column, whose name says that it is classes",
        lambda c: (
            c.name in c.table.classes
            and len(c.table.able) > 2
            and c.name == c.table.ends[1]
            and names.names_classes(c.name)
            and not c.is_balanced
        ),
    ),
)

# --- what speaks against it --------------------------------------------------------------------------------

_DOUBTS: Final[tuple[tuple[float, Callable[[_Column], bool]], ...]] = (
    # One of several columns of 0 and 1.
    (-25, lambda c: c.is_dummy and not c.is_only_dummy and not c.ends_in_outcome),
    (-10, lambda c: c.is_dummy and not c.is_only_dummy and c.ends_in_outcome),
    # Texts, and numbers of few values: what is predicted is more often a measurement or 0 and 1.
    (-10, lambda c: c.inferred.type != "number"),
    (-10, lambda c: c.inferred.type == "number" and c.has_few_values and not c.is_dummy),
    # One of numbered columns, such as V1 to V100, that are half of all or more.
    (-30, lambda c: target_names.series_of(c.name) in c.table.main_series),
    # The groups or doses of an experiment, or what a file is sorted by.
    (-20, lambda c: c.is_balanced and not c.is_only_dummy and c.folded not in target_names.TARGET_NAMES),
    (-20, lambda c: value_patterns.has_steps(c.inferred)),
    (-25, lambda c: value_patterns.is_sorted(c.inferred)),
    # Computed from another column, the value of an earlier time, or known beforehand.
    (-60, lambda c: target_names.transformed(c.name, c.table.folded) is not None),
    (-40, lambda c: target_names.is_before(c.name, c.table.folded)),
    (-35, lambda c: target_names.is_context(c.name)),
    # A price, where the demand at that price is to be explained.
    (-45, lambda c: target_names.is_price_of_demand(c.name, c.table.folded)),
    # Names of persons or things, or no value in most rows.
    (-60, lambda c: names.names_name(c.name)),
    (-40, lambda c: 2 * c.inferred.missing > c.table.file.n_rows),
)

# --- the choice --------------------------------------------------------------------------------------------


def candidates(file: ReadTable, stem: str, roles: Roles | None = None) -> tuple[Candidate, ...]:
    """The columns that could be the target, the likeliest first.

    Each sign and doubt above gives points. The surest signs are a usual name
    (`target_names.TARGET_NAMES`) and the file's own name (mpg in mpg.csv); then words that targets often
    have (price, salary, score), and letters that the column's name shares with the file's; then the place:
    the last column, or the first where the others explain it better. What is 0 or 1 beside others of its
    kind, numbers of few values, columns that are numbered (V1 to V100), what is computed from another
    column, and what is known beforehand or was set by somebody (age, region, a dose) come after the others.
    Ids, counters, dates, weekdays, year dummies and marks of test rows are never chosen.

    Args:
        file: whose columns.
        stem: the file's name without its ending.
        roles: of the columns, if they are known.
    """
    table = _Table(file, stem, roles_of(file) if roles is None else roles)
    found = [_candidate(_Column(name, table)) for name in reversed(table.able)]
    return tuple(sorted(found, key=lambda candidate: -candidate.points))  # of equals, the last


def _candidate(column: _Column) -> Candidate:
    signs = [sign for rule in _SIGNS if (sign := rule(column)) is not None]
    signs += [(points, why) for points, why, applies in _PLAIN_SIGNS if applies(column)]
    against = sum(points for points, applies in _DOUBTS if applies(column))
    return Candidate(column.name, max(signs, default=(0.0, ""))[1], sum(p for p, _ in signs) + against)


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


def unable_by_name(file: ReadTable, roles: Roles) -> dict[str, str]:
    """Columns with a usual name of a target that are never chosen, each with the reason, as the end of a
    sentence that begins with it."""
    reasons = {
        name: _why_never(name, roles) if name in roles.no_targets else why_no_target(inferred, file.n_rows)
        for name, inferred in file.columns.items()
        if names.folded(name) in target_names.TARGET_NAMES
    }
    return {name: why for name, why in reasons.items() if why is not None}
