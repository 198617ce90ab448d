"""A few hundred rows, to try a spec: generated ones in the shape of a data set, or some of a file's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Dataset, Samples, SourceFile, TokenRows
from nnrun.spec.schema import DatasetFacts

TRAIN_ROWS, TEST_ROWS = 256, 64
_DEFAULT_WORDS = 10_000


def generated(
    name: str,
    facts: DatasetFacts,
    *,
    class_names: tuple[str, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """256 training rows and, where the data set has a test set, 64 test rows; the same at each call.

    Every class occurs. Tokens are below the spec's num_words, or below 10,000.
    """
    rng = np.random.RandomState(0)  # its stream is frozen by NumPy's promise, the newer generators' is not
    test_rows = 0 if facts.test_rows == 0 else TEST_ROWS
    rows = TRAIN_ROWS + test_rows
    inputs: TokenRows | npt.NDArray[Any]
    if facts.inputs == "tokens":
        lengths = rng.randint(5, 60, rows)
        words = facts.num_words or _DEFAULT_WORDS
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        inputs = TokenRows(indptr, rng.randint(min(1, words - 1), words, int(indptr[-1])).astype(np.int32))
        content = inputs.tokens.tobytes()
    elif facts.row_shape is not None:
        inputs = rng.randint(0, 256, (rows, *facts.row_shape)).astype(np.uint8)  # images
        content = inputs.tobytes()
    else:
        inputs = rng.normal(5.0, 2.0, (rows, facts.features or 1))
        content = inputs.tobytes()
    if facts.task == "regression":
        targets = rng.normal(20.0, 5.0, rows)
    else:
        targets = rng.permutation(np.arange(rows) % (facts.classes or 2)).astype(np.int64)
    everything = Samples(inputs, targets)
    train, test = np.arange(TRAIN_ROWS), np.arange(TRAIN_ROWS, rows)
    digest = hashlib.sha256(content + targets.tobytes()).hexdigest()
    return Dataset(
        name=name,
        train=everything.take(train),
        test=everything.take(test) if test_rows else None,
        sources=(SourceFile(name, digest, rows, note="generated"),),
        task=facts.task,
        classes=facts.classes,
        class_names=class_names,
        feature_names=feature_names,
        num_words=facts.num_words,
        smoke=True,
    )


def some_rows(
    train: Samples, test: Samples | None, sources: Sequence[SourceFile], note: str
) -> tuple[Samples, Samples | None, list[SourceFile]]:
    """As many rows of a data set as would be generated, evenly spread; the sources with a note of it."""
    chosen, of_test, sources = spread_rows(len(train), 0 if test is None else len(test), sources, note)
    return train.take(chosen), None if test is None else test.take(of_test), sources


def spread_rows(
    train: int, test: int, sources: Sequence[SourceFile], note: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[SourceFile]]:
    """Which of so many training and test rows `some_rows` takes, and the sources with a note of it."""
    chosen, of_test = _spread(train, TRAIN_ROWS), _spread(test, TEST_ROWS)
    rows = len(chosen) + len(of_test)
    return chosen, of_test, [replace(source, rows=min(source.rows, rows), note=note) for source in sources]


def _spread(n_rows: int, wanted: int) -> npt.NDArray[np.int64]:
    if not n_rows:
        return np.zeros(0, np.int64)
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, wanted)).astype(np.int64))
