"""Attention, and what tells it where a step stands."""

from typing import Literal, Union

from nnrun.spec.schema.component import Count, Decay, Positive
from nnrun.spec.schema.layer_base import NetworkLayer
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, steps_of
from nnrun.spec.schema.weight_options import (
    BiasInitializer,
    Constraint,
    GlorotUniform,
    Initializer,
    Regularizer,
    Zeros,
)


class Attention(NetworkLayer):
    """Each step becomes a mean of all steps, weighted by the softmax of its products with them (Luong 2015).

    Query, key and value are the steps themselves. With `use_scale` the products are multiplied by a learned
    number that is 1 at first; they are not divided by the root of their size. `dropout` is of the weights.
    Masked steps are not looked at, and give 0.
    """

    kind = "attention"
    mask = "uses"
    use_scale: bool = False
    dropout: Decay = 0.0

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        return steps_of(self, taken)


class MultiHeadAttention(NetworkLayer):
    """Self-attention by several heads, each with its own projections (Vaswani et al. 2017).

    Of each head query and key have `key_dim` numbers, the value has `value_dim` (default: as many); their
    products are divided by the root of key_dim. What all heads give is projected to the features that came
    in, or to `output_dim` (Keras's output_shape). `dropout` is of the weights of the steps. Masked steps are
    not looked at. Glorot-uniform kernels, zero biases.
    """

    kind = "multi_head_attention"
    mask = "uses"
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """The features of each step, or `output_dim`."""
        steps, features = steps_of(self, taken)
        return (steps, self.output_dim or features)


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
