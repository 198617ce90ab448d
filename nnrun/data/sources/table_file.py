"""A file of rows with named columns: which columns are what, and which rows are the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Dataset, Samples, SourceFile, TargetFacts, strata
from nnrun.data.files.file_hash import remembered_sha256
from nnrun.data.files.missing_marks import marks_sentence, missing_marks
from nnrun.data.files.open_file import refuse_what_is_no_file
from nnrun.data.files.read_table import ReadTable, read_table
from nnrun.data.files.row_reader import RowReader
from nnrun.data.inference.index_columns import COUNTS_ROWS
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.inference.target_columns import Targets, refuse_wrong, targets_of
from nnrun.data.row_places import RowPlaces
from nnrun.data.sources.context import LoadContext, lacking_targets
from nnrun.data.sources.generated_rows import some_rows
from nnrun.data.sources.test_rows import rows_of_fraction
from nnrun.data.table import CategoryColumn, NumberColumn, TextColumn, as_categories, exact_number
from nnrun.data.value_names import number_name
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.values import is_value
from nnrun.spec.wording import counted, listing, nearest, quoted

_MOST_NAMES = 12
_LARGE_FILE = 64 * 2**20  # bytes from which on a smoke run reads so many rows only:
_SMOKE_ROWS = 20_000
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ColumnRoles:
    """What each column of a file is for.

    Attributes:
        inputs: in order.
        targets: in order.
        split_columns: columns that the validation needs and that are no inputs.
        group, weight, test: further columns, or None.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    split_columns: tuple[str, ...] = ()
    group: str | None = None
    weight: str | None = None
    test: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        others = (*self.targets, *self.split_columns, self.group, self.weight, self.test)
        return tuple(dict.fromkeys((*self.inputs, *(name for name in others if name is not None))))


@dataclass(frozen=True)
class _Source:
    """A file of a data set before it is read: how, what its columns are for, and who hears of it."""

    spec: schema.RowFile
    path: Path
    reader: RowReader
    roles: ColumnRoles
    context: LoadContext

    def say(self, text: str) -> None:
        """Tell something about the file."""
        self.context.on_message(f"{self.reader.name}: {text}")

    def doubt(self, text: str) -> None:
        """Tell what is doubtful about the file's columns."""
        tell = self.context.on_doubt or self.context.on_message
        tell(f"{self.reader.name}: {text}")

    def marks(self, column: str) -> str:
        """What the file has where a value is missing: a sentence, or nothing."""
        return marks_sentence(missing_marks(self.reader, column))

    def read(self, types: Mapping[str, schema.ColumnType]) -> ReadTable:
        """The columns that have a role; of a large file only the first rows where any will do."""
        spec = self.spec
        options: dict[str, object] = {"kind": spec.kind}
        if isinstance(spec, schema.Csv):
            options |= {"delimiter": spec.delimiter}
        large = self.path.stat().st_size > _LARGE_FILE
        file = read_table(
            self.reader,
            remembered_sha256(self.path),
            options,
            self.roles.all,
            {name: types[name] for name in self.roles.all if name in types},
            self.context.on_message,
            most_rows=_SMOKE_ROWS if self.context.smoke and large else None,
            needed=(list(self.context.outputs.values()) or [spec.target]) if spec.drop_missing_target else (),
        )
        if file.left_out:
            all_rows = file.n_rows + file.left_out
            names = listing([quoted(name) for name in spec.target], "or")
            why = "no output has its target there" if self.may_lack else f"{names} is missing"
            self.say(f"{counted(file.left_out, 'row')} of {all_rows:,} left out, since {why}")
            for name in spec.target:
                if marks := self.marks(name):
                    self.say(f"column {quoted(name)}: {marks}")
        return file

    @property
    def may_lack(self) -> bool:
        """Whether a row may lack the target of an output, since it counts for others."""
        return len(self.context.outputs) > 1

    def targets_of_outputs(
        self, file: ReadTable, known: Mapping[Port, Targets] | None = None
    ) -> dict[Port, Targets]:
        """The targets of each output; of how many rows some are missing is told.

        Args:
            file: with all their columns.
            known: those of the training rows, for a file of test rows.
        """
        found = {}
        for port, columns in self.context.outputs.items():
            found[port] = targets_of(
                file,
                columns,
                None if known is None else known[port],
                constant_is_wrong=known is None,
                marks_of=self.marks,
                any_text=port in self.context.text_targets,
                may_lack=self.may_lack,
            )
            found[port] = _as_declared(found[port], columns, self.spec.types)
        _refuse_rows_without_any_target(file, found, self.context.outputs)
        for port, own in found.items():
            if own.present is not None:
                columns = self.context.outputs[port]
                self.say(lacking_targets(port, columns, own.present))
                for name in columns:
                    if marks := self.marks(name):
                        self.say(f"column {quoted(name)}: {marks}")
        return found

    def samples(self, file: ReadTable, targets: Targets, of_outputs: Mapping[Port, Targets]) -> Samples:
        """All rows of the file."""
        table, roles = file.table, self.roles
        of_inputs = {port: table.select(columns) for port, columns in self.context.inputs.items()}
        return Samples(
            next(iter(of_inputs.values()), table.select(roles.inputs)),
            targets.values,
            _weights(file, roles.weight),
            _groups(file, roles.group),
            table.select(roles.split_columns) if roles.split_columns else None,
            _places(file),
            of_inputs,
            {port: own.values for port, own in of_outputs.items()},
            {port: own.present for port, own in of_outputs.items() if own.present is not None},
        )

    def record(self, file: ReadTable, rows: Rows, samples: Samples) -> SourceFile:
        """What a run's record says of the file, of whose samples these rows were taken."""
        path = self.path
        lacking = {port: int((~present[rows]).sum()) for port, present in samples.present_of.items()}
        return SourceFile(
            path.name,
            file.sha256,
            len(rows),
            str(path),
            rows_without_target=file.left_out,
            rows_without_target_of={port: number for port, number in lacking.items() if number},
        )


