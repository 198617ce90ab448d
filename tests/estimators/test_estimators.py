"""nnrun.Classifier and nnrun.Regressor as scikit-learn's users have estimators."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs, make_regression
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nnrun
from nnrun.errors import SpecError, UsageError

Array = np.ndarray[Any, Any]

# Rows are in another order in each epoch, and preprocessing knows no weights, so that a row of weight 2 is
# not quite the same as two rows; it is not either in scikit-learn's networks with any solver but lbfgs.
_DIFFERENT = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not trained on as two rows are"
}


_CHECKS = parametrize_with_checks(
    [nnrun.Classifier(epochs=30), nnrun.Regressor(epochs=30)],
    expected_failed_checks=lambda estimator: _DIFFERENT,
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    _CHECKS.args[0], list(_CHECKS.args[1]), **_CHECKS.kwargs
)  # pytest 10 takes no generator
def test_scikit_learn_s_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """X and y of all types of columns, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    size = y + rng.normal(size=120) / 4
    size[5] = np.nan
    words = np.array(["the red film was long", "a green film of two hours", "nothing but blue for an hour"])
    frame = pd.DataFrame(
        {
            "size": size,
            "colour": rng.choice(["red", "green"], 120),
            "code": pd.Categorical(rng.integers(3, size=120)),
            "said": [f"{words[k]} {n}" for n, k in enumerate(y)],
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(300, size=120), "D"),
            "same": 1,
        },
        index=np.arange(120)[::-1],
    )
    return frame, pd.Series(np.array(["no", "perhaps", "yes"])[y], index=frame.index, name="answer")


def test_columns_of_all_types(mixed: tuple[pd.DataFrame, pd.Series[Any]], tmp_path: Path) -> None:
    x, y = mixed
    model = nnrun.Classifier(seed=1).fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.classes_.tolist() == ["no", "perhaps", "yes"]
    assert model.feature_names_in_.tolist() == list(x)
    assert model.n_features_in_ == 6
    inputs = "inputs: [size, colour, code, said, day]"  # nothing can be learned from a column of one value
    assert inputs in model.spec_
    for step in ("impute", "one_hot", "datetime", "text"):
        assert step in model.spec_
    probabilities = model.predict_proba(x.iloc[:7])
    assert probabilities.shape == (7, 3)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(x.iloc[:7])).all()
    assert list(model.history_)[:3] == ["fold", "epoch", "loss"]
    assert not [path for path in tmp_path.rglob("*") if path.name != "temporary"]


def test_sparse_inputs() -> None:
    """Sparse columns are as dense ones; a sparse matrix is refused in scikit-learn's own words."""
    import scipy.sparse

    x, y = np.eye(30)[np.arange(60) % 30], np.arange(60) % 2
    dense = pd.DataFrame(x, columns=[f"x{i}" for i in range(30)])
    sparse = dense.astype(pd.SparseDtype(float, 0.0))
    fitted = nnrun.Classifier(epochs=2).fit(sparse, y)
    assert (
        nnrun.Classifier(epochs=2).fit(dense, y).predict_proba(dense) == fitted.predict_proba(sparse)
    ).all()
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        nnrun.Classifier().fit(scipy.sparse.csr_array(x), y)


