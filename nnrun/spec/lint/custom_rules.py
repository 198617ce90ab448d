"""What a spec says about custom code. Nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_parts, is_custom_name
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.wording import quoted

_COLUMN = re.compile(r"[A-Za-z_]\w*")


def custom_names_are_importable(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`package.module:name`."""
    for place, part in custom_parts(spec):
        if not is_custom_name(part.object):
            yield Finding(
                (*place, "custom", "object"),
                f"found {quoted(part.object)}; write package.module:name, as in my_losses:focal",
            )
        named = part.name if isinstance(part, schema.CustomMetric) else None
        if named is not None and not _COLUMN.fullmatch(named):
            yield Finding(
                (*place, "custom", "name"),
                f"{quoted(named)} must be a column name: letters, digits and underscores only",
            )


def custom_preprocessing_is_last(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """It takes the columns once they are numbers."""
    steps = spec.preprocessing.inputs
    for position, step in enumerate(steps):
        followers = [other for other in steps[position + 1 :] if not isinstance(other, schema.Custom)]
        if isinstance(step, schema.Custom) and followers:
            yield Finding(
                ("preprocessing", "inputs", position, "custom"),
                f"a custom step takes rows that are numbers already, and {followers[0].kind} follows; "
                "put it last",
            )


RULES: tuple[Rule, ...] = (custom_names_are_importable, custom_preprocessing_is_last)
