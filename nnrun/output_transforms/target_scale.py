"""What numbers to predict were turned into before training, and how predictions are turned back.

One class for all: the preprocessing applies it, and metrics, predictions, residuals and exports invert it. It
computes with NumPy arrays and with tensors; only these need torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from nnrun.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.generic]
AnyNumbers = TypeVar("AnyNumbers", "Array", "Tensor")


@dataclass(frozen=True)
class QuantileCurve:
    """A piecewise linear curve through quantiles of one target column; beyond its ends it is constant.

    Attributes:
        quantiles: (Q,) in the target's own units, ascending and all different.
        normal: (Q,) the standard normal distribution's value of each one's rank, ascending, all different.
    """

    quantiles: tuple[float, ...]
    normal: tuple[float, ...]


@dataclass(frozen=True)
class TargetScale:
    """log(1 + y) where `log1p`, or the place on a curve, then (y - mean) / std, column by column.

    Attributes:
        mean, std: one for each of K columns; 0 and 1 leave a column as it is.
        log1p: whether the logarithm comes first. Mean and std are then those of the logarithms.
        curves: one for each of K columns, which come first; empty for none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    log1p: bool = False
    curves: tuple[QuantileCurve, ...] = ()

    def apply(self, targets_NK: Array) -> npt.NDArray[np.float64]:
        """(..., K) targets in their own units → float64, as the loss compares them."""
        values = targets_NK.astype(np.float64)
        values = np.log1p(values) if self.log1p else values
        if self.curves:
            values = _along([(curve.quantiles, curve.normal) for curve in self.curves], values)
        return np.asarray((values - np.array(self.mean)) / np.array(self.std))

    def invert(self, outputs_NK: AnyNumbers) -> AnyNumbers:
        """(..., K) outputs of a network → float64, in the targets' own units."""
        if isinstance(outputs_NK, np.ndarray):
            values = outputs_NK.astype(np.float64) * np.array(self.std) + np.array(self.mean)
            with np.errstate(over="ignore"):  # of a network that diverged
                values = np.expm1(values) if self.log1p else values
            if self.curves:
                values = _along([(curve.normal, curve.quantiles) for curve in self.curves], values)
            return np.asarray(values)
        scaled = outputs_NK.double()
        scaled = scaled * scaled.new_tensor(self.std) + scaled.new_tensor(self.mean)
        scaled = scaled.expm1() if self.log1p else scaled
        return self._on_curves(scaled, back=True) if self.curves else scaled

    @property
    def keeps_means(self) -> bool:
        """Whether the mean of scaled numbers is the scaled mean of the numbers."""
        return not (self.log1p or self.curves)

    def mean_in_own_units(self, outputs: Tensor, axis: int) -> Tensor:
        """The mean of a network's outputs along an axis, taken in the targets' own units, scaled again."""
        if self.keeps_means:
            return outputs.mean(axis)
        mean = self.invert(outputs).mean(axis)
        mean = mean.log1p() if self.log1p else mean
        mean = self._on_curves(mean, back=False) if self.curves else mean
        return ((mean - mean.new_tensor(self.mean)) / mean.new_tensor(self.std)).to(outputs.dtype)

    def _on_curves(self, values_NK: Tensor, *, back: bool) -> Tensor:
        """(..., K) float64 numbers on the columns' curves, or with `back` in the targets' own units again."""
        columns = []
        for values, curve in zip(values_NK.unbind(-1), self.curves, strict=True):
            pair = values.new_tensor(curve.quantiles), values.new_tensor(curve.normal)
            columns.append(interpolated(values, *(reversed(pair) if back else pair)))
        return torch.stack(columns, -1)


def one_for_each(scales: Sequence[TargetScale], count: int) -> Sequence[TargetScale]:
    """The scales of `count` replicas, where there is one for all or one for each."""
    return [*scales] * count if len(scales) == 1 else scales


def _along(
    points: Sequence[tuple[Sequence[float], Sequence[float]]], values_NK: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(..., K) each column through the points of its own piecewise linear function; a NaN stays one."""
    columns = [np.interp(values_NK[..., place], xs, ys) for place, (xs, ys) in enumerate(points)]
    return np.stack(columns, -1)


def interpolated(values: Tensor, xs_Q: Tensor, ys_Q: Tensor) -> Tensor:
    """What `np.interp` gives, by a binary search by indexing, which an exported program can do too."""
    if len(xs_Q) == 1:
        return values * 0 + ys_Q[0]
    last = len(xs_Q) - 1
    low = (values * 0).nan_to_num().long()  # the last point that is not above the value, but for the end
    step = 1 << (last.bit_length() - 1)
    while step:
        tried = (low + step).clamp(max=last - 1)
        low = tried.where(xs_Q[tried] <= values, low)
        step //= 2
    x, y = xs_Q[low], ys_Q[low]
    share = ((values - x) / (xs_Q[low + 1] - x)).clamp(0, 1)
    return y + share * (ys_Q[low + 1] - y)
