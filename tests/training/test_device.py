"""Which device: what each word means, and what is said where it cannot be; and how the CPU is set up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from nnrun.errors import UsageError
from nnrun.training.device import cpu_setup, resolve_device, threads_for


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
