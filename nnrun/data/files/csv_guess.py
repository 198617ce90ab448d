"""How a CSV file is written, guessed from what it holds: a header or none, how its numbers are spelled, which
texts mean a missing value. For a person who looks at a file, and for a first spec, which then says so."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.data.files.columns import RawTexts, TableBuilder
from nnrun.data.files.csv_reader import MISSING, CsvReader
from nnrun.data.inference.number_guess import NumberGuess, guess_numbers
from nnrun.data.inference.number_spelling import PLAIN, Spelling, Spellings

_ROWS_OF_HEADER_GUESS: Final = 200
_MOSTLY: Final = 0.8
_DECIMAL_COMMA: Final = Spelling(decimal=",")
_THOUSANDS_COMMA: Final = Spelling(thousands=",")
_THOUSANDS_POINT: Final = Spelling(decimal=",", thousands=".")


def lacks_header(path: Path) -> bool:
    """Whether the first line of a file is a row, to judge by the values below it.

    It is where each of its fields is a number over numbers, or stands among the values of its column as well.
    Where a field is a number with decimals or below zero, or two are the same, four in five are enough.
    """
    reader = CsvReader(path, missing=(), reports=_ROWS_OF_HEADER_GUESS)
    first = [field.strip() for field in reader.first_row]
    rows = reader.first_rows(_ROWS_OF_HEADER_GUESS) if first else []
    if not rows or first == list(map(str, range(len(first)))):
        return False  # pandas names the columns of an array so
    columns = ([field.strip() for field in column] for column in zip(*rows, strict=True))
    explained = [_is_value(value, column) for value, column in zip(first, columns, strict=True)]
    named = [(name, known) for name, known in zip(first, explained, strict=True) if name]
    if not named:
        return False
    share = sum(known for _, known in named) / len(named)
    given = [name for name, _ in named]
    odd = any("." in name or name.startswith("-") for name in given if _is_number(name))
    odd |= len(set(given)) < len(given)
    return share == 1 or (odd and share >= _MOSTLY)


def guess_spelling(reader: CsvReader) -> dict[str, Any]:
    """What a spec must say of numbers: `decimal`, `thousands`, `number_formats`, `missing`.

    All columns are read as texts for that. A file of one spelling gets the keys of the file; else those
    columns that differ have their own.

    Raises:
        DataError: the file is damaged.
    """
    columns = _all_texts(reader)
    usual = frozenset(MISSING)
    guesses = {name: _guess(raw, usual) for name, raw in columns.items()}
    found = {name: guess for name, guess in guesses.items() if guess is not None}
    spellings = _in_context(found, columns, reader.delimiter)
    marks = list(dict.fromkeys(text for guess in found.values() for text in guess.missing))
    keys = _keys(spellings, found, columns)
    if marks:
        present = {level for raw in columns.values() for level in raw.levels}
        keys["missing"] = [*marks, *(text for text in MISSING if text and text in present)]
    return keys


def _guess(raw: RawTexts, usual: frozenset[str]) -> NumberGuess | None:
    counts = np.bincount(raw.codes[raw.codes >= 0], minlength=len(raw.levels))
    kept = [i for i, level in enumerate(raw.levels) if level not in usual]
    return guess_numbers([raw.levels[i] for i in kept], counts[kept])


def _in_context(
    found: Mapping[str, NumberGuess], columns: Mapping[str, RawTexts], delimiter: str
) -> dict[str, Spelling]:
    """Column → its spelling. 1,234 and 1.234 are read as the other columns are.

    Without others, a comma before three digits is a decimal comma where a semicolon separates the fields.
    """
    spellings = {name: guess.spelling for name, guess in found.items()}
    points = any(
        guess.spelling in (PLAIN, _THOUSANDS_COMMA)
        and _has(columns[name], ".")
        and not _reads(columns[name], _THOUSANDS_POINT, guess)
        for name, guess in found.items()
    )
    commas = any(s.decimal == "," for s in spellings.values()) or (delimiter == ";" and not points)
    for name, guess in found.items():
        raw = columns[name]
        if (
            guess.spelling == _THOUSANDS_COMMA
            and commas
            and not points
            and _reads(raw, _DECIMAL_COMMA, guess)
        ):
            spellings[name] = _DECIMAL_COMMA
    commas = any(s.decimal == "," for s in spellings.values())
    for name, guess in found.items():
        raw = columns[name]
        if guess.spelling == PLAIN and commas and _has(raw, ".") and _reads(raw, _THOUSANDS_POINT, guess):
            spellings[name] = _THOUSANDS_POINT
    return spellings


def _reads(raw: RawTexts, spelling: Spelling, guess: NumberGuess) -> bool:
    """Whether a column is as good as guessed in another spelling."""
    good = np.array([not np.isnan(spelling.number(level)) for level in raw.levels] + [False], bool)
    return int(good[raw.codes].sum()) >= guess.numbers


def _has(raw: RawTexts, mark: str) -> bool:
    return any(mark in level for level in raw.levels)


def _keys(
    spellings: Mapping[str, Spelling], found: Mapping[str, NumberGuess], columns: Mapping[str, RawTexts]
) -> dict[str, Any]:
    """Of the whole file, where one spelling reads every column; else of those columns that differ."""
    own = {name: spelling for name, spelling in spellings.items() if not spelling.plain}
    if not own:
        return {}
    decimals = {s.decimal for s in own.values()}
    marks = {s.thousands for s in own.values()} - {None}
    if len(decimals) == 1 and len(marks) <= 1:
        (decimal,) = decimals
        usual = Spelling(decimal, next(iter(marks), None))
        if all(_reads(columns[name], usual, guess) for name, guess in found.items()):
            return usual.keys()
    return Spellings(own=own).keys()


def _all_texts(reader: CsvReader) -> dict[str, RawTexts]:
    literal = copy.copy(reader)
    literal.missing = ("",)
    builder = TableBuilder(reader.names, set(reader.names), frozenset([""]))
    for batch in literal.batches(reader.names, builder.as_text):
        if batch.n_rows:
            builder.add(batch)
    return {name: raw for name, raw in builder.built(None).items() if isinstance(raw, RawTexts)}


def _is_value(name: str, below: Sequence[str]) -> bool:
    present = [value for value in below if value and value not in MISSING]
    if _is_number(name):
        return bool(present) and sum(map(_is_number, present)) >= _MOSTLY * len(present)
    return name in present


def _is_number(text: str) -> bool:
    return not np.isnan(PLAIN.number(text))
