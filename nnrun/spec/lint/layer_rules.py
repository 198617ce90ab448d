"""The sequence of layers: each takes what the one before it gives, and the last gives one row of numbers."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.npz_header import image_size
from nnrun.spec.schema.layer_shapes import SOME_RESHAPE, Shape, ShapeError, shape_text
from nnrun.spec.shapes import row_shape, trace


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


RULES: tuple[Rule, ...] = (layers_fit_each_other, embedding_takes_padded_tokens)
