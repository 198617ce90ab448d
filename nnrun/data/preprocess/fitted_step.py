"""What every preprocessing step is once it is fitted, and its form in preprocessing.json.

Letters in names: N rows, C columns side by side.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.table import Column, NumberColumn, as_categories, as_texts
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.schema import Task

MOST_DENSE = 64
"""A column of categories that becomes more columns than this becomes sparse."""

MOST_INDICES = 1 << 24
"""Word indices and those of `lookup` are below: float32, in which rows reach a network, holds every whole
number up to here."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Problems = MutableMapping[int, str]
"""Row → what is wrong with it: the end of a sentence that begins with the row. The first is kept."""


def _all_different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a text occurs twice")
    return values


HAS_NO_VALUE = "has no value; put `impute` before the other steps of this column, or set drop_missing"
"""What is wrong with a row that lacks a number which a step or the network needs."""

Form = Literal["number", "category", "text", "tokens"]
Program = Literal["computed", "outside"]
Size = Annotated[int, Field(ge=1, lt=2**31)]  # columns are numbered in 32 bits
Finite = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Levels = Annotated[tuple[str, ...], AfterValidator(_all_different)]


@dataclass(frozen=True, eq=False)
class TrainingTargets:
    """The targets of the training rows, in the order of these rows, for the steps that learn from them.

    Attributes:
        values: (N,), or (N, K) where a row has several; class labels are integers from 0.
        present: (N,) which rows have a target, where some lack one: their values mean nothing. None for all.
        classes: of labels, how many classes there are; None for numbers.
        task: what the targets are; None where only the spec's loss tells.
        seed: of the random parts of the training rows that steps make which learn from the targets.
    """

    values: Array
    present: Mask | None = None
    classes: int | None = None
    task: Task | None = None
    seed: int = 0


@dataclass(frozen=True)
class FitContext:
    """What a step may need beside the values that it is fitted on.

    Attributes:
        rows: of a text column, the positions of the training rows; None for all. All its rows are cut into
            words once for all folds.
        num_words: of token rows, the number that all tokens are below, where the data set says so.
        of_bytes: whether the values are bytes as the data set has them (uint8), such as pixels.
        targets: of the training rows; None where there are several outputs, none of which is the one meant.
    """

    rows: Array | None = None
    num_words: int | None = None
    of_bytes: bool = False
    targets: TrainingTargets | None = None


@dataclass(frozen=True)
class FittedStep(ABC):
    """What one step learned from training rows: its fields, which are its state in preprocessing.json.

    Class arguments:
        spec: the step that a spec declares.
        form: what `transform` takes: the values of a `number` column, (N,) float64 with NaN where one is
            missing; a `category` column; a `text` column; or `tokens`, rows of word indices.
        program: what an exported program does: `computed`, by `formula`, inside the program; `outside`, the
            program takes rows that this step has already made; None, it is refused.
        kind: its name in preprocessing.json; default: the declared step's.
        fills_gaps: whether the step only replaces missing values, so that the next one sees the values.
        known: the field that holds the values, or the words, that the step knows; None where it knows none.
        rows: whether its features are kept as sparse rows: `dense`, `sparse`, or `wide`: sparse where they
            are more than `MOST_DENSE`.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")
    kind: ClassVar[str]
    spec: ClassVar[type[schema.PreprocessingStep]]
    form: ClassVar[Form]
    program: ClassVar[Program | None]
    fills_gaps: ClassVar[bool]
    known: ClassVar[str | None]
    rows: ClassVar[Literal["dense", "sparse", "wide"]]

    def __init_subclass__(
        cls,
        spec: type[schema.PreprocessingStep],
        form: Form,
        program: Program | None = None,
        kind: str | None = None,
        fills_gaps: bool = False,
        known: str | None = None,
        rows: Literal["dense", "sparse", "wide"] = "dense",
    ) -> None:
        cls.spec, cls.form, cls.program, cls.fills_gaps = spec, form, program, fills_gaps
        cls.kind, cls.known, cls.rows = kind or spec.kind, known, rows

    @classmethod
    @abstractmethod
    def fit(cls, step: Any, column: Any, context: FitContext) -> Self:
        """Learn the step from training rows.

        Args:
            step: as the spec declares it.
            column: the training rows, in the step's `form`; all rows of a text, see `FitContext`.
            context: what else some steps need.

        Raises:
            DataError: the step does not apply to these values.
        """

    @classmethod
    def fit_held_out(cls, step: Any, column: Any, context: FitContext) -> list[tuple[Array, Self]]:
        """The step as it is applied to the training rows, where it learns from their targets.

        A row whose own target is in its features tells the network what to predict, which no new row does. So
        each training row is transformed by a step that was fitted without it.

        Args:
            step, column, context: as of `fit`.

        Returns:
            positions of some of the training rows, and the step fitted on other rows; together all rows.
            Empty, where training rows are transformed as all others are.
        """
        return []

    @classmethod
    def fit_array(cls, step: Any, x_NC: Array, names: Sequence[str], context: FitContext) -> list[Self]:
        """Learn a number step of C columns without missing values; some steps do so in one pass."""
        columns = map(NumberColumn, names, x_NC.T)
        return [cls.fit(step, column, context) for column in columns]

    @classmethod
    def fit_blocks(
        cls, step: Any, blocks: Iterable[Floats], names: Sequence[str], context: FitContext
    ) -> list[Self] | None:
        """The same of blocks of rows, (n, C) at a time, which can be gone through again and again.

        None where the step needs all numbers of a column at once.
        """
        return None

    def transform(self, values: Any, problems: Problems) -> Any:
        """The step's result for values in its `form`; rows that it cannot take are added to `problems`.

        A number step gives (N,) numbers; others a column, (N, width) float64 features, sparse rows or tokens.
        """
        return self.formula(values, np)

    def formula(self, x: Any, xp: Any) -> Any:
        """A number step's computation, written for NumPy and PyTorch alike.

        Args:
            x: (N,) numbers of one column; or (N, C), where every number among the fields of the step is (C,),
                and every field of L numbers (C, L).
            xp: the module `numpy` or `torch`, whose function names are the same for what is needed here.

        Returns:
            numbers in the shape of x; or (..., width), where the step makes features of a column.
        """
        raise NotImplementedError(f"{self.kind} has no formula")

    def beside(self, x: Any, xp: Any) -> Any:
        """(..., width_beside) features that the step adds beside the column, of the column before the step.

        Arguments are those of `formula`.
        """
        raise NotImplementedError(f"{self.kind} adds no features")

    @property
    def width(self) -> int:
        """The number of features that the step makes of a column."""
        return 1

    @property
    def sparse(self) -> bool:
        """Whether they are kept as sparse rows."""
        return self.rows == "sparse" or (self.rows == "wide" and self.width > MOST_DENSE)

    @property
    def word_indices(self) -> Mapping[str, int] | None:
        """The index of each word that it knows, where it makes word indices of texts; else None."""
        return None

    @property
    def tokens_below(self) -> int | None:
        """Of rows of indices that a network sees, the number that all are below; None for other rows."""
        return None

    def with_indices_from(self, start: int) -> Self:
        """The step, but its indices, if it gives any, count from `start`."""
        return self

    def for_float32(self) -> Self:
        """The step as it takes numbers that float32 has rounded."""
        return self

    @property
    def column_after(self) -> Literal["number", "same", "features", "tokens", "rows"]:
        """What a column is after the step."""
        return self.spec.gives

    @property
    def width_beside(self) -> int:
        """The number of features that the step adds beside a column that stays a number."""
        return 0

    def names_beside(self, column: str) -> list[str]:
        """Their names."""
        return []

    def feature_names(self, column: str) -> list[str]:
        """The names of the features of a column with this name."""
        return [column]

    @property
    def known_levels(self) -> Sequence[str]:
        """The values, or the words, that the step knows; empty where it knows none."""
        return () if self.known is None else getattr(self, self.known)

    def unseen(self, column: Any) -> Mask | None:
        """(N,) which rows hold a value that no training row had; None where the step takes every value."""
        return None

    @property
    def expects_values(self) -> bool:
        """Whether no training row missed a value, so that a missing one is like an unseen value."""
        return False

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """(N,) random values that the step takes, made from `values` like those that it gives."""
        if self.form == "number" or self.fills_gaps:
            return values
        return rng.choice(np.array(self.known_levels or ("0", "1"), object), len(values))

    def to_json(self) -> dict[str, Any]:
        """The state as plain values. Floats keep every bit through the json module.

        A field that has its default is left out: what came later has one, and older versions know only the
        others.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The state that `to_json` wrote, checked by the fields' types; ValueError for anything else."""
        step: Self = _reader(cls).validate_json(json.dumps(values))
        return step


