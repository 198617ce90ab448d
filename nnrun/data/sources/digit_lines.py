"""Lines of handwritten digits: scikit-learn's images glued side by side, to read with `loss: ctc`.

A row is (32, 8): the columns of pixels from left to right, each from the top, from 0 (white) to 1 (black).
Lines have two to four digits; what is left over is white. A target is the digits of a line as classes, d + 1
for the digit d, filled up with 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from nnrun.data.dataset import Array, Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import TEST_ROWS, TRAIN_ROWS
from nnrun.data.sources.sklearn_tables import read_sklearn_table, sklearn_version
from nnrun.spec import schema

_SIZE, _BLACK = 8, 16  # pixels of an image's side; scikit-learn's darkest
_FEWEST, _MOST = 2, 4
_TEST_SHARE = 5  # a fifth of the images, which no training line has


def load(spec: schema.DigitLines, context: LoadContext) -> Dataset:
    """The lines that the seed draws. Test lines are made of other images than training lines."""
    rng = np.random.RandomState(np.uint32(spec.seed % 2**32))  # its stream is frozen, unlike the newer ones
    for_training, for_test = two_parts_of_digits(rng)
    rows, test_rows = (TRAIN_ROWS, TEST_ROWS) if context.smoke else (spec.rows, spec.test_rows)
    train, test = _lines(*for_training, rows, rng), _lines(*for_test, test_rows, rng)
    arrays = [np.asarray(part) for samples in (train, test) for part in (samples.inputs, samples.targets)]
    return Dataset(
        name=spec.kind,
        train=train,
        test=test,
        sources=(made_of_digits(spec.kind, arrays, rows + test_rows),),
        class_names=tuple(map(str, range(10))),
        smoke=context.smoke,
    )


def two_parts_of_digits(rng: np.random.RandomState) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """scikit-learn's images (N, 8, 8), from 0 to 1, with their digits (N,): four fifths, and the others."""
    table = read_sklearn_table("digits")
    order = rng.permutation(len(table.targets))
    images = table.inputs[order].reshape(-1, _SIZE, _SIZE).astype(np.float32) / _BLACK
    digits = table.targets[order].astype(np.int64)
    first = len(order) // _TEST_SHARE
    return (images[first:], digits[first:]), (images[:first], digits[:first])


def made_of_digits(name: str, arrays: Iterable[Array], rows: int) -> SourceFile:
    """The record of so many rows that were made of these images."""
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return SourceFile(name, digest, rows, note=f"generated from {sklearn_version()}")


def _lines(images: Array, digits: Array, rows: int, rng: np.random.RandomState) -> Samples:
    """So many lines of these images."""
    lengths = rng.randint(_FEWEST, _MOST + 1, rows)
    chosen = rng.randint(0, len(digits), (rows, _MOST))
    glued = images[chosen].transpose(0, 1, 3, 2)  # (rows, digits, columns, pixels from the top)
    there = np.arange(_MOST) < lengths[:, None]
    glued = np.where(there[:, :, None, None], glued, np.float32(0)).reshape(rows, _MOST * _SIZE, _SIZE)
    targets = np.where(there, digits[chosen] + 1, 0).astype(np.int64)
    return Samples(np.ascontiguousarray(glued), targets)
