"""Embeddings that start from a file of word vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nnrun.errors import DataError
from nnrun.experiment.predicting.predict import load_predictor, predict_values
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import without_seconds

WORDS = ["good", "bad", "film", "plot", "never", "always", "öl"]
VECTORS = {"good": [1.0, 0.5, -1.0], "bad": [-1.0, 0.25, 1.0], "film": [0.0, 0.0, 0.125], "unused": [9, 9, 9]}
SPEC = """
dataset: {csv: {path: t.csv, target: y, types: {text: text}}}
preprocessing: {inputs: [tokens: 20, pad: 6]}
layers:
  - embedding: {output_dim: 3MORE}
  - global_average_pooling
  - dense: {units: 1, activation: sigmoid}
loss: binary_crossentropy
metrics: [accuracy]
optimizer: {adam: 0.01}
epochs: 4
batch_size: 16
validation: {VALIDATION}
"""
FROM_FILE = ", weights: v.txt"


def folder_with(folder: Path, more: str = FROM_FILE, validation: str = "holdout: {first: 20}") -> Path:
    """Texts, vectors and the spec, which names the latter by a path of its own folder; the spec."""
    rng = np.random.RandomState(0)
    rows = []
    for row in range(80):
        words = [*rng.choice(WORDS[2:], 4).tolist(), ["bad", "good"][row % 2]]
        rows.append(f"{' '.join(words)},{row % 2}")
    (folder / "t.csv").write_text("\n".join(["text,y", *rows, ""]), encoding="utf-8")
    lines = [" ".join([word, *map(str, numbers)]) for word, numbers in VECTORS.items()]
    (folder / "v.txt").write_text("\n".join([*lines, ""]))
    (folder / "s.yaml").write_text(SPEC.replace("MORE", more).replace("VALIDATION", validation))
    return folder / "s.yaml"


class Messages(Listener):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


def train(path: Path, listener: Listener | None = None) -> RunDirectory:
    settings = Settings("train", path.parent / "runs", None, "cpu", keep_every_epoch=True)
    return run_experiment(load_spec(path), settings, listener or Messages())


def table_of(run: RunDirectory, folder: str = "") -> dict[str, np.ndarray]:
    """The vector of each word that the network knows."""
    weights = load_file(run.path / folder / "weights.safetensors")["0.weight"]
    state = json.loads((run.path / folder / "preprocessing.json").read_text())
    words = state["table"]["columns"][0]["steps"][0]["tokens"]["words"]
    assert len(weights) == len(words) + 2  # padding, and every other word
    return dict(zip(words, weights[2:], strict=True))


def test_a_frozen_table_is_that_of_the_file_where_it_has_one(tmp_path: Path) -> None:
    listener = Messages()
    run = train(folder_with(tmp_path, FROM_FILE + ", trainable: false"), listener)
    table = table_of(run)
    assert (
        "0.weight: 3 of 7 words (42.9%) have a vector in v.txt; the others start as the initializer says"
        in (listener.told)
    )
    other = tmp_path / "other"
    other.mkdir()
    drawn = table_of(train(folder_with(other, ", trainable: false")))
    for word, vector in table.items():
        assert vector.tolist() == VECTORS.get(word, drawn[word].tolist())
    record = run.read_record()
    (told,) = record.vectors
    assert (told.name, told.weight, told.words, told.found) == ("v.txt", "0.weight", 7, 3)
    assert record.data_hashes.keys() == {"t.csv", "v.txt"}
    assert record.parameters == 4  # of the dense layer alone


def test_a_trainable_table_starts_there(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    path.write_text(path.read_text().replace("adam: 0.01", "sgd: 1.0e-20"))
    table = table_of(train(path))
    assert all(np.allclose(table[word], VECTORS[word], atol=1e-18) for word in ("good", "bad", "film"))
    learned = table_of(train(folder_with(tmp_path)))
    assert all((learned[word] != table[word]).all() for word in ("good", "bad", "film"))


def test_each_fold_has_its_own_words(tmp_path: Path) -> None:
    run = train(folder_with(tmp_path, FROM_FILE + ", trainable: false", "kfold: {k: 4}"))
    for fold in range(4):
        table = table_of(run, f"fold-{fold}")
        assert all(table[word].tolist() == VECTORS[word] for word in table if word in VECTORS)


class StopsAfterTwo(Messages):
    def epoch(self, epoch: object) -> None:
        if getattr(epoch, "epoch", 0) == 2:
            raise StopTraining("enough")


@pytest.mark.parametrize("more", [FROM_FILE, FROM_FILE + ", trainable: false"])
def test_a_run_goes_on_and_predicts_without_the_file(more: str, tmp_path: Path) -> None:
    path = folder_with(tmp_path, more)
    whole = train(path)
    with pytest.raises(StopTraining):
        train(path, StopsAfterTwo())
    (stopped,) = [run for run in (tmp_path / "runs").iterdir() if run.name != whole.path.name]
    (tmp_path / "v.txt").unlink()
    resumed = RunDirectory(stopped)
    assert resume_run(resumed)
    assert without_seconds(stopped) == without_seconds(whole.path)
    assert (stopped / "weights.safetensors").read_bytes() == (whole.path / "weights.safetensors").read_bytes()
    assert resumed.read_record().vectors == whole.read_record().vectors
    found = predict_values(load_predictor(resumed), ["good film", "bad film"])
    assert len(found) == 2


def test_a_final_run_needs_the_same_file(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    run = train(path)
    settings = Settings("final", tmp_path / "runs", None, "cpu")
    (tmp_path / "v.txt").write_text("good 1 2 3\n")
    with pytest.raises(DataError, match=r"v\.txt is not the file that .* started from: its SHA-256"):
        final_of_run(run, settings)
    (tmp_path / "v.txt").unlink()
    with pytest.raises(DataError, match=r"v\.txt does not exist"):
        final_of_run(run, settings)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ("good 1 2\n", "embedding: the vectors of v.txt have 2 numbers, and output_dim is 3."),
        ("good\n", "line 1 has no numbers"),
        (None, "v.txt does not exist"),
    ],
)
def test_check_reads_the_first_line(vectors: str | None, said: str, tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    if vectors is None:
        (tmp_path / "v.txt").unlink()
    else:
        (tmp_path / "v.txt").write_text(vectors)
    (problem,) = problems_of_data(load_spec(path))
    assert said in str(problem)
    with pytest.raises(DataError, match=re.escape(said)):
        train(path)


def test_no_word_of_the_file_is_there(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    (tmp_path / "v.txt").write_text("GOOD 1 2 3\n")
    with pytest.raises(DataError, match="has a vector for none of the 7 words of the training rows"):
        train(path)


def test_indices_without_words(tmp_path: Path) -> None:
    lists = np.arange(180).reshape(60, 3) % 7 + 1
    np.savez(tmp_path / "t.npz", x_train=lists, y_train=np.arange(60) % 2)
    path = folder_with(tmp_path)
    text = path.read_text().replace("{csv: {path: t.csv, target: y, types: {text: text}}}", "{npz: t.npz}")
    path.write_text(text.replace("[tokens: 20, pad: 6]", "{pad: 6}"))
    with pytest.raises(DataError, match="the words behind the indices of npz are not known"):
        train(path)
