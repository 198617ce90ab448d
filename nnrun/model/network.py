"""The stack of layers, its shapes, its parameters and its replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnrun.errors import DataError
from nnrun.model.inputs import Batch, SparseBatch
from nnrun.model.layers import LAYERS, DenseLayer, DropoutLayer, Layer, Parameters, Weight
from nnrun.model.layers.base import NORMS, strength_name
from nnrun.model.layers.custom_layer import CustomLayer, Pattern, pattern_of
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT, Port
from nnrun.spec.random_streams import RandomSource
from nnrun.spec.schema.layer_shapes import Shape, ShapeError, shape_text
from nnrun.spec.shapes import trace


@dataclass(frozen=True)
class LayerShape:
    """One row of a network's summary: what the layer is, the shape it gives, the numbers it has.

    `parameters` counts trained values, `state` those of buffers, such as moving means.
    """

    position: int
    description: str
    outputs: tuple[int, ...]
    parameters: int
    state: int = 0


@dataclass(frozen=True)
class Network:
    """A stack of layers that ends in a dense layer. Holds no weights."""

    inputs: int
    layers: tuple[Layer[Any], ...]

    @cached_property
    def last(self) -> DenseLayer:
        """The output layer."""
        last = self.layers[-1]
        assert isinstance(last, DenseLayer), "lint lets only a dense layer end the stack"
        return last

    @cached_property
    def widest_activation(self) -> int:
        """The most numbers that a layer makes of one row."""
        return max(layer.activations_per_row for layer in self.layers)

    @property
    def activations_per_row(self) -> int:
        """The numbers that all layers make of one row."""
        return sum(layer.activations_per_row for layer in self.layers)

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        return self.last.units

    @cached_property
    def weights(self) -> dict[str, Weight]:
        """Name → what one replica has under it: parameters and state, layer by layer."""
        return {name: weight for layer in self.layers for name, weight in layer.weights.items()}

    @cached_property
    def buffer_names(self) -> frozenset[str]:
        """The arrays that training keeps and the optimizer does not update, such as moving means."""
        return frozenset(name for name, weight in self.weights.items() if not weight.trainable)

    def multiplications(self, elements_per_row: int) -> int:
        """Multiplications of one row, forward, that threads can share, to choose their number by.

        The first kernel meets `elements_per_row` non-zeros.
        """
        whole = sum(layer.multiplications for layer in self.layers)
        first = next(layer for layer in self.layers if layer.weights)
        if isinstance(first, DenseLayer) and len(first.input_shape) == 1:
            whole += (elements_per_row - first.input_shape[0]) * first.units
        return whole

    @cached_property
    def parameter_count(self) -> int:
        """Numbers to learn in one replica."""
        return sum(layer.parameters for layer in self.layers)

    @cached_property
    def state_count(self) -> int:
        """Numbers that one replica keeps beside them."""
        return sum(layer.state for layer in self.layers)

    @cached_property
    def strengths(self) -> dict[str, float]:
        """The strengths of all regularizers, by the names that replicas' own strengths have."""
        return {
            strength_name(name, norm): weight.strength(norm)
            for name, weight in self.weights.items()
            for norm in NORMS
        }

    @cached_property
    def dropouts(self) -> tuple[DropoutLayer, ...]:
        """The layers that draw dropout masks."""
        return tuple(layer for layer in self.layers if isinstance(layer, DropoutLayer))

    @cached_property
    def customs(self) -> tuple[CustomLayer, ...]:
        """The layers of a person's own, which may draw random numbers."""
        return tuple(layer for layer in self.layers if isinstance(layer, CustomLayer))

    @cached_property
    def sparse_kernel(self) -> str | None:
        """The kernel that sparse rows meet as they are; None where a layer before it makes them dense."""
        first = next(layer for layer in self.layers if not isinstance(layer, DropoutLayer))
        return first.name("weight") if isinstance(first, DenseLayer) else None

    def forward(
        self,
        parameters: Parameters,
        inputs: Mapping[Port, Batch],
        rng: BatchRng | None = None,
        new_buffers: dict[str, Tensor] | None = None,
    ) -> dict[Port, Tensor]:
        """Logits by output, (R, B, K): the output layer's values before its activation.

        Args:
            parameters: stacked, (R, ...), with buffers.
            inputs: a batch of each input.
            rng: random numbers of a training step; None otherwise.
            new_buffers: in a training step, takes the new values of buffers by their names; None otherwise.
        """
        h = inputs[INPUT]
        for layer in self.layers[:-1]:
            if isinstance(h, SparseBatch) and not layer.takes_sparse:
                h = h.to_dense()
            h = layer.forward(parameters, h, rng, new_buffers)
        return {OUTPUT: self.last.linear(parameters, h)}

    def rng(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> BatchRng | None:
        """The random numbers of one epoch for these replicas; None where nothing needs any."""
        if not (self.dropouts or self.customs):
            return None
        keys = {
            layer.position: torch.tensor(
                [s.derive(epoch=epoch, purpose=f"dropout of layer {layer.position}") for s in sources],
                device=device,
            )
            for layer in self.dropouts
        }
        seeds = {
            layer.position: [s.derive(epoch=epoch, purpose=f"custom layer {layer.position}") for s in sources]
            for layer in self.customs
        }
        return BatchRng(keys, seeds=seeds)

    def activate(self, port: Port, z_RBK: Tensor) -> Tensor:
        """The activation of an output: logits → predictions."""
        assert port == OUTPUT, "a chain of layers has one output"
        return self.last.activate(z_RBK)

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """(R,): the sum of the layers' regularization terms, or None where there are none."""
        strengths = self.strengths
        if not any(strengths.values()) and strengths.keys().isdisjoint(parameters):
            return None  # at once: a small step takes little longer than asking every weight
        terms = [layer.penalty(parameters) for layer in self.layers]
        present = [term for term in terms if term is not None]
        return torch.stack(present).sum(0) if present else None

    def summary(self) -> list[LayerShape]:
        """What `nnrun show` prints of each layer."""
        return [
            LayerShape(layer.position, layer.description, layer.output_shape, layer.parameters, layer.state)
            for layer in self.layers
        ]

    def initial_parameters(
        self, sources: Sequence[RandomSource], given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Tensor]:
        """Stacked first weights and state of replicas, on the CPU.

        Each replica's weights depend on (its source, the layer's position) alone.

        Args:
            sources: of the replicas' random streams.
            given: weights to start from instead, checked, in the layout of a weights file; all start there.
        """
        if given is not None:
            return self.stack([given] * len(sources))
        stacks: dict[str, list[np.ndarray]] = {}
        for source in sources:
            for layer in self.layers:
                if not layer.weights:
                    continue
                purpose = f"initial weights of layer {layer.position}"
                rng = np.random.default_rng(source.derive(purpose=purpose))
                for name, value in layer.initial(rng).items():
                    stacks.setdefault(name, []).append(value)
        return {name: torch.from_numpy(np.stack(stacks[name])) for name in self.weights}

    def check_weights(self, weights: Mapping[str, np.ndarray], source: str) -> None:
        """Raise DataError unless `weights`, which `source` holds, are exactly this network's."""
        expected = {name: weight.file_shape for name, weight in self.weights.items()}
        found = {name: tuple(value.shape) for name, value in weights.items()}
        if found == expected:
            broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
            if broken:
                raise DataError(f"{source}: {broken[0]} holds a value that is not a finite number.")
            return
        lines = [
            f"  {name}: needs {expected.get(name, 'nothing')}, the file has {found.get(name, 'nothing')}"
            for name in sorted(expected.keys() | found.keys())
            if expected.get(name) != found.get(name)
        ]
        raise DataError(f"The weights in {source} do not fit the network:\n" + "\n".join(lines))

    def stack(self, weights: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
        """Weights files' contents, one for each replica → stacked parameters and state."""
        return {
            name: torch.from_numpy(np.stack([weight.from_file(w[name]) for w in weights]))
            for name, weight in self.weights.items()
        }

    def unstack(self, parameters: Parameters, index: int) -> dict[str, np.ndarray]:
        """What the replica at `index` has, in the layout of a weights file."""
        return {
            name: weight.to_file(parameters[name][index].detach().cpu().numpy())
            for name, weight in self.weights.items()
        }


def build_network(layers: Sequence[schema.Component], inputs: int, tokens: int | None = None) -> Network:
    """The network that a spec's `layers` declare.

    Args:
        layers: the spec's.
        inputs: F, the numbers of a row.
        tokens: where these are word indices, the number that they are below.

    Raises:
        DataError: a layer cannot take what it is given, which only the data could tell.
        UsageError: a layer is custom code that may not be run, or that is not there.
        NnrunError: the code of a custom layer failed, or gave what no layer may give.
    """
    known = [_with_input_dim(layer, tokens) for layer in layers]
    patterns: dict[int, Pattern] = {}

    def of_custom(position: int, taken: Shape) -> Shape:
        layer = known[position]
        assert isinstance(layer, schema.Custom), "no other layer is asked"
        patterns[position] = pattern_of(layer, tuple(size for size in taken if size is not None))
        return patterns[position].output_shape

    try:
        shapes: list[tuple[int, ...]] = [(inputs,), *trace(known, (inputs,), of_custom)]  # type: ignore[list-item]  # all known
    except ShapeError as error:
        raise DataError(f"layers[{error.position}] does not fit the data: {error}.") from None
    if len(shapes[-1]) > 1:
        raise DataError(
            f"The last layer gives {shape_text(shapes[-1])} per row, and predictions are one row of numbers: "
            f"it takes {shape_text(shapes[-2])}. Add flatten or global_average_pooling before it."
        )
    built: list[Layer[Any]] = []
    for position, layer in enumerate(known):
        shape = (shapes[position], shapes[position + 1])
        if isinstance(layer, schema.Custom):
            built.append(CustomLayer(layer, position, *shape, patterns[position]))
        else:
            built.append(LAYERS[type(layer)](layer, position, *shape))
    return Network(inputs, tuple(built))


def _with_input_dim(layer: schema.Component, tokens: int | None) -> schema.Component:
    """An embedding for all word indices that there are."""
    if not isinstance(layer, schema.Embedding):
        return layer
    if tokens is None:
        raise DataError(
            "embedding looks up word indices, and the inputs are a table of numbers; it follows "
            "preprocessing.inputs: pad."
        )
    if layer.input_dim is None:
        return layer.model_copy(update={"input_dim": tokens})
    if layer.input_dim < tokens:
        raise DataError(
            f"embedding: the training rows hold tokens up to {tokens - 1:,}, but input_dim is "
            f"{layer.input_dim:,}; every token must be below it. Set input_dim to {tokens:,} at least, or "
            "leave it out."
        )
    return layer
