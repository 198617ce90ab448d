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
from nnrun.data.preprocess import array_blocks
from nnrun.experiment.setup import mapped_rows
from nnrun.mapped_arrays import is_mapped
from nnrun.paths import cache_dir
from nnrun.spec.reading.load import load_spec
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
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Histories:
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
                runs = tmp_path / place
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
    in_memory, in_file = histories(write_small(tmp_path, REGRESSION, arrays | {"x_train": x}))
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
        kept = f"small.npz: the array x_train, 5 kB, is kept in {arrays}, and read from there as its rows are"
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