def load(spec: schema.RowFile, context: LoadContext) -> Dataset:
    """The file's samples.

    A smoke run takes a few hundred of the rows, evenly spread: only the file knows its shape.
    """
    source = _source_of(spec, context)
    file = source.read(spec.types)
    source = replace(source, roles=_without_index(source, file))
    roles = source.roles
    _refuse_infinite(file, roles)
    of_outputs = source.targets_of_outputs(file)
    targets = next(iter(of_outputs.values()), None) or _as_declared(
        targets_of(file, spec.target, marks_of=source.marks, any_text=bool(context.text_targets)),
        spec.target,
        spec.types,
    )
    _tell_warnings(source, file)
    everything = source.samples(file, targets, of_outputs)
    chosen = _complete_rows(source, file)
    left = tuple(name for name in file.index if spec.inputs is None and name not in roles.inputs)
    records = [replace(source.record(file, chosen, everything), index_columns=left)]
    test: Samples | None = None
    train_rows = chosen
    if spec.test is not None and spec.test.path is not None:
        test, record = _test_file(source, Path(spec.test.path), file, targets, of_outputs)
        records = [replace(records[0], split="train"), replace(record, split="test")]
    elif spec.test is not None:
        by = of_outputs[spec.test.stratify] if isinstance(spec.test.stratify, str) else targets
        is_test = _is_test(file, spec.test, chosen, by, everything.groups)
        train_rows, test_rows = chosen[~is_test], chosen[is_test]
        _refuse_one_sided(file, spec.test, train_rows, test_rows)
        for port, own in of_outputs.items():
            _refuse_untrained_class(file, context.outputs[port][0], own, train_rows, test_rows, port)
        if not of_outputs:
            _refuse_untrained_class(file, spec.target[0], targets, train_rows, test_rows)
        test = everything.take(test_rows)
    train = everything if len(train_rows) == file.n_rows else everything.take(train_rows)
    _refuse_weights_of_0(train, f"{file.name}: column {quoted(str(spec.weight))}")
    if context.smoke:
        train, test, records = some_rows(train, test, records, "some rows only")
    return Dataset(
        name=Path(spec.path).name.split(".")[0],
        train=train,
        test=test,
        sources=tuple(records),
        task=targets.task,
        classes=targets.classes,
        class_names=targets.class_names,
        feature_names=roles.inputs,
        file_columns=source.reader.names if isinstance(spec, schema.Csv) and not spec.header else None,
        target_names=next(iter(context.outputs.values()), tuple(spec.target)),
        targets_of={
            port: TargetFacts(own.task, own.classes, own.class_names, context.outputs[port])
            for port, own in of_outputs.items()
        },
        smoke=context.smoke,
    )


