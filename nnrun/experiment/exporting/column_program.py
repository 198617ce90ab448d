"""A program whose inputs are the columns of a table: strings and numbers, each by its name.

N rows, F features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.data.dataset import Array
from nnrun.data.new_rows.named_columns import NamedColumn
from nnrun.data.preprocess import FittedColumn, FittedInputs
from nnrun.data.preprocess.categorical import FittedImputeCategory
from nnrun.data.preprocess.computed_columns import ComputedColumns
from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.table import NumberColumn, Table, as_texts
from nnrun.data.value_names import number_name
from nnrun.errors import UsageError
from nnrun.experiment.exporting.onnx_graph import OnnxGraph, prefix_apart
from nnrun.experiment.exporting.step_programs import ENCODERS, FILLS, REFUSED
from nnrun.experiment.exporting.string_nodes import (
    DATE,
    MISSING,
    RARE,
    UNKNOWN,
    Codes,
    Counts,
    DateFields,
    Front,
    StringGraph,
    Words,
    may_be_odd,
    words_of,
)
from nnrun.spec.wording import quoted

_SOME_WORDS = 4  # to trace with: any number but 0 and 1
_INSTEAD = "To have the preprocessing in a file all the same: --format script."


@dataclass(frozen=True, eq=False)
class ColumnProgram:
    """What one input of a network makes of one column.

    Attributes:
        name: the column's.
        number: whether it holds numbers; else strings.
        steps: in order, the token step too.
        truth: whether its values are True and False.
        float64: whether its numbers are float64.
        key: what the parts that it takes are called by.
    """

    name: str
    number: bool
    steps: tuple[FittedStep, ...]
    truth: bool
    float64: bool
    key: str

    @classmethod
    def of(
        cls, column: FittedColumn, token_step: FittedStep | None, float64: bool, key: str
    ) -> ColumnProgram:
        """Of a column as a network has it.

        Raises:
            UsageError: a step cannot be computed.
        """
        steps = (*column.steps, *([] if token_step is None else [token_step]))
        for step in steps:
            if step.program != "computed" and type(step) not in ENCODERS and type(step) not in FILLS:
                reason = REFUSED.get(type(step), "nobody has written it with ONNX's operators")
                raise UsageError(
                    f"A program in ONNX cannot compute the step {step.spec.kind} of column "
                    f"{quoted(column.name)}: {reason}. {_INSTEAD}"
                )
        made = cls(column.name, column.kind == "number", steps, NamedColumn.of([column]).truth, float64, key)
        made._refuse_numbers_that_float_lacks()
        return made

    @cached_property
    def front(self) -> Front | None:
        """What is asked of the strings; None of a column of numbers."""
        if self.number:
            return None
        fill: str | None = None
        for place, step in enumerate(self.steps):
            if isinstance(step, FittedImputeCategory):
                fill = step.value if fill is None else fill
                continue
            encoder = ENCODERS[type(step)]
            if encoder.levels is not None:
                return Codes(*encoder.levels(step), fill, self.truth)
            assert encoder.front is not None, "token steps follow another"
            after = self.steps[place + 1] if place + 1 < len(self.steps) else None
            return encoder.front(step, after, fill)
        raise AssertionError("the plan ends a column of strings with an encoder")

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """What it takes, by name, with examples of three rows to trace with."""
        if self.front is None:
            dtype = torch.float64 if self.float64 else torch.float32
            return {self.key: torch.zeros(3, 1, dtype=dtype)}
        if isinstance(self.front, DateFields):
            return {self.key: torch.zeros(3, 6, dtype=torch.int64)}
        if isinstance(self.front, Counts):
            found = torch.zeros(3, len(self.front.places))
        else:
            found = torch.zeros(3, 1 if isinstance(self.front, Codes) else _SOME_WORDS, dtype=torch.int64)
        return {self.key: found, f"{self.key}/odd": torch.zeros(3, 1, dtype=torch.bool)}

    def open_sizes(self, rows: str) -> Mapping[str, Mapping[int, str]]:
        """Which sizes of the parts are open: the rows, and of rows of words their number."""
        sizes: dict[str, dict[int, str]] = {name: {0: rows} for name in self.parts}
        if isinstance(self.front, Words):
            sizes[self.key][1] = f"words_{self.key.replace('/', '_')}"
        return sizes

    def compute(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(N, W) float64 features, and (N, 1) which rows `nnrun predict` refuses."""
        x = parts[self.key]
        if self.front is None:
            bad = x.isinf()
            x = x.double()
        elif isinstance(self.front, DateFields):
            bad = torch.zeros_like(x[:, :1], dtype=torch.bool)  # the encoder of dates tells bad ones
        else:
            bad = parts[f"{self.key}/odd"]
        beside: list[Tensor] = []
        encoded = self.front is not None
        for step in self.steps:
            if step.program == "computed":
                before = x
                x, added = _computed(step, x)
                beside += added
                if x.shape == before.shape:
                    bad = bad | (~x.isfinite() & before.isfinite())
                continue
            if isinstance(step, FittedImputeCategory):
                continue  # the codes have its value
            encoder = ENCODERS[type(step)]
            if encoder.levels is not None and not encoded:
                x = self._codes_of_numbers(x, *encoder.levels(step))
            x, wrong = encoder.give(step, x)
            bad = bad if wrong is None else bad | wrong
            encoded = False
            if step.column_after != "number":
                beside = []
        return torch.cat([x, *beside], 1) if beside else x, bad

    def _codes_of_numbers(self, x: Tensor, levels: Sequence[str], rare: Sequence[str]) -> Tensor:
        """(N, 1) codes of a column of numbers."""
        dtype = torch.float64 if self.float64 else torch.float32
        known = torch.tensor([float(level) for level in levels] or [torch.nan], dtype=torch.float64).to(dtype)
        seldom = torch.tensor([float(level) for level in rare] or [torch.nan], dtype=torch.float64).to(dtype)
        own = x.to(dtype)
        at = own == known
        codes = torch.where(at.any(1, keepdim=True), at.int().argmax(1, keepdim=True), UNKNOWN)
        codes = torch.where((own == seldom).any(1, keepdim=True), RARE, codes)
        return torch.where(x.isnan(), MISSING, codes)

    def _refuse_numbers_that_float_lacks(self) -> None:
        """Raise UsageError where numbers that are values are one number in the program's type."""
        if not self.number:
            return
        for step in self.steps:
            encoder = ENCODERS.get(type(step))
            if encoder is None or encoder.levels is None:
                continue
            levels = [level for own in encoder.levels(step) for level in own]
            where = f"column {quoted(self.name)}: the step {step.spec.kind} tells"
            for level in levels:
                if number_name(float(level)) != level:
                    raise UsageError(
                        f"{where} {level} from its neighbours, which no float64 does. {_INSTEAD}"
                    )
            narrow = {float(np.float32(float(level))) for level in levels}
            if not self.float64 and len(narrow) < len(levels):
                raise UsageError(f"{where} numbers apart that are one number in float32; use --float64.")


