"""Values that training never saw: counted, column by column, so that they can be told before they are scored.

One-hot makes all zeros of them, and of a text without a known word: the network then guesses from what else
there is, and nothing in its output shows it. Hashing takes every value, and numbers are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from nnrun.data.dataset import Array, Dataset, RawInputs, Samples
from nnrun.data.preprocess.column_transformer import FittedColumn, FittedTable
from nnrun.data.preprocess.fitted_step import Mask
from nnrun.data.preprocess.pipeline import FittedPreprocessing
from nnrun.data.table import Column, Table, as_categories, as_texts
from nnrun.errors import DataError
from nnrun.spec.ports import Port
from nnrun.spec.wording import quoted

_LARGE_SHARE = 0.5


@dataclass(frozen=True)
class Unknown:
    """Rows that hold what training never saw.

    Attributes:
        column: in which column; None for rows without any value.
        what: a `value` of a category; a value that is `missing` in a column where none was in training;
            a text without a known one of its `words`; or a whole `row` without a value.
        count: in how many rows.
        rows: of how many.
        example: one of the values; None for what is missing.
        input: of which input, where inputs have names.
    """

    column: str | None
    what: Literal["value", "missing", "words", "row"]
    count: int
    rows: int
    example: str | None
    input: Port | None = None

    @property
    def large(self) -> bool:
        """Whether more than half of the rows are concerned."""
        return self.count > _LARGE_SHARE * self.rows

    def __str__(self) -> str:
        of = f"{self.count:,} of {self.rows:,} rows"
        if self.column is None:
            which = "input column" if self.input is None else f"column of the input {quoted(self.input)}"
            return f"{of} have no value in any {which}"
        where = f"column {quoted(self.column)}"
        if self.input is not None:
            where += f" (input {quoted(self.input)})"
        if self.what == "missing":
            return f"{where}: {of} have no value; every training row has one"
        example = quoted(self.example or "")
        if self.what == "words":
            return f"{where}: {of} hold no word that the network knows, such as {example}"
        return f"{where}: {of} have a value that no training row has, such as {example}"

    def as_document(self) -> dict[str, Any]:
        """As a value of JSON; `input` is there where inputs have names."""
        return {name: value for name, value in vars(self).items() if name != "input" or value is not None}


@dataclass
class UnknownCounts:
    """What training never saw, of all rows that are added.

    Attributes:
        fitted: of each input that is a table the preprocessing of the networks that are asked: what one of
            them saw is known.
        named: whether of which input is told.
        found: all that there is to tell so far.
        rows: how many were added.
    """

    fitted: Mapping[Port, Sequence[FittedTable]]
    named: bool = False
    found: list[Unknown] = field(default_factory=list)
    rows: int = 0

    def add(self, inputs: Mapping[Port, RawInputs]) -> None:
        """More rows: what each input takes."""
        if not self.fitted:
            return
        self.rows += len(next(iter(inputs.values())))
        self.found = together([self.found, unknown_of_inputs(self.fitted, inputs, self.named)], self.rows)


def tables_of(fitted: Sequence[FittedPreprocessing]) -> dict[Port, list[FittedTable]]:
    """The fitted column transformers of networks, of each input that is a table."""
    found = {}
    for port in fitted[0].inputs:
        own = [inputs.table for inputs in (each.inputs[port] for each in fitted) if inputs.of_table]
        if tables := [table for table in own if table is not None]:
            found[port] = tables
    return found


def unknown_in(
    fitted: Sequence[FittedPreprocessing], samples: Samples, *, texts: bool = True
) -> list[Unknown]:
    """Values of these rows that the networks' training rows did not contain, of each input."""
    tables, inputs = tables_of(fitted), samples.by_input(fitted[0].inputs)
    return unknown_of_inputs(tables, inputs, samples.inputs_are_told, texts=texts)


def unknown_in_test_set(
    dataset: Dataset,
    fitted: Sequence[FittedPreprocessing],
    on_message: Callable[[str], None],
    *,
    allowed: bool,
) -> list[Unknown]:
    """Values of the test rows that the training rows did not contain. Called before the test set is used.

    Args:
        dataset: with a test set.
        fitted: the preprocessing of the networks; what one of them saw is known.
        on_message: receives a message for each column.
        allowed: whether most rows may be concerned.

    Raises:
        DataError: most of them are, in some column, and that is not allowed.
    """
    assert dataset.test is not None, "asked where there is one"
    inputs = dataset.test.inputs
    if not isinstance(inputs, Table):
        return []
    found = unknown_in(fitted, dataset.test)
    large = [unknown for unknown in found if unknown.large]
    if large and not allowed:
        more = f" (and {len(large) - 1} more)" if len(large) > 1 else ""
        raise DataError(
            f"The test set was not used: {large[0]}{more}. The score would say little about such rows. Write "
            "the values as in the training rows; or use the test set anyway: --allow-unknown (in Python "
            "allow_unknown=True)."
        )
    for unknown in found:
        on_message(f"test set: {unknown}")
    return found


