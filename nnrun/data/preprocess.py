"""Raw samples to the numbers that a network takes.

`fit_preprocessing` learns what there is to learn from the training rows of a fold, and from nothing else.
What it gives back transforms any rows, compares equal to another of the same state, and goes to JSON and back
bit for bit.

Letters in names: N rows, F features, K classes or output columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, Dataset, TokenRows
from nnrun.data.pad import FittedPad, fit_pad, pad_from_json
from nnrun.data.rows import DenseRows, SparseRows
from nnrun.errors import DataError
from nnrun.spec import schema

Floats = npt.NDArray[np.float64]
_BLOCK_VALUES = 1 << 22  # values that are in float64 at once while dense rows are transformed
_JSON_VERSION = 1


# --- input steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FittedMultiHot:
    """Token rows to rows of 0 and 1. Tokens from `dimension` on are dropped."""

    dimension: int

    def transform(self, rows: TokenRows) -> SparseRows:
        """Each token once, in ascending order."""
        if rows.tokens.size and int(rows.tokens.min()) < 0:
            raise DataError(f"A token row holds the token {int(rows.tokens.min())}; tokens are not negative.")
        return multi_hot(rows, self.dimension)


@dataclass(frozen=True)
class FittedStandardize:
    """(x - mean) / std, column by column.

    Attributes:
        columns: positions from 0, or None for all.
        mean, std: of these columns over the training rows, in float64; std is 1 where a column is constant.
    """

    columns: tuple[int, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, x_NF: Floats) -> None:
        """Standardize these rows in place."""
        mean, std = np.array(self.mean), np.array(self.std)
        if self.columns is None:
            x_NF -= mean
            x_NF /= std
        else:
            columns = list(self.columns)
            x_NF[:, columns] = (x_NF[:, columns] - mean) / std


InputState: TypeAlias = FittedMultiHot | FittedPad | FittedStandardize
TokenStep: TypeAlias = FittedMultiHot | FittedPad


# Rows are encoded in blocks of about so many tokens: what that takes on the way must not follow the data.
_BLOCK_TOKENS = 1_000_000


def multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """The set of tokens below `dimension` in each row."""
    blocks = [_multi_hot(block, dimension) for block in rows.blocks(_BLOCK_TOKENS)]
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.concatenate([np.diff(block.indptr) for block in blocks]), out=indptr[1:])
    return SparseRows(indptr, np.concatenate([block.indices for block in blocks]), None, dimension)


def _multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """The same in one go.

    Two counting sorts (to columns and back) put the tokens of each row in order, in linear time.
    """
    from scipy.sparse import csr_array

    indptr, tokens = rows.indptr, rows.tokens
    if tokens.size and int(tokens.max()) >= dimension:
        known = tokens < dimension
        before = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(known, out=before[1:])
        indptr, tokens = before[indptr], tokens[known]
    ones = np.ones(len(tokens), np.int8)
    ordered = csr_array((ones, tokens, indptr), shape=(len(rows), dimension)).tocsc().tocsr()
    indices: npt.NDArray[np.int32] = ordered.indices.astype(np.int32, copy=False)
    first = np.ones(len(indices), bool)
    np.not_equal(indices[1:], indices[:-1], out=first[1:])
    starts = indptr[:-1]
    first[starts[starts < indptr[1:]]] = True
    before = np.zeros(len(indices) + 1, np.int64)
    np.cumsum(first, out=before[1:])
    return SparseRows(before[indptr], indices[first], None, dimension)


def _fit_multi_hot(step: schema.MultiHot, dataset: Dataset, rows: TokenRows) -> FittedMultiHot:
    highest = int(rows.tokens.max()) if rows.tokens.size else 0
    dimension = step.dimension or dataset.num_words or highest + 1
    if highest >= dimension:
        raise DataError(
            f"multi_hot: the training rows hold the token {highest:,}, but the dimension is {dimension:,}; "
            f"every token must be below it. Set the dimension to {highest + 1:,} "
            "at least"
            + (f", or num_words of the data set to {dimension:,} at most." if dataset.num_words else ".")
        )
    return FittedMultiHot(dimension)


def _mean_and_std(x_NF: Floats, what: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each column; a constant column has 1 for the latter."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = x_NF.mean(axis=0), x_NF.std(axis=0)
    low, high = x_NF.min(axis=0), x_NF.max(axis=0)
    constant = low == high  # rounding would leave it a tiny deviation, and dividing by that would blow it up
    mean, std = np.where(constant, low, mean), np.where(constant | (std == 0), 1.0, std)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        column = int(np.flatnonzero(~(np.isfinite(mean) & np.isfinite(std)))[0])
        raise DataError(f"standardize: the mean or deviation of {what} {column} is not a finite number.")
    return tuple(mean.tolist()), tuple(std.tolist())


def _fit_standardize(step: schema.Standardize, dataset: Dataset, x_NF: Floats) -> FittedStandardize:
    columns = None if step.columns is None else tuple(step.columns)
    if columns is not None:
        if len(set(columns)) < len(columns):
            raise DataError(f"standardize: columns {list(columns)} name a column twice.")
        if max(columns, default=0) >= x_NF.shape[1]:
            raise DataError(
                f"standardize: there is no column {max(columns)}; {dataset.name} has {x_NF.shape[1]} "
                "columns, "
                "counted from 0."
            )
    chosen = x_NF if columns is None else x_NF[:, list(columns)]
    mean, std = _mean_and_std(chosen, "column")
    return FittedStandardize(columns, mean, std)


# --- target steps ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FittedOneHot:
    """Labels to rows of 0 and a single 1: float32 (N, K)."""

    classes: int

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """One row per label."""
        labels = _labels(targets, self.classes)
        y_NK = np.zeros((len(labels), self.classes), np.float32)
        y_NK[np.arange(len(labels)), labels] = 1
        return y_NK


@dataclass(frozen=True)
class FittedClassIndex:
    """Labels as they are: int64 (N,), checked."""

    classes: int

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """One integer per row."""
        return _labels(targets, self.classes)


@dataclass(frozen=True)
class FittedTargetScale:
    """(y - mean) / std of the training rows: float32 (N, K)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """Targets in units of their deviation."""
        y_NK = _target_columns(targets, n_outputs).astype(np.float64)
        y_NK -= np.array(self.mean)
        y_NK /= np.array(self.std)
        return _float32(y_NK, "The target in")


