"""Embeddings that start from a file of word vectors: which words have one, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrun.data.files.file_hash import remembered_sha256
from nnrun.data.files.word_vectors import read_word_vectors, wrong_dimension
from nnrun.data.preprocess import FittedInputs
from nnrun.data.sources.keras_tokens import published_vocabulary
from nnrun.data.vocabulary import UNKNOWN
from nnrun.errors import DataError
from nnrun.experiment.setup.groups import Group
from nnrun.lazy_torch import torch
from nnrun.model.layers.embedding import EmbeddingLayer
from nnrun.records.run_record import VectorsRecord
from nnrun.spec import schema
from nnrun.spec.ports import Port


@dataclass(frozen=True, eq=False)
class PretrainedTable:
    """What one embedding of one network starts from.

    Attributes:
        weight: the name of its table among the network's weights.
        rows: (n,) the word indices that have a vector.
        vectors: (n, D) float32.
        words: how many words the network knows.
    """

    weight: str
    rows: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    words: int

    @property
    def lacking(self) -> int:
        """Words without a vector."""
        return self.words - len(self.rows)


@dataclass(frozen=True, eq=False)
class PretrainedVectors:
    """What a run takes from one file for one embedding.

    Attributes:
        path: of the file.
        sha256: of its bytes.
        tables: for each group, for each of its networks.
    """

    path: Path
    sha256: str
    tables: tuple[tuple[PretrainedTable, ...], ...]

    @property
    def record(self) -> VectorsRecord:
        """For run.json; of several networks that which lacks the most words counts."""
        worst = max((table for group in self.tables for table in group), key=lambda table: table.lacking)
        return VectorsRecord(
            name=self.path.name,
            sha256=self.sha256,
            weight=worst.weight,
            words=worst.words,
            found=len(worst.rows),
        )

    def __str__(self) -> str:
        told = self.record
        share = told.found / max(1, told.words)
        lacking = "" if told.found == told.words else "; the others start as the initializer says"
        return (
            f"{told.weight}: {told.found:,} of {told.words:,} words ({share:.1%}) have a vector in "
            f"{told.name}{lacking}"
        )


def read_pretrained(
    spec: schema.ExperimentSpec, groups: Sequence[Group], data_dir: Path | None
) -> tuple[PretrainedVectors, ...]:
    """The vectors that the embeddings of a spec start from, for all networks.

    Args:
        spec: the experiment.
        groups: its networks.
        data_dir: where the words of a token data set are looked for first.

    Raises:
        DataError: there is no such file, it is damaged, its vectors have another size, none of the words has
            one, or the words are not known.
    """
    found: dict[str, PretrainedVectors] = {}
    for node in groups[0].network.nodes:
        layer, source = node.layer, node.sources[0]
        if not isinstance(layer, EmbeddingLayer) or layer.spec.weights is None:
            continue
        (weight,) = layer.weights
        if weight not in found:  # else another place of a shared chain
            assert isinstance(source, Port), "an embedding is the first layer"
            path = Path(layer.spec.weights)
            words = [
                [_words_of(spec, member.fitted.inputs[source], path, data_dir) for member in group.members]
                for group in groups
            ]
            read = _vectors_for(words, path, layer.spec.output_dim)
            tables = tuple(tuple(_table(weight, own, read) for own in group) for group in words)
            found[weight] = PretrainedVectors(path, remembered_sha256(path), tables)
    return tuple(found.values())


def _words_of(
    spec: schema.ExperimentSpec, fitted: FittedInputs, path: Path, data_dir: Path | None
) -> Mapping[str, int]:
    """The index of each word that a network knows."""
    table = fitted.table
    if table is not None:
        words = None if table.tokens is None else table.tokens.word_indices
        if words is not None:
            return words
    else:
        vocabulary = published_vocabulary(spec.dataset, fitted.tokens or 0, data_dir)
        if vocabulary is not None:
            return {word: token for word, token in vocabulary.words.items() if token != UNKNOWN}
    raise DataError(
        f"embedding: {path.name} has vectors of words, and the words behind the indices of "
        f"{spec.dataset.kind} are not known. Vectors are for imdb, reuters, and texts that the step "
        "tokens cuts into words."
    )


def _vectors_for(
    words: Sequence[Sequence[Mapping[str, int]]], path: Path, output_dim: int
) -> Mapping[str, npt.NDArray[np.float32]]:
    """The vectors that a file has for the words of any network."""
    wanted = frozenset(word for group in words for own in group for word in own)
    read = read_word_vectors(path, wanted)
    if said := wrong_dimension(path, read.dimension, output_dim):
        raise DataError(said)
    if not read.vectors:
        raise DataError(
            f"embedding: {path.name} has a vector for none of the {len(wanted):,} words of the training "
            "rows. Is it of another language, or of words in upper case?"
        )
    return read.vectors


def _table(
    weight: str, words: Mapping[str, int], vectors: Mapping[str, npt.NDArray[np.float32]]
) -> PretrainedTable:
    known = [(index, vectors[word]) for word, index in words.items() if word in vectors]
    rows = np.array([index for index, _ in known], np.int64)
    return PretrainedTable(weight, rows, np.array([vector for _, vector in known], np.float32), len(words))


def start_from_vectors(
    weights: Mapping[str, torch.Tensor], tables: Sequence[Sequence[PretrainedTable]]
) -> None:
    """Put vectors into the stacked first weights (R, V, D) of a group, in place.

    Args:
        weights: of all replicas.
        tables: for each embedding, what each replica has from its file.
    """
    for of_replicas in tables:
        for replica, table in enumerate(of_replicas):
            stacked = weights[table.weight]
            stacked[replica, torch.from_numpy(table.rows)] = torch.from_numpy(table.vectors)
