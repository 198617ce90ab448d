"""What a column of a file is: numbers, a category, or texts. The rules, in this order:

1. A column that the spec's `types` names is what it says there.
2. All values are `true` or `false` (in any case): a category of `False` and `True`.
3. All values are finite numbers: numbers, also where there are only a few different ones. But a leading
   zero (02116), or a capital E between the digits of all (5E3), says that they are codes: a category, which
   is told. So it is where a few texts stand among codes with leading zeros.
4. More than 95 % of at least 20 values are numbers: most probably numbers, some of them mistyped. The column
   is a category, and the first value that is no number is told; what needs the column refuses it. Where 80 %
   are, in this spelling of numbers or another (1.234,5), it is a category, which is told with the way out.
5. More than 95 % of the values are dates, of which days and months can be told apart (`dates`).
6. The values have 4 words or more on average, and more than 100 of them, or half of them, differ: texts.
7. Everything else: a category.

In JSON and Parquet a text is a text, also
where it looks like a number. Blanks around a value do not count. `12%`, `$5.00` and a Unicode minus are
numbers; decimal commas and thousands separators are where the spec says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data.files.columns import Raw, RawNumbers, RawTexts
from nnrun.data.inference.dates import guess_dates, is_ambiguous, no_such_days
from nnrun.data.inference.number_guess import NumberGuess, guess_numbers, one_unit
from nnrun.data.inference.number_spelling import PLAIN, Spelling, in_another_spelling, is_marked
from nnrun.data.table import (
    CategoryColumn,
    Column,
    NumberColumn,
    TextColumn,
    as_categories,
    number_column,
)
from nnrun.data.value_names import (
    code_among,
    in_digits,
    is_truth,
    number_name,
    number_of,
    truth_name,
    wide_whole_number,
)
from nnrun.errors import printable
from nnrun.mapped_arrays import leave_memory
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted, listing_of_some, quoted

_FEW_NAMES: Final = 20
_AT_ONCE: Final = 1 << 22
_IN_CACHE: Final = 1 << 16  # numbers that stay in a CPU's cache from one look to the next
_SHOWN_OTHERS: Final = 3
_CORRECT: Final = "correct those, or say that it is a category (`types`)"
_MOSTLY: Final = 0.95
_ENOUGH_VALUES: Final = 20
_WORDS_OF_A_TEXT: Final = 4
_MANY_TEXTS: Final = 100
_NEARLY_UNIQUE: Final = 0.5
_MOST_COUNTED: Final = 1_000_000


@dataclass(frozen=True)
class InvalidValue:
    """A value that does not fit its column.

    Attributes:
        row: from 0.
        value: as the file has it.
        numbers: how many of the column's values are numbers, and of how many.
        declared: the column must hold numbers, since somebody said so.
        other: what it is where it is a number in another spelling; else empty.
    """

    row: int
    value: str
    numbers: int
    of: int
    declared: bool = False
    other: str = ""


@dataclass(frozen=True)
class ColumnWarning:
    """What a person should know of a column.

    Attributes:
        kind: `names` for values that a network cannot generalize from; `spelling` for numbers that are
            read as a category and need not be; `codes` for numbers that are read as a category since they
            are codes; `dates` for dates among which some name no day.
        text: a sentence without its subject, which is the column.
    """

    kind: Literal["missing", "constant", "mixed", "spelling", "infinite", "names", "codes", "dates"]
    text: str


@dataclass(frozen=True)
class Infinite:
    """The infinite numbers of a column.

    Attributes:
        row: of the first, from 0.
        rows: that hold one.
        texts: as a file writes them: `inf`, `-inf`.
    """

    row: int
    rows: int
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ColumnInference:
    """A column and its inferred type.

    Attributes:
        column: its values.
        type: what it is.
        why: the rule, as the end of a sentence that begins with the type.
        missing: rows without a value.
        levels: different values of a category or of texts; None of numbers.
        warnings: what a person should know before it is an input.
        wrong: the first value that breaks a column of numbers, or None.
        constant: all rows have the same value, or none.
        infinite: where the column holds infinite numbers, which stand as missing values; else None.
    """

    column: Column
    type: ColumnType
    why: str
    missing: int
    levels: int | None
    warnings: tuple[ColumnWarning, ...] = ()
    wrong: InvalidValue | None = None
    constant: bool = False
    infinite: Infinite | None = None

    @cached_property
    def distinct(self) -> int | None:
        """Different values; None for more numbers than are worth counting."""
        if self.levels is not None:
            return self.levels
        return _distinct(np.asarray(self.column.values)) if isinstance(self.column, NumberColumn) else None


def infer(
    name: str,
    raw: Raw,
    declared: ColumnType | None = None,
    *,
    typed: bool = False,
    spelling: Spelling = PLAIN,
) -> ColumnInference:
    """The column that raw values are, by the rules above.

    Args:
        name: the column's.
        raw: its values.
        declared: its type by the spec.
        typed: texts are texts, also where they look like numbers.
        spelling: how its numbers are written, where they are texts.
    """
    if isinstance(raw, RawNumbers):
        if declared in ("category", "text", "date"):
            raw = _as_texts(raw)
        else:
            return _numbers(number_column(name, raw.values), declared)
    inferred = _of_texts(name, raw, declared, typed, spelling)
    leave_memory(raw.codes)
    return inferred


def _of_texts(
    name: str, raw: RawTexts, declared: ColumnType | None, typed: bool, spelling: Spelling
) -> ColumnInference:
    counts = np.bincount(raw.codes[raw.codes >= 0], minlength=len(raw.levels))
    total = int(counts.sum())
    if not total and declared in (None, "number"):
        return _numbers(NumberColumn(name, np.full(len(raw.codes), np.nan)), declared)
    if is_truth(raw.levels) and declared in (None, "category"):
        return _category(name, _truth(raw), counts, "all values are true or false", declared)
    numbers = spelling.numbers(raw.levels)
    is_number = ~np.isnan(numbers)
    good = int(counts[is_number].sum())
    typed = typed and not raw.numeric
    if declared is None and not typed:
        code = code_among(level for level, is_one in zip(raw.levels, is_number, strict=True) if is_one)
        if code is not None and (good == total or (code.isdecimal() and good > _MOSTLY * total)):
            return _codes(name, raw, counts, code, good, total)
    alike = one_unit([level for level, good_one in zip(raw.levels, is_number, strict=True) if good_one])
    if declared == "number" or (declared is None and not typed and good == total and alike):
        if good == total:
            column = _exact_column(name, raw, numbers)
            return _numbers(column, declared, _written(raw.levels, spelling))
        wrong = replace(_first_wrong(raw, is_number, spelling), declared=declared is not None)
        return _category(name, raw, counts, "not all values are numbers", None, wrong)
    hint = _hint(name, raw, counts, typed, spelling) if declared is None else None
    if declared is None and total >= _ENOUGH_VALUES and _MOSTLY * total < good < total:
        if hint is not None and hint.kind == "spelling":
            return _category(name, raw, counts, "not all values are numbers", None, None, hint)
        wrong = _first_wrong(raw, is_number, spelling)
        return _category(name, raw, counts, "not all values are numbers", None, wrong, hint)
    if declared == "date" or (declared is None and guess_dates(raw.levels, counts) is not None):
        return _dates(name, raw, counts, declared)
    words = sum(int(n) * len(level.split()) for level, n in zip(raw.levels, counts, strict=True)) / max(
        1, total
    )
    distinct = len(raw.levels)
    if declared == "text" or (
        declared is None
        and words >= _WORDS_OF_A_TEXT
        and (distinct > _MANY_TEXTS or distinct > _NEARLY_UNIQUE * total)
    ):
        return _texts(name, raw, declared, words)
    return _category(name, raw, counts, f"{counted(distinct, 'different value')}", declared, None, hint)


def _hint(
    name: str, raw: RawTexts, counts: npt.NDArray[np.integer], typed: bool, spelling: Spelling
) -> ColumnWarning | None:
    """What to say of a category that is mostly numbers."""
    guess = guess_numbers(raw.levels, counts)
    if guess is None:
        return None
    if typed and raw.some_numeric and guess.others:
        way = f"`missing: {_marks(guess)}` reads the column as numbers" if guess.missing else _CORRECT
        return ColumnWarning("mixed", f"{_numbers_and_others(guess)}: {way}")
    if typed:
        names = not raw.some_numeric and _are_names(raw.levels, guess)
        return None if names else _hint_of_texts(name, guess)
    ways: list[str] = []
    example = ""
    if guess.spelling != spelling:
        keys = ", ".join(f"{key}: {quoted(mark)}" for key, mark in guess.spelling.keys().items())
        example = f" such as {quoted(guess.example)}"
        ways.append(f"`{keys or 'decimal: .'}`")
    if guess.missing:
        ways.append(f"`missing: {_marks(guess)}` (which replaces the default list of NA, null, ...)")
    holds = _numbers_and_others(guess, example) if guess.others else f"holds numbers{example}"
    if not ways:
        return ColumnWarning("mixed", f"{holds}: {_CORRECT}")
    reads = "reads" if len(ways) == 1 else "read"
    return ColumnWarning(
        "spelling" if guess.spelling != spelling else "mixed",
        f"{holds}: {' and '.join(ways)} {reads} the column as numbers",
    )


def _are_names(levels: Sequence[str], guess: NumberGuess) -> bool:
    """Whether texts that look like numbers may be names: few, and whole numbers, as "1" and "2"."""
    numbers = (guess.spelling.number(level) for level in levels if level not in guess.others)
    return len(levels) <= _FEW_NAMES and all(map(float.is_integer, numbers))


def _hint_of_texts(name: str, guess: NumberGuess) -> ColumnWarning:
    """The same where numbers are texts of a file that has both."""
    holds = f"holds texts that are numbers, such as {quoted(guess.example)}"
    if guess.others:
        holds += (
            f", in {guess.numbers:,} of {guess.of:,} values, and others, such as {quoted(guess.others[0])}"
        )
    ways = f"`types: {{{printable(name)}: number}}` reads"
    if not guess.spelling.plain:
        ways = f"write them with a decimal point and without thousands separators, and {ways}"
    elif guess.missing:
        ways = ways.removesuffix("s")
        ways = f"`missing: {_marks(guess)}` (JSON lines only; in other files write null) and {ways}"
    return ColumnWarning("spelling", f"{holds}: {ways} the column as numbers")


def _numbers_and_others(guess: NumberGuess, example: str = "") -> str:
    shown = listing_of_some([quoted(text) for text in guess.others], _SHOWN_OTHERS, "others")
    return f"holds numbers{example} in {guess.numbers:,} of {guess.of:,} values, and also {shown}"


def _marks(guess: NumberGuess) -> str:
    return f"[{', '.join(quoted(text) for text in guess.missing)}]"


def _written(levels: Sequence[str], spelling: Spelling) -> str:
    """How unusual numbers are written: a remark with an example."""
    unlike = (
        text for text in levels if is_marked(text) or (not spelling.plain and np.isnan(number_of(text)))
    )
    example = next(unlike, None)
    return "" if example is None else f", written as {quoted(example)}"


# --- the three types ---------------------------------------------------------------------------------------


def _numbers(column: NumberColumn, declared: ColumnType | None, written: str = "") -> ColumnInference:
    low, high = _range(column.values)
    infinite: Infinite | None = None
    missing = 0
    if not (math.isfinite(low) and math.isfinite(high)):  # else neither is there; NaN is the range with one
        values, infinite = _without_infinite(column.values)
        column = NumberColumn(column.name, values, column.names)
        missing = int(column.missing.sum())
    present = len(column.values) - missing
    levels = None if column.names is None else len(column.names.levels)
    warnings: list[ColumnWarning] = []
    if infinite is not None:
        rows = _share(infinite.rows, len(column.values))
        warnings.append(
            ColumnWarning("infinite", f"holds an infinite number in {rows}, counted as missing here")
        )
    usual = "all values are numbers" if present else "the column has no values"
    why = (_declared(declared) or usual) + written
    only = None
    if present and not missing and low == high and levels in (None, 1):
        only = column.names.levels[0] if column.names is not None else number_name(column.values[0].item())
    constant, of_values = _gaps_and_sameness(len(column.values), missing, only)
    leave_memory(column.values)
    return ColumnInference(
        column, "number", why, missing, levels, (*warnings, *of_values), None, constant, infinite
    )


def _range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest number; NaN for both where there is one, or no number at all."""
    if not len(values):
        return math.nan, math.nan
    plain = np.asarray(values)  # a slice of a memmap takes longer
    parts = [plain[start : start + _IN_CACHE] for start in range(0, len(values), _IN_CACHE)]
    ranges = np.array([(part.min(), part.max()) for part in parts], values.dtype)
    return ranges[:, 0].min().item(), ranges[:, 1].max().item()


