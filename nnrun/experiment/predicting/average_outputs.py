"""The outputs of a run's networks, made into one output per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnrun.data.dataset import Array

Combination = Literal["one_network", "ensemble", "out_of_fold", "mean_out_of_fold"]


@dataclass(frozen=True, eq=False)
class Combined:
    """One output per row.

    Attributes:
        rows: (M,) the numbers of the rows, ascending, each once.
        outputs: (M, K) float64, the mean of the outputs of the networks that were asked about the row.
        how: `one_network`; `ensemble`, where every network was asked about every row; `out_of_fold`, where
            each row has the one network that did not train on it; `mean_out_of_fold`, where a row can have
            several such networks (repeats of k-fold, seeds that split again).
    """

    rows: Array
    outputs: Array
    how: Combination


def combine(parts: Sequence[tuple[Array, Array]]) -> Combined:
    """The mean over networks, row by row.

    Args:
        parts: for each network the (n,) numbers of its rows, each once, and its (n, K) outputs.
    """
    rows, place = np.unique(np.concatenate([numbers for numbers, _ in parts]), return_inverse=True)
    outputs = np.concatenate([of_network for _, of_network in parts]).astype(np.float64)
    sums = np.zeros((len(rows), outputs.shape[1]))
    np.add.at(sums, place, outputs)
    networks = np.bincount(place, minlength=len(rows))
    how: Combination
    if len(parts) == 1:
        how = "one_network"
    elif (networks == len(parts)).all():
        how = "ensemble"
    else:
        how = "out_of_fold" if (networks == 1).all() else "mean_out_of_fold"
    return Combined(rows, sums / networks[:, None], how)


def combination_text(how: Combination, networks: int, kind: str | None) -> str:
    """What follows `each row is predicted`."""
    return {
        "one_network": "by the run's network",
        "ensemble": f"as the mean of the {networks} networks' outputs (an ensemble)",
        "out_of_fold": f"by the network of its own {kind}, which did not train on it",
        "mean_out_of_fold": "as the mean of the outputs of the networks that did not train on it",
    }[how]
