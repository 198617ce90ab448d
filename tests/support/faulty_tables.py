"""Tables whose faults are known: clean ones, and the same with one fault planted, for `nnrun data check`.

Each is a CSV file with a spec beside it: 8 numbers and a category, and a target that follows from five of the
numbers. The rows are drawn by a seed.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Columns = dict[str, Any]
"""Name → (N,) values of a column, in the order of the file."""

SPEC = """\
dataset:
  csv:
    path: {name}.csv
    target: y{inputs}{more}
preprocessing: {{inputs: [standardize{one_hot}]}}
layers: [{layer}]
loss: {loss}
epochs: 3
validation: {validation}
"""


def clean(seed: int, *, classes: int = 2, rows: int = 500) -> Columns:
    """Columns without a fault; `classes` of 0 are a number as the target."""
    random = np.random.RandomState(seed)
    values = random.normal(0, 1, (rows, 8))
    values[:, 5] += 0.5 * values[:, 0]
    columns: Columns = {f"x{i}": np.round(values[:, i], 4) for i in range(8)}
    columns["shop"] = random.choice(["north", "south", "west"], rows)
    slopes = random.choice([-1.0, 1.0], 5) * random.uniform(0.7, 1.3, 5)
    score = values[:, :5] @ slopes + 0.4 * (columns["shop"] == "west")
    if classes:
        edges = np.quantile(score, np.arange(1, classes) / classes)
        columns["y"] = np.array(list("abcdef"))[np.searchsorted(edges, score + random.normal(0, 0.15, rows))]
    else:
        columns["y"] = np.round(score + random.normal(0, 0.5, rows), 4)
    return columns


def clusters(seed: int, *, classes: int, rows: int = 600) -> Columns:
    """Classes around centres of their own, in five of eight numbers; they hardly overlap."""
    random = np.random.RandomState(seed)
    centres = random.normal(0, 2, (classes, 8))
    centres[:, 5:] = 0
    labels = random.randint(0, classes, rows)
    values = np.round(centres[labels] + random.normal(0, 1, (rows, 8)), 4)
    return {**{f"x{i}": values[:, i] for i in range(8)}, "y": np.array(list("abcdef"))[labels]}


def with_wrong_labels(columns: Columns, seed: int, share: float = 0.05) -> np.ndarray:
    """Change a share of the labels; (n,) the rows, from 0."""
    random = np.random.RandomState(seed + 1000)
    labels, classes = columns["y"], np.unique(columns["y"])
    wrong = np.flatnonzero(random.uniform(size=len(labels)) < share)
    for row in wrong:
        labels[row] = random.choice(classes[classes != labels[row]])
    return wrong


@dataclass(frozen=True)
class Fault:
    """A fault that is planted into a clean table.

    Attributes:
        kind: of the finding that must name it.
        plant: changes the columns.
        more: further lines of the spec's data set.
        classes: of the target, 0 for a number.
        by_file: the file is checked without its spec.
    """

    kind: str
    plant: Callable[[Columns, np.random.RandomState], None]
    more: str = ""
    classes: int = 2
    by_file: bool = False


def _append_copies(columns: Columns, rows: np.ndarray) -> None:
    for name, values in columns.items():
        columns[name] = np.concatenate([values, values[rows]])


def _copies(columns: Columns, random: np.random.RandomState) -> None:
    _append_copies(columns, random.choice(len(columns["y"]), 15, replace=False))


def _copies_in_test(columns: Columns, random: np.random.RandomState) -> None:
    columns["part"] = np.array(["train"] * 400 + ["test"] * 100)
    for name in columns.keys() - {"part"}:
        columns[name][400:415] = columns[name][:15]


def _group(columns: Columns, random: np.random.RandomState) -> None:
    columns["patient_id"] = random.randint(0, 60, len(columns["y"])) + 4000


def _row_number(columns: Columns, random: np.random.RandomState) -> None:
    columns["serial"] = np.arange(len(columns["y"])) + 7001


def _shuffled_number(columns: Columns, random: np.random.RandomState) -> None:
    columns["z"] = random.permutation(len(columns["y"])) + 1


def _copy_of_classes(columns: Columns, random: np.random.RandomState) -> None:
    columns["verdict"] = np.where(columns["y"] == "a", "no", "yes")


def _nearly_a_copy(columns: Columns, random: np.random.RandomState) -> None:
    columns["claim"] = np.round(
        np.where(columns["y"] == "a", 0.0, 3.0) + random.normal(0, 0.5, len(columns["y"])), 3
    )


def _nearly_the_number(columns: Columns, random: np.random.RandomState) -> None:
    columns["bill"] = np.round(1.2 * columns["y"] + random.normal(0, 0.05, len(columns["y"])), 4)


def _time(columns: Columns, random: np.random.RandomState) -> None:
    days = random.permutation(len(columns["y"]))
    first = datetime.date(2021, 1, 1)
    columns["day"] = np.array([(first + datetime.timedelta(int(day))).isoformat() for day in days])
    columns["y"] = np.round(columns["y"] + 4 * np.sin(days / 40), 4)


def _shift(columns: Columns, random: np.random.RandomState) -> None:
    columns["part"] = np.array(["train"] * 350 + ["test"] * 150)
    columns["x3"] = np.where(columns["part"] == "test", columns["x3"] + 1.5, columns["x3"])


def _nearly_constant(columns: Columns, random: np.random.RandomState) -> None:
    columns["flag"] = np.where(np.arange(len(columns["y"])) == 17, 1, 0)


def _constant(columns: Columns, random: np.random.RandomState) -> None:
    columns["country"] = np.array(["CH"] * len(columns["y"]))


def _missing(columns: Columns, random: np.random.RandomState) -> None:
    values = np.round(random.normal(size=len(columns["y"])), 3).astype(str)
    columns["lab"] = np.where(random.uniform(size=len(values)) < 0.8, "", values)


def _wrong_labels(columns: Columns, random: np.random.RandomState) -> None:
    with_wrong_labels(columns, 0)


_PART = "\n    test: {column: part, value: test}"
FAULTS: Mapping[str, Fault] = {
    "copies of rows": Fault("identical_rows_in_training", _copies),
    "test rows among the training rows": Fault("identical_rows_in_test", _copies_in_test, _PART),
    "a group on both sides": Fault("group_on_both_sides", _group, "unused patient_id"),
    "a row number": Fault("row_number_as_input", _row_number),
    "a shuffled row number": Fault("row_number_as_input", _shuffled_number),
    "a copy of the target": Fault("copy_of_target", _copy_of_classes),
    "a copy, without a spec": Fault("copy_of_target", _copy_of_classes, by_file=True),
    "nearly a copy of classes": Fault("column_predicts_target", _nearly_a_copy),
    "nearly a copy of a number": Fault("column_predicts_target", _nearly_the_number, classes=0),
    "time, shuffled": Fault("time_order_broken", _time, "unused day", classes=0),
    "another test set": Fault("test_set_differs", _shift, _PART),
    "a column of nearly one value": Fault("near_constant_columns", _nearly_constant),
    "a column of one value": Fault("constant_columns", _constant, by_file=True),
    "a column mostly missing": Fault("mostly_missing_columns", _missing),
    "wrong labels": Fault("likely_wrong_labels", _wrong_labels),
}


def write_table(
    folder: Path, name: str, columns: Columns, *, classes: int = 2, more: str = "", validation: str = ""
) -> Path:
    """Write `name`.csv and `name`.yaml; the spec's path. `more` may be `unused COLUMN`: which is no input."""
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    inputs = ""
    if more.startswith("unused "):
        unused, more = more.split()[1], ""
        inputs = f"\n    inputs: [{', '.join(c for c in columns if c not in (unused, 'y'))}]"
    activation = "sigmoid" if classes == 2 else "softmax"
    layer = (
        f"{{dense: {{units: {1 if classes == 2 else classes}, activation: {activation}}}}}"
        if classes
        else "dense: 1"
    )
    losses = {0: "mse", 2: "binary_crossentropy"}
    text = SPEC.format(
        name=name,
        inputs=inputs,
        more=more,
        one_hot=", one_hot" if "shop" in columns else "",
        layer=layer,
        loss=losses.get(classes, "categorical_crossentropy"),
        validation=validation or "{kfold: {k: 5, shuffle: true}}",
    )
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{name}.yaml"


def write_fault(folder: Path, name: str, seed: int = 0) -> Path:
    """Write a table with this fault; the path of what to check."""
    fault = FAULTS[name]
    columns = clean(seed, classes=fault.classes)
    fault.plant(columns, np.random.RandomState(seed + 500))
    stem = f"{name.replace(' ', '_').replace(',', '')}_{seed}"
    spec = write_table(folder, stem, columns, classes=fault.classes, more=fault.more)
    return spec.with_suffix(".csv") if fault.by_file else spec
