"""From a spec and its data to folds: each with preprocessing, networks and rows of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import Dataset, Samples, SourceFile, TokenRows, load_dataset
from nnrun.data.dataset import labels_of
from nnrun.errors import DataError, UsageError
from nnrun.experiment.setup.groups import Group, Selection, make_problem, prepare_groups
from nnrun.spec import schema
from nnrun.spec.graph import num_outputs
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.random_streams import RandomSource
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    numbers,
    spec_text,
)

CPU = torch.device("cpu")
TOKENS: dict[str, Any] = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": KFOLD}


def table(x: np.ndarray, y: np.ndarray, task: Any = None) -> Dataset:
    return Dataset("made", Samples(x, y), None, (SourceFile("made", "0" * 64, len(x)),), task)


def regression_rows() -> Dataset:
    arrays = numbers()
    return table(arrays["x_train"], arrays["y_train"])


def token_rows(lists: list[list[int]]) -> Dataset:
    samples = Samples(TokenRows.from_lists(lists), np.arange(len(lists)) % 2)
    return Dataset("made", samples, None, (SourceFile("made", "0" * 64, len(lists)),))


def states(groups: tuple[Group, ...]) -> dict[int, dict[str, Any]]:
    """Fold → the state of its preprocessing, as preprocessing.json holds it."""
    pairs = [pair for group in groups for pair in zip(group.folds, group.fitted, strict=True)]
    return {fold.index: fitted.to_json() for fold, fitted in pairs}


# --- groups ------------------------------------------------------------------------------------------------


def test_a_holdout_is_one_fold() -> None:
    (group,) = prepare_groups(spec_text().spec, regression_rows())
    (fold,) = group.folds
    assert fold.validation_rows.tolist() == list(range(16))
    assert fold.train_rows.tolist() == list(range(16, 48))
    assert (group.network.inputs, group.network.parameter_count) == ({INPUT: (3,)}, 41)


def test_folds_of_one_width_train_as_one_group() -> None:
    (group,) = prepare_groups(spec_text(validation=KFOLD).spec, regression_rows())
    assert [fold.index for fold in group.folds] == [0, 1, 2]
    assert [fold.validation_rows.tolist() for fold in group.folds] == [
        list(range(16)),
        list(range(16, 32)),
        list(range(32, 48)),
    ]


def test_folds_of_different_vocabularies_form_groups() -> None:
    """Row i holds the token 10 + i, so that the last of three folds never sees tokens above 25."""
    arrays = growing_tokens()
    dataset = token_rows(list(arrays["x_train"]))
    groups = prepare_groups(spec_text(TOKENS).spec, dataset)
    assert [[fold.index for fold in group.folds] for group in groups] == [[0, 1], [2]]
    assert [group.network.inputs for group in groups] == [{INPUT: (34,)}, {INPUT: (26,)}]
    for group in groups:
        assert all((fitted.input.width,) == group.network.inputs[INPUT] for fitted in group.fitted)


def test_one_fold_alone_is_that_fold_of_the_whole() -> None:
    spec = spec_text(validation={"kfold": {"k": 3, "shuffle": True}}).spec
    whole = prepare_groups(spec, regression_rows())
    (alone,) = prepare_groups(spec, regression_rows(), Selection(only_fold=2))
    (fold,) = alone.folds
    assert fold.index == 2
    assert fold.train_rows.tolist() == whole[0].folds[2].train_rows.tolist()
    assert fold.validation_rows.tolist() == whole[0].folds[2].validation_rows.tolist()
    assert states((alone,)) == {2: states(whole)[2]}


@pytest.mark.parametrize(
    ("validation", "fold", "sentence"),
    [
        (KFOLD, 3, "--fold 3: there are 3 folds, numbered from 0 to 2."),
        (
            {"kfold": {"k": 2, "shuffle": True, "repeats": 2}},
            4,
            "--fold 4: there are 4 folds, numbered from 0 to 3.",
        ),
    ],
)
def test_there_is_no_such_fold(validation: dict[str, Any], fold: int, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_groups(spec_text(validation=validation).spec, regression_rows(), Selection(only_fold=fold))
    assert str(caught.value) == sentence


# --- seeds -------------------------------------------------------------------------------------------------


def test_seeds_of_one_split_share_their_rows_and_differ_by_their_source() -> None:
    (group,) = prepare_groups(spec_text(seed=7).spec, regression_rows(), Selection(seeds=3))
    assert [member.id for member in group.members] == [7, 8, 9]
    assert [member.source for member in group.members] == [RandomSource(seed) for seed in (7, 8, 9)]
    for fold in group.folds:
        assert fold.validation_rows.tolist() == list(range(16))
        assert fold.train_rows.tolist() == list(range(16, 48))
    first, *others = (fitted.to_json() for fitted in group.fitted)
    assert others == [first, first]


@pytest.mark.parametrize(
    "validation",
    [{"holdout": {"fraction": 0.3, "shuffle": True}}, {"holdout": {"fraction": 0.3, "stratify": True}}],
)
def test_a_split_that_is_drawn_follows_the_seed(validation: dict[str, Any]) -> None:
    """Rows and preprocessing of each seed are those of a spec with that seed."""
    changes = {**BINARY, "validation": validation}
    rows = numbers()
    dataset = table(rows["x_train"], (rows["y_train"] > 3).astype(int))
    (group,) = prepare_groups(spec_text(changes, seed=4).spec, dataset, Selection(seeds=3))
    drawn = set()
    for member in group.members:
        (alone,) = prepare_groups(spec_text(changes, seed=member.id).spec, dataset)
        assert member.fold.train_rows.tolist() == alone.folds[0].train_rows.tolist()
        assert member.fold.validation_rows.tolist() == alone.folds[0].validation_rows.tolist()
        assert member.fitted.to_json() == alone.fitted[0].to_json()
        assert member.source == alone.members[0].source
        drawn.add(tuple(member.fold.validation_rows.tolist()))
    assert len(drawn) == 3


def test_seeds_and_folds_are_not_to_be_had_together() -> None:
    with pytest.raises(UsageError) as caught:
        prepare_groups(spec_text(validation=KFOLD).spec, regression_rows(), Selection(seeds=2))
    assert str(caught.value) == (
        "--seeds trains one split with several seeds, and this spec declares k-fold. For several splits use "
        "`nnrun kfold --repeats N` (it needs shuffle: true), or change `validation`."
    )


def test_seeds_end_where_a_spec_s_seed_must() -> None:
    last = 2**63 - 1
    spec = spec_text(seed=last - 1).spec
    (group,) = prepare_groups(spec, regression_rows(), Selection(seeds=2))
    assert [member.id for member in group.members] == [last - 1, last]
    with pytest.raises(UsageError) as caught:
        prepare_groups(spec, regression_rows(), Selection(seeds=3))
    assert str(caught.value) == (
        f"--seeds 3 from seed {last - 1} would end at {last + 1}, and the largest seed is {last}. "
        "Start from a smaller seed."
    )


# --- nothing leaks -----------------------------------------------------------------------------------------

VALIDATIONS: list[dict[str, Any]] = [
    {"holdout": {"first": 5}},
    {"holdout": {"fraction": 0.3}},
    {"kfold": {"k": 4}},
    {"kfold": {"k": 3, "shuffle": True, "repeats": 2}},
]
WIDE = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.sampled_from(VALIDATIONS), st.integers(0, 3), st.data())
def test_what_is_fitted_does_not_depend_on_the_rows_that_validate(
    validation: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    steps = {"inputs": "standardize", "targets": "standardize"}
    spec = spec_text(preprocessing=steps, validation=validation, seed=seed).spec
    rows = numbers(20)
    x, y = rows["x_train"], rows["y_train"]
    groups = prepare_groups(spec, table(x, y))
    before = states(groups)

    fold = data.draw(st.sampled_from([fold for group in groups for fold in group.folds]))
    row = data.draw(st.sampled_from(fold.validation_rows.tolist()))
    changed_x, changed_y = x.copy(), y.copy()
    changed_x[row], changed_y[row] = data.draw(WIDE), data.draw(WIDE)
    assert states(prepare_groups(spec, table(changed_x, changed_y)))[fold.index] == before[fold.index]

    # And the other way round, so that this test could fail: a training row is seen.
    row = data.draw(st.sampled_from(fold.train_rows.tolist()))
    seen_x, seen_y = x.copy(), y.copy()
    seen_x[row] += 1
    seen_y[row] += 1
    after = states(prepare_groups(spec, table(seen_x, seen_y)))[fold.index]
    assert after["table"] != before[fold.index]["table"]
    assert after["targets"] != before[fold.index]["targets"]


@given(st.integers(0, 2), st.integers(0, 7), st.integers(0, 500))
def test_a_vocabulary_does_not_grow_by_the_rows_that_validate(fold: int, place: int, token: int) -> None:
    """Without num_words and dimension a fold knows the tokens of its training rows, and no others."""
    spec = spec_text(TOKENS).spec
    lists = list(growing_tokens()["x_train"])
    before = states(prepare_groups(spec, token_rows(lists)))
    row = 8 * fold + place  # three contiguous folds of 8 rows
    changed = [*lists[:row], [token], *lists[row + 1 :]]
    after = states(prepare_groups(spec, token_rows(changed)))
    assert after[fold] == before[fold]
    seen = [*lists[:row], [500 + token], *lists[row + 1 :]]
    after = states(prepare_groups(spec, token_rows(seen)))
    assert after[fold] == before[fold]
    assert all(after[other] != before[other] for other in {0, 1, 2} - {fold})


# --- labels and outputs ------------------------------------------------------------------------------------


def test_only_classes_are_labels() -> None:
    x = np.zeros((4, 1))
    classes = np.array([0, 1, 1, 0])
    assert labels_of(table(x, classes, "binary")) is classes
    assert labels_of(table(x, classes)) is classes  # only the spec can tell, so they may be stratified by
    assert labels_of(table(x, classes, "regression")) is None
    assert labels_of(table(x, np.eye(4))) is None


def test_the_outputs_are_the_units_of_the_last_layer() -> None:
    assert num_outputs(spec_text(layers=[{"dense": 5}, {"dense": 1}]).spec) == 1
    softmax = [{"dense": {"units": 46, "activation": "softmax"}}]
    assert num_outputs(spec_text(layers=softmax, loss="categorical_crossentropy", metrics=[]).spec) == 46


# --- what is trained ---------------------------------------------------------------------------------------


def all_rows(problem: Any, places: list[int], count: int) -> np.ndarray:
    """The inputs of the replicas at these places, as the network gets them."""
    rows = np.stack([np.arange(count)] * len(places))
    (batch,) = problem.inputs[INPUT].batches(places, rows, count)
    return np.asarray(batch)


def problem_of(spec: schema.ExperimentSpec, dataset: Dataset, group: Group) -> Any:
    return make_problem(spec, group.network, group.fitted, dataset.train, CPU)


def test_each_fold_sees_all_rows_by_its_own_preprocessing() -> None:
    steps = {"inputs": "standardize", "targets": "standardize"}
    spec, dataset = spec_text(preprocessing=steps, validation=KFOLD).spec, regression_rows()
    (group,) = prepare_groups(spec, dataset)
    problem = problem_of(spec, dataset, group)
    found = all_rows(problem, [0, 1, 2], 48)
    assert found.shape == (3, 48, 3)
    assert problem.head.targets.shape == (3, 48, 1)
    for place, fold in enumerate(group.folds):
        for values, given_rows in (
            (found[place], dataset.train.inputs),
            (problem.head.targets[place].numpy(), dataset.train.targets[:, None]),
        ):
            train = np.asarray(given_rows)[fold.train_rows]
            expected = (given_rows - train.mean(0)) / train.std(0)
            assert values == pytest.approx(np.asarray(expected), rel=1e-5, abs=1e-6)


def test_rows_that_all_folds_see_alike_are_held_once() -> None:
    spec, dataset = spec_text(preprocessing={"inputs": "none"}, validation=KFOLD).spec, regression_rows()
    (group,) = prepare_groups(spec, dataset)
    problem = problem_of(spec, dataset, group)
    assert problem.inputs[INPUT].x_SNF.shape == (1, 48, 3)
    assert problem.head.targets.shape == (1, 48, 1)
    found = all_rows(problem, [0, 1, 2], 48)
    assert found.shape == (3, 48, 3)
    for place in range(3):
        assert np.array_equal(found[place], np.asarray(dataset.train.inputs, np.float32))


def test_token_rows_stay_sparse_and_are_the_ones_that_they_say() -> None:
    lists = [[1, 3, 3], [0], [], [4, 1, 0, 2]]
    dataset = token_rows(lists)
    layers = [{"dense": {"units": 1, "activation": "sigmoid", "use_bias": False}}]
    spec = spec_text(TOKENS, layers=layers, validation="none").spec
    (group,) = prepare_groups(spec, dataset)
    problem = problem_of(spec, dataset, group)
    assert not problem.inputs[INPUT].dense
    (batch,) = problem.inputs[INPUT].batches([0], np.arange(4)[None], 4)
    # The weight of word w is 10**w, so that the sum of a row's weights spells its words.
    weights = torch.tensor([[[1.0], [10.0], [100.0], [1000.0], [10000.0]]])
    assert group.network.forward({"0.weight": weights}, {INPUT: batch})[OUTPUT].flatten().tolist() == [
        1010,
        1,
        0,
        10111,
    ]


@pytest.mark.parametrize(
    ("loss", "dtype", "expected"),
    [
        ("sparse_categorical_crossentropy", torch.int64, [[2, 0, 1]]),
        ("categorical_crossentropy", torch.float32, [[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]),
    ],
)
def test_targets_have_the_form_that_the_loss_takes(loss: str, dtype: torch.dtype, expected: Any) -> None:
    layers = [{"dense": {"units": 3, "activation": "softmax"}}]
    spec = spec_text(layers=layers, loss=loss, metrics=["accuracy"], validation="none").spec
    dataset = table(np.zeros((3, 2)), np.array([2, 0, 1]))
    (group,) = prepare_groups(spec, dataset)
    problem = problem_of(spec, dataset, group)
    assert problem.head.targets.dtype == dtype
    assert problem.head.targets.tolist() == expected


def test_data_that_do_not_suit_the_spec_are_refused(tmp_path: Path) -> None:
    spec = load_small(tmp_path, REGRESSION, preprocessing={"inputs": "multi_hot"}).spec
    with pytest.raises(DataError) as caught:
        prepare_groups(spec, load_dataset(spec.dataset))
    assert str(caught.value) == (
        "multi_hot needs lists of tokens, but the inputs of small are a table. For texts, put `tokens` "
        "before it, or use `text` alone."
    )
