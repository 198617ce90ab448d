"""New rows for networks of named inputs and outputs: files, streams and values in memory."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.data.new_rows.row_source import Kind, RowSource, source_of
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.predict import load_predictor, predict_source, unknown_counts
from nnrun.experiment.predicting.prediction_table import PredictionTable
from nnrun.experiment.running.listener import Listener
from nnrun.records import RunDirectory
from tests.support.port_experiments import (
    ARRAYS,
    COLUMNS,
    arrays_of_ports,
    table_of_ports,
    write_arrays,
    write_columns,
)

KINDS = ["kind", "kind_probability", "kind_cat", "kind_dog", "kind_emu"]
GRADES = ["grade", "grade_probability", "grade_low", "grade_mid", "grade_top"]


class Told(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture(scope="module")
def arrays_run(tmp_path_factory: pytest.TempPathFactory) -> nnrun.Run:
    folder = tmp_path_factory.mktemp("arrays")
    return nnrun.train(write_arrays(folder), runs_dir=folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def columns_run(tmp_path_factory: pytest.TempPathFactory) -> nnrun.Run:
    folder = tmp_path_factory.mktemp("columns")
    return nnrun.train(write_columns(folder), runs_dir=folder / "runs", device="cpu")


def ask(
    run: nnrun.Run, source: RowSource | Path, told: Told | None = None, *, skip_bad: bool = False
) -> pd.DataFrame:
    listener = told or Told()
    predictor = load_predictor(RunDirectory(run.path), Access(device="cpu", listener=listener))
    rows = source if isinstance(source, RowSource) else source_of(source)
    found = predict_source(predictor, rows, skip_bad=skip_bad, listener=listener)
    return PredictionTable(predictor.output_decoders, probabilities=True).frame(found)


def stream(text: str, kind: Kind) -> RowSource:
    return RowSource("rows", kind, stream=io.BytesIO(text.encode()))


def without_targets(table: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in table if not name.endswith("_target") and name != "file_row"]
    return table[names].reset_index(drop=True)


def rows_of_test() -> pd.DataFrame:
    rows = table_of_ports()
    return rows[rows["part"] == "t"].reset_index(drop=True)


# --- tables ---


def as_csv(folder: Path, rows: pd.DataFrame) -> Path:
    rows.to_csv(folder / "new.csv", index=False)
    return folder / "new.csv"


def as_jsonl(folder: Path, rows: pd.DataFrame) -> Path:
    rows.to_json(folder / "new.jsonl", orient="records", lines=True, double_precision=15)
    return folder / "new.jsonl"


def as_parquet(folder: Path, rows: pd.DataFrame) -> Path:
    pytest.importorskip("pyarrow", reason="Parquet comes with the extra `parquet`")
    rows.to_parquet(folder / "new.parquet")
    return folder / "new.parquet"


@pytest.mark.parametrize("written", [as_csv, as_jsonl, as_parquet])
def test_rows_of_a_file_are_predicted_as_those_of_the_data_set(
    written: Callable[[Path, pd.DataFrame], Path], columns_run: nnrun.Run, tmp_path: Path
) -> None:
    expected = nnrun.predict(columns_run, split="test")
    told = Told()
    found = ask(columns_run, written(tmp_path, rows_of_test()), told)
    assert list(found) == [*GRADES, "size"]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), without_targets(expected), rtol=1e-6)
    assert any("not used: " in text and "height" in text for text in told.messages)
    assert found["size"].between(900, 1150).all()  # in the target's own units


def test_a_data_frame_and_a_list_of_dicts(columns_run: nnrun.Run, tmp_path: Path) -> None:
    rows = rows_of_test()[["kind", "b", "a"]]
    expected = ask(columns_run, as_csv(tmp_path, rows))
    for inputs in (rows, rows.to_dict("records")):
        pd.testing.assert_frame_equal(nnrun.predict(columns_run, inputs), expected, rtol=1e-6)
    few = nnrun.predict(columns_run, rows, probabilities=False)
    assert list(few) == ["grade", "grade_probability", "size"]


def test_a_missing_column_is_named_with_the_inputs_that_take_it(columns_run: nnrun.Run) -> None:
    with pytest.raises(DataError) as caught:
        ask(columns_run, stream("b,c\n1,2\n", "csv"))
    assert str(caught.value) == (
        "rows lacks 2 columns that the network takes: a (inputs 'numbers' and 'words'), kind (input "
        "'words'). Its first line has: b, c."
    )
    told = Told()
    ask(columns_run, stream('{"a": 1, "b": 2}\n', "jsonl"), told)
    assert "rows: line 1 lacks kind (input 'words'); a missing key counts as a missing value" in told.messages


def test_bad_rows_name_column_and_input_and_can_be_skipped(columns_run: nnrun.Run) -> None:
    text = "a,b,kind\n1,2,x\n1,two,y\n,1,x\n0.5,0.5,y\n"
    with pytest.raises(DataError) as caught:
        ask(columns_run, stream(text, "csv"))
    assert str(caught.value) == (
        "rows: row 1 (line 3) has 'two' in column 'b' (input 'numbers'), which is not a finite number. "
        "--skip-bad skips such rows."
    )
    told = Told()
    found = ask(columns_run, stream(text, "csv"), told, skip_bad=True)
    assert found.index.tolist() == [0, 3]
    assert [text for text in told.messages if text.endswith("skipped")][1] == (
        "rows: row 2 (line 4) of the input 'numbers' in column 'a' has no value; put `impute` before the "
        "other steps of this column, or set drop_missing; skipped"
    )


def test_values_that_training_never_saw_are_told_with_their_input(columns_run: nnrun.Run) -> None:
    predictor = load_predictor(RunDirectory(columns_run.path))
    counts, told = unknown_counts(predictor), Told()
    source = stream("a,b,kind\n1,2,x\n1,2,new\n", "csv")
    list(predict_source(predictor, source, unknown=counts, listener=told))
    sentence = (
        "column 'kind' (input 'words'): 1 of 2 rows have a value that no training row has, such as 'new'"
    )
    assert told.messages == [f"rows: {sentence}"]
    wanted = {"column": "kind", "what": "value", "count": 1, "rows": 2, "example": "new", "input": "words"}
    assert [found.as_document() for found in counts.found] == [wanted]
    with pytest.warns(UserWarning, match="input 'words'"):
        nnrun.predict(columns_run, pd.DataFrame({"a": [1.0], "b": [2.0], "kind": ["new"]}))


def test_what_is_no_table_is_refused(columns_run: nnrun.Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"holds arrays, but this network takes 3 named columns: a, b, kind"):
        ask(columns_run, tmp_path / "new.npz")
    with pytest.raises(DataError, match=r"is a dict, but this network takes 3 named columns.* data frame"):
        nnrun.predict(columns_run, {"numbers": np.zeros((2, 2)), "words": np.zeros((2, 2))})


def test_a_file_without_a_header(tmp_path: Path) -> None:
    rows = table_of_ports().drop(columns="part")
    rows.to_csv(tmp_path / "bare.csv", index=False, header=False)
    text = COLUMNS.replace("path: rows.csv, test: {column: part, value: t}", "path: bare.csv, header: false")
    for name, place in {"columns: [a, b]": "[c0, c1]", "columns: [kind, a]": "[c2, c0]"}.items():
        text = text.replace(name, f"columns: {place}")
    text = text.replace("grade: {loss", "grade: {target: c3, loss").replace("height", "c4")
    (tmp_path / "bare.yaml").write_text(text)
    run = nnrun.train(tmp_path / "bare.yaml", runs_dir=tmp_path / "runs", device="cpu")
    line = "0.5,0.25,x"
    inputs_only = ask(run, stream(f"{line}\n", "csv"))
    whole = ask(run, stream(f"{line},low,1000\n", "csv"))
    pd.testing.assert_frame_equal(inputs_only, whole)
    with pytest.raises(DataError, match="must have as many, or 3 without the target"):
        ask(run, stream("1,2\n", "csv"))


# --- arrays ---


def test_arrays_are_found_by_the_names_of_the_inputs(arrays_run: nnrun.Run, tmp_path: Path) -> None:
    expected = nnrun.predict(arrays_run, split="test")
    arrays = arrays_of_ports()
    size, where = arrays["size_test"], arrays["where_test"]
    for names in (("size", "where"), ("size_test", "where_test"), ("size_train", "where_train")):
        np.savez(tmp_path / "new.npz", **dict(zip(names, (size, where), strict=True)))  # type: ignore[arg-type]
        told = Told()
        found = ask(arrays_run, tmp_path / "new.npz", told)
        assert list(found) == ["price", *KINDS]
        pd.testing.assert_frame_equal(found.reset_index(drop=True), without_targets(expected), rtol=1e-6)
        assert f"{tmp_path / 'new.npz'}: the rows of the arrays {names[0]} and {names[1]}" in told.messages


def test_arrays_in_memory_by_the_inputs_names(arrays_run: nnrun.Run) -> None:
    expected = without_targets(nnrun.predict(arrays_run, split="test"))
    arrays = arrays_of_ports()
    inputs = {"place": arrays["where_test"], "size": arrays["size_test"]}
    rows = [{"size": s, "place": p} for s, p in zip(inputs["size"], inputs["place"], strict=True)]
    lists = {name: array.tolist() for name, array in inputs.items()}
    frames = {name: pd.DataFrame(array) for name, array in inputs.items()}
    for given in (inputs, lists, frames, rows, {**inputs, "more": 3}):
        found = nnrun.predict(arrays_run, given)
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-6)


def test_objects_of_json_lines(arrays_run: nnrun.Run) -> None:
    arrays = arrays_of_ports()
    pairs = zip(arrays["size_test"].tolist(), arrays["where_test"].tolist(), strict=True)
    lines = [json.dumps({"size": size, "place": place, "note": "?"}) for size, place in pairs]
    told = Told()
    found = ask(arrays_run, stream("\n".join(lines), "jsonl"), told)
    expected = without_targets(nnrun.predict(arrays_run, split="test"))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-6)
    assert "rows: not used: note" in told.messages
    bad = ['{"size": [1, 2, 3]}', '{"size": [1, 2], "place": [1, 2]}', "[1, 2, 3]", *lines[:1]]
    found = ask(arrays_run, stream("\n".join(bad), "jsonl"), told, skip_bad=True)
    assert found.index.tolist() == [3]
    assert [text for text in told.messages if text.endswith("skipped")] == [
        "rows: row 0 (line 1) lacks the input 'place'; skipped",
        "rows: row 1 (line 2) of the input 'size' has 2 numbers; the network takes 3; skipped",
        "rows: row 2 (line 3) is [1, 2, 3], which is not an object with the inputs' names: size, place; "
        "skipped",
    ]


def test_rows_that_are_bad_for_one_input_are_left_out_of_all(arrays_run: nnrun.Run, tmp_path: Path) -> None:
    arrays = arrays_of_ports()
    size, where = arrays["size_test"].copy(), arrays["where_test"].copy()
    size[3, 1], where[5, 0] = np.nan, np.inf
    np.savez(tmp_path / "new.npz", size=size, where=where)
    told = Told()
    found = ask(arrays_run, tmp_path / "new.npz", told, skip_bad=True)
    expected = nnrun.predict(arrays_run, split="test").drop(index=[3, 5])
    pd.testing.assert_frame_equal(found, expected[list(found)], rtol=1e-6)
    assert [text.partition(": row ")[2] for text in told.messages if text.endswith("skipped")] == [
        "3 of the input 'size' has nan in column 1 (from 0); every value must be a finite number; skipped",
        "5 of the input 'place' has inf in column 0 (from 0); every value must be a finite number; skipped",
    ]
    with pytest.raises(DataError, match=r"^The inputs' row 3 of the input 'size' has nan in column 1"):
        nnrun.predict(arrays_run, {"size": size, "place": where})


def test_many_rows_come_in_batches(
    arrays_run: nnrun.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = arrays_of_ports()
    np.savez(tmp_path / "new.npz", size=arrays["size_test"], where=arrays["where_test"])
    whole = ask(arrays_run, tmp_path / "new.npz")
    monkeypatch.setattr("nnrun.data.new_rows.input_batches.MOST_ROWS", 7)
    in_parts = ask(arrays_run, tmp_path / "new.npz")
    pd.testing.assert_frame_equal(in_parts, whole, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"size": np.zeros((2, 3)), "y": np.zeros(2)},
            "has no array where, which the input 'place' takes. It holds: size, y. Needed: size and where, "
            "all of them as they are, or all with _test or all with _train after the name.",
        ),
        (
            {"size_test": np.zeros((2, 3)), "where": np.zeros((2, 2))},
            "has no array where_test, which the input 'place' takes. It holds: size_test, where.",
        ),
        (
            {"size": np.zeros((2, 3)), "where": np.zeros((3, 2))},
            "the array size has 2 rows, and that of the input 'place' 3: all inputs are of the same rows.",
        ),
        (
            {"size": np.zeros((2, 4)), "where": np.zeros((2, 2))},
            "the array size has shape (2, 4); the network takes rows of 3 numbers.",
        ),
        ({"size": np.zeros((0, 3)), "where": np.zeros((0, 2))}, "holds no rows."),
    ],
)
def test_archives_that_lack_something(
    arrays: dict[str, Any], said: str, arrays_run: nnrun.Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(DataError) as caught:
        ask(arrays_run, tmp_path / "new.npz")
    assert said in str(caught.value)


def test_tables_and_texts_are_no_arrays(arrays_run: nnrun.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ask(arrays_run, stream("1,2,3,4,5\n", "csv"))
    assert str(caught.value) == (
        "rows holds columns of a table, and this network takes 2 arrays, of the inputs 'size' and 'place'. "
        "Give a NumPy archive (.npz) with the arrays size and where, or JSON lines of objects with the "
        "inputs' names as keys."
    )
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text")
    with pytest.raises(DataError, match="texts holds texts or files, and this network takes 2 arrays"):
        ask(arrays_run, tmp_path / "texts")
    for inputs, said in (
        (np.zeros((2, 5)), "The inputs are an array, and this network takes 2 arrays"),
        (pd.DataFrame({"size": [1.0]}), "The inputs are a data frame, and this network takes 2 arrays"),
        ({"size": np.zeros((2, 3))}, "The inputs lack 'place'. The network takes size, place; found: size."),
        ({"size": 3.0, "place": [1.0]}, "The input 'size' is 3.0; give its rows: an array or a list."),
    ):
        with pytest.raises(UsageError) as refused:
            nnrun.predict(arrays_run, inputs)
        assert said in str(refused.value)


def test_a_single_named_input_takes_what_an_unnamed_one_does(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    text = ARRAYS.replace("  place: {array: where}\n", "").replace("concatenate: [size, place]", "from: size")
    text = text.replace("size: {", "size: {array: where, ")
    (tmp_path / "one.yaml").write_text(text)
    run = nnrun.train(tmp_path / "one.yaml", runs_dir=tmp_path / "runs", device="cpu")
    expected = nnrun.predict(run, split="test")
    where = arrays_of_ports()["where_test"]
    np.savez(tmp_path / "new.npz", where=where)
    rows = "".join(f"{a!r},{b!r}\n" for a, b in where.tolist())
    for found in (
        ask(run, tmp_path / "new.npz"),
        ask(run, stream(rows, "csv")),
        nnrun.predict(run, where),
        nnrun.predict(run, {"size": where}),
    ):
        pd.testing.assert_frame_equal(found.reset_index(drop=True), without_targets(expected), rtol=1e-6)
    with pytest.raises(UsageError, match="The inputs lack 'size', which the network takes; found: 'where'"):
        nnrun.predict(run, {"where": where})
    np.savez(tmp_path / "new.npz", size=where)
    with pytest.raises(
        DataError, match="has no array where_test, where or where_train to take the rows from"
    ):
        ask(run, tmp_path / "new.npz")


# --- several networks, weights, sequences ---


def test_several_networks_are_averaged_and_one_can_be_named(tmp_path: Path) -> None:
    path = write_columns(tmp_path)
    rows = rows_of_test().drop(columns=["grade", "height", "part"])
    folds = nnrun.kfold(path, k=3, runs_dir=tmp_path / "runs", device="cpu")
    together = nnrun.predict(folds, rows)
    each = [nnrun.predict(folds, rows, member=f"fold-{fold}") for fold in range(3)]
    for column in ("size", "grade_low", "grade_mid", "grade_top"):
        mean = np.mean([own[column] for own in each], axis=0)
        np.testing.assert_allclose(together[column], mean, rtol=1e-5, atol=1e-6)
    expected = without_targets(nnrun.predict(folds, split="test"))
    pd.testing.assert_frame_equal(together.reset_index(drop=True), expected, rtol=1e-5)

    seeds = nnrun.train(path, seeds=2, runs_dir=tmp_path / "runs", device="cpu")
    mean = np.mean([nnrun.predict(seeds, rows, member=f"seed-{seed}")["size"] for seed in range(2)], axis=0)
    np.testing.assert_allclose(nnrun.predict(seeds, rows)["size"], mean, rtol=1e-5)


def test_the_weights_of_the_best_epoch_and_a_final_run(tmp_path: Path) -> None:
    path = write_columns(tmp_path)
    rows = rows_of_test()
    run = nnrun.train(
        path, overrides={"optimizer": {"adam": 0.3}, "epochs": 3}, runs_dir=tmp_path / "runs", device="cpu"
    )
    assert run.best_epoch == 2
    for which in ("best", "last"):
        found = nnrun.predict(run, rows, weights=which)  # type: ignore[arg-type]
        expected = without_targets(nnrun.predict(run, split="test", weights=which))  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-5)
    final = nnrun.final(run, runs_dir=tmp_path / "runs", device="cpu")
    found = nnrun.predict(final, rows)
    expected = without_targets(nnrun.predict(final, split="test"))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-5)


SEQUENCES = """
dataset: {npz: {path: steps.npz}}
inputs:
  signal: {}
  words: {preprocessing: {pad: 5}}
