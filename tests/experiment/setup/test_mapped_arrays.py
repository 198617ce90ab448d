"""Arrays of an npz and images of a folder that lie in files train as they do in memory, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.cli import main
from nnrun.data.files import stored_arrays
from nnrun.data.files.stored_arrays import rows_folder
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedInputs, array_blocks
from nnrun.experiment.setup import mapped_rows
from nnrun.mapped_arrays import is_mapped
from nnrun.paths import cache_dir
from nnrun.spec.reading.load import load_spec
from nnrun.training.backends.native_outputs import NativeOutputs
from tests.support.image_folders import write_images
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    numbers,
    only_run,
    without_seconds,
    write_small,
)

KFOLD: dict[str, Any] = {"kfold": {"k": 3, "shuffle": True}}
HOLDOUT: dict[str, Any] = {"holdout": {"fraction": 0.3, "shuffle": True}}
CONV: list[Any] = [{"conv2d": {"filters": 3, "kernel_size": 3}}, "flatten", {"dense": 3}]
SOFTMAX = {"dense": {"units": 3, "activation": "softmax"}}
IMAGES: dict[str, Any] = {
    "dataset": {"npz": "small.npz"},
    "preprocessing": {"inputs": "rescale", "targets": "one_hot"},
    "layers": ["flatten", {"dense": {"units": 8, "activation": "relu"}}, SOFTMAX],
    "loss": "categorical_crossentropy",
    "metrics": ["accuracy"],
    "epochs": 3,
    "batch_size": 8,
    "validation": HOLDOUT,
}
Histories = Callable[..., tuple[bytes, bytes]]


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> Histories:
    """Of the same spec with data and rows in memory, and with both in files; its messages say so."""
    monkeypatch.setattr(array_blocks, "LARGE_VALUES", 0)
    monkeypatch.setattr(array_blocks, "_BLOCK_VALUES", 50)

    def both(path: Path, *options: str) -> tuple[bytes, bytes]:
        found = []
        for place, least in (("memory", 1 << 28), ("file", 1)):
            with monkeypatch.context() as patch:
                patch.setenv("NNRUN_ROWS", place)
                patch.setattr(stored_arrays, "STORED_BYTES", least)
                patch.setattr(mapped_rows, "_ELEMENTS_AT_ONCE", 100)
                dataset = load_data(load_spec(path).spec)
                raw = [*dataset.train.of_inputs.values(), dataset.train.inputs]
                assert all(isinstance(x, np.ndarray) and is_mapped(x) == (place == "file") for x in raw)
                runs = path.parent / place
                assert main(["train", str(path), "--runs-dir", str(runs), "-q", *options]) == 0
                found.append(without_seconds(only_run(runs)))
        assert not list(rows_folder().iterdir())
        return found[0], found[1]

    return both


def image_arrays(channels: int = 3, rows: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shape = (rows, 6, 5, channels) if channels else (rows, 6, 5)
    y = rng.integers(0, 3, rows)
    x = rng.integers(0, 128, shape, np.uint8) + (40 * y).reshape(-1, *[1] * (len(shape) - 1)).astype(np.uint8)
    return {"x_train": x, "y_train": y, "x_test": x[:9], "y_test": y[:9]}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("steps", ["standardize", ["min_max", "log1p"], {"quantile": "normal"}, []])
@pytest.mark.parametrize("validation", [HOLDOUT, KFOLD])
def test_numbers_with_a_number_or_a_class_as_target(
    compressed: bool, steps: Any, validation: dict[str, Any], tmp_path: Path, histories: Histories
) -> None:
    spec = REGRESSION if compressed else BINARY
    path = write_small(tmp_path, spec, validation=validation, preprocessing={"inputs": steps})
    if compressed:
        np.savez_compressed(tmp_path / "small.npz", **numbers())  # type: ignore[arg-type]
    in_memory, in_file = histories(path)
    assert in_memory.count(b"\n") == (10 if "kfold" in validation else 4)
    assert in_file == in_memory


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i2", "|u1", "fortran"])
def test_every_kind_of_array(kind: str, tmp_path: Path, histories: Histories) -> None:
    """The column-major one too, whose rows lie together in the cache."""
    arrays = numbers()
    x = np.asfortranarray(arrays["x_train"]) if kind == "fortran" else arrays["x_train"].astype(kind)
    for steps in ("standardize", []):
        folder = tmp_path / ("as they are" if steps == [] else "standardized")
        folder.mkdir()
        path = write_small(
            folder, REGRESSION, arrays | {"x_train": x}, preprocessing={"inputs": steps}, epochs=2
        )
        in_memory, in_file = histories(path)
        assert in_file == in_memory


@pytest.mark.parametrize("steps", ["rescale", "standardize", {"quantile": "normal"}])
@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("policy", ["auto", "off"])
def test_images_stay_bytes_and_folds_make_what_they_learned_of_them(
    steps: Any, channels: int, policy: str, tmp_path: Path, histories: Histories
) -> None:
    """In C++ and in PyTorch."""
    preprocessing = {"inputs": steps, "targets": "one_hot"}
    arrays = image_arrays(channels)
    path = write_small(tmp_path, IMAGES, arrays, preprocessing=preprocessing, validation=KFOLD)
    in_memory, in_file = histories(path, "--compile", policy)
    assert in_memory.count(b"\n") == 10
    assert in_file == in_memory


def test_convolutions_of_bytes(tmp_path: Path, histories: Histories) -> None:
    layers = [*CONV[:-1], SOFTMAX]
    in_memory, in_file = histories(write_small(tmp_path, IMAGES, image_arrays(), layers=layers))
    assert in_file == in_memory


@pytest.mark.parametrize("validation", [HOLDOUT, KFOLD])
def test_several_named_arrays_with_several_targets(
    validation: dict[str, Any], tmp_path: Path, histories: Histories
) -> None:
    images, table = image_arrays(), numbers(60, 9)
    arrays = {
        f"{name}_{part}": source[f"{key}_{part}"]
        for part in ("train", "test")
        for name, source, key in (("picture", images, "x"), ("sizes", table, "x"), ("price", table, "y"))
    } | {f"kind_{part}": images[f"y_{part}"] for part in ("train", "test")}
    spec = {
        "dataset": {"npz": "small.npz"},
        "inputs": {"picture": {"preprocessing": "standardize"}, "sizes": {"preprocessing": "standardize"}},
        "layers": {
            "pixels": [{"from": "picture"}, "flatten", {"dense": 4}],
            "both": [{"concatenate": ["pixels", "sizes"]}, {"dense": {"units": 8, "activation": "relu"}}],
            "price": [{"from": "both"}, {"dense": 1}],
            "kind": [{"from": "both"}, SOFTMAX],
        },
        "outputs": {
            "price": {"loss": "mse", "metrics": ["mae"]},
            "kind": {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        },
        "epochs": 2,
        "batch_size": 8,
        "validation": validation,
    }
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    path = tmp_path / "named.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in spec.items()))
    in_memory, in_file = histories(path)
    assert in_file == in_memory


@pytest.mark.parametrize("steps", ["rescale", "standardize"])
@pytest.mark.parametrize("held", [None, 0.25])
def test_a_folder_of_images(steps: str, held: float | None, tmp_path: Path, histories: Histories) -> None:
    write_images(tmp_path / "pets", {"cats": 9, "dogs": 8, "eels": 7})
    source: dict[str, Any] = {"path": str(tmp_path / "pets"), "size": [8, 10]}
    spec = {
        **IMAGES,
        "dataset": {"image_folder": source | ({} if held is None else {"test": {"fraction": held}})},
        "preprocessing": {"inputs": steps, "targets": "one_hot"},
        "validation": KFOLD,
    }
    path = tmp_path / "pets.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in spec.items()))
    in_memory, in_file = histories(path)
    assert in_file == in_memory


def test_what_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The array is written to the cache once; bytes are read from there, numbers from another file."""
    monkeypatch.setattr(stored_arrays, "STORED_BYTES", 1000)
    monkeypatch.setenv("NNRUN_ROWS", "file")
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    path = write_small(tmp_path, IMAGES, image_arrays())
    arrays = cache_dir() / "arrays"
    for attempt, told in enumerate((True, False)):
        assert main(["train", str(path), "--runs-dir", str(tmp_path / str(attempt))]) == 0
        said = capsys.readouterr().err
        kept = f"small.npz: the array x_train, 5 kB: kept in {arrays}, and read from there as rows are needed"
        assert (kept in said) == told
        assert "the prepared rows take 5 kB: they are in their file, and read batch by batch\n" in said
        assert len(list(arrays.iterdir())) == 1  # of both; x_test is small
    assert without_seconds(only_run(tmp_path / "0")) == without_seconds(only_run(tmp_path / "1"))