def _gaps_and_sameness(
    rows: int, missing: int, only: str | None, value: str = "value"
) -> tuple[bool, list[ColumnWarning]]:
    """Whether all rows have the same value, or none, and what to say of that or of gaps.

    Args:
        rows: of the column.
        missing: rows without a value.
        only: the single value that the column holds, as a message writes it; None where it holds others.
        value: what messages call a value.
    """
    if missing == rows:
        return True, [ColumnWarning("constant", f"has no {value} in any row")]
    if missing:
        return False, [ColumnWarning("missing", f"lacks a {value} in {_share(missing, rows)}")]
    return only is not None, [] if only is None else [ColumnWarning("constant", f"is {only} in every row")]


def _exact_column(name: str, raw: RawTexts, numbers: npt.NDArray[np.float64]) -> NumberColumn:
    """Texts that are all numbers as numbers."""
    values = np.append(numbers, np.nan)[raw.codes]
    if not any(wide_whole_number(level) is not None for level in raw.levels):
        return NumberColumn(name, values)
    exact = [in_digits(level, number) for level, number in zip(raw.levels, numbers.tolist(), strict=True)]
    return number_column(name, values, [None if code < 0 else exact[code] for code in raw.codes])


def _codes(
    name: str, raw: RawTexts, counts: npt.NDArray[np.integer], code: str, good: int, total: int
) -> ColumnInference:
    """Numbers that are taken for codes, which is told; some texts may be among them."""
    sign = "has a leading zero" if code.isdecimal() else "looks like a code"
    found = _category(name, raw, counts, f"{quoted(code)} {sign}, so the values are codes", None)
    if found.constant:
        return found
    others = "" if good == total else f" (and {total - good:,} of {total:,} values are not numbers)"
    warning = ColumnWarning(
        "codes",
        f"holds codes, such as {quoted(code)}{others}, so it is a category; if they are amounts, set "
        f"`types: {{{printable(name)}: number}}`",
    )
    return replace(found, warnings=(*found.warnings, warning))


