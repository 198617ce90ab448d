"""Random streams of several replicas."""

from __future__ import annotations

from collections.abc import Iterable

from nnrun.spec.random_streams import RandomSource


def sources_of(seed: int, replicas: Iterable[int]) -> list[RandomSource]:
    """The sources of the replicas of one seed."""
    return [RandomSource(seed, replica) for replica in replicas]
