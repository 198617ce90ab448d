"""Which steps each column of a table passes: known from the spec and the columns' kinds, before fitting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.step_types import (
    CATEGORY_STEPS,
    DATE_STEPS,
    NUMBER_STEPS,
    TEXT_STEPS,
    TOKEN_STEPS,
    columns_of,
)
from nnrun.spec.wording import counted, listing, nearest, quoted

Kind = Literal["number", "category", "text", "date"]
State = Literal["number", "category", "text", "date", "features", "tokens"]
"""What a column is between two steps: `features` is several columns of numbers."""

DEFAULT_NUMBER: tuple[schema.Component, ...] = (
    schema.Impute(strategy="median", indicator=True),
    schema.Standardize(),
)
DEFAULT_CATEGORY: tuple[schema.Component, ...] = (schema.OneHot(),)
DEFAULT_TEXT: tuple[schema.Component, ...] = (schema.Text(),)
DEFAULT_DATE: tuple[schema.Component, ...] = (schema.Datetime(),)
_DEFAULTS = {
    "number": DEFAULT_NUMBER,
    "category": DEFAULT_CATEGORY,
    "text": DEFAULT_TEXT,
    "date": DEFAULT_DATE,
}

_MOST_NAMES = 12  # that a message lists

_GIVES: dict[type[schema.Component], State] = {
    schema.OneHot: "features",
    schema.Ordinal: "number",
    schema.Hashing: "features",
    schema.Datetime: "features",
    schema.Text: "features",
    schema.Tokens: "tokens",
}


@dataclass(frozen=True)
class ColumnPlan:
    """The steps of one column, in order.

    Attributes:
        name: the column's name.
        kind: what its values are before the first step.
        steps: as the spec declares them; none leaves numbers as they are.
        by_default: whether no step named the column, so that these are the default.
    """

    name: str
    kind: Kind
    steps: tuple[schema.Component, ...]
    by_default: bool = False


def kind_of(column: Column) -> Kind:
    """What a column's values are."""
    if isinstance(column, NumberColumn):
        return "number"
    if isinstance(column, CategoryColumn):
        return "date" if column.dates else "category"
    return "text"


@dataclass
class _Open:
    """A column's plan while it is made."""

    name: str
    kind: Kind
    state: State
    steps: list[schema.Component] = field(default_factory=list)


def plan_columns(
    steps: Sequence[schema.Component],
    columns: Sequence[tuple[str, Kind]],
    dataset: str,
    *,
    default: bool = True,
) -> tuple[ColumnPlan, ...]:
    """The steps of each column of a table.

    A step without columns takes all that are of its kind when its turn comes. A column that no step takes
    gets the default: a number is imputed by the median (with an indicator where training rows miss values)
    and standardized, a category is encoded one-hot, a text becomes a multi-hot row of its words, a date its
    parts. `none`
    alone takes numbers as they are.

    Args:
        steps: the spec's input steps; those for token rows (after `tokens`) play no part here.
        columns: name and kind of each column of the inputs, in order.
        dataset: what messages call the data set.
        default: whether columns that no step takes get the default; else numbers stay as they are.

    Raises:
        DataError: a step names a column that is not there, or does not suit a column.
    """
    opened = [_Open(name, kind, kind) for name, kind in columns]
    as_they_are = [isinstance(step, schema.NoInputStep) for step in steps]
    if as_they_are and all(as_they_are):
        other = [column.name for column in opened if column.kind != "number"]
        if other:
            raise DataError(
                f"none takes inputs as they are, and {_listed(other)} of {dataset} "
                f"{'is not numeric' if len(other) == 1 else 'are not numeric'}. Encode "
                f"{'it' if len(other) == 1 else 'them'} (one_hot, ordinal, text), or leave "
                "preprocessing.inputs out for the default."
            )
        return tuple(ColumnPlan(column.name, column.kind, ()) for column in opened)
    tokens = False
    for step in steps:
        if isinstance(step, schema.NoInputStep):
            continue
        if isinstance(step, TOKEN_STEPS):
            if not tokens:
                raise DataError(
                    f"{step.kind} needs lists of tokens, but the inputs of {dataset} are a table. For texts, "
                    "put `tokens` before it, or use `text` alone."
                )
            continue
        tokens = tokens or isinstance(step, schema.Tokens)
        for column in _chosen(step, opened, dataset):
            column.state = _after(step, column)
            column.steps.append(step)
    if tokens and len(opened) > 1:
        raise DataError(
            f"tokens gives rows of word indices, which cannot be combined with other columns, and {dataset} "
            f"has {counted(len(opened), 'input column')}: {_listed(c.name for c in opened)}. Name the text "
            "column alone in the data set's `inputs`, or use `text`."
        )
    return tuple(
        ColumnPlan(column.name, column.kind, tuple(column.steps))
        if column.steps or not default
        else ColumnPlan(column.name, column.kind, _DEFAULTS[column.kind], by_default=True)
        for column in opened
    )


