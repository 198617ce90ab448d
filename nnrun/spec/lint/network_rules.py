"""The layers against each other, and what they put out against the loss, the targets and the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from nnrun.errors import printable
from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.npz_header import image_size
from nnrun.spec.reading.locate import Location
from nnrun.spec.schema.layer_shapes import SOME_RESHAPE, Shape, ShapeError, shape_text
from nnrun.spec.shapes import row_shape, trace
from nnrun.spec.wording import counted


def layers_fit_each_other(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each layer takes what the one before it gives, as far as sizes are known without the data."""
    try:
        shapes = trace(spec.layers, row_shape(spec, facts))
    except ShapeError as error:
        key = (error.key,) if error.key else ()
        text = str(error)
        if isinstance(spec.dataset, schema.Npz) and SOME_RESHAPE in text:
            size = image_size(spec.dataset.path)
            text = text if size is None else text.replace(f"such as {SOME_RESHAPE}", f"here reshape: {size}")
        yield Finding(("layers", error.position, spec.layers[error.position].kind, *key), text)
    else:
        yield from _one_row_at_the_end(spec, shapes)


def _one_row_at_the_end(spec: schema.ExperimentSpec, shapes: list[Shape]) -> Iterator[Finding]:
    last = spec.layers[-1]
    if len(shapes) < len(spec.layers):  # only the code of a custom layer tells
        return
    if len(shapes[-1]) == 1 or not isinstance(last, schema.Dense):
        return
    before = spec.layers[-2]
    instead = (
        f", or set return_sequences: false in {before.kind}"
        if isinstance(before, (schema.Lstm, schema.Gru))
        else ""
    )
    yield Finding(
        ("layers", len(spec.layers) - 1, "dense"),
        f"the last layer gives {shape_text(shapes[-1])} per row, and predictions are ({last.units}); "
        f"add flatten or global_average_pooling before it{instead}",
    )


