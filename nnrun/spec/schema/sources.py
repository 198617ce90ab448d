"""The data sets that a spec can name."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from nnrun.spec.schema.component import (
    COMPONENT,
    ONE_IS_ENOUGH,
    Component,
    Config,
    Count,
    Fraction,
    Names,
    NonNegativeInt,
    Seed,
    Value,
)


class Imdb(Component):
    """50,000 film reviews as lists of word indices, half positive (book, section 3.4)."""

    kind = "imdb"
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None


class Reuters(Component):
    """11,228 newswires as lists of word indices, in 46 topics (book, section 3.5)."""

    kind = "reuters"
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None
    test_fraction: Fraction = 0.2


class BostonHousing(Component):
    """506 districts, 13 features, median house price in 1000 dollars (book, section 3.6)."""

    kind = "boston_housing"
    bare = "test_fraction"
    test_fraction: Fraction = 0.2


class Sklearn(Component):
    """A small data set that ships with scikit-learn. It has no test set of its own."""

    kind = "sklearn"
    bare = "name"
    name: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"]


class Npz(Component):
    """A NumPy archive with x_train, y_train and, optionally, x_test, y_test."""

    kind = "npz"
    bare = "path"
    path: str


class TestRows(Config):
    """The test set: a `fraction` of the rows, those with a `value` in a `column`, or another file.

    A fraction is drawn at random with its own seed, so that a spec's seeds share one test set; with
    `shuffle: false` it is the last rows. `path` is a file of the same columns.
    """

    fraction: Fraction | None = None
    shuffle: bool = True
    stratify: bool = False
    seed: Seed = 0
    path: str | None = None
    column: str | None = None
    value: Value | None = None


ColumnType = Literal["number", "category", "text", "date"]


class RowFile(Component):
    """A file of rows with named columns.

    `target` is what to predict: a column, or several (numbers, or 0 and 1 for each of several labels).
    `inputs` default to every column that has no other role. `test` says which rows are the test set; default:
    none. `drop_missing` leaves out rows where an input is missing, `drop_missing_target` rows where a target
    is (they are refused otherwise). Rows of one `group` are never split between training and validation.
    `weight` is how much a row counts in the loss. `types` overrides what the values of a column look like.
    A column that only numbers the rows is not an input by default; naming it in `inputs` makes it one.
    """

    bare = "path"
    switchable = {"test": None}
    path: str
    target: Names
    inputs: Annotated[list[str], ONE_IS_ENOUGH] | None = None
    test: TestRows | None = None
    drop_missing: bool = False
    drop_missing_target: bool = False
    group: str | None = None
    weight: str | None = None
    types: dict[str, ColumnType] = {}


DecimalMark = Literal[".", ","]
ThousandsMark = Literal[",", ".", " ", "'"]


class NumberFormat(Config):
    """How numbers are written: the mark before the decimals, and the mark between groups of thousands."""

    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None


class Csv(RowFile):
    """A CSV file, in UTF-8; `.tsv` is separated by tabs, `.gz` is unpacked.

    `delimiter` defaults to what the name and the first line say. `header: false` is for a file whose first
    line is a row; its columns are c0, c1, ... `missing` lists texts that mean a missing value, as an
    empty field does; default: those of pandas (NA, NaN, null, ...). `decimal` and `thousands` say how numbers
    are written, as in 1.234,5; `number_formats` does so for single columns that differ from the others.
    """

    kind = "csv"
    delimiter: str | None = None
    header: bool = True
    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None
    number_formats: dict[str, NumberFormat] = {}
    missing: list[str] | None = None


class Parquet(RowFile):
    """A Parquet file. Needs the extra `nnrun[parquet]`."""

    kind = "parquet"


class Jsonl(RowFile):
    """A file with one JSON object a line. `missing` lists texts that mean a missing value, as null does."""

    kind = "jsonl"
    missing: list[str] = []


class TextFolder(Component):
    """Texts in one folder for each class: `<class>/*.txt`, or train/<class>/ and test/<class>/.

    The inputs have one column, `text`. `test` is for a folder without train/ and test/.
    """

    kind = "text_folder"
    bare = "path"
    switchable = {"test": None}
    path: str
    test: TestRows | None = None


FILES = (RowFile, TextFolder)
"""Data of a user's own with named columns or classes: what they hold is known once they are read."""

Dataset = Annotated[
    Union[
        Imdb,
        Reuters,
        BostonHousing,
        Sklearn,
        Npz,
        Csv,
        Parquet,
        Jsonl,
        TextFolder,
    ],
    COMPONENT,
]
