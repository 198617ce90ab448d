"""A trained network as one PyTorch module: raw rows in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.model.network import Network
from nnrun.output_transforms.calibrator import Calibrator
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec.ports import Port

Preprocess = Callable[[Tensor], Tensor]

_NONE: Mapping[Port, None] = MappingProxyType({})


class StandaloneNetwork(nn.Module):
    """What a run's network computes, its preprocessing inside.

    Args:
        network: the architecture.
        weights: as a weights file has them.
        preprocess: for an input, (N, C) raw float64 numbers, NaN where one is missing → (N, F) features, or
            rows with more axes → rows of the same shape; None where its rows are prepared outside.
        targets: for an output, what its targets were scaled by; its predictions are turned back.
        calibrators: for an output, what calibrates its logits.
        named_inputs: whether `forward` takes a dictionary of rows by input, else the only input's rows.
        named_outputs: whether it gives a dictionary of predictions by output, else the only output's.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, np.ndarray],
        preprocess: Mapping[Port, Preprocess | None] = _NONE,
        targets: Mapping[Port, TargetScale | None] = _NONE,
        calibrators: Mapping[Port, Calibrator | None] = _NONE,
        *,
        named_inputs: bool = False,
        named_outputs: bool = False,
    ) -> None:
        super().__init__()
        self._network = network
        self._buffer_names = _buffer_names(network)
        for name, value in network.stack([weights]).items():
            self.register_buffer(self._buffer_names[name], value)
        self._preprocess, self._target_scales = dict(preprocess), dict(targets)
        self._calibrators = dict(calibrators)
        self._named_inputs, self._named_outputs = named_inputs, named_outputs

    def forward(self, rows: Tensor | dict[Port, Tensor]) -> Tensor | dict[Port, Tensor]:
        """(N, C) raw rows, (N, ...) where they have more axes → (N, K) float32, (N, T, K) of T steps.

        Outputs are probabilities after a sigmoid or softmax, else numbers.

        Preprocessing and calibration are computed in float64 and rounded once, as in training.
        """
        if self._named_inputs:
            assert isinstance(rows, dict), "the rows of each input by its name"
            taken = rows
        else:
            assert isinstance(rows, Tensor), "the rows of the only input"
            taken = dict.fromkeys(self._network.inputs, rows)
        inputs = {port: self._prepared(port, taken[port])[None] for port in self._network.inputs}
        parameters = {name: self.get_buffer(buffer) for name, buffer in self._buffer_names.items()}
        logits = self._network.forward(parameters, inputs)
        outputs = {port: self._predictions(port, logits[port]) for port in self._network.outputs}
        return outputs if self._named_outputs else next(iter(outputs.values()))

    def _prepared(self, port: Port, rows: Tensor) -> Tensor:
        preprocess = self._preprocess.get(port)
        return (rows if preprocess is None else preprocess(rows.to(torch.float64))).to(torch.float32)

    def _predictions(self, port: Port, logits: Tensor) -> Tensor:
        scale = self._target_scales.get(port)
        z = self._network.combined(port, logits, None if scale is None else (scale,))
        calibrator = self._calibrators.get(port)
        outputs = self._network.activate(port, z if calibrator is None else calibrator.logits(z))[0]
        return (outputs if scale is None else scale.invert(outputs)).to(torch.float32)


class AveragedNetworks(nn.Module):
    """The mean of what several networks give for the same rows, as one module.

    Args:
        networks: each takes a dictionary of rows by its inputs, and gives one of predictions by output.
        inputs: for each network, input of it → the name of the rows that this module takes for it. Networks
            that prepare the same raw rows share a name.
        named_inputs: whether `forward` takes a dictionary of rows by these names, else the only rows.
        named_outputs: whether it gives a dictionary of predictions by output, else the only output's.
    """

    def __init__(
        self,
        networks: Sequence[StandaloneNetwork],
        inputs: Sequence[Mapping[Port, str]],
        *,
        named_inputs: bool = False,
        named_outputs: bool = False,
    ) -> None:
        super().__init__()
        self._networks, self._inputs = nn.ModuleList(networks), [dict(own) for own in inputs]
        self._named_inputs, self._named_outputs = named_inputs, named_outputs

    def forward(self, rows: Tensor | dict[str, Tensor]) -> Tensor | dict[Port, Tensor]:
        """Rows as each network takes them → (N, K) float32, summed in float64."""
        given = []
        for network, own in zip(self._networks, self._inputs, strict=True):
            taken = {port: rows[name] if isinstance(rows, dict) else rows for port, name in own.items()}
            given.append(network(taken))
        means = {
            port: torch.stack([outputs[port] for outputs in given])
            .to(torch.float64)
            .mean(0)
            .to(torch.float32)
            for port in given[0]
        }
        return means if self._named_outputs else next(iter(means.values()))


def _buffer_names(network: Network) -> dict[str, str]:
    """For each array of weights the name of its buffer, which may hold no point and is that of no other."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in network.weights:
        buffer = name.replace(".", "_")
        while buffer in taken:  # a layer within `a`, and one of `a_1`
            buffer += "_"
        found[name] = buffer
        taken.add(buffer)
    return found
