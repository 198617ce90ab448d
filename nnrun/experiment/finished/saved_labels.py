"""The words behind a run's numbers, kept when training started, so that prediction needs no data set."""

from __future__ import annotations

from pathlib import Path

from nnrun.data.labels import Labels
from nnrun.data.sources.keras_tokens import published_vocabulary
from nnrun.data.vocabulary import Vocabulary
from nnrun.records import RunDirectory
from nnrun.spec import schema


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
    return published_vocabulary(declared, width, data_dir)
