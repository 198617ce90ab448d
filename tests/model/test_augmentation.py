"""Images moved at random: what each option does, and that a row's numbers are its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nnrun.model import augmentation
from nnrun.model.augmentation import augment
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.random_streams import RandomSource

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 7, 8, 6, 3)).astype(np.float32)  # (R, B, H, W, C)
ALL = {"flip": "both", "shift": 0.2, "rotate": 20, "zoom": 0.2}


def moved(
    x: np.ndarray,
    step: dict[str, Any],
    *,
    first_row: int = 0,
    seeds: tuple[int, ...] = (0, 1),
    epoch: int = 1,
) -> np.ndarray:
    rng = BatchRng([RandomSource(seed) for seed in seeds], epoch, first_row=first_row)
    made: Tensor = augment(schema.Augment.model_validate(step), "x", torch.from_numpy(x), rng)
    return made.numpy()


def at(
    step: dict[str, Any], image: np.ndarray, u: list[float], monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    """An image moved by given numbers: mirrored across, down; shifted down, across; turned; zoomed."""
    numbers = torch.tensor(u).view(1, 1, 6)
    monkeypatch.setattr(BatchRng, "of_rows", lambda *_: numbers)
    return moved(image[None, None], step, seeds=(0,))[0, 0]


MIDDLE = 0.5
IMAGE = IMAGES[0, 0]


@pytest.mark.parametrize(
    ("flip", "u", "expected"),
    [
        ("horizontal", (0.1, 0.1), IMAGE[:, ::-1]),
        ("horizontal", (0.9, 0.1), IMAGE),
        ("vertical", (0.1, 0.1), IMAGE[::-1]),
        ("both", (0.1, 0.1), IMAGE[::-1, ::-1]),
        ("both", (0.1, 0.9), IMAGE[:, ::-1]),
    ],
)
def test_flip(
    flip: str, u: tuple[float, float], expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = at({"flip": flip}, IMAGE, [*u, MIDDLE, MIDDLE, MIDDLE, MIDDLE], monkeypatch)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fill", "above"),
    [("zero", np.zeros((2, 6, 3))), ("nearest", IMAGE[[0, 0]]), ("reflect", IMAGE[[1, 0]])],
)
def test_shift(fill: str, above: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a quarter of 8 pixels down: u = 1 is the largest amount."""
    found = at(
        {"shift": 0.25, "fill": fill}, IMAGE, [MIDDLE, MIDDLE, 1.0, MIDDLE, MIDDLE, MIDDLE], monkeypatch
    )
    np.testing.assert_allclose(found, np.concatenate([above, IMAGE[:-2]]), atol=1e-5)


def test_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    square = RNG.normal(size=(6, 6, 3)).astype(np.float32)
    found = at({"rotate": 90}, square, [MIDDLE, MIDDLE, MIDDLE, MIDDLE, 1.0, MIDDLE], monkeypatch)
    np.testing.assert_allclose(found, np.rot90(square, -1), atol=1e-5)


def test_an_oblong_is_turned_without_shear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a turn of an oblong is the same as mirroring both ways; a quarter keeps the centre's square."""
    found = at({"rotate": 180}, IMAGE, [MIDDLE, MIDDLE, MIDDLE, MIDDLE, 1.0, MIDDLE], monkeypatch)
    np.testing.assert_allclose(found, IMAGE[::-1, ::-1], atol=1e-4)
    quarter = at({"rotate": 90}, IMAGE, [MIDDLE, MIDDLE, MIDDLE, MIDDLE, 1.0, MIDDLE], monkeypatch)
    np.testing.assert_allclose(quarter[1:-1], np.rot90(IMAGE[1:-1], -1), atol=1e-4)


def test_zoom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as large: the middle of a ramp rises half as fast."""
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))[..., None]
    found = at(
        {"zoom": 0.999999, "fill": "nearest"},
        ramp,
        [MIDDLE, MIDDLE, MIDDLE, MIDDLE, MIDDLE, 1.0],
        monkeypatch,
    )
    np.testing.assert_allclose(found[3, :, 0], 3.5 + (np.arange(8) - 3.5) / 2, atol=1e-4)


def test_images_without_channels_are_moved_alike() -> None:
    grey = IMAGES[..., 0].copy()
    np.testing.assert_array_equal(moved(grey, ALL), moved(IMAGES[..., :1].copy(), ALL)[..., 0])


def test_a_row_s_numbers_do_not_depend_on_the_batch_or_on_other_replicas() -> None:
    whole = moved(IMAGES, ALL)
    first, second = moved(IMAGES[:, :4], ALL), moved(IMAGES[:, 4:], ALL, first_row=4)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    for replica in (0, 1):
        alone = moved(IMAGES[replica : replica + 1], ALL, seeds=(replica,))
        np.testing.assert_array_equal(alone[0], whole[replica])


def test_every_epoch_seed_and_row_is_moved_in_another_way() -> None:
    same = np.broadcast_to(IMAGE, (2, 7, *IMAGE.shape)).copy()
    found = moved(same, ALL)
    assert len({image.tobytes() for replica in found for image in replica}) == 14
    assert not np.array_equal(moved(same, ALL, epoch=2), found)


def test_what_one_option_draws_depends_on_no_other() -> None:
    numbers = BatchRng([RandomSource(0)]).of_rows("augmentation of input x", 500, 6, torch.device("cpu"))
    assert numbers.shape[-1] == augmentation._NUMBERS
    assert abs(float(numbers.mean()) - 0.5) < 0.02
    far = moved(np.tile(IMAGE, (1, 500, 1, 1, 1)), {"flip": "horizontal"}, seeds=(0,))[0]
    mirrored = np.isclose(far, IMAGE[:, ::-1], atol=1e-4).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored, (numbers[0, :, 0] < 0.5).numpy())
