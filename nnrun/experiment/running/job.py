"""Everything that a run needs before it trains: settings, data, networks, and what each of them learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import Dataset
from nnrun.data.load_data import load_data
from nnrun.data.preprocess.unknown_values import Unknown, unknown_in_test_set, unknown_in_validation
from nnrun.data.table import Table
from nnrun.data.targets import rare_class_warnings
from nnrun.errors import DataError
from nnrun.experiment.finished.load_run import refuse_changed_data
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.setup.baseline import baseline
from nnrun.experiment.setup.groups import EVERYTHING, Group, Selection, prepare_groups, training_problem
from nnrun.experiment.setup.linear_baseline import (
    NOT_SIDE_BY_SIDE,
    LinearTask,
    RowsOfProblem,
    linear_baseline,
    why_left_out,
)
from nnrun.experiment.setup.mapped_rows import rows_in_files
from nnrun.experiment.setup.memory_estimate import Memory, estimate_memory, refuse_what_does_not_fit
from nnrun.experiment.setup.pretrained_vectors import PretrainedVectors, read_pretrained
from nnrun.lazy_torch import torch
from nnrun.limits import in_words
from nnrun.model.inputs import DenseInputs, Inputs
from nnrun.model.layers import kernels_of
from nnrun.native import number_text
from nnrun.ranks import Ranks
from nnrun.records import Member, MemberType, read_weights_file
from nnrun.records.run_record import (
    ChosenFrom,
    DecisionRecord,
    LinearBaselineRecord,
    NestedRecord,
    TrialOfSweep,
    VectorsRecord,
)
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.duration import seconds_of
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import Port
from nnrun.spec.score_columns import best_epoch_column
from nnrun.torch_compilers import whole_torch
from nnrun.training.backends.choice import Choice, Policy, begin_compiling, choose
from nnrun.training.device import deterministic, threads_for
from nnrun.training.problem import TrainingProblem

Weights = Mapping[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Settings:
    """What decides how and where an experiment runs, and not what it computes.

    Attributes:
        command: what the record calls it: `train`, `kfold` or `final`.
        runs_dir: where the run's folder is made.
        data_dir: where data files are looked for first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        smoke: two epochs on a few hundred generated rows.
        selection: which networks: all, a single fold, several seeds.
        parent: the id of the run or sweep that this one comes from.
        trial: of a trial its number and values; `parent` is then its sweep.
        monitor: the column that chooses the best epoch; default: what the spec says.
        parent_data: name → SHA-256 of that run's data, which must be the same.
        chosen_from: what decided the number of epochs, where the parent's validation did.
        decisions: what the parent fitted for `calibrate` and `threshold`, which the spec has now.
        use_test_set: score the network on the test set at the end.
        compile: whether to compile training steps: `auto`, `on` or `off`.
        reproduces: the id of the run that this one repeats.
        threads: how many CPU threads; default: what was asked for, or what the work is worth.
        keep_every_epoch: keep the state after each, and not only where a second has passed.
        allow_unknown: use the test set even where most of its rows hold values that training never saw.
        seconds: how long training may take, if that is less than the spec's time limit.
        stop_after: fold or seed → the epoch after which it ends: where a time limit ended the run that this
            one repeats, or what was chosen within an outer fold.
        inner_folds: train the folds within the outer ones of a spec with `nested`, which is else left out.
        nested: what was chosen within the outer folds that are trained; no epoch is then the best.
        part: these are some of the folds or seeds of a run: what follows from all is found out there.
        temporary: the run's folder is deleted once its networks are taken out of it: nothing is made that
            only those need who come back to it, as checkpoints, out-of-fold predictions and linear baselines.
        ranks: the processes that train the network together; None where this one does so alone.
    """

    command: str
    runs_dir: Path
    data_dir: Path | None = None
    device: str = "auto"
    smoke: bool = False
    selection: Selection = EVERYTHING
    parent: str | None = None
    trial: TrialOfSweep | None = None
    monitor: str | None = None
    parent_data: Mapping[str, str] | None = None
    chosen_from: ChosenFrom | None = None
    decisions: Sequence[DecisionRecord] = ()
    use_test_set: bool = False
    compile: Policy = "auto"
    reproduces: str | None = None
    threads: int | None = None
    keep_every_epoch: bool = False
    allow_unknown: bool = False
    seconds: float | None = None
    stop_after: Mapping[int, int] = field(default_factory=dict)
    inner_folds: bool = False
    nested: NestedRecord | None = None
    part: bool = False
    temporary: bool = False
    ranks: Ranks | None = None

    @property
    def world_size(self) -> int:
        """How many processes train it."""
        return 1 if self.ranks is None else self.ranks.world_size


@dataclass(frozen=True, eq=False)
class Job:
    """A run that can be trained, and what its record says of that.

    Attributes:
        spec, settings, listener: as `run_experiment` has them.
        dataset: the data.
        groups: its folds or seeds: those of a group train as replicas.
        baselines: of each fold or seed (0 for the only network): measure → score of the best constant.
        linear: what a linear model scores on the same rows; None where none is fitted.
        device: where it trains.
        compiled: whether its training steps are.
        memory: what it will take.
        networks_at_once: networks that a training step updates, those of other runs included: their number
            decides how sums are rounded.
        unknown: what the test rows hold that training never saw, where they are to be used.
    """

    spec: schema.ExperimentSpec
    settings: Settings
    dataset: Dataset
    groups: tuple[Group, ...]
    baselines: Mapping[int, Mapping[str, float]]
    device: torch.device
    compiled: bool
    listener: Listener
    memory: Memory
    networks_at_once: int
    unknown: Sequence[Unknown] = ()
    vectors: Sequence[VectorsRecord] = ()
    linear: LinearBaselineRecord | None = None

    @property
    def member_type(self) -> MemberType | None:
        """What tells the networks apart: a column and folders are named for it. None where there is one."""
        return self.settings.selection.member_type(self.spec)

    @property
    def chosen_by(self) -> str | None:
        """The column that chooses the best epoch; None where no rows do."""
        return (
            None if self.settings.nested is not None else best_epoch_column(self.spec, self.settings.monitor)
        )

    @property
    def seconds(self) -> float | None:
        """How long training may take; None for as long as it does."""
        limits = [] if self.spec.time_limit is None else [seconds_of(self.spec.time_limit)]
        limits += [] if self.settings.seconds is None else [self.settings.seconds]
        return min(limits, default=None)

    @property
    def member_ids(self) -> list[int]:
        """The indices of all folds, or all seeds, ascending; [0] for a run of one network."""
        return sorted(member.id for group in self.groups for member in group.members)

    def member(self, member_id: int) -> Member | None:
        """The name of one network in the record; None for the only one."""
        return None if self.member_type is None else Member(self.member_type, member_id)


@dataclass(frozen=True, eq=False)
class PlannedGroup:
    """A group of networks, and how they learn.

    Attributes:
        group: the replicas.
        choice: which backend computes its steps.
        problem: what they learn; None where it is made when it trains, because the rows of all groups would
            take too much memory together.
    """

    group: Group
    choice: Choice
    problem: TrainingProblem | None


@dataclass(frozen=True, eq=False)
class Plan:
    """What is trained, one group after the other.

    Attributes:
        groups: in this order.
        given: weights to start from, as a file has them; None for new ones.
        vectors: what embeddings start from, where the spec names files of word vectors.
        threads: how many CPU threads compute.
    """

    groups: Sequence[PlannedGroup]
    given: Weights | None
    threads: int
    vectors: tuple[PretrainedVectors, ...] = ()


@contextmanager
def computing(device: torch.device, repeatable: bool) -> Iterator[None]:
    """Record gradients, whatever the caller has switched off; compute deterministically if `repeatable`."""
    with torch.inference_mode(False), torch.enable_grad(), deterministic(device, repeatable):
        yield


def prepare_job(
    spec: schema.ExperimentSpec,
    settings: Settings,
    device: torch.device,
    listener: Listener,
    dataset: Dataset | None = None,
) -> tuple[Job, Plan]:
    """Load the data, fit the preprocessing, build the networks, and decide how they train.

    Args:
        spec: what to train.
        settings: how and where.
        device: the one that the settings mean.
        listener: is told what happens.
        dataset: the spec's data, where they are loaded already.

    Raises:
        DataError: the data are missing or do not suit the spec.
        UsageError: there is no such fold, or the steps cannot be compiled as the settings demand.
        NnrunError: there is not enough memory.
    """
    refuse_what_is_not_allowed(spec)
    dataset = _load(spec, settings, device, listener) if dataset is None else dataset
    _check_sources(dataset, settings, listener)
    groups = prepare_groups(spec, dataset, settings.selection)
    unknown = _tell_of_rows(spec, settings, dataset, groups, listener)
    given = given_weights(spec, groups)
    vectors = _vectors(spec, settings, groups, listener)
    if len(groups) > 1:
        why = _why_in_turn(groups, settings.selection.member_type(spec) or "replica")
        listener.message(f"{why}, with the same results")
    measured = [_measured_group(spec, settings, group, dataset, device, listener) for group in groups]
    planned = [each.planned for each in measured]
    listener.detail(planned[0].choice.reason)
    in_files = any(each.problem is not None and each.problem.streams for each in planned)
    row_bytes = max(each.bytes_per_network for each in measured)
    memory = estimate_memory(dataset, groups, row_bytes, spec, rows_in_files=in_files)
    refuse_what_does_not_fit(memory, device, listener.message)
    job = Job(
        spec=spec,
        settings=settings,
        dataset=dataset,
        groups=groups,
        baselines={id_: scores for each in measured for id_, scores in each.baselines.items()},
        device=device,
        compiled=planned[0].choice.compiled,
        listener=listener,
        memory=memory,
        networks_at_once=max(len(group.members) for group in groups),
        unknown=unknown,
        vectors=tuple(each.record for each in vectors),
        linear=_linear(spec, settings, dataset, planned, device),
    )
    beside = 1 if settings.ranks is None else settings.ranks.launch.local_world_size
    threads = settings.threads or threads_for(max(each.work for each in measured), beside)
    return job, Plan(planned, given, threads, vectors)


@dataclass(frozen=True)
class _MeasuredGroup:
    """How a group trains, and what that takes.

    Attributes:
        planned: the group, and who computes its steps.
        work: multiplications of a step, for the choice of threads; 0 where the backend has its own.
        bytes_per_network: of the prepared rows.
        baselines: of each network, by its id, name → what a predictor that ignores the inputs scores.
    """

    planned: PlannedGroup
    work: int
    bytes_per_network: int
    baselines: dict[int, dict[str, float]]


def _measured_group(
    spec: schema.ExperimentSpec,
    settings: Settings,
    group: Group,
    dataset: Dataset,
    device: torch.device,
    listener: Listener,
) -> _MeasuredGroup:
    problem = _problem_without_rows(spec, group, dataset, device, listener)
    planned = plan_group(group, problem, settings.compile, on_ranks=settings.ranks is not None)
    work = 0 if planned.choice.backend.own_threads else work_per_step(problem, group)
    ids = [member.id for member in group.members]
    scores = dict(zip(ids, baselines(problem, group), strict=True))
    return _MeasuredGroup(planned, work, problem.bytes_per_network, scores)


def _linear(
    spec: schema.ExperimentSpec,
    settings: Settings,
    dataset: Dataset,
    planned: Sequence[PlannedGroup],
    device: torch.device,
) -> LinearBaselineRecord | None:
    """What a linear model scores where the best constant is scored, too.

    None for a trial, for a smoke run, for nested folds, and where the test set is what will be scored.
    """
    if settings.ranks is not None and settings.ranks.launch.follows:
        return None  # rank 0 keeps the record
    tested = settings.use_test_set and dataset.test is not None
    nested = spec.nested is not None or settings.nested is not None
    passing = settings.trial is not None or settings.smoke or settings.temporary or settings.part
    if spec.linear_baseline is False or passing or tested or nested:
        return None
    group = planned[0].group
    counts = [len(fold.train_rows) for each in planned for fold in each.group.folds]
    if why := why_left_out(spec, group.network, group.fitted[0], counts):
        return LinearBaselineRecord(left_out=why)
    tasks = []
    for each in planned:
        if each.problem is None and spec.linear_baseline is not True:
            return LinearBaselineRecord(left_out=NOT_SIDE_BY_SIDE)
        problem = each.problem or problem_of(spec, each.group, dataset, device, SILENT)
        for replica, fold in enumerate(each.group.folds):
            known = RowsOfProblem(problem, replica, fold.train_rows)
            validated = len(fold.validation_rows) > 0
            scored = RowsOfProblem(problem, replica, fold.validation_rows) if validated else known
            tasks.append(LinearTask(known, scored))
    return linear_baseline(spec, tasks)


def _vectors(
    spec: schema.ExperimentSpec, settings: Settings, groups: Sequence[Group], listener: Listener
) -> tuple[PretrainedVectors, ...]:
    """The word vectors that embeddings start from; a smoke run, whose rows have no words, goes without.

    Raises:
        DataError: they cannot be read, do not fit, or are not those of the parent, if they must be.
    """
    if settings.smoke:
        return ()
    found = read_pretrained(spec, groups, settings.data_dir)
    for each in found:
        then = (settings.parent_data or {}).get(each.path.name, each.sha256)
        if then != each.sha256:
            raise DataError(
                f"{each.path} is not the file that {settings.parent or 'the run'} started from: its SHA-256 "
                f"is {each.sha256}, the run's was {then}. Restore that file, or train again."
            )
        listener.message(str(each))
    return found


def _check_sources(dataset: Dataset, settings: Settings, listener: Listener) -> None:
    """Raise DataError where the data are not those of the parent, if they must be; list the files."""
    if settings.parent_data is not None:
        parent = settings.parent or "the run"
        another = settings.use_test_set
        refuse_changed_data(dataset, settings.parent_data, parent, another_test_file=another)
    for source in dataset.sources:
        listener.detail(f"data: {source.path or source.name}, {source.rows:,} rows, SHA-256 {source.sha256}")


def _tell_of_rows(
    spec: schema.ExperimentSpec,
    settings: Settings,
    dataset: Dataset,
    groups: Sequence[Group],
    listener: Listener,
) -> Sequence[Unknown]:
    """Warn of rare classes and of values that training never saw; those of test rows that are to be used."""
    if settings.command != "final" and settings.trial is None and not settings.smoke:
        for warning in rare_class_warnings(spec, dataset):
            listener.message(f"warning: {warning}")
    if not isinstance(dataset.train.inputs, Table):
        return ()
    members = [member for group in groups for member in group.members]
    member_type = settings.selection.member_type(spec)
    folds = {member.id: (member.fitted, member.fold.validation_rows) for member in members}
    for member_id, unknown in unknown_in_validation(dataset.train, folds):
        of_member = f" of {member_type} {member_id}" if member_type else ""
        listener.message(f"validation rows{of_member}: {unknown}")
    if not settings.use_test_set or dataset.test is None:
        return ()
    fitted = [member.fitted for member in members]
    allowed = settings.allow_unknown or settings.smoke
    return unknown_in_test_set(dataset, fitted, listener.message, allowed=allowed)


def _load(
    spec: schema.ExperimentSpec, settings: Settings, device: torch.device, listener: Listener
) -> Dataset:
    """The spec's data. Our own C++ is compiled meanwhile, where the run will want it."""
    wanted = list(kernels_of(graph_of(spec).layers))
    if settings.trial is None and settings.selection.member_type(spec) is not None:
        wanted.append(number_text.LIBRARY)  # of the out-of-fold predictions
    begin_compiling(settings.compile, spec, device, wanted)
    return load_data(spec, data_dir=settings.data_dir, smoke=settings.smoke, on_message=listener.message)


