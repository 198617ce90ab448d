"""Predictions of all outputs side by side: columns, rows, lines of CSV and JSON, a data frame."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.cells import cell, json_text, several_in_one
from nnrun.data.row_places import RowPlaces
from nnrun.errors import UsageError
from nnrun.experiment.predicting.output_decoder import (
    OutputDecoder,
    Predictions,
    interval_columns,
    plain_floats,
    spread_column,
)
from nnrun.native.number_text import rows_of_numbers, shortest
from nnrun.spec.ports import Port, prediction_columns
from nnrun.spec.wording import quoted

if TYPE_CHECKING:
    import pandas as pd

ROW = "row"
_PROBABILITIES = "probabilities"  # an object of JSON lines with a number for each class

PredictedRows: TypeAlias = Mapping[Port, Predictions]
"""Predictions of the same rows by each output."""


@dataclass(frozen=True)
class PredictionTable:
    """How the predictions of a network's outputs stand in a table: the row's number and, where there is one,
    its place in the file or folder, then output by output.

    Attributes:
        decoders: what the values of each output mean, and what its columns are called.
        probabilities: whether the probability of every class has a column.
        targets: whether the true targets have columns.
        spread: whether the standard deviations over several networks have.
        intervals: the outputs whose predictions have an interval, or a set of classes, beside them.
        beside: names of columns between the row's number and its place; who writes them has their values.
        places: where each row stands in the data set's file or in a folder; None where there is none, and for
            new rows of one file, whose number is the place.
    """

    decoders: Mapping[Port, OutputDecoder]
    probabilities: bool = False
    targets: bool = False
    spread: bool = False
    intervals: Collection[Port] = ()
    beside: tuple[str, ...] = ()
    places: RowPlaces | None = None

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns."""
        each = [
            decoder.columns(
                probabilities=self.probabilities,
                targets=self.targets,
                spread=self.spread,
                interval=port in self.intervals,
            )
            for port, decoder in self.decoders.items()
        ]
        place = [] if self.places is None else [self.places.column]
        return [ROW, *self.beside, *place, *chain.from_iterable(each)]

    def place_columns(self, predicted: PredictedRows) -> dict[str, list[Any]]:
        """The column that tells where the rows stand in their file or folder; none where there is none."""
        if self.places is None:
            return {}
        rows = np.asarray(row_numbers(predicted), np.int64)
        return {self.places.column: self.places.values[rows].tolist()}

    @property
    def name_of_two(self) -> str | None:
        """What two columns would be called, as with a class called `target`; else None."""
        return next((column for column, count in Counter(self.columns).items() if count > 1), None)

    def refuse_one_name_twice(self) -> None:
        """Raise UsageError where two columns would have one name."""
        column = self.name_of_two
        if column is not None:
            raise UsageError(
                f"Two columns of the predictions would be called {quoted(column)}, one of them the "
                "probability of a class. Leave the classes' probabilities out (--probabilities, or "
                "probabilities=False in Python), or train again with another name for the output."
            )

    def rows(self, predicted: PredictedRows) -> list[list[Any]]:
        """The rows. Several classes or labels stand in one field (`several_in_one`)."""
        parts: list[list[list[Any]]] = [[[row] for row in row_numbers(predicted)]]
        parts += [[[place] for place in places] for places in self.place_columns(predicted).values()]
        for port, decoder in self.decoders.items():
            parts += self._cells(decoder, predicted[port])
        return [list(chain.from_iterable(cells)) for cells in zip(*parts, strict=True)]

    def _cells(self, decoder: OutputDecoder, predictions: Predictions) -> list[list[list[Any]]]:
        """For each value of an output: for each row the fields that hold it."""
        parts: list[list[list[Any]]] = []
        for values in (predictions.true if self.targets else None, predictions.predicted):
            if values is None:
                continue
            if decoder.several_numbers:
                parts.append([p if isinstance(p, list) else [p] for p in values])
            elif decoder.kind in ("labels", "steps", "sequence"):
                parts.append([[several_in_one(p) if isinstance(p, list) else p] for p in values])
            else:
                parts.append([[p] for p in values])
        if predictions.sets is not None:
            parts.append([[several_in_one(of_row)] for of_row in predictions.sets])
        parts += [plain_floats(values_NC) for values_NC in self.numbers(decoder, predictions)]
        return parts

    def numbers(self, decoder: OutputDecoder, predictions: Predictions) -> list[npt.NDArray[np.float32]]:
        """The columns that follow what is predicted, (N, C) each: intervals, probabilities and spreads."""
        found: list[npt.NDArray[np.float32]] = []
        if predictions.interval is not None:
            found.append(predictions.interval)
        if predictions.probability is not None:
            found.append(predictions.probability[:, None])
        if predictions.spread_of_predicted is not None:
            found.append(predictions.spread_of_predicted[:, None])
        if self.probabilities and predictions.probabilities is not None:
            found.append(predictions.probabilities)
        if predictions.spread is not None and self.shows_spread(decoder):
            found.append(predictions.spread)
        return found

    def shows_spread(self, decoder: OutputDecoder) -> bool:
        """Whether the spread of each number, or of each class's probability, is written where it is known."""
        return decoder.kind == "numbers" or decoder.spread_of_all(self.probabilities)

    def documents(self, predicted: PredictedRows) -> list[dict[str, Any]]:
        """Each row as a value for JSON, as `JsonLines` writes it."""
        documents: list[dict[str, Any]] = [{ROW: row} for row in row_numbers(predicted)]
        for column, places in self.place_columns(predicted).items():
            for document, place in zip(documents, places, strict=True):
                document[column] = place
        for port, decoder in self.decoders.items():
            for name, values in self._values(decoder, predicted[port]):
                for document, value in zip(documents, values, strict=True):
                    document[name] = value
        return documents

    def _values(
        self, decoder: OutputDecoder, predictions: Predictions
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """The keys that an output has in JSON, each with the value of each row."""
        target, prediction, probability = prediction_columns(decoder.port)
        if self.targets and predictions.true is not None:
            yield target, predictions.true
        yield prediction, predictions.predicted
        if predictions.sets is not None:
            yield from zip(interval_columns(decoder.kind, [prediction]), [predictions.sets], strict=True)
        if predictions.interval is not None:
            for end, column in enumerate(interval_columns(decoder.kind, [prediction])):
                ends = np.split(predictions.interval, 2, axis=1)[end]
                yield column, plain_floats(ends) if decoder.several_numbers else _single(ends)
        if predictions.probability is not None:
            yield probability, _single(predictions.probability[:, None])
        if predictions.spread_of_predicted is not None:
            yield spread_column(probability), _single(predictions.spread_of_predicted[:, None])
        if self.probabilities and predictions.probabilities is not None:
            yield from self._of_classes(decoder, predictions.probabilities, lambda name: name)
        if predictions.spread is None or not self.shows_spread(decoder):
            return
        if decoder.kind != "numbers":
            yield from self._of_classes(decoder, predictions.spread, spread_column)
        elif decoder.several_numbers:
            yield spread_column(prediction), plain_floats(predictions.spread)
        else:
            yield spread_column(prediction), _single(predictions.spread)

    def _of_classes(
        self, decoder: OutputDecoder, values_NC: npt.NDArray[np.float32], named: Callable[[str], str]
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """A key for each class of a named output; else one for an object with all of them."""
        rows = plain_floats(values_NC)
        if decoder.port is None:
            names = [str(name) for name in decoder.classes]
            yield named(_PROBABILITIES), [dict(zip(names, of_row, strict=True)) for of_row in rows]
        else:
            for place, column in enumerate(decoder.class_columns):
                yield named(column), [of_row[place] for of_row in rows]

    def frame(self, blocks: Iterable[PredictedRows]) -> pd.DataFrame:
        """All of them; the index is the row's number."""
        import pandas as pd

        columns = self.columns
        return pd.DataFrame([row for block in blocks for row in self.rows(block)], columns=columns).set_index(
            ROW
        )


def _single(values_N1: npt.NDArray[np.float32]) -> list[float]:
    return [value for (value,) in plain_floats(values_N1)]


def row_numbers(predicted: PredictedRows) -> Sequence[int]:
    """The number of each row."""
    return next(iter(predicted.values())).rows


class CsvLines:
    """Predictions as lines of CSV, as Python's csv module writes them; the first block has the names above.

    What belongs to a class (its name, escaped and quoted) is made once; then only numbers are left to write.
    """

    def __init__(self, table: PredictionTable) -> None:
        self._table = table
        self._fields: dict[Hashable, str] = {}

    def header(self) -> str:
        """The line of names."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerow(map(cell, self._table.columns))
        return file.getvalue()

    def lines(self, predicted: PredictedRows, beside: Sequence[Iterable[str]] = ()) -> str:
        """A line for each row. `beside`: the values of the table's columns beside the row's number."""
        parts: list[Iterable[str]] = [map(str, row_numbers(predicted)), *beside]
        parts += [map(_csv_field, places) for places in self._table.place_columns(predicted).values()]
        for port, decoder in self._table.decoders.items():
            parts += self._of_output(decoder, predicted[port])
        return "".join(f"{line}\n" for line in map(",".join, zip(*parts, strict=True)))

    def _of_output(self, decoder: OutputDecoder, predictions: Predictions) -> list[Iterable[str]]:
        """The columns of an output."""
        parts: list[Iterable[str]] = []
        for values in (predictions.true if self._table.targets else None, predictions.predicted):
            if values is None:
                continue
            if decoder.kind == "numbers":
                parts += _numbers(values, missing="")
            elif decoder.kind in ("labels", "steps", "sequence"):
                parts.append([self._field(tuple(v) if isinstance(v, list) else v) for v in values])
            else:
                parts.append(map(self._field, values))
        if predictions.sets is not None:
            parts.append([self._field(tuple(of_row)) for of_row in predictions.sets])
        parts += map(rows_of_numbers, self._table.numbers(decoder, predictions))
        return parts

    def _field(self, value: Hashable) -> str:
        """A class, or several classes or labels, as a field."""
        found = self._fields.get(value)
        if found is None:
            text = several_in_one(value) if isinstance(value, tuple) else value
            found = self._fields[value] = _csv_field(text)
        return found


def _csv_field(value: Any) -> str:
    """A value as a field, quoted where it must be."""
    if isinstance(value, int):
        return str(value)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([cell(value), 0])
    return file.getvalue().removesuffix(",0\n")


class JsonLines:
    """Predictions as one JSON object a line.

    Without names of outputs the probabilities of the classes are an object of their own; with names all keys
    are those of CSV, but several numbers of one output are a list.
    """

    def __init__(self, table: PredictionTable) -> None:
        self._table = table
        self._values: dict[Hashable, str] = {}

    def lines(self, predicted: PredictedRows) -> str:
        """A line for each row."""
        parts: list[Iterable[str]] = [map(str, row_numbers(predicted))]
        template = f"{{{{{_key(ROW)}: {{}}"
        for column, places in self._table.place_columns(predicted).items():
            template += f", {_key(column)}: {{}}"
            parts.append(map(json_text, places))
        for port, decoder in self._table.decoders.items():
            pieces, columns = self._of_output(decoder, predicted[port])
            template += "".join(f", {piece}" for piece in pieces)
            parts += columns
        return "".join(map((template + "}}\n").format, *parts))

    def _of_output(
        self, decoder: OutputDecoder, predictions: Predictions
    ) -> tuple[list[str], list[Iterable[str]]]:
        """The keys of an output with places for their values, for `str.format`, and the values."""
        pieces: list[str] = []
        parts: list[Iterable[str]] = []
        target, prediction, probability = prediction_columns(decoder.port)
        true = predictions.true if self._table.targets else None
        for name, values in ((target, true), (prediction, predictions.predicted)):
            if values is None:
                continue
            place = "{}"
            if decoder.kind == "numbers":
                columns = _numbers(values, missing="null")
                parts += columns
                if values and isinstance(values[0], list):
                    place = "[" + ", ".join(["{}"] * len(columns)) + "]"
            elif decoder.kind in ("labels", "steps", "sequence"):
                parts.append([self._value(tuple(v) if isinstance(v, list) else v) for v in values])
            else:
                parts.append(map(self._value, values))
            pieces.append(f"{_key(name)}: {place}")
        if predictions.sets is not None:
            parts.append([self._value(tuple(of_row)) for of_row in predictions.sets])
            pieces += [f"{_key(column)}: {{}}" for column in interval_columns(decoder.kind, [prediction])]
        if predictions.interval is not None:
            each = ", ".join(["{}"] * (predictions.interval.shape[1] // 2))
            place = f"[{each}]" if decoder.several_numbers else each
            pieces += [f"{_key(end)}: {place}" for end in interval_columns(decoder.kind, [prediction])]
        if predictions.probability is not None:
            pieces.append(f"{_key(probability)}: {{}}")
        if predictions.spread_of_predicted is not None:
            pieces.append(f"{_key(spread_column(probability))}: {{}}")
        if self._table.probabilities and predictions.probabilities is not None:
            pieces += self._of_classes(decoder, lambda name: name)
        if predictions.spread is not None and self._table.shows_spread(decoder):
            if decoder.kind == "numbers":
                each = ", ".join(["{}"] * predictions.spread.shape[1])
                pieces.append(
                    f"{_key(spread_column(prediction))}: {f'[{each}]' if decoder.several_numbers else each}"
                )
            else:
                pieces += self._of_classes(decoder, spread_column)
        for values_NC in self._table.numbers(decoder, predictions):
            parts += [shortest(column) for column in values_NC.T]
        return pieces, parts

    def _of_classes(self, decoder: OutputDecoder, named: Callable[[str], str]) -> list[str]:
        """The pieces of a template for a number of each class."""
        if decoder.port is not None:
            return [f"{_key(named(name))}: {{}}" for name in decoder.class_columns]
        each = ", ".join(f"{_key(str(name))}: {{}}" for name in decoder.classes)
        return [f"{_key(named(_PROBABILITIES))}: {{{{{each}}}}}"]

    def _value(self, value: Hashable) -> str:
        found = self._values.get(value)
        if found is None:
            found = self._values[value] = json_text(list(value) if isinstance(value, tuple) else value)
        return found


def _key(name: str) -> str:
    """A key of JSON, safe in a template of `str.format`."""
    return json_text(name).replace("{", "{{").replace("}", "}}")


def _numbers(values: Sequence[Any], *, missing: str) -> list[Iterable[str]]:
    """The columns of numbers as texts; `missing` stands for a target that a row lacks."""
    columns = zip(*values, strict=True) if values and isinstance(values[0], list) else [values]
    return [[missing if number is None else repr(number) for number in column] for column in columns]
