"""What a predictor that never looks at the inputs would score.

It always gives the same outputs, and for each score those that are best for it on the training rows: for an
error its mean or median, for a cross-entropy the share of each class, for accuracy the majority class. A
network that does not beat it has learned nothing from the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.records import SHUFFLED
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import OUTPUT, Port, named, output_views
from nnrun.spec.score_columns import directions
from nnrun.spec.shapes import outputs_masked
from nnrun.training.losses import FUZZ, build_loss
from nnrun.training.metric_types import Constant, Metric, Scored
from nnrun.training.metrics import MetricTotals
from nnrun.training.objective import mean_loss
from nnrun.training.problem import Head, TargetRows, TrainingProblem
from nnrun.validation.summary import monitor_mode

if TYPE_CHECKING:
    from torch import Tensor


def baseline(
    problem: TrainingProblem, replica: int, train_rows: RowIndices, scored_rows: RowIndices
) -> dict[str, float]:
    """Loss and metrics of the best constant predictors for one replica.

    Args:
        problem: the loss, the metrics and the targets.
        replica: the index of its data in the problem.
        train_rows: the rows whose targets the predictor knows.
        scored_rows: the rows on which it is scored. Where they are the training rows, the loss beside it is
            that of training, in which the weights of classes count.
    """
    training = scored_rows is train_rows
    known = {
        port: head.gather([replica], train_rows[None], training=training)
        for port, head in problem.heads.items()
    }
    scored = known
    if not training:
        scored = {port: head.gather([replica], scored_rows[None]) for port, head in problem.heads.items()}
    return constant_scores(problem, known, scored)


def constant_scores(
    problem: TrainingProblem, known: Mapping[Port, TargetRows], scored: Mapping[Port, TargetRows]
) -> dict[str, float]:
    """The best constants for what is known, and their loss and metrics on the scored rows.

    Both are rows of a single network, (1, n, ...), for each head. Of several heads names begin with the
    head's, and `loss` is the total of their losses, where each has one. Each step of an output with steps is
    a row. There is no constant that reads a sequence of classes, and which steps a mask leaves out only the
    network knows: no scores then.
    """
    assert problem.spec is not None, "a baseline is of a spec"
    views = output_views(problem.spec)
    each = {
        port: _constant_scores(views[port], head, known[port], scored[port])
        for port, head in problem.heads.items()
    }
    return of_all_heads(problem.heads, each)


def of_all_heads(heads: Mapping[Port, Head], each: Mapping[Port, dict[str, float]]) -> dict[str, float]:
    """The scores of a whole network from those of each head: with the total loss, where each has one."""
    if not named(each):
        return each[OUTPUT]
    scores = {}
    if all("loss" in own for own in each.values()):
        scores["loss"] = sum(heads[port].loss_weight * own["loss"] for port, own in each.items())
    for port, own in each.items():
        scores |= {f"{port}_{name}": value for name, value in own.items() if name != SHUFFLED}
    return scores


def _constant_scores(
    spec: schema.ExperimentSpec, head: Head, known: TargetRows, scored: TargetRows
) -> dict[str, float]:
    """Of one head, of the rows that have its target; `spec` is as it sees it."""
    known, scored = known.with_target(), scored.with_target()
    if not (len(known) and len(scored)):
        return {}  # the few rows of a smoke run may have none
    if head.form == "sequence" or (head.form == "steps" and outputs_masked(graph_of(spec))[0]):
        return {}
    if head.form == "steps":
        known, scored = _steps_as_rows(known), _steps_as_rows(scored)
    weights = None if known.weights is None else known.weights[0]
    candidates = constants_for_loss(
        spec.own_loss, head.activation, head.num_outputs, known.targets[0], weights
    )
    with torch.inference_mode():
        constant = best_by(lambda c: _loss_of(head, c, known), candidates)
        scores = {"loss": _loss_of(head, constant, scored)}
        own = directions(spec)
        for metric in head.metrics:
            sign = -1.0 if monitor_mode(metric.name, own) == "max" else 1.0
            found = constants_for_metric(
                metric.constant, head.activation, head.num_outputs, known.unscaled[0]
            )
            constant = best_by(lambda c: sign * _metric_of(head, metric, c, known), found)  # noqa: B023
            scores[metric.name] = _metric_of(head, metric, constant, scored)
    labels = _labels(scored.targets)
    if "accuracy" in scores and labels is not None:
        shares = torch.bincount(labels).double() / len(scored)
        scores[SHUFFLED] = float(shares.square().sum())  # the chance that two rows drawn at random agree
    return scores


def _steps_as_rows(rows: TargetRows) -> TargetRows:
    """(1, n, T) targets as (1, n * T)."""
    steps = rows.targets.shape[2]
    weights = None if rows.weights is None else rows.weights.repeat_interleave(steps, 1)
    return TargetRows(rows.targets.flatten(1, 2), rows.unscaled.flatten(1, 2), weights)


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over folds, score by score."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _loss_of(head: Head, constant: Candidate, rows: TargetRows) -> float:
    device = rows.targets.device
    z, outputs = (
        values.float().to(device).expand(1, len(rows), -1) for values in (constant.z, constant.outputs)
    )
    losses_1n = head.loss(z, outputs, rows.targets).double()
    return float(mean_loss(losses_1n, rows.weights)[0])


def _metric_of(head: Head, metric: Metric, constant: Candidate, rows: TargetRows) -> float:
    dtype = dtype_of_outputs(metric, scaled=head.scales is not None)
    z, outputs = (
        values.to(rows.unscaled.device, dtype).expand(1, len(rows), -1)
        for values in (constant.z, constant.outputs)
    )
    totals = MetricTotals([metric], 1)
    totals.add([0], Scored(z, outputs, rows.unscaled))
    return totals.values(0)[metric.name]


def dtype_of_outputs(metric: Metric, *, scaled: bool) -> torch.dtype:
    """The precision in which a metric takes outputs that no network computed.

    A person's own metric gets what it gets of a network: float32, unless the targets were scaled.
    """
    return torch.float64 if metric.constant != "search" or scaled else torch.float32


def _labels(targets: Tensor) -> Tensor | None:
    """(n,) the class of each row; None where a row can have several labels."""
    if targets.dim() == 2:
        return targets[0]
    if targets.shape[2] == 1:
        return (targets[0, :, 0] > 0.5).long()
    one_each = bool((targets.sum(-1) == 1).all())
    return targets[0].argmax(-1) if one_each else None


_LEAST_SHARE = 1e-7
"""Keras's fuzz factor: a class that no training row has would have an infinite loss."""

