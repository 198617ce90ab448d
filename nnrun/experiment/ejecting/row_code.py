"""The lines of a script that prepare rows and targets: the registry of preprocessing steps.

What is learned is learned from the training rows `train`. A step has a line in `NUMBER_STEPS` or
`TOKEN_STEPS`; one without it is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from nnrun.data.preprocess import FittedColumn, FittedInputs
from nnrun.data.preprocess.categorical import FittedOneHot
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.preprocess.numeric import (
    FittedImpute,
    FittedLog1p,
    FittedMinMax,
    FittedRescale,
    FittedStandardize,
)
from nnrun.data.preprocess.token_steps import FittedMultiHot, FittedPad
from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.spec import schema

NumberLines = Callable[[Sequence[Any], str, str, Lesson], list[str]]
"""(The fitted steps of all columns, the name of the numbers, the axes of rows, the lesson) → lines."""


def _standardize(steps: Sequence[FittedStandardize], x: str, axes: str, lesson: Lesson) -> list[str]:
    lines = [f"mean, std = {x}[train].mean(axis={axes}), {x}[train].std(axis={axes})"]
    if any(step.std == 1.0 for step in steps):
        lines.append("std[std == 0] = 1.0  # a constant column is only centred")
    return [*lines, f"{x} = ({x} - mean) / std"]


def _min_max(steps: Sequence[FittedMinMax], x: str, axes: str, lesson: Lesson) -> list[str]:
    lines = [f"low, high = {x}[train].min(axis={axes}), {x}[train].max(axis={axes})"]
    if any(step.range == 1.0 for step in steps):
        lines.append("high[high == low] += 1.0  # a constant column becomes 0")
    return [*lines, f"{x} = ({x} - low) / (high - low)"]


def _rescale(steps: Sequence[FittedRescale], x: str, axes: str, lesson: Lesson) -> list[str]:
    scale, offset = steps[0].scale, steps[0].offset
    scaled = f"{x} / 255" if scale == 1 / 255 else f"{x} * {scale!r}"
    return [f"{x} = {scaled}{f' + {offset!r}' if offset else ''}"]


def _impute(steps: Sequence[FittedImpute], x: str, axes: str, lesson: Lesson) -> list[str]:
    inputs = lesson.spec.preprocessing.inputs
    strategies = {step.strategy for step in inputs if isinstance(step, schema.Impute)}
    if any(step.indicator for step in steps) or len(strategies) > 1 or not strategies <= {"mean", "median"}:
        raise refuse(
            "the step impute with these options", "It can write one strategy, the mean or the median."
        )
    (strategy,) = strategies
    return [f"{x} = np.where(np.isnan({x}), np.nan{strategy}({x}[train], axis={axes}), {x})"]


NUMBER_STEPS: Mapping[type[FittedStep], NumberLines] = {
    FittedStandardize: _standardize,
    FittedMinMax: _min_max,
    FittedRescale: _rescale,
    FittedLog1p: lambda steps, x, axes, lesson: [f"{x} = np.log1p({x})"],
    FittedImpute: _impute,
}


def _multi_hot(step: FittedMultiHot) -> list[str]:
    if step.ngrams or step.weighting != "binary":
        raise refuse(
            "the step multi_hot with ngrams, min_count, num_words or weighting",
            "It can write the plain one, of 0 and 1, with a dimension.",
        )
    return [
        f"rows = np.zeros((len(x), {step.dimension}), np.float32)",
        "for row, words in zip(rows, x):",
        "    row[words] = 1.0",
    ]


def _pad(step: FittedPad) -> list[str]:
    n = step.length
    kept = f"words[-{n}:]" if step.truncate == "pre" else f"words[:{n}]"
    filled = "row[-len(words) :]" if step.side == "pre" else "row[: len(words)]"
    made = f"np.zeros((len(x), {n}), np.int64)"
    return [
        f"rows = {made if step.value == 0 else f'np.full((len(x), {n}), {step.value})'}",
        "for row, words in zip(rows, x):",
        f"    words = {kept}",
        f"    {filled} = words",
    ]


TOKEN_STEPS: Mapping[type[FittedStep], Callable[[Any], list[str]]] = {
    FittedMultiHot: _multi_hot,
    FittedPad: _pad,
}


def prepare_lines(lesson: Lesson) -> list[str]:
    """The function `prepare` of a script: (rows, targets, training rows) → what the network takes.

    Raises:
        UsageError: a step cannot be written.
    """
    fitted = lesson.inputs
    if fitted.custom:
        raise refuse(f"the step {fitted.custom[0].spec.kind}")
    if fitted.table is None:
        body, rows = _of_tokens(fitted), "rows"
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


def _of_tokens(fitted: FittedInputs) -> list[str]:
    step = fitted.token_step
    if step is None or type(step) not in TOKEN_STEPS:
        raise refuse(f"the step {step.spec.kind if step is not None else 'of tokens'}")
    return TOKEN_STEPS[type(step)](step)


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
    lines = _number_lines(lesson, _alike(lesson, columns), columns, "x", axes)
    x = lesson.dataset.train.inputs
    if isinstance(x, np.ndarray) and x.ndim == 1:
        lines = ["x = x.reshape(-1, 1)", *lines]
    return [*lines, "x = x.astype(np.float32)"]


def _number_lines(
    lesson: Lesson, kinds: Sequence[type[FittedStep]], columns: Sequence[FittedColumn], x: str, axes: str
) -> list[str]:
    lines: list[str] = []
    for place, kind in enumerate(kinds):
        steps = [column.steps[place] for column in columns]
        if kind not in NUMBER_STEPS:
            raise refuse(f"the step {steps[0].spec.kind}")
        lines += NUMBER_STEPS[kind](steps, x, axes, lesson)
    return lines


def _of_table(lesson: Lesson) -> list[str]:
    table = lesson.inputs.table
    assert table is not None, "rows of a table"
    lines = ["parts = []"]
    groups = groupby(table.ordered, key=lambda c: (c.kind, tuple(map(type, c.steps))))
    for (kind, steps), group in groups:
        columns = list(group)
        names = ", ".join(json.dumps(column.name) for column in columns)
        if kind == "number" and all(step in NUMBER_STEPS for step in steps):
            lines.append(f"numbers = x[[{names}]].to_numpy(float)")
            lines += _number_lines(lesson, steps, columns, "numbers", "0")
            lines.append("parts.append(numbers)")
        elif steps == (FittedOneHot,):
            lines += _one_hot_lines(columns, names)
        else:
            kinds = [step.spec.kind for step in columns[0].steps]
            raise refuse(f"the steps {', '.join(kinds)} of the column {columns[0].name}")
    return [*lines, "rows = np.column_stack(parts).astype(np.float32)"]


def _one_hot_lines(columns: Sequence[FittedColumn], names: str) -> list[str]:
    missing = False
    for column in columns:
        step: Any = column.steps[0]
        if step.rare or step.others or step.strict:
            raise refuse(f"min_count, rare or unknown: error of one_hot (column {column.name})")
        if column.kind == "number":
            raise refuse(f"one_hot of numbers (column {column.name})")
        missing = missing or step.missing
    lines = [
        f"for name in [{names}]:",
        "    values = x[name].to_numpy(object)",
        "    known = sorted(set(x[name].iloc[train].dropna()))",
        "    parts.append(values[:, None] == np.array(known, object))",
    ]
    if missing:
        lines += [
            "    if x[name].iloc[train].isna().any():",
            "        parts.append(x[name].isna())",
        ]
    return lines


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
    return found


def class_weights(lesson: Lesson) -> str | None:
    """An expression of the weights of classes by `labels`, those of the training rows; None for none."""
    given = lesson.spec.class_weight
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return "len(labels) / (len(set(labels)) * np.maximum(np.bincount(labels), 1))"
    raise refuse("class_weight by name", "It can write class_weight: balanced.")
