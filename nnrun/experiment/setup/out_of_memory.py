"""Memory that ran out, as a sentence: what was asked for, what there is, what to lower."""

from __future__ import annotations

import re

from nnrun.errors import NnrunError
from nnrun.experiment.setup.free_memory import free_memory

_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
# PyTorch on a CPU and on a GPU, and NumPy: "you tried to allocate 4000000000 bytes", "Tried to allocate
# 2.00 GiB", "Unable to allocate 7.45 GiB for an array with shape (...)".
_ASKED = re.compile(r"allocate (\d+(?:\.\d+)?) (bytes|[KMGT]iB)", re.IGNORECASE)
# "GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is free"
_FREE_ON_GPU = re.compile(r"of which (\d+(?:\.\d+)?) (bytes|[KMGT]iB) is free", re.IGNORECASE)


ADVICE = (
    "Use a smaller batch_size, fewer units, fewer words (num_words) or columns, or fewer folds, seeds or "
    "trials at a time (--fold, --seeds, sweep.together)."
)


def out_of_memory(error: BaseException, needed: int | None = None) -> NnrunError | None:
    """An error of ours for one that says that memory ran out; None for any other.

    PyTorch's own kinds are known by their name and their words, so that nothing is imported at such a moment.

    Args:
        error: what was raised.
        needed: bytes that the whole run was estimated to take, where that is known.
    """
    text = str(error)
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    if not (isinstance(error, MemoryError) or on_gpu or "can't allocate memory" in text):
        return None
    asked, free = _bytes(_ASKED, text), _bytes(_FREE_ON_GPU, text) if on_gpu else free_memory()
    facts = []
    if asked is not None:
        facts.append(f"{in_words(asked)} more was needed at once")
    if free is not None:
        facts.append(f"{in_words(free)} are free{' on the GPU' if on_gpu else ''}")
    if needed is not None:
        facts.append(f"the whole run takes about {in_words(needed)}, in addition to Python and PyTorch")
    known = ", and ".join([", ".join(facts[:-1]), facts[-1]] if facts[1:] else facts)
    told = f"out of memory: {known}" if known else "out of memory"
    return NnrunError(f"{told}. {ADVICE} `nnrun show` shows how much memory a spec takes, and for what.")


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def in_words(number: int) -> str:
    """`12.3 GB`, `812 MB`, `2 kB`."""
    if number >= 1e9:
        return f"{number / 1e9:,.1f} GB"
    return f"{number / 1e6:,.0f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"