def problem_of(
    spec: schema.ExperimentSpec, group: Group, dataset: Dataset, device: torch.device, listener: Listener
) -> TrainingProblem:
    """What a group learns, its rows in memory, or in files where they do not fit."""
    in_files = rows_in_files(group, dataset, device, listener.message)
    return training_problem(spec, group, dataset, device, in_files)


def _problem_without_rows(
    spec: schema.ExperimentSpec, group: Group, dataset: Dataset, device: torch.device, listener: Listener
) -> TrainingProblem:
    """What a group learns; of groups whose rows would take too much memory together without dense rows."""
    inputs = group.fitted[0].inputs
    if group.bytes_if_stacked is None or any(each.sparse for each in inputs.values()):
        return problem_of(spec, group, dataset, device, listener)
    whole_torch()
    # Of tensors on the device `meta` there is all but their values.
    rows: dict[Port, Inputs] = {
        port: DenseInputs(torch.empty((1, len(dataset.train), *each.shape), device="meta"))
        for port, each in inputs.items()
    }
    return training_problem(spec, group, dataset, device, rows)


def plan_group(
    group: Group, problem: TrainingProblem, policy: Policy, *, on_ranks: bool = False
) -> PlannedGroup:
    """Choose the backend of a group; its problem is kept where the rows of all groups fit together."""
    choice = choose(policy, problem, on_ranks=on_ranks)
    return PlannedGroup(group, choice, problem if group.bytes_if_stacked is None else None)


