"""One run from spec to record: prepare, train, keep everything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnrun.data import Dataset
from nnrun.data.preprocess.unknown_values import Unknown
from nnrun.errors import NnrunError
from nnrun.experiment.finished.load_run import refuse_changed_data
from nnrun.experiment.finished.look_at_test_set import look_at_test_set
from nnrun.experiment.finished.record_text import rows_in_words
from nnrun.experiment.finished.saved_labels import keep_names
from nnrun.experiment.finished.verdict import ChosenFrom, not_trained, verdict
from nnrun.experiment.predicting.unknown_rows import tell_unknown_in_validation, unknown_in_test_set
from nnrun.experiment.running.checkpointer import GroupKeeper, Keeper, Kept
from nnrun.experiment.running.listener import Listener, Start
from nnrun.experiment.running.progress import epochs_of_history
from nnrun.experiment.running.recorder import Recorder, ending_kept, train_group
from nnrun.experiment.running.recorder import RunInterrupted as RunInterrupted
from nnrun.experiment.running.score import known_targets, score
from nnrun.experiment.setup.baseline import baseline, mean_of
from nnrun.experiment.setup.cautions import cautions
from nnrun.experiment.setup.environment import git_commit, now, versions
from nnrun.experiment.setup.groups import (
    EVERYTHING,
    Group,
    Selection,
    kind_of_members,
    prepare_groups,
)
from nnrun.experiment.setup.load_data import load_data
from nnrun.experiment.setup.memory_estimate import Memory, memory_of_job, refuse_what_does_not_fit
from nnrun.experiment.setup.out_of_memory import in_words
from nnrun.experiment.setup.problems import GroupProblems
from nnrun.experiment.setup.rare_classes import rare_class_warning
from nnrun.experiment.setup.smoke_spec import smoke_spec
from nnrun.interrupts import uninterrupted
from nnrun.records import (
    Member,
    MemberKind,
    RunDirectory,
    create_run,
    history_columns,
    read_weights_file,
    refuse_unwritable,
)
from nnrun.spec import schema
from nnrun.spec.custom_objects import code_used, custom_parts, refuse_what_is_not_allowed
from nnrun.spec.dataset_facts import dataset_facts
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.score_columns import chooser, directions, trained_columns
from nnrun.spec.writing.dump import dump_spec
from nnrun.training.backends.choice import Choice, Policy, begin_compiling, choose, make_engine
from nnrun.training.deterministic import deterministic
from nnrun.training.device import cpu_setup, resolve_device, threads_for
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import TrainingProblem
from nnrun.validation.splits import Fold
from nnrun.validation.summary import history_mean, monitor_mode

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
        trial: of a trial its number and values, as `parent`, which is a sweep, knows them.
        monitor: the column that chooses the best epoch; default: what the spec says.
        parent_data: name → SHA-256 of that run's data, which must be the same.
        chosen_from: what decided the number of epochs, where the parent's validation did.
        use_test_set: score the network on the test set at the end.
        compile: whether to compile training steps: `auto`, `on` or `off`.
        reproduces: the id of the run that this one repeats.
        threads: how many CPU threads; default: what was asked for, or what the work is worth.
        keep_every_epoch: keep the state after each, and not only where a second has passed.
        allow_unknown: use the test set even where most of its rows hold values that training never saw.
    """

    command: str
    runs_dir: Path
    data_dir: Path | None = None
    device: str = "auto"
    smoke: bool = False
    selection: Selection = EVERYTHING
    parent: str | None = None
    trial: Mapping[str, Any] | None = None
    monitor: str | None = None
    parent_data: Mapping[str, str] | None = None
    chosen_from: ChosenFrom | None = None
    use_test_set: bool = False
    compile: Policy = "auto"
    reproduces: str | None = None
    threads: int | None = None
    keep_every_epoch: bool = False
    allow_unknown: bool = False


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a run needs, prepared.

    Attributes:
        spec, settings, listener: as `run_experiment` has them.
        dataset: the data.
        groups: folds or seeds that train as replicas, and their networks.
        problems: for each group what it learns; None for a run that trains together with others.
        choices: for each group whether its steps are compiled.
        worthless: the baseline's scores.
        given: weights to start from, or None.
        device: where.
        memory: what it will take.
        beside: networks of other runs that train in the same step.
        unknown: what the test rows hold that training never saw, where they are to be used.
    """

    spec: schema.ExperimentSpec
    settings: Settings
    dataset: Dataset
    groups: tuple[Group, ...]
    problems: GroupProblems | None
    choices: Sequence[Choice]
    worthless: Mapping[str, float]
    given: Weights | None
    device: torch.device
    listener: Listener
    memory: Memory
    beside: int = 0
    unknown: Sequence[Unknown] = ()

    @property
    def networks_at_once(self) -> int:
        """How many networks a training step updates: their number decides how sums are rounded."""
        return max(len(group.members) for group in self.groups) + self.beside

    @property
    def kind(self) -> MemberKind | None:
        """What tells the networks apart: a column and folders are named for it. None where there is one."""
        return kind_of_members(self.spec, self.settings.selection)

    @property
    def chosen_by(self) -> str | None:
        """The column that chooses the best epoch; None where nothing is validated."""
        return self.settings.monitor or chooser(self.spec)

    @property
    def numbers(self) -> list[int]:
        """The indices of all folds, or all seeds, ascending."""
        return sorted(member.number for group in self.groups for member in group.members)

    def member(self, number: int) -> Member | None:
        """The name of one network in the record."""
        return None if self.kind is None else Member(self.kind, number)


def run_experiment(
    loaded: LoadedSpec,
    settings: Settings,
    listener: Listener | None = None,
    *,
    dataset: Dataset | None = None,
) -> RunDirectory:
    """Train what a spec declares and keep the record of it. Its sweep, if it has one, is left out.

    The run's folder is made once the spec, the data and the device are known to fit, and not before.

    Args:
        loaded: the spec.
        settings: how and where.
        listener: is told what happens.
        dataset: the spec's data, where they are loaded already.

    Raises:
        StopTraining: the listener raised it; the run says so and keeps what there was.
        DataError: the data are missing or do not suit the spec; nothing was made.
        UsageError: there is no such device or fold; nothing was made.
        DivergedError: a loss became infinite or NaN; the run says so and keeps what there was.
        RunInterrupted: the user stopped it (a KeyboardInterrupt); the run says so and keeps what there was.
    """
    listener = listener or Listener()
    spec = smoke_spec(loaded.spec) if settings.smoke else loaded.spec
    if spec.sweep is not None:
        listener.message("the sweep section was left out: this trains the spec itself (see `nnrun sweep`)")
        spec = spec.model_copy(update={"sweep": None})
    refuse_unwritable(settings.runs_dir)
    with computing(resolve_device(settings.device), spec.deterministic):
        job, threads = prepare_job(spec, settings, listener, dataset)
        with ExitStack() as until_the_end:
            run, record = begin(job, loaded.source_text, threads, until_the_end)
            until_the_end.enter_context(cpu_setup(threads))
            train_job(run, record, job)
    return run


@contextmanager
def computing(device: torch.device, repeatable: bool) -> Iterator[None]:
    """Gradients, whatever the caller has switched off, in a notebook say; `deterministic` if so wanted."""
    with torch.inference_mode(False), torch.enable_grad(), deterministic(device, repeatable):
        yield


def prepare_job(
    spec: schema.ExperimentSpec, settings: Settings, listener: Listener, dataset: Dataset | None = None
) -> tuple[Job, int]:
    """Everything that a run needs, and how many CPU threads it is worth; arguments and errors as above."""
    refuse_what_is_not_allowed(spec)
    device = resolve_device(settings.device)
    expected = dataset_facts(spec.dataset).train_rows
    if dataset is None and not settings.smoke and expected is not None:
        begin_compiling(settings.compile, spec, expected, device)
    if dataset is None:
        dataset = load_data(
            spec, data_dir=settings.data_dir, smoke=settings.smoke, on_message=listener.message
        )
    begin_compiling(settings.compile, spec, len(dataset.train), device)
    if settings.parent_data is not None:
        refuse_changed_data(
            dataset,
            settings.parent_data,
            settings.parent or "the run",
            another_test_file=settings.use_test_set,
        )
    for source in dataset.sources:
        listener.detail(f"data: {source.path or source.name}, {source.rows:,} rows, SHA-256 {source.sha256}")
    groups = prepare_groups(spec, dataset, settings.selection)
    members = [member for group in groups for member in group.members]
    if settings.command != "final" and settings.trial is None and not settings.smoke:
        _warn_of_rare_classes(spec, dataset, listener)
    tell_unknown_in_validation(dataset, members, kind_of_members(spec, settings.selection), listener)
    unknown: Sequence[Unknown] = ()
    if settings.use_test_set and dataset.test is not None:
        fitted = [member.fitted for member in members]
        allowed = settings.allow_unknown or settings.smoke
        unknown = unknown_in_test_set(dataset, fitted, listener, allowed=allowed)
    given = given_weights(spec, groups)
    if len(groups) > 1:
        kind = kind_of_members(spec, settings.selection) or "replica"
        listener.message(f"{_why_apart(groups, kind)}, with the same results")
    problems = GroupProblems(spec, groups, dataset, device)
    choices: list[Choice] = []
    threads: list[int] = []
    worthless: list[dict[str, float]] = []
    of_rows: list[int] = []
    for group, problem in zip(groups, problems.announced(), strict=True):
        choices.append(choose(settings.compile, problem, steps_of(spec, group)))
        threads.append(threads_for(work_per_step(group, problem)))
        worthless += baselines(problem, group)
        of_rows.append(problem.bytes_per_network)
    listener.detail(choices[0].reason)
    memory = memory_of_job(spec, dataset, groups, max(of_rows))
    refuse_what_does_not_fit(memory, device, listener.message)
    worst = mean_of(worthless)
    job = Job(
        spec,
        settings,
        dataset,
        groups,
        problems,
        choices,
        worst,
        given,
        device,
        listener,
        memory,
        unknown=unknown,
    )
    return job, settings.threads or max(threads)


def _warn_of_rare_classes(spec: schema.ExperimentSpec, dataset: Dataset, listener: Listener) -> None:
    warning = rare_class_warning(spec, dataset)
    if warning is not None:
        listener.message(f"warning: {warning}")


def _why_apart(groups: Sequence[Group], kind: str) -> str:
    """Why there are several groups and how these train."""
    taken = [group.apart for group in groups if group.apart is not None]
    if taken:
        return (
            f"the rows of all {kind}s would take {in_words(max(taken))} side by side: {kind}s train one "
            "after the other"
        )
    return (
        f"after preprocessing, the number of inputs or the vocabulary is not the same in all {kind}s: they "
        f"train in {len(groups)} groups, one after the other"
    )


def begin(
    job: Job, source_text: str, threads: int, until_the_end: ExitStack
) -> tuple[RunDirectory, dict[str, Any]]:
    """Make a run's folder and its first record, and see to it that the record says how the run ends."""
    with uninterrupted():  # there is no folder without a record
        run = create_run(job.settings.runs_dir, job.spec.name)
        until_the_end.enter_context(run.owned())
        run.write_spec(source_text)
        run.write_resolved(dump_spec(job.spec))
        record = first_record(run, job, threads)
        run.write_record(record)
        until_the_end.enter_context(ending_kept(run, record, job.memory.peak))
    return run, record


