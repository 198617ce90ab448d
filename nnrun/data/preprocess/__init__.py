"""Raw samples to the numbers that a network takes.

`fit_inputs` and `fit_outputs` learn what there is to learn from the training rows of a fold, and from nothing
else. What they give back transforms any rows, compares equal to another of the same state, and goes to JSON
and back bit for bit.

`column_steps` says which steps each column of a table passes. Each step is one class, a `FittedStep`, in
`numeric`, `quantile_steps`, `categorical`, `target_mean`, `datetimes`, `texts` or `token_steps`, and a line
in `registry`;
the last two share `ngrams`, which finds runs of words, and `word_weights`, which says what a word counts;
`column_transformer` chains the steps of a column and joins the columns, `computed_columns` computes columns
of numbers together, `array_blocks` goes through arrays that are too large to be copied. `target_encoding` is
for what is predicted; `pipeline` puts all together.
This package imports the rest of `nnrun.data` but its sources, and no torch.
"""

from nnrun.data.preprocess.column_steps import ColumnPlan, plan_columns
from nnrun.data.preprocess.column_transformer import FittedColumn, FittedTable
from nnrun.data.preprocess.pipeline import (
    FittedInputs,
    FittedPreprocessing,
    bytes_of_own_rows,
    column_plans,
    fit_input,
    fit_inputs,
    fit_outputs,
    input_plans,
    share_rows,
)
from nnrun.data.preprocess.target_encoding import loss_of_digits

__all__ = [
    "ColumnPlan",
    "FittedColumn",
    "FittedInputs",
    "FittedPreprocessing",
    "FittedTable",
    "bytes_of_own_rows",
    "column_plans",
    "fit_input",
    "fit_inputs",
    "fit_outputs",
    "input_plans",
    "loss_of_digits",
    "plan_columns",
    "share_rows",
]
