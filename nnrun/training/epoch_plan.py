"""Which rows each replica takes, step by step, in one epoch.

Replicas step together as long as all of them have a full batch. Folds of k-fold differ by a row, those of a
time series by many, so that later some have a shorter batch, or none: the steps that are left are made by the
replicas concerned alone, and nobody is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nnrun.replica_rows import RowIndices
from nnrun.spec.random_streams import RandomSource


@dataclass(frozen=True)
class Segment:
    """Some steps that some replicas make together.

    Attributes:
        replicas: which of the replicas, G indices along R.
        first_row: where in each replica's order the segment starts.
        batch_size: rows per step and replica.
        rows_GN: (G, steps * batch_size) row numbers.
    """

    replicas: tuple[int, ...]
    first_row: int
    batch_size: int
    rows_GN: RowIndices

    @property
    def steps(self) -> int:
        """How many steps."""
        return int(self.rows_GN.shape[1]) // self.batch_size


def epoch_order(rows: RowIndices, *, shuffle: bool, source: RandomSource, epoch: int) -> RowIndices:
    """The order of a replica's training rows in one epoch: drawn from (source, epoch) alone."""
    if not shuffle:
        return rows
    rng = np.random.default_rng(source.derive(epoch=epoch, purpose="order of training rows"))
    return rng.permutation(rows)


def segments(orders: Sequence[RowIndices], batch_size: int, *, rows_at_once: int) -> Iterator[Segment]:
    """Cut the replicas' orders into steps; each row is taken once, by the batch that its order says.

    Args:
        orders: for each replica its rows, in order; lengths may differ.
        batch_size: rows of a full batch.
        rows_at_once: about how many rows of one replica a segment may hold (it bounds memory).
    """
    lengths = [len(order) for order in orders]
    steps_at_once = max(1, rows_at_once // batch_size)
    done = 0
    while done < max(lengths):
        full = [replica for replica, length in enumerate(lengths) if length - done >= batch_size]
        shorter: dict[int, list[int]] = {}
        for replica, length in enumerate(lengths):
            if 0 < length - done < batch_size:
                shorter.setdefault(length - done, []).append(replica)
        steps = min([(lengths[replica] - done) // batch_size for replica in full], default=1)
        steps = min(steps, steps_at_once)
        for size, rows, replicas in (
            *(((batch_size, steps * batch_size, full),) if full else ()),
            *((size, size, replicas) for size, replicas in shorter.items()),
        ):
            cut = slice(done, done + rows)
            yield Segment(tuple(replicas), done, size, np.stack([orders[r][cut] for r in replicas]))
        done += steps * batch_size
