"""A data set as it was loaded, before any preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.dates import iso_texts
from nnrun.data.row_places import RowPlaces
from nnrun.data.rows import gather_ragged
from nnrun.data.stored_columns import take_rows_of_array, take_rows_of_table
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.errors import DataError, printable
from nnrun.spec import schema
from nnrun.spec.ports import Port, names_of_inputs_tell, output_views
from nnrun.spec.schema import ExperimentSpec, Task

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Rows = Sequence[int] | Array


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of word indices, one after the other: row i is `tokens[indptr[i]:indptr[i + 1]]`.

    Attributes:
        indptr: (N + 1,) int64, where each row begins; the last entry is the number of tokens.
        tokens: (T,) int32, none negative.
    """

    indptr: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens per row."""
        return np.diff(self.indptr)

    def row(self, index: int) -> npt.NDArray[np.int32]:
        """The tokens of one row."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        return self.tokens[self.indptr[index] : self.indptr[index + 1]]

    def take(self, rows: Rows) -> TokenRows:
        """The rows at these positions, in this order."""
        indptr, (tokens,) = gather_ragged(self.indptr, (self.tokens,), np.asarray(rows))
        return TokenRows(indptr, tokens)

    def blocks(self, tokens: int) -> Iterator[TokenRows]:
        """The rows, in order, in blocks of at most so many tokens or one row; no rows are one empty block."""
        first = 0
        while True:
            last = int(np.searchsorted(self.indptr, self.indptr[first] + tokens, "right")) - 1
            last = max(first + 1, min(last, len(self))) if len(self) else 0
            start, end = self.indptr[first], self.indptr[last]
            yield TokenRows(self.indptr[first : last + 1] - start, self.tokens[start:end])
            first = last
            if first >= len(self):
                return

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> TokenRows:
        """Token rows from lists of integers."""
        indptr = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(row) for row in lists], out=indptr[1:])
        return cls(indptr, np.fromiter((t for row in lists for t in row), np.int32, int(indptr[-1])))

    @classmethod
    def from_array(cls, array: Array) -> TokenRows:
        """Token rows of one length from integers (N, L)."""
        rows, length = array.shape
        return cls(np.arange(rows + 1, dtype=np.int64) * length, array.astype(np.int32).ravel())


RawInputs: TypeAlias = TokenRows | Array | Table
"""Inputs before any preprocessing: token rows, an array (N, ...) of rows of any shape, or a table of named
columns."""

