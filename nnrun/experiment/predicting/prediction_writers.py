"""Predictions as lines of CSV and of JSON, a block at a time.

What belongs to a class (its name, escaped and quoted) is made once; then only numbers are left to be written.
The lines are those that Python's csv and json modules write.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.cells import cell, json_text
from nnrun.experiment.predicting.output_decoder import OutputDecoder, Predictions


class CsvLines:
    """Predictions as lines of CSV; the first block has the names of the columns before it."""

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
            elif self._decoder.kind == "labels":
                parts.append([self._field(tuple(labels)) for labels in values])
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
            elif self._decoder.kind == "labels":
                parts.append([self._value(tuple(labels)) for labels in values])
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
