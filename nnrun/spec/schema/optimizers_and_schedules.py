"""The optimizers, the schedules of their learning rate, gradient clipping, and averages of the weights."""

from typing import Annotated, Any, Literal, Union

from pydantic import Field, model_validator

from nnrun.spec.schema.component import (
    COMPONENT,
    ONE_IS_ENOUGH,
    Component,
    Config,
    Count,
    Decay,
    Finite,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    Share,
)

Place = Annotated[Union[NonNegativeInt, str], "place"]
"""Where a layer stands: `2`, `words.2`."""
ArraysOrPlace = Annotated[Union[NonNegativeInt, str], "arrays_or_place"]
"""The same, or arrays of every layer: one of `EXCLUDED_ARRAYS`."""


EXCLUDED_ARRAYS = ("bias", "gamma", "embeddings")
"""Of `exclude_from_weight_decay` the words that are no places of layers."""


class OptimizerComponent(Component):
    """Base of the optimizers, with what all of them take, as in Keras.

    `weight_decay`: before each update w -= learning_rate * weight_decay * w, biases too. What
    `exclude_from_weight_decay` lists does not decay: `bias` (of every layer), `gamma` (the scales of
    normalization, and the vectors r and s of an ensemble), `embeddings` (tables of embeddings), or the place
    of a layer or a chain, as `nnrun show` and weights files have them: `2`, `words.2`, `words`. So `[bias,
    gamma]` lets kernels alone decay.
    (Keras's method of that name takes parts of its own variables' names.)
    `gradient_accumulation_steps` n: an update after every n batches, by the mean of their gradients. What is
    left at the end of an epoch counts in the next one.
    `use_ema`: keep a moving average of the weights, average = ema_momentum * average + (1 - ema_momentum) * w
    after each update, and put it in place of the weights after every `ema_overwrite_frequency` updates, and
    when the training ends. As in Keras's `fit`, the epochs in between train and validate the weights
    themselves, and the best epoch's are those that were validated; so the score of what training ends with is
    not that of the last epoch. Where early stopping restores the best epoch, its weights are kept instead.
    """

    bare = "learning_rate"
    rarely_changed = frozenset(
        ("exclude_from_weight_decay", "use_ema", "ema_momentum", "ema_overwrite_frequency")
    )
    learning_rate: Positive = 0.001
    weight_decay: NonNegative = 0.0
    exclude_from_weight_decay: Annotated[list[ArraysOrPlace], ONE_IS_ENOUGH] = []
    gradient_accumulation_steps: Annotated[int, Field(ge=2)] | None = None
    use_ema: bool = False
    ema_momentum: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.99
    ema_overwrite_frequency: Count | None = Field(None, examples=[100])

    @property
    def decay_of_others(self) -> float:
        """The weight decay of parameters that do not go through an optimizer's rule for matrices."""
        return self.weight_decay


class RmsProp(OptimizerComponent):
    """Epsilon is inside the root: w -= learning_rate * g / sqrt(v + epsilon)."""

    kind = "rmsprop"
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Positive = 1e-7
    centered: bool = False


class Sgd(OptimizerComponent):
    """Gradient descent, with momentum where `momentum` is not 0."""

    kind = "sgd"
    learning_rate: Positive = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


class Adam(OptimizerComponent):
    """Epsilon is outside the root and is not scaled by the bias correction (Keras's 'epsilon hat')."""

    kind = "adam"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class AdamW(OptimizerComponent):
    """Adam with decoupled weight decay: w -= learning_rate * weight_decay * w each step, biases too.

    `exclude_from_weight_decay: [bias]` leaves the biases out.
    """

    kind = "adamw"
    weight_decay: NonNegative = 0.004
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class Adagrad(OptimizerComponent):
    """Epsilon is inside the root; the accumulator starts at `initial_accumulator_value`."""

    kind = "adagrad"
    initial_accumulator_value: NonNegative = 0.1
    epsilon: Positive = 1e-7


class Nadam(OptimizerComponent):
    """Adam with Nesterov momentum (Dozat 2015), whose beta_1 rises with the steps."""

    kind = "nadam"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7


class Adamax(OptimizerComponent):
    """Adam by the largest gradient instead of the mean square (Kingma & Ba 2015, section 7)."""

    kind = "adamax"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7


class Adadelta(OptimizerComponent):
    """Steps of the size of earlier ones (Zeiler 2012). In the paper the learning rate is 1."""

    kind = "adadelta"
    rho: Decay = 0.95
    epsilon: Positive = 1e-7


class Lion(OptimizerComponent):
    """The sign of a mixture of gradient and momentum (Chen et al. 2023).

    Every weight moves by the learning rate, so that rate is 3 to 10 times smaller than Adam's.
    """

    kind = "lion"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.99


