"""The data sets that a spec can name, and what is known of each before it is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field

from nnrun.spec.schema.component import (
    COMPONENT,
    ONE_IS_ENOUGH,
    ONE_SIZE_IS_ENOUGH,
    Component,
    Config,
    Count,
    Fraction,
    Names,
    NonNegativeInt,
    Seed,
    Stratify,
    Value,
)

_REUTERS_ROWS = 11_228
_BOSTON_ROWS = 506

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is loaded; None where only the data can tell.

    Attributes:
        inputs: `tokens` (lists of word indices) or `table` (rows of numbers, or of named columns).
        task: what the targets are.
        classes: number of classes, for classification.
        features: numbers of a row, where rows have one axis.
        row_shape: of a row of an array with more axes, such as (28, 28).
        train_rows, test_rows: rows; a test set of 0 rows means that there is none.
        num_words: token indices are below this number.
        numbers: how many numbers a row has to predict, for regression.
        of_inputs: where a spec names inputs, what is known of each: `inputs`, `features`, `row_shape` and
            `num_words`.
    """

    inputs: Literal["tokens", "table"] | None = None
    task: Task | None = None
    classes: int | None = None
    features: int | None = None
    train_rows: int | None = None
    test_rows: int | None = None
    num_words: int | None = None
    numbers: int = 1
    row_shape: tuple[int, ...] | None = None
    of_inputs: Mapping[str, "DatasetFacts"] = field(default_factory=dict)

    def of_input(self, name: str) -> "DatasetFacts":
        """The facts as one of several inputs sees them; nothing of the rows where nothing is known of it."""
        own = self.of_inputs.get(name, DatasetFacts())
        return replace(
            self,
            inputs=own.inputs,
            features=own.features,
            row_shape=own.row_shape,
            num_words=own.num_words,
        )


class DataSource(Component):
    """Base of the data sets."""

    @property
    def facts(self) -> DatasetFacts:
        """What is known without loading it, so that a spec can be checked without its data."""
        return DatasetFacts()


class Imdb(DataSource):
    """50,000 film reviews as lists of word indices, half positive (book, section 3.4)."""

    kind = "imdb"
    example = 10_000
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None

    @property
    def facts(self) -> DatasetFacts:
        """`maxlen` drops rows, so their number is then unknown."""
        rows = 25_000 if self.maxlen is None else None
        return DatasetFacts("tokens", "binary", 2, None, rows, rows, self.num_words)


class Reuters(DataSource):
    """11,228 newswires as lists of word indices, in 46 topics (book, section 3.5)."""

    kind = "reuters"
    example = 10_000
    bare = "num_words"
    num_words: Count | None = None
    skip_top: NonNegativeInt = 0
    maxlen: Count | None = None
    test_fraction: Fraction = 0.2

    @property
    def facts(self) -> DatasetFacts:
        """`maxlen` drops rows, so their number is then unknown."""
        train = int(_REUTERS_ROWS * (1 - self.test_fraction)) if self.maxlen is None else None
        test = None if train is None else _REUTERS_ROWS - train
        return DatasetFacts("tokens", "multiclass", 46, None, train, test, self.num_words)


class BostonHousing(DataSource):
    """506 districts, 13 features, median house price in 1000 dollars (book, section 3.6)."""

    kind = "boston_housing"
    bare = "test_fraction"
    test_fraction: Fraction = 0.2

    @property
    def facts(self) -> DatasetFacts:
        """All of them."""
        train = int(_BOSTON_ROWS * (1 - self.test_fraction))
        return DatasetFacts("table", "regression", None, 13, train, _BOSTON_ROWS - train)


class Mnist(DataSource):
    """70,000 handwritten digits as images of 28 by 28 bytes, 60,000 of them to train on (book, chapter 2)."""

    kind = "mnist"

    @property
    def facts(self) -> DatasetFacts:
        """All of them."""
        return _MNIST


class FashionMnist(DataSource):
    """70,000 pieces of clothing of 10 kinds as images of 28 by 28 bytes, 60,000 of them to train on."""

    kind = "fashion_mnist"

    @property
    def facts(self) -> DatasetFacts:
        """As of MNIST."""
        return _MNIST


_MNIST = DatasetFacts("table", "multiclass", 10, None, 60_000, 10_000, row_shape=(28, 28))

