"""What a data set holds, in a few numbers; and one row of it, as a person would read it.

Both are plain values (dicts, lists, strings, numbers), ready for JSON and for a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from nnrun.data.dataset import Array, Dataset, Samples, TokenRows
from nnrun.data.summaries.describe_columns import cell, column_document, row_values, shown_value, statistics
from nnrun.data.table import Table
from nnrun.data.value_names import shown_number
from nnrun.data.vocabulary import START, decode
from nnrun.errors import UsageError
from nnrun.spec.wording import counted

Split = Literal["train", "test"]
_MOST_LABELS = 100  # an integer target with more values is a number, not a class


def overview(dataset: Dataset) -> dict[str, Any]:
    """Rows, classes with their counts, and the range of the inputs and of a target that is a number.

    Statistics are those of the training rows.
    """
    train, test = dataset.train, dataset.test
    document: dict[str, Any] = {
        "name": dataset.name,
        "rows": {"train": len(train), "test": len(test) if test is not None else 0},
        "task": dataset.task,
        "num_words": dataset.num_words,
        "inputs": "tokens" if isinstance(train.inputs, TokenRows) else "table",
    }
    labels = _labels(dataset)
    if labels is not None:
        document["classes"] = [
            {
                "label": label,
                "name": class_name(dataset, label),
                "train": int((train.targets == label).sum()),
                "test": int((test.targets == label).sum()) if test is not None else 0,
            }
            for label in labels
        ]
    else:
        names = dataset.target_names or (("target",) if train.targets.ndim == 1 else None)
        document["target"] = _columns(train.targets, names)
    if isinstance(train.inputs, TokenRows):
        lengths = train.inputs.lengths
        document["tokens_per_row"] = {"median": float(np.median(lengths)), **statistics(lengths)}
        document["tokens"] = {
            "total": len(train.inputs.tokens),
            "different": len(np.unique(train.inputs.tokens)),
            "highest": int(train.inputs.tokens.max(initial=0)),
        }
    elif isinstance(train.inputs, Table):
        document["columns"] = [column_document(column) for column in train.inputs.columns]
    elif dataset.image_shape is not None:
        pixels = train.inputs
        document["image"] = {
            "shape": list(dataset.image_shape),
            "min": float(pixels.min()),
            "max": float(pixels.max()),
            "mean": float(pixels.mean()),
            "first": pixels[0].tolist(),
        }
    else:
        document["features"] = _columns(train.inputs, dataset.feature_names)
    document["sources"] = [
        {"name": s.name, "sha256": s.sha256, "rows": s.rows, "path": s.path, "note": s.note}
        for s in dataset.sources
    ]
    return document


def describe_row(
    dataset: Dataset, split: Split, row: int, words: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """One row: its target, and its words or its values by name. Without `words` tokens stay tokens.

    Raises:
        UsageError: there is no such row.
    """
    samples = _split(dataset, split)
    if not 0 <= row < len(samples):
        raise UsageError(
            f"There is no row {row} in the {split} set of {dataset.name}: "
            f"it has {counted(len(samples), 'row')}, counted from 0."
        )
    target = samples.targets[row].tolist()
    document: dict[str, Any] = {"name": dataset.name, "split": split, "row": row, "target": target}
    name = class_name(dataset, target)
    if name is not None:
        document["class"] = name
    if isinstance(samples.inputs, TokenRows):
        tokens = samples.inputs.row(row).tolist()
        document["tokens"] = tokens
        if words is not None:
            document["words"] = decode(tokens, words)
    elif isinstance(samples.inputs, Table):
        document["values"] = row_values(samples.inputs, row)
    elif dataset.image_shape is not None:
        document["image"] = samples.inputs[row].tolist()
    else:
        names = _feature_names(dataset.feature_names, samples.inputs.shape[1:])
        document["values"] = dict(zip(names, samples.inputs[row].ravel().tolist(), strict=True))
    return document


def row_in_one_line(
    inputs: TokenRows | Array | Table,
    row: int,
    feature_names: tuple[str, ...] | None = None,
    words: Mapping[int, str] | None = None,
) -> str:
    """A row as its words (or tokens, without `words`), or as its values, by name where columns have names."""
    if isinstance(inputs, TokenRows):
        tokens = inputs.row(row)
        return " ".join(decode(tokens[1:] if len(tokens) and tokens[0] == START else tokens, words))
    if isinstance(inputs, Table):
        if len(inputs.columns) == 1:
            return shown_value(cell(inputs.columns[0], row))
        named = row_values(inputs, row).items()
        return ", ".join(f"{name} {shown_value(value)}" for name, value in named)
    values = [shown_number(value) for value in inputs[row].ravel().tolist()]
    if feature_names is None or len(feature_names) != len(values):
        return ", ".join(values)
    return ", ".join(f"{name} {value}" for name, value in zip(feature_names, values, strict=True))


def class_name(dataset: Dataset, label: Any) -> str | None:
    """The name of a label, where it has one."""
    names = dataset.class_names
    return names[label] if names is not None and type(label) is int and 0 <= label < len(names) else None


def _split(dataset: Dataset, split: Split) -> Samples:
    if split == "train":
        return dataset.train
    if dataset.test is None:
        raise UsageError(f"{dataset.name} has no test set.")
    return dataset.test


def _labels(dataset: Dataset) -> list[int] | None:
    """All labels, where the targets are classes as far as one can tell."""
    if dataset.classes is not None:
        return list(range(dataset.classes))
    targets = dataset.train.targets
    if dataset.task == "regression" or targets.ndim != 1 or targets.dtype.kind != "i":
        return None
    labels = np.unique(targets)
    return labels.tolist() if len(labels) <= _MOST_LABELS else None


def _columns(values: Array, names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    columns = values.reshape(len(values), -1)
    named = _feature_names(names, values.shape[1:] or (1,))
    return [{"name": name, **statistics(columns[:, i])} for i, name in enumerate(named)]


def _feature_names(names: tuple[str, ...] | None, shape: tuple[int, ...]) -> list[str]:
    """The names of the numbers of a row: those of its columns, else their positions: `3`, or `3,0`."""
    if names is not None and (len(names),) == shape:
        return list(names)
    return [",".join(map(str, place)) for place in np.ndindex(*shape)]
