"""The function that turns the logits of a network into calibrated ones.

One class for all: it is fitted with NumPy arrays, and predictions and exported programs apply it to tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnrun.output_transforms.target_scale import AnyNumbers, interpolated


@dataclass(frozen=True)
class Calibrator:
    """slope * logit + intercept; or the logit of a curve from logits to probabilities.

    A logit is what comes before a sigmoid or softmax. Division by a temperature T is a slope of 1 / T.

    Attributes:
        slope, intercept: of a straight line; 1 and 0 change nothing.
        curve: in place of it (Q,) logits, ascending and all different, and (Q,) probabilities, none of which
            is 0 or 1; linear between them, constant beyond.
    """

    slope: float = 1.0
    intercept: float = 0.0
    curve: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def logits(self, z: AnyNumbers) -> AnyNumbers:
        """Calibrated logits of any shape, float64. A curve takes those of single sigmoid outputs."""
        if isinstance(z, np.ndarray):
            wide = z.astype(np.float64)
            if self.curve is None:
                return np.asarray(self.slope * wide + self.intercept)
            p = np.interp(wide, *self.curve)
            return np.asarray(np.log(p) - np.log1p(-p))
        exact = z.double()
        if self.curve is None:
            return self.slope * exact + self.intercept
        logits, probabilities = map(exact.new_tensor, self.curve)
        likely = interpolated(exact, logits, probabilities)
        return likely.log() - (-likely).log1p()
