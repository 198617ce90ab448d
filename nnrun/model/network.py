"""The stack of layers, its shapes, its parameters and its replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nnrun.errors import DataError
from nnrun.model.inputs import Batch
from nnrun.model.layers import BUILDERS, DenseLayer, DropoutLayer, Layer, Parameters
from nnrun.model.noise import Noise
from nnrun.spec import schema
from nnrun.spec.streams import RandomSource


@dataclass(frozen=True)
class LayerShape:
    """One row of a network's summary: what the layer is, the width it gives, the parameters it has."""

    position: int
    description: str
    outputs: int
    parameters: int


@dataclass(frozen=True)
class Network:
    """A stack of layers that ends in a dense layer. Holds no weights."""

    inputs: int
    layers: tuple[Layer, ...]

    @cached_property
    def last(self) -> DenseLayer:
        """The output layer."""
        last = self.layers[-1]
        assert isinstance(last, DenseLayer), "lint lets only a dense layer end the stack"
        return last

    @property
    def widest(self) -> int:
        """The most units of a layer."""
        return max(layer.units for layer in self.layers)

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        return self.last.units

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of one replica's parameters: kernels (in, out), biases (1, out)."""
        return {
            k: v
            for layer in self.layers
            if isinstance(layer, DenseLayer)
            for k, v in layer.parameter_shapes.items()
        }

    def multiplications(self, numbers_per_row: int) -> int:
        """Multiplications of one row, forward; the first layer meets `numbers_per_row` non-zeros."""
        shapes = [shape for name, shape in self.parameter_shapes.items() if is_kernel(name)]
        return numbers_per_row * shapes[0][1] + sum(rows * columns for rows, columns in shapes[1:])

    @property
    def parameter_count(self) -> int:
        """Numbers to learn in one replica."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes.values())

    @cached_property
    def dense(self) -> tuple[DenseLayer, ...]:
        """The layers that have weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, DenseLayer))

    @cached_property
    def dropouts(self) -> tuple[DropoutLayer, ...]:
        """The layers that need noise while training."""
        return tuple(layer for layer in self.layers if isinstance(layer, DropoutLayer))

    def forward(self, parameters: Parameters, x: Batch, noise: Noise | None = None) -> Tensor:
        """(R, B, K): the output layer's values before its activation.

        Args:
            parameters: stacked, (R, ...).
            x: a batch of inputs.
            noise: dropout's random numbers; None when not training.
        """
        h: Batch = x
        for layer in self.layers[:-1]:
            if isinstance(layer, DenseLayer):
                h = layer.activate(layer.linear(parameters, h))
            elif noise is not None:
                h = layer.drop(h, noise)
        return self.last.linear(parameters, h)

    def noise(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> Noise | None:
        """The random numbers of one epoch for these replicas; None where nothing needs any."""
        if not self.dropouts:
            return None
        keys = {
            layer.position: torch.tensor(
                [s.derive(epoch=epoch, purpose=f"dropout of layer {layer.position}") for s in sources],
                device=device,
            )
            for layer in self.dropouts
        }
        return Noise(keys)

    def activate(self, z_RBK: Tensor) -> Tensor:
        """The output layer's activation: what `forward` gives → predictions."""
        return self.last.activate(z_RBK)

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """(R,): the sum of the layers' regularization terms, or None where there are none."""
        terms = [layer.penalty(parameters) for layer in self.layers if isinstance(layer, DenseLayer)]
        present = [term for term in terms if term is not None]
        return torch.stack(present).sum(0) if present else None

    def summary(self) -> list[LayerShape]:
        """What `nnrun show` prints of each layer."""
        rows = []
        for layer in self.layers:
            if isinstance(layer, DenseLayer):
                count = sum(int(np.prod(shape)) for shape in layer.parameter_shapes.values())
                rows.append(LayerShape(layer.position, f"dense, {layer.activation}", layer.units, count))
            else:
                rows.append(LayerShape(layer.position, f"dropout {layer.rate:g}", layer.units, 0))
        return rows

    def initial_parameters(
        self, sources: Sequence[RandomSource], given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Tensor]:
        """Stacked first weights of replicas, on the CPU.

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
                if not isinstance(layer, DenseLayer):
                    continue
                purpose = f"initial weights of layer {layer.position}"
                rng = np.random.default_rng(source.derive(purpose=purpose))
                for name, value in layer.initial_parameters(rng).items():
                    stacks.setdefault(name, []).append(value)
        return {name: torch.from_numpy(np.stack(values)) for name, values in stacks.items()}

    def check_weights(self, weights: Mapping[str, np.ndarray], source: str) -> None:
        """Raise DataError unless `weights`, which `source` holds, are exactly this network's parameters."""
        expected = {name: file_shape(name, shape) for name, shape in self.parameter_shapes.items()}
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
        """Weights files' contents, one for each replica → stacked parameters."""
        return {
            name: torch.from_numpy(
                np.stack([from_file_layout(name, w[name]).reshape(shape).astype(np.float32) for w in weights])
            )
            for name, shape in self.parameter_shapes.items()
        }

    def unstack(self, parameters: Parameters, index: int) -> dict[str, np.ndarray]:
        """The parameters of the replica at `index`, in the layout of a weights file."""
        return {
            name: to_file_layout(name, value[index].detach().cpu().numpy())
            for name, value in parameters.items()
        }


# A weights file follows PyTorch: `<i>.weight` is (out, in), `<i>.bias` is (out,).


def is_kernel(name: str) -> bool:
    """Whether a parameter of this name is a kernel; else it is a bias."""
    return name.endswith(".weight")


def file_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A parameter's shape in a weights file."""
    return (shape[1], shape[0]) if is_kernel(name) else (shape[-1],)


def to_file_layout(name: str, value: np.ndarray) -> np.ndarray:
    """(in, out) → (out, in); (1, out) → (out,)."""
    return np.ascontiguousarray(value.T if is_kernel(name) else value.reshape(-1))


def from_file_layout(name: str, value: np.ndarray) -> np.ndarray:
    """(out, in) → (in, out); a bias stays as it is."""
    return np.ascontiguousarray(value.T if is_kernel(name) else value)


def build_network(layers: Sequence[schema.Component], inputs: int) -> Network:
    """The network that a spec's `layers` declare, for rows of `inputs` features."""
    built: list[Layer] = []
    width = inputs
    for position, spec in enumerate(layers):
        layer = BUILDERS[type(spec)](spec, position, width)
        built.append(layer)
        width = layer.units
    return Network(inputs, tuple(built))
