"""The preprocessing of one input and one output, fitted without a whole spec."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset, FittedPreprocessing
from nnrun.data.preprocess import fit_input
from nnrun.data.preprocess.target_encoding import fit_targets
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT


def fit_preprocessing(
    steps: schema.Preprocessing, dataset: Dataset, rows: npt.ArrayLike | None = None, *, n_outputs: int
) -> FittedPreprocessing:
    """Fitted on these training rows, positions or flags, or on all of them."""
    inputs = fit_input(steps, dataset, rows)
    every = np.arange(len(dataset.train))
    chosen = every if rows is None else every[np.asarray(rows)]
    targets = fit_targets(steps.targets, dataset.train.targets[chosen], chosen, n_outputs)
    return FittedPreprocessing({INPUT: inputs}, {OUTPUT: targets})
