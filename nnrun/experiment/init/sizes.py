"""How much there is to learn from: what decides between folds and a single split, and the size of the
network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from nnrun.data.targets import UNEVEN

FOLDS: Final = 5
FEW_ROWS: Final = 2_000  # folds below, one validation set from here on
TEST_ROWS: Final = 1_000  # a test set is held back above
HELD_BACK: Final = 0.2


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
    """

    rows: int
    classes: Mapping[str, int] = field(default_factory=dict)
    texts: bool = False
    own_test: bool = False
    outputs: int = 1
    labels: bool = False

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
        """How many; None for a single validation set. No more than the rarest class has rows for."""
        rarest = self.rarest - math.ceil(HELD_BACK * self.rarest) if self.holds_back else self.rarest
        too_many_classes = math.ceil(HELD_BACK * self.train_rows) < len(self.classes)
        return min(FOLDS, rarest) if self.train_rows < FEW_ROWS or too_many_classes else None

    @property
    def uneven(self) -> bool:
        """Whether accuracy would hide how the rarest class fares."""
        return bool(self.classes) and max(self.classes.values()) >= UNEVEN * self.rarest