_LARGEST_LOGIT = 100.0  # of a class that is certain
_GRID = 64  # values that a search tries before it looks between two of them
_HALVINGS = 60  # of an interval in which a minimum lies
_DECIDED = 8.0  # a logit from which a descent still finds back
_MOST_COLUMNS = 32  # that a search goes through one by one


@dataclass(frozen=True, eq=False)
class Candidate:
    """Constant outputs, (K,) float64, and the values that the last activation turns into them."""

    z: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class Search:
    """Outputs among which the best must be searched for, column by column.

    Attributes:
        start: where the search begins.
        values: for each column what is tried first, ascending; a minimum is then looked for between two.
    """

    start: Tensor
    values: tuple[Tensor, ...]


Candidates = list[Candidate] | Search


def constants_for_loss(
    loss: schema.Component, activation: str, outputs: int, targets: Tensor, weights: Tensor | None
) -> Candidates:
    """Outputs of which one has the least mean loss over rows with these targets.

    Args:
        loss: of the spec.
        activation: of the network's last layer.
        outputs: K.
        targets: (n, K) or (n,), as the loss takes them.
        weights: (n,) what the loss of each row counts, or None.
    """
    y_nK, w_n = _columns(targets, outputs), None if weights is None else weights.double().cpu()
    if w_n is not None and not float(w_n.sum()) > 0:
        w_n = None
    if isinstance(loss, schema.ClassLoss):
        return _constants_for_classes(loss, activation, y_nK, w_n)
    shares = _mean(y_nK, w_n)
    if isinstance(loss, schema.Mse):
        return [_as_they_are(shares)]
    if activation == "softmax":  # outputs must sum to 1
        return [_as_they_are(shares), _as_they_are(_one_of(shares))]
    known = _best_numbers(loss, y_nK, w_n)
    return _search(y_nK, shares, activation) if known is None else [_as_they_are(known)]