_SKLEARN = {
    "breast_cancer": DatasetFacts("table", "binary", 2, 30, 569, 0),
    "digits": DatasetFacts("table", "multiclass", 10, 64, 1797, 0),
    "wine": DatasetFacts("table", "multiclass", 3, 13, 178, 0),
    "iris": DatasetFacts("table", "multiclass", 3, 4, 150, 0),
    "diabetes": DatasetFacts("table", "regression", None, 10, 442, 0),
}


class Sklearn(DataSource):
    """A small data set that ships with scikit-learn. It has no test set of its own."""

    kind = "sklearn"
    bare = "name"
    name: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"]

    @property
    def facts(self) -> DatasetFacts:
        """All of them."""
        return _SKLEARN[self.name]


class DigitLines(DataSource):
    """Lines of two to four handwritten digits of scikit-learn, glued side by side, to read with `loss: ctc`.

    A row is (32, 8), columns of pixels from left to right; the class of a digit d is d + 1. `seed` draws the
    lines. `test_rows` lines of the test set are made of a fifth of the images, which no other line has.
    """

    kind = "digit_lines"
    bare = "rows"
    rows: Count = 4000
    test_rows: Count = 1000
    seed: Seed = 0

    @property
    def facts(self) -> DatasetFacts:
        """All but the task: classes are read from a row, it has none itself."""
        return DatasetFacts(inputs="table", row_shape=(32, 8), train_rows=self.rows, test_rows=self.test_rows)


class DigitPairs(DataSource):
    """Pairs of scikit-learn's handwritten digits; the target is whether both are of one class, as half are.

    Arrays `left` and `right` (8, 8), from 0 (white) to 1 (black), and `same` (0 or 1) are for `inputs` and
    `outputs`. Without `inputs` a row is both images side by side, (8, 16). `seed` draws the pairs.
    `test_rows` pairs of the test set are made of a fifth of the images, which no other pair has.
    """

    kind = "digit_pairs"
    bare = "rows"
    rows: Count = 10_000
    test_rows: Count = 2000
    seed: Seed = 0
    arrays: ClassVar[Mapping[str, tuple[int, ...]]] = {"left": (8, 8), "right": (8, 8), "same": ()}

    @property
    def facts(self) -> DatasetFacts:
        """All of them."""
        return DatasetFacts("table", "binary", 2, None, self.rows, self.test_rows, row_shape=(8, 16))


class WithPath(DataSource):
    """Data of a user's own: a file or a folder."""

    bare = "path"
    path: str


class Npz(WithPath):
    """A NumPy archive with x_train, y_train and, optionally, x_test, y_test."""

    kind = "npz"
    example = "arrays.npz"


class TestRows(Config):
    """The test set: a `fraction` of the rows, those with a `value` in a `column`, or another file.

    A fraction is drawn at random with its own seed, so that a spec's seeds share one test set; with
    `shuffle: false` it is the last rows. `stratify` is as of a `holdout`. `path` is a file of the same
    columns.
    """

    fraction: Fraction | None = Field(None, examples=[0.2])
    shuffle: bool = True
    stratify: Stratify = False
    seed: Seed = 0
    path: str | None = Field(None, examples=["more_houses.csv"])
    column: str | None = Field(None, examples=["part"])
    value: Value | None = Field(None, examples=["test"])


ColumnType = Literal["number", "category", "text", "date"]


class NamedColumns(DataSource):
    """Rows with named columns.

    `target` is what to predict: a column, or several (numbers, or 0 and 1 for each of several labels). A spec
    with `outputs` leaves it out: their targets are the targets.
    `inputs` default to every column that has no other role. `test` says which rows are the test set; default:
    none. `drop_missing` leaves out rows where an input is missing, `drop_missing_target` rows where a
    target is, with several `outputs` where all are (they are refused otherwise). Rows of one `group` are
    never split between training and validation. `weight` is how much a row counts in the loss. `types`
    overrides what the values of a column look like. A column that only numbers the rows is not an input by
    default; naming it in `inputs` makes it one.
    """

    switchable = {"test": None}
    target: Names = Field([], examples=[["price"]])
    inputs: Annotated[list[str], ONE_IS_ENOUGH] | None = Field(None, examples=[["age", "rooms"]])
    test: TestRows | None = Field(None, examples=[{"fraction": 0.2}])
    drop_missing: bool = False
    drop_missing_target: bool = False
    group: str | None = Field(None, examples=["town"])
    weight: str | None = Field(None, examples=["rooms"])
    types: dict[str, ColumnType] = Field({}, examples=[{"rooms": "category"}])

    def is_number(self, column: str) -> bool:
        """Whether a column is known to hold numbers, without its values."""
        return self.types.get(column) == "number"

    @property
    def facts(self) -> DatasetFacts:
        """How many numbers there are to predict, and whether there are no test rows."""
        test_rows = 0 if self.test is None else None
        return DatasetFacts("table", test_rows=test_rows, numbers=len(self.target))


