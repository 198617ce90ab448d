"""Rows to predict by a network of several inputs, each of which takes an array or a list of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Protocol

import numpy as np

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Array, RawInputs, RowsByInput, TokenRows
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.row_reader import RowReader
from nnrun.data.new_rows.header import listed_names, say_unused
from nnrun.data.new_rows.input_batches import (
    BadRow,
    InputBatch,
    OnMessage,
    RowDecoder,
    arrays_of,
    python_batches,
    rows_at_once,
)
from nnrun.data.new_rows.row_source import Kind, Unreadable, shown
from nnrun.errors import DataError, UsageError
from nnrun.spec.ports import Port
from nnrun.spec.wording import counted, listing, quoted


class ArrayDecoder(RowDecoder, Protocol):
    """What makes the inputs of one of several inputs."""

    @property
    def array(self) -> str:
        """What its array is called in an archive, before _train or _test."""
        ...

    def of_array(self, array: Array | TokenRows, where: str) -> Iterator[InputBatch]:
        """The rows of an array. Args: what messages call it."""
        ...


@dataclass(frozen=True)
class SeveralInputsDecoder:
    """Rows of which each input takes a part: arrays of an archive, values of an object, both by name.

    Attributes:
        decoders: of each input.
        on_message: called once with what is not used.
    """

    decoders: Mapping[Port, ArrayDecoder]
    on_message: OnMessage = lambda text: None
    kind_of_lines: ClassVar[Kind] = "jsonl"
    missing: ClassVar[Set[str]] = frozenset()  # CSV is refused

    @property
    def numbers_per_row(self) -> int:
        """Those of all inputs."""
        return sum(decoder.numbers_per_row for decoder in self.decoders.values())

    @property
    def keys(self) -> Sequence[str]:
        """The names of the inputs."""
        return list(self.decoders)

    # --- tables and texts, which have no parts ---

    def refuse_texts(self, name: str) -> None:
        """A text has no parts."""
        self._refuse(f"{name} holds texts or files")

    def of_csv(self, reader: CsvReader) -> Iterator[InputBatch]:
        """Columns of a table are not arrays."""
        self._refuse(f"{reader.name} holds columns of a table")

    def of_columns(self, reader: RowReader) -> Iterator[InputBatch]:
        """Columns of a table are not arrays."""
        self._refuse(f"{reader.name} holds columns of a table")

    def _refuse(self, found: str) -> NoReturn:
        names = listing(map(quoted, self.decoders), "and")
        raise DataError(
            f"{found}, and this network takes {counted(len(self.decoders), 'array')}, of the inputs {names}. "
            "Give a NumPy archive (.npz) with the arrays "
            f"{listing(dict.fromkeys(d.array for d in self.decoders.values()), 'and')}, or JSON lines of "
            "objects with the inputs' names as keys."
        )

    # --- values ---

    def fields_of(self, value: Any, say: Callable[[str], None]) -> dict[Port, Any] | Unreadable:
        """What each input takes of an object."""
        if not isinstance(value, Mapping):
            names = listed_names(self.keys)
            return Unreadable(f"is {shown(value)}, which is not an object with the inputs' names: {names}")
        lacking = [port for port in self.decoders if port not in value]
        if lacking:
            inputs = "the input" if len(lacking) == 1 else "the inputs"
            return Unreadable(f"lacks {inputs} {listing(map(quoted, lacking), 'and')}")
        found = {}
        for port, decoder in self.decoders.items():
            fields = decoder.fields_of(_plain(value[port]), say)
            if isinstance(fields, Unreadable):
                return Unreadable(_of_input(port, fields.reason))
            found[port] = fields
        return found

    def built(self, fields: Sequence[dict[Port, Any] | None]) -> tuple[RowsByInput, dict[int, str]]:
        """The rows of each input, and what is wrong with them."""
        made: dict[Port, RawInputs] = {}
        problems: dict[int, str] = {}
        for port, decoder in self.decoders.items():
            rows, wrong = decoder.built([None if row is None else row[port] for row in fields])
            assert not isinstance(rows, RowsByInput), "an input has no inputs of its own"
            made[port] = rows
            for row, reason in wrong.items():
                problems.setdefault(row, _of_input(port, reason))
        return RowsByInput(made), problems

    # --- arrays ---

    def of_archive(self, archive: Archive) -> Iterator[InputBatch]:
        """The rows of the arrays that the inputs are called by."""
        names = {port: decoder.array for port, decoder in self.decoders.items()}
        found = arrays_of(archive, names, self.on_message)
        tell = self.on_message
        arrays = {name: archive.read(name, map_large=tell) for name in dict.fromkeys(found.values())}
        where = {port: f"{archive.path}: the array {name}" for port, name in found.items()}
        return self._side_by_side({port: arrays[name] for port, name in found.items()}, where)

    def of_python(self, inputs: Any) -> Iterator[InputBatch]:
        """A dict with the rows of each input by its name; or a list of dicts, one for each row."""
        names = listed_names(self.keys)
        if hasattr(inputs, "columns") or isinstance(inputs, np.ndarray):
            what = "an array" if isinstance(inputs, np.ndarray) else "a data frame"
            raise UsageError(
                f"The inputs are {what}, and this network takes {counted(len(self.decoders), 'array')}: give "
                f"a dict of arrays by the inputs' names, {names}."
            )
        if not isinstance(inputs, Mapping):
            return python_batches(self, inputs, "The inputs")
        lacking = [port for port in self.decoders if port not in inputs]
        if lacking:
            raise UsageError(
                f"The inputs lack {listing(map(quoted, lacking), 'and')}. The network takes {names}; found: "
                f"{listed_names([str(name) for name in inputs]) or 'nothing'}."
            )
        unused = [str(name) for name in inputs if name not in self.decoders]
        say_unused(unused, "The inputs", self.on_message)
        return self._side_by_side(
            {port: inputs[port] for port in self.decoders},
            {port: f"The input {quoted(port)}" for port in self.decoders},
        )

    def _side_by_side(self, values: Mapping[Port, Any], where: Mapping[Port, str]) -> Iterator[InputBatch]:
        """The rows of each input, as many of each in a batch.

        Args:
            values: of each input an array, token rows, a data frame or a list, all of N rows.
            where: what messages call each.
        """
        rows = {port: _length(value, where[port]) for port, value in values.items()}
        first, *others = rows
        for port in others:
            if rows[port] != rows[first]:
                raise DataError(
                    f"{where[first]} has {counted(rows[first], 'row')}, and that of the input {quoted(port)} "
                    f"{rows[port]:,}: all inputs are of the same rows."
                )
        most = rows_at_once(self.numbers_per_row)
        for start in range(0, rows[first], most):
            parts = {
                port: self._only_batch(port, _part(value, start, start + most), where[port])
                for port, value in values.items()
            }
            yield _merged(parts, start)

    def _only_batch(self, port: Port, part: Any, where: str) -> InputBatch:
        """The rows of one input, of which there are few enough for one batch."""
        decoder = self.decoders[port]
        if isinstance(part, np.ndarray | TokenRows):
            (batch,) = decoder.of_array(part, where)
            return batch
        try:
            (batch,) = decoder.of_python(part)
        except DataError as error:  # it says `the inputs`, as of a network of one
            raise DataError(f"{where}: {error}") from None
        return batch


def _of_input(port: Port, reason: str) -> str:
    """What is wrong with a row, of which input."""
    return f"of the input {quoted(port)} {reason}"


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _length(value: Any, where: str) -> int:
    """N, the rows of an input."""
    if isinstance(value, np.ndarray) and not value.ndim:
        raise DataError(f"{where} is a single number, not rows.")
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise UsageError(f"{where} is {shown(value)}; give its rows: an array or a list.")
    return len(value)


def _part(value: Any, start: int, stop: int) -> Any:
    """Some rows of an input."""
    if isinstance(value, TokenRows):
        return value.take(np.arange(start, min(stop, len(value))))
    return value.iloc[start:stop] if hasattr(value, "iloc") else value[start:stop]


def _merged(parts: Mapping[Port, InputBatch], start: int) -> InputBatch:
    """The rows that are good for every input.

    Args:
        parts: of each input the same rows, numbered from 0.
        start: the number of the first.
    """
    bad: dict[int, BadRow] = {}
    for port, part in parts.items():
        for row in part.bad:
            said = BadRow(start + row.row, None, _of_input(port, row.reason))
            bad.setdefault(row.row, said)
    first = next(iter(parts.values()))
    good = [row for row in first.rows if row not in bad]
    inputs: dict[Port, RawInputs] = {}
    for port, part in parts.items():
        own = part.inputs
        assert not isinstance(own, RowsByInput), "an input has no inputs of its own"
        places = np.searchsorted(np.array(part.rows, np.int64), np.array(good, np.int64))
        if len(places) < len(own):
            own = own[places] if isinstance(own, np.ndarray) else own.take(places)
        inputs[port] = own
    rows = [start + row for row in good]
    return InputBatch(rows, [None] * len(rows), RowsByInput(inputs), [bad[row] for row in sorted(bad)])
