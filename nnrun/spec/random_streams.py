"""Seeds for every random stream, each derived from (seed, replica, epoch, purpose) and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def derive_seed(seed: int, *, replica: int = 0, epoch: int = 0, purpose: str) -> int:
    """A 63-bit seed for one random stream: the same words give the same seed, on every machine.

    Streams of different words are independent for every practical purpose (63 bits of BLAKE2b), so that an
    epoch boundary is a complete state, and a replica does not know who trains beside it.

    Args:
        seed: the spec's seed.
        replica: which fold or member of an ensemble, from 0.
        epoch: which epoch, from 1; 0 for what happens before the first.
        purpose: what the numbers are for, such as `weights`, `order`, `dropout` or `splits`.
    """
    # `purpose` comes last, so that no two lists of words can be spelled alike.
    words = f"{int(seed)},{int(replica)},{int(epoch)},{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class RandomSource:
    """Where one replica's random streams come from: folds differ by `replica`, repeated runs by `seed`."""

    seed: int
    replica: int = 0

    def derive(self, *, epoch: int = 0, purpose: str) -> int:
        """A 63-bit seed for one of the replica's streams."""
        return derive_seed(self.seed, replica=self.replica, epoch=epoch, purpose=purpose)
