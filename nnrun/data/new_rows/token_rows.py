"""Rows of words to predict: texts, which become tokens, or lists of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nnrun.data.archives.download import IMDB, REUTERS
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.archives.token_pickle import MAX_TOKEN
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.row_reader import RowReader, Texts
from nnrun.data.files.utf8 import is_utf8
from nnrun.data.new_rows.header import listed_names, say_unused
from nnrun.data.new_rows.input_batches import (
    InputBatch,
    OnMessage,
    array_of,
    numbered,
    python_batches,
    rows_at_once,
)
from nnrun.data.new_rows.row_source import Kind, Unreadable, shown
from nnrun.data.vocabulary import Vocabulary, within_limits, words_of
from nnrun.errors import DataError, UsageError
from nnrun.spec.ports import INPUT_ARRAY
from nnrun.spec.wording import counted

TEXT = "text"  # the column, or key, that holds the text


@dataclass(frozen=True)
class TokenDecoder:
    """Rows of tokens.

    Attributes:
        vocabulary: is asked for when the first text comes; raises DataError where there is none.
        knows_words: whether texts can be rows at all.
        num_words, skip_top: the data set's limits, for lists of tokens.
        on_message: called once with what is not used.
        array: what the array of the rows is called in an archive, before _train or _test.
    """

    vocabulary: Callable[[], Vocabulary]
    knows_words: bool = True
    num_words: int | None = None
    skip_top: int = 0
    on_message: OnMessage = lambda text: None
    array: str = INPUT_ARRAY
    numbers_per_row: ClassVar[int] = 512  # as texts mostly have
    missing: ClassVar[Set[str]] = frozenset()  # a text that says so is a text
    keys: ClassVar[None] = None  # objects may hold more than a text

    @property
    def kind_of_lines(self) -> Kind:
        """Texts, or lists of tokens where no words are known."""
        return "txt" if self.knows_words else "jsonl"

    def refuse_texts(self, name: str) -> None:
        """Texts are rows; where no vocabulary is known, that is said of the first."""

    def fields_of(self, value: Any, say: Callable[[str], None]) -> list[int] | Unreadable:
        """The tokens of a text, of a list of tokens, or of an object that holds a text."""
        if isinstance(value, Mapping):
            if TEXT not in value:
                return Unreadable(f"has no {TEXT!r}")
            value = value[TEXT]
            if not isinstance(value, str):
                return Unreadable(f"has {shown(value)} for {TEXT!r}, which is not a text")
        return self._tokens(value)

    def built(self, fields: Sequence[list[int] | None]) -> tuple[TokenRows, dict[int, str]]:
        """Token rows; a bad one is empty."""
        return TokenRows.from_lists([row or [] for row in fields]), {}

    def _tokens(self, value: Any) -> list[int] | Unreadable:
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

    def of_csv(self, reader: CsvReader) -> Iterator[InputBatch]:
        """The texts of the column `text`, or of the only column, whose first line may be a text already."""
        header = [name.strip() for name in reader.first_row]
        if TEXT not in header and len(header) == 1:
            named = len(header[0].split()) == 1
            if named:
                self.on_message(
                    f"{reader.name}: the first line, {shown(header[0])}, is read as the column's name"
                )
            return self._of_column(reader.named([TEXT], header=named), TEXT)
        return self.of_columns(reader.named(header, header=True))

    def of_columns(self, reader: RowReader) -> Iterator[InputBatch]:
        """The texts of the column `text`, or of the only column."""
        names = reader.names
        if TEXT not in names and len(names) > 1:
            raise DataError(
                f"{reader.name} has {counted(len(names), 'column')}, and none is named {TEXT!r}: "
                f"{listed_names(names)}. Name the column of the texts {TEXT!r}."
            )
        column = TEXT if TEXT in names else names[0]
        say_unused([name for name in names if name != column], reader.name, self.on_message)
        return self._of_column(reader, column)

    def _of_column(self, reader: RowReader, column: str) -> Iterator[InputBatch]:
        for first, batch in numbered(reader, [column], {column}, self.on_message):
            texts = batch.columns[column]
            assert isinstance(texts, Texts), "it was asked for as texts"
            levels = [*map(self._tokens, texts.levels), Unreadable("has no words")]
            rows = [levels[code] for code in texts.codes]
            bad = {row: tokens.reason for row, tokens in enumerate(rows) if isinstance(tokens, Unreadable)}
            inputs, _ = self.built([None if isinstance(tokens, Unreadable) else tokens for tokens in rows])
            yield InputBatch.of(inputs, first, batch.lines, {**bad, **batch.problems})

    def of_archive(self, archive: Archive) -> Iterator[InputBatch]:
        """The token lists or texts of the array that is there."""
        names, digests = {IMDB.name, REUTERS.name}, {IMDB.digest, REUTERS.digest}
        if archive.path.name in names or archive.sha256 in digests:
            raise DataError(
                f"{archive.path} is the data set as Keras publishes it: its rows are ranks of words, which "
                "become tokens when it is loaded. `nnrun evaluate` measures a run on it."
            )
        name = array_of(archive, self.array, self.on_message)
        return self.of_array(archive.read(name), f"{archive.path}: the array {name}")

    def of_array(self, array: Array | TokenRows, where: str) -> Iterator[InputBatch]:
        """The rows of token lists, or of a one-dimensional array of texts."""
        if isinstance(array, TokenRows):
            limited = TokenRows(array.indptr, self._within_limits(array.tokens))
            return self.of_token_rows(limited)
        if array.dtype.kind in "iu" and array.ndim == 2:
            return python_batches(self, array.tolist(), where)
        if array.dtype.kind == "U" and array.ndim == 1:
            return python_batches(self, array.tolist(), where)
        raise DataError(
            f"{where} has shape {array.shape} and type {array.dtype}, but this network takes token lists "
            "or texts."
        )

    def of_token_rows(self, rows: TokenRows) -> Iterator[InputBatch]:
        """Token rows that are there already."""
        most = rows_at_once(self.numbers_per_row)
        for start in range(0, len(rows), most):
            part = range(start, min(start + most, len(rows)))
            yield InputBatch.of(rows.take(np.array(part)), start, None, {})

    def of_python(self, inputs: Any) -> Iterator[InputBatch]:
        """A list (or the column `text` of a data frame) of texts or of token lists."""
        if isinstance(inputs, str):
            raise UsageError("The inputs are one text; give a list of texts.")
        if hasattr(inputs, "columns"):
            if TEXT not in inputs.columns:
                raise DataError(f"The inputs have no column {TEXT!r}.")
            inputs = inputs[TEXT]
        if isinstance(inputs, TokenRows):
            return self.of_token_rows(inputs)
        values = (value.tolist() if isinstance(value, np.ndarray) else value for value in inputs)
        return python_batches(self, values, "The inputs")