def _constants_for_classes(
    loss: schema.ClassLoss, activation: str, y_nK: Tensor, w_n: Tensor | None
) -> Candidates:
    shares = _mean(y_nK, w_n)
    match loss:
        case schema.Hinge():
            return [_as_they_are(torch.where(shares > 0.5, 1.0, -1.0).double())]
        case schema.SquaredHinge():
            return [_as_they_are(2 * shares - 1)]
        case schema.CategoricalHinge():  # no class has half of the rows: nothing beats equal scores
            return [_as_they_are(torch.zeros_like(shares)), _as_they_are(_one_of(shares))]
        case schema.Dice() | schema.Tversky():  # certain answers may be better than what a descent finds
            order = shares.argsort(descending=True)[:_MOST_COLUMNS]
            most = [_decided(_ones_at(order[: k + 1], shares), activation) for k in range(len(order))]
            return [*_descent(loss, activation, y_nK, w_n), *(most[:1] if activation == "softmax" else most)]
        case schema.BinaryFocalCrossentropy() | schema.CategoricalFocalCrossentropy():
            return _descent(loss, activation, y_nK, w_n)
    classes = 2 if loss.target_step == "none" else y_nK.shape[1]
    smoothing = 0.0
    match loss:
        case (
            schema.BinaryCrossentropy(label_smoothing=share)
            | schema.CategoricalCrossentropy(label_smoothing=share)
            | schema.SparseCategoricalCrossentropy(label_smoothing=share)
        ):
            smoothing = share
    return [_of_shares(shares * (1 - smoothing) + smoothing / classes, activation)]


def _best_numbers(loss: schema.Component, y_nK: Tensor, w_n: Tensor | None) -> Tensor | None:
    """(K,) the constant of the least loss, where a formula or a root tells it."""
    match loss:
        case schema.Mae():
            return _median(y_nK, w_n)
        case schema.Mape():  # distances, each divided by its target's size
            sizes_nK = 1 / y_nK.abs().clamp(min=FUZZ)
            return _quantiles(y_nK, sizes_nK if w_n is None else sizes_nK * w_n[:, None], [0.5])
        case schema.Quantile(levels=quantiles):
            weights_nK = torch.ones_like(y_nK) if w_n is None else w_n[:, None].expand(y_nK.shape)
            return _quantiles(y_nK, weights_nK, quantiles)
        case schema.Huber(delta=delta):
            return _where_pulls_cancel(lambda error: error.clamp(-delta, delta), y_nK, w_n)
        case schema.LogCosh():
            return _where_pulls_cancel(torch.tanh, y_nK, w_n)
        case schema.Poisson():
            return _mean(y_nK, w_n)
        case schema.Msle():
            return torch.expm1(_mean(torch.log1p(y_nK.clamp(min=FUZZ)), w_n))
        case schema.CosineSimilarity():
            return _mean(torch.nn.functional.normalize(y_nK, dim=-1, eps=FUZZ), w_n)
    return None


def constants_for_metric(how: Constant, activation: str, outputs: int, targets: Tensor) -> Candidates:
    """Outputs of which one has the best metric over rows with these targets, in their own units."""
    y_nK = _columns(targets, outputs)
    shares = _mean(y_nK, None)
    if how == "search":
        return _search(y_nK, shares, activation)
    several = activation == "softmax"
    by_loss = {"mape": schema.Mape(), "msle": schema.Msle()}.get(how)
    if by_loss is not None and not several:
        best = _best_numbers(by_loss, y_nK, None)
        assert best is not None, "both are known"
        return [_decided(best, activation)]
    if how == "decided" and not several:  # no label, the most frequent one, and so on
        order = shares.argsort(descending=True)
        counts = range(min(outputs, _MOST_COLUMNS) + 1)
        return [_decided(_ones_at(order[:count], shares), activation) for count in counts]
    if how == "mean" or (how == "share" and activation not in ("sigmoid", "softmax")):
        return [_decided(shares, activation)]
    if how == "share":
        return [_of_shares(shares, activation)]
    if how == "median" and not several:
        return [_decided(_median(y_nK, None), activation)]
    if several:
        return [_decided(_one_of(shares), activation)]
    order = shares.argsort(descending=True)
    number = {
        "majority": int((shares > 0.5).sum()),
        "most_frequent": 1,
        "all": outputs,
        "best_f1": _best_f1(shares[order]),
    }[how]
    return [_decided(_ones_at(order[:number], shares), activation)]