class Lamb(OptimizerComponent):
    """Adam with each array's step scaled to the size of the array, for large batches (You et al. 2020)."""

    kind = "lamb"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7


class Ftrl(OptimizerComponent):
    """Follow the regularized leader (McMahan et al. 2013): weights from sums of all gradients.

    As in Keras the first weights count for the first gradient only: the first update sets each weight anew.
    """

    kind = "ftrl"
    learning_rate_power: Annotated[float, Field(le=0, allow_inf_nan=False)] = -0.5
    initial_accumulator_value: NonNegative = 0.1
    l1_regularization_strength: NonNegative = 0.0
    l2_regularization_strength: NonNegative = 0.0
    l2_shrinkage_regularization_strength: NonNegative = 0.0
    beta: NonNegative = 0.0


class Muon(OptimizerComponent):
    """Matrices move by their momentum made orthogonal (Jordan et al. 2024), all else by AdamW, as in Keras.

    A matrix is what is one in Keras: kernels of dense and recurrent layers, not those of convolutions and of
    attention. Its momentum's singular values are brought near 1 by `ns_steps` steps of the Newton-Schulz
    iteration with the coefficients `muon_a`, `muon_b`, `muon_c`. The step is multiplied by `rms_rate` and the
    root of the larger size (Liu et al. 2025), which makes it about as long as Adam's; `rms_rate: null` leaves
    that out. Embeddings go by AdamW with `exclude_embeddings`, and so do the layers whose places are in
    `exclude_layers`, as `nnrun show` and weights files have them: `2`, `words.2`, or `words` for a chain.
    As in Keras it is empty, though Muon's authors leave the last layer to AdamW. (Keras takes regular
    expressions for its own names.) AdamW has `adam_lr_ratio` times the learning rate, and decays by
    `adam_weight_decay`.
    """

    kind = "muon"
    adam_beta_1: Decay = 0.9
    adam_beta_2: Decay = 0.999
    adam_weight_decay: NonNegative = 0.004
    epsilon: Positive = 1e-7
    weight_decay: NonNegative = 0.004
    exclude_layers: Annotated[list[Place], ONE_IS_ENOUGH] = []
    exclude_embeddings: bool = True
    muon_a: Finite = 3.4445
    muon_b: Finite = -4.775
    muon_c: Finite = 2.0315
    adam_lr_ratio: NonNegative = 1.0
    momentum: Decay = 0.95
    ns_steps: NonNegativeInt = 5
    nesterov: bool = True
    rms_rate: Positive | None = 0.2

    @property
    def decay_of_others(self) -> float:
        """That of AdamW."""
        return self.adam_weight_decay


Optimizer = Annotated[
    Union[
        RmsProp,
        Sgd,
        Adam,
        AdamW,
        Adagrad,
        Nadam,
        Adamax,
        Adadelta,
        Lion,
        Lamb,
        Ftrl,
        Muon,
    ],
    COMPONENT,
]


#
# A rate holds for a whole epoch: it follows from the number of the epoch and from the history before it, and
# from nothing else, so that an epoch boundary is a complete state. `rate` below is the optimizer's.


class Step(Component):
    """rate * factor ** n after every n-th `every` epochs: `step: 10` divides it by 10 every 10 epochs."""

    kind = "step"
    example = 10
    bare = "every"
    every: Count
    factor: Share = 0.1


class Exponential(Component):
    """rate * factor ** n after n epochs (Keras's `ExponentialDecay` with one epoch as `decay_steps`)."""

    kind = "exponential"
    example = 0.95
    bare = "factor"
    factor: Share


class Cosine(Component):
    """Half a cosine from the rate down to `minimum` * rate (Keras's `CosineDecay` at the epochs' beginnings).

    It takes `epochs`, by default all that the spec trains for (after a warm-up), and then stays there.
    """

    kind = "cosine"
    bare = "epochs"
    epochs: Count | None = None
    minimum: Decay = 0.0


class ReduceOnPlateau(Component):
    """Keras's `ReduceLROnPlateau`, for each fold or seed separately.

    `monitor` is `inner_loss` by default where `early_stopping` is `on: inner`.
    rate * `factor`, not below `min_learning_rate`, once `monitor` has not improved by more than `min_delta`
    for `patience` epochs; then `cooldown` epochs of grace.
    """

    kind = "reduce_on_plateau"
    example = {"factor": 0.5, "patience": 5}
    bare = "patience"
    monitor: str = "val_loss"
    factor: Fraction = 0.1
    patience: NonNegativeInt = 10
    min_delta: NonNegative = 1e-4
    cooldown: NonNegativeInt = 0
    min_learning_rate: NonNegative = 0.0


class Warmup(Component):
    """From `start` * rate up to the rate, linearly over `epochs` epochs.

    An epoch has the rate of its middle: half the rate for a warm-up of one epoch from 0.
    """

    kind = "warmup"
    example = 3
    bare = "epochs"
    epochs: Count = 1
    start: Decay = 0.0