class RowFile(NamedColumns, WithPath):
    """A file of rows with named columns."""


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
    example = {"path": "houses.csv", "target": "price"}
    delimiter: str | None = Field(None, examples=[";"])
    header: bool = True
    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None
    number_formats: dict[str, NumberFormat] = {}
    missing: list[str] | None = None


class Parquet(RowFile):
    """A Parquet file. Needs the extra `nnrun[parquet]`."""

    kind = "parquet"
    example = {"path": "houses.parquet", "target": "price"}


class Jsonl(RowFile):
    """A file with one JSON object a line. `missing` lists texts that mean a missing value, as null does."""

    kind = "jsonl"
    example = {"path": "houses.jsonl", "target": "price"}
    missing: list[str] = []


@dataclass(frozen=True)
class Content:
    """What stands in a column of a published table: enough to check a spec, and to draw rows like its rows.

    Attributes:
        values: the names of a category; or words that texts are made of.
        words: the fewest and the most words of a text; None where `values` are a category.
        numbers: the lowest and the highest of a number, as the table spells them: with as many decimals.
        missing: rows without a value.
    """

    values: tuple[str, ...] = ()
    words: tuple[int, int] | None = None
    numbers: tuple[str, str] | None = None
    missing: int = 0

    @property
    def facts(self) -> DatasetFacts:
        """What is known of the targets, where they are this column."""
        if self.numbers is not None:
            whole = not any("." in number for number in self.numbers)
            if self.numbers == ("0", "1"):
                return DatasetFacts("table", "binary", 2)
            return DatasetFacts("table", None if whole else "regression")
        classes = len(self.values)
        if self.words is not None:
            return DatasetFacts("table")
        return DatasetFacts("table", "binary" if classes == 2 else "multiclass", classes)


class PublishedTable(NamedColumns):
    """A table with named columns that someone publishes as a file of CSV: it is downloaded once.

    Class attributes:
        columns: name → what stands in the column, in the order of the file.
        rows: of the file.
        numbers_rows: the column that only numbers the rows, which is no input by default, or None.
    """

    bare = "target"
    columns: ClassVar[Mapping[str, Content]]
    rows: ClassVar[int]
    numbers_rows: ClassVar[str | None] = None

    def is_number(self, column: str) -> bool:
        """By `types`, or by what stands in the table."""
        content = self.columns.get(column)
        known = content is not None and content.numbers is not None
        return super().is_number(column) or (known and column not in self.types)

    def default_inputs(self, split_columns: Sequence[str]) -> list[str]:
        """The inputs where the spec names none, these columns being set aside."""
        test = None if self.test is None else self.test.column
        others = {*self.target, *split_columns, self.group, self.weight, test, self.numbers_rows}
        return [name for name in self.columns if name not in others]

    @property
    def facts(self) -> DatasetFacts:
        """By the first target; rows are known where none is left out and none is set aside."""
        content = self.columns.get(self.target[0]) if len(self.target) == 1 else None
        facts = super().facts if content is None else content.facts
        left_out = self.drop_missing or self.drop_missing_target
        rows = None if left_out or self.test is not None else self.rows
        test_rows = 0 if self.test is None else None
        return replace(facts, train_rows=rows, test_rows=test_rows, numbers=len(self.target))