@pytest.mark.parametrize("made", [nnrun.Classifier, nnrun.Regressor])
def test_masked_and_complex_values_are_refused(made: Any) -> None:
    x, y = np.eye(30)[np.arange(60) % 30], np.arange(60) % 2
    masked = np.ma.MaskedArray(x, x > 0)
    with pytest.raises(ValueError, match="A masked array with 60 masked values"):
        made().fit(masked, y)
    with pytest.raises(ValueError, match="A masked array with 30 masked values"):
        made().fit(x, np.ma.masked_equal(y, 1))
    with pytest.raises(ValueError, match="A masked array with 30 masked values"):
        made().fit(x, y, sample_weight=np.ma.masked_equal(y, 1))
    for odd in (x + 1j, pd.DataFrame(x + 1j), pd.DataFrame({"z": (np.arange(60) * 1j).astype(object)})):
        with pytest.raises(ValueError, match="Complex data not supported"):
            made().fit(odd, y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        made(epochs=1).fit(x, y).predict(pd.DataFrame(x + 1j))


def test_an_unknown_category_is_told(mixed: tuple[pd.DataFrame, pd.Series[Any]]) -> None:
    x, y = mixed
    model = nnrun.Classifier(epochs=2).fit(x, y)
    with pytest.warns(UserWarning, match="colour"):
        model.predict(x.assign(colour="violet"))


def test_search_validation_importance_and_pipelines() -> None:
    x, y = load_iris(return_X_y=True)
    quick = nnrun.Classifier(epochs=20)
    assert cross_val_score(quick, x, y, cv=3, error_score="raise").mean() > 0.8
    grid = {
        "batch_size": [8, np.int64(64)],
        "set": [{"layers[0].dense.units": 4}, ["layers[0].dense.units=8"]],
    }
    search = GridSearchCV(quick, grid, cv=2, error_score="raise").fit(x, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.predict(x).shape == (150,)
    matters = permutation_importance(search.best_estimator_, x, y, n_repeats=2, random_state=0)
    assert matters.importances_mean.argmax() in (2, 3)
    pipeline = make_pipeline(StandardScaler(), nnrun.Classifier(epochs=20))
    assert pipeline.set_params(classifier__seed=3).fit(x, y).score(x, y) > 0.8
    assert pipeline[-1].seed == 3


@pytest.mark.parametrize("estimator", [nnrun.Classifier, nnrun.Regressor])
def test_an_unknown_parameter_is_told_by_the_class_that_was_called(estimator: Any) -> None:
    class Own(estimator):  # type: ignore[misc]
        pass

    for called in (estimator, Own):
        with pytest.raises(TypeError, match=rf"{called.__name__}\.__init__\(\) got an .* 'epoch'"):
            called(epoch=3)
        made = called(epochs=3, seed=1)
        assert (
            clone(made).get_params()
            == made.get_params()
            == called("x").get_params()
            | {
                "spec": None,
                "epochs": 3,
                "seed": 1,
            }
        )


def test_parameters() -> None:
    model = nnrun.Regressor({"loss": "mse"}, epochs=2, set={"loss": "mae"}, device="cpu")
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == "Regressor(device='cpu', epochs=2, set={'loss': 'mae'}, spec={'loss': 'mse'})"
    with pytest.raises(ValueError, match="Invalid parameter 'units'"):
        model.set_params(units=3)


NETWORK = """
preprocessing: {inputs: standardize}
layers:
  - dense: {units: 8, activation: relu}
  - dense: {units: 3, activation: softmax}
loss: categorical_crossentropy
optimizer: {adam: 0.01}
epochs: 40
batch_size: 16
"""


@pytest.mark.parametrize("form", ["text", "path", "dict"])
def test_a_spec_of_one_s_own(form: str, tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    spec: Any = NETWORK
    if form == "path":
        spec = tmp_path / "iris.yaml"
        spec.write_text(NETWORK)
    if form == "dict":
        import yaml

        spec = yaml.safe_load(NETWORK)
    model = nnrun.Classifier(spec, seed=2).fit(x, y)
    assert model.score(x, y) > 0.9
    assert len(model.history_) == 40
    assert "units: 8" in model.spec_


def test_two_networks_of_one_seed_are_the_same_and_survive_pickling() -> None:
    x, y = make_regression(60, 4, random_state=0)
    one, two = (nnrun.Regressor(epochs=5, seed=4).fit(x, y) for _ in range(2))
    assert (one.predict(x) == two.predict(x)).all()
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    assert (again.predict(x) == one.predict(x)).all()
    program = (
        "import pickle, sys, numpy as np; model, x = pickle.load(open(sys.argv[1], 'rb'));"
        "print(model.predict(x).tolist())"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pickle"
        path.write_bytes(pickle.dumps((one, x[:3])))
        found = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert found.stderr == ""
    assert found.stdout.strip() == str(one.predict(x[:3]).tolist())


def test_a_run_is_kept_where_it_is_told(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True, as_frame=True)
    model = nnrun.Classifier(epochs=3, runs_dir=tmp_path / "runs").fit(x, y)
    run = nnrun.load_run(str(model.trained_.path))
    assert run.status == "completed"
    assert run.record["data"][0]["rows"] == 150
    table = nnrun.predict(run, x)
    assert (table["prediction"].astype(int).to_numpy() == model.predict(x)).all()
    assert nnrun.evaluate(run, split="validation").scores["accuracy"] == run.best["val_accuracy"]


def test_weights_of_rows() -> None:
    x, y = make_blobs(90, centers=2, cluster_std=4.0, random_state=0)
    light, heavy = np.where(y == 0, 1.0, 1e-3), np.where(y == 1, 1.0, 1e-3)
    models = [nnrun.Classifier(epochs=40).fit(x, y, sample_weight=weights) for weights in (light, heavy)]
    shares = [model.predict(x).mean() for model in models]
    assert shares[0] < 0.3 < 0.7 < shares[1]
    kept = y != 2
    kept[:10] = False
    without = nnrun.Classifier(epochs=5).fit(x[kept], y[kept])
    of_no_weight = nnrun.Classifier(epochs=5).fit(x, y, sample_weight=kept.astype(float))
    np.testing.assert_array_equal(without.predict_proba(x), of_no_weight.predict_proba(x))


@pytest.mark.parametrize(
    "classes",
    [[1.0, 2.0], [True, False], ["true", "x"], [" a", "a"], ["", "b"], ["2026-01-01", "2026-01-02"], [-1, 1]],
)
def test_classes_of_any_kind_come_back(classes: list[Any]) -> None:
    x = np.repeat([[0.0, 1.0], [5.0, 3.0]], 30, axis=0) + np.random.default_rng(0).normal(size=(60, 2)) / 9
    y = np.repeat(np.array(classes), 30)
    model = nnrun.Classifier(epochs=40).fit(x, y)
    assert model.classes_.tolist() == sorted(classes)
    assert model.predict(x).dtype == y.dtype
    assert (model.predict(x) == y).all()


def test_several_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x > 0).astype(int)
    model = nnrun.Classifier(epochs=60).fit(x, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(x).shape == (120, 3)
    assert (model.predict(x) == y).mean() > 0.9


def test_several_numbers() -> None:
    x, y = make_regression(200, 4, n_targets=3, random_state=0)
    assert nnrun.Regressor(epochs=60).fit(x, y).score(x, y) > 0.7
    spec = {
        "preprocessing": {"inputs": "standardize"},
        "layers": {
            "hidden": [{"dense": 8}],
            **{name: [{"from": "hidden"}, {"dense": 1}] for name in "ab"},
        },
        "outputs": {
            name: {"target": f"{name}1", "loss": "mse", "preprocessing": "standardize"} for name in "ab"
        },
        "epochs": 30,
        "batch_size": 8,
    }
    both = nnrun.Regressor(spec).fit(x, y[:, :2])
    assert both.predict(x).shape == (200, 2)
    assert both.score(x, y[:, :2]) > 0.5
    with pytest.raises(ValueError, match="y has 3 columns, and the spec has 2 targets"):
        nnrun.Regressor(spec).fit(x, y)


def test_numbers_that_are_0_or_1_are_numbers() -> None:
    x, y = make_blobs(80, centers=2, random_state=0)
    predicted = nnrun.Regressor(epochs=30).fit(x, y).predict(x)
    assert predicted.dtype == np.float64
    assert len(np.unique(predicted)) > 2


def test_images() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 8, 8)) + y[:, None, None]
    model = nnrun.Classifier(epochs=15).fit(x, y)
    assert "conv2d" in model.spec_
    assert model.score(x, y) > 0.9
    with pytest.raises(ValueError, match="sample_weight needs inputs that are a table"):
        nnrun.Classifier(epochs=1).fit(x, y, sample_weight=y + 1.0)


def test_arrays_with_texts() -> None:
    x = np.array([["red", 1.0], ["green", 2.0]] * 20, object)
    model = nnrun.Classifier(epochs=30).fit(x, [0, 1] * 20)
    assert model.score(x, [0, 1] * 20) == 1.0
    assert "one_hot" in model.spec_


def test_a_class_of_a_single_row() -> None:
    x, y = make_blobs(30, centers=2, random_state=0)
    y[0] = 7
    model = nnrun.Classifier(epochs=5).fit(x, y)
    assert "validation: none" in model.spec_
    assert model.predict_proba(x).shape == (30, 3)


def test_scores_are_no_probabilities() -> None:
    x, y = make_blobs(60, centers=2, random_state=0)
    spec = {
        "preprocessing": {"inputs": "standardize"},
        "layers": [{"dense": 1}],
        "loss": "hinge",
        "optimizer": {"adam": 0.05},
        "epochs": 30,
        "batch_size": 8,
    }
    model = nnrun.Classifier(spec).fit(x, y)
    assert model.score(x, y) > 0.9
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.zeros((10, 2)), np.arange(10) % 2, "Each column of the inputs has the same value in every row"),
        (
            np.arange(6.0).reshape(3, 2),
            [0, 1, 0],
            "There are 3 rows; training and validation need 4 or more.",
        ),
        (np.arange(20.0).reshape(10, 2), [1] * 10, "y has one class in all rows that count"),
        (pd.DataFrame({"a": [1, np.inf] * 5}), [0, 1] * 5, "Input X contains infinity in column 'a'."),
        (pd.DataFrame({"a": []}), [], "Found array with 0 sample"),
        (pd.DataFrame(index=range(9)), [0] * 9, "Found array with 0 feature"),
        (
            np.arange(20.0).reshape(10, 2),
            [0] * 9,
            "Found input variables with inconsistent numbers of samples",
        ),
    ],
)
def test_rows_that_nothing_can_be_learned_from(x: Any, y: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.split("(")[0]):
        nnrun.Classifier(epochs=1).fit(x, y)