class Rates(Component):
    """The rate of each epoch, written out; after the last it stays. The optimizer's rate is not used."""

    kind = "rates"
    example = [1e-3, 1e-3, 1e-4]
    bare = "rates"
    rates: Annotated[list[NonNegative], Field(min_length=1)]


class Polynomial(Component):
    """(rate - `end_learning_rate`) * (1 - share)^`power` + `end_learning_rate` (Keras's `PolynomialDecay`).

    The share of `epochs` that are done, by default of all that the spec trains for (after a warm-up). Then it
    stays at the end, or with `cycle` begins again over twice the epochs, three times, and so on.
    """

    kind = "polynomial"
    bare = "power"
    power: Positive = 1.0
    end_learning_rate: NonNegative = 0.0001
    epochs: Count | None = None
    cycle: bool = False


class InverseTime(Component):
    """rate / (1 + `decay_rate` * n) after n * `every` epochs (Keras's `InverseTimeDecay`).

    n is a fraction in between; with `staircase` the whole number below it.
    """

    kind = "inverse_time"
    example = 0.1
    bare = "decay_rate"
    decay_rate: NonNegative
    every: Count = 1
    staircase: bool = False


class Piecewise(Component):
    """`values` one after the other: the first up to the epoch `boundaries[0]`, and so on.

    There is one value more than there are boundaries (Keras's `PiecewiseConstantDecay`). The optimizer's rate
    is not used.
    """

    kind = "piecewise"
    example = {"boundaries": [10, 20], "values": [1e-3, 3e-4, 1e-4]}
    boundaries: Annotated[list[Count], Field(min_length=1)]
    values: Annotated[list[NonNegative], Field(min_length=2)]


class CosineRestarts(Component):
    """`cosine` again and again (Keras's `CosineDecayRestarts` at the epochs' beginnings).

    The first takes `epochs`, each next one `t_mul` times as long and beginning `m_mul` times as high.
    """

    kind = "cosine_restarts"
    example = 10
    bare = "epochs"
    epochs: Count
    t_mul: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    m_mul: Share = 1.0
    minimum: Decay = 0.0


class OneCycle(Component):
    """Up from rate / `div_factor` to the rate, then down to rate / `div_factor` / `final_div_factor`.

    PyTorch's `OneCycleLR` with one step an epoch, since a rate holds for a whole epoch here: the share
    `pct_start` of the `epochs` goes up, by default of all that the spec trains for. The optimizer's rate is
    PyTorch's max_lr, and its momentum does not change.
    """

    kind = "one_cycle"
    example = 0.3
    bare = "pct_start"
    pct_start: Fraction = 0.3
    anneal: Literal["cos", "linear"] = "cos"
    div_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 25.0
    final_div_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1e4
    epochs: Count | None = None


AS_LONG_AS_THE_TRAINING = (Cosine, Polynomial, OneCycle)
"""Schedules whose `epochs` are by default all that the spec trains for: more cannot be added later."""


LearningRateSchedule = Annotated[
    Union[
        Step,
        Exponential,
        Cosine,
        ReduceOnPlateau,
        Warmup,
        Rates,
        Polynomial,
        InverseTime,
        Piecewise,
        CosineRestarts,
        OneCycle,
    ],
    COMPONENT,
]


class Ema(Component):
    """Exponential moving average of the weights, updated after every optimizer step.

    ema += (1 - d_t) * (w - ema), with d_t = min(decay, (1 + t) / (10 + t)) after t steps, as TensorFlow's
    `ExponentialMovingAverage` with `num_updates`: the average begins as the first weights and soon forgets
    them. `decay` is by default 1 - 1 / max(50, 2 * steps per epoch), which averages over about two epochs;
    it follows from the training rows of each fold. Of accumulated gradients, t counts the updates.
    """

    kind = "ema"
    bare = "decay"
    decay: Fraction | None = None


class Swa(Component):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights at the ends of epochs.

    As `torch.optim.swa_utils.AveragedModel` with one update an epoch. The mean begins with the epoch `start`;
    below 1 it is a share of the epochs: 0.75 of 20 epochs averages the last five, epochs 16 to 20. Before
    that, the weights themselves are used. The learning rate is what the optimizer and its schedule say.
    """

    kind = "swa"
    bare = "start"
    start: Positive = 0.75


WeightAveraging = Annotated[Union[Ema, Swa], COMPONENT]


class GradientClip(Config):
    """One of two limits. A bare number is a `norm`.

    `norm`: where the norm of all gradients of a network is larger, all are scaled down to it (Keras's
    `global_clipnorm`). `value`: no entry of a gradient is larger, or smaller than its negative (`clipvalue`).
    """

    bare = "norm"
    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_a_norm(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"norm": value} if is_number else value
