"""Words behind tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.data.text.published_words import TOPICS, decode, read_word_index, token_words
from nnrun.errors import DataError


def test_tokens_become_words() -> None:
    words = token_words({"the": 1, "film": 2})
    assert decode([1, 4, 5, 2, 0, 9, 3], words) == ["<start>", "the", "film", "<unk>", "<pad>", "<9>", "<3>"]
    assert decode([1, 4], None) == ["<start>", "4"]


def test_topics_are_in_the_order_of_keras() -> None:
    assert len(set(TOPICS)) == len(TOPICS) == 46
    assert (TOPICS[0], TOPICS[3], TOPICS[4], TOPICS[19], TOPICS[45]) == (
        "cocoa",
        "earn",
        "acq",
        "money-fx",
        "lead",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<html>", "is not JSON"),
        ("[1, 2]", "is not a word index"),
        ('{"the": "1"}', "is not a word index"),
        ('{"the": 0}', "is not a word index"),
        ('{"the": true}', "is not a word index"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_word_index(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_word_index(tmp_path / "none.json")
