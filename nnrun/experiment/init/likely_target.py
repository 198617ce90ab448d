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

# How much each sign counts, in points. The surest names are above all else; a position never outweighs one.
_USUAL_NAME: Final = 10_000
_NEXT_USUAL_NAME: Final = 200
_FILE_NAME: Final = 800
_OUTCOME_NAME: Final = 65
_OUTCOME_WORD: Final = 40
_COMPOUND: Final = 30
_MEDIUM_WORD: Final = 35
_WEAK_WORD: Final = 24
_FORECAST: Final = 60
_Y_OF_X: Final = 60
_SHARED_LETTER: Final = 10
_MOST_SHARED: Final = 50
_TIME_TO_EVENT: Final = 40
_LAST: Final = 28
_FIRST: Final = 25
_NEXT_TO_LAST: Final = 8  # the last of those that could be one, and so for the first
_NEXT_TO_FIRST: Final = 14
_EXPLAINED: Final = 15
_CLEARLY: Final = 0.15  # of the variance
_FEW_COLUMNS: Final = 2
_FEW: Final = 10  # values
_FEWEST_NUMBERED: Final = 3
_SHARED_BY_KNOWN: Final = 0.3
_ONLY_CLASSES: Final = 17

_TEXT: Final = -10
_FEW_VALUES: Final = -10
_DUMMY: Final = -25
_NAMED_DUMMY: Final = -10
_BALANCED: Final = -20
_SORTED: Final = -25
_STEPS: Final = -20
_NUMBERED: Final = -30
_COMPUTED: Final = -60
_BEFORE: Final = -40
_CONTEXT: Final = -35
_PRICE_OF_DEMAND: Final = -45
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
        few = (2, 3)
        return [
            name
            for name in self.able
            if target_names.names_event(name) and self.file.columns[name].distinct in few
        ]

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
    def words(self) -> tuple[str, ...]:
        return names.words_of(target_names.without_unit(self.name))

    @property
    def is_balanced(self) -> bool:
        return value_patterns.is_balanced(self.inferred)

    @property
    def at_end(self) -> bool:
        return self.name in self.table.ends

    @property
    def is_only_dummy(self) -> bool:
        """Whether it is the only column of 0 and 1, and at an end."""
        return self.table.dummies == [self.name] and self.at_end


_Sign = tuple[float, str]

# --- what speaks for a column ------------------------------------------------------------------------------


def _usual_name(column: _Column) -> _Sign | None:
    if column.folded not in target_names.TARGET_NAMES:
        return None
    if column.folded == "y" and {"x", "z"} <= column.table.folded:
        return None  # a place
    distinct = column.inferred.distinct
    if names.names_classes(column.name) and (distinct is None or distinct > MOST_CLASSES):
        return None
    place = target_names.TARGET_NAMES.index(column.folded)
    return _USUAL_NAME - _NEXT_USUAL_NAME * place, "a common name for a target"


def _file_name(column: _Column) -> _Sign | None:
    if column.folded and column.folded == names.folded(column.table.stem) and not column.is_balanced:
        return _FILE_NAME, "it has the same name as the file"
    return None


def _outcome_word(column: _Column) -> _Sign | None:
    ends = set(column.words[:1] + column.words[-1:])
    if column.folded in target_names.OUTCOME_WORDS:
        share = target_names.OUTCOME_WORDS.index(column.folded) / len(target_names.OUTCOME_WORDS)
        return _OUTCOME_NAME - share, "often the name of a target"
    if word := next((word for word in column.words[::-1] if word in ends & _OUTCOMES), None):
        return _OUTCOME_WORD, f"'{word}' is often part of a target's name"
    if (word := target_names.ends_like_outcome(column.name)) is not None:
        return _COMPOUND, f"'{word}' is often part of a target's name"
    if ends & target_names.MEDIUM_WORDS:
        return _MEDIUM_WORD, "often the name of a target"
    if target_names.WEAK_WORDS & set(column.words):
        return _WEAK_WORD, "sometimes the name of a target"
    return None


_OUTCOMES: Final = frozenset(target_names.OUTCOME_WORDS)


def _shared_with_file(column: _Column) -> _Sign | None:
    shared = target_names.shared_with(column.name, column.table.stem)
    points: float = min(_MOST_SHARED, _SHARED_LETTER * shared)
    if column.is_balanced or target_names.is_context(column.name):
        points *= _SHARED_BY_KNOWN  # the schools in schooldays.csv
    return (points, "its name resembles the file's") if shared else None


def _later_or_y(column: _Column) -> _Sign | None:
    if target_names.is_forecast(column.name):
        return _FORECAST, "its name says that it is of a later time"
    if target_names.is_y_of_x1(column.name, column.table.folded):
        return _Y_OF_X, "its name begins with y, and others' with x"
    return None