layers:
  steps: [from: signal, lstm: {units: 8, return_sequences: true}]
  read: [from: steps, dense: 4]
  told: [from: steps, dense: {units: 3, activation: softmax}]
  mood: [from: words, embedding: 4, global_average_pooling: {}, dense: {units: 1, activation: sigmoid}]
outputs:
  read: {loss: ctc}
  told: {loss: sparse_categorical_crossentropy}
  mood: {loss: binary_crossentropy}
epochs: 1
validation: none
"""


def test_sequences_steps_and_token_lists(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, rows in (("train", 24), ("test", 6)):
        lists, words = np.empty(rows, object), np.empty(rows, object)
        lists[:] = [rng.integers(1, 4, 2).tolist() for _ in range(rows)]
        words[:] = [rng.integers(1, 9, 1 + row % 4).tolist() for row in range(rows)]
        arrays |= {f"signal_{part}": rng.normal(size=(rows, 6, 2)), f"words_{part}": words}
        arrays |= {f"read_{part}": lists, f"told_{part}": rng.integers(0, 3, (rows, 6))}
        arrays[f"mood_{part}"] = np.arange(rows) % 2
    np.savez(tmp_path / "steps.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "steps.yaml").write_text(SEQUENCES)
    run = nnrun.train(tmp_path / "steps.yaml", runs_dir=tmp_path / "runs", device="cpu")
    expected = without_targets(nnrun.predict(run, split="test"))
    assert list(expected) == ["read", "told", "mood", "mood_probability", "mood_0", "mood_1"]
    np.savez(tmp_path / "new.npz", signal=arrays["signal_test"], words=arrays["words_test"])
    inputs = {"signal": arrays["signal_test"], "words": arrays["words_test"].tolist()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (ask(run, tmp_path / "new.npz"), nnrun.predict(run, inputs)):
            pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-5)
    lines = [
        json.dumps({"signal": s.tolist(), "words": w})
        for s, w in zip(arrays["signal_test"], arrays["words_test"], strict=True)
    ]
    found = ask(run, stream("\n".join(lines), "jsonl"))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, rtol=1e-5)


def test_a_run_without_names_of_its_outputs_classes(arrays_run: nnrun.Run, tmp_path: Path) -> None:
    """As runs of an earlier nnrun have them: only the first output's names were kept."""
    labels = arrays_run.path / "labels.json"
    kept = labels.read_text()
    document = json.loads(kept)
    del document["outputs"]
    try:
        labels.write_text(json.dumps(document))
        told = Told()
        np.savez(tmp_path / "new.npz", size=np.zeros((1, 3)), where=np.zeros((1, 2)))
        found = ask(arrays_run, tmp_path / "new.npz", told)
    finally:
        labels.write_text(kept)
    assert list(found) == ["price", "kind", "kind_probability", "kind_0", "kind_1", "kind_2"]
    said = f"{arrays_run.id} kept no names for the classes of 'kind', as an earlier nnrun did not: they are"
    assert any(text.startswith(said) for text in told.messages)
