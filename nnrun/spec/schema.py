"""The types of a spec, with every default, and nothing else.

A *component* is a name, or a one-key map from a name to its parameters; one with an obvious parameter takes a
bare value. `Component` below understands the three forms, so that the same grammar holds for a spec file, for
`--set`, and for overrides given from Python:

    optimizer: rmsprop
    optimizer: {rmsprop: {learning_rate: 1e-3}}
    layers: [{dense: 64}]

Defaults are those of Keras 3 (keras.io/api), unless a docstring says otherwise.
To add a component: write its class, add it to its union, and write its one function in its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
ColumnName = Annotated[Union[NonNegativeInt, str], "column"]
"""A column by its name or, from 0, by its position among the inputs."""
Value = Annotated[Union[bool, int, float, str], "value"]
"""A single value of a file, as YAML reads it."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


ONE_IS_ENOUGH = BeforeValidator(_as_list)
"""Marks a list of which a single entry may stand alone: `columns: age`."""


def _number_as_list(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


ONE_SIZE_IS_ENOUGH = BeforeValidator(_number_as_list)
"""Marks a list for which a single number may stand: a size that is the same along every axis."""
ONE_IS_ENOUGH_MARKS = (ONE_IS_ENOUGH, ONE_SIZE_IS_ENOUGH)
Columns = Annotated[list[ColumnName], ONE_IS_ENOUGH]
Names = Annotated[list[str], Field(min_length=1), ONE_IS_ENOUGH]

# Other usual spellings of a name, as Keras and scikit-learn accept them.
ALIASES: Mapping[str, str] = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "top_k_categorical_accuracy": "top_k",
    "sparse_top_k_categorical_accuracy": "top_k",
    "r2_score": "r2",
    "f1_score": "f1",
    "average_precision_score": "average_precision",
    "silu": "swish",
    "boston": "boston_housing",
    "tsv": "csv",
}

ActivationName = Literal[
    "linear", "relu", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu"
]
Activation = Annotated[
    ActivationName,
    BeforeValidator(lambda name: ALIASES.get(name, name) if isinstance(name, str) else name),
]
Padding = Literal["valid", "same"]
Sizes = Annotated[list[Count], Field(min_length=1, max_length=2), ONE_SIZE_IS_ENOUGH]


def _is_off(value: Any) -> bool:
    """Whether a value is one of the four ways to switch a part off."""
    return value is None or (isinstance(value, (str, list, Mapping)) and value in ("none", [], {}))


class Config(BaseModel):
    """Base of everything in a spec: strict types, no unknown keys, immutable.

    Class attributes:
        bare: the field that a bare value fills (`dense: 64`, `gradient_clip: 1.0`), or None.
        switchable: the fields that `none`, `null`, `[]` and `{}` switch off, and what they are then.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    bare: ClassVar[str | None] = None
    switchable: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _switch_off(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        off = {
            key: instead
            for key, instead in cls.switchable.items()
            if key in value
            and (_is_off(value[key]) or (key in _EMPTY_WITHOUT_VALUES and _says_nothing(value[key])))
        }
        return {**value, **off} if off else value


_EMPTY_WITHOUT_VALUES = ("test", "gradient_clip")
"""Parts that mean nothing where none of their parameters has a value."""


def _says_nothing(part: Any) -> bool:
    """Whether a map gives no key a value, as `{fraction: null}`."""
    return isinstance(part, Mapping) and all(value is None for value in part.values())


class Component(Config):
    """A named part of an experiment.

    Class attributes:
        kind: the name that a spec uses.
    """

    kind: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """Turn any of a component's three forms into the map of its parameters."""
        if isinstance(value, str):
            return {}
        if isinstance(value, Mapping) and len(value) == 1:
            (name, params), *_ = value.items()
            if component_name(name) == cls.kind:
                if params is None:
                    return {}
                if not isinstance(params, Mapping) and cls.bare is not None:
                    return {cls.bare: params}
                return params
        return value

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.kind: handler(self)}


def component_name(name: Any) -> Any:
    """The canonical name of a component, its aliases resolved; anything unknown is given back unchanged."""
    return ALIASES.get(name, name) if isinstance(name, str) else name


def _component_tag(value: Any) -> str | None:
    """Which component a value names: the discriminator of every union below."""
    if isinstance(value, Component):
        return value.kind
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value))
    return component_name(value) if isinstance(value, str) else None


COMPONENT = Discriminator(_component_tag)


def _with_list(value: Any, key: str) -> Any:
    """The map with a list under `key`, where a single item stands there."""
    if isinstance(value, Mapping) and not isinstance(value.get(key, []), list):
        return {**value, key: [value[key]] if value[key] not in (None, {}) else []}
    return value


TARGET_STEPS = ["log1p", "standardize"]
"""Two steps under `targets` that make one component: `{log1p: {standardize: true}}`."""