def test_other_columns_than_it_was_fitted_to() -> None:
    x, y = load_iris(return_X_y=True, as_frame=True)
    model = nnrun.Classifier(epochs=1).fit(x, y)
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(x.rename(columns={"petal width (cm)": "other"}))
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(x.iloc[:, :3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that X has no names
        assert (model.predict(x.to_numpy()) == model.predict(x)).all()


def test_specs_that_do_not_fit() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(SpecError, match="epochs must be"):
        nnrun.Classifier(epochs=-1).fit(x, y)
    with pytest.raises(UsageError, match="so it takes no other rows"):
        nnrun.Classifier({"dataset": "iris", "layers": [{"dense": 1}], "loss": "mse"}).fit(x, y)
    numbers = {
        "preprocessing": {"inputs": "standardize"},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "epochs": 1,
    }
    with pytest.raises(ValueError, match="The data do not match the spec"):
        nnrun.Classifier(numbers).fit(x, y)
    with pytest.raises(UsageError, match="and no numbers; use Classifier"):
        nnrun.Regressor(NETWORK, epochs=1).fit(x, y)


def test_importing_nnrun_stays_light() -> None:
    program = (
        "import sys, nnrun; assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules);"
        "nnrun.Classifier; assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stderr == ""
    with pytest.raises(AttributeError, match="module 'nnrun' has no attribute 'Clasifier'"):
        nnrun.Clasifier  # noqa: B018
