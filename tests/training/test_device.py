"""Which device: what each word means, and what is said where it cannot be; and how the CPU is set up."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from nnrun.errors import NnrunError, UsageError
from nnrun.training.device import (
    cpu_setup,
    deterministic,
    exact_on,
    resolve_device,
    takes_measures,
    threads_for,
)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """PyTorch says that there are so many GPUs here."""
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(
    ("gpus", "wanted", "device"),
    [
        (0, "auto", torch.device("cpu")),
        (0, "cpu", torch.device("cpu")),
        (2, "auto", torch.device("cuda")),
        (2, "cpu", torch.device("cpu")),
        (2, "cuda", torch.device("cuda", 0)),
        (2, "cuda:0", torch.device("cuda", 0)),
        (2, "cuda:1", torch.device("cuda", 1)),
        (12, "cuda:11", torch.device("cuda", 11)),
    ],
    indirect=["gpus"],
)
def test_the_device_that_a_word_means(gpus: int, wanted: str, device: torch.device) -> None:
    assert resolve_device(wanted) == device


NO_GPU = "PyTorch finds no CUDA GPU here. Use --device cpu, or see `nnrun doctor`."


@pytest.mark.parametrize(
    ("gpus", "wanted", "message"),
    [
        (0, "cuda", f"--device cuda: {NO_GPU}"),
        (0, "cuda:0", f"--device cuda:0: {NO_GPU}"),
        (0, "cuda:7", f"--device cuda:7: {NO_GPU}"),
        (2, "cuda:2", "--device cuda:2: there are 2 GPUs, numbered from 0."),
        (1, "cuda:1", "--device cuda:1: there is 1 GPU, numbered from 0."),
    ],
    indirect=["gpus"],
)
def test_a_gpu_that_is_not_there_is_refused(gpus: int, wanted: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_device(wanted)
    assert str(caught.value) == message


@pytest.mark.parametrize("gpus", [0, 2], indirect=True)
@pytest.mark.parametrize(
    "wanted", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", " cuda", "cuda\n", "mps"]
)
def test_a_word_that_names_no_device_is_refused(gpus: int, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_device(wanted)
    assert str(caught.value) == (
        f"--device is {wanted!r}; it must be auto, cpu, cuda or cuda:N, N a number from 0."
    )


def test_with_the_real_pytorch_auto_is_a_device_that_computes() -> None:
    assert torch.ones(2, device=resolve_device("auto")).sum().item() == 2


# --- the CPU -----------------------------------------------------------------------------------------------


@pytest.fixture
def _denormals_restored() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


def flushes() -> bool:
    """Whether numbers too small for the usual form of a float are taken for zero."""
    return not bool(np.array([1e-310]) * 1.0 > 0)


@pytest.mark.usefixtures("_denormals_restored")
@pytest.mark.parametrize("flushing", [False, True])
@pytest.mark.parametrize("error", [False, True])
def test_the_cpu_is_set_up_for_a_while_and_then_is_as_it_was(error: bool, flushing: bool) -> None:
    torch.set_num_threads(2)
    torch.set_flush_denormal(flushing)
    try:
        with cpu_setup(1):
            assert (torch.get_num_threads(), flushes()) == (1, True)
            if error:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert error
    assert (torch.get_num_threads(), flushes()) == (2, flushing)


def test_a_small_step_is_worth_one_thread_and_a_large_one_all() -> None:
    torch.set_num_threads(2)
    assert threads_for(1) == threads_for(4 * 13 * 64) == 1  # Boston's four folds at batch 1
    assert threads_for(10**12) == 2


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
