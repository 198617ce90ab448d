"""A linear model averaged into each network of folds: its share is what the rows of the other folds say.

Where a number follows from others in a straight line, a linear model is better than a network. Before the
last activation w * linear + (1 - w) * network is itself a network: its last dense layer takes what the hidden
layers give and, beside it, the linear model's inputs, with the kernels of both, scaled. So nothing else needs
to know of it: the spec of the new run declares that graph.

The linear model of a fold is ridge or logistic regression, as `setup.linear_fit` has them, of the rows that
its network did not validate on, inner rows included. It takes numbers standardized, where the network takes
bins or ranks of them: on these it would be no better than the network.

Of each fold w is chosen on the rows that other folds validated on. So its own rows chose nothing of it, and
what is scored on them is not called optimistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset, FittedPreprocessing, Samples
from nnrun.data.preprocess import column_plans, fit_input
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.open_run import OpenRun
from nnrun.experiment.predicting.outputs import outputs_function
from nnrun.experiment.setup.groups import make_inputs, make_problem
from nnrun.experiment.setup.linear_baseline import (
    LinearTask,
    RowsOfProblem,
    fit_linear_models,
    why_not_linear,
)
from nnrun.experiment.setup.linear_fit import Floats, LinearModel, TooSlow
from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.network import network_of
from nnrun.records.run_record import LinearMemberRecord
from nnrun.spec import schema
from nnrun.spec.linear_member import HIDDEN, LINEAR, NETWORK, spec_with_linear_member
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.random_streams import RandomSource

SHARES: Final = np.arange(21) / 20
"""What the linear model may count, ascending; the network counts the rest."""

_MOST_SECONDS = 60.0  # of a fit
_WITHIN = 0.5  # chosen on half of the tables of tests/benchmarks/tables.py


@dataclass(frozen=True, eq=False)
class _Member:
    """A fold's network and the linear model beside it.

    Attributes:
        fitted: the preprocessing of the graph.
        model: the linear model, of the loss's own units.
        rows: those that both are validated on.
        losses: (W, n) of these rows, for each of `SHARES`; `weights` (n,) says what each row counts.
    """

    network: TrainedNetwork
    fitted: FittedPreprocessing
    model: LinearModel
    rows: npt.NDArray[np.int64]
    losses: Floats
    weights: Floats


def with_linear_members(opened: OpenRun) -> tuple[OpenRun, LinearMemberRecord]:
    """The run's networks, each with a linear model in it; and what its record says of them.

    Where there can be none, they are as they were, and the record says why.

    Args:
        opened: a run of folds, whose spec asks for `linear_member`.
    """
    spec = spec_with_linear_member(opened.spec, _columns(opened))
    dataset = _of_two_inputs(opened.dataset)
    view = spec.preprocessing.model_copy(update={"inputs": spec.inputs[LINEAR].preprocessing})
    plans = column_plans(view, dataset.input(LINEAR))
    members: list[_Member] = []
    for network in opened.networks:
        fold = opened.fold_of(network)
        known = np.union1d(fold.train_rows, fold.inner_rows).astype(np.int64)
        seed = RandomSource(spec.seed, fold.index).derive(purpose="preprocessing")
        linear = fit_input(view, dataset.input(LINEAR), known, plans=plans, seed=seed)
        fitted = FittedPreprocessing(
            {NETWORK: network.fitted.inputs[INPUT], LINEAR: linear}, network.fitted.outputs
        )
        found = _fitted_member(opened, spec, dataset, network, fitted, known, fold.validation_rows)
        if isinstance(found, str):
            return opened, LinearMemberRecord(left_out=found)
        members.append(found)
    shares = [_share(members, member) for member in members]
    networks = tuple(_blended(spec, member, w) for member, w in zip(members, shares, strict=True))
    kind = str(schema.linear_model_of(spec.own_loss))
    made = replace(opened, spec=spec, dataset=dataset, networks=networks)
    *_, last = opened.spec.layers
    assert isinstance(last, schema.Dense), "lint refuses other last layers"
    return made, LinearMemberRecord(
        model=kind,
        shares=[float(w) for w in shares],
        use_bias=last.use_bias,
        lists_columns=bool(getattr(opened.spec.dataset, "inputs", None)),
    )


def _columns(opened: OpenRun) -> list[int | str]:
    """Those that the networks take."""
    table = opened.networks[0].fitted.inputs[INPUT].table
    assert isinstance(opened.spec.dataset, schema.NamedColumns), "lint refuses other data"
    assert table is not None, "the columns of a table make one"
    return [*(opened.spec.dataset.inputs or [column.name for column in table.columns])]


def _of_two_inputs(dataset: Dataset) -> Dataset:
    """The data set whose two inputs both take all of its columns."""

    def of(samples: Samples) -> Samples:
        return replace(samples, of_inputs={NETWORK: samples.inputs, LINEAR: samples.inputs})

    return replace(dataset, train=of(dataset.train), test=None if dataset.test is None else of(dataset.test))


def _fitted_member(
    opened: OpenRun,
    spec: schema.ExperimentSpec,
    dataset: Dataset,
    network: TrainedNetwork,
    fitted: FittedPreprocessing,
    known: npt.NDArray[np.int64],
    validated: npt.NDArray[np.int64],
) -> _Member | str:
    """The linear model of one fold, and the losses of its rows by each share; or why there is none."""
    only = FittedPreprocessing({LINEAR: fitted.inputs[LINEAR]}, fitted.outputs)
    if why := why_not_linear(only, len(known)):
        return why
    samples, device = dataset.train, torch.device("cpu")
    inputs = make_inputs([only], {LINEAR: samples.inputs}, device)
    layers = network_of(spec, fitted.inputs)
    problem = make_problem(spec, layers, [only], samples, device, inputs, training=True)
    rows = RowsOfProblem(problem, 0, known)
    model_kind = str(schema.linear_model_of(spec.own_loss))
    try:
        fit = fit_linear_models(LinearTask(rows, rows), {OUTPUT: model_kind}, _MOST_SECONDS)
    except TooSlow:
        return f"it was not fitted within {_MOST_SECONDS:g} s"
    if isinstance(fit, str):
        return fit
    model, head = fit.models[OUTPUT], problem.heads[OUTPUT]
    own = samples.take(validated)
    by_network = outputs_function(opened.spec, network.fitted, network.weights, opened.device, logits=True)(
        {INPUT: own.inputs}
    )[OUTPUT]
    by_model = model.outputs(RowsOfProblem(problem, 0, validated).matrix())
    targets = head.gather([0], validated[None])
    losses = []
    with torch.inference_mode():
        for w in SHARES:
            z = torch.from_numpy((1 - w) * by_network + w * by_model)[None].float()
            losses.append(head.loss(z, ACTIVATIONS[head.activation](z), targets.targets)[0].double().numpy())
    weights = np.ones(len(validated)) if targets.weights is None else targets.weights[0].double().numpy()
    return _Member(network, fitted, model, validated, np.array(losses), weights)


def _share(members: Sequence[_Member], of: _Member) -> float:
    """What the linear model counts in one network, by the rows that others validated on, and it did not.

    That is the largest of the shares whose loss is within `_WITHIN` standard errors of the lowest: of those
    that the rows hardly tell apart the simplest, as by the one-standard-error rule.
    """
    others = [(member, ~np.isin(member.rows, of.rows)) for member in members]
    losses = np.concatenate([member.losses[:, own] for member, own in others], axis=1)
    weights = np.concatenate([member.weights[own] for member, own in others])
    if not weights.sum() > 0:
        return 0.0
    best = int(np.argmin(losses @ weights))
    worse = losses - losses[best]
    mean = worse @ weights / weights.sum()
    variance = (worse - mean[:, None]) ** 2 @ weights / weights.sum()
    error = np.sqrt(variance * (weights**2).sum()) / weights.sum()
    return float(SHARES[np.flatnonzero(mean <= _WITHIN * error)[-1]])


def _blended(spec: schema.ExperimentSpec, member: _Member, share: float) -> TrainedNetwork:
    """The network whose last layer has the kernels of both, each scaled by what it counts."""
    (last,) = network_of(spec, member.fitted.inputs).output_layers.values()
    assert isinstance(spec.layers, dict), "made above"
    place = len(spec.layers[HIDDEN]) - 1  # of the last layer in the list of layers that this was
    weights: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in member.network.weights.items():
        first, _, rest = name.partition(".")
        if int(first) < place:
            weights[f"{HIDDEN}.{int(first) + 1}.{rest}"] = value
    kernel = member.network.weights[f"{place}.weight"]
    bias = member.network.weights.get(f"{place}.bias", np.zeros(len(kernel), np.float32))
    weights[f"{last.path}.weight"] = np.concatenate(
        [(1 - share) * kernel, share * member.model.kernel.T], axis=1
    ).astype(np.float32)
    weights[f"{last.path}.bias"] = ((1 - share) * bias + share * member.model.bias).astype(np.float32)
    return TrainedNetwork(member.network.member, member.fitted, weights)
