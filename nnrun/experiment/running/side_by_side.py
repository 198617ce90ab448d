"""Several runs of one architecture, trained side by side as replicas, each with its record as if alone.

What they may differ in: the seed, the learning rate, the strengths of regularizers. All else must be alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnrun.data import Dataset
from nnrun.errors import NnrunError
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import train_group
from nnrun.experiment.running.run import (
    Job,
    Settings,
    baselines,
    begin,
    computing,
    given_weights,
    recording,
    steps_of,
    work_per_step,
)
from nnrun.experiment.setup.groups import Group, prepare_groups, training_problem
from nnrun.experiment.setup.memory_estimate import memory_of_job, refuse_what_does_not_fit
from nnrun.experiment.setup.smoke_spec import smoke_spec
from nnrun.model.network import Network
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.writing.dump import dump_value
from nnrun.training.backends.choice import choose, make_engine
from nnrun.training.device import cpu_setup, resolve_device, threads_for
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import LEARNING_RATE, TrainingProblem

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
class Together:
    """Runs that can train side by side.

    Attributes:
        candidates: the runs to be.
        jobs: each of them as if it were alone.
        group: their networks, numbered in this order.
        problem: what they learn.
    """

    candidates: Sequence[Candidate]
    jobs: Sequence[Job]
    group: Group
    problem: TrainingProblem


def architecture_of(spec: schema.ExperimentSpec) -> str | None:
    """A text that specs have in common which can train side by side; None for one of several networks."""
    if spec.validation.has_folds:
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


def prepare_together(candidates: Sequence[Candidate], dataset: Dataset) -> Together | None:
    """Prepare runs of one architecture; None where fewer of them at a time do better.

    So it is where they are too large, where their inputs have different widths, and where one of them cannot
    be prepared, which it will say itself when it is alone.
    """
    settings = candidates[0].settings
    specs = [smoke_spec(c.loaded.spec) if settings.smoke else c.loaded.spec for c in candidates]
    device = resolve_device(settings.device)
    try:
        first = prepare_groups(specs[0], dataset)
        if device.type == "cpu" and len(specs) * first[0].network.parameter_count > MOST_PARAMETERS:
            return None
        given = given_weights(specs[0], first)
        alone = [first[0], *(prepare_groups(spec, dataset)[0] for spec in specs[1:])]
    except NnrunError:
        return None
    network = alone[0].network
    if any(group.network.weights != network.weights for group in alone):
        return None
    same_rows = all(group.fitted[0].does_the_same_to_inputs(alone[0].fitted[0]) for group in alone)
    if not same_rows and len(specs) * len(dataset.train) * network.inputs > MOST_NUMBERS:
        return None
    members = [replace(group.members[0], number=number) for number, group in enumerate(alone)]
    group = Group(tuple(members), network)
    with computing(device, specs[0].deterministic):
        problem = training_problem(specs[0], group, dataset, device)
        choice = choose(settings.compile, problem, steps_of(specs[0], group))
        own = _own_numbers(specs, [single.network for single in alone])
        problem = replace(problem, per_replica={name: value.to(device) for name, value in own.items()})
    beside = len(specs) - 1
    memory = memory_of_job(specs[0], dataset, (group,), problem.bytes_per_network)
    try:
        refuse_what_does_not_fit(memory, device, candidates[0].listener.message)
    except NnrunError:
        return None  # one by one they may fit
    jobs = [
        Job(
            spec,
            c.settings,
            dataset,
            (single,),
            None,
            (choice,),
            known,
            given,
            device,
            c.listener,
            memory,
            beside,
        )
        for spec, single, c, known in zip(specs, alone, candidates, baselines(problem, group), strict=True)
    ]
    return Together(candidates, jobs, group, problem)


def train_together(together: Together) -> list[RunDirectory]:
    """Train the runs, and give their folders. One that diverges says so in its record, and the others go on.

    Raises:
        RunInterrupted: the user stopped it (a KeyboardInterrupt); all runs say so and keep what there was.
    """
    group, problem, jobs = together.group, together.problem, together.jobs
    threads = threads_for(work_per_step(group, problem))
    runs = []
    with computing(jobs[0].device, jobs[0].spec.deterministic), ExitStack() as until_the_end:
        for job, candidate in zip(jobs, together.candidates, strict=True):
            runs.append(begin(job, candidate.loaded.source_text, threads, until_the_end))
        until_the_end.enter_context(cpu_setup(threads))
        recorders = {}
        for member, job, (run, record) in zip(group.members, jobs, runs, strict=True):
            recorders[member.number] = until_the_end.enter_context(recording(run, record, job))
        first_weights = group.network.initial_parameters([m.source for m in group.members], jobs[0].given)
        engine = make_engine(jobs[0].choices[0], problem, first_weights, jobs[0].listener.message)
        train_group(jobs[0].spec, group, engine, recorders)
    return [run for run, _ in runs]


def _own_numbers(specs: Sequence[schema.ExperimentSpec], networks: Sequence[Network]) -> dict[str, Tensor]:
    """What the runs differ in: name → (R,)."""
    rates = [build_optimizer(spec.optimizer).learning_rate for spec in specs]
    found: dict[str, tuple[list[float], torch.dtype]] = {LEARNING_RATE: (rates, torch.float64)}
    strengths = [network.strengths for network in networks]
    for name in strengths[0]:
        found[name] = [own[name] for own in strengths], torch.float32
    return {
        name: torch.tensor(values, dtype=dtype)
        for name, (values, dtype) in found.items()
        if len(set(values)) > 1
    }
