"""Several runs of one architecture, trained side by side as replicas, each with its record as if alone.

What they may differ in: the seed, the learning rate, the strengths of regularizers. All else must be alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnrun.data import Dataset
from nnrun.data.preprocess import share_rows
from nnrun.errors import NnrunError
from nnrun.experiment.running.job import (
    Job,
    Plan,
    Settings,
    baselines,
    computing,
    given_weights,
    plan_group,
    work_per_step,
)
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import new_run
from nnrun.experiment.running.train import train_runs
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import EVERYTHING, Group, Selection, prepare_groups, training_problem
from nnrun.experiment.setup.memory_estimate import estimate_memory, refuse_what_does_not_fit
from nnrun.lazy_torch import torch
from nnrun.model.network import Network
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.graph import vector_files
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.writing.dump import dump_value
from nnrun.training.device import resolve_device, threads_for
from nnrun.training.problem import LEARNING_RATE

if TYPE_CHECKING:
    from torch import Tensor

MOST_PARAMETERS = 1_300_000
"""Of all runs together, on a CPU. On 2 cores with 32 MB of cache a group of more was slower than its runs one
by one: 4 networks of 650,000 took 1.3 times, of 1,300,000 1.5 times as long; 8 of 160,000 took 0.75 times."""

MOST_NUMBERS = 50_000_000
"""Of all runs' own rows, where their preprocessing differs: 200 MB."""


@dataclass(frozen=True)
class Candidate:
    """A run to be: its spec, how and where, and who is told of it."""

    loaded: LoadedSpec
    settings: Settings
    listener: Listener


@dataclass(frozen=True, eq=False)
class StackedRuns:
    """Runs that can train side by side.

    Attributes:
        candidates: the runs to be.
        jobs: each of them as if it were alone.
        plan: their networks as one group of replicas, in this order.
    """

    candidates: Sequence[Candidate]
    jobs: Sequence[Job]
    plan: Plan


def architecture_of(spec: schema.ExperimentSpec, selection: Selection = EVERYTHING) -> str | None:
    """A text that specs have in common which can train side by side; None for one of several networks.

    `selection` may name the only fold that is trained.
    """
    if selection.networks(spec) > 1:
        return None
    values: dict[str, Any] = dump_value(spec)
    del values["seed"]
    for parameters in values["optimizer"].values():
        del parameters["learning_rate"]
    for layer in values["layers"]:
        if isinstance(layer, dict):  # else it is a name without parameters
            for parameters in layer.values():
                parameters.pop("kernel_regularizer", None)
    return json.dumps(values)


def stack_runs(candidates: Sequence[Candidate], dataset: Dataset) -> StackedRuns | None:
    """Prepare runs of one architecture; None where fewer of them at a time do better.

    So it is where they are too large, where their inputs have different widths, and where one of them cannot
    be prepared, which it will say itself when it is alone.
    """
    settings = candidates[0].settings
    specs = [smoke_spec(c.loaded.spec) if settings.smoke else c.loaded.spec for c in candidates]
    device = resolve_device(settings.device)
    try:
        first = prepare_groups(specs[0], dataset, settings.selection)
        if device.type == "cpu" and len(specs) * first[0].network.parameter_count > MOST_PARAMETERS:
            return None
        if vector_files(specs[0]):
            return None
        given = given_weights(specs[0], first)
        alone = _prepared(specs, first[0], dataset, settings.selection)
    except NnrunError:
        return None
    network = alone[0].network
    if any(group.network.weights != network.weights for group in alone):
        return None
    own_rows = not share_rows([group.fitted[0] for group in alone])
    if own_rows and len(specs) * len(dataset.train) * _width(alone[0]) > MOST_NUMBERS:
        return None
    group = Group(tuple(replace(own.members[0], id=index) for index, own in enumerate(alone)), network)
    with computing(device, specs[0].deterministic):
        problem = training_problem(specs[0], group, dataset, device)
        own = _own_values(specs, [single.network for single in alone])
        own = {name: value.to(device) for name, value in own.items()}
        problem = replace(problem, per_replica={**problem.per_replica, **own})
        planned = plan_group(group, problem, settings.compile)
    memory = estimate_memory(dataset, (group,), problem.bytes_per_network, specs[0])
    try:
        refuse_what_does_not_fit(memory, device, candidates[0].listener.message)
    except NnrunError:
        return None  # one by one they may fit
    jobs = [
        Job(
            spec=spec,
            settings=candidate.settings,
            dataset=dataset,
            groups=(single,),
            baselines={single.members[0].id: constants},
            device=device,
            compiled=planned.choice.compiled,
            listener=candidate.listener,
            memory=memory,
            networks_at_once=len(specs),
        )
        for spec, single, candidate, constants in zip(
            specs, alone, candidates, baselines(problem, group), strict=True
        )
    ]
    work = 0 if planned.choice.backend.own_threads else work_per_step(problem, group)
    return StackedRuns(candidates, jobs, Plan([planned], given, threads_for(work)))


def train_stacked(stacked: StackedRuns) -> list[RunDirectory]:
    """Train the runs, and give their folders. One that diverges says so in its record, and the others go on.

    Raises:
        RunInterrupted: the user stopped it (a KeyboardInterrupt); all runs say so and keep what there was.
    """
    jobs, plan = stacked.jobs, stacked.plan
    openings = [
        new_run(job, candidate.loaded.source_text, plan.threads)
        for job, candidate in zip(jobs, stacked.candidates, strict=True)
    ]
    with computing(jobs[0].device, jobs[0].spec.deterministic):
        return train_runs(openings, plan)


def _prepared(
    specs: Sequence[schema.ExperimentSpec], first: Group, dataset: Dataset, selection: Selection
) -> list[Group]:
    """The network of each spec with its rows; specs that differ in nothing but the optimizer share theirs."""

    def without_optimizer(spec: schema.ExperimentSpec) -> str:
        return spec.model_copy(update={"optimizer": specs[0].optimizer}).model_dump_json()

    known = {without_optimizer(specs[0]): first}
    for spec in specs[1:]:
        key = without_optimizer(spec)
        known[key] = known.get(key) or prepare_groups(spec, dataset, selection)[0]
    return [known[without_optimizer(spec)] for spec in specs]


def _own_values(specs: Sequence[schema.ExperimentSpec], networks: Sequence[Network]) -> dict[str, Tensor]:
    """What the runs differ in: name → (R,)."""
    rates = [spec.optimizer.learning_rate for spec in specs]
    found: dict[str, tuple[list[float], torch.dtype]] = {LEARNING_RATE: (rates, torch.float64)}
    strengths = [network.strengths for network in networks]
    for name in strengths[0]:
        found[name] = [own[name] for own in strengths], torch.float32
    return {
        name: torch.tensor(values, dtype=dtype)
        for name, (values, dtype) in found.items()
        if len(set(values)) > 1
    }


def _width(group: Group) -> int:
    """The numbers of a row of all inputs."""
    return sum(each.width for each in group.fitted[0].inputs.values())
