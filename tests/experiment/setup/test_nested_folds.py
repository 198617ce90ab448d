"""Which rows the folds of nested cross-validation have: laws over every way to validate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import Dataset, Samples
from nnrun.data.table import NumberColumn, Table
from nnrun.errors import DataError
from nnrun.experiment.setup.folds import folds_of, outer_folds_of, smoke_spec
from nnrun.experiment.setup.groups import Selection, prepare_groups
from nnrun.spec import schema
from nnrun.spec.outer_folds import outer_validation
from tests.support.small_experiments import REGRESSION, spec_text

ROWS = 60
INNER: list[Any] = [
    {"kfold": {"k": 3}},
    {"kfold": {"k": 2, "shuffle": True, "repeats": 2}},
    {"holdout": {"fraction": 0.25}},
    {"holdout": {"first": 7}},
    {"holdout": {"fraction": 0.25, "shuffle": False}},
    {"time_series": {"k": 2}},
    {"time_series": {"k": 2, "column": "when"}},
]
BY_TIME = ("time_series", "'shuffle': False")


def spec_of(validation: Any, nested: Any, seed: int = 0) -> schema.ExperimentSpec:
    # The column is asked of the data alone: lint would want a file for it.
    named = {"validation": {"kfold": {"k": 2}}, "nested": nested, "seed": seed}
    spec = spec_text(REGRESSION, **named).spec
    ((kind, parameters),) = validation.items()
    parameters = {"stratify": False, **parameters} if kind == "holdout" else parameters
    return spec.model_copy(update={"validation": schema.components(schema.Validation)[kind](**parameters)})


def rows(groups: np.ndarray | None = None, targets: np.ndarray | None = None) -> Dataset:
    rng = np.random.default_rng(1)
    when = Table((NumberColumn("when", rng.permutation(ROWS).astype(float)),), ROWS)
    targets = rng.normal(size=ROWS) if targets is None else targets
    samples = Samples(rng.normal(size=(ROWS, 3)), targets, groups=groups, split_columns=when)
    return Dataset("small", samples, None, ())


@given(st.sampled_from(INNER), st.integers(2, 5), st.integers(0, 3))
def test_no_fold_has_a_row_of_its_outer_fold(validation: Any, k: int, seed: int) -> None:
    spec, dataset = spec_of(validation, k, seed), rows()
    outer, inner = outer_folds_of(spec, dataset, seed), folds_of(spec, dataset, seed)
    n = spec.validation.number_of_folds
    assert [fold.index for fold in outer] == list(range(k))
    assert [fold.index for fold in inner] == list(range(k * n)) == list(range(spec.number_of_folds))
    by_time = isinstance(spec.validation, schema.TimeSeries)
    for fold in inner:
        own = outer[fold.index // n]
        used = np.concatenate([fold.train_rows, fold.validation_rows])
        assert len(np.unique(used)) == len(used)
        assert np.isin(used, own.train_rows).all()
        assert by_time or len(used) == len(own.train_rows)
        assert len(fold.train_rows)
        assert len(fold.validation_rows)
        assert (np.diff(fold.train_rows) > 0).all()


@given(st.sampled_from([v for v in INNER if "time_series" not in v]), st.integers(2, 5))
def test_every_row_is_in_one_outer_fold(validation: Any, k: int) -> None:
    spec = spec_of(validation, k)
    outer = outer_folds_of(spec, rows(), 0)
    scored = np.concatenate([fold.validation_rows for fold in outer])
    if spec.validation.takes_last_rows:
        assert isinstance(outer_validation(spec), schema.TimeSeries)
        assert len(np.unique(scored)) == len(scored)
    else:
        assert sorted(scored.tolist()) == list(range(ROWS))


@pytest.mark.parametrize("validation", [INNER[4], INNER[5], INNER[6]])
def test_time_goes_forward_in_outer_and_inner_folds(validation: Any) -> None:
    spec, dataset = spec_of(validation, 3), rows()
    assert dataset.train.split_columns is not None
    (column,) = dataset.train.split_columns.columns
    assert isinstance(column, NumberColumn)
    time = column.values if "column" in str(validation) else np.arange(ROWS)
    for fold in (*outer_folds_of(spec, dataset, 0), *folds_of(spec, dataset, 0)):
        assert time[fold.train_rows].max() < time[fold.validation_rows].min()


@pytest.mark.parametrize("validation", [INNER[0], INNER[1], INNER[2]])
def test_groups_are_split_by_no_fold(validation: Any) -> None:
    groups = np.random.default_rng(2).integers(0, 15, ROWS)
    spec, dataset = spec_of(validation, 3), rows(groups)
    for fold in (*outer_folds_of(spec, dataset, 0), *folds_of(spec, dataset, 0)):
        assert not np.intersect1d(groups[fold.train_rows], groups[fold.validation_rows]).size


def test_outer_folds_are_split_as_validation_is_unless_nested_says_otherwise() -> None:
    def outer(validation: Any, nested: Any) -> object:
        return outer_validation(spec_of(validation, nested))

    assert outer({"kfold": {"k": 3}}, 4) == schema.KFold(k=4)
    assert outer({"kfold": {"k": 3, "shuffle": True}}, 4) == schema.KFold(k=4, shuffle=True)
    assert outer({"kfold": {"k": 3, "group": "who"}}, 4) == schema.KFold(k=4, group="who")
    assert outer({"holdout": {"fraction": 0.2}}, 5) == schema.KFold(k=5, shuffle=True)
    assert outer({"holdout": {"first": 9}}, {"k": 2}) == schema.KFold(k=2)
    assert outer({"holdout": {"first": 9}}, {"shuffle": True}) == schema.KFold(k=5, shuffle=True)
    of_classes = {"holdout": {"fraction": 0.2, "stratify": True}}
    assert outer(of_classes, 4) == schema.KFold(k=4, shuffle=True, stratify=True)
    assert outer(of_classes, {"k": 4, "stratify": False}) == schema.KFold(k=4, shuffle=True)


def test_one_outer_fold_alone_has_the_same_inner_folds() -> None:
    spec, dataset = spec_of(INNER[0], 4), rows()
    members = [m for g in prepare_groups(spec, dataset, Selection(only_fold=2)) for m in g.members]
    every = folds_of(spec, dataset, 0)
    assert [member.id for member in members] == [6, 7, 8]
    assert Selection(only_fold=2).networks(spec) == 3
    for member in members:
        assert np.array_equal(member.fold.train_rows, every[member.id].train_rows)


def test_too_few_rows_within_an_outer_fold_are_named() -> None:
    spec = spec_of({"kfold": {"k": 31}}, 2)
    with pytest.raises(DataError) as caught:
        folds_of(spec, rows(), 0)
    assert str(caught.value) == (
        "Within outer fold 0: validation.kfold.k is 31, but there are 30 training rows: "
        "k must not be above the number of rows."
    )


def test_outer_folds_that_are_not_possible_are_told_of_nested() -> None:
    """And not of validation, whose folds are other ones."""
    spec = spec_of({"kfold": {"k": 2}}, 300)
    too_many = {
        "rows": (spec, rows(), "nested.k (--nested) is 300, but there are 60 training rows: "),
        "groups": (
            spec_of({"kfold": {"k": 2}}, 13),
            rows(np.arange(ROWS) % 12),
            "nested.k (--nested) is 13, but there are 12 groups: ",
        ),
        "time": (
            spec_of({"time_series": {"k": 2}}, 300),
            rows(),
            "nested.k (--nested) is 300, but there are 60 training rows: ",
        ),
        "classes": (
            spec_of({"holdout": {"fraction": 0.5}}, {"k": 4, "stratify": True}),
            rows(targets=np.r_[np.zeros(57, np.int64), np.ones(3, np.int64)]),
            "nested.stratify: class 1 has 3 rows, but each of the 4 folds must get one. ",
        ),
    }
    for spec, dataset, beginning in too_many.values():
        with pytest.raises(DataError) as caught:
            folds_of(spec, dataset, 0)
        assert str(caught.value).startswith(beginning)
        assert "validation" not in str(caught.value)


def test_a_smoke_run_has_folds_that_its_rows_can_bear() -> None:
    small = smoke_spec(spec_of({"kfold": {"k": 20}}, 20))
    assert small.nested is not None
    assert small == smoke_spec(small)
    assert (small.nested.k, small.validation.number_of_folds) == (8, 8)
