"""Which kinds of validation make folds, and how many."""

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