def _with_one_target_step(value: Any) -> Any:
    """The map with one component under `targets`, where a list of steps that make one stands there."""
    steps = value.get("targets") if isinstance(value, Mapping) else None
    if not isinstance(steps, list):
        return value
    if len(steps) == 1:
        return {**value, "targets": steps[0]}
    return {**value, "targets": {"log1p": {"standardize": True}}} if steps == TARGET_STEPS else value


class Custom(Component):
    """Custom Python code, `package.module:name`, called with `parameters`.

    It runs only if the command has `--allow-custom package.module`; `nnrun.spec.custom_objects` lists the
    requirements.
    """

    kind = "custom"
    bare = "object"
    object: str
    parameters: dict[str, Value] = {}


# --- data sets ---------------------------------------------------------------------------------------------


class Imdb(Component):
    """50,000 film reviews as lists of word indices, half positive (book, section 3.4)."""

    kind = "imdb"
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None


class Reuters(Component):
    """11,228 newswires as lists of word indices, in 46 topics (book, section 3.5)."""

    kind = "reuters"
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None
    test_fraction: Fraction = 0.2


class BostonHousing(Component):
    """506 districts, 13 features, median house price in 1000 dollars (book, section 3.6)."""

    kind = "boston_housing"
    bare = "test_fraction"
    test_fraction: Fraction = 0.2


class Sklearn(Component):
    """A small data set that ships with scikit-learn. It has no test set of its own."""

    kind = "sklearn"
    bare = "name"
    name: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"]


class Npz(Component):
    """A NumPy archive with x_train, y_train and, optionally, x_test, y_test."""

    kind = "npz"
    bare = "path"
    path: str


class TestRows(Config):
    """The test set: a `fraction` of the rows, those with a `value` in a `column`, or another file.

    A fraction is drawn at random with its own seed, so that a spec's seeds share one test set; with
    `shuffle: false` it is the last rows. `path` is a file of the same columns.
    """

    fraction: Fraction | None = None
    shuffle: bool = True
    stratify: bool = False
    seed: Seed = 0
    path: str | None = None
    column: str | None = None
    value: Value | None = None


ColumnType = Literal["number", "category", "text", "date"]


class RowFile(Component):
    """A file of rows with named columns.

    `target` is what to predict: a column, or several (numbers, or 0 and 1 for each of several labels).
    `inputs` default to every column that has no other role. `test` says which rows are the test set; default:
    none. `drop_missing` leaves out rows where an input is missing, `drop_missing_target` rows where a target
    is (they are refused otherwise). Rows of one `group` are never split between training and validation.
    `weight` is how much a row counts in the loss. `types` overrides what the values of a column look like.
    A column that only numbers the rows is not an input by default; naming it in `inputs` makes it one.
    """

    bare = "path"
    switchable = {"test": None}
    path: str
    target: Names
    inputs: Annotated[list[str], ONE_IS_ENOUGH] | None = None
    test: TestRows | None = None
    drop_missing: bool = False
    drop_missing_target: bool = False
    group: str | None = None
    weight: str | None = None
    types: dict[str, ColumnType] = {}


DecimalMark = Literal[".", ","]
ThousandsMark = Literal[",", ".", " ", "'"]


class NumberFormat(Config):
    """How numbers are written: the mark before the decimals, and the mark between groups of thousands."""

    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None


class Csv(RowFile):
    """A CSV file, in UTF-8; `.tsv` is separated by tabs, `.gz` is unpacked.

    `delimiter` defaults to what the name and the first line say. `header: false` is for a file whose first
    line is a row; its columns are c0, c1, ... `missing` lists texts that mean a missing value, as an
    empty field does; default: those of pandas (NA, NaN, null, ...). `decimal` and `thousands` say how numbers
    are written, as in 1.234,5; `number_formats` does so for single columns that differ from the others.
    """

    kind = "csv"
    delimiter: str | None = None
    header: bool = True
    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None
    number_formats: dict[str, NumberFormat] = {}
    missing: list[str] | None = None


class Parquet(RowFile):
    """A Parquet file. Needs the extra `nnrun[parquet]`."""

    kind = "parquet"


class Jsonl(RowFile):
    """A file with one JSON object a line. `missing` lists texts that mean a missing value, as null does."""

    kind = "jsonl"
    missing: list[str] = []


class TextFolder(Component):
    """Texts in one folder for each class: `<class>/*.txt`, or train/<class>/ and test/<class>/.

    The inputs have one column, `text`. `test` is for a folder without train/ and test/.
    """

    kind = "text_folder"
    bare = "path"
    switchable = {"test": None}
    path: str
    test: TestRows | None = None


FILES = (RowFile, TextFolder)
"""Data of a user's own with named columns or classes: what they hold is known once they are read."""

Dataset = Annotated[
    Union[
        Annotated[Imdb, Tag("imdb")],
        Annotated[Reuters, Tag("reuters")],
        Annotated[BostonHousing, Tag("boston_housing")],
        Annotated[Sklearn, Tag("sklearn")],
        Annotated[Npz, Tag("npz")],
        Annotated[Csv, Tag("csv")],
        Annotated[Parquet, Tag("parquet")],
        Annotated[Jsonl, Tag("jsonl")],
        Annotated[TextFolder, Tag("text_folder")],
    ],
    COMPONENT,
]


