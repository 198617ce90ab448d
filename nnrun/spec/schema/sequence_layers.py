"""Layers over steps: embeddings and recurrent layers."""

from typing import TYPE_CHECKING, Union

from nnrun.spec.schema.component import Count, Decay, Finite
from nnrun.spec.schema.layer_shapes import Activation, LayerInput, NetworkLayer, Shape, ShapeError, steps_of
from nnrun.spec.schema.weight_options import (
    BiasInitializer,
    Constraint,
    GlorotUniform,
    Initializer,
    Orthogonal,
    RandomUniform,
    Regularizer,
    Zeros,
)


class Embedding(NetworkLayer):
    """A learned vector of `output_dim` numbers for each word index. The first layer, after `pad`; or after
    `lookup`, for each value of a column.

    Indices are below `input_dim`; default: the data set's num_words, else what the training rows need.
    Uniform from -0.05 to 0.05 at first; `weights` is a file of word vectors (GloVe's, or word2vec's as text)
    to start from, for the words of a token data set, or of `tokens`, that it has. With `trainable: false` the
    table stays as it is at first. Padding is a word like any other; with `mask_zero` index 0, which
    `pad` fills with, is masked: recurrent layers skip it, `global_average_pooling` leaves it out. Optimizers
    that keep squares of gradients add those of the places where a word stands, as Keras does on TensorFlow,
    but under `embeddings_regularizer`, `gradient_clip` or `gradient_accumulation_steps` square their sum.
    """

    kind = "embedding"
    bare = "output_dim"
    ranks = {"embeddings": 2}
    output_dim: Count
    input_dim: Count | None = None
    mask_zero: bool = False
    weights: str | None = None
    trainable: bool = True
    embeddings_initializer: Initializer = RandomUniform()
    embeddings_regularizer: Regularizer | None = None
    embeddings_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """A vector for each index."""
        if taken.before is not None:
            raise ShapeError(
                f"embedding looks up word indices, so it is the first layer; {taken}, which are no longer "
                "indices; move it to the top"
            )
        return (*taken.shape, self.output_dim)

    @property
    def makes_mask(self) -> bool:
        """With `mask_zero`."""
        return self.mask_zero


class Masking(NetworkLayer):
    """Mask the steps whose features all are `mask_value`, and give zeros for them."""

    kind = "masking"
    bare = "mask_value"
    mask_value: Finite = 0.0

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        return steps_of(self, taken)

    @property
    def makes_mask(self) -> bool:
        """Always."""
        return True


class RecurrentLayer(NetworkLayer):
    """Base of the layers that go from step to step."""

    of_steps = True
    mask = "uses"
    bare = "units"
    if TYPE_CHECKING:  # each declares them itself, among its others: their order is that of a written spec
        units: int
        return_sequences: bool
        bidirectional: bool

    def output_shape(self, taken: LayerInput) -> Shape:
        """The units of the last step, or of every step; of both directions."""
        steps, _ = steps_of(self, taken)
        units = self.units * (2 if self.bidirectional else 1)
        return (steps, units) if self.return_sequences else (units,)

    @property
    def passes_mask(self) -> bool:
        """Where all steps are given."""
        return self.return_sequences


class SimpleRnn(RecurrentLayer):
    """activation(step @ kernel + given before @ recurrent kernel + bias), step after step (Elman 1990).

    Glorot-uniform kernel, orthogonal recurrent kernel, zero bias. Gives the last step, or with
    `return_sequences` all. `bidirectional` adds a second layer of as many units that takes the steps from
    the last to the first, and gives its units behind those of the first (Keras's `Bidirectional` with
    `concat`). `go_backwards` takes the steps, and gives all of them, from the last to the first. While
    training `dropout` zeroes a share of a step's features and `recurrent_dropout` of what was given before;
    for a row the same ones in all steps (Gal & Ghahramani 2016). Masked steps are skipped: what was given
    before them is given again, or with `bidirectional` and `return_sequences` zeros.
    """

    kind = "simple_rnn"
    ranks = {"kernel": 2, "recurrent": 2, "bias": 1}
    units: Count
    activation: Activation = "tanh"
    use_bias: bool = True
    return_sequences: bool = False
    bidirectional: bool = False
    go_backwards: bool = False
    dropout: Decay = 0.0
    recurrent_dropout: Decay = 0.0
    kernel_initializer: Initializer = GlorotUniform()
    recurrent_initializer: Initializer = Orthogonal()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    recurrent_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    recurrent_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None


class Lstm(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), step after step over (steps, features).

    Gates in Keras's order: input, forget, cell, output. Glorot-uniform kernel, orthogonal recurrent kernel,
    zero bias, but 1 for the forget gate with `unit_forget_bias`. Gives the last step, or with
    `return_sequences` all. `bidirectional`, `go_backwards` and the dropouts are those of `simple_rnn`, but
    with `recurrent_dropout` each gate sees a choice of its own.
    """

    kind = "lstm"
    ranks = {"kernel": 2, "recurrent": 2, "bias": 1}
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    unit_forget_bias: bool = True
    return_sequences: bool = False
    bidirectional: bool = False
    go_backwards: bool = False
    dropout: Decay = 0.0
    recurrent_dropout: Decay = 0.0
    kernel_initializer: Initializer = GlorotUniform()
    recurrent_initializer: Initializer = Orthogonal()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    recurrent_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    recurrent_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None


class Gru(RecurrentLayer):
    """Gated recurrent unit (Cho et al. 2014), step after step over (steps, features).

    Gates in Keras's order: update, reset, candidate. `reset_after` resets after the recurrent product, which
    then has its own bias. Glorot-uniform kernel, orthogonal recurrent kernel, zero biases. Gives the
    last step, or with `return_sequences` all. `bidirectional`, `go_backwards` and the dropouts are those of
    `simple_rnn`, but with `recurrent_dropout` each gate sees a choice of its own.
    """

    kind = "gru"
    ranks = {"kernel": 2, "recurrent": 2, "bias": 2}
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    reset_after: bool = True
    return_sequences: bool = False
    bidirectional: bool = False
    go_backwards: bool = False
    dropout: Decay = 0.0
    recurrent_dropout: Decay = 0.0
    kernel_initializer: Initializer = GlorotUniform()
    recurrent_initializer: Initializer = Orthogonal()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    recurrent_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    recurrent_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None


SequenceLayer = Union[Embedding, Masking, Lstm, Gru, SimpleRnn]
