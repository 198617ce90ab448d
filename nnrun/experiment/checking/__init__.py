"""`nnrun data check`: what is wrong with data, each finding with its evidence and with what to do.

`check` goes through all questions. `rows` brings the training and test rows of any data set into one form;
`identical_rows`, `column_findings` and `split_findings` compute without a model, `model_findings` and
`labels` with the quick ones of `quick_models`. `at_once` is what `nnrun init` says of a table.
"""
