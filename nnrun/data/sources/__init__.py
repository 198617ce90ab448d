"""One module per kind of data set, each with one function `load(spec, context) -> Dataset`.

A module is imported when a spec asks for its kind, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from nnrun.data.dataset import Dataset
from nnrun.data.sources.context import LoadContext
from nnrun.spec import schema

# The kind of data set, as a spec names it → the module in this folder that loads it.
LOADERS: Mapping[str, str] = {
    "imdb": "keras_tokens",
    "reuters": "keras_tokens",
    "boston_housing": "boston_housing",
    "sklearn": "sklearn_sets",
    "npz": "npz",
    "csv": "table_file",
    "parquet": "table_file",
    "jsonl": "table_file",
    "text_folder": "text_folder",
}


def load_dataset(
    dataset: schema.Component,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    split_columns: Sequence[str] = (),
    on_message: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Load a data set as a spec declares it.

    Args:
        dataset: the spec's data set.
        data_dir: where its files are looked for first.
        smoke: a few hundred rows of the data set's shape instead: nothing is downloaded or looked for.
        split_columns: columns of a file that the validation needs; no inputs unless the spec names them.
        on_message: called with what takes long or went differently.

    Raises:
        DataError: the data is missing, damaged, or not what the spec says.
    """
    module = import_module(f"{__name__}.{LOADERS[dataset.kind]}")
    loaded = module.load(dataset, LoadContext(data_dir, smoke, on_message, tuple(split_columns)))
    assert isinstance(loaded, Dataset)
    return loaded
