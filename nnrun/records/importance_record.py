"""importance.json as a typed record: what `nnrun importance` last found of a run's input columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1
"""Of the format of importance.json. A file of a higher version is not read."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class ColumnImportance(_Part):
    """How much worse a score is when a column's values are shuffled among the rows.

    Attributes:
        column: its name.
        importance: the mean over networks and repeats, in the score's unit; above 0 where the score is worse.
        std: the standard deviation (ddof 1) over what `ImportanceRecord.over` names; None where that is one.
        within_noise: whether the 95 % interval of the mean reaches down to 0.
        each: for each network the drop of each repeat.
    """

    column: str
    importance: Number
    std: Number | None
    within_noise: bool
    each: list[list[Number]]


class ImportanceTable(_Part):
    """The columns by what they matter for one score of one output, the most important first.

    Attributes:
        output: its name; None where outputs have none.
        metric: the score: `loss` or a metric.
        higher_is_better: whether the score is better the higher it is.
        score: with all columns as they are, the mean over the networks.
        columns: all of them.
    """

    output: str | None
    metric: str
    higher_is_better: bool
    score: Number
    columns: list[ColumnImportance]


class CorrelatedColumns(_Part):
    """Two columns, and how alike they are in the training rows.

    Attributes:
        first, second: their names.
        correlation: of numbers Spearman's rank correlation; of categories Cramér's V, from 0 to 1.
    """

    first: str
    second: str
    correlation: Number


class CurveLine(_Part):
    """A line of a curve.

    Attributes:
        name: the class or label, or the target column where there are several numbers; else empty.
        mean: of each value of the column the mean over rows and networks.
        std: its standard deviation (ddof 1) over the networks; None of one network.
    """

    name: str
    mean: list[Number]
    std: list[Number] | None


class DependenceCurve(_Part):
    """What a network predicts on average when every row has the same value in one column.

    Attributes:
        column: its name.
        output: as in a table.
        kind: what the column's values are.
        values: of the column: numbers, ascending; dates, ascending; categories, the most frequent first.
        predicted: `probability`, `score` or `prediction`.
        rows: how many rows of each network the mean is over, at most.
        lines: one, or one for each class, label or number.
    """

    column: str
    output: str | None
    kind: Literal["number", "category", "date"]
    values: list[float | str]
    predicted: Literal["probability", "score", "prediction"]
    rows: Count
    lines: list[CurveLine]


class ImportanceRecord(_Part):
    """All that one call of `nnrun importance` found.

    Attributes:
        at: when.
        split: which rows the networks were asked about.
        rows: the fewest and the most rows of a network.
        weights: of which epochs they were, in words.
        networks: how many.
        over: what deviations are over: the networks, or the repeats of the only one.
        repeats: how often each column was shuffled for each network.
        seed: of the permutations.
        look: which look at this test set it was by experiments of the run's name; None for other rows.
        look_of_any: which it was by experiments of any name.
        averaged: whether the networks' average is the model.
        tables: one for each output.
        correlated: pairs of columns that hide each other, the most correlated first.
        curves: those that were asked for.
    """

    version: Count = VERSION
    at: str
    split: Literal["validation", "test"]
    rows: list[Count]
    weights: str
    networks: Count
    over: Literal["folds", "seeds", "repeats"]
    repeats: Count
    seed: Count
    look: Count | None
    look_of_any: Count | None = None
    averaged: bool
    tables: list[ImportanceTable]
    correlated: list[CorrelatedColumns]
    curves: list[DependenceCurve]
