"""`nnrun init`: a first spec for a file or a folder, one question a module.

`names` and `target_names` say what a column's name tells, `value_patterns` what its values tell, `roles` what
the whole column is for (an id, a mark of test rows, a time), `likely_target` which column to predict,
`target` whether as classes or a number, `leaks` which columns tell the target, `input_columns` which to learn
from, `validation` how to validate and test, `network_lines` which layers and metrics, `several_outputs` those
of several targets; `table_spec`, `folder_spec` and `array_spec` put the spec together with the words of
`writing`.
"""