# --- preprocessing -----------------------------------------------------------------------------------------


class PreprocessingStep(Component):
    """Base of the input steps: what a step takes and gives, as far as this is known without the data.

    Class attributes:
        takes: the kinds of column that it takes; where a spec names no columns, all of the first kind.
            `tokens` are rows of word indices: a token data set's, or those that the step `tokens` makes.
        gives: what a column is afterwards: a `number`; the `same` kind as before; `features`, several columns
            that no step follows; `tokens`; or `rows` of numbers, made of tokens.
    """

    takes: ClassVar[tuple[ColumnType | Literal["tokens"], ...]] = ()
    gives: ClassVar[Literal["number", "same", "features", "tokens", "rows"]] = "features"

    @property
    def named_columns(self) -> list[int | str] | None:
        """The columns that the step names, by name or position; None where it takes all of its kind."""
        column = getattr(self, "column", None)
        return getattr(self, "columns", None) if column is None else [column]

    def cannot_take(self, kind: str) -> str | None:
        """Why a column of this kind is refused, where the step has its own reason: the end of a message."""
        return None

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """How many numbers a row has after the step; None where only the data can tell.

        Args:
            width: of a row before the step.
            num_words: the word indices of the data set are below this number.
        """
        return width if self.gives in ("number", "same") else None


class MultiHot(PreprocessingStep):
    """Token lists to rows of 0 and 1, `dimension` wide.

    Default: the data set's num_words, else what the training rows need.
    """

    kind = "multi_hot"
    takes = ("tokens",)
    gives = "rows"
    bare = "dimension"
    dimension: Count | None = None

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """The dimension."""
        return self.dimension or num_words


class Standardize(PreprocessingStep):
    """Subtract the mean, divide by the standard deviation (of the training rows), column by column.

    `columns` are names, or positions from 0; default: all numbers. The standard deviation is the population's
    (ddof 0, as NumPy, the book and scikit-learn have it); a constant column is only centred. Missing values
    stay missing.
    """

    kind = "standardize"
    takes = ("number",)
    gives = "number"
    bare = "columns"
    columns: Columns | None = None


class MinMax(PreprocessingStep):
    """Shift and scale so that the training rows range from 0 to 1 (`MinMaxScaler`)."""

    kind = "min_max"
    takes = ("number",)
    gives = "number"
    bare = "columns"
    columns: Columns | None = None


class Log1p(PreprocessingStep):
    """log(1 + x), for amounts from 0 with a long tail."""

    kind = "log1p"
    takes = ("number",)
    gives = "number"
    bare = "columns"
    columns: Columns | None = None


class Impute(PreprocessingStep):
    """Put a value where one is missing: of the training rows (`SimpleImputer`), or `value` for `constant`.

    `indicator` adds a column that is 1 where the value was missing. Categories take `most_frequent` or
    `constant`. Default columns: all numbers.
    """

    kind = "impute"
    takes = ("number", "category")
    gives = "same"
    bare = "strategy"
    strategy: Literal["mean", "median", "most_frequent", "constant"] = "mean"
    columns: Columns | None = None
    value: Value | None = None
    indicator: bool = False

    def cannot_take(self, kind: str) -> str | None:
        """Texts and dates miss nothing that could be imputed, and categories have no mean."""
        if kind == "category" and self.strategy in ("mean", "median"):
            return (
                f", which have no {self.strategy}; use strategy most_frequent or constant. one_hot also "
                "takes a missing value as a value of its own."
            )
        own = {
            "text": "; a missing text counts as an empty one. Remove it here.",
            "date": "; datetime handles missing ones itself. Remove it here.",
        }
        return own.get(kind)

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """Only the data can tell how many columns have an indicator."""
        return None if self.indicator else width


class OneHot(PreprocessingStep):
    """One column of 0 and 1 for each value that occurs `min_count` times or more in the training rows.

    Rarer values are all 0, and with `unknown: ignore` so are values that the training rows do not contain;
    with `unknown: error` the latter stop the run. Missing values have their own column where training rows
    have some. Default columns: all categories.
    """

    kind = "one_hot"
    takes = ("category", "number", "text", "date")
    bare = "columns"
    columns: Columns | None = None
    min_count: Count = 1
    unknown: Literal["ignore", "error"] = "ignore"


class Ordinal(PreprocessingStep):
    """Each value's place, from 0, in `order`, or in the sorted order of the training rows' values.

    A value that the training rows do not contain becomes -1 with `unknown: ignore`, and stops the run with
    `error`.
    """

    kind = "ordinal"
    takes = ("category", "number", "text", "date")
    gives = "number"
    bare = "columns"
    columns: Columns | None = None
    order: list[str] | None = None
    unknown: Literal["ignore", "error"] = "error"


