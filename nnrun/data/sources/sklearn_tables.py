"""The tables that ship with scikit-learn, read from its folder: to import scikit-learn takes a second.

The numbers are those of `sklearn.datasets.load_<name>`, bit for bit.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.errors import DataError

_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)

_FEATURES = {
    "breast_cancer": (
        *(f"mean {name}" for name in _MEASURES),
        *(f"{name} error" for name in _MEASURES),
        *(f"worst {name}" for name in _MEASURES),
    ),
    "diabetes": ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
    "digits": tuple(f"pixel_{row}_{column}" for row, column in product(range(8), repeat=2)),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": (
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280/od315_of_diluted_wines",
        "proline",
    ),
}
"""Table → the names of its columns: the files do not have them."""


@dataclass(frozen=True, eq=False)
class SklearnTable:
    """A table.

    Attributes:
        inputs: (N, F) float64.
        targets: (N,) float64; whole numbers where these are classes.
        feature_names: F names.
        class_names: by their numbers; None where the targets are measures.
    """

    inputs: npt.NDArray[np.float64]
    targets: npt.NDArray[np.float64]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] | None


def read_sklearn_table(name: str) -> SklearnTable:
    """A table by its name in `sklearn.datasets.load_<name>`.

    Raises:
        DataError: scikit-learn is not installed, or does not have the file.
    """
    classes: tuple[str, ...] | None = None
    match name:
        case "diabetes":
            inputs = _standardized(np.loadtxt(_lines("diabetes_data_raw.csv.gz")))
            targets = np.loadtxt(_lines("diabetes_target.csv.gz"))
        case "digits":
            rows = np.loadtxt(_lines("digits.csv.gz"), delimiter=",")
            inputs, targets, classes = rows[:, :-1], rows[:, -1], tuple(map(str, range(10)))
        case _:
            lines = _lines("wine_data.csv" if name == "wine" else f"{name}.csv")
            header = next(csv.reader(lines[:1]))  # N, F, and the names of the classes
            rows = np.loadtxt(lines[1:], delimiter=",")
            inputs, targets, classes = rows[:, :-1], rows[:, -1], tuple(header[2:])
    return SklearnTable(np.ascontiguousarray(inputs), targets, _FEATURES[name], classes)


def sklearn_version() -> str:
    """Where the tables are from, for the record of a run."""
    return f"scikit-learn {version('scikit-learn')}"


def _lines(file: str) -> list[str]:
    """The lines of a file in scikit-learn's folder of tables."""
    found = find_spec("sklearn")  # looks for its folder, and imports nothing
    folders = () if found is None else found.submodule_search_locations or ()
    paths = [path for folder in folders if (path := Path(folder, "datasets", "data", file)).is_file()]
    if not paths:
        raise DataError(
            f"scikit-learn has no file datasets/data/{file} on this machine. Install it again: "
            "pip install --force-reinstall scikit-learn"
        )
    content = paths[0].read_bytes()
    return (gzip.decompress(content) if file.endswith(".gz") else content).decode().splitlines()


def _standardized(raw_NF: Array) -> Array:
    """Mean 0 and a sum of squares of 1 in each column, rounded as scikit-learn's `scale` rounds them."""
    x_NF: Array = raw_NF - raw_NF.mean(axis=0)
    x_NF /= raw_NF.std(axis=0)
    x_NF /= len(x_NF) ** 0.5
    return x_NF
