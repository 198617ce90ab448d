"""`nnrun init`: a first spec for a file or a folder, one question a module.

`names` says what a column's name tells, `roles` what the whole column is for (an id, a mark of test rows, a
time), `target` which column to predict, `leaks` which columns tell the target, `inputs` which to learn from,
`validation` how to validate and test, `network` which layers and metrics; `table_spec`, `folder_spec` and
`array_spec` write the YAML with the words of `writing`.
"""
