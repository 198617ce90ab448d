"""A spec cut down to a smoke run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.data import load_dataset
from nnrun.experiment.setup.groups import prepare_groups
from nnrun.experiment.setup.smoke_spec import smoke_spec
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import spec_text

SPECS = sorted(path.name for path in (Path(__file__).parents[3] / "specs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("validation", "changed"),
    [
        ({"holdout": {"first": 10_000}}, {"holdout": {"first": 64}}),
        ({"holdout": {"first": 63}}, {"holdout": {"first": 63}}),
        ({"holdout": {"fraction": 0.3}}, {"holdout": {"fraction": 0.3}}),
        ({"kfold": {"k": 100, "shuffle": True}}, {"kfold": {"k": 64, "shuffle": True}}),
        ({"kfold": {"k": 4}}, {"kfold": {"k": 4}}),
        ("none", "none"),
    ],
)
def test_validation_shrinks_to_what_256_rows_can_bear(validation: Any, changed: Any) -> None:
    found = smoke_spec(spec_text(validation=validation, epochs=500).spec)
    assert found == spec_text(validation=changed, epochs=2).spec


def test_an_epoch_stays_one_epoch() -> None:
    spec = spec_text(epochs=1).spec
    assert smoke_spec(spec) == spec


@pytest.mark.parametrize("name", SPECS)
def test_the_generated_rows_suit_every_spec_of_the_book(name: str, specs_dir: Path) -> None:
    spec = smoke_spec(load_spec(specs_dir / name).spec)
    dataset = load_dataset(spec.dataset, smoke=True)
    groups = prepare_groups(spec, dataset)
    folds = [fold for group in groups for fold in group.folds]
    assert all(len(fold.train_rows) + len(fold.validation_rows) == 256 for fold in folds)
    assert all(len(fold.validation_rows) > 0 for fold in folds)
    assert len(folds) == (spec.validation.k if isinstance(spec.validation, schema.KFold) else 1)
