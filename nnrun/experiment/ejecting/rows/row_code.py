"""The lines of a script that prepare rows and targets: the registry of preprocessing steps.

What is learned is learned from the training rows `train`. Steps of columns are those of `column_code`, steps
of tokens those of `token_code`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnrun.data.preprocess import FittedColumn
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.rows.column_code import number_lines, table_lines
from nnrun.experiment.ejecting.rows.token_code import token_lines


def prepare_lines(lesson: Lesson) -> list[str]:
    """The function `prepare` of a script: (rows, targets, training rows) → what the network takes.

    Raises:
        UsageError: a step cannot be written.
    """
    fitted = lesson.inputs
    if fitted.custom:
        raise refuse(f"the step {fitted.custom[0].spec.kind}")
    if fitted.table is None:
        body, rows = token_lines(lesson), "rows"
    elif fitted.token_step is not None:
        raise refuse(f"the step {fitted.token_step.spec.kind} of a column")
    elif fitted.table.of_array:
        body, rows = _of_array(lesson), "x"
    else:
        body, rows = _of_table(lesson), "rows"
    targets = _targets(lesson)
    returned = [rows, "y", *(["y_mean", "y_std"] if lesson.targets.scale is not None else [])]
    return [
        "def prepare(x, y, train):",
        '    """Rows and targets as the network takes them; what is learned, from training rows."""',
        *(f"    {line}" for line in (*body, *targets)),
        f"    return {', '.join(returned)}",
    ]


def _alike(lesson: Lesson, columns: Sequence[FittedColumn]) -> tuple[type[FittedStep], ...]:
    (first, *others) = ({tuple(map(type, column.steps))} for column in columns)
    kinds = set(first).union(*others)
    if len(kinds) > 1:
        raise refuse("different steps for the columns of an array", "It can write the same for all.")
    (only,) = kinds
    return only


def _of_array(lesson: Lesson) -> list[str]:
    table = lesson.inputs.table
    assert table is not None, "an array is a table"
    # What any fold learned: a column that is constant in one of them takes the line for constant columns.
    tables = [member.fitted.input.table for member in lesson.members]
    columns = [column for each in tables if each is not None for column in each.columns]
    axes = "0" if table.row_shape is None else str(tuple(range(len(table.row_shape))))
    steps = lesson.spec.preprocessing.inputs
    lines = number_lines(_alike(lesson, columns), columns, steps, "x", axes)
    x = lesson.dataset.train.inputs
    if isinstance(x, np.ndarray) and x.ndim == 1:
        lines = ["x = x.reshape(-1, 1)", *lines]
    return [*lines, "x = x.astype(np.float32)"]


def _of_table(lesson: Lesson) -> list[str]:
    tables = [member.fitted.input.table for member in lesson.members]
    known = [table for table in tables if table is not None]
    lines = table_lines(known, lesson.spec.preprocessing.inputs)
    return [*lines, "rows = np.column_stack(parts).astype(np.float32)"]


def _targets(lesson: Lesson) -> list[str]:
    fitted = lesson.targets
    if fitted.kind == "one_hot":
        return [f"y = np.eye({fitted.classes}, dtype=np.float32)[y]"]
    if fitted.kind == "class_index":
        return ["y = y.astype(np.int64)"]
    if fitted.repeated or fitted.kind not in ("none", "standardize"):
        raise refuse(f"targets: {fitted.kind}" if fitted.kind != "none" else "targets of several quantiles")
    column = ".reshape(-1, 1)" if np.ndim(lesson.dataset.train.targets) == 1 else ""
    if fitted.scale is None:
        return [f"y = y.astype(np.float32){column}"]
    return [
        "y_mean, y_std = y[train].mean(axis=0), y[train].std(axis=0)",
        f"y = ((y - y_mean) / y_std).astype(np.float32){column}",
    ]


def fold_lines(lesson: Lesson) -> tuple[list[str], bool]:
    """Lines that say which rows train and which validate, and whether they loop over folds.

    Rows that follow from no short formula are taken from the file beside the script.
    """
    n, folds = len(lesson.dataset.train), lesson.folds
    every = np.arange(n)
    if lesson.has_inner_rows:
        names = ["train", "inner", *(["validation"] if lesson.validates else [])]
        if lesson.has_folds:
            rows = [f'{name} = FIRST[f"fold-{{fold}}/{name}"]' for name in names]
            return [f"for fold in range({len(folds)}):", *(f"    {line}" for line in rows)], True
        return [f'{name} = FIRST["{name}"]' for name in names], False
    if lesson.has_folds:
        parts = np.array_split(every, len(folds))
        simple = all(
            np.array_equal(fold.validation_rows, part)
            and np.array_equal(fold.train_rows, np.setdiff1d(every, part))
            for fold, part in zip(folds, parts, strict=True)
        )
        if simple:
            return [
                f"for fold, validation in enumerate(np.array_split(np.arange(len(x)), {len(folds)})):",
                "    train = np.setdiff1d(np.arange(len(x)), validation)",
            ], True
        return [
            f"for fold in range({len(folds)}):",
            '    train = FIRST[f"fold-{fold}/train"]',
            '    validation = FIRST[f"fold-{fold}/validation"]',
        ], True
    (fold,) = folds
    first = len(fold.validation_rows)
    if np.array_equal(fold.validation_rows, every[:first]) and np.array_equal(fold.train_rows, every[first:]):
        if not first:
            return ["train = np.arange(len(x))"], False
        return [f"validation, train = np.arange({first}), np.arange({first}, len(x))"], False
    if not first:
        return ['train = FIRST["train"]'], False
    return ['train, validation = FIRST["train"], FIRST["validation"]'], False


def fold_arrays(lesson: Lesson) -> dict[str, Any]:
    """The rows of folds that the file beside the script has; empty where a formula gives them."""
    if not any("FIRST" in line for line in fold_lines(lesson)[0]):
        return {}
    found: dict[str, Any] = {}
    for fold in lesson.folds:
        prefix = f"fold-{fold.index}/" if lesson.has_folds else ""
        found |= {f"{prefix}train": fold.train_rows, f"{prefix}validation": fold.validation_rows}
        if lesson.has_inner_rows:
            found[f"{prefix}inner"] = fold.inner_rows
    return found


def class_weights(lesson: Lesson) -> str | None:
    """An expression of the weights of classes by `labels`, those of the training rows; None for none."""
    given = lesson.spec.class_weight
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return "len(labels) / (len(set(labels)) * np.maximum(np.bincount(labels), 1))"
    raise refuse("class_weight by name", "It can write class_weight: balanced.")
