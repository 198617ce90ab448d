"""Layers over steps: embeddings and recurrent layers."""

from __future__ import annotations

from typing import Union

from nnrun.spec.schema.component import Count
from nnrun.spec.schema.layer_base import Activation, NetworkLayer
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, ShapeError, steps_of


class Embedding(NetworkLayer):
    """A learned vector of `output_dim` numbers for each word index. The first layer, after `pad`.

    Word indices are below `input_dim`; default: the data set's num_words, else what the training rows need.
    Uniform from -0.05 to 0.05 at first. Padding is a word like any other (Keras's mask_zero: false).
    """

    kind = "embedding"
    bare = "output_dim"
    output_dim: Count
    input_dim: Count | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """A vector for each index."""
        if taken.before is not None:
            raise ShapeError(
                f"embedding looks up word indices, so it is the first layer; {taken}, which are no longer "
                "indices; move it to the top"
            )
        return (*taken.shape, self.output_dim)


class Lstm(NetworkLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), step after step over (steps, features).

    Gates in Keras's order: input, forget, cell, output. Glorot-uniform kernel, orthogonal recurrent kernel,
    zero bias, but 1 for the forget gate with `unit_forget_bias`. Gives the last step, or with
    `return_sequences` all. Padding is not masked.
    """

    kind = "lstm"
    bare = "units"
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    unit_forget_bias: bool = True
    return_sequences: bool = False

    def output_shape(self, taken: LayerInput) -> Shape:
        """The units of the last step, or of every step."""
        steps, _ = steps_of(self, taken)
        return (steps, self.units) if self.return_sequences else (self.units,)


class Gru(NetworkLayer):
    """Gated recurrent unit (Cho et al. 2014), step after step over (steps, features).

    Gates in Keras's order: update, reset, candidate. `reset_after` resets after the recurrent product, which
    then has its own bias. Glorot-uniform kernel, orthogonal recurrent kernel, zero biases. Gives the
    last step, or with `return_sequences` all. Padding is not masked.
    """

    kind = "gru"
    bare = "units"
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    reset_after: bool = True
    return_sequences: bool = False

    def output_shape(self, taken: LayerInput) -> Shape:
        """The units of the last step, or of every step."""
        steps, _ = steps_of(self, taken)
        return (steps, self.units) if self.return_sequences else (self.units,)


SequenceLayer = Union[Embedding, Lstm, Gru]
