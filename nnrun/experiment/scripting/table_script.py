"""The function of a script that prepares rows: the steps of each input, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.new_rows.named_columns import NamedColumn
from nnrun.data.preprocess import FittedColumn, FittedInputs, FittedPreprocessing
from nnrun.data.preprocess.computed_columns import ComputedColumns
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.value_names import number_name
from nnrun.errors import UsageError, printable
from nnrun.experiment.scripting.step_scripts import NUMBER_STEPS, OTHER_STEPS, Learned
from nnrun.spec.ports import Port
from nnrun.spec.wording import quoted


@dataclass(frozen=True, eq=False)
class RowScript:
    """Writes the function that prepares rows.

    Attributes:
        fitted: what was learned.
        named: whether the rows of arrays come in a dictionary by input.
        spellings: how columns write numbers.
        learned: takes what is too long to be written.
    """

    fitted: FittedPreprocessing
    named: bool
    spellings: Spellings
    learned: Learned

    def source(self, name: str) -> str:
        """The text of the function.

        Raises:
            UsageError: a step cannot be written.
        """
        lines = [
            f"def {name}(rows):",
            '    """Rows → the features of each input, float32."""',
        ]
        given: list[str] = []
        for port, inputs in self.fitted.inputs.items():
            variable = "features" if len(self.fitted.inputs) == 1 else f"features_{len(given)}"
            lines += [f"    {line}".rstrip() for line in self._input(port, inputs, variable)]
            given.append(f"finite({variable})")
        return "\n".join([*lines, f"    return ({', '.join(given)},)"])

    def _input(self, port: Port, inputs: FittedInputs, variable: str) -> list[str]:
        if inputs.custom:
            raise UsageError(
                "--format script cannot write the preprocessing step "
                f"{printable(inputs.custom[0].spec.object)}, which is code of your own. To export the "
                "weights, with spec and preprocessing beside them: --format safetensors."
            )
        table, rows = inputs.table, f"rows[{port!r}]" if self.named and not inputs.of_table else "rows"
        if table is None:
            return [f"x = {rows}", *self._steps([inputs.token_step]), f"{variable} = x"]
        if table.of_array and table.numbers is not None:
            return self._array(inputs, rows, variable)
        lines = [] if not table.of_array else [f"array = np.asarray({rows}, np.float64)"]
        lines += [f"{variable} = []"]
        for column in table.ordered:
            place = None if not table.of_array else table.columns.index(column)
            lines += ["", f"# {printable(column.name)}", *self._column(column, place, variable, inputs)]
        return [*lines, f"{variable} = np.column_stack({variable})"]

    def _column(
        self, column: FittedColumn, place: int | None, features: str, inputs: FittedInputs
    ) -> list[str]:
        """One column: what it becomes, and behind it what steps add beside it."""
        number, steps = column.kind == "number", [*column.steps]
        if inputs.token_step is not None:
            steps.append(inputs.token_step)
        beside: list[str] = []
        lines = [f"x = {self._field(column)}" if place is None else f"x = array[:, {place}]"]
        for step in steps:
            if type(step) in NUMBER_STEPS:
                made, added = NUMBER_STEPS[type(step)](step, self.learned)
                if added is not None:
                    beside.append(f"beside_{len(beside)}")
                    lines.append(f"{beside[-1]} = {added}")
                lines += [f"x = {made}"] if made != "x" else []
                continue
            if number and step.form == "category":
                self._refuse_wide(column, step)
                lines.append("x = names_of_numbers(x)")
            lines += self._steps([step], column.name)
            number = step.column_after == "number"
            if not number and step.column_after != "same":
                beside = []
        return [*lines, f"{features} += [{', '.join(['x', *beside])}]"]

    def _steps(self, steps: Sequence[FittedStep | None], column: str | None = None) -> list[str]:
        lines = []
        for step in steps:
            if step is None:
                continue
            if type(step) not in OTHER_STEPS:
                raise self._refused(step, column)
            made, before = OTHER_STEPS[type(step)](step, self.learned)
            lines += [before] if before is not None else []
            lines += [f"x = {made}"]
        return lines

    @staticmethod
    def _refused(step: FittedStep, column: str | None) -> UsageError:
        where = "" if column is None else f" of column {quoted(column)}"
        return UsageError(
            f"--format script cannot write the preprocessing step {step.spec.kind}{where}. To export the "
            "weights, with spec and preprocessing beside them: --format safetensors."
        )

    def _field(self, column: FittedColumn) -> str:
        if column.kind != "number":
            of_truth = ", truth=True" if NamedColumn.of([column]).truth else ""
            return f"name_column(rows, {column.name!r}, MISSING{of_truth})"
        spelling = self.spellings[column.name]
        marks = f", Spelling({spelling.decimal!r}, {spelling.thousands!r}).number"
        marks = "" if spelling.plain else marks
        return f"number_column(rows, {column.name!r}, MISSING{marks})"

    def _refuse_wide(self, column: FittedColumn, step: FittedStep) -> None:
        wide = [level for level in step.known_levels if number_name(float(level)) != level]
        if wide:
            raise UsageError(
                f"--format script cannot write the step {step.spec.kind} of column {quoted(column.name)}: it "
                f"tells {wide[0]} from its neighbours, which no float64 does. Declare the column a category "
                f"(`types: {{{column.name}: category}}`) and train again."
            )

    def _array(self, inputs: FittedInputs, rows: str, variable: str) -> list[str]:
        """All columns of an array at once; those that pass the same steps side by side."""
        table = inputs.table
        assert table is not None, "asked of these"
        assert table.numbers is not None, "and all steps have a formula"
        columns, shape = table.numbers, table.row_shape
        width = len(table.columns)
        lines = [f"x = np.asarray({rows}, np.float64)"]
        if shape is not None:
            lines.append(f"x = x.reshape(-1, {width})  # the same for each position of a row")
        elif not inputs.of_table:
            lines.append(f"x = x.reshape(len(x), {width})")
        if len(columns.groups) == 1 and columns.order is None:
            own = self._group(columns, 0)
            simple = own[-1] == "parts += [x]"
            lines += own[:-1] if simple else ["parts = []", *own, "x = np.hstack(parts)"]
        else:
            lines += ["array, parts = x, []"]
            for place, group in enumerate(columns.groups):
                chosen = self.learned.array(np.asarray(group.places), "columns")
                lines += [f"x = array[:, {chosen}]", *self._group(columns, place)]
            lines += ["x = np.hstack(parts)"]
            if columns.order is not None:
                lines += [f"x = x[:, {self.learned.array(columns.order, 'order')}]"]
        if shape is not None:
            lines.append(f"x = x.reshape(-1, {', '.join(map(str, shape))})")
        return [*lines, f"{variable} = x"]

    def _group(self, columns: ComputedColumns, place: int) -> list[str]:
        group = columns.groups[place]
        lines: list[str] = []
        beside: list[str] = []
        flat = True
        for step in group.steps:
            if type(step) not in NUMBER_STEPS:
                raise self._refused(step, None)
            made, added = NUMBER_STEPS[type(step)](step, self.learned)
            if added is not None:
                beside.append(f"beside_{len(beside)}")
                lines.append(f"{beside[-1]} = {added}")
            lines += [f"x = {made}"] if made != "x" else []
            flat = step.column_after in ("number", "same")
        parts = [
            *(["x"] if flat else ["x.reshape(len(x), -1)"]),
            *(f"{b}.reshape(len(x), -1)" for b in beside),
        ]
        return [*lines, f"parts += [{', '.join(parts)}]"]
