"""The model of a script for Keras: a list of layers, or a graph by the functional API; and its arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nnrun.experiment.ejecting.keras_compile import (
    PYTORCH,
    loss_text,
    metric_texts,
    optimizer_lines,
    own_metrics,
)
from nnrun.experiment.ejecting.keras_layers import layer_arrays, layer_text
from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import WIDTH, call_lines
from nnrun.experiment.scripting.network_script import identifier
from nnrun.model.layers import Layer, MergeLayer
from nnrun.model.network import Network
from nnrun.spec import schema
from nnrun.spec.graph import Source
from nnrun.spec.score_columns import without_phase

Merge = Callable[[Any], str]

MERGES: Mapping[type[schema.Component], Merge] = {
    schema.Concatenate: lambda spec: f"Concatenate({'' if spec.axis == -1 else f'axis={spec.axis}'})",
    schema.Add: lambda spec: "Add()",
    schema.Residual: lambda spec: "Add()",
    schema.Subtract: lambda spec: "Subtract()",
    schema.Multiply: lambda spec: "Multiply()",
    schema.Average: lambda spec: "Average()",
    schema.Maximum: lambda spec: "Maximum()",
    schema.Minimum: lambda spec: "Minimum()",
    schema.Parallel: lambda spec: MERGES[type(spec.merge)](spec.merge),
}
"""Layers of Keras that join several others."""


def is_list(network: Network) -> bool:
    """Whether each layer takes what the one before gives, and neither input nor output has a name."""
    return all(node.sources in ((i - 1,), ("(input)",)) for i, node in enumerate(network.nodes)) and list(
        network.outputs
    ) == ["(output)"]


def lacks_channel(lesson: Lesson) -> bool:
    """Whether the rows are images of one channel without an axis for it.

    Raises:
        UsageError: those of an input with a name are.
    """
    network = lesson.network
    lacking = {
        port
        for node in network.nodes
        for port in node.sources
        if isinstance(port, str)
        and isinstance(node.layer, Layer)
        and len(node.layer.input_shape) == len(network.inputs[port]) + 1
    }
    if lacking and lesson.names_inputs:
        raise refuse("images of an input with a name, without an axis for channels, with Keras", PYTORCH)
    return bool(lacking)


def model_arrays(network: Network, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a model: by their number in a list of layers, else by their layer's name and theirs."""
    if is_list(network):
        found = [array for layer in network.layers for array in layer_arrays(layer, weights)]
        return {str(place): array for place, array in enumerate(found)}
    return {
        f"{_name_of(network, index)}/{place}": array
        for index, node in enumerate(network.nodes)
        if isinstance(node.layer, Layer)
        for place, array in enumerate(layer_arrays(node.layer, weights))
    }


def _name_of(network: Network, index: int) -> str:
    """What a layer of a graph is called in Keras: by an output, by its name, since histories have that."""
    ports = [port for port, place in network.outputs.items() if place == index and port != "(output)"]
    return ports[0] if ports else identifier(network.nodes[index].layer.weights_path)  # type: ignore[union-attr]


def weights_lines(lesson: Lesson, arrays: Mapping[str, Array]) -> list[str]:
    """Lines that give a model its initial weights."""
    fold = "fold-{fold}/" if lesson.has_folds else ""
    if is_list(lesson.network):
        key = f'f"{fold}{{i}}"' if fold else "str(i)"
        return [f"model.set_weights([FIRST[{key}] for i in range({len(arrays)})])"]
    return [
        "for layer in model.layers:",
        f'    names = [f"{fold}{{layer.name}}/{{i}}" for i in range(len(layer.weights))]',
        "    layer.set_weights([FIRST[name] for name in names])",
    ]


def history_name(lesson: Lesson, column: str) -> str:
    """What Keras's history calls a column: it leaves out the name of an only output.

    Raises:
        UsageError: a script cannot tell that name from the others.
    """
    if not lesson.names_outputs or len(lesson.heads) > 1:
        return column
    name = f"{lesson.head.name}_"
    measure = without_phase(column)
    known = column[: len(column) - len(measure)] + measure.removeprefix(name)
    if column.replace(name, "", 1) != known:
        raise refuse(f"an only output called {lesson.head.name} with Keras", "Give it another name.")
    return known


def model_function(lesson: Lesson) -> list[str]:
    """The function `build_model`.

    Raises:
        UsageError: a layer, a loss or a metric cannot be written.
    """
    network = lesson.network
    taken = [intake.parameter for intake in lesson.varying]
    compiled = [
        "    model.compile(",
        "        optimizer=optimizer,",
        *_indented(_compiled(lesson), 8),
        "    )",
        "    return model",
    ]
    own = [line for head in lesson.heads for line in own_metrics(head)]
    if own:
        taken += ["scales" if lesson.names_outputs else "y_std"]
    made = _list_of_layers(lesson) if is_list(network) else _graph(lesson)
    return [
        f"def build_model({', '.join(taken)}):",
        *(f"    {line}".rstrip() for line in (*made, *optimizer_lines(lesson.spec), *own)),
        *compiled,
    ]


