"""The whole spec of an experiment, and its sweep."""

from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import Discriminator, Field, Tag, model_validator

from nnrun.spec.schema.component import (
    ONE_COMPONENT_IS_ENOUGH,
    AutoOrSwitch,
    Component,
    Config,
    Count,
    Duration,
    Finite,
    Positive,
    Seed,
    Share,
    component_tag,
)
from nnrun.spec.schema.inputs_and_outputs import NamedInput, NamedOutput
from nnrun.spec.schema.layers import Chain, Layers
from nnrun.spec.schema.loss_components import ClassWeight, Loss
from nnrun.spec.schema.metric_components import Calibrate, Metric, Threshold
from nnrun.spec.schema.optimizers_and_schedules import (
    GradientClip,
    LearningRateSchedule,
    Optimizer,
    RmsProp,
    WeightAveraging,
)
from nnrun.spec.schema.preprocessing_steps import Preprocessing
from nnrun.spec.schema.sources import Dataset
from nnrun.spec.schema.validation_methods import EarlyStopping, Nested, NoValidation, Validation


class Uniform(Component):
    """Any number from the first to the second, all equally likely."""

    kind = "uniform"
    example = [0.0, 0.5]
    bare = "range"
    range: Annotated[list[Finite], Field(min_length=2, max_length=2)]


class LogUniform(Component):
    """Any number from the first to the second, all orders of magnitude equally likely."""

    kind = "log_uniform"
    example = [1e-4, 1e-2]
    bare = "range"
    range: Annotated[list[Positive], Field(min_length=2, max_length=2)]


class IntUniform(Component):
    """Any whole number from the first to the second, both included, all equally likely."""

    kind = "int_uniform"
    example = [16, 128]
    bare = "range"
    range: Annotated[list[int], Field(min_length=2, max_length=2)]


VALUES = "values"
"""The tag of a plain list among the `SweptValues`; no component has this name."""

SweptValues = Annotated[
    Union[
        Annotated[Uniform, Tag("uniform")],
        Annotated[LogUniform, Tag("log_uniform")],
        Annotated[IntUniform, Tag("int_uniform")],
        Annotated[list[Any], Tag(VALUES)],
    ],
    Discriminator(lambda value: VALUES if isinstance(value, list) else component_tag(value)),
]


def swept_paths(key: str) -> list[str]:
    """The keys of a spec that a key of `Sweep.over` names."""
    return [path.strip() for path in key.split(",")]


class Sweep(Config):
    """What `nnrun sweep` tries, one run for each trial.

    `over` maps keys of the spec, spelled as for `--set`, to a list of values or a range. Several keys with
    commas between them (`layers[0].dense.units, layers[2].dense.units`) have the same value in each trial.
    `grid` tries every combination; `random` and `tpe` (Optuna's, which learns from earlier trials) try that
    many `trials`. `shuffle` tries the combinations of a grid in random order, but for the first, so that a
    time limit leaves out no value of a key in particular.
    `monitor` is the column that the trials are compared by; default: the one that chooses a run's best epoch.
    `seed` defaults to the spec's. `prune` ends a trial of `tpe` that does worse than the median at its epoch.
    Of `grid` and `random` up to `together` trials of one architecture train side by side, with all their
    folds; and of `tpe` with `nested` the next trial of each outer fold. With a `time_limit` trials of several
    folds train one by one.
    `time_limit` (`90s`, `10m`, `2h`) ends the sweep: no trials begin that are not expected to end in time,
    and those that run are ended after an epoch. The same sweep, started again, goes on for as long again.
    """

    rarely_changed = frozenset(("shuffle", "time_limit"))

    method: Literal["grid", "random", "tpe"] = Field("grid", examples=["random"])
    shuffle: bool = False
    over: Annotated[
        dict[str, SweptValues], Field(min_length=1, examples=[{"layers[0].dense.units": [16, 64]}])
    ]
    trials: Count | None = Field(None, examples=[20])
    monitor: str | None = Field(None, examples=["val_mae"])
    seed: Seed | None = Field(None, examples=[1])
    prune: bool = True
    together: Count = 8
    time_limit: Duration | None = None


class Ensemble(Config):
    """Several networks, the members, that train together as one and whose mean is the prediction.

    With `kind: batch` (BatchEnsemble, Wen et al. 2020; TabM, Gorishniy et al. 2025) the members share the
    kernel of each dense layer, and member k has vectors r, s and a bias of its own: x becomes
    ((x * r) @ kernel) * s + bias. At first r is 1 or -1 at random in the dense layers that no other comes
    before, else 1, and s is 1. The layers that give outputs, and what else has weights, belong to the
    members. With `kind: independent` the members share nothing.

    Each member draws its own dropout. What is minimized, and `loss` in the history, is the mean of the
    members' losses. Predictions are the mean of the members' probabilities, or of their numbers in the
    target's own units. Metrics are those of the mean prediction, and so is `val_loss`: the early stopping of
    TabM's authors looks at the mean prediction too. So `val_loss` may lie below `loss` from the start.
    """

    averages: ClassVar[tuple[str, ...]] = (
        "linear", "relu", "exponential", "softplus", "sigmoid", "softmax",
    )  # fmt: skip
    """The activations of outputs that it can average."""
    bare = "members"
    members: Annotated[int, Field(ge=2)] = 32
    kind: Literal["batch", "independent"] = "batch"

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_of_members(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"members": value} if is_number else value


