"""Uneven classes: weights for the rows of each (`class_weight`), and a warning where accuracy hides some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, Dataset, OutputData, output_data
from nnrun.data.split_values import labels_of
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.ports import Port, told_of
from nnrun.spec.wording import counted, listing, nearest, quoted

UNEVEN: Final = 10
"""How many times as many rows the largest class has than the rarest, from where on classes are uneven."""

_SHOWN = 60
"""More names than this in one message help nobody."""


def class_weights_of_rows(
    outputs: Mapping[Port, OutputData], train_rows: npt.NDArray[np.int64]
) -> dict[Port, npt.NDArray[np.float32]]:
    """For each output with class weights, (N,): `class_weight_of_rows`."""
    weights = {}
    for port, output in outputs.items():
        if output.spec.class_weight is not None:
            with told_of(output.spec, port):
                weights[port] = class_weight_of_rows(output.spec, output.dataset, train_rows)
    return weights


def class_weight_of_rows(
    spec: schema.ExperimentSpec, dataset: Dataset, train_rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(N,): the weight that each row's class has, where the network trains on `train_rows`.

    `balanced` is scikit-learn's: n / (k * count), of the training rows only and the k classes among them. A
    class that a map does not name has weight 1, as in Keras.

    Raises:
        DataError: the rows have no single class each, or a name is not a class of the data.
    """
    labels = _one_class_each(dataset)
    if isinstance(spec.class_weight, Mapping):
        weights = _given(spec.class_weight, dataset, labels)
    else:
        weights = balanced(labels[dataset.train.with_target(train_rows)], int(labels.max()) + 1)
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


def _one_class_each(dataset: Dataset) -> Array:
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


_HIDES_THEM: Final = (schema.Accuracy, schema.TopK)


def rare_class_warnings(spec: schema.ExperimentSpec, dataset: Dataset) -> list[str]:
    """A sentence for each output of uneven classes whose only measure is accuracy; none without doubt."""
    found = {
        port: _rare_class_warning(output.spec, output.dataset)
        for port, output in output_data(spec, dataset).items()
    }
    return [
        f"the output {quoted(port)}: {said}" if spec.outputs else said
        for port, said in found.items()
        if said is not None
    ]


def _rare_class_warning(spec: schema.ExperimentSpec, dataset: Dataset) -> str | None:
    """The sentence for one output; None where there is no doubt.

    The rule is that of `nnrun init` (the largest class has `UNEVEN` times as many rows as the rarest), so the
    specs that it writes cause no warning. Built-in data sets are not checked: their classes are known.
    """
    shows = (schema.ClassMetric, schema.CustomMetric)
    hides = any(isinstance(metric, _HIDES_THEM) for metric in spec.metrics)
    shown = any(isinstance(m, shows) and not isinstance(m, _HIDES_THEM) for m in spec.metrics)
    if not hides or shown or spec.class_weight is not None or not isinstance(spec.dataset, schema.WithPath):
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
    targets = dataset.train.known_targets
    if schema.target_step_of(spec.own_loss) == "one_hot" and targets.ndim == 2 and targets.shape[1] > 1:
        return np.asarray(targets.argmax(axis=1))
    labels = labels_of(dataset)
    return None if labels is None or not len(labels) else np.asarray(labels.astype(np.int64))


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that no class seems to have every row."""
    share = math.floor(1000 * int(part) / whole) / 10
    return f"{share:g} %" if share else "less than 0.1 %"
