"""What kinds of input steps there are, and which columns a step names."""

from __future__ import annotations

from nnrun.spec import schema

NUMBER_STEPS = (schema.Standardize, schema.MinMax, schema.Log1p)
"""They take numbers and give numbers, column by column. `impute` also takes categories."""

CATEGORY_STEPS = (schema.OneHot, schema.Ordinal, schema.Hashing)
"""They take categories, and numbers or texts as categories where these are named."""

DATE_STEPS = (schema.Datetime,)
"""They take dates, and categories or texts as dates where these are named."""

TEXT_STEPS = (schema.Text, schema.Tokens)
"""They take texts."""

TOKEN_STEPS = (schema.MultiHot, schema.Pad)
"""They take rows of word indices: a data set's, or those that `tokens` makes."""

LAST_STEPS = (schema.OneHot, schema.Hashing, schema.Datetime, schema.Text, schema.Tokens)
"""They make other columns of a column, so that no step of that column follows."""


def columns_of(step: schema.Component) -> list[int | str] | None:
    """The columns that a step names, by name or position; None where it takes all of its kind."""
    if isinstance(step, TEXT_STEPS):
        return None if step.column is None else [step.column]
    columns: list[int | str] | None = getattr(step, "columns", None)
    return columns
