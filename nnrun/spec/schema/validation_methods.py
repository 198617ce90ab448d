"""How training rows are set apart for validation, and early stopping."""

from typing import Annotated, Any, Literal, Union

from pydantic import Field, model_validator

from nnrun.spec.schema.component import (
    COMPONENT,
    Component,
    Config,
    Count,
    Finite,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Stratify,
    Value,
)


class EarlyStopping(Config):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs (0 means 1).

    `restore_best` puts back the weights of the best epoch at the end. With a `baseline` only an improvement
    that is better than it starts the patience anew. The first `start_from_epoch` epochs do not count, neither
    as the best (here and in the run's summary) nor as waiting. Keras's `EarlyStopping`.

    `on: inner` sets a `fraction` of each fold's training rows apart, on which preprocessing and network are
    not fitted. These inner rows alone decide when to stop and which epoch is the best, by the columns
    `inner_loss`, `inner_<metric>` of the history (`monitor` is then `inner_loss` by default), so that the
    scores of the validation rows are not those that chose the epoch. Inner rows are drawn by the seed, as the
    validation rows are: stratified where these are, whole groups where rows have groups, the last rows of a
    `time_series` and of a holdout with `shuffle: false`. It also works with `validation: none` (there
    stratified by the classes, where there are any): a run then stops by itself and has a best epoch, and no
    score. `nnrun final` trains on all rows, the inner ones too, for the number of epochs that was chosen.
    """

    rarely_changed = frozenset(("on", "fraction"))
    monitor: str = Field("val_loss", examples=["val_loss"])
    on: Literal["validation", "inner"] = "validation"
    fraction: Fraction = 0.2
    patience: NonNegativeInt = Field(0, examples=[5])
    min_delta: NonNegative = Field(0.0, examples=[0.001])
    restore_best: bool = False
    baseline: Finite | None = Field(None, examples=[0.5])
    start_from_epoch: NonNegativeInt = Field(0, examples=[3])


DEFAULT_HOLDOUT_FRACTION = 0.2
"""Of a holdout that names no rows; no default of its field, since `first` and `column` have no fraction."""


class ValidationMethod(Component):
    """How training rows are set apart. Most train one network; those with folds one for each."""

    @property
    def number_of_folds(self) -> int:
        """How many networks are trained, over all repeats."""
        return 1

    @property
    def has_folds(self) -> bool:
        """Whether one network is trained for each of several folds."""
        return self.number_of_folds > 1

    @property
    def drawn_by_seed(self) -> bool:
        """Whether the seed decides which rows validate."""
        return False

    @property
    def takes_last_rows(self) -> bool:
        """Whether the last rows validate, so that their order is one of time."""
        return False


class Holdout(ValidationMethod):
    """Validate on some training rows: the `first` N, a `fraction`, or those with a `value` in a `column`.

    A fraction is drawn at random (scikit-learn's `train_test_split`); with `shuffle: false` it is the last
    rows (Keras's `validation_split`). Default: a fraction of 0.2. Where the data have groups, a fraction is
    of whole groups. `stratify: true` gives both parts their share of each class; with `outputs` it names
    the output whose classes these are, and rows without its target are a class of their own. A `column`
    that splits the rows is not an input, unless the data set lists it in `inputs`.
    """

    kind = "holdout"
    first: Count | None = Field(None, examples=[1000])
    fraction: Fraction | None = Field(None, examples=[0.2])
    column: str | None = Field(None, examples=["part"])
    value: Value | None = Field(None, examples=["test"])
    shuffle: bool = True
    stratify: Stratify = False

    @property
    def drawn_by_seed(self) -> bool:
        """A fraction is drawn; the first rows and those that a column marks are not."""
        return self.fraction is not None and (self.shuffle or bool(self.stratify))

    @property
    def takes_last_rows(self) -> bool:
        """Those of a fraction that is neither shuffled nor stratified."""
        return self.fraction is not None and not self.shuffle and not self.stratify


class KFold(ValidationMethod):
    """k folds, contiguous unless `shuffle`; every row is validated exactly once per repeat.

    `group` is a column whose equal values stay together in one fold; default: the data set's `group`. Folds
    of groups have about as many rows (`GroupKFold`), or with `shuffle` as many groups. `stratify` is as of
    `holdout`.
    """

    kind = "kfold"
    bare = "k"
    k: Annotated[int, Field(ge=2)] = 4
    shuffle: bool = False
    stratify: Stratify = False
    group: str | None = Field(None, examples=["town"])
    repeats: Count = 1

    @property
    def number_of_folds(self) -> int:
        """The folds of all repeats."""
        return self.k * self.repeats

    @property
    def drawn_by_seed(self) -> bool:
        """Folds are contiguous unless they are shuffled."""
        return self.shuffle


class TimeSeries(ValidationMethod):
    """k folds that validate on rows later than those trained on (scikit-learn's `TimeSeriesSplit`).

    The rows are ordered by `column` (numbers, or texts in ISO form); default: as they come. Fold i trains on
    the first i + 1 of k + 1 parts and validates on the next, so that the first part is never validated.
    """

    kind = "time_series"
    bare = "k"
    k: Annotated[int, Field(ge=2)] = 4
    column: str | None = Field(None, examples=["sold"])

    @property
    def number_of_folds(self) -> int:
        """One for each part but the first."""
        return self.k

    @property
    def takes_last_rows(self) -> bool:
        """Of the rows that a fold has."""
        return True


class NoValidation(ValidationMethod):
    """Train on all training rows; nothing is validated."""

    kind = "none"


Validation = Annotated[
    Union[
        Holdout,
        KFold,
        TimeSeries,
        NoValidation,
    ],
    COMPONENT,
]


class Nested(Config):
    """Nested cross-validation: `k` outer folds, each set apart from all that is chosen within it.

    Within the training rows of each outer fold `validation` is made anew. It chooses the epoch (`nnrun
    kfold`), or the trial and its epoch (`nnrun sweep`). What was chosen is then trained on all training rows
    of the outer fold, as `nnrun final` does, and scored on the fold (Varma & Simon 2006).

    Outer folds are those of `kfold`; `shuffle` and `stratify` are by default as `validation` has them, and
    groups are never split. Where `validation` goes by time (`time_series`, or a holdout with
    `shuffle: false`) they are those of `time_series`. Other commands leave this section out.

    With `members: folds` nothing is trained anew: what is scored on an outer fold is the average of the
    networks of its inner folds, the model that `nnrun final --members folds` gives where the spec asks for
    no `linear_member`.
    """

    bare = "k"
    k: Annotated[int, Field(ge=2)] = 5
    shuffle: bool | None = None
    stratify: Stratify | None = None
    members: Literal["folds"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_k(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"k": value} if is_number else value