def _without_infinite(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Infinite | None]:
    """The numbers with NaN in place of infinities, in the same array where there are none."""
    if values.dtype.kind != "f":
        return values, None
    first, rows, texts = -1, 0, set()
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        places = np.flatnonzero(np.isinf(part))
        if len(places):
            first = start + int(places[0]) if first < 0 else first
            rows += len(places)
            texts |= {"inf" if value > 0 else "-inf" for value in part[places]}
    if not rows:
        return values, None
    return np.where(np.isinf(values), np.nan, values), Infinite(
        first, rows, tuple(sorted(texts, reverse=True))
    )


def _category(
    name: str,
    raw: RawTexts,
    counts: npt.NDArray[np.integer],
    why: str,
    declared: ColumnType | None,
    wrong: InvalidValue | None = None,
    hint: ColumnWarning | None = None,
) -> ColumnInference:
    total = int(counts.sum())
    missing, distinct = len(raw.codes) - total, len(raw.levels)
    constant, warnings = _gaps_and_sameness(len(raw.codes), missing, _only(raw))
    if hint is not None:
        warnings.append(hint)
    elif wrong is not None:
        numbers = f"has numbers in {wrong.numbers:,} of {wrong.of:,} values"
        warnings.append(ColumnWarning("mixed", f"{numbers}, and {quoted(wrong.value)} is not a number"))
    elif declared is None and (wrong_days := no_such_days(raw.levels, counts)):
        warnings.append(_no_such_days(name, wrong_days))
    elif declared is None and is_ambiguous(raw.levels):
        example = quoted(raw.levels[0])
        warnings.append(
            ColumnWarning(
                "names",
                f"looks like dates in which day and month cannot be told apart, such as {example}: say "
                f"`types: {{{name}: date}}`, and `day_first` in the step `datetime`",
            )
        )
    elif total >= _ENOUGH_VALUES and distinct > _NEARLY_UNIQUE * total:
        different = f"has {distinct:,} different values in {total:,} rows"
        warnings.append(
            ColumnWarning(
                "names",
                f"{different}: a network cannot generalize from such names; leave it out of `inputs`",
            )
        )
    column = CategoryColumn(name, raw.codes, raw.levels)
    return ColumnInference(
        column, "category", _declared(declared) or why, missing, distinct, tuple(warnings), wrong, constant
    )


