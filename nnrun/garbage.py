"""Python's search for garbage, put off where many objects are made at once and all of them stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 10_000


@contextmanager
def without_collecting() -> Iterator[None]:
    """Within this, cycles of objects that nobody uses stay in memory."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            # The next search would look through all that was made meanwhile. Where that is much, this moves
            # it to the objects that have lasted, and takes no time; not where somebody has frozen some, to
            # stay so. To count the frozen is to visit each.
            if gc.get_count()[0] > _MANY and gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()
