"""Which steps each column of a table passes: known from the spec and the columns' kinds, before fitting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import counted, listing, nearest, quoted

State = Literal["number", "category", "text", "date", "features", "tokens", "rows"]
"""What a column is between two steps: `features` is several columns of numbers."""

DEFAULTS: Mapping[schema.ColumnType, tuple[schema.PreprocessingStep, ...]] = {
    "number": (schema.Impute(strategy="median", indicator=True), schema.Standardize()),
    "category": (schema.OneHot(),),
    "text": (schema.Text(),),
    "date": (schema.Datetime(),),
}

_MOST_NAMES = 12  # that a message lists


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
    kind: schema.ColumnType
    steps: tuple[schema.PreprocessingStep, ...]
    by_default: bool = False


@dataclass
class _Open:
    """A column's plan while it is made."""

    name: str
    kind: schema.ColumnType
    state: State
    steps: list[schema.PreprocessingStep] = field(default_factory=list)


def plan_columns(
    steps: Sequence[schema.PreprocessingStep],
    columns: Sequence[tuple[str, schema.ColumnType]],
    dataset: str,
    *,
    default: bool = True,
) -> tuple[ColumnPlan, ...]:
    """The steps of each column of a table.

    A step without columns takes all that are of its kind when its turn comes. A column that no step takes
    gets the default: a number is imputed by the median (with an indicator where training rows miss values)
    and standardized, a category is encoded one-hot, a text becomes a multi-hot row of its words, a date its
    parts. `none` alone takes numbers as they are.

    Args:
        steps: the spec's input steps; those for token rows (after `tokens`) play no part here.
        columns: name and kind of each column of the inputs, in order.
        dataset: what messages call the data set.
        default: whether columns that no step takes get the default; else numbers stay as they are.

    Raises:
        DataError: a step names a column that is not there, or does not suit a column.
    """
    if steps and not any(step.takes for step in steps):
        return _as_they_are(columns, dataset)
    opened = [_Open(name, kind, kind) for name, kind in columns]
    tokens = False
    for step in steps:
        if step.takes == ("tokens",) and not tokens:
            raise DataError(
                f"{step.kind} needs lists of tokens, but the inputs of {dataset} are a table. For texts, "
                "put `tokens` before it, or use `text` alone."
            )
        if step.takes in ((), ("tokens",)):
            continue
        tokens = tokens or step.column_after == "tokens"
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
        else ColumnPlan(column.name, column.kind, DEFAULTS[column.kind], by_default=True)
        for column in opened
    )


def _as_they_are(columns: Sequence[tuple[str, schema.ColumnType]], dataset: str) -> tuple[ColumnPlan, ...]:
    """The plans of `none` alone, which only numbers have."""
    other = [name for name, kind in columns if kind != "number"]
    if other:
        are, them = ("is", "it") if len(other) == 1 else ("are", "them")
        raise DataError(
            f"none takes inputs as they are, and {_listed(other)} of {dataset} {are} not numeric. Encode "
            f"{them} (one_hot, ordinal, text), or leave preprocessing.inputs out for the default."
        )
    return tuple(ColumnPlan(name, kind, ()) for name, kind in columns)


def _chosen(step: schema.PreprocessingStep, opened: Sequence[_Open], dataset: str) -> list[_Open]:
    """The columns that a step takes."""
    names = step.named_columns
    if names is None:
        found = [column for column in opened if column.state == step.takes[0]]
        if not found:
            held = _listed(column.name for column in opened)
            raise DataError(
                f"{step.kind}: no {_KINDS[step.takes[0]]} is left in {dataset}, which has {held}. Remove the "
                "step, or name its columns."
            )
        return found
    by_name = {column.name: column for column in opened}
    chosen: dict[str, _Open] = {}
    for name in names:
        if isinstance(name, int) and name < len(opened):
            column = opened[name]
        elif isinstance(name, str) and name in by_name:
            column = by_name[name]
        else:
            raise DataError(f"{step.kind}: {no_such_column(name, dataset, list(by_name))}")
        if column.name in chosen:
            raise DataError(f"{step.kind}: columns {names} name {column.name} twice.")
        chosen[column.name] = column
    return list(chosen.values())


_KINDS = {
    "number": "column of numbers",
    "category": "category",
    "text": "column of texts",
    "date": "column of dates",
}
_HOLDS = {"number": "numbers", "category": "categories", "text": "texts", "date": "dates"}
_ENCODERS = {"category": "one_hot or ordinal", "text": "text", "date": "datetime"}


def _after(step: schema.PreprocessingStep, column: _Open) -> State:
    """What a column is after a step, which must suit it."""
    what = f"{step.kind}: column {quoted(column.name)}"
    state = column.state
    if state not in _HOLDS:
        raise DataError(
            f"{what} has become several columns by {column.steps[-1].kind}, and no step follows that."
        )
    cannot = step.cannot_take(state)
    if cannot is not None or state not in step.takes:
        raise DataError(f"{what} holds {_HOLDS[state]}{cannot or _instead(step, column.name, state)}")
    return state if step.column_after == "same" else step.column_after


def _instead(step: schema.PreprocessingStep, column: str, state: str) -> str:
    """What to do about a column of a kind that a step does not take: the end of a message."""
    if state != "number":
        return f", not numbers; use {_ENCODERS[state]}, or say `types: {{{column}: number}}` in the data set."
    if step.takes[0] == "date":
        return (
            f", and {step.kind} takes dates. Where they are dates, as 20261124, say "
            f"`types: {{{column}: date}}` in the data set."
        )
    return f", and {step.kind} takes texts; use standardize."


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