def steps_of(spec: schema.ExperimentSpec, group: Group) -> int:
    """How many steps the group makes at most."""
    return spec.epochs * -(-max(len(fold.train_rows) for fold in group.folds) // spec.batch_size)


def work_per_step(group: Group, problem: TrainingProblem) -> int:
    """Multiplications of one forward step of all replicas."""
    return len(group.folds) * problem.batch_size * group.network.multiplications(problem.elements_per_row)


def given_weights(spec: schema.ExperimentSpec, groups: tuple[Group, ...]) -> Weights | None:
    """The weights to start from, which fit the networks; None where the spec names none."""
    if spec.init_weights is None:
        return None
    given = read_weights_file(Path(spec.init_weights))
    for group in groups:
        group.network.check_weights(given, spec.init_weights)
    return given


def first_record(run: RunDirectory, job: Job, threads: int) -> dict[str, Any]:
    """What a run's record says before anything is trained."""
    spec, dataset = job.spec, job.dataset
    first = job.groups[0].folds[0]
    return {
        "id": run.id,
        "name": spec.name,
        "command": job.settings.command,
        "status": "running",
        "seed": spec.seed,
        "device": str(job.device),
        "threads": threads,
        "deterministic": spec.deterministic,
        "compiled": job.choices[0].compiled,
        "networks_at_once": job.networks_at_once,
        "started": now(),
        "ended": None,
        "smoke": job.settings.smoke,
        "parent": job.settings.parent,
        "reproduces": job.settings.reproduces,
        **({"sweep": job.settings.parent, "trial": job.settings.trial} if job.settings.trial else {}),
        "chosen_from": None if job.settings.chosen_from is None else asdict(job.settings.chosen_from),
        "folds": job.numbers if job.kind == "fold" else None,
        "seeds": job.numbers if job.kind == "seed" else None,
        "epochs": spec.epochs,
        "epochs_run": 0,
        "chosen_by": job.chosen_by,
        "rows": {
            "train": len(first.train_rows),
            "validation": len(first.validation_rows),
            "test": 0 if dataset.test is None else len(dataset.test),
            **_ranges([fold for group in job.groups for fold in group.folds]),
        },
        "parameters": job.groups[0].network.parameter_count,
        "data": [source.as_record() for source in dataset.sources],
        "versions": versions(),
        "git_commit": git_commit(),
        **({"directions": own} if (own := directions(spec)) else {}),
        **({"custom": [asdict(code) for code in code_used(spec)]} if custom_parts(spec) else {}),
        "test_uses": [],
        **({"unknown": [asdict(found) for found in job.unknown]} if job.settings.use_test_set else {}),
    }


def _ranges(folds: Sequence[Fold]) -> dict[str, dict[str, list[int]]]:
    """The least and the most rows of a fold, where folds differ."""
    sizes = {
        "train": [len(fold.train_rows) for fold in folds],
        "validation": [len(fold.validation_rows) for fold in folds],
    }
    found = {part: [min(of), max(of)] for part, of in sizes.items() if max(of) > min(of)}
    return {"ranges": found} if found else {}


@contextmanager
def recording(
    run: RunDirectory,
    record: dict[str, Any],
    job: Job,
    kept: Kept | None = None,
) -> Iterator[Recorder]:
    """The record of a run's training: what is known before, each epoch, and what follows from all.

    Args:
        run: the run's folder.
        record: what run.json will hold.
        job: the run.
        kept: what the run resumes from.
    """
    spec, listener = job.spec, job.listener
    validated = not isinstance(spec.validation, schema.NoValidation)
    for group in job.groups:
        for member in group.members:
            run.write_preprocessing(member.fitted.to_json(), job.member(member.number))
    tokens = max((fitted.tokens or 0) for group in job.groups for fitted in group.fitted)
    keep_names(run, spec.dataset, job.dataset, tokens, job.settings.data_dir, listener)
    columns = history_columns(trained_columns(spec)[1:], validated, job.kind)
    monitor = job.chosen_by or "val_loss"
    started = time.perf_counter()

    def settle() -> None:
        """What follows from the history: however training ends, the record tells it as far as it went."""
        before = 0.0 if kept is None else kept.seconds
        record["training_seconds"] = before + time.perf_counter() - started
        table = run.read_history() if record["epochs_run"] else None
        if table is not None and not table.empty:
            record.update(verdict(table, spec, job.settings.monitor))
            record.pop("not_trained", None)
            record.update(not_trained(table, job.kind, job.numbers))
            record.update(cautions(record, spec, job.dataset.train))
            if job.settings.smoke:  # its numbers mean nothing, so nothing follows from them
                record["verdict"] = None
            if job.kind is not None:
                run.write_history_mean(history_mean(table))

    record["baseline"] = dict(job.worthless)
    record["baseline_on"] = "validation" if validated else "training"
    try:
        with run.history_writer(columns, None if kept is None else kept.history) as history:
            listener.started(
                Start(
                    run=run,
                    name=spec.name,
                    kind=job.kind,
                    numbers=job.numbers,
                    epochs=spec.epochs,
                    train_rows=record["rows"]["train"],
                    validation_rows=record["rows"]["validation"],
                    parameters=record["parameters"],
                    device=str(job.device),
                    rows=rows_in_words(record["rows"], " and ", "training")
                    if "ranges" in record["rows"]
                    else "",
                    monitor=monitor,
                    maximize=monitor_mode(monitor, directions(spec)) == "max",
                    earlier=() if kept is None else epochs_of_history(run.read_history()),
                )
            )
            rate = build_optimizer(spec.optimizer).learning_rate
            yield Recorder(run, record, history, listener, job.kind, rate, job.chosen_by)
            history.settle()
    except BaseException:
        listener.ended()
        try:
            settle()
        except (NnrunError, OSError, LookupError, TypeError, ValueError) as problem:
            # What ended the training must not be hidden by what follows from it.
            listener.message(f"warning: the record of {run.id} lacks its scores: {problem}")
        raise
    listener.ended()
    settle()


def train_job(run: RunDirectory, record: dict[str, Any], job: Job, kept: Kept | None = None) -> None:
    """Train every group, then score the test set where that was asked for.

    Args:
        run: the run's folder.
        record: what run.json will hold.
        job: the run.
        kept: what it resumes from; None for a new run.
    """
    spec, listener, settings = job.spec, job.listener, job.settings
    with recording(run, record, job, kept) as recorder:
        # A trial is quickly trained again, and many of them would fill the disk.
        keeper = None
        if settings.trial is None:
            keeper = Keeper(
                run, record, recorder.history, settings.use_test_set, kept, settings.keep_every_epoch
            )
        for place in range(kept.group if kept is not None else 0, len(job.groups)):  # others had ended
            _train_in_turn(job, place, recorder, None if keeper is None else keeper.of_group(place))
            if len(job.groups) > 1:  # it tells of which epochs the weights are, whatever comes next
                run.write_record(record)
        run.refuse_if_gone()
    if settings.use_test_set and job.dataset.test is not None:
        if not record["test_uses"]:  # else it was stopped between the look and its score
            look_at_test_set(run, record, job.dataset, settings.command, listener)
        fitted, known = job.groups[0].fitted[0], known_targets(job.dataset.train)
        scored = score(spec, fitted, run.read_weights(), job.dataset.test, known, job.device)
        record |= {"test": scored.scores, "baseline": scored.baseline, "baseline_on": "test"}
        record["test_epoch"] = record.get("weights_epoch")
        record |= cautions(record, spec, job.dataset.train)


def _train_in_turn(job: Job, place: int, recorder: Recorder, keeper: GroupKeeper | None) -> None:
    """Train one group. Nothing holds its rows or its networks when it has ended."""
    assert job.problems is not None, "this run trains by itself"
    group = job.groups[place]
    first_weights = group.network.initial_parameters([m.source for m in group.members], job.given)
    engine = make_engine(job.choices[place], job.problems.problem(place), first_weights, job.listener.message)
    train_group(job.spec, group, engine, dict.fromkeys((m.number for m in group.members), recorder), keeper)


def baselines(problem: TrainingProblem, group: Group) -> list[dict[str, float]]:
    """The constant predictor's scores for each network, on its validation rows, or on its training rows."""
    return [
        baseline(
            problem,
            place,
            fold.train_rows,
            fold.validation_rows if len(fold.validation_rows) else fold.train_rows,
        )
        for place, fold in enumerate(group.folds)
    ]
