"""The sizes that `nnrun tune` sweeps: those that a spec has, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.tuning.swept_sizes import sizes_to_sweep, swept_text
from nnrun.experiment.tuning.tune import FOLDS, folded
from nnrun.spec import schema
from nnrun.spec.sweep_plan import load_sweep
from tests.support.small_experiments import spec_text, write_small

HIDDEN = {"dense": {"units": 8, "activation": "relu"}}


def swept(**changes: Any) -> dict[str, list[Any]]:
    return sizes_to_sweep(spec_text(**changes).spec)


def test_the_spec_s_own_value_comes_first_and_the_learning_rate_varies_fastest() -> None:
    layers = [HIDDEN, {"dropout": 0.3}, HIDDEN, {"dropout": 0.3}, {"dense": 1}]
    found = swept(layers=layers, optimizer={"adamw": {"learning_rate": 0.002, "weight_decay": 0.3}})
    assert found == {
        "optimizer.adamw.weight_decay": [0.3, 0.03],
        "layers[0].dense.units, layers[2].dense.units": [8, 16, 4],
        "layers[1].dropout, layers[3].dropout": [0.3, 0.1, 0.5],
        "optimizer.adamw.learning_rate": [0.002, 0.00067, 0.006],
    }


def test_what_a_spec_lacks_is_not_swept() -> None:
    assert list(swept(layers=[{"dense": 1}])) == ["optimizer.rmsprop.learning_rate"]
    assert list(swept(layers=[HIDDEN, {"dense": 1}])) == [
        "layers[0].dense.units",
        "optimizer.rmsprop.learning_rate",
    ]


def test_layers_of_other_sizes_keep_theirs() -> None:
    layers = [HIDDEN, {"dense": 3}, HIDDEN, {"dense": 1}]
    assert "layers[0].dense.units, layers[2].dense.units" in swept(layers=layers)


def test_the_sweep_that_is_written_is_valid_and_its_first_trial_is_the_spec(tmp_path: Path) -> None:
    path = write_small(tmp_path, layers=[HIDDEN, {"dropout": 0.5}, HIDDEN, {"dense": 1}])
    own = path.read_text()
    path.write_text(
        swept_text(own, path.name, swept(layers=[HIDDEN, {"dropout": 0.5}, HIDDEN, {"dense": 1}]))
    )
    plan = load_sweep(path)
    assert plan.total == 27
    first = plan.trials[0].loaded.spec
    assert first.layers == plan.base.spec.layers
    assert first.optimizer == plan.base.spec.optimizer


@pytest.mark.parametrize(
    ("validation", "folds"),
    [
        ({"fraction": 0.2, "stratify": True}, schema.KFold(k=FOLDS, shuffle=True, stratify=True)),
        ({}, schema.KFold(k=FOLDS, shuffle=True)),
        ({"first": 8}, None),
        ({"fraction": 0.2, "shuffle": False}, None),
    ],
)
def test_rows_held_out_at_random_become_folds(validation: dict[str, Any], folds: schema.KFold | None) -> None:
    assert folded(spec_text(validation={"holdout": validation}).spec.validation) == folds


def test_folds_and_series_stay_as_they_are() -> None:
    assert folded(schema.KFold()) is None
    assert folded(schema.TimeSeries()) is None