@dataclass(frozen=True)
class FittedNoTarget:
    """Targets as they are: float32 (N, K)."""

    def transform(self, targets: Array, n_outputs: int) -> Array:
        """The same numbers, one column per output."""
        return _float32(_target_columns(targets, n_outputs), "The target in")


TargetState: TypeAlias = FittedOneHot | FittedClassIndex | FittedTargetScale | FittedNoTarget


def _labels(targets: Array, classes: int, rows: Array | None = None) -> npt.NDArray[np.int64]:
    """Targets as integers from 0 to classes - 1. `rows` are their positions in the data set, for messages."""
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1:
        raise DataError(
            f"The targets have shape {targets.shape}, but class labels are one integer per row. "
            "Rows that are one-hot already suit categorical_crossentropy."
        )
    with np.errstate(invalid="ignore"):
        labels = targets.astype(np.int64)
    wrong = np.flatnonzero((labels != targets) | (labels < 0) | (labels >= classes))
    if wrong.size:
        at = int(wrong[0])
        row = at if rows is None else int(rows[at])
        value = targets[at].item()
        if value != labels[at]:
            raise DataError(f"Row {row} has the target {value}, but class labels are whole numbers.")
        raise DataError(
            f"Row {row} has the label {value}, but the last layer has {classes} "
            f"unit{'s' if classes != 1 else ''}, "
            f"which is enough for labels from 0 to {classes - 1}."
        )
    return labels


def _target_columns(targets: Array, n_outputs: int) -> Array:
    """Targets as (N, n_outputs)."""
    y_NK = targets[:, None] if targets.ndim == 1 else targets
    if y_NK.ndim != 2 or y_NK.shape[1] != n_outputs:
        raise DataError(
            f"The targets have {y_NK.shape[1]} column{'s' if y_NK.shape[1] != 1 else ''}, but the last "
            "layer has "
            f"{n_outputs} unit{'s' if n_outputs != 1 else ''}. They must be as many."
        )
    return y_NK


def _fit_targets(
    step: schema.Component | None, targets: Array, rows: Array | None, n_outputs: int
) -> TargetState:
    match step:
        case schema.OneHotTargets():
            _labels(targets, n_outputs, rows)
            return FittedOneHot(n_outputs)
        case schema.ClassIndexTargets():
            _labels(targets, n_outputs, rows)
            return FittedClassIndex(n_outputs)
        case schema.StandardizeTargets():
            y_NK = _target_columns(targets, n_outputs).astype(np.float64)
            return FittedTargetScale(*_mean_and_std(y_NK, "target column"))
    _target_columns(targets, n_outputs)
    return FittedNoTarget()


