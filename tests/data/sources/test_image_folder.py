"""Folders of PNG and JPEG images: how they are read, what is named when they are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnrun.data import Dataset, load_dataset
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.image_folders import write_images


def load(folder: Path, **parameters: object) -> Dataset:
    return load_dataset(
        schema.ImageFolder.model_validate({"path": str(folder), "size": [8, 10]} | parameters)
    )


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cats": 3, "dogs": 2})
    dataset = load(tmp_path / "pets")
    assert (dataset.name, dataset.class_names, dataset.task) == ("pets", ("cats", "dogs"), "binary")
    assert isinstance(dataset.train.inputs, np.ndarray)
    assert (dataset.train.inputs.shape, dataset.train.inputs.dtype) == ((5, 8, 10, 3), np.uint8)
    assert dataset.train.targets.tolist() == [0, 0, 0, 1, 1]
    (source,) = dataset.sources
    assert (source.name, source.rows, len(source.sha256)) == ("pets", 5, 64)
    (tmp_path / "pets" / "dogs" / "1.jpg").write_bytes((tmp_path / "pets" / "dogs" / "0.png").read_bytes())
    assert load(tmp_path / "pets").sources[0].sha256 != source.sha256


def test_train_and_test_folders_and_a_fraction(tmp_path: Path) -> None:
    for part, images in (("train", 4), ("test", 2)):
        write_images(tmp_path / "a" / part, {"cats": images, "dogs": images})
    dataset = load(tmp_path / "a", mode="grayscale")
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test)) == (8, 4)
    assert isinstance(dataset.test.inputs, np.ndarray)
    assert dataset.test.inputs.shape == (4, 8, 10, 1)
    held = load(tmp_path / "a" / "train", test={"fraction": 0.25})
    assert held.test is not None
    assert (len(held.train), len(held.test)) == (6, 2)


def test_images_are_resized_by_bilinear_interpolation(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    write_images(tmp_path, {"a": 1, "b": 1})
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png")
    inputs = load(tmp_path, size=[16, 20]).train.inputs
    assert isinstance(inputs, np.ndarray)
    np.testing.assert_array_equal(inputs[0], pixels)
    inputs = load(tmp_path).train.inputs
    assert isinstance(inputs, np.ndarray)
    expected = np.asarray(Image.fromarray(pixels).resize((10, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(inputs[0], expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_colour_or_grey(mode: str, tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 1, "b": 1})
    suffix = "jpg" if mode == "CMYK" else "png"
    (tmp_path / "a" / "0.png").unlink()
    Image.new("RGB", (5, 4), (200, 200, 200)).convert(mode).save(tmp_path / "a" / f"0.{suffix}")
    for name, channels in (("rgb", 3), ("grayscale", 1)):
        inputs = load(tmp_path, mode=name).train.inputs
        assert isinstance(inputs, np.ndarray)
        assert inputs.shape[3] == channels


def broken(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "deep":
        Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(path, format="PNG")
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "text": b"no image", "empty": b""}[how])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "is damaged or cannot be read"),
        ("text", "is no PNG or JPEG image"),
        ("empty", "is no PNG or JPEG image"),
        ("deep", "more than 8 bits"),
    ],
)
@pytest.mark.parametrize("file", ["cats/0.png", "cats/1.jpg"])
def test_a_broken_file_is_named(how: str, message: str, file: str, tmp_path: Path) -> None:
    write_images(tmp_path, {"cats": 3, "dogs": 2}, side=40)
    broken(tmp_path / file, how)
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path)
    assert file in str(error.value)
    assert error.value.exit_code == 4


def test_all_broken_files_are_told(tmp_path: Path) -> None:
    write_images(tmp_path, {"cats": 8, "dogs": 2})
    for number in range(7):
        next((tmp_path / "cats").glob(f"{number}.*")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.png .*4\.png .*; and 2 more files\. Mend or remove them"):
        load(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match=r"no folder with files that end in \.png, \.jpg or \.jpeg"):
        load(tmp_path)


def test_what_lies_there_and_is_no_row_is_told(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cats": 2, "dogs": 2})
    told: list[str] = []

    def loaded() -> Dataset:
        spec = schema.ImageFolder.model_validate({"path": str(tmp_path / "pets"), "size": [8, 10]})
        told.clear()
        return load_dataset(spec, on_message=told.append)

    before = loaded()
    (tmp_path / "pets" / "labels.csv").write_text("beside the classes")
    for name in ("._0.png", ".DS_Store", "Thumbs.db"):  # what systems write by themselves
        (tmp_path / "pets" / "cats" / name).write_bytes(b"x")
    after = loaded()
    assert (len(after.train), after.sources, told) == (4, before.sources, [])
    for name in ("cats/1.webp", "dogs/2.bmp", "dogs/README", "rabbits/1.webp"):
        (tmp_path / "pets" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(b"x")
    write_images(tmp_path / "pets" / "dogs", {"more": 1})
    assert len(loaded().train) == 4
    assert told == [
        f"{tmp_path / 'pets'}: left out, since image_folder takes the files right in a class's folder whose "
        "names end in .png, .jpg or .jpeg: cats/1.webp, dogs/2.bmp, dogs/README and 2 more"
    ]
