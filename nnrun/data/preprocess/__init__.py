"""Raw samples to the numbers that a network takes.

`fit_preprocessing` learns what there is to learn from the training rows of a fold, and from nothing else.
What it gives back transforms any rows, compares equal to another of the same state, and goes to JSON and back
bit for bit.

`plan` says which steps each column of a table passes; `numbers`, `categories` and `texts` hold the steps of
one column, `columns` chains them; `arrays` and `tokens` are for inputs without named columns; `targets` for
what is predicted; `whole` puts all together.
"""

from nnrun.data.preprocess.arrays import FittedStandardize
from nnrun.data.preprocess.column_steps import ColumnPlan, plan_columns
from nnrun.data.preprocess.column_transformer import FittedColumn, FittedTable, rows_by_line
from nnrun.data.preprocess.pipeline import FittedPreprocessing, fit_preprocessing
from nnrun.data.preprocess.target_encoding import (
    FittedClassIndex,
    FittedNoTarget,
    FittedOneHot,
    FittedTargetScale,
    TargetState,
    loss_of_digits,
)
from nnrun.data.preprocess.tokens import FittedMultiHot, multi_hot

__all__ = [
    "ColumnPlan",
    "FittedClassIndex",
    "FittedColumn",
    "FittedMultiHot",
    "FittedNoTarget",
    "FittedOneHot",
    "FittedPreprocessing",
    "FittedStandardize",
    "FittedTable",
    "FittedTargetScale",
    "TargetState",
    "fit_preprocessing",
    "loss_of_digits",
    "multi_hot",
    "plan_columns",
    "rows_by_line",
]
