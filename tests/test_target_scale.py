"""One scale for targets: applied before training, inverted for whatever people read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.target_scale import TargetScale

numbers = st.floats(-0.99, 1e6)
scales = st.builds(
    TargetScale,
    mean=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    std=st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e3)),
    log1p=st.booleans(),
)


@given(scale=scales, rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_inverting_gives_back_what_was_applied(scale: TargetScale, rows: list[tuple[float, float]]) -> None:
    targets = np.array(rows)
    assert scale.invert(scale.apply(targets)) == pytest.approx(targets, rel=1e-6, abs=1e-6)


@given(scale=scales, rows=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=5))
def test_tensors_and_arrays_are_inverted_alike(scale: TargetScale, rows: list[tuple[float, float]]) -> None:
    outputs = np.array(rows, np.float32)
    found = scale.invert(torch.from_numpy(outputs))
    assert found.dtype == torch.float64
    with np.errstate(over="ignore"):
        assert found.numpy() == pytest.approx(scale.invert(outputs), rel=1e-12)


def test_the_logarithm_comes_first() -> None:
    scale = TargetScale((1.0,), (2.0,), log1p=True)
    assert scale.apply(np.array([[np.e**3 - 1]])) == pytest.approx(np.array([[1.0]]))
