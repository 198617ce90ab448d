"""A trained network as one PyTorch module: raw rows in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.model.network import Network


@dataclass(frozen=True)
class Scale:
    """(x - mean) / std, column by column; mean 0 and std 1 leave a column as it is."""

    mean: Sequence[float]
    std: Sequence[float]


class StandaloneNetwork(nn.Module):
    """What a run's network computes, its preprocessing inside.

    Args:
        network: the architecture.
        weights: as a weights file has them.
        inputs: scales that raw features go through, in order.
        outputs: the scale that targets went through; predictions come back from it.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, np.ndarray],
        inputs: Sequence[Scale] = (),
        outputs: Scale | None = None,
    ) -> None:
        super().__init__()
        self._network = network
        self._names = tuple(network.weights)
        for name, value in network.stack([weights]).items():
            self.register_buffer(_buffer_name(name), value)
        self._scales = len(inputs)
        for i, scale in enumerate(inputs):
            self._register_scale(f"input_{i}", scale)
        self._rescales = outputs is not None
        if outputs is not None:
            self._register_scale("output", outputs)

    def _register_scale(self, name: str, scale: Scale) -> None:
        self.register_buffer(f"{name}_mean", torch.tensor(scale.mean, dtype=torch.float64))
        self.register_buffer(f"{name}_std", torch.tensor(scale.std, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, F) raw rows → (N, K) float32: probabilities after a sigmoid or softmax, else numbers.

        Scales are computed in float64 and rounded once, as in training.
        """
        x = rows
        if self._scales:
            x = x.to(torch.float64)
            for i in range(self._scales):
                x = (x - self.get_buffer(f"input_{i}_mean")) / self.get_buffer(f"input_{i}_std")
        x = x.to(torch.float32)
        parameters = {name: self.get_buffer(_buffer_name(name)) for name in self._names}
        outputs = self._network.activate(self._network.forward(parameters, x[None]))[0]
        if self._rescales:
            outputs = outputs.to(torch.float64) * self.get_buffer("output_std") + self.get_buffer(
                "output_mean"
            )
        return outputs.to(torch.float32)


def _buffer_name(parameter: str) -> str:
    """A buffer's name may hold no point."""
    return parameter.replace(".", "_")