_SMALLEST_IMAGE = 4  # pixels: what has fewer rows or columns is steps of features


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and their targets, row by row.

    Attributes:
        inputs: token rows, an array, or a table of named columns. Of an array (N, ...) each row keeps its
            shape: (F,) numbers, (steps, features), (height, width), (height, width, channels).
        targets: (N,) or (N, K). Class labels are integers from 0.
        weights: (N,) float64, none negative: what the loss of each row counts, in training and wherever the
            loss is measured; metrics do not know them. None where all count 1.
        groups: (N,) integers: rows of one group are never split; None where there are no groups.
        split_columns: columns that the validation needs; None where there are none.
        places: where each row stands in its file or folder; None of arrays, where a row's number says it.
        of_inputs: where there are several inputs, what each takes; `inputs` is what the first takes.
        of_outputs: where there are several outputs, the targets of each; `targets` are those of the first.
        present_of: of the outputs that some rows have no target for, (N,) which rows have one. The other
            rows repeat the target of a row that has one, so that every value is valid; nothing may be fitted
            to these, measured or counted by them.
        present: the same of `targets`, where these are seen as those of one output; None where all rows have
            one.
    """

    inputs: RawInputs
    targets: Array
    weights: npt.NDArray[np.float64] | None = None
    groups: npt.NDArray[np.int64] | None = None
    split_columns: Table | None = None
    places: RowPlaces | None = None
    of_inputs: Mapping[Port, RawInputs] = field(default_factory=dict)
    of_outputs: Mapping[Port, Array] = field(default_factory=dict)
    present_of: Mapping[Port, Flags] = field(default_factory=dict)
    present: Flags | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Rows) -> Samples:
        """The samples at these positions, in this order."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.int64)  # an empty list would become an array of floats
        return Samples(
            taken_rows(self.inputs, rows),
            self.targets[rows],
            None if self.weights is None else self.weights[rows],
            None if self.groups is None else self.groups[rows],
            None if self.split_columns is None else self.split_columns.take(rows),
            None if self.places is None else self.places.take(rows),
            {port: taken_rows(inputs, rows) for port, inputs in self.of_inputs.items()},
            {port: targets[rows] for port, targets in self.of_outputs.items()},
            {port: present[rows] for port, present in self.present_of.items()},
            None if self.present is None else self.present[rows],
        )

    def with_target(self, rows: Array) -> Array:
        """Those of the rows at these positions that have a target."""
        return rows if self.present is None else rows[self.present[rows]]

    @property
    def known_targets(self) -> Array:
        """The targets of the rows that have one."""
        return self.targets if self.present is None else self.targets[self.present]

    def by_input(self, ports: Iterable[Port]) -> Mapping[Port, RawInputs]:
        """What each of these inputs takes; the only one takes `inputs`."""
        return self.of_inputs or dict.fromkeys(ports, self.inputs)

    @property
    def inputs_are_told(self) -> bool:
        """Whether messages say of which input a column or a row is."""
        each = [rows.names if isinstance(rows, Table) else None for rows in self.of_inputs.values()]
        return bool(each) and names_of_inputs_tell(each)

    def input(self, port: Port) -> Samples:
        """The samples as one of several inputs sees them."""
        return replace(self, inputs=self.of_inputs[port]) if self.of_inputs else self

    def output(self, port: Port) -> Samples:
        """The samples as one of several outputs sees them."""
        if not self.of_outputs:
            return self
        return replace(self, targets=self.of_outputs[port], present=self.present_of.get(port))


def repeated(values: Array, present: Flags | None) -> Array:
    """Values in which each row without one repeats the row before it that has one, or the first that has.

    Args:
        values: (N, ...).
        present: (N,) which rows have a value, at least one of them; None for all.
    """
    if present is None:
        return values
    last = np.maximum.accumulate(np.where(present, np.arange(len(values)), -1))
    return np.asarray(values[np.where(last < 0, np.argmax(present), last)])


@dataclass(frozen=True, eq=False)
class RowsByInput:
    """What each of several inputs takes of the same rows.

    Attributes:
        of_inputs: N rows for each input.
    """

    of_inputs: Mapping[Port, RawInputs]

    def __len__(self) -> int:
        return len(next(iter(self.of_inputs.values())))

    def take(self, rows: Rows) -> RowsByInput:
        """The rows at these positions, in this order."""
        return RowsByInput({port: taken_rows(own, np.asarray(rows)) for port, own in self.of_inputs.items()})


def strata(labels: Array, present: Flags | None, least: int) -> Array:
    """(N,) classes to stratify by, where some rows have none: these are a class of their own.

    Fewer than `least` of them cannot be one, and go with the most frequent class.

    Args:
        labels: (N,) the classes.
        present: (N,) which rows have one; None for all.
        least: rows that a class must have.
    """
    if present is None or present.all():
        return labels
    known, counts = np.unique(labels[present], return_counts=True)
    enough = int((~present).sum()) >= least
    other = known.max() + 1 if enough else known[counts.argmax()]
    return np.where(present, labels, other)


def taken_rows(inputs: RawInputs, rows: Array) -> RawInputs:
    """The rows at these positions, in this order."""
    if isinstance(inputs, Table):
        return take_rows_of_table(inputs, rows)
    return take_rows_of_array(inputs, rows) if isinstance(inputs, np.ndarray) else inputs.take(rows)


