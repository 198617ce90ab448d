"""Shapes of rows from the data to the last layer: each step's and each layer's own rule, in order.

The rules are `width_after` of a preprocessing step and `output_shape` of a layer, in `nnrun.spec.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnrun.spec import schema
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, ShapeError


def row_shape(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Shape:
    """What the preprocessing gives to the first layer, as far as it is known before the data are loaded."""
    width = facts.features
    for step in spec.preprocessing.inputs:
        width = None if isinstance(step, schema.Custom) else step.width_after(width, facts.num_words)
    return (width,)


def trace(
    layers: Sequence[schema.Component],
    inputs: Shape,
    of_custom: Callable[[int, Shape], Shape] | None = None,
) -> list[Shape]:
    """What each layer gives, up to a custom one where nobody may ask its code.

    Args:
        layers: the spec's.
        inputs: what the first of them takes.
        of_custom: the position of a custom layer and what it takes → what it gives.

    Raises:
        ShapeError: a layer cannot take what the one before it gives.
    """
    shapes: list[Shape] = []
    for position, layer in enumerate(layers):
        taken = LayerInput(shapes[-1] if shapes else inputs, layers[position - 1] if position else None)
        if isinstance(layer, schema.NetworkLayer):
            try:
                shapes.append(layer.output_shape(taken))
            except ShapeError as error:
                error.position = position
                raise
        elif of_custom is not None:
            shapes.append(of_custom(position, taken.shape))
        else:
            break
    return shapes
