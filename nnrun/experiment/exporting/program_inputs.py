"""What an exported program takes: the rows of each input of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from nnrun.data.dataset import RawInputs
from nnrun.data.preprocess import FittedInputs
from nnrun.data.table import NumberColumn, Table
from nnrun.errors import UsageError, printable
from nnrun.model.standalone import Preprocess
from nnrun.spec.ports import Port
from nnrun.spec.wording import listing


@dataclass(frozen=True, eq=False)
class ProgramInput:
    """An input of a program.

    Attributes:
        port: the networks' input that it is.
        name: what the file calls it.
        fitted: its preprocessing.
        float64: whether raw features are taken as float64 instead of float32.
        by_columns: whether its rows are prepared within the program, of columns that are inputs of their own.
    """

    port: Port
    name: str
    fitted: FittedInputs
    float64: bool
    by_columns: bool = False

    def same_rows(self, other: ProgramInput) -> bool:
        """Whether two networks take the same rows: raw ones of the same columns, or prepared alike."""
        if (self.rows_of, self.row_shape, self.columns) != (other.rows_of, other.row_shape, other.columns):
            return False
        return self.rows_of == "features" or self.fitted == other.fitted

    @property
    def rows_of(self) -> str:
        """What a row is.

        `features` are raw ones, NaN where one is missing. Other rows are made outside: `multi_hot` or `pad`
        of a data set's tokens, `prepared` of columns of which some hold no numbers.
        """
        if self.fitted.table is None:
            assert self.fitted.token_step is not None, "token rows have a step"
            return self.fitted.token_step.kind
        return "prepared" if self.by_columns or self.fitted.table.numbers is None else "features"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row: of raw features, or of a row that is prepared outside."""
        if self.rows_of != "features":
            return self.fitted.shape
        return self.fitted.raw_shape or (self.fitted.n_features or 0,)

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows."""
        return torch.float64 if self.float64 and self.rows_of == "features" else torch.float32

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the raw features, in order; empty where they are no table."""
        if self.fitted.table is None or not self.fitted.of_table or self.rows_of != "features":
            return ()
        return tuple(column.name for column in self.fitted.table.columns)

    def preprocess(self) -> Preprocess | None:
        """What the program computes of the rows first; None where they are prepared outside."""
        table = self.fitted.table
        if table is None or table.numbers is None or self.by_columns:
            return None
        numbers = table.numbers if self.float64 else table.for_float32().numbers
        assert numbers is not None, "the steps are of the same classes"
        compute = partial(numbers.map(torch.from_numpy).compute, xp=torch)
        return compute if len(self.row_shape) == 1 else partial(_at_each_position, compute)

    def example(self) -> torch.Tensor:
        """Rows to trace with. Their number means nothing, but for 0 and 1, which would be taken for fixed."""
        return torch.zeros(3, *self.row_shape, dtype=self.dtype)

    def rows(self, inputs: RawInputs) -> torch.Tensor:
        """Rows of a data set as the program takes them."""
        if self.rows_of != "features":
            return torch.from_numpy(self.fitted.transform(inputs).to_dense())
        if isinstance(inputs, Table):
            columns = [inputs.by_name[name] for name in self.columns]
            inputs = np.stack([c.values for c in columns if isinstance(c, NumberColumn)], axis=1)
        assert isinstance(inputs, np.ndarray), "token rows are prepared outside"
        return torch.from_numpy(np.ascontiguousarray(inputs)).to(self.dtype)

    def refuse_steps_without_program(self) -> None:
        """Raise UsageError where a step can neither be computed in a program nor be left to those who ask."""
        table, token_step = self.fitted.table, self.fitted.token_step
        steps = [] if table is None else [step for column in table.columns for step in column.steps]
        steps += [] if token_step is None else [token_step]
        names = [step.kind for step in steps if step.program is None]
        names += [printable(step.spec.object) for step in self.fitted.custom]
        if names:
            raise UsageError(
                "An exported program cannot contain the preprocessing step "
                f"{listing(list(dict.fromkeys(names)))}. To export the weights, with spec and preprocessing "
                "beside them: --format safetensors."
            )


def _at_each_position(compute: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """(N, ..., C) → the same shape: what is computed of C columns, at each position of each row."""
    return compute(x.flatten(0, -2)).view(x.shape)
