"""The preprocessing steps of inputs and targets."""

from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, Field

from nnrun.spec.schema.component import (
    COMPONENT,
    ONE_COMPONENT_IS_ENOUGH,
    ONE_IS_ENOUGH,
    AutoOrAmount,
    ColumnName,
    Columns,
    Component,
    Config,
    Count,
    Custom,
    Fraction,
    NonNegativeInt,
    Value,
)
from nnrun.spec.schema.sources import ColumnType

TARGET_STEPS = ["log1p", "standardize"]
"""Two steps under `targets` that make one component: `{log1p: {standardize: true}}`."""


def as_one_target_step(steps: Any) -> Any:
    """The one component that a list of steps makes."""
    if isinstance(steps, list) and len(steps) == 1:
        return steps[0]
    return {"log1p": {"standardize": True}} if steps == TARGET_STEPS else steps


class PreprocessingStep(Component):
    """Base of the input steps: what a step takes and gives, as far as this is known without the data.

    Class attributes:
        takes: the kinds of column that it takes; where a spec names no columns, all of the first kind.
            `tokens` are rows of word indices: a token data set's, or those that the step `tokens` makes.
        gives: what a column is afterwards: a `number`; the `same` kind as before; `features`, several columns
            that no step follows; `tokens`; or `rows` of numbers, made of tokens.
        gives_indices: whether the numbers that it gives are names, for `embedding`, and no amounts.
    """

    takes: ClassVar[tuple[ColumnType | Literal["tokens"], ...]] = ()
    gives: ClassVar[Literal["number", "same", "features", "tokens", "rows"]] = "features"
    gives_indices: ClassVar[bool] = False

    @property
    def column_after(self) -> Literal["number", "same", "features", "tokens", "rows"]:
        """What a column is after the step with these parameters: `gives`, but where a parameter decides."""
        return self.gives

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
        return width if self.column_after in ("number", "same") else None


class ColumnStep(PreprocessingStep):
    """Base of the steps that take any number of columns: those named, by default all of the first kind."""

    bare = "columns"
    columns: Columns | None = None


class NumberStep(ColumnStep):
    """Base of the steps that make numbers of numbers."""

    takes = ("number",)
    gives = "number"


Weighting = Literal["binary", "count", "tf_idf", "nb_ratio"]
"""What a word of a row counts."""


class MultiHot(PreprocessingStep):
    """Token lists to rows of 0 and 1, `dimension` wide: every word index is below it.

    Default: the data set's num_words, else what the training rows need. `ngrams` also takes runs of up to
    that many neighbouring words, with a column for each that `min_count` training rows or more contain; then,
    and with `num_words`, the number of the most frequent that are taken, words have columns by the same rule.
    Every index is a word there, the start of a row and the unknown word as well; one that `dimension` leaves
    out is part of no run. `weighting` and `sublinear` are those of `text`.
    """

    kind = "multi_hot"
    example = 10_000
    takes = ("tokens",)
    gives = "rows"
    bare = "dimension"
    rarely_changed = frozenset(("ngrams", "min_count", "num_words", "weighting", "sublinear"))
    dimension: Count | None = None
    ngrams: Count = 1
    min_count: Count = 1
    num_words: Count | None = None
    weighting: Weighting = "binary"
    sublinear: bool = False

    @property
    def chooses(self) -> bool:
        """Whether the training rows decide what has a column; else each index below the dimension has."""
        return self.ngrams > 1 or self.min_count > 1 or self.num_words is not None

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """The dimension; where words are chosen only the data can tell how many."""
        return None if self.chooses else self.dimension or num_words


class Standardize(NumberStep):
    """Subtract the mean, divide by the standard deviation (of the training rows), column by column.

    `columns` are names, or positions from 0; default: all numbers. The standard deviation is the population's
    (ddof 0, as NumPy, the book and scikit-learn have it); a constant column is only centred. Missing values
    stay missing. In an array whose rows have more axes, columns are those of the last: of (height, width,
    channels) each channel has a mean over all pixels of all rows, as of Keras's `Normalization(axis=-1)`.
    """

    kind = "standardize"


