"""The outputs of a network as predictions (a class, labels, numbers), and these as lines of CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnrun.cells import cell, json_text
from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array
from nnrun.data.labels import Labels
from nnrun.sequences import greedily_decoded, lists_of
from nnrun.spec import schema
from nnrun.spec.graph import graph_of

Kind = Literal["binary", "class", "labels", "numbers", "steps", "sequence"]
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
        true: the targets of the rows, as `predicted`; None where they are not known.
    """

    rows: Sequence[int]
    predicted: list[Any]
    probability: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None
    true: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class OutputDecoder:
    """Decodes outputs into predictions.

    Attributes:
        kind: `binary` (one probability), `class` (one of several), `labels` (any of several), `numbers`;
            `steps` (a class for each step), `sequence` (classes read by ctc; classes[0] is the blank).
        classes: their names, or numbers where they have none. Of `labels` and `numbers` one for each output:
            the name of its target column.
        threshold: above which output a class or label is said: a probability, or 0 for scores.
        of_scores: whether outputs are scores, of which no probabilities follow.
        of_texts: whether a data set has the targets of a sequence as texts, in code points.
        of_one: whether several numbers are of one target: its quantiles, by the names `q10` and so on.
    """

    kind: Kind
    classes: tuple[str | int, ...]
    threshold: float = THRESHOLD
    of_scores: bool = False
    of_texts: bool = False
    of_one: bool = False

    def columns(self, *, probabilities: bool, targets: bool = False) -> list[str]:
        """The names of a table's columns; with `targets` those of the true ones as well."""
        several = self.kind == "numbers" and len(self.classes) > 1

        def named(what: str, several: bool) -> list[str]:
            return [f"{what}_{i}" for i in self.classes] if several else [what]

        target = named("target", several and not self.of_one) if targets else []
        names = ["row", *target, *named("prediction", several)]
        if self.kind == "numbers" or self.of_scores:
            return names
        if self.kind in ("steps", "sequence"):
            return names
        single = [] if self.kind == "labels" else ["probability"]
        return [*names, *single, *(f"probability_{c}" for c in self.classes if probabilities)]

    def true(self, targets: Array) -> list[Any]:
        """Targets as a data set has them, (N,) or (N, K), as predictions are written."""
        if self.kind == "numbers":
            numbers = targets.astype(np.float64).reshape(len(targets), -1).tolist()
            return [n[0] for n in numbers] if len(self.classes) == 1 or self.of_one else numbers
        if self.kind == "labels":
            return [[self.classes[k] for k in np.flatnonzero(row)] for row in targets > THRESHOLD]
        if self.of_texts:
            return ["".join(map(chr, codes)) for codes in lists_of(targets)]
        if self.kind in ("steps", "sequence"):
            return self._sequences(targets)
        if targets.ndim == 2:
            index = targets.argmax(axis=1) if targets.shape[1] > 1 else targets[:, 0]
        else:
            index = targets
        return [self.classes[i] for i in index.astype(np.int64).tolist()]

    def predictions(
        self, rows: Sequence[int], outputs_NK: Array, targets: Array | None = None
    ) -> Predictions:
        """Decode the outputs of these rows; with their targets where they are known."""
        found = self._predictions(rows, outputs_NK)
        return found if targets is None else replace(found, true=self.true(targets))

    def _predictions(self, rows: Sequence[int], outputs_NK: Array) -> Predictions:
        if self.kind in ("steps", "sequence"):
            found = outputs_NK.argmax(-1) if self.kind == "steps" else greedily_decoded(outputs_NK)
            return Predictions(rows, self._sequences(found), None, None)
        values = outputs_NK.astype(np.float32)
        if self.kind == "numbers":
            numbers = plain_floats(values)
            return Predictions(rows, [n[0] for n in numbers] if values.shape[1] == 1 else numbers, None, None)
        if self.kind == "labels":
            sets, which = np.unique(outputs_NK > self.threshold, axis=0, return_inverse=True)
            named = [[self.classes[k] for k in np.flatnonzero(chosen)] for chosen in sets]
            predicted = [list(named[i]) for i in which.tolist()]
            return Predictions(rows, predicted, None, None if self.of_scores else values)
        if self.kind == "binary":
            positive = outputs_NK[:, 0].astype(np.float64)
            values = np.stack([1 - positive, positive], axis=1).astype(np.float32)
            index = (positive > self.threshold).astype(np.int64)
        else:
            index = outputs_NK.argmax(axis=1)
        predicted = [self.classes[i] for i in index.tolist()]
        if self.of_scores:
            return Predictions(rows, predicted, None, None)
        return Predictions(rows, predicted, values[np.arange(len(index)), index], values)

    def _sequences(self, classes_NL: Array) -> list[Any]:
        """Lists of classes; texts, where a sequence's classes are single characters."""
        rows = lists_of(classes_NL) if self.kind == "sequence" else classes_NL.tolist()
        named = [[self.classes[c] for c in row] for row in rows]
        if self.kind == "sequence" and all(isinstance(c, str) and len(c) == 1 for c in self.classes[1:]):
            return ["".join(map(str, row)) for row in named]
        return named

    def table(self, predictions: Predictions, *, probabilities: bool) -> list[list[Any]]:
        """The rows of a table with these columns. Several labels stand in one field, with `;` between."""
        parts: list[list[list[Any]]] = [[[row] for row in predictions.rows]]
        for values in (predictions.true, predictions.predicted):
            if values is None:
                continue
            if self.kind == "numbers":
                parts.append([p if isinstance(p, list) else [p] for p in values])
            elif self.kind in ("labels", "steps", "sequence"):
                parts.append([[p if isinstance(p, str) else ";".join(map(str, p))] for p in values])
            else:
                parts.append([[p] for p in values])
        if predictions.probability is not None:
            parts.append(plain_floats(predictions.probability[:, None]))
        if probabilities and predictions.probabilities is not None:
            parts.append(plain_floats(predictions.probabilities))
        return [list(chain.from_iterable(cells)) for cells in zip(*parts, strict=True)]

    def documents(self, predictions: Predictions, *, probabilities: bool) -> list[dict[str, Any]]:
        """Each row as a value for JSON."""
        documents: list[dict[str, Any]] = [{"row": row} for row in predictions.rows]
        for name, values in (("target", predictions.true), ("prediction", predictions.predicted)):
            if values is not None:
                for document, value in zip(documents, values, strict=True):
                    document[name] = value
        if predictions.probability is not None:
            for document, (single,) in zip(
                documents, plain_floats(predictions.probability[:, None]), strict=True
            ):
                document["probability"] = single
        if probabilities and predictions.probabilities is not None:
            for document, of_row in zip(documents, plain_floats(predictions.probabilities), strict=True):
                document["probabilities"] = dict(zip(map(str, self.classes), of_row, strict=True))
        return documents


