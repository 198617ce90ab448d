"""Convolution and max pooling in C++ against PyTorch in float64, and where they are left to PyTorch."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nnrun.model.kernels import convolution, pooling
from nnrun.model.kernels.convolution import convolved
from nnrun.model.kernels.pooling import largest
from nnrun.model.windows import Windows
from nnrun.native import kernels
from nnrun.native.kernels import prepare, switched_off
from nnrun.native.library import load_library
from tests.support.cpu_levels import levels_here
from tests.support.native_problems import needs_compiler

pytestmark = needs_compiler

# R, B, C, O, then along both axes: size of the image, of the window, strides, dilation; padding.
Shape = tuple[int, int, int, int, list[int], list[int], list[int], list[int], Any]
CONVOLUTIONS: list[Shape] = [
    (1, 1, 1, 1, [1, 1], [1, 1], [1, 1], [1, 1], "valid"),
    (1, 7, 1, 32, [9, 8], [3, 3], [1, 1], [1, 1], "valid"),
    (3, 11, 5, 67, [7, 9], [3, 2], [1, 1], [1, 1], "same"),
    (2, 9, 16, 31, [8, 13], [3, 5], [2, 3], [1, 1], "same"),
    (2, 3, 3, 48, [11, 10], [2, 3], [2, 1], [1, 1], "valid"),  # the last row of pixels is met by no window
    (1, 4, 6, 10, [12, 9], [3, 2], [1, 1], [2, 3], "same"),
    (2, 2, 4, 7, [9, 9], [2, 2], [3, 4], [1, 2], "valid"),  # windows lie apart
    (2, 5, 20, 9, [1, 40], [1, 7], [1, 2], [1, 1], "same"),  # steps
    (1, 2, 70, 66, [2, 3], [2, 2], [1, 1], [1, 1], "same"),  # longer sums than stay in the first cache
    (1, 1, 2, 130, [30, 7], [3, 3], [1, 1], [1, 1], "valid"),  # more pixels than are computed at a time
]


@pytest.fixture(autouse=True)
def library() -> None:
    prepare(convolution.LIBRARY)
    prepare(pooling.LIBRARY)


def problem(shape: Shape) -> tuple[Windows, list[Tensor]]:
    """Windows; images, kernels and biases."""
    replicas, images, channels, filters, places, size, strides, dilation, padding = shape
    made = torch.Generator().manual_seed(channels * filters)
    windows = Windows.along(places, size, strides, padding, dilation)
    shapes = [
        (replicas, images, *places, channels),
        (replicas, filters, channels, *size),
        (replicas, filters),
    ]
    return windows, [torch.randn(shape, generator=made).requires_grad_() for shape in shapes]


def by_pytorch(x: Tensor, kernel: Tensor, bias: Tensor | None, windows: Windows, relu: bool) -> Tensor:
    """The same, one replica after the other."""
    found = []
    for replica, images in enumerate(x):
        padded, padding = windows.padded(images.movedim(-1, 1), 0.0)
        own = None if bias is None else bias[replica]
        found.append(
            F.conv2d(padded, kernel[replica], own, windows.strides, padding, windows.dilation).movedim(1, -1)
        )
    return torch.relu(torch.stack(found)) if relu else torch.stack(found)


def assert_near(found: Tensor, exact: Tensor) -> None:
    """Equal to 1e-5 of the largest number."""
    scale = max(float(exact.detach().abs().max()), 1e-30)
    torch.testing.assert_close(found.double() / scale, exact / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", CONVOLUTIONS)
def test_convolutions_and_their_gradients_are_those_of_float64(
    shape: Shape, with_bias: bool, relu: bool
) -> None:
    assert_exact(shape, with_bias, relu)


@pytest.mark.skipif(not levels_here(), reason="the levels are those of x86-64, as Linux tells of them")
@pytest.mark.parametrize("cpu", levels_here())
def test_every_level_of_this_machine(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (convolution.LIBRARY, pooling.LIBRARY):
        monkeypatch.setitem(kernels._ready, name, load_library(name, cpu=cpu))
    for shape in CONVOLUTIONS:
        assert_exact(shape, with_bias=True, relu=True)
    for pooled in POOLINGS:
        assert_the_largest(*pooled)


def made_by(x: Tensor, kernel: Tensor, bias: Tensor | None, windows: Windows, relu: bool) -> Tensor:
    waiting = convolved(x, kernel, bias, windows, relu=relu)
    assert waiting is not None
    return waiting.dense


def assert_exact(shape: Shape, with_bias: bool, relu: bool) -> None:
    windows, (x, kernel, bias) = problem(shape)
    given = [x, kernel, bias] if with_bias else [x, kernel]
    found = made_by(x, kernel, bias if with_bias else None, windows, relu)
    exactly = [tensor.detach().double().requires_grad_() for tensor in given]
    exact = by_pytorch(exactly[0], exactly[1], exactly[2] if with_bias else None, windows, relu)
    assert found.shape == exact.shape
    weights = torch.linspace(-1, 2, exact.numel(), dtype=torch.float64).view(exact.shape)
    wanted = torch.autograd.grad((exact * weights).sum(), exactly)
    gradients = torch.autograd.grad((found * weights.float()).sum(), given)
    assert_near(found, exact)
    for gradient, of_float64 in zip(gradients, wanted, strict=True):
        assert_near(gradient, of_float64)


def test_a_gradient_that_nobody_asks_for_is_left_out() -> None:
    windows, (x, kernel, bias) = problem(CONVOLUTIONS[2])
    found = made_by(x.detach(), kernel, bias.detach(), windows, True)
    whole = made_by(x, kernel, bias, windows, True)
    (alone,) = torch.autograd.grad(found.sum(), kernel)
    assert torch.equal(alone, torch.autograd.grad(whole.sum(), kernel)[0])


POOLINGS: list[
    tuple[int, int, list[int], list[int], list[int], Any]
] = [  # N, C; image, window, strides; padding
    (1, 1, [1, 1], [1, 1], [1, 1], "valid"),
    (5, 32, [26, 26], [2, 2], [2, 2], "valid"),
    (3, 67, [7, 9], [2, 3], [2, 3], "valid"),  # the last column is met by no window
    (3, 13, [7, 9], [3, 2], [2, 1], "same"),  # windows overlap
    (2, 8, [9, 10], [2, 2], [3, 3], "valid"),  # windows lie apart
    (2, 9, [5, 5], [2, 2], [2, 2], "same"),
    (4, 16, [1, 37], [1, 5], [1, 5], "valid"),
    (1, 4, [16, 17], [16, 16], [1, 1], "valid"),  # the most places
]


@pytest.mark.parametrize("shape", POOLINGS)
def test_the_largest_and_its_gradient(
    shape: tuple[int, int, list[int], list[int], list[int], Any],
) -> None:
    assert_the_largest(*shape)


def assert_the_largest(
    images: int, channels: int, places: list[int], size: list[int], strides: list[int], padding: Any
) -> None:
    """Bit for bit, where several numbers of a window are equal too: the first of them counts."""
    windows = Windows.along(places, size, strides, padding)
    made = torch.Generator().manual_seed(channels)
    x = torch.randint(-3, 9, (images, *places, channels), generator=made).float().requires_grad_()
    found = largest(x, windows)
    assert found is not None
    own = x.detach().clone().requires_grad_()
    padded, amount = windows.padded(own.movedim(-1, 1), float("-inf"))
    wanted = F.max_pool2d(padded, windows.size, windows.strides, amount).movedim(1, -1)
    weights = torch.randint(-5, 6, wanted.shape, generator=made).float()
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    (of_pytorch,) = torch.autograd.grad((wanted * weights).sum(), own)
    assert torch.equal(found, wanted)
    assert torch.equal(gradient, of_pytorch)
    alone = largest(x.detach(), windows)
    assert alone is not None
    assert torch.equal(alone, wanted)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ([2, 2], [2, 2], "valid"),
        ([3, 2], [2, 1], "same"),  # windows overlap
        ([1, 2], [2, 3], "valid"),  # windows lie apart
    ],
)
@pytest.mark.parametrize("shape", CONVOLUTIONS)
def test_pooled_while_they_are_convolved(
    shape: Shape, size: list[int], strides: list[int], padding: Any, relu: bool
) -> None:
    """Bit for bit what pooling of the whole images gives, forward and backward."""
    windows, given = problem(shape)
    places = windows.counts(*given[0].shape[2:4])
    if padding == "valid" and (places[0] < size[0] or places[1] < size[1]):
        return  # no window fits
    pools = Windows.along(places, size, strides, padding)
    x, kernel, bias = given
    waiting = convolved(x, kernel, bias, windows, relu=relu)
    assert waiting is not None
    together = waiting.pooled(pools)
    assert together is not None
    apart = largest(waiting.dense.flatten(0, 1), pools)
    assert apart is not None
    apart = apart.view(together.shape)
    assert torch.equal(together, apart)
    weights = torch.randn(apart.shape, generator=torch.Generator().manual_seed(3))
    gradients = torch.autograd.grad((together * weights).sum(), given)
    for mine, wanted in zip(gradients, torch.autograd.grad((apart * weights).sum(), given), strict=True):
        assert torch.equal(mine, wanted)
    assert waiting.pooled(pools) is None, "what is there already is pooled as it is"
    alone = convolved(x.detach(), kernel.detach(), bias.detach(), windows, relu=relu)
    assert alone is not None
    unlearned = alone.pooled(pools)
    assert unlearned is not None
    assert torch.equal(unlearned, apart)


def test_not_a_number_stays_one() -> None:
    x = torch.zeros(1, 4, 4, 17)
    x[0, 1, 1, 3] = float("nan")
    x[0, 2, 2] = float("-inf")
    found = largest(x, Windows.along([4, 4], [2, 2], [2, 2], "valid"))
    assert found is not None
    assert found.isnan().nonzero().tolist() == [[0, 0, 0, 3]]
    windows = Windows.along([4, 4], [1, 1], [1, 1], "valid")
    summed = made_by(x[None], torch.ones(1, 2, 17, 1, 1), None, windows, True)
    assert summed.isnan().nonzero().tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize("shape", [CONVOLUTIONS[2], CONVOLUTIONS[3]])
def test_numbers_do_not_depend_on_the_number_of_threads(shape: Shape) -> None:
    windows, given = problem(shape)
    pool = Windows.along(shape[4], [2, 2], [1, 1], "valid")
    found = []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        x, kernel, bias = given
        summed = made_by(x, kernel, bias, windows, True)
        pooled = largest(x.flatten(0, 1), pool)
        assert pooled is not None
        gradients = torch.autograd.grad(summed.sin().sum() + pooled.sin().sum(), given)
        found.append([summed.detach(), pooled.detach(), *gradients])
    for numbers in found[1:]:
        assert all(map(torch.equal, numbers, found[0]))


def test_what_cpp_cannot_read_or_does_more_slowly_is_left_to_pytorch() -> None:
    windows, (x, kernel, bias) = problem(CONVOLUTIONS[2])
    pool = Windows.along([7, 9], [2, 2], [2, 2], "valid")
    assert convolved(x.double(), kernel.double(), None, windows, relu=True) is None
    assert convolved(x.to("meta"), kernel.to("meta"), None, windows, relu=True) is None
    assert convolved(x[:, :0], kernel, bias, windows, relu=True) is None
    assert largest(x[0].double(), pool) is None
    assert largest(x[0].to("meta"), pool) is None
    with switched_off():
        assert convolved(x, kernel, bias, windows, relu=True) is None
        assert largest(x[0], pool) is None
    long = torch.zeros(1, 2, 16, 16, 64)
    assert (
        convolved(
            long,
            torch.zeros(1, 64, 64, 3, 3),
            None,
            Windows.along([16, 16], [3, 3], [1, 1], "same"),
            relu=True,
        )
        is None
    )
    assert largest(long[0], Windows.along([16, 16], [16, 17], [1, 1], "same")) is None
