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

    Statistics are those of the training rows. Where inputs or outputs have names, `inputs` and `outputs` map
    these to what would else stand beside them.
    """
    train, test = dataset.train, dataset.test
    ports = train.of_inputs or train.of_outputs
    document: dict[str, Any] = {
        "name": dataset.name,
        "rows": {"train": len(train), "test": len(test) if test is not None else 0},
        **({} if train.of_outputs else {"task": dataset.task}),
        "num_words": dataset.num_words,
    }
    of_inputs = {port: _inputs(dataset.input(port)) for port in train.of_inputs}
    of_outputs = {port: _targets(dataset.output(port)) for port in train.of_outputs}
    if ports:
        document |= {"inputs": of_inputs} if of_inputs else _inputs(dataset)
        document |= {"outputs": of_outputs} if of_outputs else _targets(dataset)
    else:
        document["inputs"] = _kind_of(dataset)
        document |= _targets(dataset) | _inputs(dataset)
    document["sources"] = [
        {"name": s.name, "sha256": s.sha256, "rows": s.rows, "path": s.path, "note": s.note}
        for s in dataset.sources
    ]
    return document


def _kind_of(dataset: Dataset) -> Literal["tokens", "table"]:
    return "tokens" if isinstance(dataset.train.inputs, TokenRows) else "table"


def _targets(dataset: Dataset) -> dict[str, Any]:
    """The classes of the targets, or the range of each number; of rows that have a target."""
    train, test = dataset.train.known_targets, None if dataset.test is None else dataset.test.known_targets
    document: dict[str, Any] = {"task": dataset.task}
    labels = _labels(dataset)
    if labels is not None:
        document["classes"] = [
            {
                "label": label,
                "name": class_name(dataset, label),
                "train": int((train == label).sum()),
                "test": int((test == label).sum()) if test is not None else 0,
            }
            for label in labels
        ]
    else:
        names = dataset.target_names or (("target",) if train.ndim == 1 else None)
        document["target"] = _columns(train, names)
    missing = len(dataset.train) - len(train)
    return document | ({"missing": missing} if missing else {})


def _inputs(dataset: Dataset) -> dict[str, Any]:
    """What the rows of an input are: tokens, columns, images or numbers."""
    inputs = dataset.train.inputs
    document: dict[str, Any] = {"inputs": _kind_of(dataset)}
    if isinstance(inputs, TokenRows):
        lengths = inputs.lengths
        document["tokens_per_row"] = {"median": float(np.median(lengths)), **statistics(lengths)}
        document["tokens"] = {
            "total": len(inputs.tokens),
            "different": len(np.unique(inputs.tokens)),
            "highest": int(inputs.tokens.max(initial=0)),
        }
    elif isinstance(inputs, Table):
        document["columns"] = [column_document(column) for column in inputs.columns]
    elif dataset.image_shape is not None:
        document["image"] = {
            "shape": list(dataset.image_shape),
            "min": float(inputs.min()),
            "max": float(inputs.max()),
            "mean": float(inputs.mean()),
            "first": inputs[0].tolist(),
        }
    else:
        document["features"] = _columns(inputs, dataset.feature_names)
    return document


def describe_row(
    dataset: Dataset, split: Split, row: int, words: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """One row: its target, and its words or its values by name. Without `words` tokens stay tokens.

    Where inputs or outputs have names, `inputs` and `outputs` map these to what would else stand beside them.

    Raises:
        UsageError: there is no such row.
    """
    samples = _split(dataset, split)
    if not 0 <= row < len(samples):
        raise UsageError(
            f"There is no row {row} in the {split} set of {dataset.name}: "
            f"it has {counted(len(samples), 'row')}, counted from 0."
        )
    document: dict[str, Any] = {"name": dataset.name, "split": split, "row": row}
    targets = {port: _target_of(dataset.output(port), split, row) for port in samples.of_outputs}
    document |= {"outputs": targets} if targets else _target_of(dataset, split, row)
    values = {port: _values_of(dataset.input(port), split, row, words) for port in samples.of_inputs}
    return document | ({"inputs": values} if values else _values_of(dataset, split, row, words))


def _target_of(dataset: Dataset, split: Split, row: int) -> dict[str, Any]:
    """A row's target, and the name of its class; None where it has no target."""
    samples = _split(dataset, split)
    if samples.present is not None and not samples.present[row]:
        return {"target": None}
    target = samples.targets[row].tolist()
    name = class_name(dataset, target)
    return {"target": target} | ({} if name is None else {"class": name})


def _values_of(dataset: Dataset, split: Split, row: int, words: Mapping[int, str] | None) -> dict[str, Any]:
    """What a row holds."""
    inputs = _split(dataset, split).inputs
    if isinstance(inputs, TokenRows):
        tokens = inputs.row(row).tolist()
        return {"tokens": tokens} | ({} if words is None else {"words": decode(tokens, words)})
    if isinstance(inputs, Table):
        return {"values": row_values(inputs, row)}
    if dataset.image_shape is not None:
        return {"image": inputs[row].tolist()}
    names = _feature_names(dataset.feature_names, inputs.shape[1:])
    return {"values": dict(zip(names, inputs[row].ravel().tolist(), strict=True))}


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
    targets = dataset.train.known_targets
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
