"""Rows that a Python program gives: what learns from them needs the program no more."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import DataError, UsageError
from tests.support.commands import nnrun_command

TABLE: dict[str, Any] = {
    "name": "mixed",
    "dataset": {"csv": {"target": "kind"}},
    "preprocessing": {"inputs": ["impute", "standardize", "one_hot", "datetime"], "targets": "one_hot"},
    "layers": [
        {"dense": {"units": 8, "activation": "relu"}},
        {"dense": {"units": 3, "activation": "softmax"}},
    ],
    "loss": "categorical_crossentropy",
    "metrics": ["accuracy"],
    "epochs": np.int64(2),
    "batch_size": 16,
    "validation": {"kfold": {"k": 2, "shuffle": True, "stratify": True}},
}
ARRAYS: dict[str, Any] = {
    "preprocessing": {"inputs": "standardize"},
    "layers": [{"dense": 1}],
    "loss": "mse",
    "epochs": 2,
    "validation": "holdout",
}


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A frame of mixed columns; runs are made in an empty folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=60)
    numbers[3] = np.nan
    return pd.DataFrame(
        {
            "number": numbers,
            "code": pd.Categorical(rng.integers(3, size=60)),
            "colour": rng.choice(["red", "green"], 60),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(60), "D"),
            "kind": rng.choice(["a", "b", "c"], 60),
        }
    )


def test_a_data_frame_and_everything_after_it(frame: pd.DataFrame, tmp_path: Path) -> None:
    run = nnrun.train(TABLE, data=frame)
    (source,) = run.record["data"]
    (kept,) = (tmp_path / "runs" / ".data").iterdir()
    assert kept.name == source["name"]
    assert source["sha256"] == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert source["rows"] == 60
    spec = (run.path / "resolved.yaml").read_text()
    assert "types: {code: category}" in spec
    table = nnrun.predict(run, frame)
    assert set(table["prediction"]) <= {"a", "b", "c"}
    own = nnrun.predict(run, split="validation")
    assert own["target"].tolist() == frame["kind"].tolist()
    scored = nnrun.evaluate(run, split="validation")
    assert scored.scores["accuracy"] == pytest.approx(run.best["val_accuracy"])
    assert {c.column for c in nnrun.importance(run).tables[0].columns} == {"number", "code", "colour", "day"}


def test_the_same_rows_are_kept_once(frame: pd.DataFrame, tmp_path: Path) -> None:
    one, two = nnrun.train(TABLE, data=frame), nnrun.kfold(TABLE, data=frame.copy(), k=np.int64(2))
    assert one.record["data"] == two.record["data"]
    assert one.history.drop(columns="seconds").equals(two.history.drop(columns="seconds"))
    changed = nnrun.train(TABLE, data=frame.assign(number=frame["number"] + 1))
    assert changed.record["data"][0]["sha256"] != one.record["data"][0]["sha256"]
    assert len(list((tmp_path / "runs" / ".data").iterdir())) == 2


def test_from_the_command_line_also_elsewhere(frame: pd.DataFrame, tmp_path: Path) -> None:
    run = nnrun.train(TABLE, data=frame)
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    again = nnrun_command("reproduce", run.id, "--runs-dir", "moved", "-q", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "history  identical" in again.stdout
    shutil.rmtree(tmp_path / "moved" / ".data")
    lost = nnrun_command("evaluate", run.id, "--split", "validation", "--runs-dir", "moved", cwd=tmp_path)
    assert lost.returncode == 4
    assert "A Python program gave these rows, which were kept there. Say where" in lost.stderr


def test_pairs_and_dicts_of_arrays(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    pair = nnrun.train(ARRAYS, data=(x, y))
    named = nnrun.train(ARRAYS, data={"x": x, "y_train": y})
    assert pair.record["data"] == named.record["data"]
    assert pair.record["data"][0]["name"].endswith(".npz")
    series = nnrun.train(ARRAYS, data=(pd.DataFrame(x, columns=list("abc")), pd.Series(y, name="price")))
    assert "target: [price]" in (series.path / "resolved.yaml").read_text()
    assert list(nnrun.predict(series, pd.DataFrame(x, columns=list("abc")))) == ["prediction"]
    columns = {name: x[:, place] for place, name in enumerate("abc")} | {"z": y}
    of_columns = nnrun.train({**ARRAYS, "dataset": {"csv": {"target": "z"}}}, data=columns)
    positions = nnrun.train({**ARRAYS, "dataset": {"csv": {"target": "z"}}}, data=(x, y))
    assert of_columns.history["loss"].tolist() == positions.history["loss"].tolist()
    assert len(nnrun.predict(positions, pd.DataFrame(x, columns=["c0", "c1", "c2"]))) == 40


def test_integers_as_names_of_columns(frame: pd.DataFrame) -> None:
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)))
    run = nnrun.train({**ARRAYS, "dataset": {"csv": {"target": "2"}}}, data=table)
    assert len(nnrun.predict(run, table)) == 40


def test_sweeps_curves_and_final(frame: pd.DataFrame) -> None:
    sweep = nnrun.sweep(TABLE, data=frame, over={"layers[0].dense.units": [2, 4]})
    assert sweep.trials["status"].tolist() == ["completed", "completed"]
    again = nnrun.sweep(TABLE, data=frame, over={"layers[0].dense.units": [2, 4]})
    assert again.id == sweep.id
    test = {"csv": {"target": "kind", "test": {"fraction": 0.2}}}
    final = nnrun.final({**TABLE, "dataset": test, "validation": "none"}, data=frame)
    assert set(final.test) == {"loss", "accuracy"}
    with pytest.raises(UsageError, match="data is for a spec; a run has its own rows"):
        nnrun.final(final, data=frame)


def test_numbers_of_numpy_wherever_there_are_numbers(frame: pd.DataFrame) -> None:
    one, two = np.int64(1), np.int64(2)
    run = nnrun.kfold(TABLE, data=frame, k=two, overrides={"epochs": one})
    assert run.weights(fold=one)["0.weight"].shape[0] == 8
    assert nnrun.train(TABLE, data=frame, seeds=two, overrides={"validation": "none"}).record["seeds"] == [
        0,
        1,
    ]
    assert nnrun.importance(run, repeats=two, seed=one).repeats == 2
    test = {"csv": {"target": "kind", "test": {"fraction": np.float32(0.25)}}}
    final = nnrun.final({**TABLE, "dataset": test, "validation": "none"}, data=frame, epochs=two)
    assert len(final.history) == 2
    assert repr(final).startswith(f"Run({str(final.path)!r}, completed: test loss ")
    curve = nnrun.curve(TABLE, data=frame, fractions=np.array([0.5, 1.0]))
    assert len(curve.points) == 2
    with pytest.raises(UsageError, match=r"seeds is np\.True_; it must be a whole number from 1"):
        nnrun.train(TABLE, data=frame, seeds=np.True_)  # type: ignore[arg-type]


def test_what_cannot_be_learned_from(frame: pd.DataFrame, tmp_path: Path) -> None:
    x, y = np.zeros((4, 2)), np.zeros(4)
    npz = {**ARRAYS, "dataset": "npz"}
    own_tests = {**TABLE, "dataset": {"csv": {"target": "kind", "test": {"path": "t.csv"}}}}
    cases: list[tuple[dict[str, Any], Any, str]] = [
        (TABLE, 3, "data is a int; it must be a data frame, a pair (X, y), or a dict of arrays."),
        (
            {**ARRAYS, "dataset": "imdb"},
            frame,
            "data: the spec learns from 'imdb', so it takes no other rows.",
        ),
        (ARRAYS, frame, "data: the spec does not say which column is the target. Write `dataset: {jsonl:"),
        (ARRAYS, (x, y[:3]), "data: X has 4 rows and y 3; each row needs its target."),
        (ARRAYS, (frame, frame["kind"]), "data: X has a column 'kind', as the target is called; rename it,"),
        (TABLE, (x, np.zeros((4, 2))), "data: y has 2 columns, and the spec's target names 1."),
        (npz, frame, "data is a table, and the spec's dataset is npz, which takes arrays:"),
        (own_tests, frame, "data: the spec's test rows are in a file of their own;"),
    ]
    for spec, data, sentence in cases:
        with pytest.raises(UsageError) as caught:
            nnrun.train(spec, data=data)
        assert str(caught.value).startswith(sentence)
    assert not (tmp_path / "runs").exists()


def test_messages_about_a_frame_name_no_file_of_it(frame: pd.DataFrame) -> None:
    frame = frame.astype({"code": str})
    has = "It has " + ", ".join(map(repr, map(str, frame.columns[:-1]))) + f" and '{frame.columns[-1]}'."
    without = frame.assign(kind=frame["kind"].where(frame.index != 3))

    def of(**roles: Any) -> dict[str, Any]:
        return {**TABLE, "dataset": {"csv": {"target": "kind", **roles}}}

    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: nnrun.train(of(target="q"), data=frame), f"has no column 'q', which `target` names. {has}"),
        (lambda: nnrun.train(of(weight="q"), data=frame), f"has no column 'q', which `weight` names. {has}"),
        (lambda: nnrun.check_data(frame, target="q"), f"has no column 'q'. {has}"),
        (lambda: nnrun.tune(frame, target="q"), f"has no column 'q'. {has}"),
        (lambda: nnrun.train(of(), data=without), ", row 3, column 'kind': the target is missing."),
    ]
    for call, said in cases:
        with pytest.raises((DataError, UsageError)) as caught:
            call()
        text = str(caught.value)
        assert text.startswith(f"the data frame{said}" if said[0] == "," else f"the data frame {said}")
        assert ".data" not in text


def test_sparse_columns_are_made_dense(frame: pd.DataFrame) -> None:
    counts = np.arange(60) % 4 % 3
    dense, sparse = frame.assign(count=counts), frame.assign(count=pd.arrays.SparseArray(counts))
    spec = {**TABLE, "epochs": 1}
    runs = [nnrun.train(spec, data=data) for data in (dense, sparse)]
    first, second = (run.history.drop(columns="seconds") for run in runs)
    assert first.equals(second)
    assert nnrun.predict(runs[0], sparse).equals(nnrun.predict(runs[0], dense))


def test_a_sparse_matrix_is_refused_with_what_it_would_take(frame: pd.DataFrame) -> None:
    import scipy.sparse

    x = scipy.sparse.csr_array(np.eye(60))
    message = (
        "A sparse csr_array of shape (60, 60) was given, but dense data are required. Use '.toarray()' to "
        "make it a dense array, which takes 0.0288 MB."
    )
    with pytest.raises(UsageError) as caught:
        nnrun.train(ARRAYS, data=(x, frame["number"]))
    assert str(caught.value) == message
    run = nnrun.train({**ARRAYS, "epochs": 1}, data=(x.toarray(), np.arange(60.0)))
    with pytest.raises(UsageError) as caught:
        nnrun.predict(run, x)
    assert str(caught.value) == message


def test_masked_values_are_refused_before_their_mask_is_lost(frame: pd.DataFrame) -> None:
    y = np.arange(60.0)
    x: Any = np.ma.MaskedArray(np.eye(60), np.eye(60) > 0)
    message = (
        "A masked array with 60 masked values was given, and nnrun knows no masks. Make what is masked "
        "missing: ARRAY.astype(float).filled(numpy.nan)."
    )
    run = nnrun.train({**ARRAYS, "epochs": 1}, data=(np.ma.MaskedArray(x.data), y))  # none is masked
    for data in ((x, y), {"x": x, "y": y}, (list(x), y)):
        with pytest.raises(UsageError, match=r"A masked array with \d+ masked value"):
            nnrun.train(ARRAYS, data=data)
    with pytest.raises(UsageError) as caught:
        nnrun.predict(run, x)
    assert str(caught.value) == message
    with pytest.raises(UsageError, match="with 1 masked value"):
        nnrun.train(ARRAYS, data=(x.data, np.ma.masked_equal(y, 3)))
    np.testing.assert_array_equal(np.isnan(x.astype(float).filled(np.nan)), x.mask)


@pytest.mark.parametrize("dtype", [complex, object])
def test_a_complex_column_is_no_category(frame: pd.DataFrame, dtype: Any) -> None:
    run = nnrun.train({**TABLE, "epochs": 1}, data=frame)
    for column in ("number", "colour"):
        odd = frame.assign(**{column: (np.arange(60) + 1j * np.arange(60)).astype(dtype)})
        with pytest.raises(UsageError, match=f"Complex data not supported: column '{column}'"):
            nnrun.train(TABLE, data=odd)
        with pytest.raises(UsageError, match=f"Complex data not supported: column '{column}'"):
            nnrun.predict(run, odd)
    with pytest.raises(DataError, match="y_train has the type complex128"):
        nnrun.train(ARRAYS, data=(np.eye(60), np.arange(60) + 1j))


def test_a_complex_column_by_place_loses_no_imaginary_part(frame: pd.DataFrame) -> None:
    run = nnrun.train({**ARRAYS, "epochs": 1}, data=(np.eye(60)[:, :2], np.arange(60.0)))
    with pytest.raises(UsageError, match="Complex data not supported: column '0'"):
        nnrun.predict(run, pd.DataFrame(np.eye(60)[:, :2] + 1j))


@pytest.mark.parametrize("inputs", ["rows.csv", Path("rows.csv")])
def test_a_path_is_no_rows(frame: pd.DataFrame, inputs: Any) -> None:
    run = nnrun.train({**ARRAYS, "epochs": 1}, data=(np.eye(60)[:, :2], np.arange(60.0)))
    with pytest.raises(UsageError, match=r"they must be rows: .* give pandas.read_csv\(FILE\)"):
        nnrun.predict(run, inputs)


def test_a_frame_is_checked_as_its_file_is(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = pd.concat([frame, frame.iloc[[4]]], ignore_index=True).astype({"code": str})
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True, date_format="iso")
    in_file = nnrun.check_data("rows.jsonl", target="kind").findings
    for found in (
        nnrun.check_data(frame, target="kind"),
        nnrun.check_data((frame.drop(columns="kind"), frame["kind"])),
    ):
        assert [each.kind for each in found.findings] == [each.kind for each in in_file]
        (twice,) = (each for each in found.findings if each.kind == "identical_rows_in_training")
        assert [row["file_row"] for row in twice.evidence["pairs"][0]] == [60, 4]
    by_spec = nnrun.check_data(TABLE, data=frame).findings
    assert "identical_rows_in_training" in {each.kind for each in by_spec}


def test_what_is_checked_without_a_spec_must_tell_its_types(frame: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="'code' of the frame are categories that are numbers, which its"):
        nnrun.check_data(frame, target="kind")
    with pytest.raises(UsageError, match="data are the rows of a spec; a run has its own"):
        nnrun.check_data(nnrun.train({**TABLE, "epochs": 1}, data=frame), data=frame)
    with pytest.raises(UsageError, match="data is a int; it must be a data frame"):
        nnrun.check_data(3)  # type: ignore[arg-type]


def test_a_frame_is_tuned(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def stop(request: Any, *others: Any) -> None:
        taken.append(request)
        raise UsageError("stopped before it trains")

    monkeypatch.setattr("nnrun.experiment.tuning.tune.tune", stop)
    frame = frame.drop(columns="code")
    inputs, kind = frame.drop(columns="kind"), frame["kind"]
    for data, target in (((inputs, kind), ()), (frame, "kind")):
        with pytest.raises(UsageError, match="stopped before it trains"):
            nnrun.tune(data, target=target)
    assert [request.wanted.targets for request in taken] == [("kind",), ("kind",)]
    assert {request.spec for request in taken} == {Path("data.yaml")}
    for request in taken:
        assert request.file.parent == Path("runs").absolute() / ".data"
        assert len(pd.read_json(request.file, lines=True)) == 60