@dataclass(frozen=True)
class SourceFile:
    """Where samples came from, for the record of a run.

    Attributes:
        name: the file's name, or the data set's where there is no file.
        sha256: of the file's bytes; of the arrays where the data set has no single file.
        rows: rows that were taken from it.
        path: where it was found, or None.
        note: what a reader should know about it: `not the published file`, `generated`; mostly empty.
        rows_without_target: rows that were left out, since the target is missing there.
        index_columns: columns that were left out, since they only number or name the rows.
        rows_without_target_of: output → rows that lack its target and count for the other outputs only.
        split: which rows it holds, where these are training rows only or test rows only; else None.
    """

    name: str
    sha256: str
    rows: int
    path: str | None = None
    note: str = ""
    rows_without_target: int = 0
    index_columns: tuple[str, ...] = ()
    rows_without_target_of: Mapping[Port, int] = field(default_factory=dict)
    split: Literal["train", "test"] | None = None

    def as_record(self) -> dict[str, Any]:
        """What the record of a run or a sweep says of it."""
        record: dict[str, Any] = {
            "name": self.name,
            "sha256": self.sha256,
            "rows": self.rows,
            "note": self.note,
        }
        if self.rows_without_target:
            record["rows_without_target"] = self.rows_without_target
        if self.index_columns:
            record["index_columns"] = list(self.index_columns)
        if self.rows_without_target_of:
            record["rows_without_target_of"] = dict(self.rows_without_target_of)
        return record


@dataclass(frozen=True)
class TargetFacts:
    """What is known of the targets of one output: as the attributes of `Dataset` of these names."""

    task: Task | None = None
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> TargetFacts:
        """What a data set of one output knows."""
        return cls(dataset.task, dataset.classes, dataset.class_names, dataset.target_names)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples with what is known about them.

    Attributes:
        name: as a spec names it.
        train: all training samples; validation rows are chosen among them later.
        test: the test set, or None where there is none.
        sources: the files behind the samples.
        task: what the targets are, or None where only the spec's loss can tell.
        classes: number of classes, for classification.
        class_names: their names, in the order of the labels.
        feature_names: the names of the columns of a table.
        file_columns: of a file without a header, all its columns: c0, c1, ...
        target_names: the names of the columns that are the targets.
        num_words: all tokens are below this number by the spec's own limit; None without a limit.
        smoke: the rows are a small stand-in for a trial of the machinery.
        targets_of: where there are several outputs, what is known of the targets of each; `task` to
            `target_names` are those of the first.
    """

    name: str
    train: Samples
    test: Samples | None
    sources: tuple[SourceFile, ...]
    task: Task | None = None
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    file_columns: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    num_words: int | None = None
    smoke: bool = False
    targets_of: Mapping[Port, TargetFacts] = field(default_factory=dict)

    @property
    def test_hashes(self) -> list[str]:
        """SHA-256 of what the test rows come from: all sources but those of training rows alone."""
        return [source.sha256 for source in self.sources if source.split != "train"]

    def input(self, port: Port) -> Dataset:
        """The data set as one of several inputs sees it."""
        if not self.train.of_inputs:
            return self
        test = None if self.test is None else self.test.input(port)
        return replace(self, train=self.train.input(port), test=test)

    def output(self, port: Port) -> Dataset:
        """The data set as one of several outputs sees it."""
        if not self.train.of_outputs:
            return self
        test, facts = None if self.test is None else self.test.output(port), self.targets_of[port]
        return replace(
            self,
            train=self.train.output(port),
            test=test,
            task=facts.task,
            classes=facts.classes,
            class_names=facts.class_names,
            target_names=facts.target_names,
        )

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(height, width) or (height, width, channels) of rows that may be images; None for other rows."""
        inputs = self.train.inputs
        if not isinstance(inputs, np.ndarray) or inputs.ndim not in (3, 4):
            return None
        return inputs.shape[1:] if min(inputs.shape[1:3]) >= _SMALLEST_IMAGE else None


