"""What is wrong with single columns: they say nothing, number the rows, or tell the target.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.data.value_names import number_name
from nnrun.experiment.checking.finding import Finding, Severity
from nnrun.experiment.checking.rows import CheckedRows, CheckedTarget, column_keys, inferred
from nnrun.experiment.init.leaks import Leak, leak_of
from nnrun.experiment.init.names import names_time
from nnrun.experiment.init.roles import counts_rows, whole_numbers
from nnrun.spec.wording import counted, listing, quoted

_NEARLY_ALL: Final = 0.995
_FEW_OTHERS: Final = 10
_MOSTLY: Final = 0.5
_FEWEST_ROWS: Final = 30
_LISTED: Final = 12  # inputs that advice names one by one
_NAMED: Final = 6
_LEFT_OUT: Final = "`nnrun init` leaves this out of `inputs`."


def column_findings(rows: CheckedRows, *, left_out_by_init: bool = False) -> list[Finding]:
    """What the training rows, and for row numbers all rows, say of the columns of the inputs.

    Args:
        rows: the rows.
        left_out_by_init: the spec is the one that `nnrun init` writes, and the columns that it does not use
            are looked at as well: these findings are notes.
    """
    found = _of_columns(rows, rows.columns)
    if left_out_by_init:
        for finding in _of_columns(rows, rows.unused):
            found.append(replace(finding, severity="note", advice=_LEFT_OUT))
    return found


def _of_columns(rows: CheckedRows, columns: Mapping[str, Column]) -> list[Finding]:
    training = {name: column.take(slice(rows.n_train)) for name, column in columns.items()}
    found = [*empty_findings(training, rows.n_train)]
    for name, column in columns.items():
        found += _row_number(rows, name, column)
        found += _copy_of_target(rows, name, column)
    return found


def without(rows: CheckedRows, name: str) -> str:
    """How to leave a column out: the inputs that are left, where they are not too many."""
    left = [other for other in rows.columns if other != name]
    if 0 < len(left) <= _LISTED:
        return f"`inputs: [{', '.join(left)}]`"
    return f"leave {quoted(name)} out of `inputs`"


# --- columns that say nothing ------------------------------------------------------------------------------


def empty_findings(columns: Mapping[str, Column], n_rows: int) -> Iterator[Finding]:
    """Columns of one value, of nearly one, and those that mostly lack one; those of a kind in one finding."""
    constant: dict[str, str] = {}
    nearly: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, column in columns.items() if n_rows >= _FEWEST_ROWS else ():
        lacking = int(column.missing.sum())
        keys = column_keys(column)
        values, counts = np.unique(keys, return_counts=True)
        others = n_rows - int(counts.max())
        if len(values) == 1:
            constant[name] = f"{quoted(name)} is {shown_value(column, 0)} in every training row"
        elif lacking > _MOSTLY * n_rows:
            missing[name] = (
                f"{quoted(name)} has a value in {counted(n_rows - lacking, 'row')} "
                f"({1 - lacking / n_rows:.1%})"
            )
        elif others < _FEW_OTHERS and others <= (1 - _NEARLY_ALL) * n_rows:
            first = int(np.flatnonzero(keys == values[counts.argmax()])[0])
            value = shown_value(column, first)
            nearly[name] = f"{quoted(name)} is {value} in all but {counted(others, 'row')}"
    advice = "Leave out of `inputs` what says nothing: {}."
    if constant:
        yield _several(
            "constant_columns", "warning", constant, "say nothing: each has one value", advice, n_rows
        )
    if nearly:
        yield _several(
            "near_constant_columns",
            "note",
            nearly,
            f"have one value in nearly all of {counted(n_rows, 'row')}",
            "What a network learns from so few rows is chance; " + advice[0].lower() + advice[1:],
            n_rows,
        )
    if missing:
        yield _several(
            "mostly_missing_columns",
            "note",
            missing,
            f"lack a value in more than half of {counted(n_rows, 'row')}",
            "Whether a value is there may say more than the value: `impute: {indicator: true}` keeps that; "
            "or leave out of `inputs`: {}.",
            n_rows,
        )


def _several(
    kind: str, severity: Severity, told: Mapping[str, str], what: str, advice: str, n_rows: int
) -> Finding:
    names = list(told)
    some = listing([quoted(name) for name in names[:_NAMED]], "and")
    if len(names) > _NAMED:
        some = f"{some} and {counted(len(names) - _NAMED, 'other column')}"
    text = f"{counted(len(names), 'column')} {what}."
    if len(names) == 1:
        text = f"{told[names[0]]}."
    examples = () if len(names) == 1 else tuple(told[name] for name in names[:_NAMED])
    evidence = {"columns": names, "rows": n_rows, "each": dict(told)}
    return Finding(kind, severity, text, advice.replace("{}", some), examples, evidence)


def shown_value(column: Column, row: int) -> str:
    """The value of a row, as a finding names it."""
    if column.missing[row]:
        return "missing"
    if isinstance(column, NumberColumn):
        return number_name(column.values[row].item())
    return quoted(
        column.levels[column.codes[row]] if isinstance(column, CategoryColumn) else column.values[row]
    )


# --- columns that number the rows, or tell the target ------------------------------------------------------


def _row_number(rows: CheckedRows, name: str, column: Column) -> Iterator[Finding]:
    if len(rows) < _FEWEST_ROWS:
        return
    order = rows.in_file_order
    ordered = inferred(column.take(order))
    values = whole_numbers(ordered)
    how = None
    if values is not None and len(values) == len(rows) and not names_time(name):
        if rows.file_rows is not None and _same_steps(values, rows.file_rows[order]):
            how = "goes up with the rows of the file"
        elif np.array_equal(np.sort(values) - values.min(), np.arange(len(values))):
            how = f"holds each whole number from {values.min():.0f} to {values.max():.0f} once"
    if how is None and counts_rows(name, ordered, len(rows)):
        how = f"has {ordered.distinct or len(rows):,} different values in {counted(len(rows), 'row')}"
    if how is None:
        return
    shown = [shown_value(column, int(row)) for row in order[:4]]
    yield Finding(
        "row_number_as_input",
        "warning",
        f"{quoted(name)} {how}: it names rows, and new rows will have other values.",
        f"In the spec: {without(rows, name)}.",
        (f"its first values: {', '.join(shown)}",),
        {"column": name, "first_values": shown},
    )


def _same_steps(values: np.ndarray, file_rows: np.ndarray) -> bool:
    """Whether numbers go up by one from row to row of the file, all of them."""
    return bool((np.diff(values) == np.diff(file_rows)).all())


def _copy_of_target(rows: CheckedRows, name: str, column: Column) -> Iterator[Finding]:
    for target in rows.targets:
        known = np.flatnonzero(target.present[: rows.n_train])
        leak = leak_of(column.take(known), target.column.take(known), target.classes)
        if leak is not None:
            yield _leak_finding(rows, name, target, leak)


def _leak_finding(rows: CheckedRows, name: str, target: CheckedTarget, leak: Leak) -> Finding:
    if not leak.copy:
        return predicts_target(rows, name, target, leak.how, {"how": leak.how, "score": 1.0})
    return Finding(
        "copy_of_target",
        "serious",
        f"{quoted(name)} gives {quoted(target.name)} away: {leak.how}.",
        "It is almost certainly the target under another name, or computed from it. In the spec: "
        f"{without(rows, name)}.",
        (),
        {"column": name, "target": target.name, "how": leak.how},
    )


def predicts_target(
    rows: CheckedRows, name: str, target: CheckedTarget, how: str, evidence: Mapping[str, Any]
) -> Finding:
    """A column that alone predicts a target nearly without fault, and is no copy of it."""
    return Finding(
        "column_predicts_target",
        "warning",
        f"{quoted(name)} alone predicts {quoted(target.name)}: {how}.",
        "It may be a good measurement, and then it stays. If it is known only after the target is, or "
        f"follows from it: {without(rows, name)}.",
        (),
        {"column": name, "target": target.name, **evidence},
    )


def columns_told(findings: Iterable[Finding]) -> frozenset[str]:
    """The columns that were already said to tell the target."""
    kinds = ("copy_of_target", "column_predicts_target")
    return frozenset(finding.evidence["column"] for finding in findings if finding.kind in kinds)
