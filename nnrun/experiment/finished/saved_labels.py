"""The words behind a run's numbers: kept when training starts, so that prediction needs no data set."""

from __future__ import annotations

from pathlib import Path

from nnrun.data import Dataset
from nnrun.data.archives.download import find, how_to_get
from nnrun.data.catalog import word_index_of
from nnrun.data.labels import Labels
from nnrun.data.vocabulary import Vocabulary, make_vocabulary, read_word_index
from nnrun.errors import DataError
from nnrun.experiment.running.listener import Listener
from nnrun.records import RunDirectory
from nnrun.spec import schema


def keep_names(
    run: RunDirectory,
    declared: schema.Component,
    dataset: Dataset,
    width: int,
    data_dir: Path | None,
    listener: Listener,
) -> None:
    """Write the names of classes and features and, where the data set has words, the vocabulary.

    Args:
        run: the run's folder.
        declared: the data set as the spec has it.
        dataset: the same, loaded.
        width: the number that all tokens are below which a network sees.
        data_dir: where data files are looked for first.
        listener: is told where the words are not available; training continues without them.
    """
    run.write_labels(Labels.of(dataset).to_json())
    try:
        vocabulary = _from_word_index(declared, width, data_dir)
    except DataError as error:
        listener.detail(f"no vocabulary is kept with the run: {error}")
    else:
        if vocabulary is not None:
            run.write_vocabulary(vocabulary.to_json())


def load_labels(run: RunDirectory) -> Labels:
    """The names that a run kept; none for a run that kept none."""
    document = run.read_labels()
    return Labels() if document is None else Labels.from_json(document)


def load_vocabulary(
    run: RunDirectory, declared: schema.Component, width: int, data_dir: Path | None
) -> Vocabulary | None:
    """The vocabulary that a run kept, else the one that its word index gives; None where it has no words.

    Raises:
        DataError: the run kept none, and the word index is not on this machine.
    """
    document = run.read_vocabulary()
    if document is not None:
        return Vocabulary.from_json(document)
    return _from_word_index(declared, width, data_dir)


def _from_word_index(declared: schema.Component, width: int, data_dir: Path | None) -> Vocabulary | None:
    """The vocabulary of a data set with words; None for one without. Nothing is downloaded."""
    remote = word_index_of(declared)
    if remote is None:
        return None
    assert isinstance(declared, (schema.Imdb, schema.Reuters)), "no other data set has words"
    path = find(remote, data_dir)
    if path is None:
        raise DataError(f"{remote.name} is not on this machine.\n{how_to_get(remote, data_dir)}")
    index = read_word_index(path)
    return make_vocabulary(index, num_words=declared.num_words, skip_top=declared.skip_top, width=width)
