"""A NumPy archive with x_train, y_train and, optionally, x_test and y_test.

x is an array of numbers, or lists of tokens in an object array. Each row keeps its shape: of (N, 28, 28) it
is (28, 28). A one-dimensional x is a table with one column. y is numbers, or texts that name classes. Of
several outputs the targets of some may be missing in a row, which is NaN in arrays of floats.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.download import through_cache
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import (
    Array,
    Dataset,
    Flags,
    Samples,
    SourceFile,
    TargetFacts,
    TokenRows,
    repeated,
)
from nnrun.data.files.open_file import does_not_exist
from nnrun.data.sources.context import LoadContext, lacking_targets
from nnrun.data.sources.generated_rows import TEST_ROWS, TRAIN_ROWS
from nnrun.data.value_names import in_order, text_name
from nnrun.errors import DataError
from nnrun.mapped_arrays import leave_memory
from nnrun.sequences import padded
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, INPUT_ARRAY, OUTPUT, OUTPUT_ARRAY, Port
from nnrun.spec.schema import Task
from nnrun.spec.wording import counted, listing

_VALUES_AT_ONCE = 1 << 22


def load(spec: schema.Npz, context: LoadContext) -> Dataset:
    """The archive's samples. A smoke run takes the first few hundred rows: only the file knows its shape."""
    path = Path(spec.path).expanduser()
    inputs = {port: array for port, (array,) in context.inputs.items()} or {INPUT: INPUT_ARRAY}
    outputs = {port: array for port, (array,) in context.outputs.items()} or {OUTPUT: OUTPUT_ARRAY}
    arrays = dict.fromkeys([*inputs.values(), *outputs.values()])
    _refuse_missing_file(path, arrays)
    (first_input, *_), (first_output, *_) = inputs.values(), outputs.values()
    with Archive(path) as archive:
        archive.require(*(f"{array}_train" for array in arrays), advice=_advice(context))
        texts = dict.fromkeys(outputs.values(), False)
        texts |= {outputs[port]: True for port in context.text_targets}

        def both_of(of_inputs: str, of_targets: str) -> Dataset:
            return _one_of_each(
                archive, of_inputs, of_targets, context, texts=texts[of_targets], may_lack=len(outputs) > 1
            )

        both = both_of(first_input, first_output)
        of_inputs = {
            port: both if array == first_input else both_of(array, first_output)
            for port, array in inputs.items()
        }
        of_outputs = {
            port: both if array == first_output else both_of(first_input, array)
            for port, array in outputs.items()
        }
        first = next(iter(of_outputs.values()))
        rows = len(first.train) + (len(first.test) if first.test else 0)
        source = SourceFile(path.name, archive.sha256, rows, str(path))
    train, test = first.train, first.test
    if context.inputs:
        parts = {port: data.train.inputs for port, data in of_inputs.items()}
        train = replace(train, inputs=next(iter(parts.values())), of_inputs=parts)
        if test is not None:
            parts = {port: data.test.inputs for port, data in of_inputs.items() if data.test is not None}
            test = replace(test, inputs=next(iter(parts.values())), of_inputs=parts)
    if context.outputs:
        train = _of_outputs(train, {port: data.train for port, data in of_outputs.items()})
        _tell_of_missing(path, train, "train", outputs, context)
        if test is not None:
            parts_of_test = {p: data.test for p, data in of_outputs.items() if data.test is not None}
            test = _of_outputs(test, parts_of_test)
            _tell_of_missing(path, test, "test", outputs, context)
        source = replace(source, rows_without_target_of=_lacking(train, test))
    if context.smoke:
        train, test, source = _first_rows(train, test, source)
    facts = {
        port: TargetFacts(data.task, data.classes, data.class_names) for port, data in of_outputs.items()
    }
    return replace(
        first,
        train=train,
        test=test,
        sources=(source,),
        smoke=context.smoke,
        targets_of=facts if context.outputs else {},
    )


def _refuse_missing_file(path: Path, arrays: Iterable[str]) -> None:
    if not os.path.exists(path):
        names = listing([f"{array}_train" for array in arrays], "and")
        raise DataError(f"{does_not_exist(path)} The dataset npz needs a file with arrays {names}.")


