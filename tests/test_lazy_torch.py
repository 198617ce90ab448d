"""PyTorch, imported at its first use."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch as real

from nnrun.lazy_torch import AutogradFunction, F, torch


def test_attributes_are_those_of_pytorch() -> None:
    assert torch.Tensor is real.Tensor
    assert torch.nn is real.nn
    assert F.relu6 is real.nn.functional.relu6
    assert not hasattr(torch, "no_such_function")


def test_it_is_imported_by_its_first_use() -> None:
    script = (
        "import sys; from nnrun.lazy_torch import F, torch; print('torch' in sys.modules);"
        "torch.zeros(1); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\n"


def test_a_request_to_stop_waits_for_the_end_of_the_import() -> None:
    """In the middle it would abort the process where PyTorch's C++ calls Python."""
    script = """
import importlib.abc, os, signal, sys
from nnrun.lazy_torch import torch
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch.distributed":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
try:
    torch.zeros(1)
except KeyboardInterrupt:
    print(sys.modules["torch"].zeros(1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[0.0]\n"


class Tripled(AutogradFunction):
    @staticmethod
    def forward(ctx: Any, x: real.Tensor) -> real.Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, gradient: real.Tensor) -> real.Tensor:
        return 3 * gradient


class Halved(AutogradFunction):
    @staticmethod
    def forward(ctx: Any, x: real.Tensor) -> real.Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: Any, gradient: real.Tensor) -> real.Tensor:
        return gradient / 2


def test_own_functions_are_differentiated_by_their_backward() -> None:
    x = real.tensor([1.0, -2.0], requires_grad=True)
    y = Halved.apply(Tripled.apply(x))
    assert y.tolist() == [1.5, -3.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.5, 1.5]
