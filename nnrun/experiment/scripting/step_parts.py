"""Functions that a written script has copies of: fields to values, values to features.

They are copied as they stand, with what they take from nnrun's own modules of pure functions. A row that
cannot be taken raises BadRow.

N rows, L levels, K words or runs of words, Q quantiles.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnrun.data.inference.dates import parse_dates
from nnrun.data.preprocess.quantile_steps import normal_quantile
from nnrun.data.preprocess.split_words import WORD
from nnrun.data.value_names import number_name, number_of, truth_name, value_name


class BadRow(ValueError):
    """A row that cannot be taken: its number, from 0, and what is wrong with it."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row} {reason}")
        self.row, self.reason = row, reason


# --- fields ------------------------------------------------------------------------------------------------


def refuse_rows_without(rows: Sequence[Any], names: Sequence[str]) -> None:
    """BadRow at a row that is no dictionary by column, or that has none of the columns."""
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise BadRow(place, f"is {row!r}, which is not a dictionary with the columns' names")
        if not any(name in row for name in names):
            raise BadRow(place, f"has none of the columns {', '.join(names)}")


def table_rows(rows: Any) -> Any:
    """Rows of a data frame as dictionaries, None where a value is missing, dates as texts; else `rows`."""
    if hasattr(rows, "to_pandas"):
        rows = rows.to_pandas()
    if not hasattr(rows, "to_dict") or isinstance(rows, Mapping):
        return rows
    columns: dict[str, list[Any]] = {}
    for name in rows.columns:
        gaps = rows[name].isna().tolist()
        values = [None if gap else value for value, gap in zip(rows[name].tolist(), gaps, strict=True)]
        dates = [str(value) for value in values if hasattr(value, "isoformat")]
        if dates:
            end = 10 if all(date[10:19] in ("", " 00:00:00") for date in dates) else None
            values = [str(value)[:end] if hasattr(value, "isoformat") else value for value in values]
        columns[str(name)] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def number_column(
    rows: Sequence[Mapping[str, Any]],
    name: str,
    missing: frozenset[str],
    number: Callable[[str], float] = number_of,
) -> np.ndarray:
    """(N,) float64, NaN where a number is missing; `number` reads texts."""
    gaps = {gap for text in missing if not math.isnan(gap := number_of(text))}
    found = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        field = row.get(name)
        if field is None or field != field or (isinstance(field, str) and field.strip() in missing):
            continue
        if isinstance(field, str) and number_of(field) in gaps:
            continue
        try:
            value = number(field.strip()) if isinstance(field, str) else float(field)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if isinstance(field, bool) or not math.isfinite(value):
            raise BadRow(place, f"has {field!r} in column {name!r}, which is not a finite number")
        found[place] = value
    return found


def name_column(
    rows: Sequence[Mapping[str, Any]], name: str, missing: frozenset[str], truth: bool = False
) -> list[str | None]:
    """N values as texts, None where one is missing."""
    found: list[str | None] = []
    for place, row in enumerate(rows):
        field = row.get(name)
        try:
            known = None if isinstance(field, str) and field.strip() in missing else value_name(field)
            (known or "").encode()
        except (TypeError, UnicodeEncodeError):
            raise BadRow(place, f"has {field!r} in column {name!r}, which is not text") from None
        found.append(truth_name(known) if truth and known is not None else known)
    return found


def names_of_numbers(x: np.ndarray) -> list[str | None]:
    """(N,) numbers as texts, None where one is missing."""
    return [None if math.isnan(value) else number_name(value) for value in x.tolist()]


# --- numbers -----------------------------------------------------------------------------------------------


def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x)."""
    if (x <= -1).any():
        raise BadRow(int(np.argmax(x <= -1)), "has a number that is not above -1, for log1p")
    return np.log1p(x)


def robust(x: np.ndarray, center: Any, scale: Any, smooth: bool) -> np.ndarray:
    """Values from the median, in units of the range between the quartiles; `smooth`: between -3 and 3."""
    z = (x - center) * scale
    return z / np.sqrt(1 + (z / 3.0) ** 2) if smooth else z


def bins(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(..., W): 0 at a bin's lower edge and 1 at its upper one; all but the outer ends within 0 and 1."""
    lower, upper = edges[..., :-1], edges[..., 1:]
    z = (x[..., None] - lower) / (upper - lower)
    least, most = np.zeros(z.shape[-1]), np.ones(z.shape[-1])
    least[:1], most[-1:] = -3.0, 4.0
    return np.clip(z, least, most)


