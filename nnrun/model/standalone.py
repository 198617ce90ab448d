"""A trained network as one PyTorch module: raw rows in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.model.network import Network
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.target_scale import TargetScale


@dataclass(frozen=True)
class Scale:
    """(x - mean) / std, column by column; mean 0 and std 1 leave a column as it is."""

    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class NumberStep:
    """One step of each column of a table: missing values filled, log(1 + x) where `log`, then scaled.

    Each has a value for each of C columns; `fill` NaN leaves missing values missing, mean 0 and std 1 leave
    a column as it is.
    """

    fill: Sequence[float]
    log: Sequence[bool]
    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class NumberColumns:
    """The steps of a table of numbers.

    Attributes:
        steps: in order.
        indicators: (step, column) of each indicator: 1 where the column is missing before that step.
        order: for each feature its place among the C columns and the indicators behind them.
    """

    steps: Sequence[NumberStep]
    indicators: Sequence[tuple[int, int]]
    order: Sequence[int]


class StandaloneNetwork(nn.Module):
    """What a run's network computes, its preprocessing inside.

    Args:
        network: the architecture.
        weights: as a weights file has them.
        inputs: scales that raw features go through, in order.
        outputs: the scale that targets went through; predictions come back from it.
        columns: the steps of a table of numbers, instead of `inputs`.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, np.ndarray],
        inputs: Sequence[Scale] = (),
        outputs: TargetScale | None = None,
        columns: NumberColumns | None = None,
    ) -> None:
        super().__init__()
        self._network = network
        self._names = tuple(network.weights)
        for name, value in network.stack([weights]).items():
            self.register_buffer(_buffer_name(name), value)
        self._scales = len(inputs)
        for i, scale in enumerate(inputs):
            self._register_scale(f"input_{i}", scale)
        self._columns = None if columns is None else _TableOfNumbers(columns)
        self._target_scale = outputs

    def _register_scale(self, name: str, scale: Scale) -> None:
        self.register_buffer(f"{name}_mean", torch.tensor(scale.mean, dtype=torch.float64))
        self.register_buffer(f"{name}_std", torch.tensor(scale.std, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, F) raw rows → (N, K) float32: probabilities after a sigmoid or softmax, else numbers.

        Scales are computed in float64 and rounded once, as in training.
        """
        x = rows if self._columns is None else self._columns(rows)
        if self._scales:
            x = x.to(torch.float64)
            for i in range(self._scales):
                x = (x - self.get_buffer(f"input_{i}_mean")) / self.get_buffer(f"input_{i}_std")
        x = x.to(torch.float32)
        parameters = {name: self.get_buffer(_buffer_name(name)) for name in self._names}
        logits = self._network.forward(parameters, {INPUT: x[None]})[OUTPUT]
        outputs = self._network.activate(OUTPUT, logits)[0]
        if self._target_scale is not None:
            outputs = self._target_scale.invert(outputs)
        return outputs.to(torch.float32)


class _TableOfNumbers(nn.Module):
    """(N, C) raw numbers, NaN where one is missing → (N, F) float64 features."""

    def __init__(self, columns: NumberColumns) -> None:
        super().__init__()
        self._steps, self._indicators = len(columns.steps), tuple(columns.indicators)
        for i, step in enumerate(columns.steps):
            for name in ("fill", "mean", "std"):
                values = torch.tensor(getattr(step, name), dtype=torch.float64)
                self.register_buffer(f"{name}_{i}", values)
            self.register_buffer(f"log_{i}", torch.tensor(step.log))
        self.register_buffer("order", torch.tensor(columns.order))

    def forward(self, rows: Tensor) -> Tensor:
        """The features, as training has them."""
        x = rows.to(torch.float64)
        indicators = []
        for i in range(self._steps):
            missing = torch.isnan(x)
            indicators += [missing[:, c].to(torch.float64) for step, c in self._indicators if step == i]
            x = torch.where(missing, self.get_buffer(f"fill_{i}"), x)
            x = torch.where(self.get_buffer(f"log_{i}"), torch.log1p(x), x)
            x = (x - self.get_buffer(f"mean_{i}")) / self.get_buffer(f"std_{i}")
        x = torch.cat([x, *(indicator[:, None] for indicator in indicators)], dim=1)
        return x[:, self.get_buffer("order")]


def _buffer_name(parameter: str) -> str:
    """A buffer's name may hold no point."""
    return parameter.replace(".", "_")
