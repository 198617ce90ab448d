"""What a `validation` comes to: how many folds, and which columns of the data it needs."""

from __future__ import annotations

from nnrun.spec import schema

FOLDED = (schema.KFold, schema.TimeSeries)
"""The kinds that train one network for each fold."""


def has_folds(validation: schema.Component) -> bool:
    """Whether it trains one network for each of several folds."""
    return isinstance(validation, FOLDED)


def number_of_folds(validation: schema.Component) -> int:
    """How many networks it trains, over all repeats."""
    match validation:
        case schema.KFold(k=k, repeats=repeats):
            return k * repeats
        case schema.TimeSeries(k=k):
            return k
    return 1


def columns_needed(validation: schema.Component) -> tuple[str, ...]:
    """The columns by which it tells rows apart; no inputs, unless the data set lists them as such."""
    match validation:
        case (
            schema.Holdout(column=str(column))
            | schema.KFold(group=str(column))
            | schema.TimeSeries(column=str(column))
        ):
            return (column,)
    return ()
