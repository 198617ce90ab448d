"""Updates in C++ against PyTorch's, and where they are left to PyTorch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nnrun.native.kernels import prepare, switched_off
from nnrun.spec import schema
from nnrun.training.optimizers import Optimizer, build_optimizer
from nnrun.training.update_kernel import KNOWN, LIBRARY, update_by
from tests.support.native_problems import OPTIMIZERS, needs_compiler

pytestmark = needs_compiler

SHAPES = [(1, 1), (3, 7, 5), (2, 700, 101)]  # the last is more than one thread takes


def spec_of(optimizer: Any) -> schema.Component:
    spec = {"dataset": {"npz": "u.npz"}, "layers": [{"dense": 1}], "loss": "mse", "optimizer": optimizer}
    return schema.ExperimentSpec.model_validate(spec).optimizer


SPECS = [spec for spec in map(spec_of, OPTIMIZERS) if isinstance(spec, KNOWN)]
SPECS += [spec_of({"adam": {"weight_decay": 0.1, "use_ema": True}})]
SPECS += [spec_of({"adam": {"gradient_accumulation_steps": 2}})]


@pytest.fixture(autouse=True)
def library() -> None:
    prepare(LIBRARY)


def updated(optimizer: Optimizer, shape: tuple[int, ...], rates: Any, with_squares: bool) -> list[Tensor]:
    """A parameter and its slots after five updates."""
    made = torch.Generator().manual_seed(len(shape))
    w = torch.randn(shape, generator=made)
    slots = optimizer.slots(w)
    for step in range(1, 6):
        g = torch.randn(shape, generator=made)
        # Above the gradient's: a centered RMSprop divides by the difference, which else is all rounding.
        squares = g.square() + torch.rand(shape, generator=made) + 0.1 if with_squares else None
        steps_R = torch.arange(step, step + len(w), dtype=torch.float64)
        optimizer.update(w, g, slots, steps_R, rates, squares)
    return [w, *slots]


@pytest.mark.parametrize("with_squares", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_parameters_and_slots_are_pytorch_s(
    spec: schema.Component, shape: tuple[int, ...], with_squares: bool
) -> None:
    optimizer = build_optimizer(spec)
    assert optimizer.kernel == LIBRARY
    for rates in (None, 0.01, torch.linspace(0.01, 0.2, shape[0], dtype=torch.float64)):
        found = updated(optimizer, shape, rates, with_squares)
        with switched_off():
            expected = updated(optimizer, shape, rates, with_squares)
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-6, atol=2e-6)


def test_numbers_do_not_depend_on_the_number_of_threads() -> None:
    optimizer, found = build_optimizer(SPECS[0]), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(updated(optimizer, (2, 700, 101), None, True))
    for others in found[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(others, found[0], strict=True))


def test_what_cpp_cannot_read_is_left_to_pytorch() -> None:
    update = update_by(spec_of("rmsprop"))
    w, slot, steps_R = torch.ones(2, 3), torch.zeros(2, 3), torch.ones(2, dtype=torch.float64)
    assert not update(w.double(), w.double(), [slot.double()], steps_R, 0.1, None)
    assert not update(w, w, [slot], torch.ones(5, dtype=torch.float64), 0.1, None)  # rows of several replicas
    with switched_off():
        assert not update(w, torch.ones(2, 3), [slot], steps_R, 0.1, None)
    assert torch.equal(w, torch.ones(2, 3))
    assert update(w, torch.ones(2, 3), [slot], steps_R, 0.1, None)
    assert not torch.equal(w, torch.ones(2, 3))
