"""A first spec for an npz archive: a table of numbers, lists of tokens, or images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.cache_entry import OnMessage
from nnrun.data.dataset import TokenRows
from nnrun.data.value_names import number_name
from nnrun.errors import DataError, UsageError
from nnrun.experiment.init.network_lines import network_lines
from nnrun.experiment.init.preprocessing import HEAD
from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.table_spec import InitialSpec, class_lines
from nnrun.experiment.init.target import TaskName
from nnrun.experiment.init.validation import usual_split
from nnrun.experiment.init.writing import dataset_lines, spec_text
from nnrun.spec.wording import counted

_MOST_CLASSES: Final = 100
_ROWS_OF_A_CLASS: Final = 10
_SMALLEST_IMAGE: Final = 6


def initial_spec_of_npz(
    path: Path,
    spec_path: Path,
    task: TaskName | None = None,
    on_message: OnMessage = lambda text: None,
) -> InitialSpec:
    """A spec for an archive of x_train and y_train.

    Whole numbers from 0 on, or texts, are classes where each has some rows. Rows of two or three axes are
    images, for convolutions; lists are tokens. `on_message` is told where a large array is kept.

    Raises:
        DataError: the archive is damaged, or its arrays do not suit a data set.
        UsageError: the task is not possible with these targets.
    """
    with Archive(path) as archive:
        archive.require("x_train", "y_train")
        inputs = archive.read("x_train", map_large=on_message)
        targets = archive.numbers("y_train")
        has_test = "x_test" in archive.names
    if not isinstance(inputs, TokenRows) and inputs.ndim == 0:
        raise DataError(f"{path.name}: x_train is a single number, not rows.")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if len(targets) < 4:
        raise DataError(
            f"{path.name} has {counted(len(targets), 'row')}; training and validation need 4 or more."
        )
    classes = _classes(targets, task, path.name)
    outputs = 1 if targets.ndim == 1 else int(targets.shape[1])
    labels = outputs > 1 and targets.dtype.kind in "biu" and set(np.unique(targets).tolist()) <= {0, 1}
    sizes = Sizes(len(targets), classes, own_test=has_test, outputs=outputs, labels=labels)
    split = usual_split(sizes)
    text = spec_text(
        "y_train",
        path.name,
        class_lines(sizes, "rows") if classes else [],
        dataset_lines("npz", path, spec_path),
        split.test_lines(own="x_test and y_test are the test set") if has_test else [],
        _preprocessing(inputs, sizes),
        network_lines(
            sizes,
            () if isinstance(inputs, TokenRows) else inputs.shape[1:],
            images=_image(inputs) is not None,
        ),
        split.validation_lines(),
    )
    task_text = "labels" if labels else "regression"
    chosen = {
        "target": "y_train",
        "task": f"classification, {len(classes):,} classes" if classes else task_text,
        "rows": f"{sizes.rows:,}",
        "test set": "x_test and y_test" if has_test else "none",
        "validation": split.said["validation"],
        "inputs": _shown(inputs),
    }
    return InitialSpec(text, chosen)


def _classes(targets: npt.NDArray[Any], task: TaskName | None, name: str) -> dict[str, int]:
    """Class → its rows; empty where the targets are not classes."""
    texts = targets.dtype.kind in "US"
    if targets.ndim != 1 or task == "regression":
        if texts and task == "regression":
            raise UsageError(f"{name}: y_train holds texts, so it can only be predicted as classes.")
        return {}
    whole = texts or targets.dtype.kind in "iub"
    if not whole:
        if task == "classification":
            raise UsageError(f"{name}: y_train holds fractions, so it can only be predicted as a number.")
        return {}
    values, counts = np.unique(targets, return_counts=True)
    if not texts and task is None:
        few = len(values) <= _MOST_CLASSES and len(values) * _ROWS_OF_A_CLASS <= len(targets)
        if values[0] < 0 or values[-1] >= _MOST_CLASSES or not few or counts.min() < 2:
            return {}
    if len(values) < 2:
        raise DataError(f"{name}: y_train is the same in every row, so there is nothing to learn.")
    found = {str(v) if texts else number_name(float(v)): int(n) for v, n in zip(values, counts, strict=True)}
    if not texts and int(values[-1]) + 1 > len(values):  # a unit for each label up to the highest
        return {str(label): found.get(str(label), 0) for label in range(int(values[-1]) + 1)}
    return found


def _image(inputs: Any) -> tuple[int, ...] | None:
    """(height, width, channels) of a row, or None where rows are not images."""
    if isinstance(inputs, TokenRows) or inputs.ndim not in (3, 4):
        return None
    height, width = inputs.shape[1:3]
    if min(height, width) < _SMALLEST_IMAGE:
        return None
    return (int(height), int(width), int(inputs.shape[3]) if inputs.ndim == 4 else 1)


def _shown(inputs: Any) -> str:
    if isinstance(inputs, TokenRows):
        return "lists of tokens"
    if (image := _image(inputs)) is None:
        return f"{int(np.prod(inputs.shape[1:])):,} numbers per row"
    height, width, channels = image
    return f"images of {height} x {width} pixels{f' in {channels} channels' if channels > 1 else ''}"


def _preprocessing(inputs: Any, sizes: Sizes) -> list[str]:
    step = "standardize  # mean 0, standard deviation 1, fitted on training rows only"
    if isinstance(inputs, TokenRows):
        step = "{multi_hot: 10000}  # 1 where a token occurs; fewer tokens need less memory"
    elif inputs.dtype == np.uint8 and _image(inputs) is not None:
        step = "rescale  # bytes from 0 to 255 become 0 to 1"
    lines = [HEAD[0], f"  inputs: {step}"]
    if not sizes.classes and not sizes.labels:
        lines.append("  targets: standardize  # trains better; mae is still in the target's own units")
    return lines
