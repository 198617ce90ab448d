"""The preprocessing steps as lines of a script: the registry of what each becomes.

A step has a line in `NUMBER_STEPS` (what it makes of numbers, of one column or of several side by side) or in
`OTHER_STEPS`. A new one needs its line here; without it `nnrun export --format script` refuses it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from nnrun.data.preprocess.numeric import (
    FittedImpute,
    FittedLog1p,
    FittedMinMax,
    FittedRescale,
    FittedRobust,
    FittedStandardize,
)
from nnrun.data.preprocess.quantile_steps import FittedPiecewiseLinear, FittedQuantile
from nnrun.data.preprocess.target_mean import FittedTargetMean
from nnrun.data.preprocess.texts import FittedText, FittedTokens
from nnrun.data.preprocess.token_steps import FittedMultiHot, FittedPad

_MOST_WRITTEN = 12  # values of a list that stands in the script


@dataclass
class Learned:
    """What steps learned: numbers in the script, long lists in the file beside it.

    Attributes:
        prefix: of the names of arrays.
        arrays: by name.
    """

    prefix: str
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __call__(self, value: Any, name: str) -> str:
        """An expression of a number, a text, or several of them."""
        if isinstance(value, np.ndarray):
            return self._kept(value, name)
        if not isinstance(value, tuple):
            return repr(value)
        if len(value) <= _MOST_WRITTEN:
            return repr(list(value))
        texts = isinstance(value[0], str)
        return f"{self._kept(np.array(value), name)}.tolist()" if texts else self._kept(np.array(value), name)

    def array(self, value: Any, name: str) -> str:
        """An expression of an array."""
        if isinstance(value, tuple) and len(value) <= _MOST_WRITTEN:
            return f"np.array({list(value)!r})"
        return self._kept(np.asarray(value), name)

    def _kept(self, value: np.ndarray[Any, Any], name: str) -> str:
        key = f"{self.prefix}.{name}"
        while key in self.arrays:
            key += "_"
        self.arrays[key] = value
        return f"LEARNED[{key!r}]"


NumberStep = Callable[[Any, Learned], tuple[str, str | None]]
"""What stands for x, and for the features beside it, (..., W): expressions of `x`."""
OtherStep = Callable[[Any, Learned], tuple[str, str | None]]
"""What stands for `x`, and a line before it."""


def _impute(step: FittedImpute, learned: Learned) -> tuple[str, str | None]:
    filled = f"np.where(np.isnan(x), {learned(step.value, 'impute')}, x)"
    return filled, "np.isnan(x)[..., None]" if step.indicator else None


def _piecewise_linear(step: FittedPiecewiseLinear, learned: Learned) -> tuple[str, str | None]:
    binned = f"bins(x, {learned.array(step.edges, 'edges')})"
    return ("x", binned) if step.keep else (binned, None)


NUMBER_STEPS: Mapping[type[FittedStep], NumberStep] = {
    FittedStandardize: lambda s, v: (f"(x - {v(s.mean, 'mean')}) / {v(s.std, 'std')}", None),
    FittedMinMax: lambda s, v: (f"(x - {v(s.low, 'low')}) / {v(s.range, 'range')}", None),
    FittedRescale: lambda s, v: (f"x * {v(s.scale, 'scale')} + {v(s.offset, 'offset')}", None),
    FittedLog1p: lambda s, v: ("log1p(x)", None),
    FittedRobust: lambda s, v: (
        f"robust(x, {v(s.center, 'center')}, {v(s.scale, 'scale')}, smooth={s.smooth})",
        None,
    ),
    FittedQuantile: lambda s, v: (
        f"quantile_ranks(x, {v.array(s.quantiles, 'quantiles')}, normal={s.normal})",
        None,
    ),
    FittedPiecewiseLinear: _piecewise_linear,
    FittedImpute: _impute,
}


def _one_hot(step: FittedOneHot, v: Learned) -> tuple[str, str | None]:
    known = v((*step.levels, *step.rare), "known")
    check = f"refuse_unknown(x, {known}, missing={step.missing or step.rare_missing})"
    further = [f"{name}=True" for name in ("missing", "others") if getattr(step, name)]
    made = f"one_hot({', '.join(['x', v(step.levels, 'levels'), *further])})"
    return made, check if step.strict else None


def _ordinal(step: FittedOrdinal, v: Learned) -> tuple[str, str | None]:
    levels = v(step.levels, "levels")
    return f"ordinal(x, {levels})", f"refuse_unknown(x, {levels}, missing=True)" if step.strict else None


def _target_mean(step: FittedTargetMean, v: Learned) -> tuple[str, str | None]:
    of_missing = list(step.missing or step.overall)
    means = v.array(step.means, "means")
    return f"target_mean(x, {v(step.levels, 'levels')}, {means}, {of_missing}, {list(step.overall)})", None


def _datetime(step: FittedDatetime, v: Learned) -> tuple[str, str | None]:
    scale = f"{list(step.means)}, {list(step.stds)}, {step.origin!r}, {step.day_first}"
    made = f"date_parts(x, {list(step.parts)}, {scale})"
    if step.indicator:
        made = f"np.column_stack([{made}, [value is None for value in x]])"
    return made, None


def _weighted(step: Any, v: Learned, counts: str) -> str:
    if step.weighting == "count":
        return counts
    if step.weighting == "tf_idf":
        return f"tf_idf({counts}, {v.array(step.idf, 'idf')}, sublinear={step.sublinear})"
    held = f"({counts} > 0)"
    return held if step.weighting == "binary" else f"{held} * {v.array(step.ratios, 'ratios')}"


def _text(step: FittedText, v: Learned) -> tuple[str, str | None]:
    counts = f"word_counts(x, {v(step.words, 'words')}, lower={step.lower}, longest={step.ngrams})"
    return _weighted(step, v, counts), None


def _tokens(step: FittedTokens, v: Learned) -> tuple[str, str | None]:
    return f"token_lists(x, {v(step.words, 'words')}, lower={step.lower})", None


def _multi_hot(step: FittedMultiHot, v: Learned) -> tuple[str, str | None]:
    runs = ", ".join(v(own, f"runs_of_{n}") for n, own in enumerate(step.ngrams, start=1))
    return _weighted(step, v, f"token_counts(x, {step.dimension}, [{runs}])"), None


def _pad(step: FittedPad, v: Learned) -> tuple[str, str | None]:
    ends = f"side={step.side!r}, truncate={step.truncate!r}"
    return f"pad(x, {step.length}, {ends}, value={step.value}, below={step.tokens})", None


OTHER_STEPS: Mapping[type[FittedStep], OtherStep] = {
    FittedImputeCategory: lambda s, v: (f"[{s.value!r} if value is None else value for value in x]", None),
    FittedOneHot: _one_hot,
    FittedOrdinal: _ordinal,
    FittedLookup: lambda s, v: (f"lookup(x, {v(s.levels, 'levels')}, start={s.start})", None),
    FittedTargetMean: _target_mean,
    FittedHashing: lambda s, v: (f"hashed(x, {s.buckets})", None),
    FittedDatetime: _datetime,
    FittedText: _text,
    FittedTokens: _tokens,
    FittedMultiHot: _multi_hot,
    FittedPad: _pad,
}
