"""The graph of layers, its shapes, its parameters and its replicas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nnrun.errors import DataError
from nnrun.lazy_torch import torch
from nnrun.model.augmentation import augment, takes_augmentation
from nnrun.model.inputs import Batch, dense, replicas_of
from nnrun.model.layers import LAYERS, DenseLayer, DropoutLayer, Layer, MergeLayer, Parameters, Weight
from nnrun.model.layers.attention import OfSeveral
from nnrun.model.layers.base import NORMS, penalty_of, strength_name
from nnrun.model.layers.custom_layer import CustomLayer, Pattern, pattern_of
from nnrun.model.layers.initializers import Shape
from nnrun.model.members import Members, mean_logits, members_of
from nnrun.model.rng import BatchRng
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec import schema
from nnrun.spec.graph import Graph, GraphNode, Source, graph_of
from nnrun.spec.ports import Port, input_views
from nnrun.spec.random_streams import RandomSource
from nnrun.spec.reading.nodes import spell_path
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.shapes import taken_shape, trace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LayerShape:
    """One row of a network's summary: what the layer is, the shape it gives, the numbers it has.

    Attributes:
        position: its place: an index, or in a graph a path such as `words.2`.
        description: what it is, in a few words.
        outputs: the shape of a row that it gives.
        parameters: trained values; of a shared layer where it stands first.
        state: values of buffers, such as moving means.
        takes: the inputs and layers that it takes; empty in a list of layers.
        again: whether its weights are those of a layer above, which has them in its `parameters`.
    """

    position: int | str
    description: str
    outputs: tuple[int, ...]
    parameters: int
    state: int = 0
    takes: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class RowShape:
    """A row of an input.

    Attributes:
        shape: of a row.
        tokens: where these are word indices, the number that they are below; None for other numbers.
        augment: how rows are changed at random while training, or None.
    """

    shape: Shape
    tokens: int | None = None
    augment: schema.Augment | None = None


@dataclass(frozen=True)
class NetworkNode:
    """A layer or a merge, and what it takes: an input by its name, an earlier node by its place."""

    layer: Layer[Any] | MergeLayer
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Network:
    """A graph of layers whose outputs are given by dense layers. Holds no weights.

    Attributes:
        inputs: the shape of a row of each input.
        nodes: layers and merges, each behind all that it takes.
        outputs: for each output the node that gives it.
        augmentations: for some inputs, how a training step changes their rows at random.
        members: of an ensemble, its members and what they share; None of any other network.
    """

    inputs: Mapping[Port, Shape]
    nodes: tuple[NetworkNode, ...]
    outputs: Mapping[Port, int]
    augmentations: Mapping[Port, schema.Augment] = field(default_factory=dict)
    members: Members | None = None

    @property
    def number_of_members(self) -> int:
        """M of an ensemble; 1 of any other network."""
        return 1 if self.members is None else self.members.count

    def weights_of(self, layer: Layer[Any]) -> Mapping[str, Weight]:
        """A layer's arrays by their names; in an ensemble those of all members."""
        return layer.weights if self.members is None else self.members.weights_of(layer)

    @cached_property
    def layers(self) -> tuple[Layer[Any], ...]:
        """The layers, without merges; a shared one as often as it is used."""
        return tuple(node.layer for node in self.nodes if isinstance(node.layer, Layer))

    @cached_property
    def _distinct(self) -> tuple[Layer[Any], ...]:
        """The layers, a shared one once."""
        return tuple({layer.weights_path: layer for layer in reversed(self.layers)}.values())[::-1]

    @cached_property
    def output_layers(self) -> Mapping[Port, DenseLayer]:
        """The layer that gives each output."""
        found = {}
        for port, index in self.outputs.items():
            layer = self.nodes[index].layer
            assert isinstance(layer, DenseLayer), "lint lets only a dense layer give an output"
            found[port] = layer
        return found

    @cached_property
    def masks(self) -> bool:
        """Whether any layer makes a mask."""
        return any(getattr(layer.spec, "makes_mask", False) for layer in self.layers)

    @cached_property
    def _last_takers(self) -> Mapping[Source, int]:
        """For each input and node the last node that takes what it gives."""
        return {source: index for index, node in enumerate(self.nodes) for source in node.sources}

    @cached_property
    def _output_of(self) -> Mapping[int, Port]:
        return {index: port for port, index in self.outputs.items()}

    @cached_property
    def _activity_regularized(self) -> Mapping[int, Layer[Any]]:
        """The nodes whose outputs the loss penalizes."""
        layers = {i: node.layer for i, node in enumerate(self.nodes) if isinstance(node.layer, Layer)}
        return {i: layer for i, layer in layers.items() if layer.activity_regularizer is not None}

    @property
    def penalizes_activity(self) -> bool:
        """Whether the loss penalizes what some layer gives."""
        return bool(self._activity_regularized)

    @cached_property
    def _constrained(self) -> Mapping[str, Weight]:
        """The parameters that must keep within limits."""
        return {name: weight for name, weight in self.weights.items() if weight.constraint is not None}

    @cached_property
    def widest_activation(self) -> int:
        """The most numbers that a layer makes of one row."""
        return self.number_of_members * max(layer.activations_per_row for layer in self.layers)

    @cached_property
    def made_of_shared(self) -> int:
        """The numbers of the kernels that each member of an ensemble gets of those that all share."""
        shared = [layer for layer in self._distinct if self._shares_kernel(layer)]
        kernels = [layer.weights[layer.name("weight")] for layer in shared]
        return self.number_of_members * sum(kernel.num_elements for kernel in kernels)

    @property
    def activations_per_row(self) -> int:
        """The numbers that all layers make of one row; of one that is changed at random also its places."""
        moved = sum(3 * math.prod(self.inputs[port]) for port in self.augmentations)
        made = moved + sum(layer.activations_per_row for layer in self.layers)
        return self.number_of_members * made

    @cached_property
    def weights(self) -> dict[str, Weight]:
        """Name → what one replica has under it: parameters and state, layer by layer."""
        return {name: weight for layer in self.layers for name, weight in self.weights_of(layer).items()}

    @cached_property
    def buffer_names(self) -> frozenset[str]:
        """The arrays that training keeps and the optimizer does not update, such as moving means."""
        return frozenset(name for name, weight in self.weights.items() if not weight.trainable)

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """The kind of the layer that each parameter is of, by the parameter's name."""
        return {
            name: layer.spec.kind
            for layer in self._distinct
            for name, weight in self.weights_of(layer).items()
            if weight.trainable
        }

    @cached_property
    def matrices(self) -> Mapping[str, Shape]:
        """The shape in Keras of each parameter that is a matrix there."""
        return {
            name: weight.in_keras
            for name, weight in self.weights.items()
            if weight.trainable and len(weight.in_keras) == 2
        }

    def multiplications(self, elements_per_row: Mapping[Port, int]) -> int:
        """Multiplications of one row, forward, that threads can share, to choose their number by.

        Args:
            elements_per_row: of each input the non-zeros, which is what a first kernel meets.
        """
        whole = sum(layer.multiplications for layer in self.layers)
        for port, layer in self._meet_inputs():
            if len(layer.input_shape) == 1:
                whole += (elements_per_row[port] - layer.input_shape[0]) * layer.units
        return whole * self.number_of_members

    def _meet_inputs(self) -> Iterator[tuple[Port, DenseLayer]]:
        """The dense layers that take an input as it is, or behind dropout, and the input."""
        as_it_is: dict[Source, Port] = {port: port for port in self.inputs}
        for index, node in enumerate(self.nodes):
            port = as_it_is.get(node.sources[0]) if len(node.sources) == 1 else None
            if port is not None and isinstance(node.layer, DropoutLayer):
                as_it_is[index] = port
            elif port is not None and isinstance(node.layer, DenseLayer):
                yield port, node.layer

    @cached_property
    def parameter_count(self) -> int:
        """Numbers to learn in one replica."""
        return sum(weight.num_elements for weight in self.weights.values() if weight.trainable)

    @cached_property
    def state_count(self) -> int:
        """Numbers that one replica keeps beside them."""
        return sum(weight.num_elements for weight in self.weights.values() if not weight.trainable)

    @cached_property
    def strengths(self) -> dict[str, float]:
        """The strengths of all regularizers, by the names that replicas' own strengths have."""
        return {
            strength_name(name, norm): weight.strength(norm)
            for name, weight in self.weights.items()
            for norm in NORMS
        }

    @cached_property
    def sparse_kernels(self) -> Mapping[str, Port]:
        """The kernels that meet sparse rows of an input as they are, and nothing else.

        None of an ensemble: what meets the rows is made of a kernel and of each member's vectors.
        """
        if self.members is not None:
            return {}
        met: dict[str, list[Port]] = {}
        for port, layer in self._meet_inputs():
            met.setdefault(layer.name("weight"), []).append(port)
        used = [layer.name("weight") for layer in self.layers if isinstance(layer, DenseLayer)]
        return {
            name: ports[0]
            for name, ports in met.items()
            if used.count(name) == 1 and name not in self._constrained  # limits may hold across its rows
        }

    @cached_property
    def kernels(self) -> frozenset[str]:
        """The C++ libraries that its layers call on a CPU."""
        return frozenset(filter(None, (layer.kernel_for(layer.spec) for layer in self.layers)))

    @cached_property
    def place_squares(self) -> Mapping[str, str]:
        """For the table of each embedding without a regularizer the name of another argument of `forward`.

        It is of the table's shape, and of no influence; its gradient is the sum, over the places where a row
        of the table stands in a batch, of the squares of the place's gradient.
        """
        found: dict[str, str] = {}
        for layer in self._distinct:
            found |= layer.place_squares
        return found

    def forward(
        self,
        parameters: Parameters,
        inputs: Mapping[Port, Batch],
        rng: BatchRng | None = None,
        new_buffers: dict[str, Tensor] | None = None,
        activity_penalties: list[Tensor] | None = None,
        output_masks: dict[Port, Tensor] | None = None,
    ) -> dict[Port, Tensor]:
        """Logits by output, (R, B, K) or (R, B, steps, K): the output layers' values before their activation.

        Of an ensemble of M members (R, M, B, K) and (R, M, B, steps, K), those of each member; `combined`
        makes (R, B, K) of them.

        Args:
            parameters: stacked, (R, ...), with buffers.
            inputs: a batch of each input.
            rng: random numbers of a training step; None otherwise.
            new_buffers: in a training step, takes the new values of buffers by their names; None otherwise.
            activity_penalties: takes (R,) the term of each activity regularizer; None where no loss is
                computed.
            output_masks: takes the masks of outputs that have one, (R, B, steps); None to leave them.
        """
        if self.members is None:
            return self._forward(parameters, inputs, rng, new_buffers, activity_penalties, output_masks)
        of_members = self.members.unfolded(self._distinct, parameters)
        buffers: dict[str, Tensor] | None = None if new_buffers is None else {}
        penalties: list[Tensor] | None = None if activity_penalties is None else []
        z = self._forward(of_members, inputs, rng, buffers, penalties, output_masks)
        if new_buffers is not None and buffers is not None:
            new_buffers |= {name: self.members.folded(value) for name, value in buffers.items()}
        if activity_penalties is not None and penalties is not None:
            activity_penalties += [self.members.folded(term).mean(1) for term in penalties]
        return {port: self.members.folded(of_all) for port, of_all in z.items()}

    def combined(self, port: Port, z: Tensor, scales: Sequence[TargetScale] | None = None) -> Tensor:
        """What `forward` gives for an output as the logits of one prediction for each row, (R, B, ..., K).

        Of an ensemble those of the mean of its members' predictions, of any other network `z` itself.

        Args:
            port: the output.
            z: what `forward` gives for it.
            scales: how its targets were scaled, one scale for all replicas or one for each; None where they
                were not.
        """
        if self.members is None:
            return z
        kept = scales is None or all(scale.keeps_means for scale in scales)
        return mean_logits(self.output_layers[port].activation, z, None if kept else scales)

    def _forward(
        self,
        parameters: Parameters,
        inputs: Mapping[Port, Batch],
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
        activity_penalties: list[Tensor] | None,
        output_masks: dict[Port, Tensor] | None,
    ) -> dict[Port, Tensor]:
        """`forward`, where members of an ensemble stand as replicas, (R * M, ...)."""
        given: dict[Any, Batch] = dict(inputs)  # by `Source`
        replicas = replicas_of(next(iter(inputs.values())))
        if rng is not None:
            for name, step in self.augmentations.items():
                given[name] = augment(step, name, dense(self._rows_for(None, given[name], replicas)), rng)
        masks: dict[Any, Tensor | None] = {}
        logits: dict[Port, Tensor] = {}
        for index, node in enumerate(self.nodes):
            layer, port = node.layer, self._output_of.get(index)
            if isinstance(layer, MergeLayer) or len(node.sources) > 1:
                taken = [dense(self._rows_for(layer, given[source], replicas)) for source in node.sources]
                taken_masks = [masks.get(source) for source in node.sources]
                given[index], masks[index] = self._of_several(layer, parameters, taken, taken_masks, rng)
            elif port is None:
                x = self._rows_for(layer, given[node.sources[0]], replicas)
                x = x if isinstance(x, layer.takes) else dense(x)
                mask = masks.get(node.sources[0])
                if mask is None:
                    given[index] = self._by_layer(layer, parameters, x, rng, new_buffers, replicas)
                else:
                    given[index] = layer.forward_masked(parameters, x, mask, rng, new_buffers)
                if self.masks:
                    masks[index] = layer.mask_of(x, mask)
            else:
                output = self.output_layers[port]
                logits[port] = output.linear(parameters, given[node.sources[0]])
                if index in self._last_takers:
                    given[index] = output.activate(logits[port])
                    masks[index] = masks.get(node.sources[0])
                mask = masks.get(node.sources[0])
                if mask is not None and output_masks is not None:
                    output_masks[port] = mask
            penalized = self._activity_regularized.get(index)
            if penalized is not None and activity_penalties is not None:
                activities = dense(given[index]) if port is None else self.activate(port, logits[port])
                activity_penalties.append(penalized.activity_penalty(activities))
            for source in node.sources:
                if self._last_takers[source] == index:
                    given.pop(source, None)
        return logits

    def _rows_for(self, layer: Layer[Any] | MergeLayer | None, rows: Batch, replicas: int) -> Batch:
        """Rows for each member of an ensemble, where `layer`, or augmentation, treats theirs differently."""
        if self.members is None or self.members.takes_shared_rows(layer):
            return rows
        return self.members.expanded(rows, replicas)

    def _by_layer(
        self,
        layer: Layer[Any],
        parameters: Parameters,
        x: Any,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
        replicas: int,
    ) -> Batch:
        """What a layer gives; of one that all members of an ensemble have, their rows stand side by side."""
        same = self.members is not None and layer.weights_path in self.members.same
        if not same or replicas_of(x) == replicas:
            return layer.forward(parameters, x, rng, new_buffers)
        x = dense(x)
        rows = x.reshape(replicas, -1, *x.shape[2:])
        made = dense(layer.forward(parameters, rows, rng, new_buffers))
        return made.reshape(*x.shape[:2], *made.shape[2:])

    def _of_several(
        self,
        layer: Layer[Any] | MergeLayer,
        parameters: Parameters,
        taken: Sequence[Tensor],
        masks: Sequence[Tensor | None],
        rng: BatchRng | None,
    ) -> tuple[Tensor, Tensor | None]:
        """What a merge, or a layer that takes several, gives, and its mask."""
        if isinstance(layer, MergeLayer):
            return layer.forward(taken), layer.mask_of(taken, masks) if self.masks else None
        assert isinstance(layer, OfSeveral), "no other layer takes several"
        given = layer.forward_of_several(parameters, taken, masks, rng)
        return given, layer.mask_of(taken[0], masks[0]) if self.masks else None

    def rng(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> BatchRng:
        """The random numbers of one epoch for these replicas, in an ensemble for each of their members."""
        own = sources if self.members is None else self.members.sources(sources)
        return BatchRng(own, epoch, device)

    def activate(self, port: Port, z_RBK: Tensor) -> Tensor:
        """The activation of an output: logits → predictions."""
        return self.output_layers[port].activate(z_RBK)

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """(R,): the sum of the layers' regularization terms, or None where there are none."""
        strengths = self.strengths
        if not any(strengths.values()) and strengths.keys().isdisjoint(parameters):
            return None  # at once: a small step takes little longer than asking every weight
        terms = [penalty_of(self.weights_of(layer), parameters) for layer in self._distinct]
        present = [term for term in terms if term is not None]
        return torch.stack(present).sum(0) if present else None

    def constrain(self, parameters: Parameters) -> None:
        """Bring parameters that have constraints within their limits, in place, after an update."""
        for name, weight in self._constrained.items():
            parameters[name].copy_(weight.constrained(parameters[name]))

    def summary(self) -> list[LayerShape]:
        """What `nnrun show` prints of each layer."""
        paths = [node.layer.path for node in self.nodes]
        in_a_row = all(path.isdigit() for path in paths)
        counted: set[str] = set()
        rows = []
        for node in self.nodes:
            layer, own = node.layer, {}
            if isinstance(layer, Layer):
                own = {name: w for name, w in self.weights_of(layer).items() if name not in counted}
                counted |= own.keys()
            numbers = {
                trainable: sum(w.num_elements for w in own.values() if w.trainable is trainable)
                for trainable in (True, False)
            }
            takes = tuple(paths[s] if isinstance(s, int) else s for s in node.sources)
            rows.append(
                LayerShape(
                    int(layer.path) if in_a_row else layer.path,
                    f"{layer.description}, kernel shared"
                    if self._shares_kernel(layer)
                    else layer.description,
                    layer.output_shape,
                    numbers[True],
                    numbers[False],
                    () if in_a_row else takes,
                    again=not own and isinstance(layer, Layer) and bool(layer.weights),
                )
            )
        return rows

    def _shares_kernel(self, layer: Layer[Any] | MergeLayer) -> bool:
        """Whether the members of an ensemble share the kernel of a dense layer."""
        return (
            self.members is not None
            and isinstance(layer, DenseLayer)
            and layer.weights_path in self.members.adapted
        )

    def initial_parameters(
        self, sources: Sequence[RandomSource], given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Tensor]:
        """Stacked first weights and state of replicas, on the CPU.

        Each replica's weights depend on (its source, where the layer is declared) alone.

        Args:
            sources: of the replicas' random streams.
            given: weights to start from instead, checked, in the layout of a weights file; all start there.
        """
        if given is not None:
            return self.stack([given] * len(sources))
        stacks: dict[str, list[np.ndarray]] = {}
        for source in sources:
            for layer in self._distinct:
                if not layer.weights:
                    continue
                purpose = f"initial weights of layer {layer.weights_path}"
                rng = np.random.default_rng(source.derive(purpose=purpose))
                first = (
                    layer.initial(rng)
                    if self.members is None
                    else {name: weight.initial(rng) for name, weight in self.weights_of(layer).items()}
                )
                for name, value in first.items():
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


class InputRows(Protocol):
    """The rows of an input: `shape` and `tokens` as `RowShape` has them."""

    @property
    def shape(self) -> Shape:
        """Of a row."""
        ...

    @property
    def tokens(self) -> int | None:
        """The number that word indices are below; None for other numbers."""
        ...


def network_of(spec: schema.ExperimentSpec, inputs: Mapping[Port, InputRows]) -> Network:
    """The network of a spec that takes these rows; errors as of `build_network`."""
    rows = {}
    for port, view in input_views(spec).items():
        moved = [step for step in view.preprocessing.inputs if isinstance(step, schema.Augment)]
        rows[port] = RowShape(inputs[port].shape, inputs[port].tokens, moved[0] if moved else None)
    return build_network(graph_of(spec), rows, spec.ensemble)


def build_network(
    graph: Graph, inputs: Mapping[Port, RowShape], ensemble: schema.Ensemble | None = None
) -> Network:
    """The network that a spec's layers declare.

    Args:
        graph: the spec's.
        inputs: a row of each input.
        ensemble: of which it is a member, where the spec has one.

    Raises:
        DataError: a layer cannot take what it is given, which only the data could tell.
        UsageError: a layer is custom code that may not be run, or that is not there.
        NnrunError: the code of a custom layer failed, or gave what no layer may give.
    """
    known = Graph(
        graph.inputs, tuple(_with_input_dim(node, inputs) for node in graph.nodes), graph.outputs, graph.uses
    )
    patterns: dict[str, Pattern] = {}

    def of_custom(node: GraphNode, taken: Sequence[int | None]) -> Shape:
        assert isinstance(node.layer, schema.Custom), "no other layer is asked"
        patterns[node.path] = pattern_of(node.layer, tuple(size for size in taken if size is not None))
        return patterns[node.path].output_shape

    input_shapes = {port: row.shape for port, row in inputs.items()}
    shapes, problems = trace(known, input_shapes, of_custom)
    if problems:
        where = spell_path(problems[0].layer or problems[0].location)
        raise DataError(f"{where} does not fit the data: {problems[0].message}.")
    built = _built_nodes(known.nodes, {**input_shapes, **dict(enumerate(shapes))}, patterns)
    augmentations = {port: row.augment for port, row in inputs.items() if row.augment is not None}
    for port in augmentations:
        if not takes_augmentation(input_shapes[port]):
            raise DataError(
                "augment turns images, (height, width) or (height, width, channels), and the prepared rows "
                f"have the shape {shape_text(input_shapes[port])}. Remove it."
            )
    members = None
    if ensemble is not None:
        places = [(node.layer, node.sources) for node in built]
        members = members_of(ensemble, places, known.outputs.values())
    network = Network(input_shapes, tuple(built), known.outputs, augmentations, members)
    for output in network.output_layers.values():
        _refuse_images(output)
    return network


def _built_nodes(
    nodes: Sequence[GraphNode], shapes: Mapping[Any, Any], patterns: Mapping[str, Pattern]
) -> list[NetworkNode]:
    """The layers of the nodes.

    Args:
        nodes: of the graph, in the order in which they are computed.
        shapes: by `Source`, what each input and node gives.
        patterns: of the custom layers, by their paths.
    """
    built: list[NetworkNode] = []
    for index, node in enumerate(nodes):
        layer = node.layer
        sources = tuple(source for source in node.sources if source is not None)
        made: Layer[Any] | MergeLayer
        if isinstance(layer, schema.Merging):
            made = MergeLayer(layer, node.path, shapes[index])
        else:
            takes: Any = taken_shape(layer, sources[0], shapes[sources[0]])
            place = (node.path, node.weights_path, takes, shapes[index])
            if isinstance(layer, schema.Custom):
                made = CustomLayer(layer, *place, patterns[node.path])
            elif len(sources) > 1:
                kind = LAYERS[type(layer)]
                assert issubclass(kind, OfSeveral), "the graph lets no other layer take several"
                made = kind(layer, *place, tuple(shapes[source] for source in sources[1:]))
            else:
                made = LAYERS[type(layer)](layer, *place)
        built.append(NetworkNode(made, sources))
    return built


def _refuse_images(output: DenseLayer) -> None:
    if len(output.output_shape) > 2:
        raise DataError(
            f"The last layer gives {shape_text(output.output_shape)} per row, and predictions are one "
            f"row of numbers, or one for each step: it takes {shape_text(output.input_shape)}. Add "
            "flatten, reshape or global_average_pooling before it."
        )


def _with_input_dim(node: GraphNode, inputs: Mapping[Port, RowShape]) -> GraphNode:
    """An embedding for all word indices that there are."""
    layer, source = node.layer, node.sources[0]
    if not isinstance(layer, schema.Embedding) or not isinstance(source, Port):
        return node
    tokens = inputs[source].tokens
    if tokens is None:
        raise DataError(
            "embedding looks up indices, and the inputs are rows of numbers; it follows `pad` of words, or "
            "`lookup` of every column of an input."
        )
    if layer.input_dim is None:
        return replace(node, layer=layer.model_copy(update={"input_dim": tokens}))
    if layer.input_dim < tokens:
        raise DataError(
            f"embedding: the training rows hold tokens up to {tokens - 1:,}, but input_dim is "
            f"{layer.input_dim:,}; every token must be below it. Set input_dim to {tokens:,} at least, or "
            "leave it out."
        )
    return node
