"""Texts to tokens, as Keras's loaders number them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import TokenRows, load_dataset
from nnrun.data.sources import SOURCES
from nnrun.data.vocabulary import (
    TOPICS,
    Vocabulary,
    decode,
    make_vocabulary,
    read_word_index,
    token_words,
    words_of,
)
from nnrun.errors import DataError
from nnrun.spec import schema

INDEX = {"the": 1, "a": 2, "film": 3, "wonderful": 4, "it's": 5}


def vocabulary(**limits: Any) -> Vocabulary:
    return make_vocabulary(INDEX, **{"num_words": 100, "skip_top": 0, "width": 100, **limits})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A wonderful film.", ["a", "wonderful", "film"]),
        ("It's A-1!\tThe end\n", ["it's", "a", "1", "the", "end"]),
        ("<br />snake_case", ["br", "snake", "case"]),
        ("Grün  été", ["grün", "été"]),
        ("", []),
        ("?!...", []),
    ],
)
def test_texts_are_split_as_keras_splits_them(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_splitting_words_again_changes_nothing(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words_of(" ".join(words).lower())
    assert all(word and not word.isspace() for word in words)


def test_a_row_starts_with_1_and_words_are_moved_up_by_3() -> None:
    assert vocabulary().encode("The film, a WONDERFUL one: it's") == [1, 4, 6, 5, 7, 2, 8]
    assert vocabulary().encode("") == [1]


def test_words_from_num_words_on_are_unknown() -> None:
    found = vocabulary(num_words=6)
    assert dict(found.words) == {"the": 4, "a": 5}
    assert found.encode("the film") == [1, 4, 2]


def test_the_most_frequent_words_may_be_skipped_and_the_start_with_them() -> None:
    assert vocabulary(skip_top=5).encode("the a film what") == [2, 2, 5, 6, 2]


def test_words_that_no_network_sees_are_not_kept() -> None:
    found = vocabulary(num_words=None, width=6)
    assert dict(found.words) == {"the": 4, "a": 5}
    assert found.encode("the film what") == [1, 4]  # as multi_hot does with the test rows


def test_utf_8_that_was_read_as_latin_1_is_put_right() -> None:
    found = make_vocabulary({"clichÃ©": 1, "naïve": 2}, num_words=None, skip_top=0, width=10)
    assert dict(found.words) == {"cliché": 4, "naïve": 5}


def test_there_and_back_through_json() -> None:
    for made in (vocabulary(), vocabulary(num_words=None)):
        read = Vocabulary.from_json(json.loads(json.dumps(made.to_json())))
        assert (read.words, read.start, read.unknown) == (made.words, made.start, made.unknown)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"start": None}, {"start": True}, {"unknown": -1}, {"words": []}, {"words": {"a": "1"}}],
    ids=str,
)
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="vocabulary's JSON is damaged"):
        Vocabulary.from_json(vocabulary().to_json() | change)


@pytest.mark.parametrize("num_words", [None, 10_000])
@pytest.mark.parametrize("cls", [schema.Reuters, schema.Imdb])
def test_words_of_real_rows_become_the_same_tokens(
    cls: Any, num_words: int | None, real_file: Callable[[str], Path]
) -> None:
    """Each test row, decoded with the published index and encoded again."""
    declared = cls(num_words=num_words)
    data_dir = real_file(f"{declared.kind}.npz").parent
    (named,) = SOURCES[cls].named
    assert named.words is not None
    index = read_word_index(real_file(named.words.name))
    test = load_dataset(declared, data_dir=data_dir).test
    assert test is not None
    assert isinstance(test.inputs, TokenRows)
    width = num_words or int(test.inputs.tokens.max()) + 1
    made = make_vocabulary(index, num_words=num_words, skip_top=0, width=width)
    words = token_words(index)
    for row in range(0, len(test), 20):
        tokens = test.inputs.row(row).tolist()
        # What the filters cut, or a wrong encoding spelled, is no word as people write it.
        readable = [t for t in tokens if t > 2 and words_of(words[t]) == [words[t]] and words[t].isascii()]
        known = [t if t in made.words.values() else made.unknown for t in readable]
        text = " ".join(words[t] for t in readable)
        assert made.encode(text) == [1, *(t for t in known if t is not None)]


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
