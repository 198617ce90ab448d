"""Calibrators: tensors and arrays give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnrun.output_transforms.calibrator import Calibrator

CURVE = ((-2.0, 0.0, 0.5, 3.0), (0.1, 0.1, 0.6, 0.95))


@pytest.mark.parametrize(
    "calibrator",
    [Calibrator(), Calibrator(0.5, -1.0), Calibrator(curve=CURVE), Calibrator(curve=((0.0,), (0.3,)))],
)
def test_tensors_and_arrays_agree(calibrator: Calibrator) -> None:
    z = np.linspace(-5, 5, 101)[:, None]
    found = calibrator.logits(torch.from_numpy(z))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), calibrator.logits(z), rtol=1e-12, atol=1e-14)


def test_a_curve_is_linear_between_its_points_and_constant_beyond() -> None:
    z = np.array([-9.0, -1.0, 0.25, 0.5, 9.0])
    p = 1 / (1 + np.exp(-Calibrator(curve=CURVE).logits(z)))
    assert p == pytest.approx([0.1, 0.1, 0.35, 0.6, 0.95])