class Hashing(PreprocessingStep):
    """Each value of a column to one of `buckets` columns of 0 and 1, by a hash: for very many values."""

    kind = "hashing"
    takes = ("category", "number", "text", "date")
    bare = "columns"
    columns: Columns | None = None
    buckets: Annotated[int, Field(ge=2)] = 1024

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """Each column that is named becomes as many as there are buckets."""
        return (
            None if self.columns is None or width is None else width + len(self.columns) * (self.buckets - 1)
        )


DatePart = Literal["year", "month", "day", "weekday", "hour", "elapsed"]


class Datetime(PreprocessingStep):
    """A date's parts as numbers: year, month, day, weekday (Monday is 0), hour, days elapsed since the
    earliest training row; each standardized over the training rows.

    `parts` chooses; default: all, the hour only where some training row has a time of day. A missing date is
    0 in each part, and 1 in a separate feature where training rows lack some. `day_first` says whether
    3/4/2026 is in April; default: as the column's other dates imply. Default columns: all dates.
    """

    kind = "datetime"
    takes = ("date", "category", "text")
    bare = "columns"
    columns: Columns | None = None
    parts: Annotated[list[DatePart], ONE_IS_ENOUGH] = []
    day_first: bool | None = None


class Text(PreprocessingStep):
    """Words of a text to columns: 1 where a word occurs, its count, or tf-idf (scikit-learn's vectorizers).

    Words are the `num_words` most frequent of those that at least `min_count` training rows contain.
    `ngrams` also takes sequences of up to that many words. Default column: all texts.
    """

    kind = "text"
    takes = ("text", "category", "date")
    bare = "num_words"
    num_words: Count = 10_000
    column: ColumnName | None = None
    lower: bool = True
    ngrams: Count = 1
    min_count: Count = 1
    weighting: Literal["binary", "count", "tf_idf"] = "binary"


class Tokens(PreprocessingStep):
    """Words of the only text column to word indices: 1 for rarer and unknown words, then by frequency from 2.

    0 is reserved for `pad`. `num_words` counts these two. The rows are like those of a token data set:
    `pad` or `multi_hot` must follow.
    """

    kind = "tokens"
    takes = ("text", "category", "date")
    gives = "tokens"
    bare = "num_words"
    num_words: Annotated[int, Field(ge=3)] = 10_000
    column: ColumnName | None = None
    lower: bool = True
    min_count: Count = 1


class Pad(PreprocessingStep):
    """Token lists to rows of `length` tokens each, for `embedding` (Keras's `pad_sequences`).

    A shorter list gets `value` at the `side` given; a longer one is cut off at the end that
    `truncate` names. Default for `length`: the longest training row. Tokens that no training row can hold
    (from the data set's num_words on, else above the highest of the training rows) are dropped.
    """

    kind = "pad"
    takes = ("tokens",)
    gives = "rows"
    bare = "length"
    length: Count | None = None
    side: Literal["pre", "post"] = "pre"
    truncate: Literal["pre", "post"] = "pre"
    value: NonNegativeInt = 0

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """The length."""
        return self.length


class NoInputStep(PreprocessingStep):
    """Take the inputs as they are."""

    kind = "none"
    gives = "same"


InputStep = Annotated[
    Union[
        Annotated[MultiHot, Tag("multi_hot")],
        Annotated[Pad, Tag("pad")],
        Annotated[Standardize, Tag("standardize")],
        Annotated[MinMax, Tag("min_max")],
        Annotated[Log1p, Tag("log1p")],
        Annotated[Impute, Tag("impute")],
        Annotated[OneHot, Tag("one_hot")],
        Annotated[Ordinal, Tag("ordinal")],
        Annotated[Hashing, Tag("hashing")],
        Annotated[Datetime, Tag("datetime")],
        Annotated[Text, Tag("text")],
        Annotated[Tokens, Tag("tokens")],
        Annotated[NoInputStep, Tag("none")],
        Annotated[Custom, Tag("custom")],
    ],
    COMPONENT,
]


class OneHotTargets(Component):
    """Class labels to rows of 0 and a single 1."""

    kind = "one_hot"


class ClassIndexTargets(Component):
    """Class labels to integers from 0."""

    kind = "class_index"


class StandardizeTargets(Component):
    """Standardize the target, column by column, by the mean and deviation of the training rows.

    The loss is computed on standardized targets. Metrics, baselines and predictions, of training and
    validation, are in the target's own units.
    """

    kind = "standardize"


class Log1pTargets(Component):
    """log(1 + y), for a target above -1 with a long tail; `[log1p, standardize]` also standardizes it.

    The loss is computed on the logarithms. Metrics, baselines and predictions, of training and validation,
    are in the target's own units.
    """

    kind = "log1p"
    standardize: bool = False


class NoTargetStep(Component):
    """Take the targets as they are."""

    kind = "none"


