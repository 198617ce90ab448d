"""What becomes of each column of a table: its steps, and how many features it gives."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.data import Dataset, FittedPreprocessing
from nnrun.data.preprocess import plan_columns
from nnrun.data.preprocess.column_steps import kind_of
from nnrun.data.table import Table
from nnrun.spec import schema
from nnrun.spec.step_types import TOKEN_STEPS
from nnrun.spec.writing.dump import flow_text


@dataclass(frozen=True)
class PlannedColumn:
    """A column of the inputs.

    Attributes:
        name, kind: as the data set has them.
        steps: that the column passes, as a spec would have them, without their columns.
        default: whether no step of the spec took the column, so that these are the default.
        features: how many it gives.
        sparse: whether they are kept sparse.
    """

    name: str
    kind: str
    steps: tuple[str, ...]
    default: bool
    features: int
    sparse: bool


def column_plan(
    spec: schema.ExperimentSpec, dataset: Dataset, fitted: FittedPreprocessing
) -> tuple[PlannedColumn, ...]:
    """The plan of each column, its features as one network's training rows gave them; empty for no table."""
    table = dataset.train.inputs
    if not isinstance(table, Table) or fitted.table is None:
        return ()
    kinds = [(column.name, kind_of(column)) for column in table.columns]
    steps = spec.preprocessing.inputs
    own = [step for step in steps if not isinstance(step, schema.Custom)]  # those take the row as a whole
    after = [_step(step) for step in steps if isinstance(step, (*TOKEN_STEPS, schema.Custom))]
    return tuple(
        PlannedColumn(
            plan.name,
            plan.kind,
            (*(_step(step) for step in plan.steps), *after),
            plan.by_default,
            fitted.width if fitted.tokens is not None else column.width,
            column.sparse or fitted.tokens is not None,
        )
        for plan, column in zip(plan_columns(own, kinds, dataset.name), fitted.table.columns, strict=True)
    )


def _step(step: schema.Component) -> str:
    """`impute: {strategy: median, indicator: true}`."""
    alone: dict[str, object] = {
        name: None for name in ("columns", "column") if name in type(step).model_fields
    }
    text = flow_text(step.model_copy(update=alone))
    return text[1:-1] if text.startswith("{") else text
