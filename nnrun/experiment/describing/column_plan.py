"""What becomes of each column of a table: its steps, and how many features it gives."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.data import Dataset, FittedPreprocessing
from nnrun.data.preprocess import column_plans
from nnrun.spec import schema
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
    if fitted.table is None or not fitted.of_table:
        return ()
    steps = spec.preprocessing.inputs  # the last ones may take the row as a whole
    after = [_step(step) for step in steps if isinstance(step, schema.Custom) or step.takes == ("tokens",)]
    return tuple(
        PlannedColumn(
            plan.name,
            plan.kind,
            (*(_step(step) for step in plan.steps), *after),
            plan.by_default,
            fitted.width if fitted.tokens is not None else column.width,
            column.sparse or fitted.tokens is not None,
        )
        for plan, column in zip(column_plans(spec.preprocessing, dataset), fitted.table.columns, strict=True)
    )


def _step(step: schema.Component) -> str:
    """`impute: {strategy: median, indicator: true}`."""
    alone: dict[str, object] = {
        name: None for name in ("columns", "column") if name in type(step).model_fields
    }
    text = flow_text(step.model_copy(update=alone))
    return text[1:-1] if text.startswith("{") else text
