"""A trained network as one PyTorch module: raw rows in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.model.network import Network
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.target_scale import TargetScale


class StandaloneNetwork(nn.Module):
    """What a run's network computes, its preprocessing inside.

    Args:
        network: the architecture.
        weights: as a weights file has them.
        preprocess: (N, C) raw float64 numbers, NaN where one is missing → (N, F) features, or rows with more
            axes → rows of the same shape; None where rows are prepared outside.
        targets: what the targets were scaled by; predictions are turned back.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, np.ndarray],
        preprocess: Callable[[Tensor], Tensor] | None = None,
        targets: TargetScale | None = None,
    ) -> None:
        super().__init__()
        self._network = network
        self._names = tuple(network.weights)
        for name, value in network.stack([weights]).items():
            self.register_buffer(_buffer_name(name), value)
        self._preprocess = preprocess
        self._target_scale = targets

    def forward(self, rows: Tensor) -> Tensor:
        """(N, C) raw rows, (N, ...) where they have more axes → (N, K) float32.

        Outputs are probabilities after a sigmoid or softmax, else numbers.

        Preprocessing is computed in float64 and rounded once, as in training.
        """
        x = rows if self._preprocess is None else self._preprocess(rows.to(torch.float64))
        parameters = {name: self.get_buffer(_buffer_name(name)) for name in self._names}
        logits = self._network.forward(parameters, {INPUT: x.to(torch.float32)[None]})[OUTPUT]
        outputs = self._network.activate(OUTPUT, logits)[0]
        if self._target_scale is not None:
            outputs = self._target_scale.invert(outputs)
        return outputs.to(torch.float32)


def _buffer_name(parameter: str) -> str:
    """A buffer's name may hold no point."""
    return parameter.replace(".", "_")