def best_by(score: Callable[[Candidate], float], candidates: Candidates) -> Candidate:
    """The candidate of the lowest score; the first where none has any."""
    if isinstance(candidates, Search):
        return _searched(score, candidates)
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda candidate: _or_infinity(score(candidate)))


# --- outputs -----------------------------------------------------------------------------------------------


def _as_they_are(outputs_K: Tensor) -> Candidate:
    return Candidate(outputs_K, outputs_K)


def _of_shares(shares_K: Tensor, activation: str) -> Candidate:
    """Shares of classes or labels, none of them so small that its loss would be infinite."""
    if activation == "softmax":
        return Candidate(shares_K.clamp(_LEAST_SHARE, 1).log(), shares_K)
    return Candidate(torch.logit(shares_K, eps=_LEAST_SHARE), shares_K)


def _decided(outputs_K: Tensor, activation: str) -> Candidate:
    """The same for metrics: 0 and 1 are beyond any threshold."""
    if activation == "softmax":
        return Candidate(outputs_K.log().clamp(min=-_LARGEST_LOGIT), outputs_K)
    if activation == "sigmoid":
        return Candidate(torch.logit(outputs_K).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT), outputs_K)
    return _as_they_are(outputs_K)


def _one_of(shares_K: Tensor) -> Tensor:
    """1 for the most frequent class, the first of equals, and 0 for the others."""
    return _ones_at(shares_K.argmax(), shares_K)


def _ones_at(places: Tensor, like_K: Tensor) -> Tensor:
    ones = torch.zeros_like(like_K)
    ones[places] = 1
    return ones


# --- over rows ---------------------------------------------------------------------------------------------


def _columns(targets: Tensor, outputs: int) -> Tensor:
    """(n, K) float64 on the CPU: class indices as rows of 0 and a single 1."""
    targets = targets.cpu()
    if targets.dim() == 1:
        return torch.nn.functional.one_hot(targets, outputs).double()
    return targets.double()


def _mean(y_nK: Tensor, w_n: Tensor | None) -> Tensor:
    if w_n is None:
        return y_nK.mean(0)
    return (y_nK * w_n[:, None]).sum(0) / w_n.sum()


def _median(y_nK: Tensor, w_n: Tensor | None) -> Tensor:
    """Of each column; where the weights on both sides are equal, the middle between the two values."""
    if w_n is None:
        return torch.from_numpy(np.median(y_nK.numpy(), axis=0))
    weights = w_n.numpy()
    return torch.tensor([_weighted_median(y, weights) for y in y_nK.numpy().T], dtype=torch.float64)


def _weighted_median(y_n: np.ndarray, w_n: np.ndarray) -> float:
    return _weighted_quantile(y_n, w_n, 0.5)


def _weighted_quantile(y_n: np.ndarray, w_n: np.ndarray, q: float) -> float:
    """Where a share q of the weights is below; where that is between two values, the middle of them."""
    order = np.argsort(y_n, kind="stable")
    order = order[w_n[order] > 0]
    below = np.cumsum(w_n[order])
    wanted = below[-1] * q
    at = min(int(np.searchsorted(below, wanted)), len(order) - 1)
    value = float(y_n[order[at]])
    tie = math.isclose(below[at], wanted) and at + 1 < len(order)
    return (value + float(y_n[order[at + 1]])) / 2 if tie else value


def _quantiles(y_nK: Tensor, weights_nK: Tensor, quantiles: Sequence[float]) -> Tensor:
    """(K,) of each column its quantile, of which there are one for all or one for each."""
    each = list(quantiles) * y_nK.shape[1] if len(quantiles) == 1 else quantiles
    columns = zip(y_nK.numpy().T, weights_nK.numpy().T, each, strict=True)
    return torch.tensor([_weighted_quantile(y, w, q) for y, w, q in columns], dtype=torch.float64)