def _chosen(step: schema.Component, opened: Sequence[_Open], dataset: str) -> list[_Open]:
    """The columns that a step takes."""
    names = columns_of(step)
    if names is None:
        kind = _own_kind(step)
        found = [column for column in opened if column.state == kind]
        if not found:
            kinds = _KINDS[kind]
            raise DataError(
                f"{step.kind}: no {kinds} is left in {dataset}, which has {_with_kinds(opened)}. Remove the "
                "step, or name its columns."
            )
        return found
    by_name = {column.name: column for column in opened}
    chosen: list[_Open] = []
    for name in names:
        if isinstance(name, int) and name < len(opened):
            column = opened[name]
        elif isinstance(name, str) and name in by_name:
            column = by_name[name]
        else:
            raise DataError(f"{step.kind}: {no_such_column(name, dataset, list(by_name))}")
        if column in chosen:
            raise DataError(f"{step.kind}: columns {names} name {column.name} twice.")
        chosen.append(column)
    return chosen


_KINDS: dict[Kind, str] = {
    "number": "column of numbers",
    "category": "category",
    "text": "column of texts",
    "date": "column of dates",
}


def _own_kind(step: schema.Component) -> Kind:
    """The kind of column that a step takes where it names none."""
    if isinstance(step, CATEGORY_STEPS):
        return "category"
    if isinstance(step, DATE_STEPS):
        return "date"
    return "text" if isinstance(step, TEXT_STEPS) else "number"


def _after(step: schema.Component, column: _Open) -> State:
    """What a column is after a step, which must suit it."""
    what = f"{step.kind}: column {quoted(column.name)}"
    if column.state in ("features", "tokens"):
        raise DataError(
            f"{what} has become several columns by {column.steps[-1].kind}, and no step follows that."
        )
    if isinstance(step, schema.Impute):
        if column.state == "text":
            raise DataError(f"{what} holds texts; a missing text counts as an empty one. Remove it here.")
        if column.state == "date":
            raise DataError(f"{what} holds dates; datetime handles missing ones itself. Remove it here.")
        if column.state == "category" and step.strategy not in ("most_frequent", "constant"):
            raise DataError(
                f"{what} holds categories, which have no {step.strategy}; use strategy most_frequent or "
                "constant. one_hot also takes a missing value as a value of its own."
            )
        return column.state
    if isinstance(step, NUMBER_STEPS):
        if column.state != "number":
            advice = {"category": "one_hot or ordinal", "date": "datetime"}.get(column.state, "text")
            holds = {"category": "categories", "date": "dates"}.get(column.state, "texts")
            raise DataError(
                f"{what} holds {holds}, not numbers; use "
                f"{advice}, or say `types: {{{column.name}: number}}` in the data set."
            )
        return "number"
    if isinstance(step, TEXT_STEPS) and column.state == "number":
        raise DataError(f"{what} holds numbers, and {step.kind} takes texts; use standardize.")
    if isinstance(step, DATE_STEPS) and column.state == "number":
        raise DataError(
            f"{what} holds numbers, and {step.kind} takes dates. Where they are dates, as 20261124, say "
            f"`types: {{{column.name}: date}}` in the data set."
        )
    return _GIVES[type(step)]


def no_such_column(name: int | str, dataset: str, names: Sequence[str]) -> str:
    """What to say of a column that is not there: the end of a message."""
    if isinstance(name, int):
        return (
            f"there is no column {name}; {dataset} has {counted(len(names), 'input column')}, counted from 0."
        )
    match = nearest(name, names)
    hint = f" Did you mean {quoted(match)}?" if match else ""
    return f"there is no column {quoted(name)}.{hint} {dataset} has: {_listed(names)}."


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    shown = [quoted(name) for name in names[:_MOST_NAMES]]
    return ", ".join(shown) + more if more else listing(shown, "and")


def _with_kinds(opened: Sequence[_Open]) -> str:
    return _listed(column.name for column in opened)
