"""Fits of learners on tables, compared: ranks, ratios of errors, wins."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

BASE: Final = "HistGradientBoosting"
_FLOOR: Final = 1e-3  # of a log loss: two learners that both err in the fourth decimal are level


def report(
    fits: Iterable[Mapping[str, Any]], tables: Sequence[str], systems: Sequence[str], *, markdown: bool
) -> str:
    """A line a table, then a line a system over these tables: the folds that all of the systems have fitted.

    Args:
        fits: table, fold, system, task, rows, seconds, error.
        tables: those that count.
        systems: in the order of the columns; one without any fit is left out.
        markdown: as a table for the README.
    """
    counted = [fit for fit in fits if fit["table"] in tables]
    systems = [system for system in systems if any(fit["system"] == system for fit in counted)]
    errors: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    seconds: dict[str, list[float]] = defaultdict(list)
    for fit in counted:
        floor = _FLOOR if fit["task"] == "classes" else 0.0
        errors[fit["table"], fit["fold"]][fit["system"]] = max(fit["error"], floor)
        seconds[fit["system"]].append(fit["seconds"])
    by_table: dict[str, list[list[float]]] = defaultdict(list)
    for (table, _), found in sorted(errors.items()):
        if found.keys() >= set(systems):
            by_table[table].append([found[system] for system in systems])
    whole = [name for name in tables if name in by_table]
    means = np.array([np.mean(by_table[name], axis=0) for name in whole]).reshape(-1, len(systems))
    rows = {fit["table"]: fit["rows"] for fit in counted}
    lines = [["table", "rows", *systems]]
    for name, row in zip(whole, means, strict=True):
        lines.append([name, f"{rows[name]:,}", *(f"{value:.4g}" for value in row)])
    text = "" if markdown else _aligned(lines) + "\n\n"
    return text + overall(means, systems, seconds, markdown=markdown)


def overall(
    means: np.ndarray[Any, Any],
    systems: Sequence[str],
    seconds: Mapping[str, Sequence[float]],
    *,
    markdown: bool,
) -> str:
    """A line a system: mean rank, geometric mean of the ratio to HistGradientBoosting, wins, seconds."""
    if not len(means):
        return "no table that all systems have fitted"
    first = systems[0]
    ranks = rankdata(means, axis=1)
    lines = [
        ["system", "mean rank", f"ratio to {BASE}", f"{first} is ahead on", "CPU s a fit, median", "max"]
    ]
    for i, system in enumerate(systems):
        ratio = ""
        if BASE in systems:
            ratio = f"{math.exp(float(np.log(means[:, i] / means[:, systems.index(BASE)]).mean())):.3f}"
        ahead = "" if i == 0 else f"{(means[:, 0] < means[:, i]).sum()} of {len(means)}"
        took = seconds[system]
        lines.append(
            [system, f"{ranks[:, i].mean():.2f}", ratio, ahead, f"{np.median(took):.2f}", f"{max(took):.1f}"]
        )
    if not markdown:
        return _aligned(lines)
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *rest])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines
    )