def _as_declared(targets: Targets, columns: Sequence[str], types: Mapping[str, schema.ColumnType]) -> Targets:
    """The same, where numbers that are all 0 or 1 are no classes, since the spec says that they are numbers.

    Whether they are, the loss then tells.
    """
    declared = targets.class_names is None and all(types.get(name) == "number" for name in columns)
    return replace(targets, task=None) if declared and targets.task == "binary" else targets


def _places(file: ReadTable) -> RowPlaces:
    rows = np.arange(file.n_rows)
    lines = file.lines.of_rows(rows) if file.lines.unit == "line" else None
    return RowPlaces(file.places.of_rows(rows), lines)


def _refuse_weights_of_0(train: Samples, column: str) -> None:
    if train.weights is not None and not train.weights.any():
        raise DataError(f"{column} gives every training row the weight 0.")
    for port, present in train.present_of.items():
        if train.weights is not None and present.any() and not train.weights[present].any():
            raise DataError(
                f"{column} gives every training row that has the target of {quoted(port)} the weight 0."
            )


def _source_of(spec: schema.RowFile, context: LoadContext) -> _Source:
    path = Path(spec.path)
    reader = reader_of(spec, path)
    return _Source(spec, path, reader, roles_of(spec, reader, context.split_columns), context)


def reader_of(spec: schema.RowFile, path: Path) -> RowReader:
    """How the file of a data set is read.

    Raises:
        DataError: there is no file, or it has no readable header.
    """
    refuse_what_is_no_file(path, spec.kind)
    match spec:
        case schema.Csv():
            from nnrun.data.files.csv_reader import CsvReader

            return CsvReader(
                path, spec.delimiter, spec.missing, header=spec.header, spellings=Spellings.of(spec)
            )
        case schema.Jsonl():
            from nnrun.data.files.jsonl_reader import JsonlReader

            return JsonlReader(path, spec.missing)
        case _:
            from nnrun.data.files.parquet_reader import ParquetReader

            return ParquetReader(path)


# --- columns -----------------------------------------------------------------------------------------------


def roles_of(spec: schema.RowFile, reader: RowReader, split_columns: Sequence[str]) -> ColumnRoles:
    """What each column is for.

    Raises:
        DataError: the spec names a column that the file does not have, or no input is left.
    """
    test = spec.test.column if spec.test is not None else None
    named = [("target", name) for name in spec.target]
    named += [("inputs", name) for name in spec.inputs or ()]
    named += [("types", name) for name in spec.types]
    named += [("validation", name) for name in split_columns]
    further = (("group", spec.group), ("weight", spec.weight), ("test", test))
    named += [(role, name) for role, name in further if name is not None]
    there = set(reader.names)
    for role, name in named:
        if name not in there:
            _refuse_unknown(reader, role, name)
    special = {*spec.target, spec.group, spec.weight, test, *split_columns}
    inputs = spec.inputs
    if inputs is None:
        inputs = [name for name in reader.names if name not in special]
    if not inputs:
        names = listing([quoted(name) for name in reader.names], "and")
        have = "has" if len(reader.names) == 1 else "have"
        raise DataError(
            f"{reader.name} has no column left for the inputs: {names} {have} another role in the spec."
        )
    return ColumnRoles(
        tuple(inputs),
        tuple(spec.target),
        tuple(dict.fromkeys(split_columns)),
        spec.group,
        spec.weight,
        test,
    )


def default_inputs(spec: schema.RowFile, split_columns: Sequence[str]) -> list[str]:
    """The inputs where the spec names none, some columns being set aside; the file is read for that.

    Raises:
        DataError: the file is not there or not readable, or no input is left.
    """
    source = _source_of(spec, LoadContext(split_columns=tuple(split_columns)))
    return list(_without_index(source, source.read(spec.types)).inputs)


