"""Rows of words to predict: texts, which become tokens, or lists of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from nnrun.data.archives.download import IMDB, REUTERS
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.archives.token_pickle import MAX_TOKEN
from nnrun.data.dataset import TokenRows
from nnrun.data.new_rows.header import listed_names, say_unused
from nnrun.data.new_rows.row_blocks import Block, OnMessage, array_of, collect, rows_at_once
from nnrun.data.new_rows.row_source import Lines, RawRow, RowSource, Unreadable, one_by_one, shown
from nnrun.data.tables.row_reader import RowReader, Texts
from nnrun.data.tables.utf8 import is_utf8
from nnrun.data.text.vocabulary import Vocabulary, within_limits, words_of
from nnrun.errors import DataError, UsageError
from nnrun.spec.wording import counted

TEXT = "text"  # the column, or key, that holds the text
Parsed = tuple[int | None, "list[int] | Unreadable"]
_TYPICAL_LENGTH = 512


@dataclass(frozen=True)
class TokenCodec:
    """Rows of tokens.

    Attributes:
        vocabulary: is asked for when the first text comes; raises DataError where there is none.
        knows_words: whether texts can be rows at all.
        num_words, skip_top: the data set's limits, for lists of tokens.
        on_message: called once with what is not used.
    """

    vocabulary: Callable[[], Vocabulary]
    knows_words: bool = True
    num_words: int | None = None
    skip_top: int = 0
    on_message: OnMessage = lambda text: None

    @property
    def numbers_per_row(self) -> int:
        """A few hundred."""
        return _TYPICAL_LENGTH

    def parse(self, source: RowSource, raw: Iterator[RawRow | Lines]) -> Iterator[Parsed]:
        """The tokens of each row.

        Raises:
            DataError: a table has no column of texts, or there is no vocabulary.
        """
        rows = one_by_one(raw)
        if source.kind in ("csv", "tsv"):
            rows = self._texts_of_csv(rows, source.name)
        return self.of_values(rows)

    def of_values(self, raw: Iterator[RawRow]) -> Iterator[Parsed]:
        """Texts, lists of tokens, or objects that hold a text."""
        for row in raw:
            value = row.value
            if isinstance(value, Mapping):
                value = value.get(TEXT, Unreadable(f"has no {TEXT!r}"))
                if not isinstance(value, (str, Unreadable)):
                    value = Unreadable(f"has {shown(value)} for {TEXT!r}, which is not a text")
            yield row.line, self._tokens(value)

    def build(self, values: Sequence[list[int]]) -> tuple[TokenRows, dict[int, str]]:
        """Token rows; none is bad."""
        return TokenRows.from_lists(values), {}

    def _tokens(self, value: Any) -> list[int] | Unreadable:
        if isinstance(value, Unreadable):
            return value
        if isinstance(value, str):
            if not is_utf8(value):
                return Unreadable("is not UTF-8")
            if not words_of(value):
                return Unreadable("has no words")
            return self.vocabulary().encode(value)
        if not isinstance(value, (list, tuple)):
            return Unreadable(f"is {shown(value)}, which is neither a text nor a list of tokens")
        for token in value:
            if type(token) is not int or not 0 <= token <= MAX_TOKEN:
                return Unreadable(f"holds {shown(token)}; tokens are whole numbers from 0 to {MAX_TOKEN:,}")
        return self._within_limits(np.array(value, np.int32)).tolist()  # type: ignore[no-any-return]

    def _within_limits(self, tokens: Any) -> Any:
        return within_limits(tokens, self.num_words, self.skip_top)

    def _texts_of_csv(self, raw: Iterator[RawRow], where: str) -> Iterator[RawRow]:
        """The texts of the column `text`, or of the only column."""
        first = next(raw, None)
        if first is None:
            return
        if isinstance(first.value, Unreadable):
            raise DataError(f"{where}: the first line {first.value.reason}.")
        header = [name.strip() for name in first.value]
        if TEXT in header:
            column = header.index(TEXT)
            say_unused([name for name in header if name != TEXT], where, self.on_message)
        elif len(header) == 1:
            column = 0
            if len(header[0].split()) == 1:
                self.on_message(f"{where}: the first line, {shown(header[0])}, is read as the column's name")
            else:
                raw = chain([first], raw)
        else:
            raise self._no_text(header, where)
        for row in raw:
            if isinstance(row.value, Unreadable):
                yield row
            elif len(row.value) != len(header):
                fields = counted(len(row.value), "field")
                yield RawRow(row.line, Unreadable(f"has {fields}; its first line has {len(header)}"))
            else:
                yield RawRow(row.line, row.value[column])

    def _no_text(self, header: Sequence[str], where: str) -> DataError:
        return DataError(
            f"{where} has {counted(len(header), 'column')}, and none is named {TEXT!r}: "
            f"{listed_names(header)}. Name the column of the texts {TEXT!r}."
        )

    def of_columns(self, reader: RowReader) -> Iterator[Block]:
        """The texts of the column `text`, or of the only column."""
        if TEXT not in reader.names and len(reader.names) > 1:
            raise self._no_text(reader.names, reader.name)
        column = TEXT if TEXT in reader.names else reader.names[0]
        say_unused([name for name in reader.names if name != column], reader.name, self.on_message)
        return collect(self.of_values(self._texts_of_columns(reader, column)), self)

    def _texts_of_columns(self, reader: RowReader, column: str) -> Iterator[RawRow]:
        for block in reader.blocks([column], frozenset([column])):
            texts = block.columns[column]
            assert isinstance(texts, Texts), "it was asked for as texts"
            levels = [*texts.levels, Unreadable("has no text")]
            for code in texts.codes.tolist():
                yield RawRow(None, levels[code])

    def of_archive(self, archive: Archive) -> Iterator[Block]:
        """The token lists or texts of the array that is there."""
        names, digests = {IMDB.name, REUTERS.name}, {IMDB.digest, REUTERS.digest}
        if archive.path.name in names or archive.sha256 in digests:
            raise DataError(
                f"{archive.path} is the data set as Keras publishes it: its rows are ranks of words, which "
                "become tokens when it is loaded. `nnrun evaluate` measures a run on it."
            )
        name = array_of(archive, self.on_message)
        array = archive.read(name)
        where = f"{archive.path}: the array {name}"
        if isinstance(array, TokenRows):
            limited = TokenRows(array.indptr, self._within_limits(array.tokens))
            return self.of_token_rows(limited)
        if array.dtype.kind == "U" and array.ndim == 1:
            return self._collected(array.tolist())
        raise DataError(
            f"{where} has shape {array.shape} and type {array.dtype}, but this network takes token lists "
            "or texts."
        )

    def of_token_rows(self, rows: TokenRows) -> Iterator[Block]:
        """Token rows that are there already."""
        most = rows_at_once(self.numbers_per_row)
        for start in range(0, len(rows), most):
            part = range(start, min(start + most, len(rows)))
            yield Block(list(part), [None] * len(part), rows.take(np.array(part)), [])

    def of_python(self, inputs: Any) -> Iterator[Block]:
        """A list (or the column `text` of a data frame) of texts or of token lists."""
        if isinstance(inputs, str):
            raise UsageError("The inputs are one text; give a list of texts.")
        if hasattr(inputs, "columns"):
            if TEXT not in inputs.columns:
                raise DataError(f"The inputs have no column {TEXT!r}.")
            inputs = inputs[TEXT]
        if isinstance(inputs, TokenRows):
            return self.of_token_rows(inputs)
        return self._collected(value.tolist() if isinstance(value, np.ndarray) else value for value in inputs)

    def _collected(self, values: Iterable[Any]) -> Iterator[Block]:
        return collect(self.of_values(RawRow(None, value) for value in values), self)