def _why_in_turn(groups: Sequence[Group], member_type: str) -> str:
    """Why there are several groups and how these train."""
    taken = [group.bytes_if_stacked for group in groups if group.bytes_if_stacked is not None]
    if taken:
        return (
            f"the rows of all {member_type}s would take {in_words(max(taken))} side by side: {member_type}s "
            "train one after the other"
        )
    return (
        f"after preprocessing, the number of inputs or the vocabulary is not the same in all {member_type}s: "
        "they train in groups, one after the other"
    )


def work_per_step(problem: TrainingProblem, group: Group) -> int:
    """Multiplications of one forward step of all replicas."""
    return len(group.folds) * problem.batch_size * group.network.multiplications(problem.elements_of_inputs)


def given_weights(spec: schema.ExperimentSpec, groups: tuple[Group, ...]) -> Weights | None:
    """The weights to start from, which fit the networks; None where the spec names none."""
    if spec.init_weights is None:
        return None
    given = read_weights_file(Path(spec.init_weights))
    for group in groups:
        group.network.check_weights(given, spec.init_weights)
    return given


def baselines(problem: TrainingProblem, group: Group) -> list[dict[str, float]]:
    """The constant predictor's scores for each network, on its validation rows, or on its training rows."""
    return [
        baseline(
            problem,
            replica_index,
            fold.train_rows,
            fold.validation_rows if len(fold.validation_rows) else fold.train_rows,
        )
        for replica_index, fold in enumerate(group.folds)
    ]