@dataclass(frozen=True, eq=False)
class OutputData:
    """One output of an experiment.

    Attributes:
        spec: the spec as the output sees it.
        dataset: the data set as the output sees it.
    """

    spec: ExperimentSpec
    dataset: Dataset


def output_data(spec: ExperimentSpec, dataset: Dataset) -> dict[Port, OutputData]:
    """Each output of an experiment with these data."""
    return {port: OutputData(view, dataset.output(port)) for port, view in output_views(spec).items()}


def split_columns_of(validation: schema.Component) -> tuple[str, ...]:
    """The columns that tell which rows validate. They are no inputs by default."""
    match validation:
        case schema.Holdout(column=str(column)) | schema.TimeSeries(column=str(column)):
            return (column,)
        case schema.KFold(group=str(group)):
            return (group,)
    return ()


@dataclass(frozen=True, eq=False)
class SplitValues:
    """What the N training rows are split by.

    Attributes:
        labels: (N,) the class of each, to stratify by; None where the targets are not classes.
        groups: (N,) the group of each, which is never split; None where there are no groups.
        column: (N,) the values of the column that a holdout or a time series names; None where none is named.
        class_names: what messages call the classes.
    """

    labels: Array | None
    groups: Array | None
    column: Array | None
    class_names: tuple[str, ...] | None


def split_values(validation: schema.Component, dataset: Dataset) -> SplitValues:
    """What a spec's `validation` splits the training rows by.

    Raises:
        DataError: there is no such column, or it lacks values.
    """
    groups, column = dataset.train.groups, None
    for name in split_columns_of(validation):
        found = _column(dataset, name)
        if isinstance(validation, schema.KFold):
            groups = _groups_of(found)
        else:
            column = _times(found) if isinstance(validation, schema.TimeSeries) else _values(found)
    own, least = dataset, 2
    match validation:
        case schema.Holdout(stratify=str(output)):
            own = dataset.output(output)
        case schema.KFold(stratify=str(output), k=k):
            own, least = dataset.output(output), k
    labels = labels_of(own)
    labels = None if labels is None else strata(labels, own.train.present, least)
    return SplitValues(labels, groups, column, own.class_names)


def labels_of(dataset: Dataset) -> Array | None:
    """The class of each training row, to stratify by; None where the targets are not classes."""
    targets = dataset.train.targets
    return None if dataset.task == "regression" or targets.ndim != 1 else targets


def _column(dataset: Dataset, name: str) -> Column:
    """A column that the validation names: one that was put aside, or an input."""
    tables = [dataset.train.split_columns, dataset.train.inputs]
    for table in tables:
        if isinstance(table, Table) and name in table.by_name:
            return table.by_name[name]
    raise DataError(f"validation: {dataset.name} has no column {printable(name)!r} to split by.")


def _values(column: Column) -> Array:
    """(N,) numbers with NaN, or texts or whole numbers of any length with None, where a value is missing."""
    if isinstance(column, NumberColumn):
        return column.identities()
    if isinstance(column, CategoryColumn):
        return np.array([*column.levels, None], object)[column.codes]
    return column.values


def _times(column: Column) -> Array:
    """The same, dates in ISO form, however the file writes them."""
    if isinstance(column, CategoryColumn) and column.dates:
        column = replace(column, levels=tuple(iso_texts(column.levels)))
    return _values(column)


def _groups_of(column: Column) -> Array:
    """(N,) a number for each different value."""
    missing = column.missing
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"validation.kfold.group: column {printable(column.name)!r} has no value in training row {row} "
            "(from 0), and each row needs a group. Leave out such rows, or name another column."
        )
    return np.unique(_values(column), return_inverse=True)[1].astype(np.int64)
