"""What Keras's loaders for IMDB and Reuters have in common.

The steps and their order are Keras 3's (keras/src/datasets/imdb.py, reuters.py), so that a row here is the
row there.
"""

from __future__ import annotations

import numpy as np

from nnrun.data.archives.download import RemoteFile, fetch, through_cache
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Samples, SourceFile, TokenRows
from nnrun.data.sources.context import LoadContext
from nnrun.data.vocabulary import OFFSET, START, within_limits
from nnrun.errors import DataError

SEED = 113


def read_published(
    remote: RemoteFile, pairs: tuple[tuple[str, str], ...], classes: int, context: LoadContext
) -> tuple[list[Samples], SourceFile]:
    """The (inputs, labels) pairs of one of Keras's files, as they lie in it."""
    path = fetch(remote, context.data_dir, context.on_message)
    samples = []
    with Archive(path) as archive:
        archive.require(*(name for pair in pairs for name in pair))
        for inputs_name, labels_name in pairs:
            inputs = archive.read(inputs_name, tokens=through_cache(archive.sha256, context.on_message))
            labels = archive.numbers(labels_name)
            if not isinstance(inputs, TokenRows):
                raise DataError(f"{path}: the array {inputs_name} holds no token lists.")
            if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
                raise DataError(
                    f"{path}: {labels_name} must hold one whole number for each of the {len(inputs):,} "
                    "rows of "
                    f"{inputs_name}, but has shape {labels.shape} and type {labels.dtype}."
                )
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                raise DataError(
                    f"{path}: {labels_name} holds labels from {labels.min()} to {labels.max()}; "
                    f"they run from 0 to {classes - 1}."
                )
            samples.append(Samples(inputs, labels.astype(np.int64)))
        note = "" if archive.sha256 == remote.digest else "not the published file"
        rows = sum(len(s) for s in samples)
        return samples, SourceFile(remote.name, archive.sha256, rows, str(path), note)


def shuffled(samples: Samples, rng: np.random.RandomState) -> Samples:
    """The samples in the order that `rng` draws next."""
    order = np.arange(len(samples))
    rng.shuffle(order)
    return samples.take(order)


def numbered(samples: Samples) -> Samples:
    """Each row begins with the start token, and words are moved up to make room for the special tokens."""
    assert isinstance(samples.inputs, TokenRows)
    indptr = samples.inputs.indptr
    tokens = np.insert(samples.inputs.tokens + np.int32(OFFSET), indptr[:-1], np.int32(START))
    return Samples(TokenRows(indptr + np.arange(len(indptr)), tokens), samples.targets)


def shorter_than(samples: Samples, maxlen: int | None) -> Samples:
    """The rows with fewer than `maxlen` tokens, the start token counted."""
    if maxlen is None:
        return samples
    assert isinstance(samples.inputs, TokenRows)
    return samples.take(samples.inputs.lengths < maxlen)


def within_vocabulary(samples: list[Samples], num_words: int | None, skip_top: int) -> list[Samples]:
    """Tokens outside [skip_top, num_words) become the unknown token.

    Without num_words Keras takes the largest token for it, so that this one word becomes unknown.
    """
    token_arrays = [s.inputs.tokens for s in samples if isinstance(s.inputs, TokenRows)]
    if num_words is None:
        num_words = max((int(tokens.max()) for tokens in token_arrays if tokens.size), default=0)
    result = []
    for s in samples:
        assert isinstance(s.inputs, TokenRows)
        tokens = within_limits(s.inputs.tokens, num_words, skip_top)
        result.append(Samples(TokenRows(s.inputs.indptr, tokens), s.targets))
    return result


def too_short(name: str, maxlen: int | None) -> DataError:
    """The error for a `maxlen` that leaves no row of some set."""
    return DataError(
        f"{name}: with maxlen: {maxlen} no row is left to train on or to test with. A row is kept when it "
        "has fewer "
        "than maxlen tokens, including its start token. Raise maxlen."
    )