def _dates(
    name: str, raw: RawTexts, counts: npt.NDArray[np.integer], declared: ColumnType | None
) -> ColumnInference:
    inferred = _category(name, raw, counts, "the values are dates", "date" if declared else None)
    warnings = tuple(w for w in inferred.warnings if w.kind in ("missing", "constant", "dates"))
    column = CategoryColumn(name, raw.codes, raw.levels, dates=True)
    return replace(inferred, column=column, type="date", warnings=warnings)


def _no_such_days(name: str, texts: Sequence[str]) -> ColumnWarning:
    example = quoted(texts[0])
    more = "" if len(texts) == 1 else f" and {counted(len(texts) - 1, 'other text')}"
    return ColumnWarning(
        "dates",
        f"holds dates, but {example}{more} {'names' if len(texts) == 1 else 'name'} no day that exists: "
        f"correct the file, or list such texts in `missing` and say `types: {{{printable(name)}: date}}`",
    )


def _texts(name: str, raw: RawTexts, declared: ColumnType | None, words: float) -> ColumnInference:
    missing = int((raw.codes < 0).sum())
    levels = np.empty(len(raw.levels) + 1, object)
    levels[:-1] = raw.levels
    levels[-1] = None
    why = _declared(declared) or f"{words:.0f} words a value, many of them different"
    constant, warnings = _gaps_and_sameness(len(raw.codes), missing, _only(raw), "text")
    column = TextColumn(name, levels[raw.codes])
    return ColumnInference(column, "text", why, missing, len(raw.levels), tuple(warnings), None, constant)