def _where_pulls_cancel(pull: Callable[[Tensor], Tensor], y_nK: Tensor, w_n: Tensor | None) -> Tensor:
    """Where the derivative of each column's summed loss, which rises with the error, crosses 0."""
    weights = torch.ones(len(y_nK), 1, dtype=torch.float64) if w_n is None else w_n[:, None]
    low, high = y_nK.min(0).values, y_nK.max(0).values
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rises = (weights * pull(middle - y_nK)).sum(0) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    return (low + high) / 2


def _best_f1(shares_K: Tensor) -> int:
    """How many of the labels, the most frequent first, give the best F1 (micro) when every row has them."""
    right = shares_K.cumsum(0)
    chosen = torch.arange(1, len(shares_K) + 1)
    return int((2 * right / (chosen + shares_K.sum())).argmax()) + 1


# --- where no formula tells --------------------------------------------------------------------------------


def _search(y_nK: Tensor, shares: Tensor, activation: str) -> Candidates:
    """What to try for a person's own loss or metric."""
    if activation == "softmax":
        likely = shares.argsort(descending=True)[:_GRID]
        ones = [torch.eye(len(shares), dtype=torch.float64)[k] for k in likely]
        return [_decided(outputs, activation) for outputs in (shares, *ones)]
    if y_nK.shape[1] > _MOST_COLUMNS:
        return [_as_they_are(shares), _as_they_are(_median(y_nK, None))]
    levels = torch.linspace(0, 1, _GRID + 1, dtype=torch.float64)
    if activation == "sigmoid":
        return Search(shares, (levels,) * y_nK.shape[1])
    quantiles = np.quantile(y_nK.numpy(), levels.numpy(), axis=0)
    return Search(shares, tuple(torch.from_numpy(np.unique(column)) for column in quantiles.T))


def _searched(score: Callable[[Candidate], float], search: Search) -> Candidate:
    """The best outputs, one column after the other: the best value of a grid, then between its neighbours."""
    best = search.start.clone()

    def score_at(column: int, value: float) -> float:
        outputs = best.clone()
        outputs[column] = value
        return _or_infinity(score(_as_they_are(outputs)))

    for column, values in enumerate(search.values):
        tried = sorted({*values.tolist(), float(best[column])})
        scores = [score_at(column, value) for value in tried]
        at = int(np.argmin(scores))
        if math.isinf(scores[at]):
            continue
        low, high = tried[max(0, at - 1)], tried[min(len(tried) - 1, at + 1)]
        value, found = _golden(lambda value: score_at(column, value), low, high)  # noqa: B023
        best[column] = value if found < scores[at] else tried[at]
    return _as_they_are(best)


def _golden(score: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The value between two of the lowest score, and that score, by golden sections."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    of_left, of_right = score(left), score(right)
    for _ in range(_HALVINGS):
        if of_left <= of_right:
            high, right, of_right = right, left, of_left
            left = high - ratio * (high - low)
            of_left = score(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + ratio * (high - low)
            of_right = score(right)
    return min(((left, of_left), (right, of_right)), key=lambda pair: pair[1])


_DESCENTS = 100  # iterations of L-BFGS


def _descent(loss: schema.ClassLoss, activation: str, y_nK: Tensor, w_n: Tensor | None) -> list[Candidate]:
    """Where a loss of probabilities ends that goes down from the shares of the labels; and the shares."""
    start = _of_shares(_mean(y_nK, w_n), activation)
    z_K = start.z.clamp(-_DECIDED, _DECIDED).clone().requires_grad_()
    of_rows, activate = build_loss(loss), ACTIVATIONS[activation]
    descent = torch.optim.LBFGS([z_K], max_iter=_DESCENTS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        descent.zero_grad()
        z_1nK = z_K.expand(1, *y_nK.shape)
        found = mean_loss(
            of_rows(z_1nK, activate(z_1nK), y_nK[None]), None if w_n is None else w_n[None]
        ).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    with torch.inference_mode(False), torch.enable_grad():
        descent.step(step)  # type: ignore[no-untyped-call]
    z = z_K.detach()
    return [start, Candidate(z, activate(z))]


def _or_infinity(score: float) -> float:
    return math.inf if math.isnan(score) else score
