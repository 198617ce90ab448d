"""What the outputs of a network mean: one of two classes, one of several, some of several, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array
from nnrun.data.labels import Labels
from nnrun.data.preprocess import FittedClassIndex, FittedOneHot
from nnrun.spec import schema

Kind = Literal["binary", "class", "labels", "numbers"]
THRESHOLD = 0.5
"""A class is said above this probability, as the metric `accuracy` has it."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of N rows.

    Attributes:
        rows: the number of each row, from 0, ascending.
        predicted: a class (its name, or its number), a list of classes, or a number, or a list of numbers.
        probability: (N,) float32, of the predicted class; None where no single class is predicted.
        probabilities: (N, C) float32, of each class; None for numbers.
    """

    rows: Sequence[int]
    predicted: list[Any]
    probability: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Meaning:
    """How outputs become predictions.

    Attributes:
        kind: `binary` (one probability), `class` (one of several), `labels` (any of several), `numbers`.
        classes: their names, or numbers where they have none. Of `labels` and `numbers` one for each output:
            the name of its target column.
    """

    kind: Kind
    classes: tuple[str | int, ...]

    def columns(self, *, probabilities: bool) -> list[str]:
        """The names of a table's columns."""
        if self.kind == "numbers":
            several = [f"prediction_{i}" for i in self.classes]
            return ["row", *(several if len(several) > 1 else ["prediction"])]
        single = [] if self.kind == "labels" else ["probability"]
        return ["row", "prediction", *single, *(f"probability_{c}" for c in self.classes if probabilities)]

    def predictions(self, rows: Sequence[int], outputs_NK: Array) -> Predictions:
        """What the outputs of these rows say."""
        values = outputs_NK.astype(np.float32)
        if self.kind == "numbers":
            numbers = plain_floats(values)
            return Predictions(rows, [n[0] for n in numbers] if values.shape[1] == 1 else numbers, None, None)
        if self.kind == "labels":
            sets, which = np.unique(outputs_NK > THRESHOLD, axis=0, return_inverse=True)
            named = [[self.classes[k] for k in np.flatnonzero(chosen)] for chosen in sets]
            predicted = [list(named[i]) for i in which.tolist()]
            return Predictions(rows, predicted, None, values)
        if self.kind == "binary":
            positive = outputs_NK[:, 0].astype(np.float64)
            values = np.stack([1 - positive, positive], axis=1).astype(np.float32)
            index = (positive > THRESHOLD).astype(np.int64)
        else:
            index = outputs_NK.argmax(axis=1)
        predicted = [self.classes[i] for i in index.tolist()]
        return Predictions(rows, predicted, values[np.arange(len(index)), index], values)

    def table(self, predictions: Predictions, *, probabilities: bool) -> list[list[Any]]:
        """The rows of a table with these columns. Several labels stand in one field, with `;` between."""
        parts: list[list[list[Any]]] = [[[row] for row in predictions.rows]]
        if self.kind == "numbers":
            parts.append([p if isinstance(p, list) else [p] for p in predictions.predicted])
        elif self.kind == "labels":
            parts.append([[";".join(map(str, p))] for p in predictions.predicted])
        else:
            parts.append([[p] for p in predictions.predicted])
        if predictions.probability is not None:
            parts.append(plain_floats(predictions.probability[:, None]))
        if probabilities and predictions.probabilities is not None:
            parts.append(plain_floats(predictions.probabilities))
        return [list(chain.from_iterable(cells)) for cells in zip(*parts, strict=True)]

    def documents(self, predictions: Predictions, *, probabilities: bool) -> list[dict[str, Any]]:
        """Each row as a value for JSON."""
        documents = [
            {"row": row, "prediction": predicted}
            for row, predicted in zip(predictions.rows, predictions.predicted, strict=True)
        ]
        if predictions.probability is not None:
            for document, (value,) in zip(
                documents, plain_floats(predictions.probability[:, None]), strict=True
            ):
                document["probability"] = value
        if probabilities and predictions.probabilities is not None:
            for document, values in zip(documents, plain_floats(predictions.probabilities), strict=True):
                document["probabilities"] = dict(zip(map(str, self.classes), values, strict=True))
        return documents


def meaning_of(spec: schema.ExperimentSpec, fitted: FittedPreprocessing, labels: Labels) -> Meaning:
    """What the outputs of a spec's networks mean.

    The loss and the targets decide: probabilities are what a cross-entropy or class targets ask for, or what
    a data set of classes has.
    """
    last = spec.layers[-1]
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    outputs, names, columns = fitted.n_outputs, labels.class_names or (), labels.target_names or ()
    of_classes = isinstance(fitted.targets, (FittedOneHot, FittedClassIndex))
    binary_loss = isinstance(spec.loss, schema.BinaryCrossentropy)
    if outputs == 1:
        if last.activation == "sigmoid" and (binary_loss or labels.task == "binary"):
            return Meaning("binary", _named(names, 2))
        return Meaning("numbers", (0,))
    if last.activation == "softmax" or of_classes:
        return Meaning("class", _named(names, outputs))
    if binary_loss:
        return Meaning("labels", _named(columns or names, outputs))
    return Meaning("numbers", _named(columns, outputs))


def plain_floats(values_NC: npt.NDArray[np.float32]) -> list[list[float]]:
    """Python's floats with the fewest digits that read back as the same float32: 0.1, not 0.10000000149."""
    return [list(map(float, row)) for row in values_NC.astype("U").tolist()]


def _named(names: Sequence[str], classes: int) -> tuple[str | int, ...]:
    """The name of each class; its number where the data set has fewer names."""
    return tuple(names[i] if i < len(names) else i for i in range(classes))