def _without_index(source: _Source, file: ReadTable) -> ColumnRoles:
    """The roles without inputs that only number or name the rows, with a message; a spec's `inputs` stay."""
    roles = source.roles
    if source.spec.inputs is not None:
        return roles
    left = {name: why for name, why in file.index.items() if name in roles.inputs}
    inputs = tuple(name for name in roles.inputs if name not in left)
    if not inputs:  # a single column of whole numbers in order may well be what there is to learn from
        inputs = tuple(name for name, why in left.items() if why == COUNTS_ROWS)
        left = {name: why for name, why in left.items() if name not in inputs}
    if not inputs:
        name, why = next(iter(left.items()))
        raise DataError(
            f"{file.name} has no column left for the inputs: {quoted(name)} is left out as an index ({why}). "
            f"Name it in `inputs` if the network is to learn from it."
        )
    for name, why in left.items():
        source.doubt(f"column {quoted(name)} is left out as an index: {why}. To keep it, name it in `inputs`")
    return replace(roles, inputs=inputs)


def _refuse_infinite(file: ReadTable, roles: ColumnRoles) -> None:
    """Raise DataError where a column that is used holds an infinite number; others may."""
    for name in roles.all:
        infinite = file.columns[name].infinite
        if infinite is None:
            continue
        column = file.columns[name].column
        narrow = isinstance(column, NumberColumn) and column.values.dtype == np.float32
        largest = "3.4e38" if narrow else "1.8e308"
        ways = ["correct it"]
        if file.typed:
            ways.append("write null where it is missing")
        else:
            marks = ", ".join(infinite.texts)
            ways.append(f"say that it means a missing value (`missing: [{marks}]`)")
        if name in roles.inputs and len(roles.inputs) > 1:
            ways.append("leave the column out of `inputs`")
        advice = listing(ways)
        raise DataError(
            f"{file.at(infinite.row, name)} holds an infinite number, or one beyond {largest}. Every value "
            f"must be a finite number: {advice}."
        )


def _refuse_unknown(reader: RowReader, role: str, name: str) -> NoReturn:
    match = nearest(name, reader.names)
    hint = f" Did you mean {quoted(match)}?" if match else ""
    more = len(reader.names) - _MOST_NAMES
    shown = [quoted(n) for n in reader.names[:_MOST_NAMES]]
    columns = f"{', '.join(shown)} and {more:,} more" if more > 0 else listing(shown, "and")
    if len(reader.names) == 1:
        has = f"It has a single column, {columns}."
        if reader.delimiter is not None:
            has += f" Fields are separated by {reader.delimiter!r}: set `delimiter` if that is wrong."
    else:
        has = f"It has {columns}."
    raise DataError(f"{reader.name} has no column {quoted(name)}, which `{role}` names.{hint} {has}")


def _tell_warnings(source: _Source, file: ReadTable) -> None:
    """What a person should know of the columns that are used; DataError for an input that is useless."""
    roles = source.roles
    for name in roles.targets:
        _tell(source, file, name, ("spelling", "mixed"), f"the target {quoted(name)}")
    for name in roles.inputs:
        inferred = file.columns[name]
        if inferred.wrong is not None:
            refuse_wrong(file, name)
        if inferred.constant:
            others = [other for other in roles.inputs if other != name and not file.columns[other].constant]
            advice = "Leave it out of `inputs`"
            if 0 < len(others) <= _MOST_NAMES:
                advice += f": [{', '.join(others)}]"
            (said,) = (warning.text for warning in inferred.warnings if warning.kind == "constant")
            raise DataError(
                f"{file.name}, column {quoted(name)} {said}, so nothing can be learned from it. {advice}."
            )
        _tell(source, file, name, ("names", "spelling", "mixed"))
    for name in roles.all:
        _tell(source, file, name, ("codes", "dates"))


