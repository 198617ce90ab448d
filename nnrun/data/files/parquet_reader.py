"""Parquet, read by pyarrow in batches. pyarrow is an extra: it is larger than all of nnrun."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nnrun.data.files.open_file import shown_path
from nnrun.data.files.row_reader import ColumnBatch, Numbers, Texts
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.value_names import EXACT, written_name
from nnrun.errors import DataError, printable
from nnrun.extras import installation
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import quoted

_BATCH_ROWS: Final = 131_072
_BATCH_VALUES: Final = 1 << 22  # of all columns: fewer rows of a wide table are in memory at a time


class ParquetReader:
    """A Parquet file. Its rows count from 0.

    Attributes:
        path: of the file.
        name, names, unit, delimiter, typed, missing, spellings, index, types: as of a `RowReader`.
    """

    typed = True
    unit: Literal["line", "row"] = "row"
    delimiter: str | None = None
    missing: Sequence[str] = ()
    spellings = Spellings()

    def __init__(self, path: Path, batch_rows: int = _BATCH_ROWS) -> None:
        """Read the schema.

        Args:
            path: of the file.
            batch_rows: of a block, at most.

        Raises:
            DataError: pyarrow is not installed, or the file is no Parquet file.
        """
        self.path = path
        self._batch_rows = batch_rows
        self.name = shown_path(path)
        file = self._open()
        self.names: tuple[str, ...] = tuple(str(name) for name in file.schema_arrow.names)
        for name, columns in Counter(self.names).items():
            if columns > 1:
                raise DataError(f"{self.name} has two columns called {quoted(name)}.")
        self.index: Mapping[str, str] = _pandas_index(file.schema_arrow)
        self.types: Mapping[str, ColumnType] = _declared_types(file.schema_arrow)

    def batches(self, columns: Sequence[str], as_text: Set[str]) -> Iterator[ColumnBatch]:
        """As of a `RowReader`."""
        import pyarrow as pa

        file = self._open()
        for name in columns:
            type_ = file.schema_arrow.field(name).type
            if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
                raise self._no_value(name, type_)
        total = max(1, file.metadata.num_rows)
        rows = 0
        at_once = min(self._batch_rows, max(1024, _BATCH_VALUES // max(1, len(columns))))
        batches = _batches(file, at_once, list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from None
            if batch is None:
                return
            rows += batch.num_rows
            read = {
                name: self._column(name, batch.column(batch.schema.get_field_index(name)), name in as_text)
                for name in columns
            }
            yield ColumnBatch(batch.num_rows, read, rows / total)

    def _column(self, name: str, values: Any, as_text: bool) -> Numbers | Texts:
        import pyarrow as pa

        try:
            return _numbers_or_texts(values, as_text)
        except UnicodeDecodeError:
            raise DataError(
                f"{self.name}, column {quoted(name)} holds a text that is not UTF-8. Write it again with a "
                "program that writes UTF-8."
            ) from None
        except pa.ArrowNotImplementedError:
            raise self._no_value(name, values.type) from None
        except pa.ArrowException as error:
            raise self._damaged(error, f", column {quoted(name)}") from None

    def _no_value(self, name: str, type_: Any) -> DataError:
        return DataError(
            f"{self.name}, column {quoted(name)} holds {type_}. A value must be a number, a text or a truth "
            "value."
        )

    def _open(self) -> Any:
        try:
            import pyarrow as pa
            import pyarrow.parquet
        except ImportError:
            raise DataError(
                f"{self.name}: reading Parquet needs pyarrow, which is not installed: "
                f"{installation('parquet')}."
            ) from None
        try:
            return pyarrow.parquet.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception, place: str = "") -> DataError:
        reason = printable(str(error).split("\n")[0].rstrip("."))[:200]
        return DataError(f"{self.name}{place} cannot be read as Parquet: {reason}.")


def _batches(file: Any, rows: int, columns: list[str]) -> Iterator[Any]:
    """Blocks of so many rows. Of a file read in one go, pyarrow keeps all that it has read to the end."""
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=columns)


def _declared_types(schema: Any) -> dict[str, ColumnType]:
    """Categories and dates: by Arrow's type, or by what pandas noted of a column whose type says less."""
    import pyarrow as pa

    declared: dict[str, ColumnType] = {}
    noted = _pandas_notes(schema).get("columns")
    for entry in noted if isinstance(noted, list) else []:
        if isinstance(entry, dict) and entry.get("pandas_type") == "categorical":
            declared[str(entry.get("name"))] = "category"
    for field in schema:
        if pa.types.is_dictionary(field.type):
            declared[field.name] = "category"
        elif pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
            declared[field.name] = "date"
    return {name: type_ for name, type_ in declared.items() if name in schema.names}


def _pandas_index(schema: Any) -> dict[str, str]:
    """The columns that pandas wrote as the index of a data frame."""
    entries = _pandas_notes(schema).get("index_columns")
    names = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
    return dict.fromkeys(names, "the file declares it as the index of a data frame")


def _pandas_notes(schema: Any) -> dict[str, Any]:
    """What pandas wrote beside the columns; nothing where others wrote the file."""
    try:
        notes = json.loads((schema.metadata or {})[b"pandas"])
    except (KeyError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _numbers_or_texts(values: Any, as_text: bool) -> Numbers | Texts:
    import pyarrow as pa
    import pyarrow.compute as pc

    type_ = values.type
    is_number = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    if (is_number or pa.types.is_null(type_)) and not as_text:
        numbers = _numbers(values)
        if numbers is not None:
            return numbers
    if pa.types.is_null(type_):
        values = values.cast(pa.string())
    if pa.types.is_timestamp(type_):
        values = _wall_clock(values).cast(pa.timestamp("s"), safe=False)
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    plain = values.dictionary.type
    if not (
        pa.types.is_string(plain)
        or pa.types.is_large_string(plain)
        or pa.types.is_integer(plain)
        or pa.types.is_floating(plain)
        or pa.types.is_decimal(plain)
    ):
        values = pa.DictionaryArray.from_arrays(values.indices, values.dictionary.cast(pa.string()))
    codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    levels = [written_name(level) for level in values.dictionary.to_pylist()]
    places = np.array([-1 if level is None else i for i, level in enumerate(levels)] + [-1], np.int32)
    return Texts(places[codes], ["" if level is None else level for level in levels], is_number)


def _numbers(values: Any) -> Numbers | None:
    """Numbers, exactly as they are; None where neither floats nor integers hold them."""
    import pyarrow as pa

    floats = values.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(values.type) or pa.types.is_decimal(values.type):
        present = floats[~np.isnan(floats)]
        if len(present) and np.abs(present).max() >= EXACT:
            fits = pa.types.is_integer(values.type) and np.abs(present).max() < 2**63
            return values.cast(pa.int64()).to_numpy() if fits and not values.null_count else None
        if pa.types.is_integer(values.type) and len(present) == len(floats):
            return np.asarray(floats, np.int64)
    return np.asarray(floats, np.float64)


def _wall_clock(values: Any) -> Any:
    """Timestamps as the clock of their time zone shows them; as UTC where the zone is not known here."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.type.tz is None:
        return values
    try:
        return pc.local_timestamp(values)
    except pa.ArrowInvalid:
        return values.cast(pa.timestamp(values.type.unit))