TargetStep = Annotated[
    Union[
        Annotated[OneHotTargets, Tag("one_hot")],
        Annotated[ClassIndexTargets, Tag("class_index")],
        Annotated[StandardizeTargets, Tag("standardize")],
        Annotated[Log1pTargets, Tag("log1p")],
        Annotated[NoTargetStep, Tag("none")],
    ],
    COMPONENT,
]


class Preprocessing(Config):
    """How raw columns become numbers. Fitted on the training rows of each fold, and on nothing else.

    `inputs` is one step or a list, applied in order. Default for `targets`: what the loss needs.
    """

    inputs: list[InputStep] = []
    targets: TargetStep | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_step_is_a_list(cls, value: Any) -> Any:
        return _with_list(_with_one_target_step(value), "inputs")


# --- layers ------------------------------------------------------------------------------------------------


class L1(Component):
    """l1 * sum(|w|), added to the loss."""

    kind = "l1"
    bare = "l1"
    l1: NonNegative = 0.01


class L2(Component):
    """l2 * sum(w²), added to the loss."""

    kind = "l2"
    bare = "l2"
    l2: NonNegative = 0.01


class L1L2(Component):
    """l1 * sum(|w|) + l2 * sum(w²), added to the loss."""

    kind = "l1_l2"
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0


Regularizer = Annotated[
    Union[Annotated[L1, Tag("l1")], Annotated[L2, Tag("l2")], Annotated[L1L2, Tag("l1_l2")]], COMPONENT
]


class Dense(Component):
    """activation(x @ kernel + bias). Glorot-uniform kernel, zero bias.

    Of rows with more than one axis the last is multiplied, alike at each position along the others.
    """

    kind = "dense"
    switchable = {"kernel_regularizer": None}
    bare = "units"
    units: Count
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Dropout(Component):
    """While training, zero a share `rate` of the inputs and scale the rest by 1 / (1 - rate)."""

    kind = "dropout"
    bare = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)]


class Embedding(Component):
    """A learned vector of `output_dim` numbers for each word index. The first layer, after `pad`.

    Word indices are below `input_dim`; default: the data set's num_words, else what the training rows need.
    Uniform from -0.05 to 0.05 at first. Padding is a word like any other (Keras's mask_zero: false).
    """

    kind = "embedding"
    bare = "output_dim"
    output_dim: Count
    input_dim: Count | None = None


class Flatten(Component):
    """All numbers of a row one after the other, the last axis fastest."""

    kind = "flatten"


class Reshape(Component):
    """The numbers of a row in another shape, the last axis fastest. One size may be -1: what is left over."""

    kind = "reshape"
    bare = "target_shape"
    target_shape: Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=1)]


class GlobalAveragePooling(Component):
    """The mean over all axes but the last: over the steps, or over height and width."""

    kind = "global_average_pooling"


class MaxPooling(Component):
    """The largest number of each window, channel by channel, along the steps or along height and width.

    `pool_size` and `strides` are one number for every axis, or a list; default for `strides`: the pool size.
    """

    kind = "max_pooling"
    bare = "pool_size"
    pool_size: Sizes = [2]
    strides: Sizes | None = None
    padding: Padding = "valid"


class Conv1D(Component):
    """Windows of `kernel_size` steps times a kernel, (steps, channels) to (steps, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    """

    kind = "conv1d"
    switchable = {"kernel_regularizer": None}
    filters: Count
    kernel_size: Count
    strides: Count = 1
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Conv2D(Component):
    """Windows of `kernel_size` times a kernel, (height, width, channels) to (height, width, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    `kernel_size` and `strides` are one number for both axes, or a list of two.
    """

    kind = "conv2d"
    switchable = {"kernel_regularizer": None}
    filters: Count
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Lstm(Component):
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


class Gru(Component):
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


class BatchNormalization(Component):
    """(x - mean) / sqrt(variance + epsilon) of each number along the last axis, then scaled and centred.

    While training mean and variance are the batch's (variance with ddof 0). Afterwards they are moving ones,
    moved by each batch: moving = momentum * moving + (1 - momentum) * batch. (PyTorch's momentum is 1 minus
    Keras's, its epsilon 1e-5, and its moving variance has ddof 1.)
    """

    kind = "batch_normalization"
    momentum: Decay = 0.99
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class LayerNormalization(Component):
    """(x - mean) / sqrt(variance + epsilon) along the last axis of each row, then scaled and centred.

    (PyTorch's epsilon is 1e-5.)
    """

    kind = "layer_normalization"
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class ActivationLayer(Component):
    """An activation function on its own: `activation: relu`."""

    kind = "activation"
    bare = "activation"
    activation: Activation