def unknown_in_validation(
    samples: Samples, folds: Mapping[int, tuple[FittedPreprocessing, Array]]
) -> list[tuple[int, Unknown]]:
    """Each column in which most validation rows of a fold hold a value unseen in its training rows.

    Texts are not looked at: to cut each fold's into words again would take long.

    Args:
        samples: the training samples, which folds split; their inputs are tables.
        folds: id → its preprocessing, and its validation rows.

    Returns:
        for each such column the fold with the most of these rows, and what they hold.
    """
    worst: dict[tuple[Port | None, str | None], tuple[int, Unknown]] = {}
    for fold, (fitted, rows) in folds.items():
        for unknown in unknown_in([fitted], samples.take(rows), texts=False) if len(rows) else ():
            before = worst.get((unknown.input, unknown.column))
            if unknown.large and (before is None or unknown.count > before[1].count):
                worst[unknown.input, unknown.column] = fold, unknown
    return list(worst.values())


def unknown_of_inputs(
    fitted: Mapping[Port, Sequence[FittedTable]],
    inputs: Mapping[Port, RawInputs],
    named: bool,
    *,
    texts: bool = True,
) -> list[Unknown]:
    """`unknown_values` of each input that is a table; with `named` they tell their input.

    Else what two inputs take of the same column is told once.
    """
    every: dict[tuple[Port | None, str | None, str], Unknown] = {}
    for port, tables in fitted.items():
        rows = inputs[port]
        assert isinstance(rows, Table), "a table was fitted"
        for own in unknown_values(tables, rows, texts=texts):
            unknown = replace(own, input=port) if named else own
            every.setdefault((unknown.input, unknown.column, unknown.what), unknown)
    return list(every.values())


def unknown_values(fitted: Sequence[FittedTable], table: Table, *, texts: bool = True) -> list[Unknown]:
    """What training never saw, among these rows.

    Args:
        fitted: the preprocessing of the networks that are asked: what one of them saw is known.
        table: the rows.
        texts: whether texts are looked at, too.
    """
    return list(_of_table(fitted, table, texts)) if fitted and len(table) else []


def _of_table(fitted: Sequence[FittedTable], table: Table, texts: bool) -> Iterator[Unknown]:
    empty = np.ones(len(table), bool)
    for place, first in enumerate(fitted[0].columns):
        column = table.by_name[first.name]
        if empty.any():
            empty &= column.missing
        yield from _of_column([each.columns[place] for each in fitted], column, texts)
    if empty.any():
        yield Unknown(None, "row", int(empty.sum()), len(table), None)


def _of_column(fitted: Sequence[FittedColumn], column: Column, texts: bool) -> Iterator[Unknown]:
    """What none of the networks knows. In each the first step that does more than fill gaps tells."""
    telling = [next((step for step in each.steps if not step.fills_gaps), None) for each in fitted]
    steps = [step for step in telling if step is not None]
    of_texts = any(step.form == "text" for step in steps)
    if len(steps) < len(fitted) or (of_texts and not texts) or any(step.form == "number" for step in steps):
        return
    taken = as_texts(column) if of_texts else as_categories(column)
    masks = [mask for step in steps if (mask := step.unseen(taken)) is not None]
    if len(masks) < len(steps):
        return
    unseen: Mask = np.logical_and.reduce(masks)
    rows = len(unseen)
    if unseen.any():
        what: Literal["words", "value"] = "words" if of_texts else "value"
        yield Unknown(column.name, what, int(unseen.sum()), rows, as_texts(taken).values[np.argmax(unseen)])
    together = zip(steps, fitted, strict=True)
    if all(step is each.steps[0] and step.expects_values for step, each in together) and taken.missing.any():
        yield Unknown(column.name, "missing", int(taken.missing.sum()), rows, None)


def together(parts: Sequence[Sequence[Unknown]], rows: int) -> list[Unknown]:
    """What several sets of rows hold, of so many rows in all."""
    found: dict[tuple[Port | None, str | None, str], Unknown] = {}
    for unknown in (unknown for part in parts for unknown in part):
        before = found.get((unknown.input, unknown.column, unknown.what))
        count = unknown.count + (0 if before is None else before.count)
        found[unknown.input, unknown.column, unknown.what] = replace(
            before or unknown, count=count, rows=rows
        )
    return list(found.values())