def embedding_takes_padded_tokens(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Word indices reach an embedding as they are, in rows of one length; and nothing else takes them."""
    first, steps = spec.layers[0], spec.preprocessing.inputs
    padded = any(isinstance(step, schema.Pad) for step in steps)
    made = any(isinstance(step, schema.Tokens) for step in steps)
    is_table = facts.inputs == "table" and not made
    if isinstance(first, schema.Custom):  # it may be an embedding
        return
    if not isinstance(first, schema.Embedding):
        later = any(isinstance(layer, schema.Embedding) for layer in spec.layers)  # a finding of its own
        if padded and not is_table and not later:
            yield Finding(
                ("layers", 0, first.kind),
                "pad gives word indices, which are names, not amounts; begin the layers with embedding",
            )
        return
    at = ("layers", 0, "embedding")
    if is_table:
        name = dataset_name(spec)
        yield Finding(at, f"embedding looks up word indices, and {name} is a table of numbers; remove it")
    elif not padded:
        other = next((step.kind for step in steps if not isinstance(step, schema.NoInputStep)), None)
        if other is not None:
            yield Finding(
                at,
                f"embedding looks up word indices, and {other} gives none; use preprocessing: "
                "{inputs: pad}",
            )
        elif facts.inputs is None:
            yield Finding(
                at,
                "embedding looks up word indices in rows of one length; add preprocessing: {inputs: pad}",
            )
    elif first.input_dim is not None and facts.num_words is not None and first.input_dim < facts.num_words:
        yield Finding(
            (*at, "input_dim"),
            f"input_dim {first.input_dim:,} has no vector for word indices up to num_words "
            f"{facts.num_words:,}; leave it out, or make it that large",
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


@dataclass(frozen=True)
class Output:
    """The last layer, where it is dense."""

    position: int
    layer: schema.Dense

    def at(self, key: str) -> Location:
        """The location of one of its parameters."""
        return ("layers", self.position, "dense", key)


def output_of(spec: schema.ExperimentSpec) -> Output | None:
    """The last layer, or None where it is not dense."""
    last = spec.layers[-1]
    return Output(len(spec.layers) - 1, last) if isinstance(last, schema.Dense) else None


def dataset_name(spec: schema.ExperimentSpec) -> str:
    """What messages call the data set: a file of the user's own by its name."""
    if isinstance(spec.dataset, schema.Sklearn):
        return spec.dataset.name
    if isinstance(spec.dataset, (schema.Npz, *schema.FILES)):
        return printable(os.path.basename(spec.dataset.path))
    return spec.dataset.kind


def targets_kind(spec: schema.ExperimentSpec) -> str:
    """The name of the step that the targets go through."""
    return spec.preprocessing.targets.kind if spec.preprocessing.targets else "none"


def last_layer_is_dense(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Predictions come from a dense layer."""
    last = spec.layers[-1]
    if not isinstance(last, schema.Dense):
        reason, instead = "predictions come from dense", "end the layers with a dense layer"
        if isinstance(last, schema.Dropout):
            reason = "it would drop predictions"
        if isinstance(last, schema.ActivationLayer):
            instead = f"write `activation: {last.activation}` in the dense layer before it"
        yield Finding(
            ("layers", len(spec.layers) - 1, last.kind), f"the last layer is {last.kind}: {reason}; {instead}"
        )


def loss_suits_the_task(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Cross-entropy is for classes, and the binary one for two of them."""
    name = dataset_name(spec)
    if facts.task == "regression" and isinstance(spec.loss, schema.ClassLoss):
        yield Finding(
            ("loss", spec.loss.kind),
            f"{spec.loss.kind} is for classes, and {name} has a number to predict; use mse, mae or huber",
        )
    if facts.task == "multiclass" and isinstance(spec.loss, schema.ClassLoss) and _is_binary(spec.loss):
        instead, activation = _FOR_SEVERAL[spec.loss.kind]
        yield Finding(
            ("loss", spec.loss.kind),
            f"{spec.loss.kind} is for two classes, and {name} has {facts.classes}; use {instead} "
            f"with {facts.classes} {activation} units",
        )


_FOR_SEVERAL = {
    "binary_crossentropy": ("categorical_crossentropy", "softmax"),
    "binary_focal_crossentropy": ("categorical_focal_crossentropy", "softmax"),
    "hinge": ("categorical_hinge", "linear"),
    "squared_hinge": ("categorical_hinge", "linear"),
}


def _is_binary(loss: schema.ClassLoss) -> bool:
    """Whether each unit is compared with a 0 or a 1 of its own."""
    return loss.kind in _FOR_SEVERAL


def softmax_has_something_to_choose(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A softmax shares 1 out among its units."""
    for position, layer in enumerate(spec.layers):
        if not isinstance(layer, schema.Dense) or layer.activation not in _SOFTMAX_KINDS:
            continue
        if position < len(spec.layers) - 1:
            yield Finding(
                ("layers", position, "dense", "activation"),
                f"{layer.activation} in a hidden layer makes its units compete for a sum of 1; use relu "
                "there",
                "warning",
            )
        elif layer.units == 1:
            always = 0 if layer.activation == "log_softmax" else 1
            yield Finding(
                ("layers", position, "dense", "activation"),
                f"{layer.activation} over 1 unit is always {always}; use sigmoid for two classes, linear for "
                "a number",
            )


def glu_is_a_layer_of_its_own(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`glu` halves the last axis, so no layer that promises a number of units can apply it."""
    for position, layer in enumerate(spec.layers):
        if isinstance(layer, schema.ActivationLayer):
            continue
        for key in (name for name in type(layer).model_fields if name.endswith("activation")):
            if getattr(layer, key) == "glu":
                yield Finding(
                    ("layers", position, layer.kind, key),
                    f"glu halves the last axis, and {layer.kind} gives as many units as it says; remove the "
                    "key, and put a layer `activation: glu` after it",
                )


def output_suits_the_loss(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The last layer's activation and units are what the loss and the classes need."""
    output = output_of(spec)
    if output is None or any(loss_suits_the_task(spec, facts)):
        return
    if output.layer.activation in _SOFTMAX_KINDS and output.layer.units == 1:
        return  # a finding of its own
    if isinstance(spec.loss, schema.Dice | schema.Tversky):
        yield from _overlap_output(spec, facts, output)
    elif isinstance(spec.loss, schema.ClassLoss):
        yield from (_binary_output if _is_binary(spec.loss) else _class_output)(
            spec, spec.loss, facts, output
        )
    elif facts.task == "regression":
        yield from _number_output(spec, facts, output)
    elif facts.task is not None:
        yield from _squared_class_output(spec, facts, output)


def _class_output(
    spec: schema.ExperimentSpec, loss: schema.ClassLoss, facts: DatasetFacts, output: Output
) -> Iterator[Finding]:
    """A unit for each class: probabilities of a softmax, or scores."""
    units, activation = output.layer.units, output.layer.activation
    usual, what = loss.activations[0], "score" if loss.decides_as else "probability"
    if activation not in loss.activations:
        instead = (
            " (for one sigmoid unit: binary_crossentropy)" if activation == "sigmoid" and units == 1 else ""
        )
        taken = "scores of any size" if loss.decides_as else "probabilities that add up to 1"
        yield Finding(
            output.at("activation"),
            f"{loss.kind} takes {taken}, and {activation} does not give them; use activation: {usual}"
            f"{instead}",
        )
    if facts.classes is not None and units != facts.classes:
        yield Finding(
            output.at("units"),
            f"{dataset_name(spec)} has {facts.classes} classes, and the last layer gives one {what} "
            "for each: "
            f"units must be {facts.classes}; found {units}",
        )
    elif units == 1:
        yield Finding(
            output.at("units"),
            f"{loss.kind} needs one unit for each class, so at least 2; for one unit use "
            f"{'hinge' if loss.decides_as else 'binary_crossentropy'}",
        )


def _binary_output(
    spec: schema.ExperimentSpec, loss: schema.ClassLoss, facts: DatasetFacts, output: Output
) -> Iterator[Finding]:
    """A probability or a score for each 0 or 1."""
    units, activation = output.layer.units, output.layer.activation
    if activation not in loss.activations:
        several, theirs = _FOR_SEVERAL[loss.kind]
        instead = f" ({activation} goes with {several})" if activation == theirs else ""
        taken = "a score of any size" if loss.decides_as else "a probability"
        yield Finding(
            output.at("activation"),
            f"{loss.kind} takes {taken}, and {activation} does not give one; "
            f"use activation: {loss.activations[0]}{instead}",
        )
    if facts.task == "binary" and units != 1:
        yield Finding(
            output.at("units"),
            f"{dataset_name(spec)} has one 0/1 label for each row: units must be 1 with {loss.kind}; "
            f"found {units}",
        )


def _overlap_output(spec: schema.ExperimentSpec, facts: DatasetFacts, output: Output) -> Iterator[Finding]:
    """`dice` and `tversky`: the labels of a row, of which there are several."""
    units, activation, kind = output.layer.units, output.layer.activation, spec.loss.kind
    if activation not in ("sigmoid", "softmax"):
        yield Finding(
            output.at("activation"),
            f"{kind} takes probabilities, and {activation} does not give them; use sigmoid for several "
            "labels, softmax for one of several classes",
        )
    if units == 1:
        yield Finding(
            output.at("units"),
            f"{kind} compares the labels of a row, and of a single one with the target 0 it is always 1; use "
            "binary_crossentropy or binary_focal_crossentropy",
        )
    elif facts.task in ("binary", "multiclass"):
        yield from _squared_class_output(spec, facts, output)


def _number_output(spec: schema.ExperimentSpec, facts: DatasetFacts, output: Output) -> Iterator[Finding]:
    units, activation = output.layer.units, output.layer.activation
    name = dataset_name(spec)
    if activation in _BOUNDED:
        yield Finding(
            output.at("activation"),
            f"{activation} gives only {_BOUNDED[activation]}, and {name} has numbers of any size to predict; "
            "use activation: linear",
        )
    elif activation != "linear" and not (isinstance(spec.loss, schema.Poisson) and activation in _POSITIVE):
        yield Finding(
            output.at("activation"),
            f"{activation} in the last layer distorts or clips the predicted number; linear is usual for "
            "regression",
            "warning",
        )
    if units != facts.numbers:
        numbers = "one number" if facts.numbers == 1 else f"{facts.numbers} numbers"
        yield Finding(
            output.at("units"),
            f"{name} has {numbers} to predict: units must be {facts.numbers} in the last layer; "
            f"found {units}",
        )


def _squared_class_output(
    spec: schema.ExperimentSpec, facts: DatasetFacts, output: Output
) -> Iterator[Finding]:
    """mse, mae or huber on classes: between probabilities and 0/1 targets, or not at all."""
    units, activation = output.layer.units, output.layer.activation
    one_hot = targets_kind(spec) == "one_hot"
    if activation == "softmax" and units == facts.classes and one_hot:
        return
    if facts.task == "binary" and activation == "sigmoid" and units == 1 and not one_hot:
        return
    softmax = f"{facts.classes} softmax units with targets: one_hot"
    wanted = f"1 sigmoid unit, or {softmax}" if facts.task == "binary" else softmax
    at: Location = output.at("activation" if activation not in ("sigmoid", "softmax") else "units")
    if (activation, units) in (
        ("softmax", facts.classes),
        ("sigmoid", 1 if facts.task == "binary" else None),
    ):
        at = ("preprocessing", "targets", targets_kind(spec))  # the layer is right
    yield Finding(
        at,
        f"{dataset_name(spec)} has {facts.classes} classes: {spec.loss.kind} then needs {wanted}; "
        f"found {counted(units, f'{activation} unit')} with targets: {targets_kind(spec)}",
    )


def targets_suit_the_loss(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The targets have the form that the loss compares with."""
    kind, loss, output = targets_kind(spec), spec.loss, output_of(spec)
    at: Location = ("preprocessing", "targets", kind)
    if any(loss_suits_the_task(spec, facts)):
        return
    classes = isinstance(loss, schema.ClassLoss) or facts.task in ("binary", "multiclass")
    if kind in ("standardize", "log1p") and classes:
        done = "standardized" if kind == "standardize" else "scaled by log1p"
        yield Finding(
            at, f"classes cannot be {done}; remove the key, and the targets are what the loss needs"
        )
    elif (
        isinstance(loss, schema.ClassLoss)
        and loss.target_step == "one_hot"
        and (kind == "class_index" or (kind == "none" and facts.task is not None))
    ):
        sparse = isinstance(loss, schema.CategoricalCrossentropy)
        instead = ", or loss: sparse_categorical_crossentropy" if sparse else ""
        yield Finding(
            at,
            f"{loss.kind} compares with one-hot rows, and {kind} leaves one label for each row; "
            f"use targets: one_hot{instead}",
        )
    elif isinstance(loss, schema.SparseCategoricalCrossentropy) and kind == "one_hot":
        yield Finding(
            at,
            "sparse_categorical_crossentropy compares with class indices; use targets: class_index, "
            "or loss: categorical_crossentropy",
        )
    elif (
        isinstance(loss, schema.ClassLoss)
        and _is_binary(loss)
        and kind == "one_hot"
        and output
        and output.layer.units == 1
    ):
        yield Finding(
            at,
            "one_hot makes a column for each class, and the last layer has 1 unit; remove the key for "
            "0/1 targets, "
            "or use {} with one {} unit for each class".format(*_FOR_SEVERAL[loss.kind]),
        )
    elif facts.task == "regression" and kind in ("one_hot", "class_index"):
        yield Finding(
            at,
            f"{kind} is for classes, and {dataset_name(spec)} has a number to predict; use standardize, "
            "log1p or none",
        )


_POSITIVE = ("exponential", "softplus", "squareplus", "relu")


def loss_suits_the_numbers(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Losses of counts, ratios and directions need outputs and targets that have them."""
    loss, output, kind = spec.loss, output_of(spec), targets_kind(spec)
    if isinstance(loss, schema.Poisson | schema.Msle | schema.Mape) and kind in ("standardize", "log1p"):
        yield Finding(
            ("preprocessing", "targets", kind),
            f"{loss.kind} compares sizes, and after {kind} the targets are of another size; remove the "
            "key, or use mse",
        )
    if output is None:
        return
    units, activation = output.layer.units, output.layer.activation
    if isinstance(loss, schema.Poisson) and activation not in _POSITIVE:
        yield Finding(
            output.at("activation"),
            f"poisson takes the logarithm of the output, and {activation} does not keep it above 0; use "
            "activation: exponential or softplus",
        )
    elif isinstance(loss, schema.CosineSimilarity) and units == 1:
        yield Finding(
            ("loss", loss.kind),
            "cosine_similarity is about the direction of several numbers, and the last layer has 1 unit; use "
            "mse, mae or huber",
        )
    elif isinstance(loss, schema.Quantile) and len(loss.quantile) not in (1, units):
        yield Finding(
            ("loss", loss.kind, "quantile"),
            f"there are {len(loss.quantile)} quantiles and {counted(units, 'unit')} in the last layer; give "
            "one quantile for all of them, or one for each",
        )


def hidden_layers_are_wide_enough(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A hidden layer narrower than the classes is an information bottleneck (book, section 3.5.7)."""
    output = output_of(spec)
    if output is None or output.layer.activation != "softmax" or output.layer.units <= 2:
        return
    classes = facts.classes or output.layer.units
    try:
        shapes = trace(spec.layers, row_shape(spec, facts))
    except ShapeError:
        return  # a finding of its own
    for position, (layer, shape) in enumerate(zip(spec.layers[:-1], shapes, strict=False)):
        if isinstance(layer, schema.Dense) and layer.units < classes and len(shape) == 1:
            yield Finding(
                ("layers", position, "dense", "units"),
                f"{counted(layer.units, 'unit')} before {classes} classes: an information bottleneck; "
                f"later layers cannot recover what this layer drops (use {classes} or more)",
                "warning",
            )


def regularizers_do_something(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`l1_l2` is 0 and 0 unless it is told otherwise."""
    for position, layer in enumerate(spec.layers):
        for name, regularizer in schema.regularizers(layer).items():
            if isinstance(regularizer, schema.L1L2) and regularizer.l1 == regularizer.l2 == 0:
                yield Finding(
                    ("layers", position, layer.kind, name, "l1_l2"),
                    "l1 and l2 are both 0, so nothing is regularized; give one of them a value",
                    "warning",
                )


RULES: tuple[Rule, ...] = (
    layers_fit_each_other,
    embedding_takes_padded_tokens,
    last_layer_is_dense,
    loss_suits_the_task,
    softmax_has_something_to_choose,
    glu_is_a_layer_of_its_own,
    output_suits_the_loss,
    targets_suit_the_loss,
    loss_suits_the_numbers,
    hidden_layers_are_wide_enough,
    regularizers_do_something,
)
