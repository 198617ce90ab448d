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
from nnrun.data.table import Table
from nnrun.experiment.ejecting.lesson import Head, Intake, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import call_lines
from nnrun.experiment.ejecting_rows.column_code import number_lines, table_lines
from nnrun.experiment.ejecting_rows.token_code import token_lines
from nnrun.experiment.scripting.network_script import identifier


def prepare_lines(lesson: Lesson) -> list[str]:
    """The function `prepare` of a script: (rows, targets, training rows) → what the network takes.

    Raises:
        UsageError: a step cannot be written.
    """
    functions: list[str] = []
    if lesson.names_inputs:
        (functions, body), rows = _of_inputs(lesson), "rows"
    else:
        body, rows = _of_input(lesson, lesson.intake)
    if lesson.names_outputs:
        scaled = any(head.targets.scale is not None for head in lesson.heads)
        body += ["targets, scales = {}, {}" if scaled else "targets = {}"]
        body += [line for head in lesson.heads for line in _target(head)]
        returned = [rows, "targets", *(["scales"] if scaled else [])]
    else:
        body += _target(lesson.head)
        returned = [rows, "y", *(["y_mean", "y_std"] if lesson.head.targets.scale is not None else [])]
    return [
        *functions,
        "def prepare(x, y, train):",
        '    """Rows and targets as the network takes them; what is learned, from training rows."""',
        *(f"    {line}" for line in body),
        f"    return {', '.join(returned)}",
    ]


def _of_input(lesson: Lesson, intake: Intake) -> tuple[list[str], str]:
    """Lines that make what an input takes of `x`, and what it is called then."""
    fitted = intake.first
    if fitted.custom:
        raise refuse(f"the step {fitted.custom[0].spec.kind}")
    if fitted.table is None:
        return token_lines(lesson), "rows"
    if fitted.token_step is not None:
        raise refuse(f"the step {fitted.token_step.spec.kind} of a column")
    if fitted.table.of_array:
        return _of_array(intake), "x"
    return _of_table(intake), "rows"


_AS_IT_IS = "x = x.astype(np.float32)"


def _of_inputs(lesson: Lesson) -> tuple[list[str], list[str]]:
    """A function for each input with steps, and the lines that call them."""
    functions: list[str] = []
    parts = []
    for intake in lesson.intakes:
        body, rows = _of_input(lesson, intake)
        source = "x" if isinstance(intake.rows, Table) else f'x["{intake.name}"]'
        if body == [_AS_IT_IS]:
            parts.append(f'"{intake.name}": {source}.astype(np.float32)')
            continue
        name = f"prepare_{identifier(intake.name)}"
        functions += [
            f"def {name}(x, train):",
            f'    """What the input {intake.name} takes; what is learned, from training rows."""',
            *(f"    {line}" for line in body),
            f"    return {rows}",
            "",
            "",
        ]
        parts.append(f'"{intake.name}": {name}({source}, train)')
    return functions, call_lines("rows = {", parts, "}", indent=4)


def _alike(columns: Sequence[FittedColumn]) -> tuple[type[FittedStep], ...]:
    kinds = {tuple(map(type, column.steps)) for column in columns}
    if len(kinds) > 1:
        raise refuse("different steps for the columns of an array", "It can write the same for all.")
    (only,) = kinds
    return only


def _of_array(intake: Intake) -> list[str]:
    table = intake.first.table
    assert table is not None, "an array is a table"
    # What any fold learned: a column that is constant in one of them takes the line for constant columns.
    tables = [fitted.table for fitted in intake.fitted]
    columns = [column for each in tables if each is not None for column in each.columns]
    axes = "0" if table.row_shape is None else str(tuple(range(len(table.row_shape))))
    lines = number_lines(_alike(columns), columns, intake.steps, "x", axes)
    x = intake.rows
    if isinstance(x, np.ndarray) and x.ndim == 1:
        lines = ["x = x.reshape(-1, 1)", *lines]
    return [*lines, _AS_IT_IS]


def _of_table(intake: Intake) -> list[str]:
    known = [fitted.table for fitted in intake.fitted if fitted.table is not None]
    lines = table_lines(known, intake.steps)
    return [*lines, "rows = np.column_stack(parts).astype(np.float32)"]


def _target(head: Head) -> list[str]:
    """Lines that prepare the targets of an output; where a row has none, NaN, or the class -1."""
    fitted, lacks, classes = head.targets, head.present is not None, head.targets.classes
    y, own = (f'y["{head.name}"]', f'targets["{head.name}"]') if head.name else ("y", "y")
    if fitted.kind == "one_hot" and lacks:
        hot = f"np.where(values[:, None] < 0, np.nan, np.eye({classes})[values])"
        return [f"values = {y}", f"hot = {hot}", f"{own} = hot.astype(np.float32)"]
    if fitted.kind == "one_hot":
        return [f"{own} = np.eye({classes}, dtype=np.float32)[{y}]"]
    if fitted.kind == "class_index":
        return [f"{own} = {y}.astype(np.int64)"]
    if fitted.repeated or fitted.kind not in ("none", "standardize"):
        raise refuse(f"targets: {fitted.kind}" if fitted.kind != "none" else "targets of several quantiles")
    column = ".reshape(-1, 1)" if np.ndim(head.values) == 1 else ""
    if fitted.scale is None and lacks and head.class_names is not None:
        return [f"values = np.where({y} < 0, np.nan, {y})", f"{own} = values.astype(np.float32){column}"]
    if fitted.scale is None:
        return [f"{own} = {y}.astype(np.float32){column}"]
    if not head.name:
        return [
            "y_mean, y_std = y[train].mean(axis=0), y[train].std(axis=0)",
            f"y = ((y - y_mean) / y_std).astype(np.float32){column}",
        ]
    known = "np.nan{0}(values[train], axis=0)" if lacks else "values[train].{0}(axis=0)"
    return [
        f"values = {y}",
        f"mean, std = {known.format('mean')}, {known.format('std')}",
        f"{own} = ((values - mean) / std).astype(np.float32){column}",
        f'scales["{head.name}"] = mean, std',
    ]


def fold_lines(lesson: Lesson) -> tuple[list[str], bool]:
    """Lines that say which rows train and which validate, and whether they loop over folds.

    Rows that follow from no short formula are taken from the file beside the script.
    """
    n, folds, count = len(lesson.dataset.train), lesson.folds, lesson.count
    every = np.arange(n)
    if lesson.has_inner_rows:
        names = ["train", *lesson.measured_rows]
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
                f"for fold, validation in enumerate(np.array_split(np.arange({count}), {len(folds)})):",
                f"    train = np.setdiff1d(np.arange({count}), validation)",
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
            return [f"train = np.arange({count})"], False
        return [f"validation, train = np.arange({first}), np.arange({first}, {count})"], False
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