Layer = Annotated[
    Union[
        Annotated[Dense, Tag("dense")],
        Annotated[Dropout, Tag("dropout")],
        Annotated[Embedding, Tag("embedding")],
        Annotated[Flatten, Tag("flatten")],
        Annotated[Reshape, Tag("reshape")],
        Annotated[GlobalAveragePooling, Tag("global_average_pooling")],
        Annotated[MaxPooling, Tag("max_pooling")],
        Annotated[Conv1D, Tag("conv1d")],
        Annotated[Conv2D, Tag("conv2d")],
        Annotated[Lstm, Tag("lstm")],
        Annotated[Gru, Tag("gru")],
        Annotated[BatchNormalization, Tag("batch_normalization")],
        Annotated[LayerNormalization, Tag("layer_normalization")],
        Annotated[ActivationLayer, Tag("activation")],
        Annotated[Custom, Tag("custom")],
    ],
    COMPONENT,
]

KernelLayer = Dense | Conv1D | Conv2D
"""The layers that take a `kernel_regularizer`."""


# --- losses ------------------------------------------------------------------------------------------------


class BinaryCrossentropy(Component):
    """For 0/1 targets and sigmoid outputs.

    `label_smoothing` s trains and validates against targets * (1 - s) + s / 2.
    """

    kind = "binary_crossentropy"
    label_smoothing: Decay = 0.0


class CategoricalCrossentropy(Component):
    """For one-hot targets and a softmax output.

    `label_smoothing` s trains and validates against targets * (1 - s) + s / K, for K classes.
    """

    kind = "categorical_crossentropy"
    label_smoothing: Decay = 0.0


class SparseCategoricalCrossentropy(Component):
    """For class indices and a softmax output.

    `label_smoothing` is that of `categorical_crossentropy` on the same classes, one-hot.
    """

    kind = "sparse_categorical_crossentropy"
    label_smoothing: Decay = 0.0


class Mse(Component):
    """Mean squared error."""

    kind = "mse"


class Mae(Component):
    """Mean absolute error."""

    kind = "mae"


class Huber(Component):
    """Squared below `delta`, linear above."""

    kind = "huber"
    bare = "delta"
    delta: Positive = 1.0


Loss = Annotated[
    Union[
        Annotated[BinaryCrossentropy, Tag("binary_crossentropy")],
        Annotated[CategoricalCrossentropy, Tag("categorical_crossentropy")],
        Annotated[SparseCategoricalCrossentropy, Tag("sparse_categorical_crossentropy")],
        Annotated[Mse, Tag("mse")],
        Annotated[Mae, Tag("mae")],
        Annotated[Huber, Tag("huber")],
        Annotated[Custom, Tag("custom")],
    ],
    COMPONENT,
]


# --- optimizers --------------------------------------------------------------------------------------------


class RmsProp(Component):
    """Epsilon is inside the root: w -= learning_rate * g / sqrt(v + epsilon)."""

    kind = "rmsprop"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Positive = 1e-7
    centered: bool = False


class Sgd(Component):
    """Gradient descent, with momentum where `momentum` is not 0."""

    kind = "sgd"
    bare = "learning_rate"
    learning_rate: Positive = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


class Adam(Component):
    """Epsilon is outside the root and is not scaled by the bias correction (Keras's 'epsilon hat')."""

    kind = "adam"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class AdamW(Component):
    """Adam with decoupled weight decay: w -= learning_rate * weight_decay * w each step, biases too."""

    kind = "adamw"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    weight_decay: NonNegative = 0.004
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class Adagrad(Component):
    """Epsilon is inside the root; the accumulator starts at `initial_accumulator_value`."""

    kind = "adagrad"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    initial_accumulator_value: NonNegative = 0.1
    epsilon: Positive = 1e-7


Optimizer = Annotated[
    Union[
        Annotated[RmsProp, Tag("rmsprop")],
        Annotated[Sgd, Tag("sgd")],
        Annotated[Adam, Tag("adam")],
        Annotated[AdamW, Tag("adamw")],
        Annotated[Adagrad, Tag("adagrad")],
    ],
    COMPONENT,
]


# --- learning-rate schedules -------------------------------------------------------------------------------
#
# A rate holds for a whole epoch: it follows from the number of the epoch and from the history before it, and
# from nothing else, so that an epoch boundary is a complete state. `rate` below is the optimizer's.


class Step(Component):
    """rate * factor ** n after every n-th `every` epochs: `step: 10` divides it by 10 every 10 epochs."""

    kind = "step"
    bare = "every"
    every: Count
    factor: Share = 0.1


class Exponential(Component):
    """rate * factor ** n after n epochs (Keras's `ExponentialDecay` with one epoch as `decay_steps`)."""

    kind = "exponential"
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

    rate * `factor`, not below `min_learning_rate`, once `monitor` has not improved by more than `min_delta`
    for `patience` epochs; then `cooldown` epochs of grace.
    """

    kind = "reduce_on_plateau"
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
    bare = "epochs"
    epochs: Count = 1
    start: Decay = 0.0


class Rates(Component):
    """The rate of each epoch, written out; after the last it stays. The optimizer's rate is not used."""

    kind = "rates"
    bare = "rates"
    rates: Annotated[list[NonNegative], Field(min_length=1)]


