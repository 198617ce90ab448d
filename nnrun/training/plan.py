"""Which rows each replica takes, step by step, in one epoch.

Replicas step together as long as all of them have a full batch. Folds differ by a row, so at the end some
have a shorter batch, or none: those steps are made by the replicas concerned alone, and nobody is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nnrun.spec.streams import RandomSource

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """Some steps that some replicas make together.

    Attributes:
        places: which of the replicas, by their place in the stack.
        first_row: where in each replica's order the segment starts.
        batch_size: rows per step and replica.
        rows_GN: (G, steps * batch_size) row numbers.
    """

    places: tuple[int, ...]
    first_row: int
    batch_size: int
    rows_GN: RowNumbers

    @property
    def steps(self) -> int:
        """How many steps."""
        return int(self.rows_GN.shape[1]) // self.batch_size

    def split(self, steps: int) -> tuple[Segment, Segment | None]:
        """The first `steps` steps, and the rest if there is one."""
        rows = steps * self.batch_size
        first = replace(self, rows_GN=self.rows_GN[:, :rows])
        if rows == self.rows_GN.shape[1]:
            return first, None
        return first, replace(self, first_row=self.first_row + rows, rows_GN=self.rows_GN[:, rows:])


def epoch_order(rows: RowNumbers, *, shuffle: bool, source: RandomSource, epoch: int) -> RowNumbers:
    """The order of a replica's training rows in one epoch: drawn from (source, epoch) alone."""
    if not shuffle:
        return rows
    rng = np.random.default_rng(source.derive(epoch=epoch, purpose="order of training rows"))
    return rng.permutation(rows)


def segments(orders: Sequence[RowNumbers], batch_size: int, *, rows_at_once: int) -> Iterator[Segment]:
    """Cut the replicas' orders into steps; each row is taken once, by the batch that its order says.

    Args:
        orders: for each replica its rows, in order; lengths may differ.
        batch_size: rows of a full batch.
        rows_at_once: about how many rows of one replica a segment may hold (it bounds memory).
    """
    lengths = [len(order) for order in orders]
    everyone = tuple(range(len(orders)))
    common_steps = min(lengths) // batch_size
    steps_at_once = max(1, rows_at_once // batch_size)
    for first in range(0, common_steps, steps_at_once):
        last = min(first + steps_at_once, common_steps)
        cut = slice(first * batch_size, last * batch_size)
        yield Segment(everyone, cut.start, batch_size, np.stack([order[cut] for order in orders]))
    done = common_steps * batch_size
    while done < max(lengths):
        by_size: dict[int, list[int]] = {}
        for place, length in enumerate(lengths):
            if length > done:
                by_size.setdefault(min(batch_size, length - done), []).append(place)
        for size, places in by_size.items():
            yield Segment(
                tuple(places), done, size, np.stack([orders[p][done : done + size] for p in places])
            )
        done += batch_size