def _only(raw: RawTexts) -> str | None:
    return quoted(raw.levels[0]) if len(raw.levels) == 1 else None


def _as_texts(raw: RawNumbers) -> RawTexts:
    """Numbers of a file whose numbers are numbers (JSON, Parquet) as the names of a category."""
    categories = as_categories(number_column("", raw.values))
    return RawTexts(categories.codes, categories.levels)


def _truth(raw: RawTexts) -> RawTexts:
    levels = tuple(sorted({truth_name(level) for level in raw.levels}))
    places = np.array([levels.index(truth_name(level)) for level in raw.levels] + [-1], np.int32)
    return RawTexts(places[raw.codes], levels)


# --- small questions ---------------------------------------------------------------------------------------


def _first_wrong(raw: RawTexts, is_number: npt.NDArray[np.bool_], spelling: Spelling) -> InvalidValue:
    present = raw.codes >= 0
    good = np.append(is_number, True)[raw.codes]
    row = int(np.flatnonzero(present & ~good)[0])
    value = raw.levels[raw.codes[row]]
    other = in_another_spelling(value, spelling) or ""
    return InvalidValue(row, value, int((good & present).sum()), int(present.sum()), other=other)


def _distinct(values: npt.NDArray[Any]) -> int | None:
    if len(values) > _MOST_COUNTED:
        return None
    import pandas as pd

    return int(pd.unique(np.asarray(values[~np.isnan(values)])).size)


def _declared(declared: ColumnType | None) -> str:
    return "" if declared is None else "the spec's `types` says so"


def _share(rows: int, of: int) -> str:
    return f"{counted(rows, 'row')} ({100 * rows / of:.1f} %)"
