"""A run asked about new rows."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from nnrun.data import load_dataset
from nnrun.data.new_rows.row_source import Kind, RowSource, source_of
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.predicting.predict import Predictor, load_predictor, predict_source, predict_values
from nnrun.experiment.predicting.prediction_table import PredictionTable
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.reading.load import load_spec
from nnrun.training.device import resolve_device
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    numbers,
    yes_or_no,
)

CPU = resolve_device("cpu")


class Told(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def settings(folder: Path, selection: Selection | None = None, data_dir: Path | None = None) -> Settings:
    return Settings("train", folder / "runs", data_dir, "cpu", selection=selection or Selection())


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return run_experiment(load_small(folder, spec, **changes), settings(folder))


def ask(predictor: Predictor, content: str, kind: Kind = "csv", **parameters: Any) -> list[list[Any]]:
    source = RowSource("rows", kind, stream=io.BytesIO(content.encode()))
    found = predict_source(predictor, source, **parameters)
    table = PredictionTable(predictor.output_decoders)
    return [row for block in found for row in table.rows(block)]


def as_csv(rows: Any) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in np.asarray(rows).tolist())


def test_predictions_of_the_test_rows_score_what_evaluate_says(tmp_path: Path) -> None:
    run = train(tmp_path)
    test = {k: v for k, v in numbers().items() if k.endswith("test")}
    predicted = [row[1] for row in ask(load_predictor(run), as_csv(test["x_test"]))]
    assert np.mean(np.abs(np.array(predicted) - test["y_test"])) == pytest.approx(
        evaluate_run(run).scores["mae"], rel=1e-6
    )


def test_accuracy_of_the_test_rows_is_what_evaluate_says(tmp_path: Path) -> None:
    run = train(tmp_path, BINARY, epochs=10)
    arrays = yes_or_no()
    found = ask(load_predictor(run), as_csv(arrays["x_test"]))
    right = np.mean([row[1] == y for row, y in zip(found, arrays["y_test"], strict=True)])
    assert right == pytest.approx(evaluate_run(run).scores["accuracy"])
    assert all(row[2] >= 0.5 for row in found)


def test_the_book_s_reviews_and_newswires_score_what_evaluate_says(
    specs_dir: Path, tmp_path: Path, real_file: Callable[[str], Path]
) -> None:
    data_dir = real_file("imdb.npz").parent
    for name, declared in (
        ("imdb", schema.Imdb(num_words=10_000)),
        ("reuters", schema.Reuters(num_words=10_000)),
    ):
        loaded = load_spec(specs_dir / f"{name}.yaml", {"epochs": 2})
        run = run_experiment(loaded, settings(tmp_path, data_dir=data_dir))
        dataset = load_dataset(declared, data_dir=data_dir)
        assert dataset.test is not None
        rows = [dataset.test.inputs.row(i).tolist() for i in range(len(dataset.test))]  # type: ignore[union-attr]
        found = ask(load_predictor(run), "".join(json.dumps(row) + "\n" for row in rows), "jsonl")
        assert dataset.class_names is not None
        right = [row[1] == dataset.class_names[y] for row, y in zip(found, dataset.test.targets, strict=True)]
        scores = evaluate_run(run, Access(data_dir=data_dir)).scores
        assert np.mean(right) == pytest.approx(scores["accuracy"], abs=1e-12)


def test_a_text_is_read_by_a_network_that_saw_words(
    specs_dir: Path, tmp_path: Path, real_file: Callable[[str], Path]
) -> None:
    data_dir = real_file("imdb_word_index.json").parent
    loaded = load_spec(specs_dir / "imdb.yaml", {"epochs": 4})
    run = run_experiment(loaded, settings(tmp_path, data_dir=data_dir))
    good, bad = "a wonderful film with superb acting\n", "a boring, awful waste of time\n"
    found = ask(load_predictor(run), good + bad, "txt")
    assert [row[1] for row in found] == ["positive", "negative"]
    assert all(row[2] > 0.5 for row in found)


def test_the_data_are_not_needed(tmp_path: Path) -> None:
    weights = tmp_path / "start.safetensors"
    first = train(tmp_path)
    weights.write_bytes((first.path / "weights.safetensors").read_bytes())
    run = train(tmp_path, init_weights=str(weights))
    weights.unlink()
    (tmp_path / "small.npz").unlink()
    assert len(ask(load_predictor(run), "1,2,3\n")) == 1


def test_standardized_targets_come_back_in_their_own_units(tmp_path: Path) -> None:
    run = train(tmp_path, preprocessing={"inputs": "standardize", "targets": "standardize"}, epochs=30)
    arrays = numbers()
    predicted = np.array([row[1] for row in ask(load_predictor(run), as_csv(arrays["x_test"]))])
    assert np.corrcoef(predicted, arrays["y_test"])[0, 1] > 0.8
    assert abs(predicted.mean() - arrays["y_test"].mean()) < 1


def test_several_networks_are_averaged_and_one_alone_may_be_asked(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    told = Told()
    rows = as_csv(numbers()["x_test"])
    mean = np.array([row[1] for row in ask(load_predictor(run, Access(listener=told)), rows)])
    assert told.messages == [
        "weights: epoch 3, the last and the best by val_loss",
        "the mean of the outputs of 3 folds (--member fold-N for a single one)",
    ]
    each = [[row[1] for row in ask(load_predictor(run, Access(member=f"fold-{i}")), rows)] for i in range(3)]
    assert np.ptp(each, axis=0).max() > 1e-3
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-6)


def test_seeds_too(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path, Selection(seeds=2)))
    told = Told()
    assert len(ask(load_predictor(run, Access(listener=told)), "1,2,3\n")) == 1
    assert told.messages == [
        "weights: epoch 3, the last and the best by val_loss",
        "the mean of the outputs of 2 seeds (--member seed-N for a single one)",
    ]
    assert len(load_predictor(run, Access(member="seed-1")).networks) == 1


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    for name in ("fold-3", "seed-0", "2", "../x"):
        with pytest.raises(UsageError, match="has fold-0, fold-1 and fold-2"):
            load_predictor(run, Access(member=name))
    with pytest.raises(UsageError, match="has one network, which has no name"):
        load_predictor(train(tmp_path), Access(member="fold-0"))


def test_folds_of_different_vocabularies_are_averaged_too(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 1, "activation": "sigmoid"}}]
    loaded = load_small(
        tmp_path,
        BINARY,
        arrays=growing_tokens(),
        preprocessing={"inputs": "multi_hot"},
        layers=layers,
        validation=KFOLD,
    )
    run = run_experiment(loaded, settings(tmp_path))
    predictor = load_predictor(run)
    assert len({network.fitted.input.width for network in predictor.networks}) > 1
    assert predictor.decoder.kind_of_lines == "jsonl"
    assert len(ask(predictor, "[1, 5, 33, 5000]\n", "jsonl")) == 1
    with pytest.raises(DataError, match="lists of tokens whose words nnrun does not know"):
        ask(predictor, "a film\n", "txt")


def test_a_bad_row_ends_it_and_is_named(tmp_path: Path) -> None:
    predictor = load_predictor(train(tmp_path))
    with pytest.raises(DataError) as caught:
        ask(predictor, "1,2,3\n1,x,3\n")
    assert str(caught.value) == (
        "rows: row 1 (line 2) has 'x' in column 1 (from 0), which is not a number. "
        "--skip-bad skips such rows."
    )


def test_bad_rows_are_left_out_where_that_is_asked_for_and_the_others_keep_number_and_order(
    tmp_path: Path,
) -> None:
    predictor = load_predictor(train(tmp_path))
    told = Told()
    content = "1,2,3\n1,x,3\n4,5,6\n1,2\n1e39,2,3\n7,8,9\n"
    found = ask(predictor, content, skip_bad=True, listener=told)
    assert [row[0] for row in found] == [0, 2, 5]
    assert [re.split(" has | in column ", text)[0] for text in told.messages] == [
        "rows: row 1 (line 2)",
        "rows: row 3 (line 4)",
        "rows: row 4 (line 5)",
    ]
    alone = ask(predictor, "7,8,9\n")
    assert found[2][1] == pytest.approx(alone[0][1], rel=1e-6)


def test_a_row_too_far_outside_is_a_bad_row(tmp_path: Path) -> None:
    run = train(tmp_path, preprocessing={"inputs": "none"})
    weights = {name: value * 1e30 for name, value in run.read_weights().items()}
    run.write_weights(weights)
    with pytest.raises(DataError, match=r"row 0 .* gives outputs that are not finite numbers"):
        ask(load_predictor(run), "1e30,1e30,1e30\n")


def test_blocks_do_not_change_what_is_said(tmp_path: Path) -> None:
    run = train(tmp_path)
    rows = np.random.RandomState(0).normal(5, 2, (9000, 3))
    found = ask(load_predictor(run), as_csv(rows))
    assert [row[0] for row in found] == list(range(9000))
    fitted = load_predictor(run).networks[0].fitted
    whole = network_outputs(load_small(tmp_path).spec, fitted, run.read_weights(), {INPUT: rows}, CPU)
    np.testing.assert_allclose([row[1] for row in found], whole[:, 0], rtol=1e-5)


def test_rows_come_out_before_the_last_went_in(tmp_path: Path) -> None:
    predictor = load_predictor(train(tmp_path))
    asked = 0

    class Endless(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            nonlocal asked
            asked += 1
            return b"1,2,3\n" * 100

    found = predict_source(predictor, RowSource("rows", "csv", stream=Endless()))
    assert len(next(found)[OUTPUT]) == 100
    assert asked == 1
    assert next(found)[OUTPUT].rows[0] == 100


def test_values_in_memory_become_a_frame(tmp_path: Path) -> None:
    run = train(tmp_path, BINARY)
    frame = predict_values(load_predictor(run), yes_or_no()["x_test"])
    assert list(frame.columns) == ["prediction", "probability", "probability_0", "probability_1"]
    assert list(frame.index) == list(range(12))
    np.testing.assert_allclose(frame["probability_0"] + frame["probability_1"], 1, rtol=1e-6)
    with pytest.raises(DataError, match=r"^The inputs' row 1 has nan in column 2 \(from 0\); every value"):
        predict_values(load_predictor(run), np.array([[1, 2, 3], [1, 2, np.nan]]))


@pytest.mark.parametrize("mark", [";", "^"])
def test_the_file_that_was_trained_on_may_be_separated_otherwise(tmp_path: Path, mark: str) -> None:
    rows = [(i / 10, i % 3, i % 2) for i in range(20)]
    lines = [mark.join(map(str, row)) for row in [("a", "b", "y"), *rows]]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    said = f", delimiter: '{mark}'" if mark == "^" else ""
    (tmp_path / "spec.yaml").write_text(
        f"dataset: {{csv: {{path: rows.csv, target: y{said}}}}}\nvalidation: none\nepochs: 1\n"
        "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\n"
    )
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    predictor = load_predictor(run._directory)
    blocks = list(predict_source(predictor, source_of(tmp_path / "rows.csv")))
    assert sum(len(block[OUTPUT].rows) for block in blocks) == 20