def _computed(step: FittedStep, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(N, 1) through a step with a formula: what the column becomes, and what stands beside it."""
    found = ComputedColumns.of([(step,)]).map(torch.from_numpy).compute(x, torch)
    width = step.width
    return found[:, :width], [found[:, width:]] if step.width_beside else []


@dataclass(frozen=True, eq=False)
class TableProgram:
    """What one input of a network makes of the columns.

    Attributes:
        columns: in the order of their features.
    """

    columns: tuple[ColumnProgram, ...]

    @classmethod
    def of(cls, fitted: FittedInputs, float64: bool, key: str) -> TableProgram:
        """Of an input that takes a table; errors as of `ColumnProgram.of`."""
        table = fitted.table
        assert table is not None, "a table was fitted"
        table = table if float64 else table.for_float32()
        return cls(
            tuple(
                ColumnProgram.of(column, fitted.token_step, float64, f"{key}/{place}")
                for place, column in enumerate(table.ordered)
            )
        )

    def compute(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(N, F) float32 features, and (N, 1) which rows `nnrun predict` refuses."""
        features, bad = zip(*(column.compute(parts) for column in self.columns), strict=True)
        x = torch.cat([part.float() for part in features], 1)
        wrong = torch.cat(bad, 1).any(1, keepdim=True) | ~x.isfinite().all(1, keepdim=True)
        return torch.where(wrong, 0.0, x), wrong


class ColumnsNetwork(nn.Module):
    """A network, or several, behind the tables that it takes.

    Rows that `nnrun predict` refuses give NaN.

    Args:
        network: takes a dictionary of prepared rows by name; gives one of predictions by output, or the only
            output's.
        tables: what prepares each of them.
    """

    def __init__(self, network: nn.Module, tables: Mapping[str, TableProgram]) -> None:
        super().__init__()
        self._network, self._tables = network, dict(tables)

    def forward(self, parts: dict[str, Tensor]) -> Any:
        """(N, ...) parts of all columns → predictions."""
        rows, bad = {}, []
        for name, table in self._tables.items():
            rows[name], wrong = table.compute(parts)
            bad.append(wrong)
        refused = torch.cat(bad, 1).any(1)
        found = self._network(rows)
        if isinstance(found, dict):
            return {port: _where_taken(refused, outputs) for port, outputs in found.items()}
        return _where_taken(refused, found)


def _where_taken(refused: Tensor, outputs: Tensor) -> Tensor:
    return torch.where(refused.view(-1, *[1] * (outputs.dim() - 1)), torch.nan, outputs)


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a program.

    Attributes:
        tables: what prepares each of the rows that the networks take, by its name.
        missing: strings that mean a missing value.
    """

    tables: Mapping[str, TableProgram]
    missing: frozenset[str]

    @cached_property
    def programs(self) -> Sequence[ColumnProgram]:
        """Of all tables."""
        return [column for table in self.tables.values() for column in table.columns]

    @cached_property
    def names(self) -> Mapping[str, bool]:
        """The names of the columns that are taken, and whether they hold numbers."""
        return {column.name: column.number for column in self.programs}

    def examples(self) -> dict[str, Tensor]:
        """The parts to trace with."""
        return {name: part for column in self.programs for name, part in column.parts.items()}

    def open_sizes(self, rows: str) -> Mapping[str, Mapping[int, str]]:
        """Which sizes of the parts are open, with a name for each."""
        return {name: sizes for column in self.programs for name, sizes in column.open_sizes(rows).items()}

    def write(self, graph: OnnxGraph) -> dict[str, str]:
        """Write what strings become, and give the value of each part by the part's name."""
        strings, found = StringGraph(graph, self.missing), dict[str, str]()
        for column in self.programs:
            if column.front is None:
                found[column.key] = column.name
                continue
            found[column.key] = strings.compute(column.name, column.front)
            if not isinstance(column.front, DateFields):
                found[f"{column.key}/odd"] = strings.odd(column.name, column.front)
        return found

    def put_before(self, model: Any) -> None:
        """Have an ONNX model take the columns in place of the parts, which it now computes itself."""
        graph = OnnxGraph(prefix_apart(self.names))
        for part, value in self.write(graph).items():
            graph.give(value, part)
        nodes = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*graph.nodes, *nodes])
        model.graph.initializer.extend(graph.initializers)

    def may_be_unanswered(self, table: Table) -> Array:
        """(N,) bool: rows with a text of which `StringGraph.odd` may say that it is one.

        It is asked of Python, and names some more rows: all with a mark that is a character of its own.
        """
        found = np.zeros(table.n_rows, bool)
        for column in self.programs:
            if column.front is None or (given := table.by_name.get(column.name)) is None:
                continue
            values = as_texts(given).values
            if isinstance(column.front, DateFields):
                found |= [value is not None and not re.fullmatch(DATE, value.strip()) for value in values]
                continue
            lower = not isinstance(column.front, Codes) and words_of(column.front).lower
            found |= [value is not None and may_be_odd(value, lower) for value in values]
        return found

    def rows(self, table: Table, float64: bool) -> dict[str, Array]:
        """What a program takes of a table: columns of (N, 1), NaN or "" where a value is missing.

        An input's table has the columns of that input.
        """
        found: dict[str, Array] = {}
        for name, number in self.names.items():
            if (column := table.by_name.get(name)) is None:
                continue
            if number:
                assert isinstance(column, NumberColumn), "as in training"
                found[name] = column.values.astype(np.float64 if float64 else np.float32)[:, None]
            else:
                values = as_texts(column).values
                found[name] = np.array(["" if value is None else value for value in values], object)[:, None]
        return found
