"""Classes so uneven that accuracy hides errors on the rarest."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import Array
from nnrun.experiment.init.sizes import UNEVEN
from nnrun.experiment.setup.fold_splits import labels_of
from nnrun.spec import schema
from nnrun.spec.wording import counted, quoted

_HIDES_THEM: Final = (schema.Accuracy, schema.TopK)
_OWN_DATA: Final = (schema.RowFile, schema.Npz, schema.TextFolder)


def rare_class_warning(spec: schema.ExperimentSpec, dataset: Dataset) -> str | None:
    """One sentence where accuracy is the only measure of uneven classes; None where there is no doubt.

    The rule is that of `nnrun init` (the largest class has `UNEVEN` times as many rows as the rarest), so the
    specs that it writes cause no warning. Built-in data sets are not checked: their classes are known.
    """
    shows = (schema.ClassMetric, schema.CustomMetric)
    hides = any(isinstance(metric, _HIDES_THEM) for metric in spec.metrics)
    shown = any(isinstance(m, shows) and not isinstance(m, _HIDES_THEM) for m in spec.metrics)
    if not hides or shown or spec.class_weight is not None or not isinstance(spec.dataset, _OWN_DATA):
        return None
    labels = _labels(spec, dataset)
    if labels is None:
        return None
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    rarest, largest = present[counts[present].argmin()], present[counts[present].argmax()]
    if counts[largest] < UNEVEN * counts[rarest]:
        return None
    names = dataset.class_names
    most, fewest = (quoted(str(n) if names is None else names[int(n)]) for n in (largest, rarest))
    rows = int(counts.sum())
    return (
        f"class {fewest} has only {int(counts[rarest]):,} of {counted(rows, 'row')} "
        f"({_percent(counts[rarest], rows)}): always predicting {most} gets an accuracy of "
        f"{_percent(counts[largest], rows)}; write `metrics: [accuracy, f1, average_precision]` and "
        "`class_weight: balanced`"
    )


def _labels(spec: schema.ExperimentSpec, dataset: Dataset) -> Array | None:
    """The class of each training row, as an index; None where the targets are not classes."""
    targets = dataset.train.targets
    if isinstance(spec.loss, schema.CategoricalCrossentropy) and targets.ndim == 2 and targets.shape[1] > 1:
        return np.asarray(targets.argmax(axis=1))
    labels = labels_of(dataset)
    return None if labels is None or not len(labels) else np.asarray(labels.astype(np.int64))


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that no class seems to have every row."""
    share = math.floor(1000 * int(part) / whole) / 10
    return f"{share:g} %" if share else "less than 0.1 %"
