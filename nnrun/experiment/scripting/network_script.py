"""A network as a module of PyTorch, written out: the text of its class, and the arrays that it holds."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.errors import UsageError
from nnrun.experiment.scripting.layer_script import Array, LayerScript, Weights, activated
from nnrun.experiment.scripting.layer_scripts import LAYER_SCRIPTS
from nnrun.experiment.scripting.merge_scripts import MERGE_SCRIPTS, merged_mask
from nnrun.experiment.scripting.sequence_scripts import mask_script, of_several
from nnrun.lazy_torch import torch
from nnrun.model.layers import DenseLayer, Layer, MergeLayer
from nnrun.model.network import Network
from nnrun.spec import schema
from nnrun.spec.graph import Source
from nnrun.spec.ports import Port


@dataclass(frozen=True)
class NetworkScript:
    """What a script says of a network.

    Attributes:
        source: the text of the class `Network`. Its `forward` takes the rows of each input in order, and
            gives the values before the last activation of each output, one behind the other.
        states: of each member of an ensemble, or of the only one, the arrays by their names in the class.
    """

    source: str
    states: Sequence[Mapping[str, Array]]


def network_script(
    network: Network,
    weights: Mapping[str, Array],
    scripts: Mapping[type[schema.Component], Callable[[Any, Weights], LayerScript]] = LAYER_SCRIPTS,
    *,
    only_output: bool = False,
) -> NetworkScript:
    """Write a network out.

    Args:
        network: it.
        weights: as a weights file has them.
        scripts: what each layer becomes.
        only_output: give the values of the only output by themselves, not in a tuple.

    Raises:
        UsageError: a layer cannot be written.
    """
    states = []
    source = ""
    for arrays in _of_members(network, weights):
        writer = _Writer(network, arrays, scripts, only_output)
        source = writer.source()
        states.append(writer.state)
    return NetworkScript(source, states)


def _of_members(network: Network, weights: Mapping[str, Array]) -> list[Mapping[str, Array]]:
    """The arrays of each member of an ensemble, with the kernels that members share multiplied out."""
    if network.members is None:
        return [weights]
    stacked = {
        name: torch.from_numpy(weight.from_file(weights[name]))[None]
        for name, weight in network.weights.items()
    }
    unfolded = network.members.unfolded(network.layers, stacked)
    own = {name: weight for layer in network.layers for name, weight in layer.weights.items()}
    return [
        {
            name: own[name].to_file(value[member if len(value) > 1 else 0].numpy())
            for name, value in unfolded.items()
        }
        for member in range(network.members.count)
    ]


def identifier(name: str) -> str:
    """A name of a spec as one of Python."""
    found = re.sub(r"\W", "_", name)
    return f"layer_{found}" if keyword.iskeyword(found) or not found.isidentifier() else found


class _Writer:
    """Writes the class line by line."""

    def __init__(
        self, network: Network, weights: Mapping[str, Array], scripts: Mapping[Any, Any], only_output: bool
    ) -> None:
        self.network, self.weights = network, weights
        self.scripts, self.only_output = scripts, only_output
        self.state: dict[str, Array] = {}
        self.made: dict[str, str] = {}
        self.lines: list[str] = []
        self.values: dict[Source, str] = {}
        self.masks: dict[Source, str | None] = {}
        self.in_a_row = len(network.inputs) == 1 and all(
            node.sources == ((i - 1,) if i else tuple(network.inputs)) for i, node in enumerate(network.nodes)
        )
        self._taken: set[str] = {"self", "mask"}

    def source(self) -> str:
        """The text of the class."""
        ports = list(self.network.inputs)
        for port in ports:
            self.values[port] = "x" if len(ports) == 1 else self._new(f"{port}_rows")
        logits = {self.network.outputs[port]: port for port in self.network.outputs}
        given: dict[Port, str] = {}
        takers = {source for node in self.network.nodes for source in node.sources}
        for index in range(len(self.network.nodes)):
            if index in logits:
                given[logits[index]] = self._output(index, index in takers)
            else:
                self._node(index)
        shapes = ", ".join(
            f"{self.values[port]} {('N', *self.network.inputs[port])}".replace("'", "") for port in ports
        )
        returned = ", ".join(given[port] for port in self.network.outputs)
        only = self.only_output
        kind = "torch.Tensor" if only else "tuple[torch.Tensor, ...]"
        inputs = ", ".join(f"{self.values[port]}: torch.Tensor" for port in ports)
        init = [f"        self.{name} = {made}" for name, made in self.made.items()]
        return "\n".join(
            [
                "class Network(nn.Module):",
                f'    """Of {shapes}. It gives the values before the last activation."""',
                "",
                "    def __init__(self) -> None:",
                "        super().__init__()",
                *init,
                "",
                f"    def forward(self, {inputs}) -> {kind}:",
                *(f"        {line}" for line in self.lines),
                f"        return {returned}" if only or len(given) > 1 else f"        return ({returned},)",
            ]
        )

    def _new(self, name: str) -> str:
        name = identifier(name)
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _variable(self, index: int) -> str:
        if self.in_a_row:
            return "x"
        return self._new(self.network.nodes[index].layer.path)

    def _script(self, layer: Any, sources: Sequence[Source]) -> tuple[LayerScript, str]:
        """What a layer becomes, and the name of its module."""
        weights = Weights(self.weights, layer.weights_path, self.masks.get(sources[0]) is not None)
        if type(layer.spec) not in self.scripts:
            raise UsageError(
                f"--format script cannot write the layer {layer.spec.kind} (layer {layer.path}). To export "
                "the weights: --format safetensors."
            )
        if len(sources) > 1:
            taken = [self.values[source] for source in sources]
            script = of_several(layer, weights, taken, [self.masks.get(source) for source in sources])
        else:
            script = self.scripts[type(layer.spec)](layer, weights)
        # Layers that share weights are one module; of those without any each has its own random numbers.
        path = layer.weights_path if script.arrays else layer.path
        name = identifier(f"layer_{path}" if self.in_a_row else path)
        name = f"layer_{name}" if hasattr(torch.nn.Module, name) else name
        if script.made:
            self.made.setdefault(name, script.made)
            for key, value in script.arrays.items():
                self.state[f"{name}.{key}" if key else name] = np.asarray(value)
        return script, name

    def _taken_by(self, layer: Layer[Any], source: Source) -> str:
        """What a layer takes; images of one channel may lack that axis."""
        node = None if isinstance(source, str) else self.network.nodes[source].layer
        shape = self.network.inputs[source] if node is None else node.output_shape  # type: ignore[index]
        lacks = len(layer.input_shape) == len(shape) + 1
        return f"{self.values[source]}.unsqueeze(-1)" if lacks else self.values[source]

    def _node(self, index: int) -> None:
        node = self.network.nodes[index]
        layer, sources = node.layer, node.sources
        masks = [self.masks.get(source) for source in sources]
        taken = [self.values[source] for source in sources]
        if isinstance(layer, MergeLayer):
            if type(layer.spec) not in MERGE_SCRIPTS:
                raise UsageError(f"--format script cannot write the merge {layer.spec.kind} ({layer.path}).")
            expression = MERGE_SCRIPTS[type(layer.spec)](layer.spec, taken)
            mask = merged_mask(layer.spec, taken, masks)
        else:
            script, name = self._script(layer, sources)
            x = self._taken_by(layer, sources[0])
            expression = script.call.format(x=x, own=f"self.{name}", mask=masks[0])
            mask = mask_script(layer, x, masks[0])
        variable = self._variable(index)
        if mask is not None and mask != masks[0]:
            of_mask = self._new(f"mask_of_{layer.path}" if self.in_a_row else f"{variable}_mask")
            self.lines.append(f"{of_mask} = {mask}")
            later = of_mask
        else:
            later = mask or ""
        if expression != variable:
            self.lines.append(f"{variable} = {expression}")
        self.values[index], self.masks[index] = variable, later or None

    def _output(self, index: int, is_taken: bool) -> str:
        """The values before the activation; what follows takes those behind it."""
        node = self.network.nodes[index]
        layer = node.layer
        assert isinstance(layer, DenseLayer), "lint lets only a dense layer give an output"
        script, name = self._script(layer, node.sources)
        bare = activated(layer.activation, "{own}({x})")
        assert script.call == bare, "a dense layer is its product behind its activation"
        product = f"self.{name}({self._taken_by(layer, node.sources[0])})"
        variable = self._variable(index)
        self.lines.append(f"{variable} = {product}")
        if is_taken:
            behind = self._new(f"{variable}_activated")
            self.lines.append(f"{behind} = {activated(layer.activation, variable)}")
            self.values[index], self.masks[index] = behind, self.masks.get(node.sources[0])
        return variable
