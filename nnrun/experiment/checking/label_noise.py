"""Which doubtful labels are likely wrong, by the noise among the rows that a model is sure of.

Where classes overlap, a model's mistakes become rare among the rows that it is surest of. Labels that were
changed at random do not: as many of these rows have another label as of all rows. So the share of other
labels among them, the noise, says how many changed labels are to be expected among any rows; and only as many
rows are looked at, the surest first, as most other labels among them are explained by it.

With coarse inputs right labels look the same: in some group of passengers that no column tells apart one of
twenty survives. So nothing is told where many labels are not predicted.

Letters in names: N rows, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.experiment.checking.confident_learning import likely_wrong
from nnrun.validation.conformal import share_interval

_SURE: Final = (0.4, 0.6, 0.8, 1.0)  # of the rows: the surest, among which the noise is counted
_GROWS: Final = 0.5  # standard errors by which the less sure half of these may differ more from their labels
_PREDICTED: Final = 0.85  # of all labels: below, the noise may as well be that of coarse inputs
_USUAL_NOISE: Final = 0.005  # among sure rows of right labels
_PRECISION: Final = 0.85  # of the named labels, as the noise has it
_RECOGNIZED: Final = 0.6  # of the labels of a class that must be predicted, for others of them to be doubted
_FEWEST: Final = 3  # labels


@dataclass(frozen=True, eq=False)
class Doubts:
    """The labels that confident learning doubts.

    Attributes:
        all: (D,) their rows, the least probable label first.
        clear: those of them that are likely wrong, in the same order; empty where they may as well be right.
        noise: the share of other labels among the rows that the model is surest of.
        why_not: why none is clear, as the end of a sentence; empty where some are.
    """

    all: npt.NDArray[np.int64]
    clear: npt.NDArray[np.int64]
    noise: float
    why_not: str = ""


def doubts_of(labels: npt.NDArray[np.int64], probabilities_NK: npt.NDArray[np.float64]) -> Doubts:
    """The labels that are doubtful, and which of them are likely wrong.

    Args:
        labels: (N,) the class of each row, from 0.
        probabilities_NK: of each class, by a model that did not train on the row.
    """
    doubtful = likely_wrong(labels, probabilities_NK)
    none = doubtful[:0]
    predicted = probabilities_NK.argmax(axis=1)
    order = np.argsort(-probabilities_NK.max(axis=1), kind="stable")  # the surest first
    others = np.cumsum((predicted != labels)[order])  # labels that are not predicted
    sure, noise = _sure_rows(others)
    if not sure:
        return Doubts(doubtful, none, 0.0, "the rows are too few")
    right = 1 - others[-1] / len(labels)
    if right < _PREDICTED:
        return Doubts(doubtful, none, noise, f"only {right:.0%} of all labels are predicted out of fold")
    explained = np.flatnonzero(noise * np.arange(1, len(labels) + 1) >= _PRECISION * others)
    if share_interval(int(others[sure - 1]), sure)[0] <= _USUAL_NOISE or not noise or not len(explained):
        why = "too few of the rows that it is surest of have another label: classes may only overlap"
        return Doubts(doubtful, none, noise, why)
    looked_at = np.zeros(len(labels), bool)
    looked_at[order[: explained[-1] + 1]] = True
    recognized = _recalls(labels, predicted, probabilities_NK.shape[1]) >= _RECOGNIZED
    clear = doubtful[looked_at[doubtful] & recognized[labels[doubtful]]]
    if len(clear) < _FEWEST:
        why = "they are in rows that it is less sure of, or of classes that it hardly recognizes"
        return Doubts(doubtful, none, noise, why)
    return Doubts(doubtful, clear, noise)


def _sure_rows(others: npt.NDArray[np.int64]) -> tuple[int, float]:
    """How many of the surest rows the noise is counted in, and the noise; 0 of too few rows.

    As many as can be in which the noise does not grow with doubt, which is what mistakes do.

    Args:
        others: (N,) of so many of the surest rows how many have another label than is predicted.
    """
    sure, noise = 0, 0.0
    for share in _SURE:
        size = int(share * len(others))
        half = size // 2
        if not half:
            continue
        of_all, of_surer = others[size - 1] / size, others[half - 1] / half
        of_less_sure = (others[size - 1] - others[half - 1]) / (size - half)
        error = 2 * np.sqrt(of_all * (1 - of_all) / size)  # of the difference between the halves
        if not sure or of_less_sure - of_surer <= _GROWS * error:
            sure, noise = size, float(min(of_all, of_surer))
    return sure, noise


def _recalls(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float64]:
    """(K,) the share of each class's labels that are predicted; 0 of a class without labels."""
    counts = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return right / np.maximum(counts, 1)
