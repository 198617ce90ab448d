"""Attention, and what tells it where a step stands."""

from collections.abc import Sequence
from typing import Annotated, Literal, Union

from nnrun.spec.schema.component import ONE_IS_ENOUGH, Count, Decay, Positive
from nnrun.spec.schema.layer_shapes import LayerInput, NetworkLayer, Shape, ShapeError, listed, steps_of
from nnrun.spec.schema.weight_options import (
    BiasInitializer,
    Constraint,
    GlorotUniform,
    Initializer,
    Regularizer,
    Zeros,
)


class AttentionComponent(NetworkLayer):
    """Base of what looks at the steps of another row, or of its own.

    `of` names two or three inputs or chains, as the first item of a chain: the query, whose steps look; the
    value, whose steps are looked at; and what its steps are found by, the key (default: the value). Without
    it the three are the row that comes in.
    """

    of_steps = True
    mask = "uses"
    of: Annotated[list[str], ONE_IS_ENOUGH] = []

    def output_shape_of(self, query: Shape, value: Shape) -> Shape:
        """The steps of the query, the features of the value."""
        return (query[0], value[1])

    def output_shape(self, taken: LayerInput) -> Shape:
        """Of a row that is query and value."""
        shape = steps_of(self, taken)
        return self.output_shape_of(shape, shape)

    def shape_of_several(self, taken: Sequence[LayerInput]) -> Shape:
        """Of a query, a value and a key.

        Raises:
            ShapeError: these cannot be.
        """
        query, value, *keys = (steps_of(self, each) for each in taken)
        key = keys[0] if keys else value
        if None not in (key[0], value[0]) and key[0] != value[0]:
            raise ShapeError(f"{self.kind} takes a key with as many steps as the value; {listed(taken)}")
        self.check_features(query, key, taken)
        return self.output_shape_of(query, value)

    def check_features(self, query: Shape, key: Shape, taken: Sequence[LayerInput]) -> None:
        """Raise ShapeError where a query cannot be compared with a key."""


class Attention(AttentionComponent):
    """Each step becomes a mean of all steps, weighted by the softmax of its products with them (Luong 2015).

    Query, key and value are the steps themselves, or what `of` names: `attention: {of: [query, value]}`, a
    third is the key (default: the value). With `use_scale` the products are multiplied by a learned
    number that is 1 at first; they are not divided by the root of their size. `dropout` is of the weights.
    Masked steps are not looked at, and give 0.
    """

    kind = "attention"
    use_scale: bool = False
    dropout: Decay = 0.0

    def check_features(self, query: Shape, key: Shape, taken: Sequence[LayerInput]) -> None:
        """Their products need equally many features."""
        if None not in (query[1], key[1]) and query[1] != key[1]:
            raise ShapeError(
                f"attention multiplies each query with each key, which need equally many features; "
                f"{listed(taken)}; make them alike with dense, or use multi_head_attention"
            )


class MultiHeadAttention(AttentionComponent):
    """Attention by several heads, each with its own projections (Vaswani et al. 2017).

    Of the steps to themselves, or of what `of` names: a query, a value and, if it is not the value, a key.
    Of each head query and key have `key_dim` numbers, the value has `value_dim` (default: as many); their
    products are divided by the root of key_dim. What all heads give is projected to the features of the
    query, or to `output_dim` (Keras's output_shape). `dropout` is of the weights of the steps. Masked steps
    are not looked at. Glorot-uniform kernels, zero biases.
    """

    kind = "multi_head_attention"
    example = {"num_heads": 4, "key_dim": 16}
    ranks = {"kernel": 2, "bias": 1}
    num_heads: Count
    key_dim: Count
    value_dim: Count | None = None
    output_dim: Count | None = None
    dropout: Decay = 0.0
    use_bias: bool = True
    kernel_initializer: Initializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None

    def output_shape_of(self, query: Shape, value: Shape) -> Shape:
        """The steps and features of the query, or `output_dim` features."""
        return (query[0], self.output_dim or query[1])


class PositionEmbedding(NetworkLayer):
    """Numbers that tell each step where it stands, added to its features.

    `learned`: a vector for each step, Glorot-uniform at first (KerasHub's PositionEmbedding). `sinusoidal`:
    sines and cosines of wavelengths up to `max_wavelength`, nothing learned (its SinePositionEncoding).
    """

    kind = "position_embedding"
    mask = "keeps"
    bare = "encoding"
    ranks = {"embeddings": 2}
    encoding: Literal["learned", "sinusoidal"] = "learned"
    max_wavelength: Positive = 10000.0
    embeddings_initializer: Initializer = GlorotUniform()
    embeddings_regularizer: Regularizer | None = None
    embeddings_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        return steps_of(self, taken)


AttentionLayer = Union[Attention, MultiHeadAttention, PositionEmbedding]
