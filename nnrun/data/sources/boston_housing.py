"""House prices in 506 districts of Boston in the 1970s. The table is bundled with nnrun."""

from __future__ import annotations

import csv
import hashlib
import io
from importlib.resources import files

import numpy as np

from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.errors import DataError
from nnrun.spec import schema

FILE = "boston_house_prices.csv"
SHA256 = "d98212636026544fc9b9c0f372e5f819872e6fa6fa757ab025efdda22180f2d6"
FEATURES = ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT")
SEED = 113


def load(spec: schema.BostonHousing, context: LoadContext) -> Dataset:
    """The districts as `keras.datasets.boston_housing.load_data` gives them: by default 404 and 102."""
    if context.smoke:
        return generated("boston_housing", spec.facts, feature_names=FEATURES)
    content = (files("nnrun.data.sources") / "bundled" / FILE).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise DataError(f"The bundled {FILE} was changed (SHA-256 {digest}). Reinstall nnrun.")
    _, _, *lines = csv.reader(
        io.StringIO(content.decode())
    )  # the first line counts, the second names the columns
    table = np.array(lines, dtype=np.float64)
    order = np.arange(len(table))
    np.random.RandomState(SEED).shuffle(order)
    table = table[order]
    first_test = int(len(table) * (1 - spec.test_fraction))
    if not 0 < first_test < len(table):
        raise DataError(
            f"boston_housing: test_fraction {spec.test_fraction} leaves no row for one of the two sets."
        )
    everything = Samples(np.ascontiguousarray(table[:, :-1]), table[:, -1].copy())
    return Dataset(
        name="boston_housing",
        train=everything.take(np.arange(first_test)),
        test=everything.take(np.arange(first_test, len(table))),
        sources=(SourceFile(FILE, digest, len(table), note="bundled"),),
        task="regression",
        feature_names=FEATURES,
    )