def _first_rows(
    train: Samples, test: Samples | None, source: SourceFile
) -> tuple[Samples, Samples | None, SourceFile]:
    """What a smoke run takes."""
    train = train.take(np.arange(min(len(train), TRAIN_ROWS)))
    test = test.take(np.arange(min(len(test), TEST_ROWS))) if test is not None else None
    rows = len(train) + (len(test) if test else 0)
    return train, test, SourceFile(source.name, source.sha256, rows, source.path, "the first rows only")


def _advice(context: LoadContext) -> str:
    """What to write where an array that a spec takes by default is not there."""
    defaults = (("inputs", context.inputs, INPUT_ARRAY), ("outputs", context.outputs, OUTPUT_ARRAY))
    return "".join(
        f" A spec without `{key}` takes {array}_train; `{key}: {{NAME: {{...}}}}` takes NAME_train."
        for key, named, array in defaults
        if not named
    )


def _of_outputs(samples: Samples, each: Mapping[Port, Samples]) -> Samples:
    """The samples with the targets of each output."""
    return replace(
        samples,
        of_outputs={port: own.targets for port, own in each.items()},
        present_of={port: own.present for port, own in each.items() if own.present is not None},
        present=None,
    )


def _lacking(train: Samples, test: Samples | None) -> dict[Port, int]:
    """Output → how many rows lack its target."""
    counts: Counter[Port] = Counter()
    for samples in (train, *([] if test is None else [test])):
        counts.update({port: int((~present).sum()) for port, present in samples.present_of.items()})
    return dict(counts)


def _tell_of_missing(
    path: Path, samples: Samples, part: str, arrays: Mapping[Port, str], context: LoadContext
) -> None:
    """Tell how many rows lack the target of which output; DataError where a row lacks all of them."""
    for port, present in samples.present_of.items():
        said = lacking_targets(port, (f"{arrays[port]}_{part}",), present)
        context.on_message(f"{path.name}: {said}")
    if samples.present_of and len(samples.present_of) == len(samples.of_outputs):
        lacking = ~np.any(list(samples.present_of.values()), axis=0)
        if lacking.any():
            names = listing([f"{array}_{part}" for array in arrays.values()], "and")
            rows = counted(int(lacking.sum()), "row")
            raise DataError(
                f"{path}: {names} all hold NaN in row {int(np.argmax(lacking))} ({rows} in all). Every row "
                "needs the target of some output: fill it in, or leave out such rows."
            )


def _one_of_each(
    archive: Archive, inputs: str, targets: str, context: LoadContext, *, texts: bool, may_lack: bool
) -> Dataset:
    """The data set of one array of inputs and one of targets, `<name>_train` and `<name>_test`.

    With `may_lack` NaN stands for a target that a row lacks, since it counts for other outputs.
    """
    archive.require(f"{inputs}_train", f"{targets}_train")
    tests = (f"{inputs}_test", f"{targets}_test")
    has_test = not set(tests).isdisjoint(archive.names)
    if has_test:
        archive.require(*tests)
    train = _samples(archive, inputs, targets, "train", context, may_lack=may_lack)
    test = _samples(archive, inputs, targets, "test", context, may_lack=may_lack) if has_test else None
    train, test = _as_integers(train, test)
    if test is not None:
        train, test = _equally_long(train, test, archive.holds_objects(f"{targets}_train"))
        _check_alike(archive.path, inputs, targets, train, test)
    train, test, names = _class_labels(archive.path, targets, train, test, texts=texts)
    task, classes = _task(train.targets, names)
    return Dataset(
        name=archive.path.stem,
        train=train,
        test=test,
        sources=(),
        task=task,
        classes=classes,
        class_names=names,
    )


def _as_integers(train: Samples, test: Samples | None) -> tuple[Samples, Samples | None]:
    """Whole numbers of which some are missing as integers, which cannot be: an array of them has no NaN."""
    parts = [part for part in (train, test) if part is not None]
    if all(part.present is None for part in parts):
        return train, test
    if any(
        part.targets.dtype.kind == "f" and (part.targets != np.round(part.targets)).any() for part in parts
    ):
        return train, test
    made = [replace(part, targets=part.targets.astype(np.int64)) for part in parts]
    return made[0], made[1] if test is not None else None


