"""Pairs of handwritten digits: scikit-learn's images, and whether the two of a pair are of one class.

Images are (8, 8), from 0 (white) to 1 (black). In half of the pairs both images show the same digit, and are
two images all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnrun.data.dataset import Array, Dataset, Samples, TargetFacts
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.digit_lines import made_of_digits, two_parts_of_digits
from nnrun.data.sources.generated_rows import TEST_ROWS, TRAIN_ROWS
from nnrun.spec import schema

CLASS_NAMES = ("different", "same")


def load(spec: schema.DigitPairs, context: LoadContext) -> Dataset:
    """The pairs that the seed draws. Test pairs are made of other images than training pairs."""
    rng = np.random.RandomState(np.uint32(spec.seed % 2**32))  # its stream is frozen, unlike the newer ones
    for_training, for_test = two_parts_of_digits(rng)
    rows, test_rows = (TRAIN_ROWS, TEST_ROWS) if context.smoke else (spec.rows, spec.test_rows)
    train, test = _pairs(*for_training, rows, rng), _pairs(*for_test, test_rows, rng)
    facts = TargetFacts("binary", 2, CLASS_NAMES)
    return Dataset(
        name=spec.kind,
        train=_samples(train, context),
        test=_samples(test, context),
        sources=(made_of_digits(spec.kind, [*train.values(), *test.values()], rows + test_rows),),
        task=facts.task,
        classes=facts.classes,
        class_names=facts.class_names,
        smoke=context.smoke,
        targets_of=dict.fromkeys(context.outputs, facts),
    )


def _pairs(images: Array, digits: Array, rows: int, rng: np.random.RandomState) -> Mapping[str, Array]:
    """So many pairs of these images, by the names of their arrays."""
    same = rng.permutation(np.arange(rows) % 2)
    left = rng.randint(0, len(digits), rows)
    right = np.empty(rows, np.int64)
    for row, (place, alike) in enumerate(zip(left, same, strict=True)):
        fitting = (digits == digits[place]) == bool(alike)
        fitting[place] = False
        others = np.flatnonzero(fitting)
        right[row] = others[rng.randint(0, len(others))]
    return {"left": images[left], "right": images[right], "same": same.astype(np.int64)}


def _samples(arrays: Mapping[str, Array], context: LoadContext) -> Samples:
    """The arrays that the inputs and outputs name; without names both images side by side."""
    of_inputs = {port: arrays[name] for port, (name,) in context.inputs.items()}
    side_by_side = np.concatenate([arrays["left"], arrays["right"]], axis=2)
    return Samples(
        next(iter(of_inputs.values()), side_by_side),
        arrays["same"],
        of_inputs=of_inputs,
        of_outputs={port: arrays[name] for port, (name,) in context.outputs.items()},
    )
