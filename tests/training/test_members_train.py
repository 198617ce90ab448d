"""An ensemble that trains as one network, against the same written in plain PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnrun.model.network import Network
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.training.backends.native import NativeBackend
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import (
    F,
    N,
    assert_same,
    eager,
    evaluated,
    first_weights,
    make_problem,
    rows,
    several_rows,
    with_head,
)
from tests.support.streams import sources_of

M, HIDDEN, RATE = 4, 7, 0.1
LAYERS: list[Any] = [
    {"dense": {"units": HIDDEN, "activation": "relu"}},
    {"dense": {"units": 5, "activation": "tanh"}},
]
BATCH: dict[str, Any] = {"members": M, "kind": "batch"}
INDEPENDENT: dict[str, Any] = {"members": M, "kind": "independent"}


class BatchEnsemble(nn.Module):
    """TabM's network (Gorishniy et al. 2025), as its paper has it: member k gets ((x r_k) W) s_k + b_k."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.own = nn.ParameterDict(
            {n.replace(".", "_"): nn.Parameter(w.clone()) for n, w in weights.items()}
        )

    def layer(self, place: int, x_MBF: Tensor) -> Tensor:
        kernel, r, s, b = (self.own[f"{place}_{name}"] for name in ("weight", "r", "s", "bias"))
        return torch.stack([((x * r[k]) @ kernel) * s[k] + b[k] for k, x in enumerate(x_MBF)])

    def forward(self, x_BF: Tensor) -> Tensor:
        """(M, B, K) the values before the last activation."""
        h = torch.relu(self.layer(0, torch.stack([x_BF] * M)))
        h = torch.tanh(self.layer(1, h))
        return torch.stack([h[k] @ self.own["2_weight"][k] + self.own["2_bias"][k] for k in range(M)])


def problem_of(loss: str, units: int, activation: str, **changes: Any) -> TrainingProblem:
    last = {"dense": {"units": units, "activation": activation}}
    changes = {"metrics": [], "ensemble": BATCH, "optimizer": {"sgd": RATE}, **changes}
    return make_problem([*LAYERS, last], loss=loss, **changes)


def classes() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 3, (1, N))


TASKS: dict[str, Any] = {
    "binary": (("binary_crossentropy", 1, "sigmoid"), None, ("accuracy", "auc", "mse")),
    "classes": (("sparse_categorical_crossentropy", 3, "softmax"), classes(), ("accuracy",)),
    "numbers": (("mse", 2, "linear"), rows(1, N, 2, seed=9), ("mae", "r2")),
}


def loss_of(task: str, z_BK: Tensor, targets: Tensor) -> Tensor:
    if task == "binary":
        return nn.functional.binary_cross_entropy_with_logits(z_BK, targets)
    return (
        nn.functional.cross_entropy(z_BK, targets) if task == "classes" else (z_BK - targets).square().mean()
    )


def mean_prediction(task: str, z_MBK: Tensor) -> Tensor:
    made = {"binary": torch.sigmoid, "classes": lambda z: torch.softmax(z, -1), "numbers": lambda z: z}
    return made[task](z_MBK).mean(0)


def loss_of_prediction(task: str, p_BK: Tensor, targets: Tensor) -> Tensor:
    if task == "binary":
        return nn.functional.binary_cross_entropy(p_BK, targets)
    if task == "classes":
        return nn.functional.nll_loss(p_BK.log(), targets)
    return (p_BK - targets).square().mean()


def words() -> np.ndarray:
    """Rows of which most numbers are 0, so that a batch does not meet every column."""
    x = rows(1, N, 200)
    x[np.random.default_rng(5).random(x.shape) < 0.97] = 0
    return x