# --- the whole ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FittedPreprocessing:
    """What was learned from training rows, ready to transform any rows.

    Attributes:
        inputs: the fitted input steps, in order.
        targets: the fitted target step.
        n_features: columns that a table must have; None for token rows.
        n_outputs: units of the last layer.
    """

    inputs: tuple[InputState, ...]
    targets: TargetState
    n_features: int | None
    n_outputs: int

    @property
    def width(self) -> int:
        """F, the width of a transformed row."""
        first = self.inputs[0] if self.inputs else None
        if isinstance(first, FittedMultiHot):
            return first.dimension
        if isinstance(first, FittedPad):
            return first.length
        assert self.n_features is not None, "only multi_hot and pad take token rows"
        return self.n_features

    @property
    def tokens(self) -> int | None:
        """The number that all tokens are below which a network sees; None for a table."""
        first = self.inputs[0] if self.inputs else None
        if isinstance(first, FittedMultiHot):
            return first.dimension
        return first.tokens if isinstance(first, FittedPad) else None

    def transform_inputs(self, inputs: TokenRows | Array) -> DenseRows | SparseRows:
        """Inputs as the network takes them. Tables are computed in float64 and rounded to float32 once."""
        if isinstance(inputs, TokenRows):
            if self.n_features is not None or not isinstance(self.inputs[0], (FittedMultiHot, FittedPad)):
                raise DataError(
                    f"These inputs are token lists, but a table of {self.n_features} columns is needed."
                )
            return self.inputs[0].transform(inputs)
        if self.n_features is None:
            raise DataError("These inputs are a table, but token lists are needed.")
        if inputs.ndim != 2 or inputs.shape[1] != self.n_features:
            raise DataError(
                f"These inputs have shape {inputs.shape}, but {self.n_features} columns are needed."
            )
        steps = [step for step in self.inputs if isinstance(step, FittedStandardize)]
        if not steps:
            return DenseRows(_float32(inputs, "The input in"))
        x_NF = np.empty(inputs.shape, np.float32)
        block = max(_BLOCK_VALUES // max(self.n_features, 1), 1)
        for start in range(0, len(inputs), block):
            part = inputs[start : start + block].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                for step in steps:
                    step.apply(part)
            x_NF[start : start + block] = _float32(part, "The input in", start)
        return DenseRows(x_NF)

    def within_range(self, inputs: Array) -> npt.NDArray[np.bool_]:
        """Which rows of a table, (N, F), `transform_inputs` takes: all their numbers stay finite float32."""
        x_NF = inputs.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in self.inputs:
                if isinstance(step, FittedStandardize):
                    step.apply(x_NF)
            return np.asarray(np.isfinite(x_NF.astype(np.float32)).all(axis=1))

    def transform_targets(self, targets: Array) -> Array:
        """Targets as the loss takes them: float32 (N, K), or int64 (N,) for class indices."""
        return self.targets.transform(np.asarray(targets), self.n_outputs)

    def target_scale(self) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation, n_outputs values each, of standardized targets; None for others."""
        if isinstance(self.targets, FittedTargetScale):
            return np.array(self.targets.mean), np.array(self.targets.std)
        return None

    def to_json(self) -> dict[str, Any]:
        """The state as plain values. Floats keep every bit through the json module."""
        return {
            "version": _JSON_VERSION,
            "n_features": self.n_features,
            "n_outputs": self.n_outputs,
            "inputs": [_step_to_json(step) for step in self.inputs],
            "targets": _target_to_json(self.targets),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedPreprocessing:
        """The state that `to_json` wrote.

        Raises:
            DataError: the document is something else.
        """
        try:
            if document["version"] != _JSON_VERSION:
                raise DataError(
                    f"The preprocessing has version {document['version']}; {_JSON_VERSION} is read."
                )
            n_features = None if document["n_features"] is None else _count(document["n_features"])
            n_outputs = _count(document["n_outputs"])
            inputs = tuple(_step_from_json(step, n_features) for step in document["inputs"])
            targets = _target_from_json(document["targets"], n_outputs)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise DataError("The preprocessing's JSON is damaged.") from None
        if (n_features is None) != any(isinstance(step, (FittedMultiHot, FittedPad)) for step in inputs):
            raise DataError("The preprocessing's JSON is damaged: its steps do not fit its inputs.")
        return cls(inputs, targets, n_features, n_outputs)


def fit_preprocessing(
    spec: schema.Preprocessing, dataset: Dataset, rows: npt.ArrayLike | None = None, *, n_outputs: int
) -> FittedPreprocessing:
    """Learn the preprocessing from some of the training rows, and from nothing else.

    Args:
        spec: the steps. Targets without a step are taken as they are.
        dataset: only its training rows at `rows` are looked at, and its num_words.
        rows: positions among the training rows, or None for all of them.
        n_outputs: units of the last layer.

    Raises:
        DataError: a step does not apply to this data; says to which row.
    """
    chosen = None if rows is None else np.asarray(rows)
    if chosen is not None and chosen.dtype == bool:
        chosen = np.flatnonzero(chosen)
    samples = dataset.train if chosen is None else dataset.train.take(chosen)
    if not len(samples):
        raise DataError("There are no training rows to fit the preprocessing on.")
    targets = _fit_targets(spec.targets, samples.targets, chosen, n_outputs)
    if isinstance(samples.inputs, TokenRows):
        return FittedPreprocessing((_fit_tokens(spec, dataset, samples.inputs),), targets, None, n_outputs)
    return FittedPreprocessing(
        _fit_table(spec, dataset, samples.inputs), targets, int(samples.inputs.shape[1]), n_outputs
    )


def _fit_tokens(spec: schema.Preprocessing, dataset: Dataset, rows: TokenRows) -> TokenStep:
    steps = [step for step in spec.inputs if not isinstance(step, schema.NoInputStep)]
    first = steps[0] if steps else None
    if not isinstance(first, (schema.MultiHot, schema.Pad)):
        raise DataError(
            f"The inputs of {dataset.name} are lists of tokens, of differing lengths. Make rows of "
            "numbers of them "
            "first, with preprocessing.inputs: multi_hot."
        )
    if len(steps) > 1:
        held = "0 and 1 already" if isinstance(first, schema.MultiHot) else "word indices"
        raise DataError(f"{steps[1].kind} does not apply to {first.kind} rows, which are {held}.")
    if isinstance(first, schema.Pad):
        return fit_pad(first, dataset, rows)
    return _fit_multi_hot(first, dataset, rows)


def _fit_table(spec: schema.Preprocessing, dataset: Dataset, inputs: Array) -> tuple[FittedStandardize, ...]:
    fitted: list[FittedStandardize] = []
    x_NF: Floats | None = None
    for step in spec.inputs:
        if isinstance(step, (schema.MultiHot, schema.Pad)):
            raise DataError(
                f"{step.kind} needs lists of tokens, but the inputs of {dataset.name} are a table."
            )
        if isinstance(step, schema.Standardize):
            if x_NF is None:
                x_NF = inputs.astype(np.float64, copy=False)
            else:
                x_NF = x_NF.copy() if x_NF is inputs else x_NF
                fitted[-1].apply(x_NF)
            fitted.append(_fit_standardize(step, dataset, x_NF))
    return tuple(fitted)


def _float32(values: Array, what: str, first_row: int = 0) -> npt.NDArray[np.float32]:
    """The values rounded to float32, row after row in memory. All must be finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(rounded)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{what} row {row + first_row}, column {column} is {values[row, column]}, "
            "which is no finite 32-bit number."
        )
    return rounded


