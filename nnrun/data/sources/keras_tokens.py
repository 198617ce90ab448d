"""IMDB and Reuters as Keras publishes them: film reviews and newswires as rows of word indices.

The steps and their order are those of Keras 3's loaders (keras/src/datasets/imdb.py, reuters.py), so that a
row here is the row there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnrun.data.archives.download import (
    IMDB,
    IMDB_WORDS,
    REUTERS,
    REUTERS_WORDS,
    RemoteFile,
    fetch,
    find,
    how_to_get,
    through_cache,
)
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Array, Dataset, Samples, SourceFile, TokenRows
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.data.vocabulary import (
    OFFSET,
    SENTIMENTS,
    START,
    TOPICS,
    Vocabulary,
    make_vocabulary,
    read_word_index,
    within_limits,
)
from nnrun.errors import DataError
from nnrun.spec import schema

SEED = 113
_Part = tuple[TokenRows, Array]
"""Rows and their labels."""


def load(spec: schema.Imdb | schema.Reuters, context: LoadContext) -> Dataset:
    """The rows as `keras.datasets.<name>.load_data` gives them.

    Of IMDB 25,000 rows to train on and 25,000 to test with, as in its file; of Reuters the last fifth of its
    11,228 rows is the test set.
    """
    facts, class_names = spec.facts, SENTIMENTS if isinstance(spec, schema.Imdb) else TOPICS
    if context.smoke:
        return generated(spec.kind, facts, class_names=class_names)
    if isinstance(spec, schema.Imdb):
        parts, source = _read(IMDB, (("x_train", "y_train"), ("x_test", "y_test")), 2, context)
    else:
        parts, source = _read(REUTERS, (("x", "y"),), len(TOPICS), context)
    rng = np.random.RandomState(SEED)
    parts = [_of_loader(rows, labels, rng, spec.maxlen) for rows, labels in parts]
    if isinstance(spec, schema.Reuters):
        ((rows, labels),) = parts
        first_test = int(len(rows) * (1 - spec.test_fraction))
        sides = (np.arange(first_test), np.arange(first_test, len(rows)))
        parts = [(rows.take(side), labels[side]) for side in sides]
    if not all(len(rows) for rows, _ in parts):
        raise DataError(
            f"{spec.kind}: with maxlen: {spec.maxlen} no row is left to train on or to test with. A row is "
            "kept when it has fewer than maxlen tokens, including its start token. Raise maxlen."
        )
    # Without num_words Keras takes the largest token for it, so that this one word becomes unknown.
    limit = spec.num_words or max(int(rows.tokens.max(initial=0)) for rows, _ in parts)
    train, test = (
        Samples(TokenRows(rows.indptr, within_limits(rows.tokens, limit, spec.skip_top)), labels)
        for rows, labels in parts
    )
    return Dataset(
        name=spec.kind,
        train=train,
        test=test,
        sources=(source,),
        task=facts.task,
        classes=len(class_names),
        class_names=class_names,
        num_words=spec.num_words,
    )


def _read(
    remote: RemoteFile, pairs: tuple[tuple[str, str], ...], classes: int, context: LoadContext
) -> tuple[list[_Part], SourceFile]:
    """The (rows, labels) pairs of one of Keras's files, as they lie in it."""
    path = fetch(remote, context.data_dir, context.on_message)
    parts = []
    with Archive(path) as archive:
        archive.require(*(name for pair in pairs for name in pair))
        for rows_name, labels_name in pairs:
            rows = archive.read(rows_name, tokens=through_cache(archive.sha256, context.on_message))
            labels = archive.numbers(labels_name)
            if not isinstance(rows, TokenRows):
                raise DataError(f"{path}: the array {rows_name} holds no token lists.")
            if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
                raise DataError(
                    f"{path}: {labels_name} must hold one whole number for each of the {len(rows):,} rows of "
                    f"{rows_name}, but has shape {labels.shape} and type {labels.dtype}."
                )
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                raise DataError(
                    f"{path}: {labels_name} holds labels from {labels.min()} to {labels.max()}; "
                    f"they run from 0 to {classes - 1}."
                )
            parts.append((rows, labels.astype(np.int64)))
        note = "" if archive.sha256 == remote.digest else "not the published file"
        n_rows = sum(len(rows) for rows, _ in parts)
        return parts, SourceFile(remote.name, archive.sha256, n_rows, str(path), note)


def _of_loader(rows: TokenRows, labels: Array, rng: np.random.RandomState, maxlen: int | None) -> _Part:
    """The rows shuffled, each with the start token before it and its words moved up to make room for the
    special tokens; those with fewer than `maxlen` tokens, the start token counted."""
    order = np.arange(len(rows))
    rng.shuffle(order)
    rows, labels = rows.take(order), labels[order]
    tokens = np.insert(rows.tokens + np.int32(OFFSET), rows.indptr[:-1], np.int32(START))
    rows = TokenRows(rows.indptr + np.arange(len(rows.indptr)), tokens)
    if maxlen is None:
        return rows, labels
    short = np.flatnonzero(rows.lengths < maxlen)
    return rows.take(short), labels[short]


def published_vocabulary(declared: schema.Component, width: int, data_dir: Path | None) -> Vocabulary | None:
    """The vocabulary of a data set with words; None for one without. Nothing is downloaded.

    Args:
        declared: the data set as the spec has it.
        width: the number that all tokens are below which a network sees.
        data_dir: where data files are looked for first.

    Raises:
        DataError: the published index of words is not on this machine, or damaged.
    """
    if not isinstance(declared, schema.Imdb | schema.Reuters):
        return None
    remote = IMDB_WORDS if isinstance(declared, schema.Imdb) else REUTERS_WORDS
    path = find(remote, data_dir)
    if path is None:
        raise DataError(f"{remote.name} is not on this machine.\n{how_to_get(remote, data_dir)}")
    index = read_word_index(path)
    return make_vocabulary(index, num_words=declared.num_words, skip_top=declared.skip_top, width=width)
