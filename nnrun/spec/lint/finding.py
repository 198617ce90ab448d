"""What a lint rule says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts, ExperimentSpec


@dataclass(frozen=True)
class Finding:
    """A combination that type-checks and cannot be meant (an error), or is doubtful (a warning).

    Attributes:
        location: the place in the schema, `("layers", 0, "dense", "units")`.
        message: what was found, why it cannot be, what to write instead.
        severity: as of a `Problem`.
    """

    location: Location
    message: str
    severity: Literal["error", "warning"] = "error"


Rule = Callable[[ExperimentSpec, DatasetFacts], Iterator[Finding]]
