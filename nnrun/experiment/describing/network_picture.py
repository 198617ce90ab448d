"""A network as a picture: inputs, layers, merges and outputs, with shapes and numbers of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from nnrun.data import FittedPreprocessing
from nnrun.data.load_data import load_data
from nnrun.errors import DataError
from nnrun.experiment.describing.describe_spec import custom_code_that_shapes, network_without_data
from nnrun.experiment.finished.load_run import selection_of
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.setup.groups import EVERYTHING, Selection, prepare_groups
from nnrun.figures.graph_figure import Box, graph_figure
from nnrun.model.layers.initializers import Shape
from nnrun.model.network import LayerShape, Network, network_of
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.graph import Graph, GraphNode, Source, graph_of
from nnrun.spec.ports import Port, array_of, columns_of, input_views, loss_weights, output_views
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import flow_text

_LONGEST_LINE = 36  # letters of what is otherwise said in fewer


@dataclass(frozen=True, eq=False)
class KnownNetwork:
    """A network with its shapes; None, and why, where they are not known."""

    network: Network | None
    missing: str = ""


def network_of_spec(
    spec: schema.ExperimentSpec,
    data_dir: Path | None,
    listener: Listener = SILENT,
    *,
    smoke: bool = False,
    selection: Selection = EVERYTHING,
) -> KnownNetwork:
    """The network of a spec; the data are loaded only if the shapes do not follow from the spec alone.

    Args:
        spec: the experiment.
        data_dir: where data files are looked for first.
        listener: receives progress messages.
        smoke: the generated rows of a smoke run.
        selection: which networks; it is the first of them.
    """
    if custom := custom_code_that_shapes(spec):
        return KnownNetwork(None, custom)
    if (network := network_without_data(spec)) is not None:
        return KnownNetwork(network)
    try:
        dataset = load_data(spec, data_dir=data_dir, smoke=smoke, on_message=listener.message)
    except DataError as error:
        return KnownNetwork(None, str(error))
    return KnownNetwork(prepare_groups(spec, dataset, selection)[0].network)


def network_of_run(
    run: RunDirectory, spec: schema.ExperimentSpec, data_dir: Path | None, listener: Listener = SILENT
) -> KnownNetwork:
    """The network of a run, by the preprocessing that it kept; of a run that kept none, that of its spec.

    Args:
        run: the run; of several networks it is the first.
        spec: that of the run.
        data_dir, listener: as `network_of_spec` has them.
    """
    if custom := custom_code_that_shapes(spec):
        return KnownNetwork(None, custom)
    try:
        fitted = FittedPreprocessing.from_json(run.read_preprocessing(next(iter(run.members()), None)))
    except DataError:  # it ended before, or its files are lost
        record = run.read_record()
        return network_of_spec(spec, data_dir, listener, smoke=record.smoke, selection=selection_of(record))
    return KnownNetwork(network_of(spec, fitted.inputs))


def network_figure(spec: schema.ExperimentSpec, known: KnownNetwork) -> Figure:
    """The picture; without shapes and parameters where they are not known."""
    return graph_figure(_boxes(spec, known.network))


def _boxes(spec: schema.ExperimentSpec, network: Network | None) -> list[Box]:
    """A box for each input, layer, merge and output, each behind those that it takes.

    Args:
        spec: what declares the network.
        network: the same with its shapes; None where they are not known, and left out.
    """
    graph = graph_of(spec)
    boxes: list[Box] = []
    place: dict[Source, int] = {}
    for port in graph.inputs:
        place[port] = len(boxes)
        boxes.append(_input(spec, port, None if network is None else network.inputs[port]))
    known: Sequence[LayerShape | None] = [None] * len(graph.nodes) if network is None else network.summary()
    shared = {index: use.name for use in reversed(graph.uses) for index in use.nodes}
    for index, (node, shape) in enumerate(zip(graph.nodes, known, strict=True)):
        takes = tuple(place[source] for source in node.sources if source is not None)
        place[index] = len(boxes)
        boxes.append(_layer(node, shape, takes, shared.get(index)))
    return [*boxes, *(_output(spec, graph, port, place) for port in graph.outputs)]


def _input(spec: schema.ExperimentSpec, port: Port, shape: Shape | None) -> Box:
    view = input_views(spec)[port]
    if not spec.inputs:
        source = _data_text(spec.dataset)
    elif columns := columns_of(spec, port):
        named = f"{'column' if len(columns) == 1 else 'columns'} {', '.join(columns)}"
        source = named if len(named) <= _LONGEST_LINE else counted(len(columns), "column")
    else:
        source = f"array {array_of(spec, port)}"
    steps = ", ".join(map(_text, view.preprocessing.inputs))
    if len(steps) > _LONGEST_LINE:
        steps = ", ".join(step.kind for step in view.preprocessing.inputs)
    lines = [source, steps, "" if shape is None else f"→ {_shape_text(shape)}"]
    return Box("input", f"input {port}" if spec.inputs else "input", tuple(filter(None, lines)))


def _layer(node: GraphNode, shape: LayerShape | None, takes: tuple[int, ...], shared: str | None) -> Box:
    merges = isinstance(node.layer, schema.Merging)
    title = _title(node.layer) if shape is None or merges else shape.description
    lines = [node.path if shape is None else f"{node.path} → {_shape_text(shape.outputs)}"]
    if shape is None and not merges:
        lines.append(_parameters(node.layer))
    if shape is not None and shape.parameters:
        lines.append(counted(shape.parameters, "parameter"))
    if shared is not None:
        again = shape is not None and shape.again
        lines += [*(["the same weights"] if again else []), f"shared {shared}"]
    return Box("merge" if merges else "layer", title, tuple(filter(None, lines)), takes, shared is not None)


def _title(layer: schema.Component) -> str:
    """What a layer is, as far as its shapes are not needed to say it."""
    if isinstance(layer, schema.Residual):
        return f"add ({layer.kind})"
    if isinstance(layer, schema.Parallel):
        return f"{layer.merge.kind} ({layer.kind})"
    return layer.kind


def _parameters(layer: schema.Component) -> str:
    """What the spec says of a layer besides its kind: `units: 64, activation: relu`."""
    _, _, said = _text(layer).partition(": ")
    return said[1:-1] if said.startswith("{") else said


def _output(spec: schema.ExperimentSpec, graph: Graph, port: Port, place: Mapping[Source, int]) -> Box:
    view = output_views(spec)[port]
    weight = loss_weights(spec)[port]
    assert view.loss is not None, "lint has seen to that"
    loss = _text(view.loss)
    target = getattr(view.dataset, "target", None)
    named = ", ".join(map(str, target)) if isinstance(target, list) else str(target or "")
    if spec.outputs and not named:
        named = ", ".join(map(str, spec.outputs[port].target or [port]))
    step = view.preprocessing.targets
    shown = "" if step is None or isinstance(step, schema.NoTargetStep) else _text(step)
    lines = (
        loss if weight == 1 else f"{weight:.4g} * {loss}",
        ", ".join(filter(None, (f"target {named}" if named else "", shown))),
    )
    title = f"output {port}" if spec.outputs else "output"
    return Box("output", title, tuple(filter(None, lines)), (place[graph.outputs[port]],))


def _data_text(dataset: schema.Component) -> str:
    """The name of its file or folder, where it has one; else which data set it is."""
    path = getattr(dataset, "path", None)
    if path is not None:
        return Path(path).name
    text = _text(dataset)
    return text if len(text) <= _LONGEST_LINE else dataset.kind


def _text(component: schema.Component) -> str:
    """`{text: 10000}` as `text: 10000`."""
    text = flow_text(component)
    return text[1:-1] if text.startswith("{") else text


def _shape_text(shape: Sequence[int]) -> str:
    """A single number as it is, several as `(8, 8, 32)`."""
    return f"{shape[0]:,}" if len(shape) == 1 else f"({', '.join(map(str, shape))})"
