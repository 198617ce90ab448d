"""Whether the column that a sweep compares its trials by means the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnrun.spec import schema
from nnrun.spec.comparing.comparable_scores import (
    other_measure,
    other_rows,
    other_split,
    scored_on_rows_of_its_own,
)
from nnrun.spec.ports import output_views
from nnrun.spec.score_columns import validated_columns
from nnrun.spec.wording import listing
from nnrun.spec.writing.value_labels import value_label

Specs = Sequence[schema.ExperimentSpec]


@dataclass(frozen=True)
class Incomparable:
    """A swept key that changes what the scores of trials measure.

    Attributes:
        key: the key; `seed` also where another key is the reason that the seed matters.
        message: why, and what to do.
        is_chance: the scores measure the same, but on rows that were drawn anew.
    """

    key: str
    message: str
    is_chance: bool = False


def not_comparable(first: schema.ExperimentSpec, other: schema.ExperimentSpec, monitor: str) -> str | None:
    """Why a validated column cannot rank two specs; None where it can."""
    rows = other_rows(first, other) or other_split(first, other)
    if rows is not None:
        return f"{rows}, so they are not validated on the same rows"
    return other_measure(first, other, monitor.removeprefix("val_"))


def incomparable_trials(
    monitor: str,
    specs: Specs,
    values: Sequence[Mapping[str, Any]],
    changed: Callable[[int, str], schema.ExperimentSpec | None],
) -> list[Incomparable]:
    """The swept keys that make the trials' scores incomparable, each once.

    Args:
        monitor: the column that ranks the trials.
        specs: of the trials.
        values: of the trials: swept key → value.
        changed: the place of a trial and a key → the first trial's spec with that value of that trial; None
            where this is no valid spec.
    """
    first, found = specs[0], dict[str, Incomparable]()
    for place, spec in enumerate(specs[1:], start=1):
        reason = not_comparable(first, spec, monitor)
        if reason is None:
            continue
        different = [key for key in values[0] if values[0][key] != values[place][key]]
        alone = [
            key
            for key in different
            if (one := changed(place, key)) is not None and not_comparable(first, one, monitor)
        ]
        for key in alone or different:
            if key not in found:
                pair = listing([value_label(values[at][key]) for at in (0, place)], "and")
                message = (
                    f"{monitor} cannot rank trials with {key} {pair}: {reason}. {_advice(specs, monitor)}"
                )
                found[key] = Incomparable(key, message)
        if len(found) == len(values[0]):
            break
    if found:
        return [found[key] for key in values[0] if key in found]
    return _drawn_anew(specs)


def _drawn_anew(specs: Specs) -> list[Incomparable]:
    if not any(scored_on_rows_of_its_own(specs[0], spec) for spec in specs[1:]):
        return []
    message = (
        "the seed draws the validation rows, so trials with different seeds are scored on different rows: "
        "part of the difference between them is chance"
    )
    return [Incomparable("seed", message, is_chance=True)]


def _advice(specs: Specs, monitor: str) -> str:
    """How to compare these trials instead."""
    first, *others = specs
    if any(other_rows(first, spec) or other_split(first, spec) for spec in others):
        return "No score compares them: leave this key out of the sweep"
    shared = [
        column
        for column in validated_columns(first)
        if column != monitor
        and all(
            column in validated_columns(spec) and not_comparable(first, spec, column) is None
            for spec in others
        )
    ]
    if shared:
        also = f" (so does {listing(shared[1:], 'and')})" if shared[1:] else ""
        return f"{shared[0]} means the same in all trials{also}; {_compare_by(shared[0])}"
    losses = [view.own_loss for spec in specs for view in output_views(spec).values()]
    # One that suits the targets, whatever the losses are.
    metric = "accuracy" if any(isinstance(loss, schema.ClassLoss) for loss in losses) else "mae"
    return (
        f"No score of these trials means the same in all; add a metric, such as `metrics: [{metric}]`, and "
        f"{_compare_by(f'val_{metric}')}"
    )


def _compare_by(column: str) -> str:
    return f"compare by it: --monitor {column}, or `sweep: {{monitor: {column}}}`"