def make_output_decoder(
    spec: schema.ExperimentSpec, fitted: FittedPreprocessing, labels: Labels
) -> OutputDecoder:
    """The decoder of the outputs of a spec's networks.

    The loss and the targets decide: probabilities are what a cross-entropy or class targets ask for, or what
    a data set of classes has.
    """
    last = graph_of(spec).first_output
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    outputs, names, columns = fitted.output.n_outputs, labels.class_names or (), labels.target_names or ()
    of_classes = fitted.output.classes is not None
    of_labels = schema.last_activation_of(spec.own_loss) == "sigmoid"
    decides_as = schema.decision_activation(spec.own_loss, last.activation)
    if fitted.output.characters:
        return OutputDecoder("sequence", ("", *fitted.output.characters), of_texts=True)
    if isinstance(spec.own_loss, schema.Ctc):
        return OutputDecoder("sequence", ("", *_named_from_1(names, outputs)))
    if fitted.output.kind == schema.ClassSequenceTargets.kind:
        return OutputDecoder("steps", _named(names, outputs))
    if quantiles := schema.quantiles_of(spec.own_loss):
        return OutputDecoder("numbers", tuple(f"q{100 * q:g}" for q in quantiles), of_one=True)
    scores = (0.0, True) if schema.is_of_scores(spec.own_loss) else (THRESHOLD, False)
    if outputs == 1:
        if decides_as == "sigmoid" and (of_labels or labels.task == "binary"):
            return OutputDecoder("binary", _named(names, 2), *scores)
        return OutputDecoder("numbers", (0,))
    if decides_as == "softmax" or of_classes:
        return OutputDecoder("class", _named(names, outputs), *scores)
    if of_labels:
        return OutputDecoder("labels", _named(columns or names, outputs), *scores)
    return OutputDecoder("numbers", _named(columns, outputs))


def plain_floats(values_NC: npt.NDArray[np.float32]) -> list[list[float]]:
    """Python's floats with the fewest digits that read back as the same float32: 0.1, not 0.10000000149."""
    return [list(map(float, row)) for row in values_NC.astype("U").tolist()]


def _named(names: Sequence[str], classes: int) -> tuple[str | int, ...]:
    """The name of each class; its number where the data set has fewer names."""
    return tuple(names[i] if i < len(names) else i for i in range(classes))


