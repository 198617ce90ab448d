"""Lines of digits that are glued together."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from nnrun.data import load_dataset
from nnrun.data.dataset import Samples
from nnrun.sequences import lists_of
from nnrun.spec import schema


def images_of(samples: Samples) -> set[bytes]:
    """Every image in the lines, as bytes."""
    found = set()
    for row, label in zip(np.asarray(samples.inputs), lists_of(samples.targets), strict=True):
        for place in range(len(label)):
            found.add(row[8 * place : 8 * place + 8].tobytes())
    return found


def test_lines_are_images_side_by_side_with_their_digits() -> None:
    dataset = load_dataset(schema.DigitLines(rows=50, test_rows=20))
    digits = load_digits()
    known = {
        np.ascontiguousarray(image.T.astype(np.float32) / 16).tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    assert dataset.test is not None
    lengths = set()
    for samples, rows in ((dataset.train, 50), (dataset.test, 20)):
        assert np.asarray(samples.inputs).shape == (rows, 32, 8)
        for row, label in zip(np.asarray(samples.inputs), lists_of(samples.targets), strict=True):
            found = [known[row[8 * p : 8 * p + 8].tobytes()] + 1 for p in range(len(label))]
            assert found == label
            assert not row[8 * len(label) :].any()
            lengths.add(len(label))
    assert lengths == {2, 3, 4}
    assert dataset.class_names == tuple("0123456789")
    assert not images_of(dataset.train) & images_of(dataset.test)


def test_a_seed_draws_the_same_lines_again() -> None:
    one, again, other = (
        load_dataset(schema.DigitLines(rows=9, test_rows=1, seed=seed)) for seed in (1, 1, 2)
    )
    assert one.sources[0].sha256 == again.sources[0].sha256 != other.sources[0].sha256
    assert np.array_equal(one.train.targets, again.train.targets)