def quantile_ranks(x: np.ndarray, quantiles: np.ndarray, normal: bool) -> np.ndarray:
    """The rank of each value among ascending quantiles, or the normal distribution's value of that rank.

    (N,) of (Q,) quantiles, or (N, C) of (C, Q).
    """
    if x.ndim == 2:
        pairs = zip(x.T, quantiles, strict=True)
        return np.stack([quantile_ranks(column, own, normal) for column, own in pairs], axis=1)
    if quantiles[0] == quantiles[-1]:
        return np.where(np.isnan(x), x, 0.0)
    most = len(quantiles) - 1
    below, not_above = np.searchsorted(quantiles, x, "left"), np.searchsorted(quantiles, x, "right")
    start = np.clip(below - 1, 0, most - 1)
    low, high = quantiles[start], quantiles[start + 1]
    within = np.clip((x - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    place = np.where(below < not_above, (below + not_above - 1) / 2, start + within)
    rank = np.clip(place / most, 0.0, 1.0)
    return np.where(np.isnan(x), x, normal_quantile(rank, np) if normal else rank)


# --- categories --------------------------------------------------------------------------------------------


def places(values: Sequence[str | None], levels: Sequence[str], missing: int) -> np.ndarray:
    """(N,) the place of each value among the levels; -1 for others, `missing` for a missing one."""
    place = {level: i for i, level in enumerate(levels)}
    return np.array([missing if v is None else place.get(v, -1) for v in values], np.int64)


def refuse_unknown(values: Sequence[str | None], known: Sequence[str], missing: bool) -> None:
    """BadRow at a value that no training row had."""
    allowed: set[str | None] = {*known, None} if missing else {*known}
    for place, value in enumerate(values):
        if value not in allowed:
            raise BadRow(place, f"has {value!r}, which the training rows do not hold")


def one_hot(
    values: Sequence[str | None], levels: Sequence[str], missing: bool = False, others: bool = False
) -> np.ndarray:
    """(N, L) a 1 at the place of each value; one column more for missing ones, and one for all others."""
    width = len(levels) + missing + others
    at = places(values, levels, len(levels) if missing else -1)
    at = np.where(at < 0, width - 1, at) if others else at
    return (at[:, None] == np.arange(width)).astype(np.float64)


def ordinal(values: Sequence[str | None], levels: Sequence[str]) -> np.ndarray:
    """(N,) the place of each value; NaN where one is missing."""
    at = places(values, levels, -1).astype(np.float64)
    return np.where([value is None for value in values], np.nan, at)


def lookup(values: Sequence[str | None], levels: Sequence[str], start: int) -> np.ndarray:
    """(N,) indices for an embedding: from `start` + 1; `start` for unknown and missing values."""
    return (places(values, levels, -1) + 1 + start).astype(np.float64)


def target_mean(
    values: Sequence[str | None], levels: Sequence[str], means: np.ndarray, missing: Any, overall: Any
) -> np.ndarray:
    """(N, K) the mean target of the training rows with the same value."""
    every = np.vstack([np.reshape(means, (len(levels), -1)), missing, overall])
    return every[places(values, levels, len(levels))]


def hashed(values: Sequence[str | None], buckets: int) -> np.ndarray:
    """(N, buckets) a 1 at the CRC-32 of each value's UTF-8 bytes, modulo the buckets."""
    at = [-1 if v is None else zlib.crc32(v.encode("utf-8", "surrogatepass")) % buckets for v in values]
    return (np.array(at, np.int64)[:, None] == np.arange(buckets)).astype(np.float64)


def date_parts(
    values: Sequence[str | None], parts: Sequence[str], means: Any, stds: Any, origin: str, day_first: Any
) -> np.ndarray:
    """(N, P) the parts of dates, each in units of its deviation; 0 where a date is missing."""
    dates = parse_dates([value or "" for value in values], day_first)
    for place, value in enumerate(values):
        if value is not None and np.isnat(dates[place]):
            raise BadRow(place, f"has {value!r}, which is not a date as the training rows have them")
    days, months, years = (dates.astype(f"datetime64[{unit}]") for unit in "DMY")
    each = {
        "year": years.astype(np.int64) + 1970.0,
        "month": (months - years).astype(np.int64) + 1.0,
        "day": (days - months).astype(np.int64) + 1.0,
        "weekday": (days.astype(np.int64) + 3.0) % 7,
        "hour": (dates - days).astype(np.int64) / 3600.0,
        "elapsed": (dates - np.datetime64(origin, "s")) / np.timedelta64(1, "D"),
    }
    found = np.stack([each[part] for part in parts], axis=1).astype(np.float64)
    return np.where(np.isnat(dates)[:, None], 0.0, (found - np.array(means)) / np.array(stds))


# --- texts -------------------------------------------------------------------------------------------------


def words_of(text: str | None, lower: bool) -> list[str]:
    """The runs of letters and digits in a text."""
    return WORD.findall((text.lower() if lower else text) if text else "")


def word_counts(texts: Sequence[str | None], words: Sequence[str], lower: bool, longest: int) -> np.ndarray:
    """(N, K) how often each text holds each word, or each run of up to `longest` words."""
    place = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(texts), len(words)))
    for row, text in enumerate(texts):
        own = words_of(text, lower)
        runs = Counter(
            " ".join(own[i : i + n]) for n in range(1, longest + 1) for i in range(len(own) - n + 1)
        )
        for run, count in runs.items():
            if run in place:
                counts[row, place[run]] = count
    return counts