def _tell(source: _Source, file: ReadTable, name: str, kinds: Sequence[str], what: str = "") -> None:
    """Tell the warnings of these kinds on a column; `what` is what the message calls it."""
    for warning in file.columns[name].warnings:
        if warning.kind in kinds:
            source.doubt(f"{what or f'column {quoted(name)}'} {warning.text}")


def _weights(file: ReadTable, name: str | None) -> npt.NDArray[np.float64] | None:
    if name is None:
        return None
    inferred = file.columns[name]
    column = inferred.column
    if not isinstance(column, NumberColumn):
        refuse_wrong(file, name, "" if inferred.wrong else "a weight must be one of 0 or more")
    assert isinstance(column, NumberColumn), "anything else was refused"
    values = column.values.astype(np.float64)
    wrong = np.flatnonzero(~(values >= 0))
    if len(wrong):
        row = int(wrong[0])
        found = "is missing" if np.isnan(values[row]) else f"is {values[row]:g}"
        raise DataError(
            f"{file.at(row, name)}: the weight {found}. Every weight must be a number of 0 or more."
        )
    return np.asarray(values)


def _groups(file: ReadTable, name: str | None) -> Rows | None:
    if name is None:
        return None
    column = file.columns[name].column
    missing = column.missing
    if missing.any():
        raise DataError(
            f"{file.at(int(np.argmax(missing)), name)}: the group is missing. Every row needs one."
        )
    if isinstance(column, CategoryColumn):
        return np.asarray(column.codes, np.int64)
    values = column.identities() if isinstance(column, NumberColumn) else column.values
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def _refuse_rows_without_any_target(
    file: ReadTable, of_outputs: Mapping[Port, Targets], columns: Mapping[Port, Sequence[str]]
) -> None:
    """Raise DataError at the first row that lacks the target of every output."""
    present = [own.present for own in of_outputs.values() if own.present is not None]
    if not present or len(present) < len(of_outputs):
        return
    lacking = ~np.any(present, axis=0)
    if lacking.any():
        number = int(lacking.sum())
        others = "" if number == 1 else f", as in {number - 1:,} later row{'s' if number > 2 else ''}"
        first, *_ = next(iter(columns.values()))
        raise DataError(
            f"{file.at(int(np.argmax(lacking)), first)}: the targets of all outputs are missing{others}. "
            "Every row needs one of them: fill it in, or set `drop_missing_target: true`, which leaves such "
            "rows out."
        )


# --- rows --------------------------------------------------------------------------------------------------


def _complete_rows(source: _Source, file: ReadTable) -> Rows:
    """All rows; with `drop_missing` those in which no input is missing; the number is reported."""
    rows = np.arange(file.n_rows)
    if not source.spec.drop_missing:
        return rows
    incomplete = np.zeros(file.n_rows, bool)
    lacking = []
    for name in source.roles.inputs:
        if file.columns[name].missing:
            incomplete |= file.columns[name].column.missing
            lacking.append(f"{quoted(name)} {file.columns[name].missing:,}")
    left = rows[~incomplete]
    if lacking:
        many = f", and {len(lacking) - _MOST_NAMES:,} more" if len(lacking) > _MOST_NAMES else ""
        said = f"{counted(int(incomplete.sum()), 'row')} of {file.n_rows:,} "
        if not len(left):
            raise DataError(
                f"{file.name}: {said}lack an input ({', '.join(lacking[:_MOST_NAMES])}{many}), and "
                f"drop_missing leaves none. Leave such a column out of `inputs`, or use impute instead."
            )
        source.say(f"{said}left out, since an input is missing ({', '.join(lacking[:_MOST_NAMES])}{many})")
    return left


def _is_test(
    file: ReadTable,
    test: schema.TestRows,
    chosen: Rows,
    targets: Targets,
    groups: Rows | None,
) -> npt.NDArray[np.bool_]:
    """(len(chosen),) which of the chosen rows are the test set: a fraction of them, or those with a value."""
    if test.fraction is None:
        return _rows_with_value(file, test)[chosen]
    classes = targets.values[chosen] if targets.task != "regression" else None
    if classes is not None and targets.present is not None:
        classes = strata(classes, targets.present[chosen], 2)
    own_groups = None if groups is None else groups[chosen]
    is_test = np.zeros(len(chosen), bool)
    is_test[rows_of_fraction(test, len(chosen), classes, own_groups, file.name)] = True
    return is_test