def _samples(
    archive: Archive, inputs: str, targets: str, part: str, context: LoadContext, *, may_lack: bool
) -> Samples:
    x_name, y_name = f"{inputs}_{part}", f"{targets}_{part}"
    present: Flags | None = None
    tell = context.on_message
    x = archive.read(x_name, tokens=through_cache(archive.sha256, tell), map_large=tell)
    y = archive.read(y_name)
    where = f"{archive.path}: the array "
    if isinstance(y, TokenRows):
        y = _class_lists(y, where + y_name)
    if not isinstance(x, TokenRows):
        x = _equal_lists(x, where + x_name) if inputs in _token_arrays(context) else _rows(x, where + x_name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise DataError(f"{where}{y_name} has shape {y.shape}. Targets are (rows,) or (rows, columns).")
    if len(x) != len(y):
        raise DataError(f"{archive.path}: {x_name} has {len(x):,} rows, but {y_name} has {len(y):,}.")
    if not len(y):
        raise DataError(f"{where}{x_name} has no rows.")
    if y.dtype.kind == "S":
        y = y.astype(str)
    if y.dtype.kind == "U" and y.ndim == 2:
        raise DataError(f"{where}{y_name} holds texts in shape {y.shape}. Class names are one per row.")
    if y.dtype.kind in "buif":
        y = y.astype(np.float64 if y.dtype.kind == "f" else np.int64, copy=False)
        if may_lack and y.dtype.kind == "f":
            present = ~np.isnan(y).any(axis=tuple(range(1, y.ndim)))
        if present is not None and not present.any():
            raise DataError(f"{where}{y_name} holds no row without NaN, so that there is no target in it.")
        y = repeated(y, present)
        _check_finite(y, where + y_name)
    elif y.dtype.kind != "U":
        raise DataError(
            f"{where}{y_name} has the type {y.dtype}. Targets are numbers, or texts that name classes."
        )
    return Samples(x, y, present=None if present is None or present.all() else present)


def _token_arrays(context: LoadContext) -> set[str]:
    """The arrays whose rows are lists of word indices."""
    return {context.inputs[port][0] if context.inputs else INPUT_ARRAY for port in context.token_inputs}


def _equal_lists(x: Array, where: str) -> TokenRows | Array:
    """Lists of word indices that are all of one length, as padded ones are; other arrays as they are."""
    if x.dtype.kind not in "iu" or x.ndim != 2 or not x.size:
        return _rows(x, where)
    if (least := int(x.min())) < 0 or int(x.max()) > np.iinfo(np.int32).max:
        found = least if least < 0 else int(x.max())
        raise DataError(
            f"{where} holds {found}. Word indices are integers from 0 to {np.iinfo(np.int32).max}."
        )
    return TokenRows.from_array(x)


def _class_lists(lists: TokenRows, where: str) -> Array:
    """(N, L): lists of classes from 1, filled up with 0 to the length of the longest."""
    if len(lists.tokens) and lists.tokens.min() < 1:
        row = int(np.searchsorted(lists.indptr, int(lists.tokens.argmin()), "right")) - 1
        raise DataError(
            f"{where} holds {lists.tokens.min()} in row {row}. Lists of classes hold integers from 1: 0 is "
            "the blank of ctc."
        )
    return padded([lists.row(row).tolist() for row in range(len(lists))])


def _equally_long(train: Samples, test: Samples, lists: bool) -> tuple[Samples, Samples]:
    """Lists of classes filled up to one length."""
    if not lists or test.targets.ndim != 2:
        return train, test
    longest = max(train.targets.shape[1], test.targets.shape[1])
    made = []
    for samples in (train, test):
        filled = np.pad(samples.targets, ((0, 0), (0, longest - samples.targets.shape[1])))
        made.append(replace(samples, targets=filled))
    return made[0], made[1]


def _rows(x: Array, where: str) -> Array:
    if x.dtype.kind not in "buif":
        raise DataError(f"{where} has the type {x.dtype}. Inputs are real numbers, or lists of tokens.")
    if x.ndim == 0:
        raise DataError(f"{where} is a single number, not rows.")
    if x.ndim == 1:
        x = x[:, None]
    if 0 in x.shape[1:]:
        found = "no columns" if x.ndim == 2 else f"shape {x.shape}: its rows hold no numbers"
        raise DataError(f"{where} has {found}.")
    _check_finite(x, where)
    return x


def _check_finite(values: npt.NDArray[Any], where: str) -> None:
    """Raise DataError at the first NaN or infinity."""
    if values.dtype.kind != "f":
        return
    at_once = max(1, _VALUES_AT_ONCE * len(values) // max(1, values.size))
    for first in range(0, len(values), at_once):
        part = values[first : first + at_once]
        finite = np.isfinite(part)
        leave_memory(part)
        if finite.all():
            continue
        row, *column = (int(i) for i in np.argwhere(~finite)[0])
        value = part[(row, *column)]
        place = f"row {first + row}"
        if column:
            place += f", column {column[0]}" if len(column) == 1 else f", at {tuple(column)}"
        raise DataError(f"{where} holds {value} in {place}. Every value must be a finite number.")


def _check_alike(path: Path, x: str, y: str, train: Samples, test: Samples) -> None:
    """Raise DataError where rows of `x_train` and `x_test`, or of `y_train` and `y_test`, differ in form.

    Args:
        path: the archive.
        x, y: what its arrays of inputs and of targets are called, without `_train`.
        train, test: what they hold.
    """
    if isinstance(train.inputs, TokenRows) != isinstance(test.inputs, TokenRows):
        raise DataError(f"{path}: of {x}_train and {x}_test one holds token lists and the other a table.")
    if isinstance(train.inputs, np.ndarray) and isinstance(test.inputs, np.ndarray):
        a, b = train.inputs.shape[1:], test.inputs.shape[1:]
        if a != b and len(a) == len(b) == 1:
            raise DataError(f"{path}: {x}_train has {a[0]:,} features a row, but {x}_test has {b[0]:,}.")
        if a != b:
            raise DataError(f"{path}: {x}_train has rows of shape {a}, but {x}_test has rows of shape {b}.")
    if train.targets.shape[1:] != test.targets.shape[1:]:
        raise DataError(
            f"{path}: {y}_train has shape {train.targets.shape}, but {y}_test has {test.targets.shape}."
        )
    if (train.targets.dtype.kind == "U") != (test.targets.dtype.kind == "U"):
        raise DataError(f"{path}: of {y}_train and {y}_test one holds texts and the other numbers.")


def _class_labels(
    path: Path, y: str, train: Samples, test: Samples | None, *, texts: bool
) -> tuple[Samples, Samples | None, tuple[str, ...] | None]:
    """Class names to labels, numbered in the order of the names in `<y>_train` (`value_names.in_order`).

    With `texts` they are no classes: test rows may have some that no training row has.
    """
    if train.targets.dtype.kind != "U":
        return train, test, None
    named = [train, *([test] if texts and test is not None else [])]
    names = in_order({text_name(str(name)) for samples in named for name in np.unique(samples.targets)})
    labels = _places(names, train.targets)
    if test is not None:
        places = _places(names, test.targets)
        unknown = np.flatnonzero(places < 0)
        if unknown.size:
            row = int(unknown[0])
            raise DataError(
                f"{path}: {y}_test holds the class {str(test.targets[row])!r} in row {row}, which "
                f"{y}_train does not have."
            )
        test = Samples(test.inputs, places)
    return Samples(train.inputs, labels), test, tuple(names)


def _places(names: list[str], targets: Array) -> npt.NDArray[np.int64]:
    """(N,) the label of each class name; -1 for one that is not among `names`."""
    place = {name: label for label, name in enumerate(names)}
    different, codes = np.unique(targets, return_inverse=True)
    return np.array([place.get(text_name(str(name)), -1) for name in different], np.int64)[codes]


def _task(targets: Array, names: tuple[str, ...] | None) -> tuple[Task | None, int | None]:
    """What the targets are, where they leave no doubt: named classes, or the integers 0 and 1."""
    if names is not None:
        return ("binary" if len(names) == 2 else "multiclass"), len(names)
    if targets.ndim == 1 and targets.dtype.kind == "i" and np.array_equal(np.unique(targets), [0, 1]):
        return "binary", 2
    return None, None
