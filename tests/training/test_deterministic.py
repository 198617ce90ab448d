"""`deterministic: true`: what is set for which device, and that it is set back."""

from __future__ import annotations

import os

import pytest
import torch

from nnrun.errors import NnrunError, UsageError
from nnrun.training.deterministic import deterministic, exact_on, takes_measures

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def switches() -> list[object]:
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        os.environ.get(VARIABLE),
    ]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is as before at the end
    monkeypatch.delenv(VARIABLE)


@pytest.mark.parametrize(
    ("device", "wanted", "measures", "exact"),
    [
        ("cpu", False, False, True),
        ("cpu", True, False, True),
        ("cuda", False, False, False),
        ("cuda", True, True, True),
    ],
)
def test_the_policy(device: str, wanted: bool, measures: bool, exact: bool) -> None:
    assert takes_measures(device, wanted) is measures
    assert exact_on(device, wanted) is exact


@pytest.mark.parametrize(("device", "wanted"), [(CPU, True), (CPU, False), (CUDA, False)])
def test_else_nothing_is_set(device: torch.device, wanted: bool) -> None:
    before = switches()
    with deterministic(device, wanted):
        assert switches() == before


def test_what_is_set_on_cuda_and_set_back() -> None:
    """Switches of PyTorch, which has them without a GPU too."""
    before = switches()

    def train() -> None:
        assert switches() == [True, True, False, False, False, ":4096:8"]
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"), deterministic(CUDA, True):
        train()
    assert switches() == [*before[:-1], ":4096:8"]  # which cuBLAS has read by then


def test_the_user_s_own_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ":16:8")
    with deterministic(CUDA, True):
        assert os.environ[VARIABLE] == ":16:8"


def test_a_gpu_that_is_in_use_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    before = switches()
    with pytest.raises(UsageError, match=f"needs {VARIABLE}=:4096:8 in the environment before"):
        deterministic(CUDA, True).__enter__()
    assert switches() == before


def test_an_operation_without_such_a_way() -> None:
    """In PyTorch's own words, which a CPU never has."""
    words = (
        "put_ does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms'"
    )
    with (
        pytest.raises(
            NnrunError,
            match=r"^deterministic: true: put_ has no deterministic implementation on cuda\. Train",
        ),
        deterministic(CUDA, True),
    ):
        raise RuntimeError(words)


def test_other_errors_are_none_of_it() -> None:
    with pytest.raises(RuntimeError, match=r"^other$"), deterministic(CUDA, True):
        raise RuntimeError("other")