class Penguins(PublishedTable):
    """Measurements of 344 penguins of three species; `target` is the species by default.

    Collected by Kristen Gorman at Palmer Station, Antarctica; published by Horst, Hill and Gorman (2020) as
    palmerpenguins, in the public domain (CC0). Two penguins have no measurements at all.
    """

    kind = "penguins"
    target: Names = ["species"]
    rows = 344
    columns = {
        "species": Content(("Adelie", "Chinstrap", "Gentoo")),
        "island": Content(("Torgersen", "Biscoe", "Dream")),
        "bill_length_mm": Content(numbers=("32.1", "59.6"), missing=2),
        "bill_depth_mm": Content(numbers=("13.1", "21.5"), missing=2),
        "flipper_length_mm": Content(numbers=("172", "231"), missing=2),
        "body_mass_g": Content(numbers=("2700", "6300"), missing=2),
        "sex": Content(("MALE", "FEMALE"), missing=11),
    }


class Titanic(PublishedTable):
    """891 passengers of the Titanic with their names; `target` is Survived (0 or 1) by default.

    These are the training rows of Kaggle's competition, from the list that Thomas Cason compiled of the
    Encyclopedia Titanica. Their licence is unclear; the file is the copy in the documentation of pandas.
    """

    kind = "titanic"
    target: Names = ["Survived"]
    rows = 891
    numbers_rows = "PassengerId"
    columns = {
        "PassengerId": Content(numbers=("1", "891")),
        "Survived": Content(numbers=("0", "1")),
        "Pclass": Content(numbers=("1", "3")),
        "Name": Content(("Mr.", "Mrs.", "Miss", "Master", "Smith,", "John", "Mary", "Anna", "(Ada)"), (3, 6)),
        "Sex": Content(("male", "female")),
        "Age": Content(numbers=("0.42", "80.00"), missing=177),
        "SibSp": Content(numbers=("0", "8")),
        "Parch": Content(numbers=("0", "6")),
        "Ticket": Content(("A/5", "PC", "CA", "17599", "21171", "347082", "113803"), (1, 3)),
        "Fare": Content(numbers=("0.0000", "512.3292")),
        "Cabin": Content(("B28", "C85", "C123", "E46", "G6"), (1, 2), missing=687),
        "Embarked": Content(("C", "Q", "S"), missing=2),
    }


class TextFolder(WithPath):
    """Texts in one folder for each class: `<class>/*.txt`, or train/<class>/ and test/<class>/.

    The inputs have one column, `text`. `test` is for a folder without train/ and test/.
    """

    kind = "text_folder"
    example = "reviews"
    switchable = {"test": None}
    test: TestRows | None = None

    @property
    def facts(self) -> DatasetFacts:
        """Its one column is text."""
        return DatasetFacts("table")


class ImageFolder(WithPath):
    """Images (PNG, JPEG) in one folder for each class: `<class>/*.png`, or train/<class>/ and test/<class>/.

    Each becomes (height, width, channels) bytes of one `size` (a number for both, or height and width), by
    bilinear interpolation and whatever its proportions; `mode` says in colour (3 channels) or in grey (1).
    `test` is for a folder without train/ and test/.
    """

    kind = "image_folder"
    example = {"path": "photos", "size": 32}
    switchable = {"test": None}
    size: Annotated[list[Count], Field(min_length=1, max_length=2), ONE_SIZE_IS_ENOUGH]
    mode: Literal["rgb", "grayscale"] = "rgb"
    test: TestRows | None = None

    @property
    def height_and_width(self) -> tuple[int, int]:
        """In pixels."""
        return self.size[0], self.size[-1]

    @property
    def facts(self) -> DatasetFacts:
        """The shape of an image."""
        return DatasetFacts("table", row_shape=(*self.height_and_width, 3 if self.mode == "rgb" else 1))


FOLDERS = (TextFolder, ImageFolder)
"""Files in one folder for each class."""

WITH_ARRAYS = (Npz, DigitPairs)
"""Data whose arrays have names, for `inputs` and `outputs`."""

FILES = (NamedColumns, *FOLDERS)
"""Data with named columns or classes: what they hold is known once they are read."""

Dataset = Annotated[
    Union[
        Imdb,
        Reuters,
        BostonHousing,
        Mnist,
        FashionMnist,
        Penguins,
        Titanic,
        Sklearn,
        DigitLines,
        DigitPairs,
        Npz,
        Csv,
        Parquet,
        Jsonl,
        TextFolder,
        ImageFolder,
    ],
    COMPONENT,
]
