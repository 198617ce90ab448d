"""The weight that the class of each row has while training, as `class_weight` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset
from nnrun.data.dataset import Array
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import listing, nearest, quoted

_SHOWN = 60
"""More names than this in one message help nobody."""


def class_weight_of_rows(
    spec: schema.ExperimentSpec, dataset: Dataset, train_rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32] | None:
    """(N,): the weight that each row's class has, where the network trains on `train_rows`.

    `balanced` is scikit-learn's: n / (k * count), of the training rows only and the k classes among them. A
    class that a map does not name has weight 1, as in Keras.

    Raises:
        DataError: the rows have no single class each, or a name is not a class of the data.
    """
    if spec.class_weight is None:
        return None
    labels = _labels(dataset)
    if isinstance(spec.class_weight, Mapping):
        weights = _given(spec.class_weight, dataset, labels)
    else:
        weights = balanced(labels[train_rows], int(labels.max()) + 1)
    return weights[labels].astype(np.float32)


def balanced(labels: Array, classes: int) -> npt.NDArray[np.float64]:
    """(classes,): n / (k * count) for each of the k classes among the labels; 1 for the others."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.ones(classes)
    present = counts > 0
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def _given(given: Mapping[str, float], dataset: Dataset, labels: Array) -> npt.NDArray[np.float64]:
    classes = max(dataset.classes or 0, int(labels.max()) + 1)
    places = _places(dataset, classes, labels)
    weights = np.ones(classes)
    named: dict[int, str] = {}
    for name, weight in given.items():
        if name not in places:
            raise DataError(_unknown(name, dataset, list(places)))
        place = places[name]
        if place in named:
            raise DataError(
                f"class_weight names one class twice, as {quoted(named[place])} and as {quoted(name)}. Keep "
                "one of them."
            )
        named[place], weights[place] = name, weight
    return weights


def _places(dataset: Dataset, classes: int, labels: Array) -> dict[str, int]:
    """What a class may be called → its label: its name, or its label where no name could look like one."""
    names = dataset.class_names or ()
    known = range(classes) if dataset.classes else np.unique(labels)
    of_labels = {str(label): int(label) for label in known}
    of_names = {name: label for label, name in enumerate(names)}
    return of_names if any(name.isdecimal() for name in names) else of_names | of_labels


def _unknown(name: str, dataset: Dataset, known: Sequence[str]) -> str:
    match = nearest(name, known)
    hint = f" Did you mean {quoted(match)}?" if match else ""
    shown = known if dataset.class_names is None else known[: len(dataset.class_names)]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    named = ", ".join(shown[:_SHOWN]) + more if more else listing(shown, "and")
    return f"class_weight: {dataset.name} has no class called {quoted(name)}.{hint} Its classes: {named}."


def _labels(dataset: Dataset) -> Array:
    """(N,): the class of each training row."""
    targets = dataset.train.targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    one_hot = targets.ndim == 2 and bool(
        ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
    )
    if one_hot:
        return np.asarray(targets.argmax(1))
    whole = targets.ndim == 1 and bool((targets == np.floor(targets)).all() and (targets >= 0).all())
    if dataset.task == "regression" or not whole:
        raise DataError(
            "class_weight needs one class for each row: a name, a whole number from 0, or a row of 0 and a "
            f"single 1. The targets of {dataset.name} are something else; remove class_weight."
        )
    return targets.astype(np.int64)
