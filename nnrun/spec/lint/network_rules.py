"""The layers against each other, and what they put out against the loss, the targets and the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from nnrun.errors import printable
from nnrun.spec import schema
from nnrun.spec.graph import Graph, all_layers, read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.ports import output_names, output_views
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import Shape, shape_text
from nnrun.spec.shapes import row_shapes, trace
from nnrun.spec.wording import counted


def layers_fit_each_other(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Chains have names, sources and no circle, and each layer takes what it is given, as far as sizes are
    known without the data."""
    graph, problems = read_graph(spec)
    shapes, misfits = trace(graph, row_shapes(spec, facts))
    for problem in (*problems, *misfits):
        yield Finding(problem.location, problem.message)
    views = output_views(spec)
    for port, index in graph.outputs.items():
        shape = shapes[index]
        if shape is not None:
            yield from _one_row_at_the_end(views.get(port, spec), graph, index, shape)


def may_have_steps(spec: schema.ExperimentSpec) -> bool:
    """Whether rows may have a target for each step, which only the data tell, or are read from steps."""
    of_steps = isinstance(spec.loss, schema.SparseCategoricalCrossentropy)
    return isinstance(spec.loss, schema.Ctc) or (of_steps and isinstance(spec.dataset, schema.Npz))


def _one_row_at_the_end(
    spec: schema.ExperimentSpec, graph: Graph, index: int, shape: Shape
) -> Iterator[Finding]:
    last, before = graph.nodes[index].layer, graph.before(index)
    if len(shape) == 1 or not isinstance(last, schema.Dense) or (len(shape) == 2 and may_have_steps(spec)):
        return
    instead = (
        f", or set return_sequences: false in {before.kind}"
        if isinstance(before, (schema.SimpleRnn, schema.Lstm, schema.Gru))
        else ""
    )
    yield Finding(
        (*graph.nodes[index].location, "dense"),
        f"the last layer gives {shape_text(shape)} per row, and predictions are ({last.units}); "
        f"add flatten or global_average_pooling before it{instead}",
    )