@pytest.mark.parametrize("inputs", ["dense", "sparse", "words"])
@pytest.mark.parametrize("task", TASKS)
def test_it_trains_as_its_paper_has_it(task: str, inputs: str) -> None:
    says, targets, metrics = TASKS[task]
    x_SNF = words() if inputs == "words" else rows(1, N, F)
    sparse = inputs != "dense"
    problem = problem_of(*says, targets=targets, metrics=metrics, sparse=sparse, x_SNF=x_SNF)
    weights, order = first_weights(problem, [0]), np.arange(N)
    engine = eager(problem, weights)
    module = BatchEnsemble({name: value[0] for name, value in weights.items()})
    x_NF, true = torch.from_numpy(x_SNF[0]), problem.head.targets[0]
    for epoch in (1, 2):
        found = engine.train_epoch([order], sources_of(0, [0]), epoch)
        losses = []
        for first in range(0, N, problem.batch_size):
            batch = order[first : first + problem.batch_size]
            z_MBK = module(x_NF[batch])
            loss = torch.stack([loss_of(task, z, true[batch]) for z in z_MBK]).mean()
            module.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter -= RATE * parameter.grad
            losses.append((loss.item(), len(batch)))
        mean = sum(loss * count for loss, count in losses) / N
        assert found.losses[0] == pytest.approx(mean, rel=1e-5)
    expected = {name: module.own[name.replace(".", "_")].detach()[None] for name in weights}
    assert_same(engine.weights(), expected)

    measured = engine.evaluate([order])
    with torch.no_grad():
        p_NK = mean_prediction(task, module(x_NF))
        wanted = loss_of_prediction(task, p_NK, true)
    assert measured.losses[0] == pytest.approx(float(wanted), rel=1e-5)
    score = measured.metrics[0][metrics[0]]
    if task == "binary":
        assert score == pytest.approx(float(((p_NK > 0.5) == true.bool()).float().mean()))
    elif task == "classes":
        assert score == pytest.approx(float((p_NK.argmax(-1) == true).float().mean()))
    else:
        assert score == pytest.approx(float((p_NK - true).abs().mean()), rel=1e-5)


# --- beside others -----------------------------------------------------------------------------------------

WITH_ALL: list[Any] = [
    {"dropout": 0.2},
    {"dense": {"units": HIDDEN, "activation": "relu", "kernel_regularizer": {"l2": 0.01}}},
    "batch_normalization",
    {"dropout": 0.4},
    {"dense": {"units": 5, "kernel_constraint": {"max_norm": 0.5}, "activity_regularizer": "l2"}},
    "layer_normalization",
    {"activation": "tanh"},
    {"dense": {"units": 1, "activation": "sigmoid", "kernel_regularizer": {"l1": 0.01}}},
]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("ensemble", [BATCH, INDEPENDENT])
def test_a_fold_computes_the_same_alone_and_beside_others(ensemble: dict[str, Any], sparse: bool) -> None:
    problem = make_problem(WITH_ALL, ensemble=ensemble, sparse=sparse, optimizer="adam")
    orders = several_rows([30, 25, 60])
    together = eager(problem, first_weights(problem, range(3)))
    phases = [together.train_epoch(orders, sources_of(0, range(3)), epoch) for epoch in (1, 2)]
    measured = together.evaluate(orders)
    for place, order in enumerate(orders):
        alone = eager(problem, first_weights(problem, [place]))
        for epoch, phase in enumerate(phases, start=1):
            own = alone.train_epoch([order], sources_of(0, [place]), epoch)
            assert phase.columns(place) == pytest.approx(own.columns(0), rel=1e-5)
        assert measured.columns(place) == pytest.approx(alone.evaluate([order]).columns(0), rel=1e-5)
        assert_same({n: v[place : place + 1] for n, v in together.weights().items()}, alone.weights())


def test_a_kernel_of_its_own_is_bounded_member_by_member() -> None:
    problem = make_problem(
        [{"dense": {"units": 6, "kernel_constraint": {"max_norm": 0.3}}}, {"dense": 1}],
        ensemble=INDEPENDENT,
        loss="mse",
        metrics=[],
    )
    engine = eager(problem, first_weights(problem, [0, 1]))
    engine.train_epoch(several_rows([60, 60]), sources_of(0, [0, 1]), 1)
    kernel = engine.weights()["0.weight"]
    assert kernel.shape == (2, M, F, 6)
    assert (kernel.norm(dim=2) <= 0.3 + 1e-5).all()
    assert (kernel.norm(dim=2) > 0.29).any()