def test_a_cache_that_cannot_be_written_leaves_the_array_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stored_arrays, "STORED_BYTES", 1000)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "arrays").touch()
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    path = write_small(tmp_path, IMAGES, image_arrays())
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().err
    assert f"{tmp_path / 'cache' / 'arrays'} cannot be written (" in said
    assert "; it stays in memory, and reading will take as long next time\n" in said


@pytest.mark.parametrize("by_cpp", [False, True])
@pytest.mark.parametrize("spec", [REGRESSION, IMAGES])
@pytest.mark.parametrize("validation", [HOLDOUT, KFOLD])
def test_measured_and_predicted_some_rows_at_a_time(
    by_cpp: bool,
    spec: dict[str, Any],
    validation: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same scores and predictions; and no more rows are prepared together than a batch has."""
    images = image_arrays(rows=200)
    images |= {"x_test": images["x_train"][:150], "y_test": images["y_train"][:150]}
    arrays = numbers(200, 150) if spec is REGRESSION else images
    path = write_small(tmp_path, spec, arrays, validation=validation, linear_baseline=False)
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs"), "-q"]) == 0
    run = only_run(tmp_path / "runs")
    capsys.readouterr()
    monkeypatch.setattr("nnrun.experiment.predicting.outputs._ROWS_AT_ONCE", 32)
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", 1024)
    elements = 32 * int(np.prod(arrays["x_train"].shape[1:]))  # of 32 rows
    monkeypatch.setattr("nnrun.experiment.predicting.chain_outputs.BLOCK_ELEMENTS", elements)
    if not by_cpp:
        monkeypatch.setattr(NativeOutputs, "of", lambda *arguments: None)
    most: list[int] = []
    transform = FittedInputs.transform

    def counted(self: FittedInputs, inputs: Any, **options: bool) -> Any:
        most.append(len(inputs))
        return transform(self, inputs, **options)

    monkeypatch.setattr(FittedInputs, "transform", counted)
    found = []
    for least in (1 << 28, 1):
        monkeypatch.setattr(stored_arrays, "STORED_BYTES", least)
        most.clear()
        for command in (
            ["evaluate", str(run), "--json"],
            ["predict", str(run), "--split", "validation"],
            ["predict", str(run), str(tmp_path / "small.npz")],
        ):
            assert main([*command, "--runs-dir", str(tmp_path / "runs")]) == 0
            said = capsys.readouterr().out
            if command[0] == "evaluate":
                said = json.dumps({key: json.loads(said)[key] for key in ("scores", "baseline")})
            found.append(said)
        assert (max(most) <= 128) == (least == 1), max(most)
    assert found[:3] == found[3:]


def test_trials_that_train_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_small(tmp_path, IMAGES, image_arrays())
    found = []
    for place in ("memory", "file"):
        monkeypatch.setenv("NNRUN_ROWS", place)
        runs = tmp_path / place
        over = ["--over", "optimizer.rmsprop.learning_rate=0.01,0.001", "--over", "seed=1,2"]
        assert main(["sweep", str(path), *over, "--runs-dir", str(runs)]) == 0
        assert ("they are written to a file" in capsys.readouterr().err) == (place == "file")
        found.append(sorted(without_seconds(history.parent) for history in runs.glob("*/history.csv")))
    assert len(found[0]) == 4
    assert found[0] == found[1]
