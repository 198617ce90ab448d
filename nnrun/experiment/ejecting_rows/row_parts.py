"""Functions that a script has copies of, where columns of numbers become ranks and bins.

They are copied as they stand, so that they import nothing of nnrun; short lines, since scripts are formatted
as ruff does it by default.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def bins_of(values, known, bins):
    """How far values have come through each bin between quantiles of the known ones.

    From 0 to 1 in each; the outer bins have no end so soon.
    """
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))
    lowest, highest = np.zeros(len(edges) - 1), np.ones(len(edges) - 1)
    lowest[:1], highest[-1:] = -3, 4
    places = (values[:, None] - edges[:-1]) / np.diff(edges)
    return np.clip(places, lowest, highest)


def ranks_of(values, known, count=None):
    """The share of the known values that are less, by quantiles of them; half of the equal ones count."""
    count = max(min(count or max(min(len(known) // 30, 1000), 10), len(known)), 2)
    ranks = np.linspace(0, 1, count)
    quantiles = np.quantile(known, ranks)
    up = np.interp(values, quantiles, ranks)
    down = np.interp(-values, -quantiles[::-1], -ranks[::-1])
    return (up - down) / 2


def normal_of(ranks):
    """The values of a normal distribution that have these ranks, between -3 and 3."""
    return np.clip(norm.ppf(ranks), -3, 3)


def runs_of(words, longest):
    """The runs of 1 to so many neighbouring words, each behind its length."""
    runs = []
    for n in range(1, longest + 1):
        last = len(words) - n
        runs += [(n, *words[at : at + n]) for at in range(last + 1)]
    return runs
