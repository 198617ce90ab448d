"""What estimators take: X and y as scikit-learn checks them, as the columns of one table.

Letters in names: N rows, F columns, K targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array, validate_data

from nnrun.data.frames import as_frame, column_name, refuse_unusable
from nnrun.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
TARGET = "target"
WEIGHT = "sample_weight"


def validated_inputs(estimator: Any, x: Any, *, reset: bool) -> pd.DataFrame | Array:
    """X as a data frame (N, F) whose columns have names, or as an array (N, ...) of three axes or more.

    A missing value is NaN or None. The columns of an array are called c0, c1 and so on.

    Args:
        estimator: has `n_features_in_` and, of frames, `feature_names_in_`.
        x: a data frame of any columns, or an array of numbers, or of numbers and texts.
        reset: whether it is fitted to, which sets these two attributes; else they are compared.

    Raises:
        ValueError, TypeError: as scikit-learn's estimators.
    """
    import pandas as pd

    _refuse_lossy(x)
    frame = as_frame(x)
    if frame is None and _holds_texts(x):
        least = 2 if reset else 1
        validate_data(
            estimator, x, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=least
        )
        frame = pd.DataFrame(np.asarray(x, object)).infer_objects()
        return _named_by_place(frame)
    if frame is None:
        array = validate_data(
            estimator,
            x,
            reset=reset,
            dtype="numeric",
            ensure_all_finite="allow-nan",
            allow_nd=True,
            ensure_min_samples=2 if reset else 1,
        )
        return array if array.ndim > 2 else _named_by_place(pd.DataFrame(array))
    validate_data(estimator, frame, reset=reset, skip_check_array=True)
    _refuse_unusable(frame, type(estimator).__name__, 2 if reset else 1)
    return frame.set_axis([column_name(name) for name in frame.columns], axis=1).reset_index(drop=True)


def _refuse_lossy(data: Any) -> None:
    """Raise ValueError for masked values, and for complex columns, which scikit-learn leaves to us."""
    if hasattr(data, "toarray"):  # scikit-learn has its own words for sparse ones
        return
    try:
        refuse_unusable(data)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _holds_texts(x: Any) -> bool:
    """Whether an array has texts among its values: then its columns may be of different types."""
    if not isinstance(x, (np.ndarray, list, tuple)):
        return False
    values = np.asarray(x, object) if not isinstance(x, np.ndarray) else x
    if values.ndim != 2 or values.dtype.kind not in "OUS":
        return False
    return values.dtype.kind != "O" or any(isinstance(value, str) for value in values.ravel())


def _named_by_place(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis([f"c{place}" for place in range(frame.shape[1])], axis=1)


def _refuse_unusable(frame: pd.DataFrame, name: str, least: int) -> None:
    """Raise ValueError where there are no columns or too few rows, or an infinite number."""
    shape = f"(shape={frame.shape}) while a minimum of"
    if not frame.shape[1]:
        raise ValueError(f"Found array with 0 feature(s) {shape} 1 is required by {name}.")
    if len(frame) < least:
        raise ValueError(f"Found array with {len(frame)} sample(s) {shape} {least} is required by {name}.")
    for place, dtype in enumerate(frame.dtypes):
        if (
            getattr(dtype, "kind", "O") == "f"
            and np.isinf(frame.iloc[:, place].to_numpy(float, na_value=0)).any()
        ):
            raise ValueError(f"Input X contains infinity in column {frame.columns[place]!r}.")


def checked_target(y: Any, name: str, *, numbers: bool) -> Array:
    """y as an array (N,) or (N, K).

    Args:
        y: the targets.
        name: of the estimator.
        numbers: make them float64.

    Raises:
        ValueError: there are none, or one is missing or infinite.
    """
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    _refuse_lossy(y)
    array = check_array(
        y, ensure_2d=False, dtype="numeric" if numbers else None, ensure_all_finite=True, input_name="y"
    )
    return np.asarray(array, np.float64) if numbers else np.asarray(array)


def checked_weights(sample_weight: Any, rows: int) -> npt.NDArray[np.float64] | None:
    """(N,) how much each row counts; None where all count alike.

    Raises:
        ValueError: these are not one number for each row, some are negative, or all are 0.
    """
    if sample_weight is None:
        return None
    _refuse_lossy(sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, ensure_all_finite=True, input_name=WEIGHT
    )
    if weights.ndim != 1 or len(weights) != rows:
        raise ValueError(f"sample_weight has shape {weights.shape}; it must be ({rows},), one for each row.")
    if (weights < 0).any() or not weights.any():
        raise ValueError("sample_weight must not be negative, and not zero for all rows.")
    return np.asarray(weights)


@dataclass(frozen=True)
class GivenTable:
    """Rows with their targets and weights.

    Attributes:
        data: one data frame; or, where inputs have three axes or more, the arrays of an npz archive.
        roles: what its columns are for, as keys of a spec's data set; empty of arrays.
        targets: the names of their columns.
    """

    data: pd.DataFrame | Mapping[str, Array]
    roles: dict[str, Any]
    targets: tuple[str, ...] = ()


def joined(
    x: pd.DataFrame | Array,
    y: Array,
    weights: npt.NDArray[np.float64] | None,
    *,
    classes: bool,
    names: Sequence[str] | None = None,
) -> GivenTable:
    """Inputs, targets and weights as one; rows of no weight are left out, as if they were not there.

    Args:
        x: the inputs, N rows.
        y: (N,) or (N, K) the targets.
        weights: (N,) of the rows.
        classes: whether the targets are names of classes.
        names: of the columns of y, where a spec says them.

    Raises:
        ValueError: a weight is given with arrays, which have none, or y has other columns than the spec.
    """
    if weights is not None and not weights.all():
        kept = weights > 0
        x, y, weights = x[kept], y[kept], weights[kept]
    if isinstance(x, np.ndarray):
        if weights is not None and len(set(weights.tolist())) > 1:
            raise ValueError("sample_weight needs inputs that are a table; X has more than two axes.")
        return GivenTable({"x_train": x, "y_train": y}, {})
    import pandas as pd

    taken = set(x.columns)
    columns = y.reshape(len(y), -1)
    own = list(names) if names is not None else _free_names(TARGET, columns.shape[1], taken)
    if len(own) != columns.shape[1]:
        raise ValueError(f"y has {columns.shape[1]} columns, and the spec has {len(own)} targets.")
    if clash := sorted(taken & set(own)):
        raise ValueError(f"X has a column {clash[0]!r}, as the spec calls the target; rename it.")
    targets = pd.DataFrame({name: columns[:, place] for place, name in enumerate(own)})
    roles: dict[str, Any] = {"target": own}
    if classes or y.dtype.kind == "f":
        roles["types"] = dict.fromkeys(own, "category" if classes else "number")
    parts = [x.reset_index(drop=True), targets]
    if weights is not None:
        (weight,) = _free_names(WEIGHT, 1, taken | set(own))
        parts.append(pd.DataFrame({weight: weights}))
        roles["weight"] = weight
    return GivenTable(pd.concat(parts, axis=1), roles, tuple(own))


def _free_names(name: str, count: int, taken: set[Any]) -> list[str]:
    """So many names that no column has."""
    while True:
        names = [name] if count == 1 else [f"{name}{place}" for place in range(count)]
        if taken.isdisjoint(names):
            return names
        name = f"{name}_"
