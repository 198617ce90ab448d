"""A folder of images: its first spec, trained, predicted on a folder and on a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.data.new_rows.row_source import source_of
from nnrun.errors import DataError
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.init.folder_spec import initial_spec_of_folder
from nnrun.experiment.predicting.predict import load_predictor, predict_source
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.ports import OUTPUT
from nnrun.spec.reading.load import load_spec
from tests.support.image_folders import write_images


def first_spec(folder: Path, *, grey: bool = False) -> str:
    write_images(folder / "pets", {"cats": 12, "dogs": 12}, grey=grey)
    text = initial_spec_of_folder(folder / "pets", folder / "pets.yaml").text
    (folder / "pets.yaml").write_text(text)
    return text


def train(folder: Path) -> RunDirectory:
    loaded = load_spec(folder / "pets.yaml", ["epochs=4", "validation=none", "early_stopping=none"])
    return run_experiment(loaded, Settings("train", folder / "runs", None, "cpu"))


@pytest.mark.parametrize("grey", [False, True])
def test_the_first_spec_of_a_folder(grey: bool, tmp_path: Path) -> None:
    text = first_spec(tmp_path, grey=grey)
    assert "  image_folder:\n    path: pets\n    size: [12, 15]" in text
    assert ("    mode: grayscale" in text) is grey
    assert "inputs: rescale" in text
    assert "reshape" not in text
    assert load_spec(tmp_path / "pets.yaml").warnings == ()


def test_trained_and_asked_about_a_folder_and_a_file(tmp_path: Path) -> None:
    first_spec(tmp_path)
    run = train(tmp_path)
    predictor = load_predictor(run)
    (whole,) = (b[OUTPUT] for b in predict_source(predictor, source_of(tmp_path / "pets" / "cats")))
    (one,) = (b[OUTPUT] for b in predict_source(predictor, source_of(tmp_path / "pets" / "cats" / "3.jpg")))
    assert len(whole) == 12
    assert whole.probabilities is not None
    assert one.probabilities is not None
    files = sorted(path.name for path in (tmp_path / "pets" / "cats").iterdir())
    assert one.probabilities[0] == pytest.approx(whole.probabilities[files.index("3.jpg")], abs=1e-6)
    assert export_run(run, tmp_path / "m.safetensors", "safetensors").inputs["rows"].row_shape == (12, 15, 3)


def test_a_broken_image_is_named_when_predicting(tmp_path: Path) -> None:
    first_spec(tmp_path)
    predictor = load_predictor(train(tmp_path))
    (tmp_path / "pets" / "cats" / "0.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"row 0 \(0\.png\) is no PNG or JPEG image"):
        list(predict_source(predictor, source_of(tmp_path / "pets" / "cats")))
    (rest,) = predict_source(predictor, source_of(tmp_path / "pets" / "cats"), skip_bad=True)
    assert list(rest[OUTPUT].rows) == list(range(1, 12))


def test_files_of_other_kinds_are_counted_and_hidden_ones_are_not(tmp_path: Path) -> None:
    first_spec(tmp_path)
    predictor = load_predictor(train(tmp_path))
    for name in ("x.webp", "notes.txt", "._0.png"):
        (tmp_path / "pets" / "cats" / name).write_bytes(b"none")
    told: list[str] = []

    class Hears(Listener):
        def message(self, text: str) -> None:
            told.append(text)

    (found,) = predict_source(predictor, source_of(tmp_path / "pets" / "cats"), listener=Hears())
    assert len(found[OUTPUT]) == 12
    (line,) = [text for text in told if "images" in text]
    assert line.endswith("(rgb); 2 files of other kinds left out")


def test_training_on_a_broken_image_exits_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets" / "dogs" / "2.png").write_bytes(b"none")
    assert main(["train", "pets.yaml", "-q"]) == 4
    assert "dogs/2.png is no PNG or JPEG image" in " ".join(capsys.readouterr().err.split())


def test_a_table_s_network_takes_no_images(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cats": 1})
    (tmp_path / "flat.yaml").write_text(
        "dataset: {sklearn: iris}\nlayers: [{dense: {units: 3, activation: softmax}}]\n"
        "loss: sparse_categorical_crossentropy\nepochs: 1\n"
    )
    run = run_experiment(load_spec(tmp_path / "flat.yaml"), Settings("train", tmp_path / "runs", None, "cpu"))
    with pytest.raises(DataError, match="this network does not take images"):
        list(predict_source(load_predictor(run), source_of(tmp_path / "pets" / "cats" / "0.png")))