_OPTIONAL_PARTS = (
    "init_weights",
    "class_weight",
    "calibrate",
    "threshold",
    "gradient_clip",
    "weight_averaging",
    "early_stopping",
    "time_limit",
    "nested",
    "sweep",
    "ensemble",
)


class ExperimentSpec(Config):
    """One experiment: everything that decides what is computed.

    `name` defaults to the file's stem; paths are absolute after loading.

    `layers` is one list of layers, or a map of named lists, chains, which take what inputs or other chains
    give; the chain that no other takes is the output. `shared` are chains whose weights are the same wherever
    a chain uses them. `inputs` names the inputs, where there are several. `outputs` names the chains that are
    learned, each with its own target, loss and metrics, which then do not stand at the top; `total_loss` is
    the sum of loss_weight * loss, or the mean.

    `learning_rate_schedule` is one schedule, or `warmup` and one that follows it. `class_weight` multiplies
    the training loss of a row: `balanced` (rows / (classes * rows of the class), among the training rows) or
    a map from classes, by name or label, to weights; a class that is not in it has 1.

    `weight_averaging` keeps an average of the weights beside those that are trained, `ema` or `swa`. The
    average is what is validated, chosen among epochs, restored and kept, and so what predicts and is
    exported; training goes on with its own weights. (Keras's `use_ema`, an option of the optimizers, differs:
    it validates the weights themselves.) The running statistics of `batch_normalization` are averaged like
    the weights, as `AveragedModel(use_buffers=True)` and timm's `ModelEma` do: that is close to the
    statistics of the averaged network where the averaged weights are close to each other. PyTorch's
    `update_bn`, which measures them anew over the training rows, is not done.

    `time_limit` (`90s`, `10m`, `2h`; a bare number is seconds) ends training after an epoch, once the next is
    not expected to end in time; how many epochs that are depends on the machine and on what else it does. At
    least one epoch is trained. Loading the data and preparing the rows do not count. Folds that train one
    after the other share the time. Trials that train side by side each have all of it.

    `train_fraction` trains on a part of each fold's training rows, as `nnrun curve` does: drawn by class
    where there are classes, by whole groups where there are groups, the latest where the split goes by time.
    Those of a smaller part are among those of a larger one. Validation rows stay.

    `linear_baseline` fits a linear model to the same rows, ridge (alpha = 1) or logistic regression (C = 1)
    as scikit-learn defines them, whose scores stand beside the network's: `auto` where that takes about half
    a second at most by the sizes of the data, `true` in any case, `false` never. It changes nothing else.

    `linear_member` has `nnrun final RUN --members folds` average such a linear model into each fold's
    network, before the last activation. It takes numbers standardized where the network takes bins or ranks;
    what it counts, from 0 to 1, is chosen for each fold on the rows that the other folds validated on.
    Training, and the folds' own histories and scores, are of the networks alone. It is for a list of layers,
    of a table.

    `calibrate` (`temperature`, `platt`, `isotonic`) corrects probabilities that are too sure or too unsure,
    and `threshold` (a number, or `maximize: f1`) says above which probability the second of two classes is
    predicted. Both are fitted when training ends, on rows that a network did not train on: of folds each row
    by the network of its own fold, else the validation rows. Histories, and what chooses an epoch, are of the
    network as trained, at 0.5; predictions, test scores and exports use both.

    `deterministic` makes a GPU compute the same bits each time, more slowly; a CPU does so anyway.
    """

    switchable = {
        **dict.fromkeys(_OPTIONAL_PARTS),
        "learning_rate_schedule": [],
        "metrics": [],
        "validation": "none",
    }
    rarely_changed = frozenset(
        (
            "weight_averaging",
            "time_limit",
            "nested",
            "ensemble",
            "calibrate",
            "threshold",
            "train_fraction",
            "linear_baseline",
            "linear_member",
        )
    )
    name: str = Field(
        "",
        description="The name of the experiment, and of its runs. Default: the file's name.",
        examples=["houses"],
    )
    description: str = Field(
        "",
        description="A sentence for people; nothing depends on it.",
        examples=["A first network for prices of houses"],
    )
    seed: Seed = Field(
        0,
        description="Where random numbers come from: initial weights, order of rows, dropout, splits.",
        examples=[1],
    )
    dataset: Dataset = Field(
        description="Where the rows come from.", examples=[{"csv": {"path": "houses.csv", "target": "price"}}]
    )
    preprocessing: Preprocessing = Field(
        Preprocessing(),
        description="What is done to inputs and targets before the network, fitted on training rows alone.",
        examples=[{"inputs": ["standardize"], "targets": "standardize"}],
    )
    inputs: dict[str, NamedInput] = Field(
        {},
        description="Named inputs of the network, each with a preprocessing of its own.",
        examples=[
            {
                "title": {"columns": ["title"], "preprocessing": [{"text": 1000}]},
                "tags": {"columns": ["team"], "preprocessing": ["one_hot"]},
            }
        ],
    )
    shared: dict[str, Chain] = Field(
        {},
        description="Named chains of layers whose weights are the same wherever a chain uses them.",
        examples=[{"encoder": [{"dense": 32}]}],
    )
    layers: Layers = Field(
        description="The network: a list of layers, or a map of named chains of layers.",
        examples=[[{"dense": {"units": 64, "activation": "relu"}}, {"dense": 1}]],
    )
    outputs: dict[str, NamedOutput] = Field(
        {},
        description="The chains that are learned, each with its target, loss and metrics.",
        examples=[{"priority": {"target": "urgent", "loss": "binary_crossentropy"}}],
    )
    total_loss: Literal["sum", "mean"] = Field(
        "sum", description="How the losses of several outputs become one: their weighted sum, or its mean."
    )
    ensemble: Ensemble | None = Field(
        None,
        description="Several networks that train as one, and whose mean is the prediction.",
        examples=[{"members": 8}],
    )
    init_weights: str | None = Field(
        None,
        description="A safetensors file whose weights the network starts from.",
        examples=["pretrained.safetensors"],
    )
    loss: Loss | None = Field(None, description="What training minimizes.", examples=["mse"])
    class_weight: ClassWeight | None = Field(
        None,
        description="What the training loss of a row of each class is multiplied by.",
        examples=["balanced"],
    )
    optimizer: Optimizer = Field(
        RmsProp(),
        description="How the weights follow the gradient, as Keras defines it.",
        examples=[{"adam": {"learning_rate": 3e-4}}],
    )
    learning_rate_schedule: Annotated[list[LearningRateSchedule], ONE_COMPONENT_IS_ENOUGH] = Field(
        [], description="How the learning rate changes from epoch to epoch.", examples=[["cosine"]]
    )
    gradient_clip: GradientClip | None = Field(
        None,
        description="A bound on the gradient of a step: on its norm, or on each value.",
        examples=[{"norm": 1.0}],
    )
    weight_averaging: WeightAveraging | None = Field(
        None,
        description="Keep an average of the weights of many steps, and predict with that.",
        examples=["ema"],
    )
    metrics: list[Metric] = Field(
        [], description="Scores that are measured beside the loss.", examples=[["accuracy"]]
    )
    calibrate: Calibrate | None = Field(
        None,
        description="Correct probabilities that are too sure or too unsure, when training has ended.",
        examples=["temperature"],
    )
    threshold: Threshold | None = Field(
        None,
        description="The probability above which the second of two classes is predicted.",
        examples=[{"maximize": "f1"}],
    )
    epochs: Count = Field(
        1, description="How many times training goes through all training rows.", examples=[20]
    )
    batch_size: Count = Field(32, description="How many rows a step takes.", examples=[128])
    shuffle: bool = Field(
        True, description="Whether each epoch takes the training rows in a new random order."
    )
    deterministic: bool = Field(
        False,
        description="Whether a GPU computes the same bits each time, more slowly; a CPU does so anyway.",
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        description="Stop when a score of the validation rows has not improved for some epochs.",
        examples=[{"patience": 5, "restore_best": True}],
    )
    time_limit: Duration | None = Field(
        None, description="End training in time, after a whole epoch.", examples=["10m"]
    )
    validation: Validation = Field(
        NoValidation(),
        description="Which training rows are set apart, or in which folds, to measure the network on.",
        examples=[{"kfold": 4}],
    )
    train_fraction: Share = Field(1.0, description="Train on a part of the training rows.", examples=[0.5])
    linear_baseline: AutoOrSwitch = Field(
        "auto",
        description="Whether a linear model is fitted to the same rows, to compare with.",
        examples=[True],
    )
    linear_member: bool = Field(
        False,
        description="Whether `nnrun final --members folds` averages a linear model into each network.",
        examples=[True],
    )
    nested: Nested | None = Field(
        None,
        description="Outer folds of nested cross-validation, which no choice has seen.",
        examples=[{"k": 5}],
    )
    sweep: Sweep | None = Field(
        None,
        description="What `nnrun sweep` tries, one run for each trial.",
        examples=[{"over": {"layers[0].dense.units": [16, 64]}}],
    )

    @property
    def number_of_folds(self) -> int:
        """How many networks are trained for one seed: with `nested` the inner folds of all outer ones."""
        within = self.validation.number_of_folds
        return within if self.nested is None else within * self.nested.k

    @property
    def has_folds(self) -> bool:
        """Whether one network is trained for each of several folds."""
        return self.number_of_folds > 1

    @property
    def own_loss(self) -> Component:
        """The loss of a spec of one output, or of one of several as `nnrun.spec.ports` shows it alone."""
        assert self.loss is not None, "reading refuses a spec without"
        return self.loss