class MinMax(NumberStep):
    """Shift and scale so that the training rows range from 0 to 1 (`MinMaxScaler`)."""

    kind = "min_max"


class Rescale(NumberStep):
    """x * scale + offset, as Keras's `Rescaling`: the same for all rows, nothing is learned.

    Default for `scale`: 1/255 of bytes (uint8), such as the pixels of images; other numbers need one.
    """

    kind = "rescale"
    bare = "scale"
    scale: Annotated[float, Field(allow_inf_nan=False)] | None = None
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Log1p(NumberStep):
    """log(1 + x), for amounts from 0 with a long tail."""

    kind = "log1p"


class Robust(NumberStep):
    """(x - median) * s, where outliers neither set the scale nor leave a small range.

    s is 1 / (q75 - q25), of the quartiles of the training rows (scikit-learn's `RobustScaler`); where these
    are equal 2 / (max - min), where scikit-learn only centres; 0 for a constant column. With `clip: smooth`
    the result z becomes z / sqrt(1 + (z / 3)²), which is nearly z around 0 and always between -3 and 3 (as
    RealMLP does, Holzmüller et al. 2024). Missing values stay missing.
    """

    kind = "robust"
    clip: Literal["smooth", "none"] = "smooth"


class QuantileTransform(NumberStep):
    """Map values to a normal or a uniform distribution by their rank (scikit-learn's `QuantileTransformer`).

    The rank of a value, from 0 to 1, is interpolated between `n_quantiles` quantiles of the training rows, by
    default one for 30 rows, at least 10 and at most 1,000. Values beyond the outer quantiles have their rank.
    `uniform` gives the rank; `normal` the standard normal distribution's value of that rank, clipped to
    [-3, 3] (scikit-learn: ±5.2). A value that several quantiles share has the middle of their ranks, also at
    both ends, where scikit-learn gives it the end. All rows count (scikit-learn: a sample of 10,000). A
    constant column becomes 0. Missing values stay missing.
    """

    kind = "quantile"
    bare = "output_distribution"
    output_distribution: Literal["normal", "uniform"] = "normal"
    n_quantiles: Annotated[int, Field(ge=2)] | None = None


class PiecewiseLinear(ColumnStep):
    """Piecewise linear encoding: `bins` columns for one number, each the place of x within one bin.

    The bins lie between quantiles of the training rows; equal quantiles are one edge, so that a column may
    have fewer bins, and a constant column has none. In its bin a value goes from 0 to 1; above it is 1 and
    below 0. The first bin goes on below 0 and the last above 1, as far as -3 and 4. (Gorishniy et al. 2022,
    "On embeddings for numerical features in tabular deep learning".) With `keep` the number itself stays,
    for later steps, and the bins stand beside it. Missing values must be imputed first.
    """

    kind = "piecewise_linear"
    example = 16
    takes = ("number",)
    bare = "bins"
    gives = "features"
    bins: Count = 16
    keep: bool = False

    @property
    def column_after(self) -> Literal["number", "features"]:
        """With `keep` still a number."""
        return "number" if self.keep else "features"

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """Only the data can tell how many different quantiles a column has."""
        return None


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


class OneHot(ColumnStep):
    """One column of 0 and 1 for each value that occurs `min_count` times or more in the training rows.

    Rarer values are all 0, and with `unknown: ignore` so are values that the training rows do not contain;
    with `unknown: error` the latter stop the run. `rare` adds one more column, which is 1 for all of these
    (`OneHotEncoder(handle_unknown="infrequent_if_exist")`; here the column is there even if no training row
    is rare). Missing values have their own column where `min_count` training rows or more have none; else
    they count as rare. Default columns: all categories.
    """

    kind = "one_hot"
    takes = ("category", "number", "text", "date")
    min_count: Count = 1
    rare: bool = False
    unknown: Literal["ignore", "error"] = "ignore"