def test_the_penalty_is_the_mean_over_members() -> None:
    """What they share counts once, what they have themselves by its mean."""
    problem = make_problem(WITH_ALL, ensemble=BATCH)
    weights = first_weights(problem, [0, 1])
    found = problem.network.penalty(weights)
    assert found is not None
    l2, l1 = weights["1.weight"].square().sum((1, 2)), weights["7.weight"].abs().sum((2, 3)).mean(1)
    torch.testing.assert_close(found, 0.01 * l2 + 0.01 * l1)


def test_independent_members_train_as_networks_by_themselves() -> None:
    """Each from its own first weights, by its own loss, of whose gradient the mean has a share of 1 / M."""
    layers = [*LAYERS, {"dense": 1}]
    problem = make_problem(layers, loss="mse", metrics=[], ensemble=INDEPENDENT, optimizer={"sgd": RATE})
    plain = make_problem(layers, loss="mse", metrics=[], optimizer={"sgd": RATE / M})
    weights, order = first_weights(problem, [0]), np.arange(N)
    engine = eager(problem, weights)
    engine.train_epoch([order], sources_of(0, [0]), 1)
    apart = eager(plain, {name: value[0] for name, value in weights.items()})
    losses = apart.train_epoch([order] * M, sources_of(0, range(M)), 1).losses
    assert_same({name: value[0] for name, value in engine.weights().items()}, apart.weights())
    again = eager(problem, weights).train_epoch([order], sources_of(0, [0]), 1)
    assert again.losses[0] == pytest.approx(np.mean(losses), rel=1e-5)


def test_each_member_drops_other_numbers_the_same_ones_whoever_trains_beside_it() -> None:
    problem = make_problem([{"dropout": 0.5}, {"dense": 1}], ensemble=BATCH)
    network = problem.network
    assert isinstance(network, Network)
    ones = torch.ones(2 * M, 3, F)
    of_both, of_second = (
        network.layers[0].forward({}, x, network.rng(sources_of(0, numbers), 1, torch.device("cpu")), None)
        for x, numbers in ((ones, [0, 1]), (ones[:M], [1]))
    )
    assert isinstance(of_both, Tensor)
    assert isinstance(of_second, Tensor)
    assert torch.equal(of_both[M:], of_second)
    assert len({tuple(rows.flatten().tolist()) for rows in of_both}) == 2 * M


def test_it_continues_from_its_state_with_the_same_bits() -> None:
    problem = make_problem(WITH_ALL, ensemble=BATCH, optimizer="adam")
    orders, sources = several_rows([30, 30]), sources_of(0, [0, 1])
    whole = eager(problem, first_weights(problem, [0, 1]))
    whole.train_epoch(orders, sources, 1)
    kept = whole.state_dict()
    whole.train_epoch(orders, sources, 2)
    later = eager(problem, first_weights(problem, [0, 1], seed=5))
    later.load_state_dict(kept)
    later.train_epoch(orders, sources, 2)
    assert_same(later.weights(), whole.weights(), exactly=True)


def test_numbers_are_averaged_in_the_targets_own_units() -> None:
    """Members that say log(1 + 1) and log(1 + 3) say 2, whose logarithm the loss compares."""
    problem = make_problem([{"dense": 1}], loss="mse", metrics=["mae"], ensemble={"members": 2})
    scale = TargetScale((0.0,), (1.0,), log1p=True)
    own = torch.full((1, N, 1), 2.0, dtype=torch.float64)
    problem = with_head(problem, targets=own.log1p().float(), unscaled_targets=own, scales=(scale,))
    weights = {
        "0.weight": torch.zeros(1, 2, F, 1),
        "0.bias": torch.tensor([1.0, 3.0]).log1p().view(1, 2, 1, 1),
    }
    found = evaluated(problem, weights, [0], [np.arange(N)])
    assert found.losses[0] == pytest.approx(0, abs=1e-12)
    assert found.metrics[0]["mae"] == pytest.approx(0, abs=1e-6)


def test_cpp_says_that_it_does_not_know_it() -> None:
    problem = make_problem(ensemble=BATCH)
    assert NativeBackend.unsupported(problem) == "C++ does not support `ensemble`"