@cache
def _reader(cls: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def in_form(column: Column, form: str) -> Any:
    """A column as a step of this form takes it."""
    if form == "category":
        return as_categories(column)
    if form == "text":
        return as_texts(column)
    assert isinstance(column, NumberColumn), "the plan lets only numbers here"
    return column


def check_float32(values: Array, what: str) -> npt.NDArray[np.float32]:
    """(N, C) values rounded to float32; DataError where one is not finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(rounded)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{what} row {row}, column {column} is {values[row, column]}, which is not a finite 32-bit "
            "number."
        )
    return rounded


def mean_and_std(x_NC: Array, names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Mean and population standard deviation of each column; a constant column has 1 for the latter.

    Args:
        x_NC: the columns.
        names: what a message calls each of them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = x_NC.mean(axis=0), x_NC.std(axis=0)
    return _checked(mean, std, x_NC.min(axis=0), x_NC.max(axis=0), names)


def mean_and_std_of_blocks(blocks: Iterable[Floats], names: Sequence[str]) -> tuple[list[float], list[float]]:
    """The same of blocks of rows, which are gone through twice."""
    low, high, total, rows = _summed(blocks)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, squares = total / rows, np.zeros_like(total)
        for x_NC in blocks:
            squares += ((x_NC - mean) ** 2).sum(axis=0)
        std = np.sqrt(squares / rows)
    return _checked(mean, std, low, high, names)


def low_and_high(blocks: Iterable[Floats]) -> tuple[Floats, Floats]:
    """The least and the greatest number of each column."""
    low, high, _, _ = _summed(blocks)
    return low, high


def _summed(blocks: Iterable[Floats]) -> tuple[Floats, Floats, Floats, int]:
    """Of each column the least number, the greatest and the sum, and the number of rows."""
    low, high, total, rows = np.array(np.inf), np.array(-np.inf), np.array(0.0), 0
    for x_NC in blocks:
        low, high = np.minimum(low, x_NC.min(axis=0)), np.maximum(high, x_NC.max(axis=0))
        with np.errstate(over="ignore"):
            total = total + x_NC.sum(axis=0)
        rows += len(x_NC)
    return low, high, total, rows


def _checked(
    mean: Floats, std: Floats, low: Floats, high: Floats, names: Sequence[str]
) -> tuple[list[float], list[float]]:
    constant = low == high  # rounding would leave it a tiny deviation, and dividing by that would blow it up
    mean, std = np.where(constant, low, mean), np.where(constant | (std == 0), 1.0, std)
    wrong = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(std)))
    if len(wrong):
        raise DataError(f"standardize: the mean or deviation of {names[wrong[0]]} is not a finite number.")
    return mean.tolist(), std.tolist()