def _named_from_1(names: Sequence[str], classes: int) -> tuple[str | int, ...]:
    """The name of each class from 1 on; its number where there are fewer names."""
    return tuple(names[i - 1] if i <= len(names) else i for i in range(1, classes))


class CsvLines:
    """Predictions as lines of CSV, as Python's csv module writes them; the first block has the names above.

    What belongs to a class (its name, escaped and quoted) is made once; then only numbers are left to write.
    """

    def __init__(self, output_decoder: OutputDecoder, *, probabilities: bool, targets: bool = False) -> None:
        self._decoder, self._probabilities, self._targets = output_decoder, probabilities, targets
        self._fields: dict[Hashable, str] = {}

    def header(self) -> str:
        """The line of names."""
        file = io.StringIO()
        names = self._decoder.columns(probabilities=self._probabilities, targets=self._targets)
        csv.writer(file, lineterminator="\n").writerow(map(cell, names))
        return file.getvalue()

    def lines(self, predictions: Predictions) -> str:
        """A line for each row."""
        parts: list[Iterable[str]] = [map(str, predictions.rows)]
        for values in (predictions.true if self._targets else None, predictions.predicted):
            if values is None:
                continue
            if self._decoder.kind == "numbers":
                parts += _numbers(values)
            elif self._decoder.kind in ("labels", "steps", "sequence"):
                parts.append([self._field(v if isinstance(v, str) else tuple(v)) for v in values])
            else:
                parts.append(map(self._field, values))
        if predictions.probability is not None:
            parts.append(shortest(predictions.probability))
        if self._probabilities and predictions.probabilities is not None:
            parts += [shortest(of_class) for of_class in predictions.probabilities.T]
        return "".join(f"{line}\n" for line in map(",".join, zip(*parts, strict=True)))

    def _field(self, value: Hashable) -> str:
        """A class, or labels with `;` between, as a field."""
        found = self._fields.get(value)
        if found is None:
            text = ";".join(map(str, value)) if isinstance(value, tuple) else value
            file = io.StringIO()
            csv.writer(file, lineterminator="\n").writerow([cell(text), 0])
            found = self._fields[value] = file.getvalue().removesuffix(",0\n")
        return found


class JsonLines:
    """Predictions as one JSON object a line."""

    def __init__(self, output_decoder: OutputDecoder, *, probabilities: bool) -> None:
        self._decoder, self._probabilities = output_decoder, probabilities
        self._values: dict[Hashable, str] = {}

    def lines(self, predictions: Predictions) -> str:
        """A line for each row."""
        parts: list[Iterable[str]] = [map(str, predictions.rows)]
        template = '{{"row": {}'
        for name, values in (("target", predictions.true), ("prediction", predictions.predicted)):
            if values is None:
                continue
            place = "{}"
            if self._decoder.kind == "numbers":
                columns = _numbers(values)
                parts += columns
                if values and isinstance(values[0], list):
                    place = "[" + ", ".join(["{}"] * len(columns)) + "]"
            elif self._decoder.kind in ("labels", "steps", "sequence"):
                parts.append([self._value(v if isinstance(v, str) else tuple(v)) for v in values])
            else:
                parts.append(map(self._value, values))
            template += f', "{name}": {place}'
        if predictions.probability is not None:
            template += ', "probability": {}'
            parts.append(shortest(predictions.probability))
        if self._probabilities and predictions.probabilities is not None:
            names = [
                json_text(str(name)).replace("{", "{{").replace("}", "}}") for name in self._decoder.classes
            ]
            template += ', "probabilities": {{' + ", ".join(f"{name}: {{}}" for name in names) + "}}"
            parts += [shortest(of_class) for of_class in predictions.probabilities.T]
        return "".join(map((template + "}}\n").format, *parts))

    def _value(self, value: Hashable) -> str:
        found = self._values.get(value)
        if found is None:
            found = self._values[value] = json_text(list(value) if isinstance(value, tuple) else value)
        return found


def shortest(values_N: npt.NDArray[np.float32]) -> list[str]:
    """float32 numbers with the fewest digits that read back as the same float32: 0.1, not 0.10000000149."""
    texts: list[str] = values_N.astype("U").tolist()
    return [repr(float(text)) if "e" in text else text for text in texts]  # NumPy: 1e-04, Python: 0.0001


def _numbers(predicted: Sequence[Any]) -> list[Iterable[str]]:
    """The columns of numbers that were predicted."""
    if predicted and isinstance(predicted[0], list):
        return [map(repr, column) for column in zip(*predicted, strict=True)]
    return [map(repr, predicted)]
