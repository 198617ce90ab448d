"""Rows in memory as the files that nnrun reads: a data frame as JSON lines, arrays as an npz archive.

The bytes depend on the values alone, so that their hash tells whether two frames or arrays are the same.

Letters in names: N rows.
"""

from __future__ import annotations

import datetime
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.data.value_names import number_name
from nnrun.errors import UsageError
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import listing, quoted

if TYPE_CHECKING:
    import pandas as pd

Cell = str | int | float | bool | None
_MIDNIGHT = datetime.time()


def cells(series: pd.Series[Any]) -> list[Cell]:
    """The N values of a column of a data frame as JSON has them, None where one is missing.

    Dates are texts in ISO form; what JSON has no word for, such as an interval of pandas, is its own text.

    Raises:
        UsageError: one is a complex number.
    """
    missing = series.isna().to_numpy()
    kind = getattr(series.dtype, "kind", "O")
    _refuse_complex(kind == "c", series.name)
    values: list[Any] = series.tolist()
    if kind in "biuf" and not missing.any():
        return values
    if kind in "biuf":
        return [None if gap else value for value, gap in zip(values, missing, strict=True)]
    if kind == "M":
        return _dates(values, missing)
    return [None if gap else _cell(value, series.name) for value, gap in zip(values, missing, strict=True)]


def _dates(values: Sequence[Any], missing: Iterable[bool]) -> list[Cell]:
    """Days where every time is midnight, else days with times."""
    known = [None if gap else value for value, gap in zip(values, missing, strict=True)]
    days = all(value is None or value.time() == _MIDNIGHT for value in known)
    texts = [None if value is None else value.isoformat(sep=" ", timespec="seconds") for value in known]
    return [text[:10] if days and text is not None else text for text in texts]


def _cell(value: Any, column: Any) -> Cell:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return _cell(value.item(), column) if not isinstance(value, np.datetime64) else str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(number_name(value))
    _refuse_complex(isinstance(value, complex), column)
    return str(value)


def as_frame(data: Any) -> pd.DataFrame | None:
    """A data frame of pandas, or of a library that can make one of its own (polars, pyarrow); else None.

    Sparse columns are made dense, which takes 8 bytes a row and column of numbers.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        if not any(isinstance(dtype, pd.SparseDtype) for dtype in data.dtypes):
            return data
        columns: list[pd.Series[Any]] = [data.iloc[:, place] for place in range(data.shape[1])]
        for place, column in enumerate(columns):
            if isinstance(column.dtype, pd.SparseDtype):
                columns[place] = pd.Series(np.asarray(column), column.index, name=column.name)
        made: pd.DataFrame = pd.concat(columns, axis=1)
        return made
    if hasattr(data, "to_pandas") and hasattr(data, "columns"):
        made = data.to_pandas()
        return made if isinstance(made, pd.DataFrame) else None
    return None


def refuse_unusable(data: Any) -> None:
    """Raise UsageError for values of which a part would be lost without a word.

    That is a sparse matrix or array of SciPy, as scikit-learn's dense estimators refuse it; values that NumPy
    masks, which other functions take as they are beneath; and columns of complex numbers.

    Args:
        data: an array, a data frame, a series, a list of rows; or several of these, as a tuple or a dict.
    """
    if isinstance(data, (tuple, Mapping)):
        for part in data.values() if isinstance(data, Mapping) else data:
            refuse_unusable(part)
        return
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        size = math.prod(data.shape) * data.dtype.itemsize
        raise UsageError(
            f"A sparse {type(data).__name__} of shape {data.shape} was given, but dense data are required. "
            f"Use '.toarray()' to make it a dense array, which takes {size / 1e6:,.3g} MB."
        )
    for part in data if isinstance(data, list) else [data]:
        if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part):
            masked = int(np.ma.getmaskarray(part).sum())
            raise UsageError(
                f"A masked array with {masked:,} masked values was given, and nnrun "
                "knows no masks. Make what is masked missing: ARRAY.astype(float).filled(numpy.nan)."
            )
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        for place, (name, dtype) in enumerate(zip(data.columns, data.dtypes, strict=True)):
            kind = getattr(dtype, "kind", None)
            of_objects = kind == "O" and hasattr(data, "iloc")
            values = data.iloc[:, place] if of_objects else ()
            _refuse_complex(
                kind == "c" or any(isinstance(v, (complex, np.complexfloating)) for v in values), name
            )


def _refuse_complex(is_complex: bool, column: Any) -> None:
    if is_complex:
        where = "" if column is None else f": column {quoted(str(column))}"
        raise UsageError(
            f"Complex data not supported{where}. Give real numbers, such as the real and the imaginary parts "
            "as columns of their own (.real, .imag)."
        )


def declared_types(frame: pd.DataFrame) -> dict[str, ColumnType]:
    """Columns that a frame declares to be categories, though their values are numbers."""
    import pandas as pd

    return {
        str(name): "category"
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind in "iuf"
    }


def jsonl_of(frame: pd.DataFrame) -> bytes:
    """A data frame as JSON lines: a line for each row, without the index.

    Raises:
        UsageError: it has no rows or no columns, or two columns of one name.
    """
    if not len(frame) or not len(frame.columns):
        raise UsageError(
            f"data has {len(frame):,} rows and {len(frame.columns):,} columns; there must be one of each."
        )
    names = [column_name(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"data has more than one column {listing([quoted(name) for name in twice], 'and')}.")
    keys = [f"{json.dumps(name, ensure_ascii=False)}: " for name in names]
    columns = [[key + text for text in _json(cells(frame.iloc[:, place]))] for place, key in enumerate(keys)]
    return "".join(f"{{{', '.join(row)}}}\n" for row in zip(*columns, strict=True)).encode()


def column_name(name: Any) -> str:
    """What a column of a data frame is called: its name as text.

    Raises:
        UsageError: it has several names, one for each level of a header.
    """
    if isinstance(name, tuple):
        raise UsageError(
            f"data has the column {name!r}, with several names; give each column one name, such as "
            "frame.columns = ['_'.join(name) for name in frame.columns]."
        )
    return str(name)


def _json(values: Sequence[Cell]) -> list[str]:
    """Each value as JSON; equal texts are written once. An infinity stays one: it is refused with its row."""
    known: dict[str, str] = {}

    def written(value: Cell) -> str:
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else json.dumps(value)
        if not isinstance(value, str):
            return json.dumps(value)
        if value not in known:
            known[value] = json.dumps(value, ensure_ascii=_has_half_a_pair(value))
        return known[value]

    write: Callable[[Cell], str] = written
    return list(map(write, values))


def _has_half_a_pair(text: str) -> bool:
    """Whether UTF-8 cannot hold a text as it is."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def npz_of(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as an npz archive. Lists of different lengths are token lists.

    Raises:
        UsageError: an array holds neither numbers, texts nor token lists.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed time, and so always the same bytes
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _array(name, values), allow_pickle=True)
    return buffer.getvalue()


def _array(name: str, values: Any) -> np.ndarray[Any, Any]:
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.empty(len(values), object)
        array[:] = [list(row) for row in values]
    if array.dtype.kind != "O":
        return array
    if all(isinstance(value, str) for value in array.ravel()):
        return array.astype(str)
    if array.ndim == 1 and all(isinstance(row, (list, tuple, np.ndarray)) for row in array):
        lists = np.empty(len(array), object)
        lists[:] = [[int(token) for token in row] for row in array]
        return lists
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"data: the array {quoted(name)} holds values of several types; it must hold numbers, texts, or "
            "lists of word indices."
        ) from None