LearningRateSchedule = Annotated[
    Union[
        Annotated[Step, Tag("step")],
        Annotated[Exponential, Tag("exponential")],
        Annotated[Cosine, Tag("cosine")],
        Annotated[ReduceOnPlateau, Tag("reduce_on_plateau")],
        Annotated[Warmup, Tag("warmup")],
        Annotated[Rates, Tag("rates")],
    ],
    COMPONENT,
]


# --- gradients and the weights of rows ---------------------------------------------------------------------


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


BALANCED = "balanced"
"""The word that stands for the weights that make all classes count alike."""

TAGS = ("(word)", "(map)")
"""Of the two forms of `ClassWeight`; pydantic puts them into locations, and messages leave them out."""

ClassWeight = Annotated[
    Union[
        Annotated[Literal["balanced"], Tag(TAGS[0])],
        Annotated[dict[str, NonNegative], Field(min_length=1), Tag(TAGS[1])],
    ],
    Discriminator(
        lambda value: TAGS[isinstance(value, Mapping)] if isinstance(value, (str, Mapping)) else None
    ),
]


# --- metrics -----------------------------------------------------------------------------------------------


class Accuracy(Component):
    """Share of correct predictions: binary at 0.5, categorical by argmax, depending on output and targets."""

    kind = "accuracy"


class TopK(Component):
    """Share of rows whose true class is among the `k` most probable.

    Where classes are equally probable, a row counts by the chance that a fair draw among them is right.
    """

    kind = "top_k"
    bare = "k"
    k: Count = 5


class Precision(Component):
    """Right positives among predicted positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "precision"
    bare = "threshold"
    threshold: Fraction = 0.5


class Recall(Component):
    """Right positives among true positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "recall"
    bare = "threshold"
    threshold: Fraction = 0.5


class Auc(Component):
    """Area under the ROC curve, exact (as scikit-learn computes it; Keras approximates by 200 thresholds).

    Of several labels in one row all are counted together (micro). Where there is only one class it is NaN.
    """

    kind = "auc"


class F1(Component):
    """Harmonic mean of precision and recall; for several classes, the plain mean of each class's (macro).

    Of several labels in one row all are counted together (micro), as for `precision` and `recall`.
    """

    kind = "f1"
    bare = "threshold"
    threshold: Fraction = 0.5


class AveragePrecision(Component):
    """Area under the precision-recall curve, as scikit-learn's `average_precision_score`: exact, in steps.

    For several classes, the plain mean of each class against the others, of those that the rows hold (macro).
    Of several labels in one row all are counted together (micro). Where there are no positives it is NaN.
    """

    kind = "average_precision"


class MaeMetric(Component):
    """Mean absolute error."""

    kind = "mae"


class MseMetric(Component):
    """Mean squared error."""

    kind = "mse"


class Rmse(Component):
    """Root of the mean squared error."""

    kind = "rmse"


class R2(Component):
    """Coefficient of determination: 1 for perfect, 0 for the mean predictor. NaN of a single row."""

    kind = "r2"


class CustomMetric(Custom):
    """A custom metric. Its column has the function's name, or `name`.

    `maximize` says whether higher is better. By default, as in scikit-learn, it is for a name that ends in
    `_score`, and lower is better for every other.
    """

    name: str | None = None
    maximize: bool | None = None


Metric = Annotated[
    Union[
        Annotated[Accuracy, Tag("accuracy")],
        Annotated[TopK, Tag("top_k")],
        Annotated[Precision, Tag("precision")],
        Annotated[Recall, Tag("recall")],
        Annotated[F1, Tag("f1")],
        Annotated[Auc, Tag("auc")],
        Annotated[AveragePrecision, Tag("average_precision")],
        Annotated[MaeMetric, Tag("mae")],
        Annotated[MseMetric, Tag("mse")],
        Annotated[Rmse, Tag("rmse")],
        Annotated[R2, Tag("r2")],
        Annotated[CustomMetric, Tag("custom")],
    ],
    COMPONENT,
]


# --- validation and the whole ------------------------------------------------------------------------------


