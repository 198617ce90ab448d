"""Vectors of words from a text file, as GloVe, fastText and word2vec publish them.

A line is a word and its numbers. word2vec and fastText begin with a line of two whole numbers: how many
words follow, and how many numbers each has. GloVe has no such line. A file may be packed with gzip. Letters
in names: D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrun.data.files.open_file import opened, refuse_what_is_no_file, shown_path, whole_lines
from nnrun.errors import DataError, printable

_BLOCK = 4 << 20
_FORMAT = "a line is a word and its numbers with blanks between, as in the text files of GloVe and word2vec"


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The vectors that a file has for some words.

    Attributes:
        dimension: D.
        vectors: word → (D,) float32. Of a word that the file has twice the first.
    """

    dimension: int
    vectors: dict[str, npt.NDArray[np.float32]]


def read_word_vectors(path: Path, wanted: Set[str]) -> WordVectors:
    """Read the vectors of the words `wanted`. The other lines are only counted through.

    Raises:
        DataError: there is no such file, or a line is not a word and as many numbers as the others have.
    """
    name, vectors, dimension = shown_path(path), dict[str, npt.NDArray[np.float32]](), 0
    for number, line in _lines(path):
        fields = line.split(b" ")
        if not dimension:
            if _is_head(number, fields):
                continue
            dimension = len(fields) - 1
        if len(fields) <= max(dimension, 1):
            held = f"{max(len(fields) - 1, 0)} numbers, and others {dimension}" if dimension else "no numbers"
            raise DataError(f"{name}, line {number} has {held}: {_FORMAT}.")
        # Some of GloVe's words hold blanks themselves.
        word = b" ".join(fields[:-dimension]).decode("utf-8", "replace")
        if word in wanted and word not in vectors:
            vectors[word] = _numbers(fields[-dimension:], word, f"{name}, line {number}")
    if not dimension:
        raise DataError(f"{name} holds no vectors: {_FORMAT}.")
    return WordVectors(dimension, vectors)


def dimension_of(path: Path) -> int:
    """D, from the first lines of a file; errors as of `read_word_vectors`."""
    for number, line in _lines(path):
        fields = line.split(b" ")
        if not _is_head(number, fields):
            if len(fields) > 1:
                return len(fields) - 1
            break
    return read_word_vectors(path, frozenset()).dimension


def wrong_dimension(path: Path, dimension: int, output_dim: int) -> str | None:
    """A sentence where an embedding has another size than the vectors of its file; else None."""
    if dimension == output_dim:
        return None
    return (
        f"embedding: the vectors of {path.name} have {dimension} numbers, and output_dim is {output_dim}. "
        f"Set output_dim to {dimension}, or take another file."
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line that holds anything, without its end, and its number from 1."""
    refuse_what_is_no_file(path, "file of word vectors")
    with opened(path) as file:
        for block, first in whole_lines(file, _BLOCK):
            for number, line in enumerate(block.split(b"\n"), start=first):
                if stripped := line.replace(b"\t", b" ").rstrip(b" \r"):
                    yield number, stripped


def _is_head(number: int, fields: list[bytes]) -> bool:
    """Whether a line is the first one of word2vec's format, which holds no vector."""
    return number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields)


def _numbers(fields: list[bytes], word: str, where: str) -> npt.NDArray[np.float32]:
    try:
        vector = np.array([float(field) for field in fields], np.float32)
    except ValueError:
        vector = np.array([np.nan], np.float32)
    if not np.isfinite(vector).all():
        raise DataError(
            f"{where}: the vector of {printable(repr(word))} is not {len(fields)} finite numbers: {_FORMAT}."
        )
    return vector
