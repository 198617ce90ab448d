"""MNIST and Fashion-MNIST: files in the layout in which Keras publishes and keeps them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from nnrun.data import Dataset, load_dataset
from nnrun.data.archives.download import BASE_URL, MNIST
from nnrun.data.catalog import CATALOG, is_at_hand
from nnrun.data.sources.fashion_mnist import CLASS_NAMES
from nnrun.errors import DataError
from nnrun.spec import schema

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (50, 28, 28), np.uint8), RNG.permutation(50).astype(np.uint8) % 10
FASHION = "fashion-mnist"


def write_mnist(folder: Path, **changes: np.ndarray) -> Path:
    arrays = {"x_train": IMAGES[:40], "y_train": LABELS[:40], "x_test": IMAGES[40:], "y_test": LABELS[40:]}
    np.savez(folder / "mnist.npz", **(arrays | changes))
    return folder


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def write_fashion(folder: Path, **changes: bytes) -> Path:
    """The four files; `changes` replace their content by the name without its end."""
    (folder / FASHION).mkdir(exist_ok=True)
    contents = {
        "train-images-idx3-ubyte": idx(IMAGES[:40]),
        "train-labels-idx1-ubyte": idx(LABELS[:40]),
        "t10k-images-idx3-ubyte": idx(IMAGES[40:]),
        "t10k-labels-idx1-ubyte": idx(LABELS[40:]),
    }
    for name, content in contents.items():
        changed = changes.get(name.replace("-", "_"), gzip.compress(content))
        (folder / FASHION / f"{name}.gz").write_bytes(changed)
    return folder


def check_rows(dataset: Dataset) -> None:
    assert dataset.test is not None
    for samples, part in ((dataset.train, slice(40)), (dataset.test, slice(40, None))):
        assert isinstance(samples.inputs, np.ndarray)
        assert samples.inputs.dtype == np.uint8
        np.testing.assert_array_equal(samples.inputs, IMAGES[part])
        np.testing.assert_array_equal(samples.targets, LABELS[part])
        assert samples.targets.dtype == np.int64
    assert (dataset.task, dataset.classes, dataset.image_shape) == ("multiclass", 10, (28, 28))


def test_mnist(tmp_path: Path, empty_cache: Path) -> None:
    dataset = load_dataset(schema.Mnist(), data_dir=write_mnist(tmp_path))
    check_rows(dataset)
    (source,) = dataset.sources
    digest = hashlib.sha256((tmp_path / "mnist.npz").read_bytes()).hexdigest()
    assert (source.name, source.sha256, source.rows, source.note) == (
        "mnist.npz",
        digest,
        50,
        "not the published file",
    )


def test_fashion_mnist(tmp_path: Path, empty_cache: Path) -> None:
    dataset = load_dataset(schema.FashionMnist(), data_dir=write_fashion(tmp_path))
    check_rows(dataset)
    assert dataset.class_names == CLASS_NAMES
    assert [source.rows for source in dataset.sources] == [40, 40, 10, 10]
    assert is_at_hand(schema.FashionMnist(), tmp_path)
    (tmp_path / FASHION / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not is_at_hand(schema.FashionMnist(), tmp_path)


def test_where_keras_keeps_them(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = tmp_path / ".keras" / "datasets"
    kept.mkdir(parents=True)
    check_rows(load_dataset(schema.Mnist(), data_dir=write_mnist(kept)))
    check_rows(load_dataset(schema.FashionMnist(), data_dir=write_fashion(kept)))


def test_what_is_published() -> None:
    assert MNIST.digest == "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
    assert [remote.folder for remote in CATALOG["fashion_mnist"].archives] == [FASHION] * 4
    for name in ("mnist", "fashion_mnist"):
        assert (CATALOG[name].facts.train_rows, CATALOG[name].facts.test_rows) == (60_000, 10_000)


@pytest.mark.parametrize("dataset", [schema.Mnist(), schema.FashionMnist()])
def test_without_files_and_network_the_message_says_where_to_get_them(
    dataset: schema.DataSource, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError) as error:
        load_dataset(dataset, data_dir=tmp_path / "none")
    first = CATALOG[dataset.kind].archives[0]
    for part in (BASE_URL + first.name, first.digest, str(tmp_path / "none" / first.folder)):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": IMAGES[:40].reshape(40, -1)}, r"have shape \(40, 784\)"),
        ({"x_train": IMAGES[:40] / 255}, "type float64"),
        ({"y_train": LABELS[:39]}, "40 whole numbers are expected"),
        ({"y_test": LABELS[40:] + 5}, "0 to 9 is expected"),
    ],
)
def test_another_mnist_is_refused(
    changes: dict[str, np.ndarray], message: str, tmp_path: Path, empty_cache: Path
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(schema.Mnist(), data_dir=write_mnist(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "damaged or incomplete"),
        (gzip.compress(idx(IMAGES[:40]))[:-2000], "damaged or incomplete"),
        (gzip.compress(idx(LABELS[:40])), "no idx file of bytes with 3 axes"),
        (gzip.compress(idx(IMAGES[:40])[:-1]), "holds 31,359 bytes"),
        (gzip.compress(b""), "no idx file"),
    ],
    ids=["no gzip", "cut off", "labels", "a byte short", "empty"],  # gzip's bytes hold the time
)
def test_a_damaged_file_is_named(content: bytes, message: str, tmp_path: Path, empty_cache: Path) -> None:
    write_fashion(tmp_path, train_images_idx3_ubyte=content)
    with pytest.raises(DataError, match=message) as error:
        load_dataset(schema.FashionMnist(), data_dir=tmp_path)
    assert "train-images-idx3-ubyte.gz" in str(error.value)


@pytest.mark.parametrize("dataset", [schema.Mnist(), schema.FashionMnist()])
def test_a_smoke_run_has_images_of_its_own(dataset: schema.DataSource, empty_cache: Path) -> None:
    loaded = load_dataset(dataset, smoke=True)
    assert isinstance(loaded.train.inputs, np.ndarray)
    assert (loaded.train.inputs.dtype, loaded.image_shape, loaded.smoke) == (np.uint8, (28, 28), True)
