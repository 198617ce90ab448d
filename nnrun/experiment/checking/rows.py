"""The rows of a data set in one form: training rows first, then test rows; columns where it has columns.

Letters in names: N rows, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset, Samples
from nnrun.data.dataset import OutputData, RawInputs, TokenRows, output_data
from nnrun.data.files.file_hash import remembered_sha256
from nnrun.data.files.read_table import ReadTable, read_table
from nnrun.data.inference.column_types import ColumnInference
from nnrun.data.row_places import RowPlaces
from nnrun.data.sources.table_file import reader_of
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn, kind_of
from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT, Port, input_views
from nnrun.validation.splits import Fold

_MOST_FEATURES: Final = 500  # of an array whose features are looked at one by one
_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
Keys = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CheckedTarget:
    """What one output learns.

    Attributes:
        port: the output.
        column: (N,) its values: categories for classes, else numbers. Rows that lack it repeat another's.
        present: (N,) which rows have it.
        classes: it is classes.
    """

    port: Port
    column: NumberColumn | CategoryColumn
    present: npt.NDArray[np.bool_]
    classes: bool

    @property
    def name(self) -> str:
        """Of the column."""
        return self.column.name

    @property
    def labels(self) -> Positions:
        """(N,) the class of each row, from 0."""
        assert isinstance(self.column, CategoryColumn), "classes are categories"
        return self.column.codes.astype(np.int64)

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        """(N,) the number of each row."""
        assert isinstance(self.column, NumberColumn), "what is no class is a number"
        return np.asarray(self.column.values, np.float64)


@dataclass(frozen=True, eq=False)
class CheckedRows:
    """Rows to check.

    Attributes:
        name: of the data set.
        n_train: the first rows are those of training, the others those of the test set.
        inputs: what each row holds, for models; `columns` where it has columns.
        columns: name → an input column, (N,).
        unused: name → a column of the file that is neither input nor target, (N,).
        keys: (N,) equal where all inputs of two rows are.
        targets: those that are one class or one number a row.
        folds: how the training rows are split.
        places: where the training rows and where the test rows stand in their file or folder; None where
            there is none.
        files: the names of the files of training and test rows.
        by_time: the split follows time by the spec's own word.
        grouped_by: the column that no split cuts, or None.
    """

    name: str
    n_train: int
    inputs: tuple[RawInputs, ...]
    columns: Mapping[str, Column]
    unused: Mapping[str, Column]
    keys: Keys
    targets: tuple[CheckedTarget, ...]
    folds: tuple[Fold, ...] = ()
    places: tuple[RowPlaces, RowPlaces | None] | None = None
    files: tuple[str, str] = ("", "")
    by_time: bool = False
    grouped_by: str | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def n_test(self) -> int:
        """Test rows."""
        return len(self) - self.n_train

    @cached_property
    def in_file_order(self) -> Positions:
        """The rows in the order of their file; of rows that have none, or of two files, as they are."""
        if self.file_rows is None or self.files[0] != self.files[1]:
            return np.arange(len(self))
        return np.argsort(self.file_rows, kind="stable")

    @cached_property
    def file_rows(self) -> Positions | None:
        """(N,) the row of its file that each is, from 0; None where there is no file of rows."""
        parts = [part for part in self.places or () if part is not None]
        found = [part.file_rows for part in parts if part.file_rows is not None]
        return np.concatenate(found) if found else None

    def place(self, row: int) -> str:
        """What a person calls a row: `line 17`, a file, or `training row 16` counted from 0."""
        test, own = self._in_part(row)
        places = self.places[test] if self.places is not None else None
        if places is None:
            return f"{'test' if test else 'training'} row {own}"
        return places.text(own) + (f" of {self.files[1]}" if test and self.files[0] != self.files[1] else "")

    def row_document(self, row: int) -> dict[str, Any]:
        """The same for programs: the set, the row in it from 0, and where that stands in its file."""
        test, own = self._in_part(row)
        places = self.places[test] if self.places is not None else None
        document = {} if places is None else places.document(own)
        return {"set": "test" if test else "train", "row": own, **document}

    def _in_part(self, row: int) -> tuple[bool, int]:
        """Whether it is a test row, and its number among those or among the training rows."""
        test = bool(row >= self.n_train)
        return test, int(row - self.n_train if test else row)


def inferred(column: Column) -> ColumnInference:
    """A column with what a file would have said about it."""
    levels: int | None = None
    missing = int(column.missing.sum())
    if isinstance(column, CategoryColumn):
        levels = len(np.unique(column.codes[column.codes >= 0]))
    elif isinstance(column, TextColumn):
        levels = len({value for value in column.values if value is not None})
    return ColumnInference(column, kind_of(column), "", missing, levels)


def checked_rows(
    spec: schema.ExperimentSpec,
    dataset: Dataset,
    folds: tuple[Fold, ...],
    on_message: Callable[[str], None] = lambda text: None,
) -> CheckedRows:
    """The rows of a spec's data set.

    Args:
        spec: the experiment.
        dataset: as it was loaded.
        folds: how its training rows are split.
        on_message: is told what takes long.
    """
    parts = [dataset.train] if dataset.test is None else [dataset.train, dataset.test]
    ports = list(input_views(spec))
    each = [[part.by_input(ports)[port] for part in parts] for port in ports]
    inputs = tuple(_joined(of_parts) for of_parts in each)
    columns: dict[str, Column] = {}
    for port, rows in zip(ports, inputs, strict=True):
        columns |= _columns_of(rows, dataset.input(port).feature_names)
    places = dataset.train.places
    files = [source.name for source in dataset.sources] or [""]
    data = spec.dataset
    group = data.group if isinstance(data, schema.NamedColumns) else None
    if group is None and isinstance(spec.validation, schema.KFold):
        group = spec.validation.group
    outputs = output_data(spec, dataset)
    targets = [_target(output, port) for port, output in outputs.items()]
    unused: Mapping[str, Column] = {}
    if isinstance(data, schema.RowFile) and places is not None:
        learned = {name for output in outputs.values() for name in output.dataset.target_names or ()}
        unused = _unused_columns(data, parts, learned | columns.keys(), on_message)
    return CheckedRows(
        dataset.name,
        len(dataset.train),
        inputs,
        columns,
        unused,
        keys_of(inputs),
        tuple(target for target in targets if target is not None),
        folds,
        None if places is None else (places, None if dataset.test is None else dataset.test.places),
        (files[0], files[-1]),
        isinstance(spec.validation, schema.TimeSeries),
        group,
    )


def _target(output: OutputData, port: Port) -> CheckedTarget | None:
    """A target of one class or one number a row; None for any other."""
    dataset = output.dataset
    parts = [dataset.train] if dataset.test is None else [dataset.train, dataset.test]
    if any(part.targets.ndim > 2 or (part.targets.ndim == 2 and part.targets.shape[1] > 1) for part in parts):
        return None
    values = np.concatenate([part.targets.reshape(len(part)) for part in parts])
    flags = [np.ones(len(part), bool) if part.present is None else part.present for part in parts]
    present = np.concatenate(flags)
    name = (dataset.target_names or ("target" if port == OUTPUT else port,))[0]
    classes = isinstance(output.spec.own_loss, schema.ClassLoss) and values.dtype.kind in "iub"
    if not classes:
        if values.dtype.kind not in "fiub":
            return None
        return CheckedTarget(port, NumberColumn(name, values.astype(np.float64)), present, False)
    names = dataset.class_names or tuple(str(label) for label in range(int(values.max()) + 1))
    return CheckedTarget(port, CategoryColumn(name, values.astype(np.int32), names), present, True)


# --- rows side by side, and one after the other ------------------------------------------------------------


def _joined(parts: Sequence[RawInputs]) -> RawInputs:
    """Training rows and then test rows."""
    first, *rest = parts
    if not rest:
        return first
    (second,) = rest
    if isinstance(first, Table) and isinstance(second, Table):
        joined = [joined_column(column, second.by_name[column.name]) for column in first.columns]
        return Table(tuple(joined), len(first) + len(second))
    if isinstance(first, TokenRows) and isinstance(second, TokenRows):
        indptr = np.concatenate([first.indptr, second.indptr[1:] + first.indptr[-1]])
        return TokenRows(indptr, np.concatenate([first.tokens, second.tokens]))
    return np.concatenate([np.asarray(first), np.asarray(second)])


def joined_column(first: Column, second: Column) -> Column:
    """One column after the other. Their levels need not be the same."""
    if isinstance(first, NumberColumn) and isinstance(second, NumberColumn):
        return NumberColumn(first.name, np.concatenate([first.values, second.values]))
    if isinstance(first, CategoryColumn) and isinstance(second, CategoryColumn):
        levels = tuple(dict.fromkeys((*first.levels, *second.levels)))
        places = {level: code for code, level in enumerate(levels)}
        codes = np.array([*(places[level] for level in second.levels), -1], np.int32)[second.codes]
        return CategoryColumn(first.name, np.concatenate([first.codes, codes]), levels, first.dates)
    values = [np.asarray(_as_objects(column), object) for column in (first, second)]
    return TextColumn(first.name, np.concatenate(values))


def _as_objects(column: Column) -> npt.NDArray[Any]:
    if isinstance(column, CategoryColumn):
        return np.array([*column.levels, None], object)[column.codes]
    if isinstance(column, TextColumn):
        return column.values
    return np.array([None if np.isnan(v) else str(v) for v in column.values.tolist()], object)


def _columns_of(rows: RawInputs, names: Sequence[str] | None) -> dict[str, Column]:
    """The columns of a table, or of an array (N, F) of not too many features; none of other rows."""
    if isinstance(rows, Table):
        return dict(rows.by_name)
    if isinstance(rows, TokenRows) or rows.ndim != 2 or rows.shape[1] > _MOST_FEATURES:
        return {}
    named = names if names is not None and len(names) == rows.shape[1] else None
    called = named or [f"feature {i}" for i in range(rows.shape[1])]
    return {name: NumberColumn(name, rows[:, i].astype(np.float64)) for i, name in enumerate(called)}


def _unused_columns(
    data: schema.RowFile, parts: Sequence[Samples], used: Set[str], on_message: Callable[[str], None]
) -> dict[str, Column]:
    """The columns of the file that a spec does not use, for the rows that it uses."""
    test_path = data.test.path if data.test is not None else None
    found: list[dict[str, Column]] = []
    read: dict[str, ReadTable] = {}
    for part, path in zip(parts, (data.path, test_path or data.path), strict=False):
        if path not in read:
            reader = reader_of(data, Path(path))
            names = [name for name in reader.names if name not in used]
            if not names:
                return {}
            types = {name: of for name, of in data.types.items() if name in names}
            sha256 = remembered_sha256(Path(path))
            read[path] = read_table(reader, sha256, {"kind": data.kind}, names, types, on_message)
        file = read[path]
        assert part.places is not None, "rows of a file have places"
        rows = np.searchsorted(file.places.of_rows(np.arange(file.n_rows)), part.places.values)
        found.append({name: inferred.column.take(rows) for name, inferred in file.columns.items()})
    first, *rest = found
    if not rest:
        return first
    return {name: joined_column(column, rest[0][name]) for name, column in first.items() if name in rest[0]}


# --- keys --------------------------------------------------------------------------------------------------


def keys_of(inputs: Sequence[RawInputs]) -> Keys:
    """(N,) 64 bits of each row that are the same where all inputs are.

    Two rows that differ have the same bits with a probability of 2**-64.
    """
    parts: list[Keys] = []
    for rows in inputs:
        if isinstance(rows, Table):
            parts += map(column_keys, rows.columns)
        else:
            parts.append(_row_keys(rows))
    return _as_one(parts)


def combined_keys(columns: Sequence[Column]) -> Keys:
    """(N,) the same for columns."""
    return _as_one([column_keys(column) for column in columns])


def joint_keys(*parts: Keys) -> Keys:
    """(N,) the same where all parts (N,) are."""
    return _as_one(parts)


def _as_one(parts: Sequence[Keys]) -> Keys:
    keys, *others = parts
    for part in others:
        keys = _mixed(keys * np.uint64(31) + part)
    return keys


def column_keys(column: Column) -> Keys:
    """(N,) 64 bits of each value of a column, the same where the values are, a missing one among them."""
    if isinstance(column, NumberColumn):
        if column.names is not None:
            return column_keys(column.names)
        values = column.values.astype(np.float64) + 0.0  # -0.0 is 0.0
        values[np.isnan(values)] = np.nan  # of one kind
        return _mixed(values.view(np.uint64))
    if isinstance(column, CategoryColumn):
        of_levels = [_text_key(level) for level in column.levels]
        return np.array([*of_levels, 1], np.uint64)[column.codes]
    return np.array([1 if value is None else _text_key(value) for value in column.values], np.uint64)


def _row_keys(rows: TokenRows | npt.NDArray[Any]) -> Keys:
    if isinstance(rows, TokenRows):
        each: Iterable[bytes] = (rows.row(i).tobytes() for i in range(len(rows)))
    else:
        flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
        if flat.dtype.kind == "f":
            flat = flat + flat.dtype.type(0)
        each = (row.tobytes() for row in flat)
    return np.array([_key(row) for row in each], np.uint64)


def _text_key(text: str) -> int:
    return _key(text.encode("utf-8", "surrogatepass"))


def _key(row: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")


def _mixed(keys: Keys) -> Keys:
    """Each bit of a key moves about half of the bits (the finalizer of SplitMix64)."""
    with np.errstate(over="ignore"):
        keys = keys + _MIX[0]
        keys = (keys ^ (keys >> np.uint64(30))) * _MIX[1]
        keys = (keys ^ (keys >> np.uint64(27))) * _MIX[2]
        return np.asarray(keys ^ (keys >> np.uint64(31)))
