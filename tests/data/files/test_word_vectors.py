"""Files of word vectors: their formats, and what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from nnrun.data.files.word_vectors import dimension_of, read_word_vectors, wrong_dimension
from nnrun.errors import DataError

GLOVE = "the 0.5 -1 2e-1\n. . . 1 2 3\nfilm 4 5 6\nthe 9 9 9\n"
WANTED = frozenset(("the", "film", ". . .", "absent"))
FOUND = {"the": [0.5, -1, 0.2], ". . .": [1, 2, 3], "film": [4, 5, 6]}


def written(folder: Path, text: str | bytes, name: str = "v.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("head", ["", "4 3\n"], ids=["GloVe", "word2vec"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_formats(head: str, end: str, packed: bool, tmp_path: Path) -> None:
    text = (head + GLOVE).replace("\n", end).encode()
    path = written(tmp_path, gzip.compress(text) if packed else text, "v.txt.gz" if packed else "v.txt")
    read = read_word_vectors(path, WANTED)
    assert read.dimension == dimension_of(path) == 3
    assert {word: vector.tolist() for word, vector in read.vectors.items()} == {
        word: np.array(vector, np.float32).tolist() for word, vector in FOUND.items()
    }
    assert read_word_vectors(path, frozenset(["absent"])).vectors == {}


def test_words_of_any_script_and_tabs(tmp_path: Path) -> None:
    path = written(tmp_path, "öl\t1\t2\n石 3 4\n".encode())
    assert sorted(read_word_vectors(path, frozenset(("öl", "石"))).vectors) == ["öl", "石"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 2\nb 1\n", ", line 2 has 1 numbers, and others 2: a line is a word"),
        ("a\nb 1\n", ", line 1 has no numbers: a line is a word"),
        ("a 1 2\n\nthe 1 x\n", ", line 3: the vector of 'the' is not 2 finite numbers: a line is a word"),
        ("the 1 nan\n", ", line 1: the vector of 'the' is not 2 finite numbers: a line is a word"),
        ("3 2\n", " holds no vectors: a line is a word"),
        ("", " is empty (0 bytes)."),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as refused:
        read_word_vectors(path, WANTED)
    assert str(refused.value).startswith(f"{path}{said}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"v\.txt does not exist"):
        dimension_of(tmp_path / "v.txt")


def test_another_dimension(tmp_path: Path) -> None:
    assert wrong_dimension(Path("data/v.txt"), 50, 50) is None
    assert wrong_dimension(Path("data/v.txt"), 50, 64) == (
        "embedding: the vectors of v.txt have 50 numbers, and output_dim is 64. Set output_dim to 50, or "
        "take another file."
    )
