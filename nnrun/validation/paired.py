"""Two runs measured on the same folds or seeds: is their difference more than chance? No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnrun.spec.wording import score_text

if TYPE_CHECKING:
    from nnrun.validation.summary import Mode

FEWEST_FOR_WILCOXON = 6
"""With n differences, all of one sign, the signed-rank test gives p = 2 / 2ⁿ: 0.06 for five, 0.03 for six."""

_ROUNDING = 1e-9
"""Differences closer than this share of the largest score are treated as equal."""


@dataclass(frozen=True)
class PairedTest:
    """What the differences, second minus first, over n folds or seeds say.

    Attributes:
        n: pairs.
        mean: the mean difference.
        standard_error: of the mean difference, corrected for shared training rows where `corrected` says so.
        t_p: two-sided p of the paired t-test on n - 1 degrees of freedom; None where all differences are
            the same, so the spread by chance cannot be estimated.
        wilcoxon_p: two-sided p of Wilcoxon's signed-rank test; None where fewer than six differences are
            not zero, for it could not reach 0.05.
        corrected: whether the variance is Nadeau and Bengio's.
        overlap: what that adds to 1/n; 0 where it is not corrected.
    """

    n: int
    mean: float
    standard_error: float
    t_p: float | None
    wilcoxon_p: float | None
    corrected: bool
    overlap: float = 0.0

    @property
    def p(self) -> float | None:
        """The p to go by: the t-test's, unless Wilcoxon's test, which outliers do not sway, finds nothing."""
        if self.t_p is None or self.wilcoxon_p is None or self.wilcoxon_p < 0.05:
            return self.t_p
        return max(self.t_p, self.wilcoxon_p)


def paired_test(first: Sequence[float], second: Sequence[float], *, overlap: float = 0.0) -> PairedTest:
    """Compare two runs' scores, pair by pair.

    The variance of the mean difference is s² (1/n + overlap). Where each pair has training rows of its own
    (`overlap` 0) that is the usual paired t-test. Where the pairs' training rows overlap, as those of folds
    do, the differences are not independent, and s²/n is too small, by how much nobody can estimate without
    bias (Bengio & Grandvalet 2004, JMLR 5). Nadeau & Bengio (2003, Machine Learning 52) put n_test/n_train
    for `overlap`: the corrected resampled t-test. There is no such correction of the signed-rank test.

    Args:
        first, second: finite scores of the same n >= 2 folds or seeds, in the same order.
        overlap: validation rows per training row where training rows are shared, else 0.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"two sequences of equal length from 2 are needed, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("every score must be finite")
    # In whole steps, what is equal but for rounding is equal: both tests depend on it, by ties and zeros.
    step = _ROUNDING * float(np.abs([a, b]).max())
    steps = np.round((b - a) / step) if step else np.zeros(len(a))
    n, alike = len(steps), bool((steps == steps[0]).all())
    mean = float(steps.mean())
    error = 0.0 if alike else float(steps.std(ddof=1)) * math.sqrt(1 / n + overlap)
    return PairedTest(
        n=n,
        mean=float((b - a).mean()) if mean else 0.0,
        standard_error=error * step,
        t_p=None if alike else _t_p(mean / error, n - 1),
        wilcoxon_p=_wilcoxon_p(steps),
        corrected=overlap > 0,
        overlap=overlap,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, each corrected for the others (Holm 1979, Scand. J. Statist. 6).

    The least of m is multiplied by m, the next by m - 1, and so on; none gets less than one before it. With
    what is then below 0.05 called significant, the chance is at most 5 % that any of it is only chance.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def verdict(
    test: PairedTest,
    measure: str,
    mode: Mode,
    *,
    first: str,
    second: str,
    kind: str,
    holm_p: float | None = None,
) -> str:
    """A paired test in one sentence.

    Args:
        test: the test of second against first.
        measure: the column, such as `val_loss`.
        mode: whether its lowest (`min`) or its highest values (`max`) are the best.
        first, second: what to call the two.
        kind: what the pairs are: `fold` or `seed`.
        holm_p: the p to go by where the test is one of several, corrected for the others.
    """
    over = f"over {test.n} {kind}s"
    if test.mean == 0:
        if test.t_p is None:
            return f"{first} and {second} have the same {measure} on each of {test.n} {kind}s."
        return f"{first} and {second} have the same mean {measure} {over}."
    better, worse = (second, first) if (test.mean > 0) == (mode == "max") else (first, second)
    gain = f"{better} is better than {worse} by"
    if test.p is None:
        return (
            f"{gain} {with_error(abs(test.mean))} {measure} on each of {test.n} {kind}s: by the same "
            "amount, so the spread by chance cannot be estimated."
        )
    tests = [f"{'corrected ' if test.corrected else ''}paired t {p_text(test.t_p)}"]
    tests += [f"Wilcoxon {p_text(test.wilcoxon_p)}"] if test.wilcoxon_p is not None else []
    tests += [f"with Holm's correction {p_text(holm_p)}"] if holm_p is not None else []
    amount = with_error(abs(test.mean), test.standard_error)
    p = test.p if holm_p is None else holm_p
    return f"{gain} {amount} {measure} {over}; {chance(p)} ({', '.join(tests)})."


def chance(p: float) -> str:
    """A p-value in words."""
    return (
        "unlikely to be chance"
        if p < 0.01
        else "may be more than chance"
        if p < 0.05
        else "could well be chance"
    )


def p_text(p: float | None) -> str:
    """`p = 0.013`, `p < 0.001`."""
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def with_error(value: float, error: float | None = None, *, sign: bool = False) -> str:
    """`0.0120 ± 0.0041`: as many decimals as show two digits of the error, four where there is none.

    Args:
        value: the number.
        error: its standard error, or None.
        sign: write a plus as well.
    """
    decimals = 4
    if error:
        decimals = _two_digits(error)
    elif value and abs(value) < 1e-3:
        decimals = _two_digits(value)
    text = score_text(value, decimals)
    text = f"+{text}" if sign and not text.startswith("-") else text
    return text if error is None else f"{text} ± {score_text(error, decimals)}"


def two_digits(value: float) -> str:
    """`0.012`, `3.4`, `57`."""
    return score_text(value, _two_digits(value)) if value else "0"


def _two_digits(value: float) -> int:
    """How many decimals show the first two digits of a value that is not 0."""
    return min(12, max(0, 1 - math.floor(math.log10(abs(value)))))


def _t_p(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))


def _wilcoxon_p(differences: npt.NDArray[np.float64]) -> float | None:
    """Zeros say for neither and are left out (Wilcoxon's own rule)."""
    present = differences[differences != 0]
    if len(present) < FEWEST_FOR_WILCOXON:
        return None
    from scipy.stats import wilcoxon

    return float(wilcoxon(present).pvalue)
