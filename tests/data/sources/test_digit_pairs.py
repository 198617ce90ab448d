"""Pairs of digits: half of them of one class, and none of a test image's pairs to train on."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from nnrun.data import load_dataset
from nnrun.data.dataset import Dataset, Samples
from nnrun.spec import schema

INPUTS = {"first": ("left",), "second": ("right",)}


def named(**keys: int) -> Dataset:
    return load_dataset(schema.DigitPairs(**keys), inputs=INPUTS, outputs={"alike": ("same",)})


def images_of(samples: Samples) -> set[bytes]:
    """Every image in the pairs, as bytes."""
    return {image.tobytes() for images in samples.of_inputs.values() for image in np.asarray(images)}


def test_the_target_says_whether_both_images_show_one_digit() -> None:
    dataset = named(rows=60, test_rows=20)
    digits = load_digits()
    known = {
        (image.astype(np.float32) / 16).tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    assert dataset.test is not None
    for samples, rows in ((dataset.train, 60), (dataset.test, 20)):
        left, right = (np.asarray(samples.of_inputs[port]) for port in INPUTS)
        assert left.shape == right.shape == (rows, 8, 8)
        alike = [known[a.tobytes()] == known[b.tobytes()] for a, b in zip(left, right, strict=True)]
        assert samples.targets.tolist() == alike
        assert sum(alike) == rows // 2
        assert not (left == right).all((1, 2)).any(), "a pair of one image with itself"
    assert not images_of(dataset.train) & images_of(dataset.test)


def test_inputs_and_outputs_name_the_arrays() -> None:
    dataset = named(rows=9, test_rows=3)
    assert list(dataset.train.of_inputs) == ["first", "second"]
    assert dataset.train.inputs is dataset.train.of_inputs["first"]
    assert list(dataset.train.of_outputs) == list(dataset.targets_of) == ["alike"]
    assert (dataset.task, dataset.classes, dataset.class_names) == ("binary", 2, ("different", "same"))


def test_without_names_a_row_is_both_images_side_by_side() -> None:
    plain, pairs = load_dataset(schema.DigitPairs(rows=9, test_rows=3)), named(rows=9, test_rows=3)
    both = np.concatenate([np.asarray(images) for images in pairs.train.of_inputs.values()], axis=2)
    assert np.array_equal(plain.train.inputs, both)
    assert both.shape[1:] == schema.DigitPairs().facts.row_shape == (8, 16)
    assert plain.sources == pairs.sources


def test_a_seed_draws_the_same_pairs_again() -> None:
    one, again, other = (named(rows=9, test_rows=1, seed=seed) for seed in (1, 1, 2))
    assert one.sources[0].sha256 == again.sources[0].sha256 != other.sources[0].sha256
    assert np.array_equal(one.train.targets, again.train.targets)
