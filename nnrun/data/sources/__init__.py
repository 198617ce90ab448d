"""One module per kind of data set, each with one function `load(spec, context) -> Dataset`.

A module is imported when a spec asks for its kind, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from nnrun.data.archives.download import (
    FASHION_MNIST,
    IMDB,
    IMDB_WORDS,
    MNIST,
    PUBLISHED_TABLES,
    REUTERS,
    REUTERS_WORDS,
    RemoteFile,
)
from nnrun.data.dataset import Dataset
from nnrun.data.sources.context import LoadContext
from nnrun.spec import schema
from nnrun.spec.ports import Port


@dataclass(frozen=True)
class NamedSet:
    """A data set that `nnrun data` knows by name.

    Attributes:
        name: as the command line takes it.
        dataset: as a spec declares it.
        what: a line about it.
        archive, words: its published files, or None.
        more: further files of the data set, beside `archive`.
        home: what it comes with, where it has no file of its own.
    """

    name: str
    dataset: schema.DataSource
    what: str
    archive: RemoteFile | None = None
    words: RemoteFile | None = None
    home: str | None = None
    more: tuple[RemoteFile, ...] = ()

    @property
    def archives(self) -> tuple[RemoteFile, ...]:
        """All files of its rows; none where it needs no download."""
        return () if self.archive is None else (self.archive, *self.more)

    @property
    def facts(self) -> schema.DatasetFacts:
        """What is known without loading it."""
        return self.dataset.facts


@dataclass(frozen=True)
class Source:
    """How one kind of data set is loaded.

    Attributes:
        module: the module in this folder whose `load` does it.
        named: the sets that `nnrun data` lists; none where a spec must say which file is meant.
    """

    module: str
    named: tuple[NamedSet, ...] = ()


def _of_sklearn(name: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"], what: str) -> NamedSet:
    return NamedSet(name, schema.Sklearn(name=name), what, home="scikit-learn")


def _table(dataset: schema.PublishedTable, what: str) -> Source:
    return Source("published_table", (NamedSet(dataset.kind, dataset, what, PUBLISHED_TABLES[dataset.kind]),))


SOURCES: Mapping[type[schema.Component], Source] = {
    schema.Imdb: Source(
        "keras_tokens",
        (NamedSet("imdb", schema.Imdb(), "film reviews, positive or negative", IMDB, IMDB_WORDS),),
    ),
    schema.Reuters: Source(
        "keras_tokens",
        (NamedSet("reuters", schema.Reuters(), "newswires in 46 topics", REUTERS, REUTERS_WORDS),),
    ),
    schema.BostonHousing: Source(
        "boston_housing",
        (NamedSet("boston_housing", schema.BostonHousing(), "house prices in 506 districts", home="nnrun"),),
    ),
    schema.Mnist: Source(
        "mnist", (NamedSet("mnist", schema.Mnist(), "handwritten digits, 28 by 28 pixels", MNIST),)
    ),
    schema.FashionMnist: Source(
        "fashion_mnist",
        (
            NamedSet(
                "fashion_mnist",
                schema.FashionMnist(),
                "clothing of 10 kinds, 28 by 28 pixels",
                FASHION_MNIST[0],
                more=FASHION_MNIST[1:],
            ),
        ),
    ),
    schema.Penguins: _table(schema.Penguins(), "penguins of 3 species, with their body mass"),
    schema.Titanic: _table(schema.Titanic(), "passengers with their names, drowned or saved"),
    schema.Sklearn: Source(
        "sklearn_sets",
        (
            _of_sklearn("breast_cancer", "tumours, malignant or benign"),
            _of_sklearn("digits", "handwritten digits, 8 by 8 pixels"),
            _of_sklearn("wine", "wines of 3 growers, by chemistry"),
            _of_sklearn("iris", "irises of 3 species, by 4 lengths"),
            _of_sklearn("diabetes", "progression of a disease in a year"),
        ),
    ),
    schema.DigitLines: Source(
        "digit_lines",
        (
            NamedSet(
                "digit_lines",
                schema.DigitLines(),
                "lines of 2 to 4 handwritten digits, for ctc",
                home="scikit-learn",
            ),
        ),
    ),
    schema.DigitPairs: Source(
        "digit_pairs",
        (
            NamedSet(
                "digit_pairs",
                schema.DigitPairs(),
                "pairs of handwritten digits, of one class or not",
                home="scikit-learn",
            ),
        ),
    ),
    schema.Npz: Source("npz"),
    schema.Csv: Source("table_file"),
    schema.Parquet: Source("table_file"),
    schema.Jsonl: Source("table_file"),
    schema.TextFolder: Source("text_folder"),
    schema.ImageFolder: Source("image_folder"),
}


def load_dataset(
    dataset: schema.Component,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    split_columns: Sequence[str] = (),
    inputs: Mapping[Port, tuple[str, ...]] | None = None,
    outputs: Mapping[Port, tuple[str, ...]] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
    text_targets: Collection[Port] = (),
    token_inputs: Collection[Port] = (),
    on_doubt: Callable[[str], None] | None = None,
) -> Dataset:
    """Load a data set as a spec declares it.

    Args:
        dataset: the spec's data set.
        data_dir: where its files are looked for first.
        smoke: a few hundred rows of the data set's shape instead: nothing is downloaded or looked for.
        split_columns: columns of a file that the validation needs; no inputs unless the spec names them.
        inputs, outputs: where a spec names them, the array or the columns of each.
        on_message: called with what takes long or went differently.
        text_targets: the outputs whose targets are texts that may be different in every row.
        token_inputs: the inputs whose rows are lists of word indices, also where they are of one length.
        on_doubt: called with what is doubtful about columns; None: as `on_message`.

    Raises:
        DataError: the data is missing, damaged, or not what the spec says.
    """
    context = LoadContext(
        data_dir,
        smoke,
        on_message,
        tuple(split_columns),
        inputs or {},
        outputs or {},
        tuple(text_targets),
        tuple(token_inputs),
        on_doubt,
    )
    module = import_module(f"{__name__}.{SOURCES[type(dataset)].module}")
    loaded = module.load(dataset, context)
    assert isinstance(loaded, Dataset)
    return loaded
