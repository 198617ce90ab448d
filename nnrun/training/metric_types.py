"""What a metric is, and what it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# (R, B, K) values, targets as the loss takes them → (R, size) statistics of the batch's rows.
Statistics = Callable[["Tensor", "Tensor"], "Tensor"]

Constant = Literal[
    "share",
    "majority",
    "most_frequent",
    "all",
    "best_f1",
    "decided",
    "mean",
    "median",
    "mape",
    "msle",
    "search",
]
"""Which constant outputs score best on given rows: the share of each class or label; the majority class, or
the labels that most rows have; the most frequent label alone, all labels, or as many of the most frequent as
give the best F1 (of several classes all three are the majority class); as many of the most frequent labels as
are best by trial; the mean or the median of the targets; what is best for the loss of that name; or what a
search finds."""


@dataclass(frozen=True)
class Scored:
    """Rows of some replicas, as metrics compare them.

    Attributes:
        logits: (R, B, K) the values before a sigmoid or softmax; of another last activation, the outputs.
        outputs: (R, B, K) in the targets' own units.
        targets: (R, B, K), numbers in their own units; or (R, B) class indices.
    """

    logits: Tensor
    outputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Metric:
    """One number that says how well outputs fit targets.

    Attributes:
        name: its column in the history.
        of_logits: whether it takes the logits; else the outputs.
        constant: which constant outputs score best.
        statistics: values and targets of a batch → (R, size) statistics of its rows.
        join: the statistics of two batches → those of both.
        value: the (size,) statistics of all rows of one replica, and their number → the metric.
        from_rows: for a metric that no such statistics give: all values (N, K) and targets of one replica →
            the metric.
    """

    name: str
    statistics: Statistics | None = None
    value: Callable[[np.ndarray, int], float] = lambda sums, rows: float(sums[0]) / rows
    join: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.add
    from_rows: Callable[[np.ndarray, np.ndarray], float] | None = None
    of_logits: bool = False
    constant: Constant = "search"


def class_indices(values_RBK: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(R, B) predicted and true classes, with one output per class; targets one-hot or indices."""
    true = targets if targets.dim() == 2 else targets.argmax(-1)
    return values_RBK.argmax(-1), true


def has_logits(activation: str) -> bool:
    """Whether the values before the last activation rank as the outputs do, and don't round."""
    return activation in ("sigmoid", "softmax")
