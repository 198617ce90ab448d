"""Several runs of one architecture, trained side by side as replicas, each with its record as if alone.

What they may differ in: the seed, the learning rate, the strengths of regularizers, and which of their folds
they train. All else must be alike. Each may have several networks: its folds or seeds.
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
from nnrun.experiment.running.train import run_experiment, train_runs
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import Group, Selection, prepare_groups, training_problem
from nnrun.experiment.setup.memory_estimate import estimate_memory, refuse_what_does_not_fit
from nnrun.lazy_torch import torch
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
"""Of all networks of all runs together, on a CPU. On 2 cores with 32 MB of cache a group of more was slower
than its runs one by one: 4 networks of 650,000 took 1.3 times, of 1,300,000 1.5 times as long; 8 of 160,000
took 0.75 times."""

MOST_NUMBERS = 50_000_000
"""Of all networks' own rows, where their preprocessing differs: 200 MB."""


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
        plan: their networks as one group of replicas, those of one run after those of another.
    """

    candidates: Sequence[Candidate]
    jobs: Sequence[Job]
    plan: Plan


def architecture_of(spec: schema.ExperimentSpec) -> str:
    """A text that specs have in common which can train side by side."""
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

    So it is where they are too large, where the inputs of their networks have different widths, and where one
    of them cannot be prepared, which it will say itself when it is alone.
    """
    settings = candidates[0].settings
    specs = [smoke_spec(c.loaded.spec) if settings.smoke else c.loaded.spec for c in candidates]
    device = resolve_device(settings.device)
    try:
        networks = sum(c.settings.selection.networks(spec) for c, spec in zip(candidates, specs, strict=True))
        first = prepare_groups(specs[0], dataset, settings.selection)
        if device.type == "cpu" and networks * first[0].network.parameter_count > MOST_PARAMETERS:
            return None
        if vector_files(specs[0]):
            return None
        given = given_weights(specs[0], first)
        alone = _prepared(specs, [c.settings.selection for c in candidates], first, dataset)
    except NnrunError:
        return None
    if alone is None:
        return None
    network = alone[0].network
    if any(group.network.weights != network.weights for group in alone):
        return None
    members = [member for own in alone for member in own.members]
    own_rows = not share_rows([member.fitted for member in members])
    if own_rows and len(members) * len(dataset.train) * _width(alone[0]) > MOST_NUMBERS:
        return None
    group = Group(tuple(replace(member, id=index) for index, member in enumerate(members)), network)
    with computing(device, specs[0].deterministic):
        problem = training_problem(specs[0], group, dataset, device)
        own = _own_values(specs, alone)
        own = {name: value.to(device) for name, value in own.items()}
        problem = replace(problem, per_replica={**problem.per_replica, **own})
        planned = plan_group(group, problem, settings.compile)
    memory = estimate_memory(dataset, (group,), problem.bytes_per_network, specs[0])
    try:
        refuse_what_does_not_fit(memory, device, candidates[0].listener.message)
    except NnrunError:
        return None  # one by one they may fit
    constants = iter(baselines(problem, group))
    jobs = [
        Job(
            spec=spec,
            settings=candidate.settings,
            dataset=dataset,
            groups=(own_group,),
            baselines={member.id: next(constants) for member in own_group.members},
            device=device,
            compiled=planned.choice.compiled,
            listener=candidate.listener,
            memory=memory,
            networks_at_once=len(members),
        )
        for spec, own_group, candidate in zip(specs, alone, candidates, strict=True)
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


def train_side_by_side(candidates: Sequence[Candidate], dataset: Dataset) -> list[RunDirectory]:
    """Train runs of one architecture, all at a time; where that does not do, each half of them.

    Raises:
        DivergedError: the only one of a part diverged. Of several one that diverges says so in its record.
        RunInterrupted: the user stopped it (a KeyboardInterrupt).
    """
    if len(candidates) == 1:
        (one,) = candidates
        return [run_experiment(one.loaded, one.settings, one.listener, dataset=dataset)]
    if stacked := stack_runs(candidates, dataset):
        return train_stacked(stacked)
    half = len(candidates) // 2
    parts = candidates[:half], candidates[half:]
    return [run for part in parts for run in train_side_by_side(part, dataset)]


def _prepared(
    specs: Sequence[schema.ExperimentSpec],
    selections: Sequence[Selection],
    first: Sequence[Group],
    dataset: Dataset,
) -> list[Group] | None:
    """The networks of each spec with their rows; specs that differ in nothing but the optimizer share theirs.

    `first` are the groups of the first one. None where the networks of one spec are several groups.
    """

    def key_of(spec: schema.ExperimentSpec, selection: Selection) -> str:
        return f"{spec.model_copy(update={'optimizer': specs[0].optimizer}).model_dump_json()} {selection}"

    keys = [key_of(*one) for one in zip(specs, selections, strict=True)]
    known = {keys[0]: first}
    for key, spec, selection in zip(keys, specs, selections, strict=True):
        if key not in known:
            known[key] = prepare_groups(spec, dataset, selection)
        # Such a group trains alone also where the memory for its rows is the reason.
        if len(known[key]) > 1:
            return None
    return [known[key][0] for key in keys]


def _own_values(specs: Sequence[schema.ExperimentSpec], alone: Sequence[Group]) -> dict[str, Tensor]:
    """What the networks of the runs differ in: name → (R,)."""
    each = [(spec, own.network) for spec, own in zip(specs, alone, strict=True) for _ in own.members]
    rates = [spec.optimizer.learning_rate for spec, _ in each]
    found: dict[str, tuple[list[float], torch.dtype]] = {LEARNING_RATE: (rates, torch.float64)}
    strengths = [network.strengths for _, network in each]
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
