"""Preprocessing: what each step computes, what it learns and from whom, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data import Dataset, DenseRows, FittedPreprocessing, Samples, SparseRows, TokenRows
from nnrun.data.preprocess.target_encoding import FittedTargets, fit_targets
from nnrun.data.preprocess.token_steps import multi_hot
from nnrun.errors import DataError
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec import schema
from tests.support.preprocessed import fit_preprocessing

X = np.array([[1.0, 10.0, 7.0], [2.0, 10.0, 5.0], [3.0, 10.0, 9.0], [4.0, 10.0, -1.0]])
Y = np.array([0, 2, 1, 2])
LISTS = [[3, 1, 3], [], [2, 9, 2, 2], [5]]


def table(x: Any = X, y: Any = Y) -> Dataset:
    return Dataset("mine", Samples(np.asarray(x), np.asarray(y)), None, ())


def wires(lists: list[list[int]] = LISTS, num_words: int | None = None) -> Dataset:
    labels = np.arange(len(lists)) % 3
    return Dataset("wires", Samples(TokenRows.from_lists(lists), labels), None, (), num_words=num_words)


def spec(inputs: Any = "none", targets: Any = "none") -> schema.Preprocessing:
    return schema.Preprocessing.model_validate({"inputs": inputs, "targets": targets})


def fit(
    dataset: Dataset, inputs: Any = "none", targets: Any = "none", rows: Any = None, n_outputs: int = 1
) -> FittedPreprocessing:
    return fit_preprocessing(spec(inputs, targets), dataset, rows, n_outputs=n_outputs)


def refusal(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(DataError) as error:
        fit(*args, **kwargs)
    return str(error.value)


def dense(fitted: FittedPreprocessing, x: Any) -> np.ndarray:
    rows = fitted.input.transform(np.asarray(x))
    assert isinstance(rows, DenseRows)
    assert rows.x_NF.dtype == np.float32
    assert rows.x_NF.flags.c_contiguous
    return rows.x_NF


# --- multi_hot ---------------------------------------------------------------------------------------------


@given(lists=st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=20), dimension=st.integers(1, 45))
def test_a_multi_hot_row_is_the_set_of_its_tokens(lists: list[list[int]], dimension: int) -> None:
    rows = multi_hot(TokenRows.from_lists(lists), dimension)
    found = [rows.indices[a:b].tolist() for a, b in zip(rows.indptr, rows.indptr[1:], strict=False)]
    assert found == [sorted({t for t in row if t < dimension}) for row in lists]
    assert (rows.indptr.dtype, rows.indices.dtype, rows.values) == (np.int64, np.int32, None)
    assert rows.n_features == dimension


@pytest.mark.parametrize(
    ("inputs", "num_words", "dimension"),
    [
        ("multi_hot", None, 10),
        ("multi_hot", 50, 50),
        ({"multi_hot": 12}, None, 12),
        ({"multi_hot": 60}, 50, 60),
    ],
)
def test_the_dimension(inputs: Any, num_words: int | None, dimension: int) -> None:
    rows = fit(wires(num_words=num_words), inputs).input.transform(TokenRows.from_lists(LISTS))
    assert isinstance(rows, SparseRows)
    assert rows.n_features == dimension


def test_the_default_dimension_is_that_of_the_fitted_rows_and_later_words_are_dropped() -> None:
    fitted = fit(wires(), "multi_hot", rows=[0, 1])
    rows = fitted.input.transform(TokenRows.from_lists([[9, 3, 100_000], [4]]))
    assert isinstance(rows, SparseRows)
    assert rows.to_dense().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]


def test_a_dimension_that_the_training_rows_exceed_is_refused() -> None:
    assert refusal(wires(), {"multi_hot": 9}) == (
        "multi_hot: the training rows hold the token 9, but the dimension is 9; every token must be "
        "below it. "
        "Set the dimension to 10 at least."
    )
    fit(wires(), {"multi_hot": 9}, rows=[0, 1, 3])


def test_rows_without_any_token() -> None:
    rows = fit(wires([[], []]), "multi_hot").input.transform(TokenRows.from_lists([[], [0], []]))
    assert isinstance(rows, SparseRows)
    assert rows.to_dense().tolist() == [[0], [1], [0]]


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(DataError, match="holds the token -4"):
        fit(wires(), "multi_hot").input.transform(TokenRows.from_lists([[1, -4]]))


# --- standardize -------------------------------------------------------------------------------------------


def test_standardize_is_computed_in_float64_with_the_population_deviation() -> None:
    z = dense(fit(table(), "standardize"), X)
    expected = (X - X.mean(axis=0)) / np.where(X.std(axis=0) == 0, 1, X.std(axis=0))
    assert np.array_equal(z, expected.astype(np.float32))
    assert z[:, 1].tolist() == [0, 0, 0, 0]


def test_a_constant_column_is_centred_exactly_whatever_rounding_does() -> None:
    x = np.full((1000, 1), 0.1)
    assert x.std() != 0  # this is what would be divided by
    assert (dense(fit(table(x, np.zeros(1000)), "standardize"), x) == 0).all()
    assert dense(fit(table(x, np.zeros(1000)), "standardize"), [[1.1]])[0, 0] == np.float32(1.0)


def test_only_the_named_columns_are_standardized() -> None:
    z = dense(fit(table(), {"standardize": {"columns": [2, 0]}}), X)
    whole = dense(fit(table(), "standardize"), X)
    assert np.array_equal(z[:, [0, 2]], whole[:, [0, 2]])
    assert np.array_equal(z[:, 1], X[:, 1])


def test_steps_are_applied_in_order() -> None:
    twice = fit(table(), [{"standardize": [0]}, "none", "standardize"])
    assert np.allclose(dense(twice, X), dense(fit(table(), "standardize"), X), atol=1e-6)
    assert np.array_equal(table().train.inputs, X)
    assert twice.input.table is not None
    assert [len(column.steps) for column in twice.input.table.columns] == [2, 1, 1]


def test_the_data_set_is_left_as_it_was() -> None:
    x = X.copy()
    dataset = table(x)
    dense(fit(dataset, ["standardize", "standardize"], "standardize"), x)
    assert np.array_equal(x, X)


def test_large_inputs_go_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.RandomState(0).normal(3, 2, (100, 3))
    fitted = fit(table(x, np.zeros(100)), "standardize")
    whole = dense(fitted, x)
    monkeypatch.setattr("nnrun.data.preprocess.column_transformer._ARRAY_BLOCK_VALUES", 21)
    assert np.array_equal(dense(fitted, x), whole)


def test_no_step_takes_numbers_as_they_are() -> None:
    assert np.array_equal(dense(fit(table()), X), X.astype(np.float32))
    bits = np.array([[True, False]])
    assert dense(fit(table(bits, [0])), bits).tolist() == [[1, 0]]


@pytest.mark.parametrize("inputs", ["none", {"standardize": [0]}])
def test_numbers_beyond_float32_are_refused(inputs: Any) -> None:
    x = X.copy()
    x[2, 1] = 1e39
    fitted = fit(table(), inputs)
    with pytest.raises(
        DataError, match=r"Column '1', row 2: becomes 1e\+39, which is not a finite 32-bit number"
    ):
        fitted.input.transform(x)


@pytest.mark.parametrize(
    ("columns", "said"),
    [([3], "there is no column 3; mine has 3 input columns"), ([1, 1], "columns [1, 1] name 1 twice")],
)
def test_columns_that_are_not_there_are_refused(columns: list[int], said: str) -> None:
    assert said in refusal(table(), {"standardize": {"columns": columns}})


def test_a_deviation_that_overflows_is_refused() -> None:
    said = refusal(table([[1e308], [-1e308]], [0, 1]), "standardize")
    assert "of column '0' is not a finite number" in said


# --- steps and inputs that do not fit ----------------------------------------------------------------------


def test_steps_that_do_not_apply_are_refused() -> None:
    assert "multi_hot needs lists of tokens" in refusal(table(), "multi_hot")
    assert "lists of tokens, of differing lengths" in refusal(wires())
    assert "lists of tokens, of differing lengths" in refusal(wires(), "standardize")
    assert "standardize does not apply to multi_hot rows" in refusal(wires(), ["multi_hot", "standardize"])
    assert "no training rows" in refusal(table(), rows=[])


def test_inputs_of_another_kind_are_refused() -> None:
    tokens = TokenRows.from_lists(LISTS)
    with pytest.raises(DataError, match="a table of 3 columns is needed"):
        fit(table()).input.transform(tokens)
    with pytest.raises(DataError, match="token lists are needed"):
        fit(wires(), "multi_hot").input.transform(X)
    with pytest.raises(DataError, match=r"have shape \(4, 2\), but 3 columns are needed"):
        fit(table()).input.transform(X[:, :2])


# --- targets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [Y, Y.astype(np.float64), Y[:, None], Y.astype(np.uint8)])
def test_labels(labels: np.ndarray) -> None:
    one_hot = fit(table(y=labels), targets="one_hot", n_outputs=3).output.transform(labels)
    assert (one_hot.dtype, one_hot.tolist()) == (np.float32, np.eye(3)[Y].tolist())
    index = fit(table(y=labels), targets="class_index", n_outputs=4).output.transform(labels)
    assert (index.dtype, index.tolist()) == (np.int64, Y.tolist())


@pytest.mark.parametrize("targets", ["one_hot", "class_index"])
@pytest.mark.parametrize(
    ("y", "said"),
    [
        (
            [0, 1, 2, 3],
            "Row 3 has the label 3, but the last layer has 3 units, which is enough for labels from 0 to 2",
        ),
        ([0, -1, 2, 1], "Row 1 has the label -1"),
        ([0, 1, 0.5, 1], "Row 2 has the target 0.5, but class labels are whole numbers"),
        (np.eye(4), "class labels are one integer per row"),
    ],
)
def test_labels_that_do_not_fit_are_refused(targets: str, y: Any, said: str) -> None:
    assert said in refusal(table(y=y), targets=targets, n_outputs=3)


def test_a_message_names_the_row_of_the_data_set() -> None:
    assert "Row 3 has the label 7" in refusal(
        table(y=[0, 0, 0, 7]), targets="one_hot", rows=[1, 3], n_outputs=2
    )
    fitted = fit(table(y=[0, 0, 0, 7]), targets="one_hot", rows=[0, 1], n_outputs=2)
    with pytest.raises(DataError, match="Row 1 has the label 7"):
        fitted.output.transform(np.array([0, 7]))


def test_plain_and_standardized_targets() -> None:
    y = np.array([15.2, 42.3, 50.0, 21.1])
    plain = fit(table(y=y)).output.transform(y)
    assert (plain.dtype, plain.shape) == (np.float32, (4, 1))
    assert fit(table(y=y)).output.scale is None
    fitted = fit(table(y=y), targets="standardize", rows=[0, 1, 2])
    assert fitted.output.scale == TargetScale((y[:3].mean(),), (y[:3].std(),))
    assert np.array_equal(
        fitted.output.transform(y)[:, 0], ((y - y[:3].mean()) / y[:3].std()).astype(np.float32)
    )


def test_several_target_columns() -> None:
    y = np.arange(8.0).reshape(4, 2)
    assert fit(table(y=y), n_outputs=2).output.transform(y).tolist() == y.tolist()
    said = refusal(table(y=y), targets="standardize", n_outputs=1)
    assert said == "The targets have 2 columns, but the last layer has 1 unit. The numbers must match."


@pytest.mark.parametrize("step", [schema.NoTargetStep(), schema.StandardizeTargets(), schema.Log1pTargets()])
def test_one_number_is_repeated_for_each_of_its_quantiles(step: schema.Component) -> None:
    y = np.array([1.0, 2.0, 4.0, 8.0])
    fitted, single = fit_targets(step, y, None, 3, repeated=True), fit_targets(step, y, None, 1)
    assert np.array_equal(fitted.transform(y), np.repeat(single.transform(y), 3, 1))
    own, own_single = fitted.own_targets(y), single.own_targets(y)
    if own_single is None:
        assert own is None
    else:
        assert own is not None
        assert np.array_equal(own, np.repeat(own_single, 3, 1))
    assert FittedTargets.from_json(json.loads(json.dumps(fitted.to_json())), 3) == fitted
    with pytest.raises(DataError, match="have 2 columns, and `quantiles` are of one number"):
        fit_targets(step, np.stack([y, y], 1), None, 3, repeated=True)


# --- laws --------------------------------------------------------------------------------------------------

TABLE_STEPS = st.lists(
    st.sampled_from(["none", "standardize", {"standardize": {"columns": [1, 0]}}]), min_size=1, max_size=3
)
finite = st.floats(-1e6, 1e6)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataset, Dataset, np.ndarray, schema.Preprocessing, int]:
    """A data set, the same with other rows outside the chosen ones, the chosen rows, and steps for it."""
    n = draw(st.integers(2, 8))
    chosen = np.array(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n - 1, unique=True)))
    others = np.setdiff1d(np.arange(n), chosen)
    targets = draw(st.sampled_from(["none", "standardize", "one_hot", "class_index"]))
    labels = targets in ("one_hot", "class_index")
    y = np.array(draw(st.lists(st.integers(0, 2) if labels else finite, min_size=n, max_size=n)))
    altered_y = y.copy()
    altered_y[others] = draw(st.integers(0, 99) if labels else finite)
    if draw(st.booleans()):
        x = np.array(draw(st.lists(st.lists(finite, min_size=2, max_size=2), min_size=n, max_size=n)))
        altered_x = x.copy()
        altered_x[others] = draw(finite)
        before, after = table(x, y), table(altered_x, altered_y)
        inputs = draw(TABLE_STEPS)
    else:
        lists = draw(st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=n, max_size=n))
        altered = [
            draw(st.lists(st.integers(0, 99), max_size=6)) if i in others else r for i, r in enumerate(lists)
        ]
        before = Dataset("w", Samples(TokenRows.from_lists(lists), y), None, ())
        after = Dataset("w", Samples(TokenRows.from_lists(altered), altered_y), None, ())
        inputs = ["multi_hot"]
    return before, after, chosen, spec(inputs, targets), 3 if labels else 1


@settings(max_examples=300)
@given(cases())
def test_rows_that_are_not_trained_on_change_nothing(case: Any) -> None:
    before, after, rows, steps, n_outputs = case
    fitted = fit_preprocessing(steps, before, rows, n_outputs=n_outputs)
    assert fit_preprocessing(steps, after, rows, n_outputs=n_outputs) == fitted
    alone = Dataset("w", before.train.take(rows), None, ())
    assert fit_preprocessing(steps, alone, None, n_outputs=n_outputs) == fitted


@settings(max_examples=200)
@given(cases())
def test_json_keeps_every_bit(case: Any) -> None:
    before, _, rows, steps, n_outputs = case
    fitted = fit_preprocessing(steps, before, rows, n_outputs=n_outputs)
    again = FittedPreprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert repr(again) == repr(fitted)
    assert json.dumps(again.to_json()) == json.dumps(fitted.to_json())


def test_different_states_are_not_equal() -> None:
    assert fit(table(), "standardize", rows=[0, 1]) != fit(table(), "standardize", rows=[0, 2])
    assert fit(table(), "standardize", rows=[0, 1]) == fit(
        table(), "standardize", rows=[True, True, False, False]
    )


FITTED = fit(table(), {"standardize": [0, 2]}, "one_hot", n_outputs=3)
STATE = FITTED.to_json()
VERSION_1 = {
    "version": 1,
    "n_features": 3,
    "n_outputs": 3,
    "inputs": [
        {
            "standardize": {
                "columns": [0, 2],
                "mean": X[:, [0, 2]].mean(axis=0).tolist(),
                "std": X[:, [0, 2]].std(axis=0).tolist(),
            }
        }
    ],
    "targets": {"one_hot": {"classes": 3}},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**VERSION_1, **changes}


def test_an_array_of_an_older_nnrun_is_read() -> None:
    assert FittedPreprocessing.from_json(VERSION_1) == FITTED
    plain = FittedPreprocessing.from_json(changed(inputs=[]))
    assert np.array_equal(dense(plain, X), X.astype(np.float32))
    assert FittedPreprocessing.from_json(STATE).to_json() == STATE


@pytest.mark.parametrize(
    "document",
    [
        {},
        changed(version=3),
        {**STATE, "n_features": 4},
        {**STATE, "inputs": [{"multi_hot": {"dimension": 10}}]},
        changed(n_outputs=0),
        changed(n_features="3"),
        changed(n_features=None),
        changed(inputs=[{"run": {}}]),
        changed(inputs=[{"multi_hot": {"dimension": 10}}]),
        changed(inputs=[{"standardize": {"columns": [0], "mean": [1.0, 2.0], "std": [1.0]}}]),
        changed(inputs=[{"standardize": {"columns": [-1], "mean": [1.0], "std": [1.0]}}]),
        changed(inputs=[{"standardize": {"columns": [9], "mean": [1.0], "std": [1.0]}}]),
        changed(inputs=[{"standardize": {"columns": None, "mean": [1.0], "std": [1.0]}}]),
        changed(inputs=[{"standardize": {"columns": [0], "mean": [1.0], "std": [0.0]}}]),
        changed(inputs=[{"standardize": {"columns": [0], "mean": [float("nan")], "std": [1.0]}}]),
        changed(inputs=[{"standardize": {"columns": [0], "mean": [True], "std": [1.0]}}]),
        changed(inputs=7),
        changed(targets={"one_hot": {"classes": True}}),
        changed(targets={"one_hot": {}, "none": {}}),
        changed(targets={"standardize": {"mean": [0.0], "std": [1.0]}}),
        changed(targets=[]),
    ],
)
def test_a_damaged_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"[Tt]he preprocessing"):
        FittedPreprocessing.from_json(document)
