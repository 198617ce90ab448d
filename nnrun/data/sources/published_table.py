"""A published table: a file of CSV that is downloaded once, and then read as a file of the user's own is."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nnrun.data.archives.download import PUBLISHED_TABLES, fetch
from nnrun.data.dataset import Dataset
from nnrun.data.sources import table_file
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import TEST_ROWS, TRAIN_ROWS
from nnrun.errors import DataError
from nnrun.spec import schema


def load(spec: schema.PublishedTable, context: LoadContext) -> Dataset:
    """The table's samples. A smoke run gets rows that are drawn from what stands in the columns.

    Raises:
        DataError: the file is not on this machine and could not be downloaded, or a column is not in it.
    """
    remote = PUBLISHED_TABLES[spec.kind]
    if not context.smoke:
        return table_file.load(_as_csv(spec, fetch(remote, context.data_dir, context.on_message)), context)
    with TemporaryDirectory() as folder:
        path = Path(folder) / remote.name
        _write_rows(path, spec)

        def by_name(text: str) -> str:
            return text.replace(str(path), remote.name)

        told = replace(context, on_message=lambda text: context.on_message(by_name(text)))
        try:
            dataset = table_file.load(_as_csv(spec, path), told)
        except DataError as error:
            raise DataError(by_name(str(error))) from None
    sources = tuple(replace(source, path=None, note="generated") for source in dataset.sources)
    return replace(dataset, sources=sources)


def _as_csv(spec: schema.PublishedTable, path: Path) -> schema.Csv:
    return schema.Csv(
        path=str(path), **{name: getattr(spec, name) for name in schema.NamedColumns.model_fields}
    )


def _write_rows(path: Path, spec: schema.PublishedTable) -> None:
    """A few hundred rows like those of the table; the same at each call."""
    rng = np.random.RandomState(0)  # its stream is frozen by NumPy's promise, the newer generators' is not
    rows = TRAIN_ROWS + TEST_ROWS
    columns = []
    for name, content in spec.columns.items():
        if name == spec.numbers_rows:
            columns.append([str(row + 1) for row in range(rows)])
            continue
        values = _drawn(content, rows, rng)
        for row in rng.permutation(rows)[: -(-content.missing * rows // spec.rows)]:  # rounded up
            values[row] = ""
        columns.append(values)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(spec.columns)
        writer.writerows(zip(*columns, strict=True))


def _drawn(content: schema.Content, rows: int, rng: np.random.RandomState) -> list[str]:
    """So many values of a column. Every value of a category occurs; numbers are spelled as in the table."""
    if content.numbers is not None:
        low, high = content.numbers
        decimals = len(high.partition(".")[2])
        numbers = rng.randint(_scaled(low, decimals), _scaled(high, decimals) + 1, rows)
        return [f"{number / 10**decimals:.{decimals}f}" for number in numbers]
    if content.words is None:
        return [content.values[place] for place in rng.permutation(np.arange(rows) % len(content.values))]
    fewest, most = content.words
    lengths = rng.randint(fewest, most + 1, rows)
    return [" ".join(rng.choice(content.values, length)) for length in lengths]


def _scaled(number: str, decimals: int) -> int:
    return round(float(number) * 10.0**decimals)
