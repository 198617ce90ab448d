"""A sweep's method against what it has to try, and the column that its trials are compared by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, prod
from typing import Any

from nnrun.spec import schema
from nnrun.spec.lint.finding import Finding
from nnrun.spec.reading.grammar import Location
from nnrun.spec.score_columns import ranking_column, validated_columns
from nnrun.spec.wording import listing, nearest, quoted

MAX_TRIALS = 10_000
"""More are a mistake: they would take weeks, and be checked for a minute."""


def _at(key: str, *more: str) -> Location:
    return ("sweep", "over", key, *more)


def there_is_something_to_try(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """No list is empty, and the sweep does not vary itself."""
    for key, values in sweep.over.items():
        if values == []:
            yield Finding(_at(key), "an empty list: there is nothing to try; write the values, or remove it")
        if any(path.partition(".")[0] == "sweep" for path in schema.swept_paths(key)):
            yield Finding(_at(key), "a sweep does not vary itself; remove this key")


def ranges_rise(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """The first number of a range is below the second."""
    for key, values in sweep.over.items():
        if isinstance(values, schema.Component) and not values.range[0] < values.range[1]:
            low, high = values.range
            said = f"a range goes from a lower to a higher number; found {low:g} to {high:g}"
            yield Finding(_at(key, values.kind, "range"), said)


def values_differ(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """No value stands twice in a list: its trials would be the same."""
    for key, values in sweep.over.items():
        if isinstance(values, list):
            for place, value in enumerate(values):
                # 1 == True in Python, and they are two values here.
                if any(value == other and type(value) is type(other) for other in values[:place]):
                    shown = f"{quoted(str(value))} is in the list twice"
                    yield Finding(_at(key), f"{shown}; the trials would be the same, so keep one of them")
                    break


def method_suits(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """A grid needs lists, and the other methods a number of trials."""
    size = prod(map(_how_many, sweep.over.values()))
    if sweep.method == "grid":
        for key, values in sweep.over.items():
            if isinstance(values, schema.Component):
                low, high = values.range
                yield Finding(
                    _at(key, values.kind),
                    f"a grid tries each value of a list, and {values.kind} is a range; write a list such as "
                    f"[{low:g}, {high:g}], or set `method: random` and `trials`",
                )
        if sweep.trials is not None:
            said = "a grid tries every combination; remove trials, or set `method: random`"
            yield Finding(("sweep", "trials"), said)
        elif size > MAX_TRIALS:
            yield Finding(
                ("sweep", "over"),
                f"this grid has {size:,.0f} trials, and at most {MAX_TRIALS:,} are allowed; set "
                "`method: random` and `trials`",
            )
    elif sweep.trials is None:
        yield Finding(("sweep", "method"), f"{sweep.method} needs the number of trials; add `trials: 20`")
    elif sweep.trials > MAX_TRIALS:
        yield Finding(("sweep", "trials"), f"at most {MAX_TRIALS:,} trials are allowed")
    elif sweep.trials > size:
        yield Finding(
            ("sweep", "trials"),
            f"there are {size:,.0f} combinations, too few for {sweep.trials:,} different trials; set "
            "`method: grid` to try all",
        )


def only_a_grid_is_shuffled(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """The trials of the other methods have an order of their own."""
    if sweep.shuffle and sweep.method != "grid":
        said = f"shuffle is for the order of a grid, and {sweep.method} has its own; remove it"
        yield Finding(("sweep", "shuffle"), said)


def trials_can_be_compared(spec: schema.ExperimentSpec, sweep: schema.Sweep) -> Iterator[Finding]:
    """There is a validated column to compare by. Whether it means the same in all trials is asked of them."""
    columns = validated_columns(spec)
    if not columns:
        said = (
            "a sweep compares its trials on validation rows, and validation is none; set validation, such as "
        )
        yield Finding(("sweep",), f"{said}`validation: holdout`")
        return
    monitor = sweep.monitor or ranking_column(spec)
    if monitor not in columns:
        match = nearest(str(monitor), columns)
        hint = f"; did you mean {quoted(match)}?" if match else "."
        message = f"no validated column is called {quoted(str(monitor))}{hint}"
        yield Finding(("sweep", "monitor"), f"{message} A run has {listing(columns, 'and')}")


def _how_many(values: list[Any] | schema.Component) -> float:
    """How many different values there are to try."""
    if isinstance(values, list):
        return len(values)
    if isinstance(values, schema.IntUniform):
        low, high = values.range
        return max(high - low + 1, 1)  # another rule says that a range rises
    return inf


RULES: tuple[Callable[[schema.ExperimentSpec, schema.Sweep], Iterator[Finding]], ...] = (
    there_is_something_to_try,
    ranges_rise,
    values_differ,
    method_suits,
    only_a_grid_is_shuffled,
    trials_can_be_compared,
)
