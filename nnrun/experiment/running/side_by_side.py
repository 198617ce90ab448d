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
    problem_of,
    work_per_step,
)
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import new_run
from nnrun.experiment.running.train import run_experiment, stacked_ids, train_runs
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import Group, Selection, prepare_groups
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
        plan: their networks as replicas, in as many groups as each run has.
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

    So it is where they are too large, where the inputs of one run have other widths than those of another,
    and where one of them cannot be prepared, which it will say itself when it is alone.
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
    groups = _stacked_groups(alone)
    if sum(_own_numbers(group, len(dataset.train)) for group in groups) > MOST_NUMBERS:
        return None
    planned, constants, work = [], dict[int, dict[str, float]](), [0]
    with computing(device, specs[0].deterministic):
        for place, group in enumerate(groups):
            problem = problem_of(specs[0], group, dataset, device, candidates[0].listener)
            own = _own_values(specs, [of_run[place] for of_run in alone])
            own = {name: value.to(device) for name, value in own.items()}
            problem = replace(problem, per_replica={**problem.per_replica, **own})
            planned.append(plan_group(group, problem, settings.compile))
            constants |= dict(zip((m.id for m in group.members), baselines(problem, group), strict=True))
            work.append(0 if planned[-1].choice.backend.own_threads else work_per_step(problem, group))
    bytes_each = max(each.problem.bytes_per_network for each in planned if each.problem is not None)
    in_files = any(each.problem is not None and each.problem.streams for each in planned)
    memory = estimate_memory(dataset, groups, bytes_each, specs[0], rows_in_files=in_files)
    try:
        refuse_what_does_not_fit(memory, device, candidates[0].listener.message)
    except NnrunError:
        return None  # one by one they may fit
    jobs = [
        Job(
            spec=spec,
            settings=candidate.settings,
            dataset=dataset,
            groups=own_groups,
            baselines={of_run: constants[place] for place, of_run in ids.items()},
            device=device,
            compiled=planned[0].choice.compiled,
            listener=candidate.listener,
            memory=memory,
            networks_at_once=max(len(group.members) for group in groups),
        )
        for spec, own_groups, ids, candidate in zip(specs, alone, stacked_ids(alone), candidates, strict=True)
    ]
    return StackedRuns(candidates, jobs, Plan(planned, given, threads_for(max(work))))


def _stacked_groups(alone: Sequence[Sequence[Group]]) -> tuple[Group, ...]:
    """The groups of all runs together, the networks of each by their ids there."""
    ids = [{own: place for place, own in of_run.items()} for of_run in stacked_ids(alone)]
    return tuple(
        Group(
            tuple(
                replace(member, id=places[member.id])
                for places, group in zip(ids, alike, strict=True)
                for member in group.members
            ),
            alike[0].network,
        )
        for alike in zip(*alone, strict=True)
    )


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
) -> list[tuple[Group, ...]] | None:
    """The networks of each spec with their rows; specs that differ in nothing but the optimizer share theirs.

    `first` are the groups of the first one. None where those of another do not have the same shapes in turn,
    and where their rows would take too much memory side by side.
    """

    def key_of(spec: schema.ExperimentSpec, selection: Selection) -> str:
        return f"{spec.model_copy(update={'optimizer': specs[0].optimizer}).model_dump_json()} {selection}"

    keys = [key_of(*one) for one in zip(specs, selections, strict=True)]
    known, shapes = {keys[0]: tuple(first)}, [group.network.weights for group in first]
    for key, spec, selection in zip(keys, specs, selections, strict=True):
        if key not in known:
            known[key] = prepare_groups(spec, dataset, selection)
        if any(group.bytes_if_stacked is not None for group in known[key]):
            return None
        if [group.network.weights for group in known[key]] != shapes:
            return None
    return [known[key] for key in keys]


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


def _own_numbers(group: Group, rows: int) -> int:
    """The numbers in the rows of all inputs, where each network has its own; 0 where all share them."""
    if share_rows(group.fitted):
        return 0
    return len(group.members) * rows * sum(each.width for each in group.fitted[0].inputs.values())