class EarlyStopping(Config):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs (0 means 1).

    `restore_best` puts back the weights of the best epoch at the end. Keras's `EarlyStopping`.
    """

    monitor: str = "val_loss"
    patience: NonNegativeInt = 0
    min_delta: NonNegative = 0.0
    restore_best: bool = False


class Holdout(Component):
    """Validate on some training rows: the `first` N, a `fraction`, or those with a `value` in a `column`.

    A fraction is drawn at random (scikit-learn's `train_test_split`); with `shuffle: false` it is the last
    rows (Keras's `validation_split`). Default: a fraction of 0.2. Where the data have groups, a fraction is
    of whole groups. A `column` that splits the rows is not an input, unless the data set lists it in
    `inputs`.
    """

    kind = "holdout"
    first: Count | None = None
    fraction: Fraction | None = None
    column: str | None = None
    value: Value | None = None
    shuffle: bool = True
    stratify: bool = False


class KFold(Component):
    """k folds, contiguous unless `shuffle`; every row is validated exactly once per repeat.

    `group` is a column whose equal values stay together in one fold; default: the data set's `group`. Folds
    of groups have about as many rows (`GroupKFold`), or with `shuffle` as many groups.
    """

    kind = "kfold"
    bare = "k"
    k: Annotated[int, Field(ge=2)] = 4
    shuffle: bool = False
    stratify: bool = False
    group: str | None = None
    repeats: Count = 1


class TimeSeries(Component):
    """k folds that validate on rows later than those trained on (scikit-learn's `TimeSeriesSplit`).

    The rows are ordered by `column` (numbers, or texts in ISO form); default: as they come. Fold i trains on
    the first i + 1 of k + 1 parts and validates on the next, so that the first part is never validated.
    """

    kind = "time_series"
    bare = "k"
    k: Annotated[int, Field(ge=2)] = 4
    column: str | None = None


class NoValidation(Component):
    """Train on all training rows; nothing is validated."""

    kind = "none"


Validation = Annotated[
    Union[
        Annotated[Holdout, Tag("holdout")],
        Annotated[KFold, Tag("kfold")],
        Annotated[TimeSeries, Tag("time_series")],
        Annotated[NoValidation, Tag("none")],
    ],
    COMPONENT,
]


# --- sweeps ------------------------------------------------------------------------------------------------


class Uniform(Component):
    """Any number from the first to the second, all equally likely."""

    kind = "uniform"
    bare = "range"
    range: Annotated[list[Finite], Field(min_length=2, max_length=2)]


class LogUniform(Component):
    """Any number from the first to the second, all orders of magnitude equally likely."""

    kind = "log_uniform"
    bare = "range"
    range: Annotated[list[Positive], Field(min_length=2, max_length=2)]


class IntUniform(Component):
    """Any whole number from the first to the second, both included, all equally likely."""

    kind = "int_uniform"
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
    Discriminator(lambda value: VALUES if isinstance(value, list) else _component_tag(value)),
]


class Sweep(Config):
    """What `nnrun sweep` tries, one run for each trial.

    `over` maps keys of the spec, spelled as for `--set`, to a list of values or a range. `grid` tries every
    combination; `random` and `tpe` (Optuna's, which learns from earlier trials) try that many `trials`.
    `monitor` is the column that the trials are compared by; default: the one that chooses a run's best epoch.
    `seed` defaults to the spec's. `prune` ends a trial of `tpe` that does worse than the median at its epoch.
    Of `grid` and `random` up to `together` trials of one architecture train side by side.
    """

    method: Literal["grid", "random", "tpe"] = "grid"
    over: Annotated[dict[str, SweptValues], Field(min_length=1)]
    trials: Count | None = None
    monitor: str | None = None
    seed: Seed | None = None
    prune: bool = True
    together: Count = 8


class ExperimentSpec(Config):
    """One experiment: everything that decides what is computed.

    `name` defaults to the file's stem; paths are absolute after loading.

    `learning_rate_schedule` is one schedule, or `warmup` and one that follows it. `class_weight` multiplies
    the training loss of a row: `balanced` (rows / (classes * rows of the class), among the training rows) or
    a map from classes, by name or label, to weights; a class that is not in it has 1.

    `deterministic` makes a GPU compute the same bits each time, more slowly; a CPU does so anyway.
    """

    switchable = {
        **dict.fromkeys(("init_weights", "class_weight", "gradient_clip", "early_stopping", "sweep")),
        **{key: [] for key in ("learning_rate_schedule", "metrics")},
        "validation": "none",
    }
    name: str = ""
    description: str = ""
    seed: Seed = 0
    dataset: Dataset
    preprocessing: Preprocessing = Preprocessing()
    layers: Annotated[list[Layer], Field(min_length=1)]
    init_weights: str | None = None
    loss: Loss
    class_weight: ClassWeight | None = None
    optimizer: Optimizer = RmsProp()
    learning_rate_schedule: list[LearningRateSchedule] = []
    gradient_clip: GradientClip | None = None
    metrics: list[Metric] = []
    epochs: Count = 1
    batch_size: Count = 32
    shuffle: bool = True
    deterministic: bool = False
    early_stopping: EarlyStopping | None = None
    validation: Validation = NoValidation()
    sweep: Sweep | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_schedule_is_a_list(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("learning_rate_schedule") == "none":
            value = {**value, "learning_rate_schedule": []}
        return _with_list(value, "learning_rate_schedule")


def components(union: Any) -> dict[str, type[Component]]:
    """The registry behind a union such as `Layer`: canonical name → class, in the order of the union.

    `custom` is none of nnrun's own and not in it.
    """
    union_type = get_args(union)[0]
    members = get_args(union_type) if get_origin(union_type) is Union else (union_type,)
    classes = [get_args(member)[0] for member in members]
    return {cls.kind: cls for cls in classes if not issubclass(cls, Custom)}
