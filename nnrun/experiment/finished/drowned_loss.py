"""Outputs whose losses are so different in size that one is all that a shared trunk learns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from nnrun.records.run_record import DrownedLoss
from nnrun.spec import schema
from nnrun.spec.ports import loss_weights
from nnrun.spec.wording import quoted

_DROWNS: Final = 100


def drowned_loss(spec: schema.ExperimentSpec, rows: Iterable[Mapping[str, float]]) -> DrownedLoss | None:
    """The smallest and the largest weighted loss, where the one is more than 100 times the other; else None.

    A loss that is negative, zero or not finite is not compared, nor one with a weight of 0, which only
    watches.

    Args:
        spec: of several outputs.
        rows: of each network the columns of one epoch.
    """
    rows = list(rows)
    sizes = {
        name: weight * sum(row[f"{name}_loss"] for row in rows) / len(rows)
        for name, weight in loss_weights(spec).items()
        if spec.outputs and rows
    }
    sizes = {name: size for name, size in sizes.items() if size > 0 and math.isfinite(size)}
    if not sizes:
        return None
    small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[large] <= _DROWNS * sizes[small]:
        return None
    output = spec.outputs[large]
    plain = output.preprocessing is None or isinstance(output.preprocessing, schema.NoTargetStep)
    return DrownedLoss(
        output=small,
        loss=sizes[small],
        by=large,
        by_loss=sizes[large],
        loss_weight=output.loss_weight * sizes[small] / sizes[large],
        standardize=plain and schema.takes_standardized(output.loss),
    )


def drowned_text(found: DrownedLoss | None) -> str:
    """What was found, the rule, and what to write; empty where no loss is drowned."""
    if found is None:
        return ""
    step = "preprocessing: standardize, or " if found.standardize else ""
    return (
        f"In the first epoch the weighted loss of {quoted(found.by)} was {found.by_loss:.4g}, that of "
        f"{quoted(found.output)} {found.loss:.4g}: one that is more than {_DROWNS} times another drowns it, "
        f"and {quoted(found.output)} is hardly learned. Write {step}loss_weight: {found.loss_weight:.1g} "
        f"into the output {quoted(found.by)}."
    )
