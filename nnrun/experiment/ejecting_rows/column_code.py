"""The lines of a script that prepare the columns of a table: the registry of preprocessing steps of columns.

What is learned is learned from the training rows `train`. Columns of numbers that only change their values
are written side by side; a step that adds features beside them, or learns quantiles, is written for one
column at a time. A step has a line in `NUMBER_STEPS` or `COLUMN_STEPS`; one without it is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from nnrun.data.preprocess import FittedColumn, FittedTable
from nnrun.data.preprocess.categorical import FittedImputeCategory, FittedOneHot
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.preprocess.numeric import (
    FittedImpute,
    FittedLog1p,
    FittedMinMax,
    FittedRescale,
    FittedStandardize,
)
from nnrun.data.preprocess.quantile_steps import FittedPiecewiseLinear, FittedQuantile
from nnrun.data.preprocess.texts import FittedText
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import WIDTH, call_lines, literal
from nnrun.spec import schema

Steps = Sequence[schema.Component]
NumberLines = Callable[[Sequence[Any], Any, str, str], list[str]]
"""(The fitted steps of all columns, the spec's step, the name of the numbers, the axes of rows) → lines."""


def _standardize(steps: Sequence[FittedStandardize], spec: Any, x: str, axes: str) -> list[str]:
    lines = [f"mean, std = {x}[train].mean(axis={axes}), {x}[train].std(axis={axes})"]
    if any(step.std == 1.0 for step in steps):
        lines.append("std[std == 0] = 1.0  # a constant column is only centred")
    return [*lines, f"{x} = ({x} - mean) / std"]


def _min_max(steps: Sequence[FittedMinMax], spec: Any, x: str, axes: str) -> list[str]:
    lines = [f"low, high = {x}[train].min(axis={axes}), {x}[train].max(axis={axes})"]
    if any(step.range == 1.0 for step in steps):
        lines.append("high[high == low] += 1.0  # a constant column becomes 0")
    return [*lines, f"{x} = ({x} - low) / (high - low)"]


def _rescale(steps: Sequence[FittedRescale], spec: Any, x: str, axes: str) -> list[str]:
    scale, offset = steps[0].scale, steps[0].offset
    scaled = f"{x} / 255" if scale == 1 / 255 else f"{x} * {scale!r}"
    return [f"{x} = {scaled}{f' + {offset!r}' if offset else ''}"]


def _fill(spec: Any, x: str, axes: str = "") -> str:
    """What stands in for a missing number."""
    if spec.strategy == "constant":
        return repr(spec.value)
    if spec.strategy not in ("mean", "median"):
        raise refuse(f"the step impute with strategy {spec.strategy}", "It can write the mean or the median.")
    return f"np.nan{spec.strategy}({x}[train]{axes and f', axis={axes}'})"


def _impute(steps: Sequence[FittedImpute], spec: Any, x: str, axes: str) -> list[str]:
    return [f"{x} = np.where(np.isnan({x}), {_fill(spec, x, axes)}, {x})"]


NUMBER_STEPS: Mapping[type[FittedStep], NumberLines] = {
    FittedStandardize: _standardize,
    FittedMinMax: _min_max,
    FittedRescale: _rescale,
    FittedLog1p: lambda steps, spec, x, axes: [f"{x} = np.log1p({x})"],
    FittedImpute: _impute,
}
"""Steps of several columns of numbers at once."""


def _impute_one(spec: Any) -> list[str]:
    indicator = ["if missing[train].any():", "    beside.append(missing)"] if spec.indicator else []
    return [
        "missing = np.isnan(values)",
        *indicator,
        f"values = np.where(missing, {_fill(spec, 'values')}, values)",
    ]


def _bins(spec: Any) -> list[str]:
    bins = f"bins_of(values, values[train], {spec.bins})"
    return [f"beside.append({bins})" if spec.keep else f"values = {bins}"]


def _quantile(spec: Any) -> list[str]:
    count = "" if spec.n_quantiles is None else f", {spec.n_quantiles}"
    ranks = f"ranks_of(values, values[train]{count})"
    return [f"values = {f'normal_of({ranks})' if spec.output_distribution == 'normal' else ranks}"]


COLUMN_STEPS: Mapping[type[FittedStep], Callable[[Any], list[str]]] = {
    FittedImpute: _impute_one,
    FittedPiecewiseLinear: _bins,
    FittedQuantile: _quantile,
    FittedStandardize: lambda spec: [
        "values = (values - values[train].mean()) / (values[train].std() or 1.0)",
    ],
    FittedLog1p: lambda spec: ["values = np.log1p(values)"],
}
"""Steps of one column of numbers; `beside` takes what it adds, behind the number itself."""


def table_lines(tables: Sequence[FittedTable], steps: Steps, x: str = "x") -> list[str]:
    """Lines that make `parts`, the features of a table.

    Args:
        tables: what each fold learned.
        steps: those of the spec, of which each column passes some.
        x: the name of the frame.

    Raises:
        UsageError: a step cannot be written.
    """
    table = tables[0]
    lines = ["parts = []"]
    groups = groupby(table.ordered, key=lambda c: (c.kind, tuple(map(type, c.steps))))
    for (kind, kinds), group in groups:
        columns = list(group)
        # What any fold learned: a column that is constant in one of them takes the line for constant columns.
        names = {column.name for column in columns}
        of_folds = [column for each in tables for column in each.columns if column.name in names]
        if kind == "number" and all(step in NUMBER_STEPS for step in kinds) and not _adds(of_folds):
            lines += _numbers(columns, x)
            lines += number_lines(kinds, of_folds, steps, "numbers", "0")
            lines.append("parts.append(numbers)")
        elif kind == "number" and all(step in COLUMN_STEPS for step in kinds):
            lines += _one_by_one(columns, steps, x)
        elif kinds in ((FittedOneHot,), (FittedImputeCategory, FittedOneHot)):
            lines += _one_hot_lines(columns, of_folds, steps, x)
        elif kinds == (FittedText,):
            lines += _text_lines(columns, steps, x)
        else:
            said = [step.spec.kind for step in columns[0].steps]
            raise refuse(f"the steps {', '.join(said)} of the column {columns[0].name}")
    return lines


def _numbers(columns: Sequence[FittedColumn], x: str) -> list[str]:
    """Columns of numbers side by side."""
    line = f"numbers = {x}[[{', '.join(_names(columns))}]].to_numpy(float)"
    if len(line) + 4 <= WIDTH:
        return [line]
    lines = call_lines("names = [", _names(columns), "]", indent=4)
    return [*lines, f"numbers = {x}[names].to_numpy(float)"]


def _adds(columns: Sequence[FittedColumn]) -> bool:
    """Whether a step adds features beside a column."""
    return any(step.width_beside for column in columns for step in column.steps)


def _names(columns: Sequence[FittedColumn]) -> list[str]:
    return [literal(column.name) for column in columns]


def spec_of(fitted: FittedStep, steps: Steps) -> Any:
    """The spec's step that a fitted one is of: the first of its class that is for its columns."""
    found = [step for step in steps if isinstance(step, fitted.spec)]
    if len(found) > 1:
        raise refuse(f"several steps {fitted.spec.kind}", "It can write one for all columns.")
    return found[0] if found else fitted.spec()


def number_lines(
    kinds: Sequence[type[FittedStep]], columns: Sequence[FittedColumn], steps: Steps, x: str, axes: str
) -> list[str]:
    """Lines that change several columns of numbers at once."""
    lines: list[str] = []
    for place, kind in enumerate(kinds):
        own = [column.steps[place] for column in columns]
        if kind not in NUMBER_STEPS or any(step.width_beside for step in own):
            raise refuse(f"the step {own[0].spec.kind}", "Of arrays it can write steps of numbers alone.")
        lines += NUMBER_STEPS[kind](own, spec_of(own[0], steps), x, axes)
    return lines


def _loop(columns: Sequence[FittedColumn]) -> list[str]:
    """A loop over the names of columns."""
    return call_lines("for name in [", _names(columns), "]:", indent=4)


def _one_by_one(columns: Sequence[FittedColumn], steps: Steps, x: str) -> list[str]:
    body = [line for step in columns[0].steps for line in COLUMN_STEPS[type(step)](spec_of(step, steps))]
    beside = any("beside" in line for line in body)
    return [
        *_loop(columns),
        f"    values = {x}[name].to_numpy(float)",
        *(["    beside = []"] if beside else []),
        *(f"    {line}" for line in body),
        "    parts += [values, *beside]" if beside else "    parts.append(values)",
    ]


def _one_hot_lines(
    columns: Sequence[FittedColumn], of_folds: Sequence[FittedColumn], steps: Steps, x: str
) -> list[str]:
    fitted: list[Any] = [column.steps[-1] for column in of_folds]
    if any(step.strict for step in fitted):
        raise refuse("unknown: error of the step one_hot")
    if any(column.kind == "number" for column in columns):
        raise refuse(f"one_hot of numbers (column {columns[0].name})")
    spec = spec_of(fitted[0], steps)
    filled = [step for step in columns[0].steps if isinstance(step, FittedImputeCategory)]
    fill: list[str] = []
    if filled:
        of_spec = spec_of(filled[0], steps)
        if of_spec.strategy == "constant":
            fill = [f"    values = values.fillna({literal(str(of_spec.value))})"]
        else:
            fill = ["    values = values.fillna(values.iloc[train].mode()[0])"]
    missing = any(step.missing or step.rare_missing for step in fitted)
    common = f"[counts >= {spec.min_count}]" if spec.min_count > 1 else ""
    lines = [
        *_loop(columns),
        f"    values = {x}[name]",
        *fill,
        "    counts = values.iloc[train].value_counts()",
        f"    known = sorted(counts{common}.index)",
        "    hot = values.to_numpy(object)[:, None] == np.array(known, object)",
    ]
    rows = ["hot"]
    if missing:
        lines.append("    missing = values.isna().to_numpy()")
        lines.append(f"    if missing[train].sum() >= {spec.min_count}:")
        lines.append("        hot = np.column_stack([hot, missing])")
    if spec.rare:
        rows.append("~hot.any(axis=1)")
    return [*lines, f"    parts += [{', '.join(rows)}]" if len(rows) > 1 else "    parts.append(hot)"]


def _text_lines(columns: Sequence[FittedColumn], steps: Steps, x: str) -> list[str]:
    """Words of texts, by scikit-learn's vectorizer, whose rules nnrun's are."""
    lines = []
    for column in columns:
        own: Any = [step for step in steps if isinstance(step, schema.Text)]
        named = [step for step in own if step.column == column.name]
        spec = (named or [step for step in own if step.column is None])[0]
        if spec.ngrams != 1 or spec.weighting not in ("binary", "count"):
            raise refuse("ngrams or a weighting of the step text", "It can write words, marked or counted.")
        options = [r'token_pattern=r"[^\W_]+"']
        options += [] if spec.lower else ["lowercase=False"]
        options += [f"min_df={spec.min_count}"] if spec.min_count > 1 else []
        marked = "counts[:, words].toarray()"
        lines += [
            f'texts = {x}[{literal(column.name)}].fillna("")',
            *call_lines("vectorizer = CountVectorizer(", options, ")", indent=4),
            "counts = vectorizer.fit(texts.iloc[train]).transform(texts)",
            "often = np.asarray(counts[train].sum(axis=0)).ravel()",
            f'words = np.sort(np.argsort(-often, kind="stable")[:{spec.num_words}])',
            f"parts.append({marked}{' > 0' if spec.weighting == 'binary' else ''})",
        ]
    return lines