# --- JSON --------------------------------------------------------------------------------------------------


def _step_to_json(step: InputState) -> dict[str, Any]:
    if isinstance(step, FittedMultiHot):
        return {"multi_hot": {"dimension": step.dimension}}
    if isinstance(step, FittedPad):
        return {"pad": asdict(step)}
    columns = None if step.columns is None else list(step.columns)
    return {"standardize": {"columns": columns, "mean": list(step.mean), "std": list(step.std)}}


def _target_to_json(step: TargetState) -> dict[str, Any]:
    match step:
        case FittedOneHot():
            return {"one_hot": {"classes": step.classes}}
        case FittedClassIndex():
            return {"class_index": {"classes": step.classes}}
        case FittedTargetScale():
            return {"standardize": {"mean": list(step.mean), "std": list(step.std)}}
        case FittedNoTarget():
            return {"none": {}}


def _step_from_json(document: Mapping[str, Any], n_features: int | None) -> InputState:
    ((name, values),) = document.items()
    if name == "multi_hot":
        return FittedMultiHot(_count(values["dimension"]))
    if name == "pad":
        return pad_from_json(values)
    if name != "standardize" or n_features is None:
        raise ValueError(name)
    columns = None if values["columns"] is None else tuple(_count(c, least=0) for c in values["columns"])
    if columns is not None and any(c >= n_features for c in columns):
        raise ValueError(columns)
    size = n_features if columns is None else len(columns)
    return FittedStandardize(
        columns, _floats(values["mean"], size), _floats(values["std"], size, positive=True)
    )


def _target_from_json(document: Mapping[str, Any], n_outputs: int) -> TargetState:
    ((name, values),) = document.items()
    known: Mapping[str, Callable[[], TargetState]] = {
        "one_hot": lambda: FittedOneHot(_count(values["classes"])),
        "class_index": lambda: FittedClassIndex(_count(values["classes"])),
        "standardize": lambda: FittedTargetScale(
            _floats(values["mean"], n_outputs), _floats(values["std"], n_outputs, positive=True)
        ),
        "none": FittedNoTarget,
    }
    return known[name]()


def _count(value: Any, *, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(value)
    return value


def _floats(values: Any, size: int, *, positive: bool = False) -> tuple[float, ...]:
    if len(values) != size or not all(type(v) in (int, float) for v in values):
        raise ValueError(values)
    array = np.array(values, np.float64)
    if not np.isfinite(array).all() or (positive and (array <= 0).any()):
        raise ValueError(values)
    return tuple(float(v) for v in array)