def _rows_with_value(file: ReadTable, test: schema.TestRows) -> npt.NDArray[np.bool_]:
    assert test.column is not None
    assert test.value is not None
    column = file.columns[test.column].column
    if isinstance(column, TextColumn):
        return np.array([v is not None and is_value(test.value, v) for v in column.values], bool)
    category = as_categories(column)
    of_numbers = isinstance(column, NumberColumn)
    found = [is_value(test.value, exact_number(name) if of_numbers else name) for name in category.levels]
    return np.array([*found, False], bool)[category.codes]


def _refuse_one_sided(file: ReadTable, test: schema.TestRows, train: Rows, held: Rows) -> None:
    if len(train) and len(held):
        return
    if test.fraction is not None:
        raise DataError(f"{file.name}: test.fraction {test.fraction} leaves no row on one side.")
    name = quoted(str(test.column))
    if not len(train):
        raise DataError(
            f"{file.name}: column {name} is {test.value} in every row, so none is left to train on."
        )
    column = file.columns[str(test.column)].column
    if isinstance(column, CategoryColumn):
        match = nearest(str(test.value), column.levels)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        values = listing([quoted(level) for level in column.levels[:_MOST_NAMES]], "and")
        has = f"{hint} It holds {values}{' and more' if len(column.levels) > _MOST_NAMES else ''}."
    elif isinstance(column, NumberColumn):
        low, high = np.nanmin(column.values).item(), np.nanmax(column.values).item()
        has = f" It holds numbers from {number_name(low)} to {number_name(high)}."
    else:
        has = ""
    raise DataError(f"{file.name}: column {name} is {test.value!r} in no row, so the test set is empty.{has}")


def _refuse_untrained_class(
    file: ReadTable, name: str, targets: Targets, train: Rows, held: Rows, stratify: str = "true"
) -> None:
    if targets.class_names is None:
        return
    if targets.present is not None:
        train, held = train[targets.present[train]], held[targets.present[held]]
    trained = np.zeros(len(targets.class_names), bool)
    trained[targets.values[train]] = True
    unknown = held[~trained[targets.values[held]]]
    if len(unknown):
        row = int(unknown[0])
        raise DataError(
            f"{file.at(row, name)}: only test rows have the class "
            f"{quoted(targets.class_names[int(targets.values[row])])}, so no network can learn it. "
            f"Choose the test rows differently (stratify: {stratify} draws some of each class), or remove "
            "the class."
        )


def _test_file(
    training: _Source,
    path: Path,
    file: ReadTable,
    targets: Targets,
    of_outputs: Mapping[Port, Targets],
) -> tuple[Samples, SourceFile]:
    """The samples of a second file, which has the same columns."""
    spec, roles = training.spec, replace(training.roles, split_columns=(), group=None)
    source = _Source(spec, path, reader_of(spec, path), roles, training.context)
    there = set(source.reader.names)
    absent = [name for name in roles.all if name not in there]
    if absent:
        shown = listing([quoted(name) for name in absent[:_MOST_NAMES]], "and")
        raise DataError(
            f"{source.reader.name}, the file of test rows, does not have the columns of {file.name}: it "
            f"lacks {shown}{' and more' if len(absent) > _MOST_NAMES else ''}."
        )
    held = source.read({name: file.columns[name].type for name in roles.all})
    _refuse_infinite(held, roles)
    for name in roles.inputs:
        if held.columns[name].wrong is not None:
            refuse_wrong(held, name, f"in {file.name} the column holds numbers")
    of_tests = source.targets_of_outputs(held, of_outputs)
    known = next(iter(of_tests.values()), None) or targets_of(
        held, spec.target, targets, constant_is_wrong=False, marks_of=source.marks
    )
    samples = source.samples(held, known, of_tests)
    rows = _complete_rows(source, held)
    record = source.record(held, rows, samples)
    if path.name == training.path.name:  # records tell files apart by their names
        record = replace(record, name=f"{path.parent.name}/{path.name}")
    return samples.take(rows), record