def token_lists(texts: Sequence[str | None], words: Sequence[str], lower: bool) -> list[list[int]]:
    """The index of each word of each text: from 2; 1 for an unknown one."""
    index = {word: i for i, word in enumerate(words, start=2)}
    return [[index.get(word, 1) for word in words_of(text, lower)] for text in texts]


def token_counts(
    lists: Sequence[Sequence[int]], dimension: int, ngrams: Sequence[Sequence[int]]
) -> np.ndarray:
    """(N, K) how often each list holds each token below `dimension`, or each of some runs of tokens.

    `ngrams` has of each length n from 1 the runs, one behind the other.
    """
    runs = [tuple(own[i : i + n]) for n, own in enumerate(ngrams, 1) for i in range(0, len(own), n)]
    place = {run: i for i, run in enumerate(runs)} or {(token,): token for token in range(dimension)}
    counts = np.zeros((len(lists), len(place)))
    for row, tokens in enumerate(lists):
        for n in range(1, max(len(ngrams), 1) + 1):
            for i in range(len(tokens) - n + 1):
                column = place.get(tuple(tokens[i : i + n]))
                if column is not None:
                    counts[row, column] += 1
    return counts


def tf_idf(counts: np.ndarray, idf: np.ndarray, sublinear: bool) -> np.ndarray:
    """(N, K) counts times how rare each word is, each row of length 1."""
    if sublinear:
        counts = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0.0)
    values = counts * idf
    length = np.sqrt((values**2).sum(axis=1, keepdims=True))
    return values / np.where(length > 0, length, 1.0)


def pad(
    lists: Sequence[Sequence[int]], length: int, side: str, truncate: str, value: int, below: int
) -> np.ndarray:
    """(N, length) tokens, cut off and filled up as Keras's `pad_sequences` does; none from `below` on."""
    rows = np.full((len(lists), length), value, np.float64)
    for row, every in enumerate(lists):
        tokens = [token for token in every if token < below]
        kept = tokens[-length:] if truncate == "pre" else tokens[:length]
        if kept:
            start = length - len(kept) if side == "pre" else 0
            rows[row, start : start + len(kept)] = kept
    return rows


def finite(x: np.ndarray) -> np.ndarray:
    """Features as float32; BadRow at a row that has one that is no finite number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = x.astype(np.float32)
    wrong = ~np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if wrong.any():
        raise BadRow(int(np.argmax(wrong)), "lacks a number, or has one that is too large")
    return found