class Ordinal(ColumnStep):
    """Each value's place, from 0, in `order`, or in the sorted order of the training rows' values.

    A value that the training rows do not contain becomes -1 with `unknown: ignore`, and stops the run with
    `error`.
    """

    kind = "ordinal"
    takes = ("category", "number", "text", "date")
    gives = "number"
    order: list[str] | None = None
    unknown: Literal["ignore", "error"] = "error"


class Lookup(ColumnStep):
    """Each value's index, for `embedding`, as of Keras's `StringLookup(num_oov_indices=1)`.

    Values that `min_count` training rows or more have count from 1, in their sorted order; 0 stands for
    rarer, unseen and missing values. The column then is one whole number. Of several columns of one input
    each has indices of its own, which begin where those of the column before it end, so that one embedding
    learns vectors for all of them. Default columns: all categories.
    """

    kind = "lookup"
    takes = ("category", "number", "text", "date")
    gives_indices = True
    min_count: Count = 1

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """One number each."""
        return width


class TargetMean(ColumnStep):
    """The mean target of the training rows with the same value (scikit-learn's `TargetEncoder`).

    Of numbers the mean, in standard deviations from the mean of all (the targets are standardized first); of
    two classes the share of the second; of more classes a column with the share of each. Means of few rows
    are drawn towards the mean of all: `smooth` counts that for so many rows; `auto` follows from the
    variances (empirical Bayes). Missing values are a value of their own; unseen ones have the mean of all.

    A training row never sees its own target: the training rows are split into `folds`, and those of one fold
    have the means of the others. Validation rows and new rows have those of all training rows. Default
    columns: all categories.
    """

    kind = "target_mean"
    takes = ("category", "number", "text", "date")
    smooth: AutoOrAmount = "auto"
    folds: Annotated[int, Field(ge=2)] = 5


class Hashing(ColumnStep):
    """Each value of a column to one of `buckets` columns of 0 and 1, by a hash: for very many values."""

    kind = "hashing"
    takes = ("category", "number", "text", "date")
    buckets: Annotated[int, Field(ge=2)] = 1024

    def width_after(self, width: int | None, num_words: int | None) -> int | None:
        """Each column that is named becomes as many as there are buckets."""
        return (
            None if self.columns is None or width is None else width + len(self.columns) * (self.buckets - 1)
        )


DatePart = Literal["year", "month", "day", "weekday", "hour", "elapsed"]


class Datetime(ColumnStep):
    """A date's parts as numbers: year, month, day, weekday (Monday is 0), hour, days elapsed since the
    earliest training row; each standardized over the training rows.

    `parts` chooses; default: all, the hour only where some training row has a time of day. A missing date is
    0 in each part, and 1 in a separate feature where training rows lack some. `day_first` says whether
    3/4/2026 is in April; default: as the column's other dates imply. Default columns: all dates.
    """

    kind = "datetime"
    takes = ("date", "category", "text")
    parts: Annotated[list[DatePart], ONE_IS_ENOUGH] = []
    day_first: bool | None = None


class Text(PreprocessingStep):
    """Words of a text to columns: 1 where a word occurs, its count, or tf-idf (scikit-learn's vectorizers).

    Words are the `num_words` most frequent of those that at least `min_count` training rows contain.
    `ngrams` also takes sequences of up to that many words. `weighting: nb_ratio`, for two classes: where a
    word occurs, ln(p / q), p its share of the words of class 1, q of class 0, each with one row more for each
    word (Wang and Manning 2012). With `sublinear` a count c is 1 + ln c in tf-idf. Default column: all texts.
    """

    kind = "text"
    example = 10_000
    takes = ("text", "category", "date")
    bare = "num_words"
    rarely_changed = frozenset(("sublinear",))
    num_words: Count = 10_000
    column: ColumnName | None = None
    lower: bool = True
    ngrams: Count = 1
    min_count: Count = 1
    weighting: Weighting = "binary"
    sublinear: bool = False


