"""Images moved at random while training: mirrored, shifted, turned, zoomed, all in one interpolation.

Letters in names: R replicas, B rows of a batch, H height, W width, C channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from nnrun.lazy_torch import F, torch
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.ports import Port

if TYPE_CHECKING:
    from torch import Tensor

_NUMBERS: Final = 6  # random numbers of a row, always as many: what one option draws depends on no other
_PADDING: Final = {"reflect": "reflection", "nearest": "border", "zero": "zeros"}


def takes_augmentation(row_shape: tuple[int, ...]) -> bool:
    """Whether rows are images: (height, width) or (height, width, channels)."""
    return len(row_shape) in (2, 3)


def augment(step: schema.Augment, port: Port, x: Tensor, rng: BatchRng) -> Tensor:
    """A batch of an input's images, each moved at random.

    Args:
        step: what may happen.
        port: the input, which the random numbers are derived for.
        x: (R, B, H, W) or (R, B, H, W, C) float32.
        rng: of the training step.
    """
    images = x if x.dim() == 5 else x[..., None]
    _, rows, height, width, channels = images.shape
    u_RB = rng.of_rows(f"augmentation of input {port}", rows, _NUMBERS, x.device)
    grid = _sampled_places(step, u_RB.double().view(-1, _NUMBERS), height, width)
    moved = F.grid_sample(
        images.reshape(-1, height, width, channels).permute(0, 3, 1, 2),
        grid.to(x.dtype),
        mode="bilinear",
        padding_mode=_PADDING[step.fill],
        align_corners=False,
    )
    return moved.permute(0, 2, 3, 1).reshape(x.shape)


def _sampled_places(step: schema.Augment, u_N6: Tensor, height: int, width: int) -> Tensor:
    """(N, H, W, 2): for each pixel of each moved image the place (x, y) that it shows, from -1 to 1.

    Args:
        step: what may happen.
        u_N6: uniform numbers in [0, 1): mirrored across, down; shifted down, across; turned; zoomed.
        height, width: in pixels.
    """

    def amount(place: int, most: float | None) -> Tensor:
        return (2 * u_N6[:, place] - 1) * (most or 0.0)

    def mirror(place: int, *flips: str) -> Tensor:
        mirrored = (u_N6[:, place] < 0.5) & (step.flip in flips)
        return 1.0 - 2.0 * mirrored.to(u_N6.dtype)

    def whole(values_N: Tensor) -> Tensor:
        return values_N[:, None, None]

    across, down = mirror(0, "horizontal", "both"), mirror(1, "vertical", "both")
    angle, scale = amount(4, step.rotate) * (math.pi / 180), 1 + amount(5, step.zoom)
    # Pixels from the centre; in shares of half an image a turn would shear images that are not square.
    y = ((torch.arange(height, device=u_N6.device) + 0.5) - height / 2).to(u_N6.dtype)[None, :, None]
    x = ((torch.arange(width, device=u_N6.device) + 0.5) - width / 2).to(u_N6.dtype)[None, None, :]
    y = y - whole(amount(2, step.shift)) * height
    x = x - whole(amount(3, step.shift)) * width
    cos, sin = whole(torch.cos(angle) / scale), whole(torch.sin(angle) / scale)
    # Elementwise and not as a product of matrices, whose rounding depends on how many rows there are.
    turned_x, turned_y = cos * x + sin * y, cos * y - sin * x
    return torch.stack(
        [turned_x * whole(across) * (2 / width), turned_y * whole(down) * (2 / height)], dim=-1
    )
