"""Embedding in C++ against PyTorch in float64, and where it is left to PyTorch."""

import pytest
import torch
from torch import Tensor

from nnrun.model.kernels.embedding import LIBRARY, EmbeddedWords, embedded
from nnrun.native import kernels
from nnrun.native.kernels import prepare, switched_off
from nnrun.native.library import load_library
from tests.support.cpu_levels import levels_here
from tests.support.native_problems import needs_compiler

pytestmark = needs_compiler

WORDS = 50
SHAPES = [  # R, B, T, D
    (1, 1, 1, 1),
    (1, 7, 9, 16),
    (4, 5, 12, 37),
    (2, 3, 33, 100),
]


@pytest.fixture(autouse=True)
def library() -> None:
    prepare(LIBRARY)


def problem(replicas: int, rows: int, steps: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """A table, indices with runs of zeros as padding has, and places that count."""
    made = torch.Generator().manual_seed(replicas * rows + width)
    table_RVD = torch.randn(replicas, WORDS, width, generator=made)
    x = torch.randint(0, WORDS, (replicas, rows, steps), generator=made).float()
    x[:, :, : steps // 2] = 0
    counts = torch.rand(replicas, rows, steps, generator=made) > 0.4
    counts[:, 0] = False  # a row of which nothing counts
    return table_RVD, x, counts


def picked(table_RVD: Tensor, x: Tensor) -> Tensor:
    """The rows of the table, by PyTorch."""
    return torch.stack([table[index] for table, index in zip(table_RVD, x.long(), strict=True)])


def pooled(vectors: Tensor, counts: Tensor | None) -> Tensor:
    """Their mean, by PyTorch."""
    if counts is None:
        return vectors.mean(2)
    return (vectors * counts.unsqueeze(-1)).sum(2) / counts.sum(2).clamp(min=1).unsqueeze(-1)


def squares_of_places(table_RVD: Tensor, x: Tensor, of_places: Tensor) -> Tensor:
    """The sum of the squares of the places' gradients, word by word."""
    found = torch.zeros_like(table_RVD)
    for r in range(len(x)):
        found[r].index_add_(0, x[r].long().flatten(), of_places[r].flatten(0, -2).square())
    return found


def assert_near(found: Tensor, exact: Tensor) -> None:
    """Equal to 1e-5 of the largest number."""
    scale = max(float(exact.detach().abs().max()), 1e-30)
    torch.testing.assert_close(found.double() / scale, exact / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["none", "all", "counted"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(shape: tuple[int, ...], pooling: str) -> None:
    table_RVD, x, counts = problem(*shape)
    table_RVD.requires_grad_()
    squares = torch.zeros(()).requires_grad_().expand_as(table_RVD)
    words = embedded(table_RVD, squares, x)
    assert words is not None
    mask = counts if pooling == "counted" else None
    found = words.dense if pooling == "none" else words.mean(mask)

    exact_table = table_RVD.detach().double().requires_grad_()
    vectors = picked(exact_table, x)
    exact = vectors if pooling == "none" else pooled(vectors, mask)
    weights = torch.linspace(-1, 2, exact.numel(), dtype=torch.float64).view(exact.shape)
    of_places, of_table = torch.autograd.grad((exact * weights).sum(), [vectors, exact_table])
    gradient, of_squares = torch.autograd.grad((found * weights.float()).sum(), [table_RVD, squares])

    assert_near(found, exact)
    assert_near(gradient, of_table)
    assert_near(of_squares, squares_of_places(exact_table.detach(), x, of_places))


@pytest.mark.parametrize("cpu", levels_here())
def test_the_same_with_the_vectors_of_every_cpu(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernels._ready, LIBRARY, load_library(LIBRARY, cpu=cpu))
    for shape in SHAPES:
        for pooling in ("none", "all", "counted"):
            test_values_and_gradients_are_those_of_float64(shape, pooling)


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("replicas", [1, 3])
def test_numbers_do_not_depend_on_the_number_of_threads(replicas: int, pooling: bool) -> None:
    table_RVD, x, _ = problem(replicas, 64, 100, 70)  # more than one thread starts for
    found = []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        table = table_RVD.clone().requires_grad_()
        words = embedded(table, None, x)
        assert words is not None
        given = words.mean() if pooling else words.dense
        found.append((given.detach(), *torch.autograd.grad(given.sin().sum(), table)))
    for given, gradient in found[1:]:
        assert torch.equal(given, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_a_word_that_stands_everywhere_is_multiplied() -> None:
    """A sum of 40,000 numbers one by one would be wrong from the fourth digit on."""
    table = torch.zeros(1, 2, 1, requires_grad=True)
    words = embedded(table, None, torch.zeros(1, 200, 200))
    assert words is not None
    (gradient,) = torch.autograd.grad((words.mean() * 0.1).sum(), table)
    assert float(gradient[0, 0, 0]) == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("word", [-1.0, float(WORDS), float("nan"), 1e30])
def test_an_index_outside_the_table_is_refused(word: float) -> None:
    table_RVD, x, _ = problem(1, 2, 3, 4)
    x[0, 1, 2] = word
    with pytest.raises(IndexError, match="a word index is not below 50"):
        embedded(table_RVD, None, x)


def test_vectors_that_several_layers_take_are_looked_up_once() -> None:
    table_RVD, x, _ = problem(1, 2, 3, 4)
    words = embedded(table_RVD, None, x)
    assert isinstance(words, EmbeddedWords)
    assert words.to_dense() is words.to_dense()


def test_what_cpp_cannot_read_is_left_to_pytorch() -> None:
    table_RVD, x, _ = problem(1, 2, 3, 4)
    assert embedded(table_RVD.double(), None, x) is None
    assert embedded(table_RVD, None, x.long()) is None
    assert embedded(table_RVD.to("meta"), None, x.to("meta")) is None
    with switched_off():
        assert embedded(table_RVD, None, x) is None

    def inside(table: Tensor) -> Tensor:
        assert embedded(table, None, x) is None
        return table

    torch.func.vmap(inside)(torch.stack([table_RVD, table_RVD]))
    torch.func.grad(lambda table: inside(table).sum())(table_RVD)
