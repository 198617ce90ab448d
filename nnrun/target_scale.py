"""What numbers to predict were turned into before training, and how predictions are turned back.

One class for all: the preprocessing applies it, and metrics, predictions, residuals and exports invert it. It
computes with NumPy arrays and with tensors, and imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.generic]
AnyNumbers = TypeVar("AnyNumbers", "Array", "Tensor")


@dataclass(frozen=True)
class TargetScale:
    """log(1 + y) where `log1p`, then (y - mean) / std, column by column.

    Attributes:
        mean, std: one for each of K columns; 0 and 1 leave a column as it is.
        log1p: whether the logarithm comes first. Mean and std are then those of the logarithms.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    log1p: bool = False

    def apply(self, targets_NK: Array) -> npt.NDArray[np.float64]:
        """(..., K) targets in their own units → float64, as the loss compares them."""
        values = targets_NK.astype(np.float64)
        values = np.log1p(values) if self.log1p else values
        return np.asarray((values - np.array(self.mean)) / np.array(self.std))

    def invert(self, outputs_NK: AnyNumbers) -> AnyNumbers:
        """(..., K) outputs of a network → float64, in the targets' own units."""
        if isinstance(outputs_NK, np.ndarray):
            values = outputs_NK.astype(np.float64) * np.array(self.std) + np.array(self.mean)
            with np.errstate(over="ignore"):  # of a network that diverged
                return np.asarray(np.expm1(values) if self.log1p else values)
        scaled = outputs_NK.double()
        scaled = scaled * scaled.new_tensor(self.std) + scaled.new_tensor(self.mean)
        return scaled.expm1() if self.log1p else scaled

    @property
    def keeps_means(self) -> bool:
        """Whether the mean of scaled numbers is the scaled mean of the numbers."""
        return not self.log1p

    def mean_in_own_units(self, outputs: Tensor, axis: int) -> Tensor:
        """The mean of a network's outputs along an axis, taken in the targets' own units, scaled again."""
        if self.keeps_means:
            return outputs.mean(axis)
        mean = self.invert(outputs).mean(axis).log1p()
        return ((mean - mean.new_tensor(self.mean)) / mean.new_tensor(self.std)).to(outputs.dtype)