class Tokens(PreprocessingStep):
    """Words of the only text column to word indices: 1 for rarer and unknown words, then by frequency from 2.

    0 is reserved for `pad`. `num_words` counts these two. The rows are like those of a token data set:
    `pad` or `multi_hot` must follow.
    """

    kind = "tokens"
    example = 10_000
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
    example = 100
    takes = ("tokens",)
    gives = "rows"
    gives_indices = True
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


class Augment(PreprocessingStep):
    """While training only, each image moved at random, another way in each epoch (Keras's random layers).

    `flip`: mirrored with probability 1/2, left to right (`horizontal`), upside down (`vertical`), or each
    (`both`). `shift`: moved by up to this share of height and of width. `rotate`: by up to so many degrees.
    `zoom`: larger or smaller by up to this share. Each amount is uniform between its negative and itself.
    What comes in from outside is mirrored at the edge (`fill: reflect`), the pixel at the edge (`nearest`),
    or 0 (`zero`). Pixels are interpolated (bilinear) between those of the prepared rows, wherever in the list
    the step stands.
    """

    kind = "augment"
    example = {"flip": "horizontal", "shift": 0.1}
    gives = "same"
    flip: Literal["horizontal", "vertical", "both"] | None = None
    shift: Fraction | None = None
    rotate: Annotated[float, Field(gt=0, le=180)] | None = None
    zoom: Fraction | None = None
    fill: Literal["reflect", "nearest", "zero"] = "reflect"


InputStep = Annotated[
    Union[
        MultiHot,
        Pad,
        Standardize,
        MinMax,
        Rescale,
        Log1p,
        Robust,
        QuantileTransform,
        PiecewiseLinear,
        Impute,
        OneHot,
        Ordinal,
        Lookup,
        TargetMean,
        Hashing,
        Datetime,
        Text,
        Tokens,
        Augment,
        NoInputStep,
        Custom,
    ],
    COMPONENT,
]


class OneHotTargets(Component):
    """Class labels to rows of 0 and a single 1."""

    kind = "one_hot"


class ClassIndexTargets(Component):
    """Class labels to integers from 0."""

    kind = "class_index"


class ClassSequenceTargets(Component):
    """Several classes a row, as integers: what `class_index` is where the output has steps.

    No spec says it: it follows from the loss and the targets.
    """

    kind = "class_sequences"


class CharactersTargets(Component):
    """Texts as lists of their characters, for `loss: ctc`.

    The classes, from 1 on, are the characters of the training rows in the order of their code points.
    """

    kind = "characters"


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


class QuantileTargets(Component):
    """The target's rank as a value of the standard normal distribution, column by column.

    As `quantile` of the inputs: `n_quantiles` quantiles of the training rows, by default one for 30 rows, at
    least 10 and at most 1,000, have the normal distribution's values of their ranks, between -3 and 3;
    between them the target is interpolated linearly (scikit-learn's `QuantileTransformer` does so by ranks).
    Equal quantiles have the middle of their ranks. The loss is computed on these values. Metrics, baselines
    and predictions, of training and validation, are in the target's own units; a prediction is never outside
    of the training rows' targets.
    """

    kind = "quantile"
    bare = "n_quantiles"
    n_quantiles: Annotated[int, Field(ge=2)] | None = None


class NoTargetStep(Component):
    """Take the targets as they are."""

    kind = "none"


TargetStep = Annotated[
    Union[
        OneHotTargets,
        ClassIndexTargets,
        CharactersTargets,
        StandardizeTargets,
        Log1pTargets,
        QuantileTargets,
        NoTargetStep,
    ],
    COMPONENT,
]


class Preprocessing(Config):
    """How raw columns become numbers. Fitted on the training rows of each fold, and on nothing else.

    `inputs` is one step or a list, applied in order. Default for `targets`: what the loss needs.
    """

    inputs: Annotated[list[InputStep], ONE_COMPONENT_IS_ENOUGH] = []
    targets: Annotated[TargetStep | None, BeforeValidator(as_one_target_step)] = None
