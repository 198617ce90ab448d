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
from nnrun.training.backends.native import NativeBackend
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.objective import mean_loss, mean_over_steps
from nnrun.training.problem import Head, TrainingProblem
from tests.support.small_problems import F, N, eager, first_weights, make_problem, rows, several_rows
from tests.support.streams import sources_of

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


def lacking(problem: TrainingProblem, **present: np.ndarray) -> TrainingProblem:
    """The problem, where some rows have no target for a head; what stands there must not matter."""
    heads = dict(problem.heads)
    for port, rows_N in present.items():
        targets = heads[port].targets.clone()
        targets[:, ~torch.from_numpy(rows_N)] = 1e6
        heads[port] = replace(heads[port], targets=targets, present=torch.from_numpy(rows_N)[None])
    return replace(problem, heads=heads)


HAS_PRICE = np.arange(N) % 3 != 0


def test_rows_without_a_target_leave_the_others_mean_as_it_is() -> None:
    """One batch: the loss and the gradient of the other rows alone."""
    problem = replace(lacking(two_heads(), price=HAS_PRICE), batch_size=N)
    weights = first_weights(replace(problem, network=problem.network.network), [0])
    engine = eager(problem, weights)
    first = {name: value.clone().requires_grad_() for name, value in engine.weights().items()}
    x = problem.inputs["left"].x_SNF[0] + problem.inputs["right"].x_SNF[0]  # type: ignore[attr-defined]
    z = x @ first["0.weight"][0] + first["0.bias"][0]
    error = z[HAS_PRICE, :2] - problem.heads["price"].targets[0, HAS_PRICE]
    sold = torch.nn.functional.binary_cross_entropy_with_logits(z[:, 2:], problem.heads["sold"].targets[0])
    total = WEIGHT * error.square().mean() + sold
    total.backward()
    found = engine.train_epoch([np.arange(N)], sources_of(0, [0]), 1).columns(0)
    assert found["price_loss"] == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert found["price_mae"] == pytest.approx(error.abs().mean().item(), rel=1e-5)
    assert found["loss"] == pytest.approx(total.item(), rel=1e-5)
    for name, value in engine.weights().items():
        grad = first[name].grad
        assert grad is not None
        torch.testing.assert_close(value, first[name].detach() - 0.1 * grad, rtol=1e-4, atol=1e-6)


def test_a_batch_without_any_target_of_a_head_trains_the_others() -> None:
    """The first batches have no price: their loss of it is 0, and the epoch's is that of the others."""
    has_price = np.arange(N) >= 12
    problem = replace(lacking(two_heads(), price=has_price), batch_size=4)
    engine = eager(problem, first_weights(replace(problem, network=problem.network.network), [0]))
    found = engine.train_epoch([np.arange(N)], sources_of(0, [0]), 1)
    columns = found.columns(0)
    assert found.first_bad_batch == (None,)
    assert all(np.isfinite(value) for value in columns.values())
    assert columns["loss"] == pytest.approx(WEIGHT * columns["price_loss"] + columns["sold_loss"], rel=1e-5)
    assert all(bool(value.isfinite().all()) for value in engine.weights().values())


def test_rows_without_a_target_are_not_measured_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each replica's rows may lack different targets, and they are evaluated in blocks or all at once."""
    measured = []
    for at_once in (10_000_000, 7 * F):
        monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", at_once)
        problem = lacking(two_heads(), price=HAS_PRICE, sold=np.arange(N) % 4 != 1)
        engine = eager(problem, first_weights(replace(problem, network=problem.network.network), [0, 1]))
        found = engine.evaluate(several_rows([20, 31]))
        measured.append([found.columns(replica) for replica in range(2)])
    for whole, in_parts in zip(*measured, strict=True):
        assert in_parts == pytest.approx(whole, rel=1e-6)
        assert whole["price_mae"] < 1e3
        assert whole["loss"] == pytest.approx(WEIGHT * whole["price_loss"] + whole["sold_loss"])


def test_a_head_without_any_target_has_no_scores_and_the_total_none_of_it() -> None:
    problem = lacking(two_heads(), price=np.zeros(N, bool))
    engine = eager(problem, first_weights(replace(problem, network=problem.network.network), [0]))
    found = engine.evaluate([np.arange(N)]).columns(0)
    assert np.isnan([found["price_loss"], found["price_mae"]]).all()
    assert found["loss"] == pytest.approx(found["sold_loss"])


def test_a_row_without_a_target_counts_as_where_keras_masks_it() -> None:
    """Keras 3.15, `MeanSquaredError` of predictions with `_keras_mask`, without and with `sample_weight`; a
    weight of 0 in place of the mask gives 1.3125."""
    errors = torch.tensor([[0.5, -2.0, 7.0, -1.0]]).square()
    present, weights = torch.tensor([[True, True, False, True]]), torch.tensor([[1.0, 3.0, 2.0, 0.5]])
    assert mean_loss(errors, None, present).tolist() == pytest.approx([1.75])
    assert mean_loss(errors, weights, present).tolist() == pytest.approx([4.25])


def test_steps_of_rows_without_targets_do_not_count() -> None:
    """The mean of a batch is that of the steps that a mask keeps, in rows that have targets."""
    losses = torch.arange(12.0).reshape(1, 3, 4)
    mask = torch.tensor([[[True, True, False, False], [True] * 4, [True, False, False, False]]])
    present = torch.tensor([[True, False, True]])
    of_rows = mean_over_steps(losses, mask, present)
    assert mean_loss(of_rows, None, present).tolist() == pytest.approx([(0 + 1 + 8) / 3])


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
