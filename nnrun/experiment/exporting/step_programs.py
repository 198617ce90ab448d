"""What a program in ONNX computes of the steps of columns that are no numbers: the registry.

A step has a line in `ENCODERS`, or in `REFUSED` with the reason. Steps of numbers need neither: they have a
formula. What is a function of texts is computed by `string_nodes`, all that follows by PyTorch.

N rows, L levels, K words or runs of words, T words of the longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnrun.data.preprocess.categorical import (
    FittedHashing,
    FittedImputeCategory,
    FittedLookup,
    FittedOneHot,
    FittedOrdinal,
)
from nnrun.data.preprocess.datetimes import FittedDatetime
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.preprocess.target_mean import FittedTargetMean
from nnrun.data.preprocess.texts import FIRST_WORD, FittedText, FittedTokens
from nnrun.data.preprocess.texts import UNKNOWN as UNKNOWN_WORD
from nnrun.data.preprocess.token_steps import FittedMultiHot, FittedPad
from nnrun.data.preprocess.word_weights import Weighted
from nnrun.experiment.exporting.string_nodes import (
    MISSING,
    NO_WORD,
    RARE,
    UNKNOWN,
    Counts,
    DateFields,
    Front,
    Words,
)
from nnrun.lazy_torch import F, torch

if TYPE_CHECKING:
    from torch import Tensor

Bad: TypeAlias = "Tensor | None"
"""(N, 1) the rows that `nnrun predict` refuses; None for no row."""


@dataclass(frozen=True)
class Encoder:
    """What a step of categories or texts becomes.

    Attributes:
        levels: the values that have a place, and those that are rare, of a step of categories; None for one
            of texts.
        front: what is asked of the strings, of a step of texts; takes the step, the token step behind it or
            None, and the text that stands for a missing one or None.
        give: (N, 1) codes, (N, T) indices or (N, K) counts → features or a number, (N, W), and bad rows.
    """

    give: Callable[[Any, Tensor], tuple[Tensor, Bad]]
    levels: Callable[[Any], tuple[tuple[str, ...], tuple[str, ...]]] | None = None
    front: Callable[[Any, FittedStep | None, str | None], Front] | None = None


# --- categories --------------------------------------------------------------------------------------------


def _one_hot(step: FittedOneHot, codes: Tensor) -> tuple[Tensor, Bad]:
    of_missing = len(step.levels) if step.missing else -1
    places = torch.where(codes == MISSING, of_missing, codes.clamp(min=-1))
    bad = None
    if step.strict:
        bad = codes == UNKNOWN
        if not (step.missing or step.rare_missing):
            bad = bad | (codes == MISSING)
    if step.others:
        places = torch.where(places < 0, step.width - 1, places)
    return (places == torch.arange(step.width)).double(), bad


def _ordinal(step: FittedOrdinal, codes: Tensor) -> tuple[Tensor, Bad]:
    places = torch.where(codes == MISSING, torch.nan, codes.clamp(min=-1).double())
    return places, codes == UNKNOWN if step.strict else None


def _lookup(step: FittedLookup, codes: Tensor) -> tuple[Tensor, Bad]:
    return (codes.clamp(min=-1) + 1 + step.start).double(), None


def _target_mean(step: FittedTargetMean, codes: Tensor) -> tuple[Tensor, Bad]:
    means = [step.means[i : i + step.width] for i in range(0, len(step.means), step.width)]
    every = torch.tensor([*means, step.missing or step.overall, step.overall], dtype=torch.float64)
    of_missing, of_others = len(every) - 2, len(every) - 1
    places = torch.where(codes == MISSING, of_missing, torch.where(codes < 0, of_others, codes))
    return every[places[:, 0]], None


# --- texts -------------------------------------------------------------------------------------------------


def _counted(step: FittedText, after: FittedStep | None, fill: str | None) -> Counts:
    """The words of the runs have indices of their own."""
    runs = [run.split(" ") for run in step.words] if step.ngrams > 1 else [[word] for word in step.words]
    words = tuple(sorted({word for run in runs for word in run}))
    index = {word: i for i, word in enumerate(words)}
    by_length = sorted(range(len(runs)), key=lambda place: len(runs[place]))
    flat = tuple(
        tuple(index[word] for place in by_length if len(runs[place]) == n for word in runs[place])
        for n in range(1, step.ngrams + 1)
    )
    return Counts(Words(words, step.lower, fill=fill), flat, tuple(by_length))


def _indexed(step: FittedTokens, after: FittedStep | None, fill: str | None) -> Front:
    words = Words(step.words, step.lower, FIRST_WORD, UNKNOWN_WORD, fill)
    if not isinstance(after, FittedMultiHot):
        return words
    runs = after.ngrams or (tuple(range(after.dimension)),)
    return Counts(words, runs, tuple(range(after.width)))


def _weighted(step: Weighted, counts: Tensor) -> tuple[Tensor, Bad]:
    """`word_weights.weighted_rows` of rows that are dense."""
    held = counts > 0
    if step.weighting == "binary":
        return held.float(), None
    if step.weighting == "count":
        return counts, None
    if step.weighting == "nb_ratio":
        return torch.where(held, torch.tensor(step.ratios, dtype=torch.float32), 0.0), None
    exact = counts.double()
    if step.sublinear:
        exact = torch.where(held, 1 + exact.clamp(min=1).log(), 0.0)
    values = exact * torch.tensor(step.idf, dtype=torch.float64)
    length = values.square().sum(1, keepdim=True).sqrt()
    return (values / torch.where(length > 0, length, 1.0)).float(), None


def _as_they_are(step: FittedTokens, indices: Tensor) -> tuple[Tensor, Bad]:
    """What follows takes them."""
    return indices, None


def _padded(step: FittedPad, indices: Tensor) -> tuple[Tensor, Bad]:
    """(N, T) indices → (N, length)."""
    lengths = (indices != NO_WORD).sum(1, keepdim=True)
    kept = lengths.clamp(max=step.length)
    place = torch.arange(step.length) - (step.length - kept if step.side == "pre" else kept * 0)
    source = place + (lengths - kept if step.truncate == "pre" else 0)
    # As many columns as are looked at, whatever the longest row has.
    wide = F.pad(indices, (0, step.length), value=NO_WORD)
    found = wide.gather(1, source.clamp(min=0))
    return torch.where((place >= 0) & (place < kept), found, step.value).float(), None


# --- dates -------------------------------------------------------------------------------------------------


def _dated(step: FittedDatetime, after: FittedStep | None, fill: str | None) -> DateFields:
    return DateFields(fill)


_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _date_parts(step: FittedDatetime, fields: Tensor) -> tuple[Tensor, Bad]:
    """(N, 6) year, month, day, hour, minute, second → the parts, standardized."""
    year, month, day, hour, minute, second = (fields[:, i : i + 1].double() for i in range(6))
    leap = (_divides(4, year) & ~_divides(100, year)) | _divides(400, year)
    longest = torch.tensor(_DAYS, dtype=torch.float64)[fields[:, 1:2].clamp(1, 12) - 1]
    longest = longest + (leap & (month == 2)).double()
    missing = year == MISSING
    real = (year >= 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest)
    real = real & (hour <= 23) & (minute <= 59) & (second <= 59)
    # Days since 1970-01-01, of years that begin in March, in cycles of 400 of them.
    early = (month <= 2).double()
    own = year - early
    cycle = (own / 400).floor()
    of_cycle = own - 400 * cycle
    of_year = ((153 * (month + 12 * early - 3) + 2) / 5).floor() + day - 1
    of_cycles = 365 * of_cycle + (of_cycle / 4).floor() - (of_cycle / 100).floor() + of_year
    days = 146097 * cycle + of_cycles - 719468
    seconds = 3600 * hour + 60 * minute + second
    start = int(np.datetime64(step.origin, "s").astype(np.int64))
    each = {
        "year": year,
        "month": month,
        "day": day,
        "weekday": (days + 3) - 7 * ((days + 3) / 7).floor(),
        "hour": seconds / 3600,
        "elapsed": (86400 * days + seconds - start) / 86400,
    }
    means, stds = (torch.tensor(own, dtype=torch.float64) for own in (step.means, step.stds))
    scaled = (torch.cat([each[part] for part in step.parts], 1) - means) / stds
    found = torch.where(missing, 0.0, scaled)
    return torch.cat([found, missing.double()], 1) if step.indicator else found, ~(missing | real)


def _divides(n: int, x: Tensor) -> Tensor:
    """Whether whole numbers are multiples of `n`."""
    return n * (x / n).floor() == x


def _levels(step: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return step.levels, getattr(step, "rare", ())


ENCODERS: Mapping[type[FittedStep], Encoder] = {
    FittedOneHot: Encoder(_one_hot, _levels),
    FittedOrdinal: Encoder(_ordinal, _levels),
    FittedLookup: Encoder(_lookup, _levels),
    FittedTargetMean: Encoder(_target_mean, _levels),
    FittedDatetime: Encoder(_date_parts, front=_dated),
    FittedText: Encoder(_weighted, front=_counted),
    FittedTokens: Encoder(_as_they_are, front=_indexed),
    FittedMultiHot: Encoder(_weighted),
    FittedPad: Encoder(_padded),
}

FILLS = frozenset({FittedImputeCategory})
"""The steps that only say which value stands for a missing one."""

REFUSED: Mapping[type[FittedStep], str] = {
    FittedHashing: "ONNX cannot see the bytes of a string",
}
"""Why a program in ONNX cannot compute a step: the end of a sentence."""

assert RARE < MISSING < UNKNOWN < 0, "clamping makes one of all"
