"""How much there is to learn from: what decides between folds and a single split, and the size of the
network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from nnrun.data.targets import UNEVEN

FOLDS: Final = 5
FOLDS_OF_A_TABLE: Final = ((300, 10), (1_000, 8), (5_000, 5))
"""From how many training rows on a table has how many folds, where its networks are averaged."""
FEW_ROWS: Final = 2_000  # folds below, one validation set from here on
TEST_ROWS: Final = 1_000  # a test set is held back above
HELD_BACK: Final = 0.2
MEASURED_ROWS: Final = (300, 50_000)
"""The tables of `tests/benchmarks/tables.py`, on which the network of a table was chosen."""


@dataclass(frozen=True)
class Sizes:
    """How much there is to learn from.

    Attributes:
        rows: with a target, in the file or in the training folder.
        classes: class → its rows; empty for regression.
        texts: the inputs are texts, and hardly anything else.
        own_test: the test set is said otherwise: a folder, a file, or rows that a column marks.
        outputs: numbers to predict for each row, or labels.
        labels: the outputs are labels, each 0 or 1.
        columns: the inputs are columns of a table; else an array, texts of a folder or images.
    """

    rows: int
    classes: Mapping[str, int] = field(default_factory=dict)
    texts: bool = False
    own_test: bool = False
    outputs: int = 1
    labels: bool = False
    columns: bool = False

    @property
    def measured(self) -> bool:
        """Whether this is a table like those that the wider network, its training and its folds were measured
        on: numbers and categories, of 300 to 50,000 training rows."""
        fewest, most = MEASURED_ROWS
        return self.columns and not self.texts and fewest <= self.train_rows <= most

    @property
    def rarest(self) -> int:
        """Rows of the rarest class; of all rows for regression."""
        return min(self.classes.values(), default=self.rows)

    @property
    def holds_back(self) -> bool:
        """Whether some rows are to be the test set: of more than 1,000, so that each class can be in it."""
        enough = self.rarest >= 3 and math.ceil(HELD_BACK * self.rows) >= len(self.classes)
        return self.rows > TEST_ROWS and enough and not self.own_test

    @property
    def train_rows(self) -> int:
        """Rows that are left to train and validate on."""
        held = math.ceil(HELD_BACK * self.rows) if self.holds_back else 0
        return max(1, self.rows - held)

    @property
    def folds(self) -> int | None:
        """How many; None for a single validation set. No more than the rarest class has rows for.

        A table has folds up to 50,000 rows: the average of their networks predicts better than any of them.
        """
        rarest = self.rarest - math.ceil(HELD_BACK * self.rarest) if self.holds_back else self.rarest
        too_many_classes = math.ceil(HELD_BACK * self.train_rows) < len(self.classes)
        few = self.train_rows < FEW_ROWS
        return min(self.wanted_folds, rarest) if few or self.measured or too_many_classes else None

    @property
    def wanted_folds(self) -> int:
        """How many folds there are, if each class has rows for so many."""
        able = [k for rows, k in FOLDS_OF_A_TABLE if self.measured and self.train_rows >= rows]
        return able[-1] if able else FOLDS

    @property
    def uneven(self) -> bool:
        """Whether accuracy would hide how the rarest class fares."""
        return bool(self.classes) and max(self.classes.values()) >= UNEVEN * self.rarest