def model_takes(lesson: Lesson, model: Sequence[str]) -> str:
    """What `build_model` is called with."""
    taken = model[0].removeprefix("def build_model(").removesuffix("):")
    known = {intake.parameter: intake.argument for intake in lesson.varying}
    return ", ".join(known.get(name, name) for name in taken.split(", "))


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [f"{' ' * by}{line}" for line in lines]


def _compiled(lesson: Lesson) -> list[str]:
    """The loss and the metrics, as arguments."""
    heads = lesson.heads
    if len(heads) == 1:  # Keras's history then has no output's name
        metrics = metric_texts(heads[0])
        lines = [f"loss={loss_text(heads[0])},"]
        return lines + (call_lines("metrics=[", metrics, "],", indent=8) if metrics else [])
    lines = ["loss={", *(f'    "{head.name}": {loss_text(head)},' for head in heads), "},"]
    if any(head.weight != 1 for head in heads):
        lines += ["loss_weights={", *(f'    "{head.name}": {head.weight!r},' for head in heads), "},"]
    own = {head.name: metric_texts(head) for head in heads if head.spec.metrics}
    if own:
        said = [call_lines(f'    "{name}": [', texts, "],", indent=8) for name, texts in own.items()]
        lines += ["metrics={", *(line for each in said for line in each), "},"]
    return lines


def _list_of_layers(lesson: Lesson) -> list[str]:
    shape: Any = next(iter(lesson.network.inputs.values()))
    shape = (*shape, 1) if lacks_channel(lesson) else tuple(shape)
    said = "(features,)" if lesson.varying else str(shape)
    texts = [layer_text(layer) for layer in lesson.network.layers]
    return [
        "model = keras.Sequential(",
        "    [",
        f"        keras.Input({said}),",
        *(f"        {text}," for text in texts),
        "    ]",
        ")",
    ]


_TAKEN = ("keras", "layers", "model", "optimizer", "scales", "y_std")
"""Names that a script has for something else."""


def _variable(name: str, taken: Iterable[str]) -> str:
    """A name of a spec as a new one of Python."""
    found = identifier(name)
    while found in _TAKEN or found in taken:
        found += "_"
    return found


def _graph(lesson: Lesson) -> list[str]:
    """A graph by the functional API: each layer applied to what it takes."""
    network, varying = lesson.network, {intake.name: intake.parameter for intake in lesson.varying}
    shared = Counter(node.layer.weights_path for node in network.nodes if isinstance(node.layer, Layer))
    names: dict[Source, str] = {}
    lines = []
    for port, shape in network.inputs.items():
        names[port] = "inputs" if port == "(input)" else _variable(port, names.values())
        own = "" if port == "(input)" else port
        said = f"({varying[own]},)" if own in varying else str(tuple(shape))
        lines.append(f"{names[port]} = keras.Input({said}{own and f', name={chr(34)}{own}{chr(34)}'})")
    made: set[str] = set()
    for index, node in enumerate(network.nodes):
        layer = node.layer
        taken = [names[source] for source in node.sources]
        name = names[index] = _variable(layer.path, names.values())
        if isinstance(layer, MergeLayer):
            if type(layer.spec) not in MERGES:
                raise refuse(f"the merge {layer.spec.kind} ({layer.path}) with Keras", "Use --to pytorch.")
            lines.append(f"{name} = layers.{MERGES[type(layer.spec)](layer.spec)}([{', '.join(taken)}])")
            continue
        if len(taken) > 1:
            raise refuse(f"the layer {layer.spec.kind} of several ({layer.path}) with Keras")
        path = layer.weights_path
        text = _named(layer_text(layer), _name_of(network, index))
        if shared[path] > 1:
            if path not in made:
                made.add(path)
                lines.append(f"of_{identifier(path)} = {text}")
            text = f"of_{identifier(path)}"
        lines += _applied(name, text, taken[0])
    starts = _by_name({port: names[port] for port in network.inputs}, lesson.names_inputs)
    ends = _by_name({port: names[index] for port, index in network.outputs.items()}, lesson.names_outputs)
    return [
        *lines,
        *call_lines("model = keras.Model(", [f"inputs={starts}", f"outputs={ends}"], ")", indent=4),
    ]


def _by_name(values: Mapping[str, str], named: bool) -> str:
    """A dictionary of variables, or the only one."""
    said = ", ".join(f'"{name}": {value}' for name, value in values.items())
    return f"{{{said}}}" if named else next(iter(values.values()))


def _named(text: str, name: str) -> str:
    """A layer's expression with its name."""
    return f'{text[:-1]}{"" if text.endswith("()") else ", "}name="{name}")'


def _applied(name: str, text: str, taken: str) -> list[str]:
    line = f"{name} = {text}({taken})"
    if len(line) + 4 <= WIDTH:
        return [line]
    start, arguments = text[:-1].split("(", 1)
    return [f"{name} = {start}(", f"    {arguments}", f")({taken})"]
