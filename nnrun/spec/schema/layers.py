"""The layers of a network: all families, and what contains layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Union

from pydantic import Discriminator, Field, Tag

from nnrun.spec.schema.attention_layers import AttentionLayer
from nnrun.spec.schema.basic_layers import BasicLayer
from nnrun.spec.schema.component import CHAIN, CHAINS, COMPONENT, Component, Custom
from nnrun.spec.schema.convolution_layers import ConvolutionLayer
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, ShapeError, shape_text
from nnrun.spec.schema.merges import (
    Add,
    AnyMerge,
    Average,
    Concatenate,
    Dot,
    From,
    Maximum,
    Merging,
    Minimum,
    Multiply,
    Subtract,
)
from nnrun.spec.schema.normalization_layers import NormalizationLayer
from nnrun.spec.schema.pooling_layers import PoolingLayer
from nnrun.spec.schema.regularization_layers import RegularizationLayer
from nnrun.spec.schema.sequence_layers import SequenceLayer


class Use(Component):
    """All layers of a shared chain, here. Wherever a chain is used, it has the same weights."""

    kind = "use"
    bare = "chain"
    chain: Annotated[str, "shared"]


class Residual(Merging):
    """What comes in, added to what these layers make of it (He et al. 2015). They must keep its shape."""

    kind = "residual"
    bare = "layers"
    layers: Annotated[list[ChainItem], Field(min_length=1)]

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """The shape that comes in."""
        into, given = (t.shape for t in taken)
        pairs = zip(into, given, strict=False)
        if len(into) != len(given) or any(None not in sizes and len(set(sizes)) > 1 for sizes in pairs):
            raise ShapeError(
                f"residual adds what comes in, {shape_text(into)}, to what its layers give, "
                f"{shape_text(given)}; they must keep the shape: give the last of them as many units or "
                "filters, and padding: same"
            )
        return into


class Parallel(Merging):
    """What comes in goes through every branch, and what they give is merged, as in an inception block.

    An empty branch gives what comes in.
    """

    kind = "parallel"
    bare = "branches"
    branches: Annotated[list[list[ChainItem]], Field(min_length=2)]
    merge: AnyMerge = Concatenate()

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """What the merge gives."""
        try:
            return self.merge.output_shape(taken)
        except ShapeError as error:
            raise ShapeError(f"parallel: {error}", "merge") from None

    def passes_mask(self, masked: Sequence[bool]) -> bool:
        """As the merge has it."""
        return self.merge.passes_mask(masked)


_AnyLayer = Union[
    BasicLayer,
    RegularizationLayer,
    SequenceLayer,
    ConvolutionLayer,
    PoolingLayer,
    NormalizationLayer,
    AttentionLayer,
    Custom,
]
Layer = Annotated[_AnyLayer, COMPONENT]

ChainItem = Annotated[
    Union[
        _AnyLayer,
        Use,
        Residual,
        Parallel,
        From,
        Concatenate,
        Add,
        Subtract,
        Multiply,
        Average,
        Maximum,
        Minimum,
        Dot,
    ],
    COMPONENT,
]
"""What stands in a chain: layers, what contains layers, and, as its first item, where it begins."""
Residual.model_rebuild()
Parallel.model_rebuild()

Chain = Annotated[list[ChainItem], Field(min_length=1)]

Layers = Annotated[
    Union[
        Annotated[Chain, Tag(CHAIN)],
        Annotated[dict[str, Chain], Field(min_length=1), Tag(CHAINS)],
    ],
    Discriminator(lambda value: CHAINS if isinstance(value, Mapping) else CHAIN),
]


def regularizers(layer: Component) -> dict[str, Component | None]:
    """The regularizers that a layer may have, by their fields: `kernel_regularizer` and so on."""
    fields = [name for name in type(layer).model_fields if name.endswith("_regularizer")]
    return {name: getattr(layer, name) for name in fields}