def _time_to_event(column: _Column) -> _Sign | None:
    timed = target_names.times_event(column.name) and not is_dummy(column.inferred)
    others = [name for name in column.table.events if name != column.name]
    return (_TIME_TO_EVENT, "the time until an event") if timed and others else None


def _place(column: _Column) -> _Sign | None:
    table, name = column.table, column.name
    (first, last), (own_first, own_last) = table.ends, table.own_ends
    if name == last == own_last:
        return _LAST, "the last column"
    if name == first == own_first:
        if table.explains_first:
            return (
                _FIRST + _EXPLAINED,
                "the first column, which the others predict better than they predict the last",
            )
        return _FIRST, "the first column"
    if name == own_last:
        return _NEXT_TO_LAST, "the last column that could be a target"
    if name == own_first:
        return _NEXT_TO_FIRST, "the first column that could be a target"
    return None


def _only_classes(column: _Column) -> _Sign | None:
    alone = column.table.classes == [column.name] and len(column.table.able) > _FEW_COLUMNS
    if alone and column.at_end and not column.is_balanced:
        return _ONLY_CLASSES, "the only column that could be classes"
    return None


_SIGNS: Final[tuple[Callable[[_Column], _Sign | None], ...]] = (
    _usual_name,
    _file_name,
    _outcome_word,
    _shared_with_file,
    _later_or_y,
    _time_to_event,
    _place,
    _only_classes,
)

# --- what speaks against it --------------------------------------------------------------------------------


def _one_of_dummies(column: _Column) -> float:
    if not is_dummy(column.inferred) or column.is_only_dummy:
        return 0
    return _NAMED_DUMMY if target_names.ends_in_outcome(column.name) else _DUMMY


def _no_measurement(column: _Column) -> float:
    """Texts, and numbers of few values: what is predicted is more often a measurement or 0 and 1."""
    if column.inferred.type != "number":
        return _TEXT
    distinct = column.inferred.distinct
    few = distinct is not None and distinct <= _FEW and not is_dummy(column.inferred)
    return _FEW_VALUES if few else 0


def _numbered(column: _Column) -> float:
    """One of numbered columns, such as V1 to V100, that are half of all or more."""
    return _NUMBERED if target_names.series_of(column.name) in column.table.main_series else 0


def _set_by_somebody(column: _Column) -> float:
    """The groups or doses of an experiment, or what a file is sorted by."""
    named = column.folded in target_names.TARGET_NAMES
    balanced = column.is_balanced and not named and not column.is_only_dummy
    steps = value_patterns.has_steps(column.inferred)
    ordered = value_patterns.is_sorted(column.inferred)
    return balanced * _BALANCED + steps * _STEPS + ordered * _SORTED


def _computed_or_known(column: _Column) -> float:
    """Computed from another column, known beforehand, or the value of an earlier time."""
    others = column.table.folded
    computed = target_names.transformed(column.name, others) is not None
    before = target_names.is_before(column.name, others)
    context = target_names.is_context(column.name)
    return computed * _COMPUTED + before * _BEFORE + context * _CONTEXT


def _price_of_demand(column: _Column) -> float:
    return _PRICE_OF_DEMAND if target_names.is_price_of_demand(column.name, column.table.folded) else 0


def _name_or_gaps(column: _Column) -> float:
    """Names of persons or things, or no value in most rows."""
    gaps = 2 * column.inferred.missing > column.table.file.n_rows
    return names.names_name(column.name) * _NAME + gaps * _GAPS


_DOUBTS: Final[tuple[Callable[[_Column], float], ...]] = (
    _one_of_dummies,
    _no_measurement,
    _numbered,
    _set_by_somebody,
    _computed_or_known,
    _price_of_demand,
    _name_or_gaps,
)

# --- the choice --------------------------------------------------------------------------------------------


def candidates(file: ReadTable, stem: str, roles: Roles | None = None) -> tuple[Candidate, ...]:
    """The columns that could be the target, the likeliest first.

    Each rule above gives points for or against a column. The surest signs are a usual name
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
    why = max(signs, default=(0.0, ""))[1]
    points = sum(points for points, _ in signs) + sum(rule(column) for rule in _DOUBTS)
    return Candidate(column.name, why, points)


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
    called = [name for name in file.columns if names.folded(name) in target_names.TARGET_NAMES]
    reasons = {name: why_no_target(file.columns[name], file.n_rows) for name in called}
    reasons |= {name: _why_never(name, roles) for name in called if name in roles.no_targets}
    return {name: why for name, why in reasons.items() if why is not None}
