"""What a run takes is told from its parts before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.experiment.describing.describe_spec import describe_spec
from nnrun.experiment.setup.memory_estimate import Memory
from tests.support.small_experiments import BINARY, growing_tokens, load_small, numbers

PARAMETERS = 41
BATCH_ROWS, NUMBERS = 32, 3 + 3 * 8
"""Numbers of a row, and of what three copies of eight units take."""


def memory(tmp_path: Path, *args: Any, **changes: Any) -> Memory:
    found = describe_spec(load_small(tmp_path, *args, **changes).spec, None).memory
    assert found is not None
    return found


def test_the_parts_of_a_table(tmp_path: Path) -> None:
    found = memory(tmp_path, optimizer="sgd")
    data = (48 + 12) * (3 * 8 + 8)
    assert found == Memory(
        reading=data,
        data=data,
        rows=48 * 3 * 4,
        networks=PARAMETERS * 4 * 6,
        work=BATCH_ROWS * NUMBERS * 4,
        least=PARAMETERS * 4,
    )
    assert found.peak == data + 48 * 3 * 4 + PARAMETERS * 4 * 6 + BATCH_ROWS * NUMBERS * 4


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [("sgd", 0), ("rmsprop", 1), ("adam", 2), ({"adam": {"amsgrad": True}}, 3)],
)
def test_each_slot_of_the_optimizer_counts(optimizer: Any, slots: int, tmp_path: Path) -> None:
    assert memory(tmp_path, optimizer=optimizer).networks == PARAMETERS * 4 * (6 + slots)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_an_average_of_the_weights_counts(averaging: str, tmp_path: Path) -> None:
    found = memory(tmp_path, optimizer="sgd", weight_averaging=averaging)
    assert found.networks == PARAMETERS * 4 * 7
    assert found.least == PARAMETERS * 4 * 2


@pytest.mark.parametrize("standardized", [True, False])
def test_folds_have_networks_of_their_own_and_rows_where_they_differ(
    standardized: bool, tmp_path: Path
) -> None:
    inputs = "standardize" if standardized else "none"
    changes: dict[str, Any] = {"preprocessing": {"inputs": inputs}, "optimizer": "sgd"}
    found = memory(tmp_path, validation={"kfold": {"k": 4}}, **changes)
    assert found.networks == 4 * PARAMETERS * 4 * 6
    assert found.rows == 48 * 3 * 4 * (4 if standardized else 1)
    assert found.work == 4 * 36 * NUMBERS * 4


def test_out_of_fold_predictions_count(tmp_path: Path) -> None:
    """Of the rows of one fold what its network takes, of all rows 400 outputs in float64, three times."""
    layers = [{"dense": {"units": 400, "activation": "softmax"}}]
    changes: dict[str, Any] = {"layers": layers, "loss": "sparse_categorical_crossentropy", "metrics": []}
    arrays = numbers() | {"y_train": np.arange(48) % 3, "y_test": np.arange(12) % 3}
    found = memory(tmp_path, arrays=arrays, **changes, optimizer="sgd", validation={"kfold": {"k": 2}})
    assert found.work == 24 * 3 * 4 + 3 * 8 * 48 * 400


def test_token_lists_are_held_three_times_while_they_are_read(tmp_path: Path) -> None:
    arrays = growing_tokens()
    tokens = {**BINARY, "preprocessing": {"inputs": {"multi_hot": 1000}}, "validation": "none"}
    found = memory(tmp_path, tokens, arrays=arrays)
    words = sum(len(row) for row in arrays["x_train"])
    assert found.data == words * 4 + (24 + 1) * 8 + np.asarray(arrays["y_train"]).astype(np.int64).nbytes
    assert found.reading == 3 * found.data


def test_a_convolution_s_images_count(tmp_path: Path) -> None:
    """Of a training batch the outputs of every layer are there until its gradients are."""
    conv = {"conv2d": {"filters": 64, "kernel_size": 3, "padding": "same"}}
    layers = [{"dense": 64}, {"reshape": [8, 8, 1]}, conv, conv, conv, "flatten", {"dense": 1}]
    found = memory(tmp_path, layers=layers, batch_size=16)
    of_row = 64 + 64 + 3 * 8 * 8 * 64 + 8 * 8 * 64 + 1
    block = 32 * (3 + 3 * 8 * 8 * 64)
    assert found.work == max(16 * (3 + 2 * of_row), block) * 4
