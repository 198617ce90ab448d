"""What a run keeps so that prediction needs no data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.data.labels import Labels
from nnrun.errors import DataError
from nnrun.experiment.finished.saved_labels import load_labels, load_vocabulary
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec import schema
from tests.support.small_experiments import load_small, spec_text

TOKENS: dict[str, Any] = {
    "dataset": {"reuters": {"num_words": 6}},
    "preprocessing": {"inputs": "multi_hot"},
    "layers": [{"dense": {"units": 46, "activation": "softmax"}}],
    "loss": "categorical_crossentropy",
    "metrics": [],
    "epochs": 1,
}


class Told(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.details: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)


def train(folder: Path, data_dir: Path | None = None, listener: Listener = SILENT) -> RunDirectory:
    settings = Settings("train", folder / "runs", data_dir, "cpu")
    return run_experiment(spec_text(TOKENS), settings, listener)


def test_words_are_kept_as_far_as_the_network_sees_them(tmp_path: Path, keras_folder: Path) -> None:
    run = train(tmp_path, keras_folder)
    labels = load_labels(run)
    assert labels.task == "multiclass"
    assert labels.class_names is not None
    assert labels.class_names[3] == "earn"
    (keras_folder / "reuters_word_index.json").unlink()  # the run has what it needs
    made = load_vocabulary(run, schema.Reuters(num_words=6), 6, keras_folder)
    assert made is not None
    assert (made.words, made.start, made.unknown) == ({"the": 4, "of": 5}, 1, 2)


def test_without_words_training_goes_on_and_prediction_says_where_to_put_them(
    tmp_path: Path, keras_folder: Path
) -> None:
    index = keras_folder / "reuters_word_index.json"
    content = index.read_bytes()
    index.unlink()
    told = Told()
    run = train(tmp_path, keras_folder, told)
    assert run.read_record().status == "completed"
    assert run.read_vocabulary() is None
    assert not [text for text in told.messages if "word" in text]
    assert any("reuters_word_index.json is not on this machine" in text for text in told.details)
    with pytest.raises(DataError) as caught:
        load_vocabulary(run, schema.Reuters(num_words=6), 6, keras_folder)
    for part in ("reuters_word_index.json", "https://", str(keras_folder), "--data-dir"):
        assert part in str(caught.value)
    index.write_bytes(content)
    found = load_vocabulary(run, schema.Reuters(num_words=6), 6, keras_folder)
    assert found is not None
    assert found.words == {"the": 4, "of": 5}


def test_a_damaged_index_does_not_stop_training(tmp_path: Path, keras_folder: Path) -> None:
    (keras_folder / "reuters_word_index.json").write_text("<html>")
    told = Told()
    run = train(tmp_path, keras_folder, told)
    assert run.read_record().status == "completed"
    assert any("is not JSON" in text for text in told.details)


def test_a_data_set_without_words_keeps_none(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs", None, "cpu"))
    assert run.read_vocabulary() is None
    assert load_vocabulary(run, schema.Npz(path="small.npz"), 3, None) is None
    assert load_labels(run) == Labels()


def test_a_run_of_an_older_nnrun_has_no_names(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs", None, "cpu"))
    (run.path / "labels.json").unlink()
    assert load_labels(run) == Labels()


def test_names_are_there_when_training_begins(tmp_path: Path, keras_folder: Path) -> None:
    seen: list[dict[str, Any]] = []

    class AtStart(Listener):
        def started(self, start: Any) -> None:
            seen.append(json.loads((start.run.path / "vocabulary.json").read_text()))

    train(tmp_path, keras_folder, AtStart())
    assert seen[0]["words"] == {"the": 4, "of": 5}
