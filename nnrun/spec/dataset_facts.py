"""What is known of a data set before it is loaded, so that a spec can be checked without its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnrun.spec import schema

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class DatasetFacts:
    """Known facts; None where only the data can tell.

    Attributes:
        inputs: `tokens` (lists of word indices) or `table` (a fixed number of features per row).
        task: what the targets are.
        classes: number of classes, for classification.
        features: features per row, for tables.
        train_rows, test_rows: rows; a test set of 0 rows means that there is none.
        num_words: token indices are below this number.
        numbers: how many numbers a row has to predict, for regression.
    """

    inputs: Literal["tokens", "table"] | None = None
    task: Task | None = None
    classes: int | None = None
    features: int | None = None
    train_rows: int | None = None
    test_rows: int | None = None
    num_words: int | None = None
    numbers: int = 1


_SKLEARN = {
    "breast_cancer": DatasetFacts("table", "binary", 2, 30, 569, 0),
    "digits": DatasetFacts("table", "multiclass", 10, 64, 1797, 0),
    "wine": DatasetFacts("table", "multiclass", 3, 13, 178, 0),
    "iris": DatasetFacts("table", "multiclass", 3, 4, 150, 0),
    "diabetes": DatasetFacts("table", "regression", None, 10, 442, 0),
}
_REUTERS_ROWS = 11_228
_BOSTON_ROWS = 506


def dataset_facts(dataset: schema.Component) -> DatasetFacts:
    """What `dataset`, as declared, is known to hold. `maxlen` drops rows, so their number is then unknown."""
    match dataset:
        case schema.Imdb(maxlen=maxlen, num_words=num_words):
            rows = 25_000 if maxlen is None else None
            return DatasetFacts("tokens", "binary", 2, None, rows, rows, num_words)
        case schema.Reuters(maxlen=maxlen, num_words=num_words, test_fraction=fraction):
            train = int(_REUTERS_ROWS * (1 - fraction)) if maxlen is None else None
            test = _REUTERS_ROWS - train if train is not None else None
            return DatasetFacts("tokens", "multiclass", 46, None, train, test, num_words)
        case schema.BostonHousing(test_fraction=fraction):
            train = int(_BOSTON_ROWS * (1 - fraction))
            return DatasetFacts("table", "regression", None, 13, train, _BOSTON_ROWS - train)
        case schema.Sklearn(name=name):
            return _SKLEARN[name]
        case schema.RowFile(test=test, target=target):
            return DatasetFacts("table", test_rows=0 if test is None else None, numbers=len(target))
        case schema.TextFolder():
            return DatasetFacts("table")
    return DatasetFacts()