def embedding_takes_indices(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Indices reach an embedding as they are, of words in rows of one length; and nothing else takes them."""
    graph, _ = read_graph(spec)
    for index in graph.takers.get(graph.inputs[0], ()):
        yield from _takes_words(spec, facts, graph, index)


def _takes_words(
    spec: schema.ExperimentSpec, facts: DatasetFacts, graph: Graph, index: int
) -> Iterator[Finding]:
    node, steps = graph.nodes[index], spec.preprocessing.inputs
    first, at = node.layer, (*node.location, node.layer.kind)
    padded = any(isinstance(step, schema.Pad) for step in steps)
    looked_up = any(isinstance(step, schema.Lookup) for step in steps) and facts.inputs != "tokens"
    made = any(isinstance(step, schema.Tokens) for step in steps)
    is_table = facts.inputs == "table" and not made
    if isinstance(first, schema.Custom):  # it may be an embedding
        return
    if not isinstance(first, schema.Embedding):
        later = any(isinstance(layer, schema.Embedding) for layer in graph.layers)  # a finding of its own
        if padded and not is_table and not later:
            yield Finding(
                at, "pad gives word indices, which are names, not amounts; begin the layers with embedding"
            )
        elif looked_up:
            yield Finding(
                at,
                f"lookup gives indices, which are names, not amounts, and {first.kind} takes them as "
                "numbers; give these columns an input of their own, whose chain begins with embedding, or "
                "use one_hot",
            )
        return
    if looked_up:
        others = [step.kind for step in steps if isinstance(step, schema.PreprocessingStep)]
        yield from _takes_columns(
            at, [kind for kind in others if kind not in ("lookup", "impute", "augment")]
        )
        return
    other = next((step.kind for step in steps if not isinstance(step, schema.NoInputStep)), None)
    looks_up = "embedding looks up word indices"
    pad = f"inputs.{graph.inputs[0]}.preprocessing: pad" if spec.inputs else "preprocessing: {inputs: pad}"
    if is_table and isinstance(spec.dataset, schema.Npz) and spec.inputs and not padded:
        numbers = "an array without pad is rows of numbers"
        yield Finding(
            at, f"{looks_up}, and {numbers}; if it holds word indices add {pad}, else remove embedding"
        )
    elif is_table and isinstance(spec.dataset, schema.NamedColumns):
        yield Finding(
            at,
            f"{looks_up}, and {dataset_name(spec)} is a table; put before it tokens and pad (words of a "
            "text) or lookup (values of categories), or remove it",
        )
    elif is_table:
        yield Finding(at, f"{looks_up}, and {dataset_name(spec)} is a table of numbers; remove it")
    elif not padded and other is not None:
        yield Finding(at, f"{looks_up}, and {other} gives none; use {pad}")
    elif not padded and facts.inputs is None:
        yield Finding(at, f"{looks_up} in rows of one length; add {pad}")
    elif padded and first.input_dim is not None and first.input_dim < (facts.num_words or 0):
        yield Finding(
            (*at, "input_dim"),
            f"input_dim {first.input_dim:,} has no vector for word indices up to num_words "
            f"{facts.num_words:,}; leave it out, or make it that large",
        )


def _takes_columns(at: Location, others: Sequence[str]) -> Iterator[Finding]:
    """An embedding after `lookup` and these steps."""
    if others:
        yield Finding(
            at,
            f"embedding looks up the indices of lookup, and {others[0]} gives none; give the columns of "
            "lookup an input of their own",
        )


_SOFTMAX_KINDS = ("softmax", "log_softmax", "sparsemax")
_BOUNDED = {
    "sigmoid": "0 to 1",
    "softmax": "0 to 1",
    "hard_sigmoid": "0 to 1",
    "sparse_sigmoid": "0 to 1",
    "sparsemax": "0 to 1",
    "tanh": "-1 to 1",
    "hard_tanh": "-1 to 1",
    "softsign": "-1 to 1",
    "relu6": "0 to 6",
    "log_sigmoid": "numbers up to 0",
    "log_softmax": "numbers up to 0",
}


def output_index(spec: schema.ExperimentSpec, graph: Graph) -> int | None:
    """The node that gives the output that is looked at: the only one, or a view's first (`nnrun.spec.ports`);
    None where it could not be found, which is a finding of its own."""
    return graph.outputs.get(output_names(spec)[0])


def output_of(spec: schema.ExperimentSpec) -> schema.Dense | None:
    """The last layer, or None where it is not dense."""
    graph, _ = read_graph(spec)
    index = output_index(spec, graph)
    last = None if index is None else graph.layers[index]
    return last if isinstance(last, schema.Dense) else None


def _at_output(spec: schema.ExperimentSpec, *key: str) -> Location:
    """The location of the last layer, or of one of its parameters."""
    graph, _ = read_graph(spec)
    index = output_index(spec, graph)
    assert index is not None, "asked of a layer that was found"
    node = graph.nodes[index]
    return (*node.location, node.layer.kind, *key)


def dataset_name(spec: schema.ExperimentSpec) -> str:
    """What messages call the data set: a file of the user's own by its name."""
    if isinstance(spec.dataset, schema.Sklearn):
        return spec.dataset.name
    if isinstance(spec.dataset, schema.WithPath):
        return printable(os.path.basename(spec.dataset.path))
    return spec.dataset.kind


def targets_kind(spec: schema.ExperimentSpec) -> str:
    """The name of the step that the targets go through."""
    return spec.preprocessing.targets.kind if spec.preprocessing.targets else "none"


def last_layer_is_dense(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Predictions come from a dense layer."""
    graph, _ = read_graph(spec)
    for node in (graph.nodes[index] for index in graph.outputs.values()):
        last = node.layer
        if isinstance(last, schema.Dense):
            continue
        reason, instead = "predictions come from dense", "end the layers with a dense layer"
        if isinstance(last, schema.Dropout):
            reason = "it would drop predictions"
        if isinstance(last, schema.ActivationLayer):
            instead = f"write `activation: {last.activation}` in the dense layer before it"
        yield Finding((*node.location, last.kind), f"the last layer is {last.kind}: {reason}; {instead}")


def loss_suits_the_task(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Cross-entropy is for classes, and the binary one for two of them."""
    name = dataset_name(spec)
    if facts.task == "regression" and isinstance(spec.own_loss, schema.ClassLoss):
        yield Finding(
            ("loss", spec.own_loss.kind),
            f"{spec.own_loss.kind} is for classes, and {name} has a number to predict; use mse, mae or huber",
        )
    if facts.task == "multiclass" and spec.own_loss.kind in _FOR_SEVERAL:
        instead, activation = _FOR_SEVERAL[spec.own_loss.kind]
        yield Finding(
            ("loss", spec.own_loss.kind),
            f"{spec.own_loss.kind} is for two classes, and {name} has {facts.classes}; use {instead} with "
            f"{facts.classes} {activation} units",
        )


# Losses of a 0 or 1 for each unit: what to use for one of several classes, and its last activation.
_FOR_SEVERAL = {
    "binary_crossentropy": ("categorical_crossentropy", "softmax"),
    "binary_focal_crossentropy": ("categorical_focal_crossentropy", "softmax"),
    "hinge": ("categorical_hinge", "linear"),
    "squared_hinge": ("categorical_hinge", "linear"),
}


def softmax_has_something_to_choose(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A softmax shares 1 out among its units."""
    graph, _ = read_graph(spec)
    for index, node in enumerate(graph.nodes):
        layer, at = node.layer, (*node.location, "dense", "activation")
        if not isinstance(layer, schema.Dense) or layer.activation not in _SOFTMAX_KINDS:
            continue
        name = layer.activation
        if index not in graph.outputs.values():
            said = f"{name} in a hidden layer makes its units compete for a sum of 1; use relu there"
            yield Finding(at, said, "warning")
        elif layer.units == 1:
            always = 0 if name == "log_softmax" else 1
            said = f"{name} over 1 unit is always {always}; use sigmoid for two classes, linear for a number"
            yield Finding(at, said)


def glu_is_a_layer_of_its_own(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`glu` halves the last axis, so no layer that promises a number of units can apply it."""
    for location, layer in all_layers(spec):
        if isinstance(layer, schema.ActivationLayer):
            continue
        for key in (name for name in type(layer).model_fields if name.endswith("activation")):
            if getattr(layer, key) == "glu":
                yield Finding(
                    (*location, layer.kind, key),
                    f"glu halves the last axis, and {layer.kind} gives as many units as it says; remove the "
                    "key, and put a layer `activation: glu` after it",
                )


def output_suits_the_loss(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The last layer's activation and units are what the loss and the classes need."""
    output = output_of(spec)
    if output is None or isinstance(spec.own_loss, schema.Ctc) or any(loss_suits_the_task(spec, facts)):
        return
    if output.activation in _SOFTMAX_KINDS and output.units == 1:
        return  # a finding of its own
    if isinstance(spec.own_loss, schema.Dice | schema.Tversky):
        yield from _overlap_output(spec, facts, output)
    elif isinstance(spec.own_loss, schema.ClassLoss):
        of_classes = spec.own_loss.last_activation == "softmax"
        yield from (_class_output if of_classes else _binary_output)(spec, spec.own_loss, facts, output)
    elif facts.task == "regression":
        yield from _number_output(spec, facts, output)
    elif facts.task is not None:
        yield from _squared_class_output(spec, facts, output)


def _class_output(
    spec: schema.ExperimentSpec, loss: schema.ClassLoss, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    """A unit for each class: probabilities of a softmax, or scores."""
    units, activation, scores = output.units, output.activation, loss.score_activations
    suitable = scores or ("softmax",)
    if activation not in suitable:
        taken = "scores of any size" if scores else "probabilities that add up to 1"
        said = (
            f"{loss.kind} takes {taken}, and {activation} does not give them; use activation: {suitable[0]}"
        )
        if activation == "sigmoid" and units == 1:
            said += " (for one sigmoid unit: binary_crossentropy)"
        yield Finding(_at_output(spec, "activation"), said)
    if facts.classes is not None and units != facts.classes:
        said = (
            f"{dataset_name(spec)} has {facts.classes} classes, and the last layer gives one "
            f"{'score' if scores else 'probability'} for each: units must be {facts.classes}; found {units}"
        )
        yield Finding(_at_output(spec, "units"), said)
    elif units == 1:
        instead = "hinge" if scores else "binary_crossentropy"
        said = f"{loss.kind} needs one unit for each class, so at least 2; for one unit use {instead}"
        yield Finding(_at_output(spec, "units"), said)


def _binary_output(
    spec: schema.ExperimentSpec, loss: schema.ClassLoss, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    """A probability or a score for each 0 or 1."""
    units, activation = output.units, output.activation
    suitable = loss.score_activations or ("sigmoid",)
    if activation not in suitable:
        several, theirs = _FOR_SEVERAL[loss.kind]
        taken = "a score of any size" if loss.score_activations else "a probability"
        said = f"{loss.kind} takes {taken}, and {activation} does not give one; use activation: {suitable[0]}"
        if activation == theirs:
            said += f" ({activation} goes with {several})"
        yield Finding(_at_output(spec, "activation"), said)
    if facts.task == "binary" and units != 1:
        said = (
            f"{dataset_name(spec)} has one 0/1 label for each row: units must be 1 with {loss.kind}; "
            f"found {units}"
        )
        yield Finding(_at_output(spec, "units"), said)


def _overlap_output(
    spec: schema.ExperimentSpec, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    """`dice` and `tversky`: the labels of a row, of which there are several."""
    kind = spec.own_loss.kind
    if output.activation not in ("sigmoid", "softmax"):
        said = (
            f"{kind} takes probabilities, and {output.activation} does not give them; use sigmoid for "
            "several labels, softmax for one of several classes"
        )
        yield Finding(_at_output(spec, "activation"), said)
    if output.units == 1:
        said = (
            f"{kind} compares the labels of a row, and of a single one with the target 0 it is always 1; use "
            "binary_crossentropy or binary_focal_crossentropy"
        )
        yield Finding(_at_output(spec, "units"), said)
    elif facts.task in ("binary", "multiclass"):
        yield from _squared_class_output(spec, facts, output)


def _number_output(
    spec: schema.ExperimentSpec, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    units, activation, name = output.units, output.activation, dataset_name(spec)
    if activation in _BOUNDED:
        said = (
            f"{activation} gives only {_BOUNDED[activation]}, and {name} has numbers of any size to predict; "
            "use activation: linear"
        )
        yield Finding(_at_output(spec, "activation"), said)
    elif activation != "linear" and not (
        isinstance(spec.own_loss, schema.Poisson) and activation in _POSITIVE
    ):
        said = (
            f"{activation} in the last layer distorts or clips the predicted number; linear is usual for "
            "regression"
        )
        yield Finding(_at_output(spec, "activation"), said, "warning")
    if schema.quantiles_of(spec.own_loss):
        return  # findings of their own
    if units != facts.numbers:
        numbers = "one number" if facts.numbers == 1 else f"{facts.numbers} numbers"
        said = (
            f"{name} has {numbers} to predict: units must be {facts.numbers} in the last layer; found {units}"
        )
        yield Finding(_at_output(spec, "units"), said)


def _squared_class_output(
    spec: schema.ExperimentSpec, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    """mse, mae or huber on classes: between probabilities and 0/1 targets, or not at all."""
    units, activation, targets = output.units, output.activation, targets_kind(spec)
    binary, one_hot = facts.task == "binary", targets == "one_hot"
    is_softmax = (activation, units) == ("softmax", facts.classes)
    is_sigmoid = binary and (activation, units) == ("sigmoid", 1)
    if (is_softmax and one_hot) or (is_sigmoid and not one_hot):
        return
    softmax = f"{facts.classes} softmax units with targets: one_hot"
    at = _at_output(spec, "units" if activation in ("sigmoid", "softmax") else "activation")
    if is_softmax or is_sigmoid:
        at = ("preprocessing", "targets", targets)  # the layer is right
    yield Finding(
        at,
        f"{dataset_name(spec)} has {facts.classes} classes: {spec.own_loss.kind} then needs "
        f"{f'1 sigmoid unit, or {softmax}' if binary else softmax}; found "
        f"{counted(units, f'{activation} unit')} with targets: {targets}",
    )


def targets_suit_the_loss(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The targets have the form that the loss compares with."""
    others = isinstance(spec.own_loss, schema.Ctc) or any(loss_suits_the_task(spec, facts))
    message = None if others else _wrong_targets(spec, facts)
    if message is not None:
        yield Finding(("preprocessing", "targets", targets_kind(spec)), message)


_SCALING = ("standardize", "log1p", "quantile")
"""Steps of targets that are numbers, which the loss then compares in other units."""


def _wrong_targets(spec: schema.ExperimentSpec, facts: DatasetFacts) -> str | None:
    kind, loss, output = targets_kind(spec), spec.own_loss, output_of(spec)
    classes = isinstance(loss, schema.ClassLoss) or facts.task in ("binary", "multiclass")
    if kind in _SCALING and classes:
        done = "standardized" if kind == "standardize" else f"scaled by {kind}"
        return f"classes cannot be {done}; remove the key, and the targets are what the loss needs"
    labels = kind == "class_index" or (kind == "none" and facts.task is not None)
    if schema.target_step_of(loss) == "one_hot" and labels:
        sparse = isinstance(loss, schema.CategoricalCrossentropy)
        return (
            f"{loss.kind} compares with one-hot rows, and {kind} leaves one label for each row; "
            f"use targets: one_hot{', or loss: sparse_categorical_crossentropy' if sparse else ''}"
        )
    if schema.target_step_of(loss) == "class_index" and kind == "one_hot":
        return (
            f"{loss.kind} compares with class indices; use targets: class_index, "
            "or loss: categorical_crossentropy"
        )
    one_unit = output is not None and output.units == 1
    if loss.kind in _FOR_SEVERAL and kind == "one_hot" and one_unit:
        several, theirs = _FOR_SEVERAL[loss.kind]
        return (
            "one_hot makes a column for each class, and the last layer has 1 unit; remove the key for 0/1 "
            f"targets, or use {several} with one {theirs} unit for each class"
        )
    if facts.task == "regression" and kind in ("one_hot", "class_index"):
        return (
            f"{kind} is for classes, and {dataset_name(spec)} has a number to predict; use standardize, "
            "log1p, quantile or none"
        )
    return None


_POSITIVE = ("exponential", "softplus", "squareplus", "relu")


def loss_suits_the_numbers(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Losses of counts, ratios and directions need outputs and targets that have them."""
    loss, output, kind = spec.own_loss, output_of(spec), targets_kind(spec)
    if isinstance(loss, schema.Poisson | schema.Msle | schema.Mape) and kind in _SCALING:
        said = (
            f"{loss.kind} compares sizes, and after {kind} the targets are of another size; remove the key, "
            "or use mse"
        )
        yield Finding(("preprocessing", "targets", kind), said)
    if output is None:
        return
    if isinstance(loss, schema.Poisson) and output.activation not in _POSITIVE:
        said = (
            f"poisson takes the logarithm of the output, and {output.activation} does not keep it above 0; "
            "use activation: exponential or softplus"
        )
        yield Finding(_at_output(spec, "activation"), said)
    elif isinstance(loss, schema.CosineSimilarity) and output.units == 1:
        said = (
            "cosine_similarity is about the direction of several numbers, and the last layer has 1 unit; use "
            "mse, mae or huber"
        )
        yield Finding(("loss", loss.kind), said)
    elif schema.quantiles_of(loss):
        yield from _quantiles_of_one_number(spec, facts, output)
    elif isinstance(loss, schema.Quantile) and len(loss.quantile) not in (1, output.units):
        said = (
            f"there are {len(loss.quantile)} quantiles and {counted(output.units, 'unit')} in the last "
            "layer; give one quantile for all of them, or one for each (of one number: `quantiles`)"
        )
        yield Finding(("loss", loss.kind, "quantile"), said)


def _quantiles_of_one_number(
    spec: schema.ExperimentSpec, facts: DatasetFacts, output: schema.Dense
) -> Iterator[Finding]:
    """`quantiles`: there is a unit for each, in ascending order, and one number that they are of."""
    quantiles, here = schema.quantiles_of(spec.own_loss), ("loss", "quantile", "quantiles")
    if spec.own_loss != schema.Quantile(quantiles=quantiles):
        yield Finding(
            ("loss", "quantile", "quantile"),
            "quantile is of each output, and quantiles are of one number; keep one of the two",
        )
    if sorted(set(quantiles)) != quantiles:
        yield Finding(here, f"quantiles must ascend; found {quantiles}")
    if output.units != len(quantiles):
        yield Finding(
            _at_output(spec, "units"),
            f"there are {len(quantiles)} quantiles, and the last layer gives one number for each: units must "
            f"be {len(quantiles)}; found {output.units}",
        )
    if facts.task == "regression" and facts.numbers != 1:
        yield Finding(
            here,
            f"quantiles are of one number, and {dataset_name(spec)} has {facts.numbers} to predict; give "
            "`quantile` one for each of them",
        )


def hidden_layers_are_wide_enough(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A hidden layer narrower than the classes is an information bottleneck (book, section 3.5.7)."""
    output = output_of(spec)
    if output is None or output.activation != "softmax" or output.units <= 2:
        return
    classes = facts.classes or output.units
    graph, _ = read_graph(spec)
    shapes, problems = trace(graph, row_shapes(spec, facts))
    if problems or not graph.is_chain:
        return  # a finding of its own; in a graph other branches may carry what one drops
    for node, shape in list(zip(graph.nodes, shapes, strict=True))[:-1]:
        layer, is_flat = node.layer, shape is not None and len(shape) == 1
        if isinstance(layer, schema.Dense) and layer.units < classes and is_flat:
            yield Finding(
                (*node.location, "dense", "units"),
                f"{counted(layer.units, 'unit')} before {classes} classes: an information bottleneck; "
                f"later layers cannot recover what this layer drops (use {classes} or more)",
                "warning",
            )


RULES: tuple[Rule, ...] = (
    layers_fit_each_other,
    embedding_takes_indices,
    last_layer_is_dense,
    loss_suits_the_task,
    softmax_has_something_to_choose,
    glu_is_a_layer_of_its_own,
    output_suits_the_loss,
    targets_suit_the_loss,
    loss_suits_the_numbers,
    hidden_layers_are_wide_enough,
)
