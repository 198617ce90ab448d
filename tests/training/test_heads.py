"""A network with several heads trains on the weighted sum of their losses, and no engine knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from nnrun.model.network import Network
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.random_streams import sources_of
from nnrun.training.backends.native import NativeBackend
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.problem import Head, TrainingProblem
from tests.support.small_problems import F, N, eager, first_weights, make_problem, rows, several_rows

WEIGHT = 0.25


@dataclass(frozen=True)
class TwoHeads:
    """A network of three outputs, of which the first two are `price` and the last is `sold`."""

    network: Network
    sparse_kernels: ClassVar[Mapping[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Any], *rest: Any
    ) -> dict[str, Tensor]:
        z_RBK = self.network.forward(parameters, {INPUT: inputs["left"] + inputs["right"]}, *rest)[OUTPUT]
        return {"price": z_RBK[..., :2], "sold": z_RBK[..., 2:]}

    def activate(self, port: str, z_RBK: Tensor) -> Tensor:
        return z_RBK if port == "price" else torch.sigmoid(z_RBK)


def two_heads() -> TrainingProblem:
    """Two inputs that are added, and two outputs with a loss each."""
    problem = make_problem(
        [{"dense": 3}], loss="mse", metrics=[], targets=rows(1, N, 3), optimizer={"sgd": 0.1}
    )
    prices = torch.from_numpy(rows(1, N, 2, seed=7))
    sold = (torch.from_numpy(rows(1, N, 1, seed=8)) > 0).float()
    mae = build_metrics([schema.MaeMetric()], "linear")
    accuracy = build_metrics([schema.Accuracy()], "sigmoid")
    heads = {
        "price": Head(2, "linear", build_loss(schema.Mse()), prices, mae, loss_weight=WEIGHT),
        "sold": Head(1, "sigmoid", build_loss(schema.BinaryCrossentropy()), sold, accuracy),
    }
    other = replace(problem.inputs[INPUT], x_SNF=torch.from_numpy(rows(1, N, F, seed=9)))
    network: Any = TwoHeads(problem.network)  # type: ignore[arg-type]
    return replace(
        problem, network=network, inputs={"left": problem.inputs[INPUT], "right": other}, heads=heads
    )


def test_an_epoch_follows_the_weighted_sum_of_the_losses() -> None:
    """One batch of all rows, against autograd on the sum written out."""
    problem = replace(two_heads(), batch_size=N)
    engine = eager(problem, first_weights(replace(problem, network=problem.network.network), [0]))
    first = {name: value.clone().requires_grad_() for name, value in engine.weights().items()}
    x = problem.inputs["left"].x_SNF[0] + problem.inputs["right"].x_SNF[0]  # type: ignore[attr-defined]
    z = x @ first["0.weight"][0] + first["0.bias"][0]
    price = (z[:, :2] - problem.heads["price"].targets[0]).square().mean()
    sold = torch.nn.functional.binary_cross_entropy_with_logits(z[:, 2:], problem.heads["sold"].targets[0])
    total = WEIGHT * price + sold
    total.backward()
    found = engine.train_epoch([np.arange(N)], sources_of(0, [0]), 1).columns(0)
    assert list(found) == ["loss", "price_loss", "price_mae", "sold_loss", "sold_accuracy"]
    assert [found["loss"], found["price_loss"], found["sold_loss"]] == pytest.approx(
        [total.item(), price.item(), sold.item()], rel=1e-5
    )
    for name, value in engine.weights().items():
        grad = first[name].grad
        assert grad is not None
        torch.testing.assert_close(value, first[name].detach() - 0.1 * grad, rtol=1e-4, atol=1e-6)


def test_both_heads_are_evaluated() -> None:
    problem = two_heads()
    engine = eager(problem, first_weights(replace(problem, network=problem.network.network), [0, 1]))
    found = engine.evaluate(several_rows([20, 31]))
    for replica in range(2):
        columns = found.columns(replica, "val_")
        assert list(columns)[:4] == ["val_loss", "val_price_loss", "val_price_mae", "val_sold_loss"]
        assert columns["val_loss"] == pytest.approx(
            WEIGHT * columns["val_price_loss"] + columns["val_sold_loss"]
        )


def test_cpp_trains_one_chain_only() -> None:
    assert NativeBackend.unsupported(two_heads()) == "C++ trains one chain of layers only"
