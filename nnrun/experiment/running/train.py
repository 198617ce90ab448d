"""Training the networks of one run, or of several runs side by side, and recording it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nnrun.data import Dataset, Samples
from nnrun.errors import NnrunError
from nnrun.experiment.finished.cautions import cautions
from nnrun.experiment.finished.decisions import decided_spec
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, load_networks
from nnrun.experiment.finished.verdict import best_rule
from nnrun.experiment.predicting.open_run import OpenRun
from nnrun.experiment.predicting.out_of_fold import keep_out_of_fold
from nnrun.experiment.running.checkpointer import Checkpointer, CheckpointState
from nnrun.experiment.running.fit_decisions import fit_decisions
from nnrun.experiment.running.job import Job, Plan, PlannedGroup, Settings, computing, problem_of
from nnrun.experiment.running.listener import SILENT, Listener, StopTraining
from nnrun.experiment.running.on_ranks import device_of, prepare_together
from nnrun.experiment.running.recorder import ActiveRun, Ending, Recorder, new_run, recording
from nnrun.experiment.running.score import known_targets, linear_score, score, score_average, std_of
from nnrun.experiment.setup.baseline import mean_of
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import Group
from nnrun.experiment.setup.linear_baseline import NOT_SIDE_BY_SIDE
from nnrun.experiment.setup.pretrained_vectors import start_from_vectors
from nnrun.interrupts import stopping_between_batches, uninterrupted
from nnrun.records import RunDirectory, WeightsEpoch, look_at_test_set, refuse_unwritable
from nnrun.records.run_record import EnsembleRecord, LinearBaselineRecord
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.score_columns import ALL_COUNT, directions
from nnrun.training.backends.choice import make_engine
from nnrun.training.device import cpu_setup
from nnrun.training.engine import Engine
from nnrun.training.engine_on_ranks import LeadingEngine
from nnrun.training.loop import BestWeights, EpochRecord, Replica, Schedule, Trainer
from nnrun.validation.summary import monitor_mode

if TYPE_CHECKING:
    from torch import Tensor


def train_runs(
    openings: Sequence[AbstractContextManager[ActiveRun]], plan: Plan, state: CheckpointState | None = None
) -> list[RunDirectory]:
    """Train every group, record each epoch, then score the test set where a run's settings ask for it.

    Args:
        openings: each gives a run and sees to it that its record says how it ends. The networks of several
            runs are the replicas of the plan's groups, of which each run has as many. One that
            diverges, or whose listener stops it, says so in its record, and the others go on.
        plan: what is trained.
        state: what the only run resumes from; None for new runs.

    Raises:
        RunInterrupted: the user stopped it (a KeyboardInterrupt); all runs say so and keep what there was.
    """
    with ExitStack() as stack:
        runs = [stack.enter_context(opening) for opening in openings]
        stack.enter_context(cpu_setup(plan.threads))
        _train_groups(runs, plan, state)
        # Of several runs some may have diverged or been stopped, which ends them.
        for run in [run for run in runs if len(runs) == 1 or run.record.status == "running"]:
            if not run.job.settings.part:
                finish_run(run)
    if len(plan.groups) > 1 and runs[0].record.status == "completed":
        runs[0].directory.remove_checkpoints()  # of the last group alone: nothing could go on from it
    return [run.directory for run in runs]


def finish_run(run: ActiveRun) -> None:
    """What follows from the networks of a run, once all have been trained."""
    fit_decisions(run)
    _keep_out_of_fold(run)
    _score_test_set(run)


def _train_groups(runs: Sequence[ActiveRun], plan: Plan, state: CheckpointState | None) -> None:
    first = runs[0]
    ids = _member_ids(runs)
    started = time.perf_counter() - (0.0 if state is None else state.seconds)
    with ExitStack() as stack:
        recorders = [
            stack.enter_context(recording(run, own, state)) for run, own in zip(runs, ids, strict=True)
        ]
        checkpointer, settings = None, first.job.settings
        # Trials are quickly trained again, and the checkpoints of many would fill the disk.
        if len(runs) == 1 and settings.trial is None and not settings.temporary:
            checkpointer = Checkpointer(
                run=first.directory,
                record=first.record,
                history=recorders[0].history,
                use_test_set=settings.use_test_set,
                resumed_from=state,
                every_epoch=settings.keep_every_epoch,
            )
        for index, planned in enumerate(plan.groups):
            if state is not None and index < state.group:
                continue  # it had ended
            if checkpointer is not None:
                checkpointer.group = index
            # Nothing holds the rows or the networks of a group when it has ended; so no name for its engine.
            seconds = _share(first.job.seconds, started, len(plan.groups) - index)
            with _letting_others_leave(engine_of(first.job, planned, plan)) as engine:
                for run in runs:  # where the compiler failed, PyTorch trains
                    run.record.compiled = engine.backend.compiled
                train_group(planned.group, engine, recorders, checkpointer, seconds)
            del engine
            if len(plan.groups) > 1:  # it tells of which epochs the weights are, whatever comes next
                first.directory.write_record(first.record)
        for run in runs:
            run.directory.refuse_if_gone()


def _member_ids(runs: Sequence[ActiveRun]) -> list[dict[int, int]]:
    """For each run: the trainer's id of each of its networks → the id in the run."""
    if len(runs) == 1:
        return [{member_id: member_id for member_id in runs[0].job.member_ids}]
    return stacked_ids([run.job.groups for run in runs])


def stacked_ids(groups_of: Sequence[Sequence[Group]]) -> list[dict[int, int]]:
    """For each of several runs that train together: the id of each network among all → that in its run."""
    places = itertools.count()
    return [{next(places): member.id for group in own for member in group.members} for own in groups_of]


def _share(limit: float | None, started: float, groups: int) -> float | None:
    """The seconds that the next of so many groups may train, of a limit for all of them."""
    return None if limit is None else (limit - (time.perf_counter() - started)) / groups


@contextmanager
def _letting_others_leave(engine: Engine) -> Iterator[Engine]:
    """Where several processes train, the others leave when this one has ended."""
    try:
        yield engine
    finally:
        if isinstance(engine, LeadingEngine):
            engine.let_them_leave()


def engine_of(job: Job, planned: PlannedGroup, plan: Plan) -> Engine:
    """The engine of a group of networks, with their first weights."""
    group = planned.group
    problem = planned.problem or problem_of(job.spec, group, job.dataset, job.device, job.listener)
    first_weights = group.network.initial_parameters([m.source for m in group.members], plan.given)
    start_from_vectors(first_weights, [each.tables[plan.groups.index(planned)] for each in plan.vectors])
    ranks = job.settings.ranks
    return make_engine(planned.choice, problem, first_weights, job.listener.message, ranks)


def _keep_out_of_fold(run: ActiveRun) -> None:
    """Write the out-of-fold predictions of a run's networks; of trials, whose folders stay small, none."""
    job, directory = run.job, run.directory
    if job.settings.trial is not None or job.settings.temporary or job.member_type is None:
        return
    if isinstance(job.spec.validation, schema.NoValidation):
        return
    networks, used = load_networks(directory)
    spec = decided_spec(directory, job.spec, used, lambda _: None)
    opened = OpenRun(directory, spec, networks, used, job.dataset, job.device, DEFAULT_ACCESS)
    run.record.unset("without_out_of_fold")
    if (why := keep_out_of_fold(opened)) is not None:
        run.record.without_out_of_fold = why
        job.listener.message(why)


def _score_test_set(run: ActiveRun) -> None:
    job, record = run.job, run.record
    if not job.settings.use_test_set or job.dataset.test is None:
        return
    if not record.test_uses:  # else it was stopped between the look and its score
        look_at_test_set(
            run.directory,
            record,
            job.dataset.name,
            job.settings.command,
            job.listener.message,
            sha256=job.dataset.test_hashes,
        )
    if record.ensemble is None:
        fitted = job.groups[0].fitted[0]
        rows = None if job.spec.train_fraction == 1 else job.groups[0].folds[0].train_rows
        known = known_targets(job.dataset.train, rows)
        weights = run.directory.read_weights()
        scored = score(job.spec, fitted, weights, job.dataset.test, known, job.device)
        record.test, record.baseline = scored.scores, scored.baseline
        record.test_epoch = record.weights_epoch
    else:
        _score_average(run, record.ensemble, job.dataset.test)
    record.baseline_on = "test"
    _score_linear(run, job.dataset.test)
    record.take(cautions(record, job.spec, job.dataset.train))


def _score_linear(run: ActiveRun, test: Samples) -> None:
    """Keep what linear models score on the test set, fitted to the rows of the run's networks."""
    job, record = run.job, run.record
    record.unset("linear_baseline")
    if job.settings.smoke or job.settings.trial is not None:
        return
    if any(group.bytes_if_stacked is not None for group in job.groups):
        record.linear_baseline = LinearBaselineRecord(left_out=NOT_SIDE_BY_SIDE)
        return
    members = [member for group in job.groups for member in group.members]
    networks = [(member.fitted, member.fold.train_rows) for member in members]
    found = linear_score(job.spec, networks, job.dataset.train, [test] * len(members), job.device)
    if found is not None:
        record.linear_baseline = found


def _score_average(run: ActiveRun, ensemble: EnsembleRecord, test: Samples) -> None:
    """What the average of a run's networks scores on the test set, and what each scores alone."""
    job, record = run.job, run.record
    members = [member for group in job.groups for member in group.members]
    names = [job.member(member.id) for member in members]
    parts = [
        (member.fitted, run.directory.read_weights(name)) for member, name in zip(members, names, strict=True)
    ]
    known = [known_targets(job.dataset.train, member.fold.train_rows) for member in members]
    each, average = score_average(job.spec, parts, test, known, job.device)
    record.test, record.baseline = average, mean_of([scored.baseline for scored in each])
    for name, scored in zip(names, each, strict=True):
        record.tell(name, test=scored.scores, test_epoch=record.network(name).weights_epoch)
    ensemble.test_mean = mean_of([scored.scores for scored in each])
    ensemble.test_std = std_of([scored.scores for scored in each])


@dataclass(eq=False)
class _LastRows:
    """The weights that belong to the last row of each network's history, by the trainer's ids.

    The trainer may be an epoch ahead of the history when it is interrupted.
    """

    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    best: dict[int, BestWeights] = field(default_factory=dict)

    def take(self, epoch: EpochRecord) -> None:
        """The rows of an epoch were written."""
        self.weights.update(epoch.weights)
        self.epochs.update(dict.fromkeys(epoch.weights, epoch.epoch))
        self.best.update(epoch.best)

    def endings(self, trainer: Trainer) -> dict[int, Ending]:
        """How each network ended, as its files tell it."""
        for member_id in trainer.stopped_epochs:
            self.weights[member_id] = trainer.finished[member_id]
            self.epochs[member_id] = trainer.finished_epochs[member_id]
        found = {}
        for member_id, weights in self.weights.items():
            epoch, best = self.epochs[member_id], self.best.get(member_id)
            restored = member_id in trainer.restored
            last = not restored or epoch == trainer.last_epochs[member_id]
            averaged = member_id in trainer.averaged
            is_best = best is not None and best.epoch == epoch and not averaged
            found[member_id] = Ending(weights, WeightsEpoch(epoch, last, is_best, restored, averaged), best)
        return found


def train_group(
    group: Group,
    engine: Engine,
    recorders: Sequence[Recorder],
    checkpointer: Checkpointer | None = None,
    seconds: float | None = None,
) -> None:
    """Train one group; its weights are kept however it ends.

    Args:
        group: the replicas.
        engine: holds them.
        recorders: one for each run that the replicas belong to.
        checkpointer: keeps the state at the end of epochs, and may have one to resume from.
        seconds: how long it may train; None for as long as it takes.
    """
    trainer, last = _trainer(group, engine, recorders, seconds), _LastRows()
    listener = recorders[0].run.job.listener
    if len(recorders) > 1:  # those that ended while an earlier group trained
        over = [recorder for recorder in recorders if recorder.run.record.status != "running"]
        trainer.leave_out([id_ for recorder in over for id_ in recorder.member_ids])
        recorders = [recorder for recorder in recorders if recorder not in over]

    def keep_ends() -> None:
        endings = last.endings(trainer)
        for recorder in recorders:
            stopped = recorder.own(trainer.stopped_early), recorder.own(trainer.timed_out)
            recorder.ended(group, *stopped, recorder.own(endings))

    try:
        with stopping_between_batches():
            if checkpointer is not None:
                checkpointer.start(trainer)
                last = _resumed(trainer, recorders[0])
            for epoch in trainer.epochs():
                parts = dict(_parts(epoch, recorders))
                with uninterrupted():  # the weights that are kept are those of the last row
                    for recorder, part in parts.items():
                        recorder.epoch(part)
                        for member_id, reason in recorder.own(trainer.diverged).items():
                            recorder.diverged(member_id, reason)
                    last.take(epoch)
                    if checkpointer is not None and trainer.epoch == epoch.epoch:  # else it diverged
                        checkpointer.epoch_ended(trainer)
                _tell(parts, trainer, alone=len(recorders) == 1)
    except BaseException as reason:
        with uninterrupted():
            # Where later epochs of before are still in the history, their weights stay as well.
            if not any(recorder.history.is_behind for recorder in recorders):
                _despite(reason, listener, keep_ends)
            if checkpointer is not None:
                _despite(reason, listener, checkpointer.write)
        raise
    last.weights, last.epochs = trainer.finished, trainer.finished_epochs
    keep_ends()


def _tell(parts: Mapping[Recorder, EpochRecord], trainer: Trainer, *, alone: bool) -> None:
    """Tell the listener of each run of its part of an epoch. One that it stops is left out, if not alone."""
    for recorder, part in parts.items():
        listener = recorder.run.job.listener
        try:
            listener.epoch(part)
        except StopTraining as reason:
            if alone:
                raise
            recorder.stopped(reason)
            trainer.leave_out(recorder.member_ids.keys())
        if warning := recorder.told_of_drowned_loss(part):
            listener.message(f"warning: {warning}")


def _trainer(group: Group, engine: Engine, recorders: Sequence[Recorder], seconds: float | None) -> Trainer:
    job = recorders[0].run.job
    spec, best_by = job.spec, job.chosen_by
    own, stopping = directions(spec), spec.early_stopping
    plateaus = [p for p in spec.learning_rate_schedule if isinstance(p, schema.ReduceOnPlateau)]
    return Trainer(
        engine=engine,
        replicas=_replicas(group, recorders),
        schedule=Schedule(
            epochs=max(recorder.run.job.spec.epochs for recorder in recorders),
            shuffle=spec.shuffle,
            learning_rate=spec.optimizer.learning_rate,
            early_stopping=stopping,
            maximize=stopping is not None and monitor_mode(stopping.monitor, own) == "max",
            best_by=best_by,
            best_maximize=best_by is not None and monitor_mode(best_by, own) == "max",
            best_rule=ALL_COUNT if best_by is None else best_rule(spec, best_by),
            rates=spec.learning_rate_schedule,
            rates_maximize=any(monitor_mode(plateau.monitor, own) == "max" for plateau in plateaus),
            seconds=seconds,
        ),
        kind=job.member_type or "replica",
        leave_out_diverged=len(recorders) > 1
        or (job.settings.inner_folds and job.settings.trial is not None),
    )


def _replicas(group: Group, recorders: Sequence[Recorder]) -> list[Replica]:
    """The members of a group as the trainer has them; of several runs each with what its run says of it."""
    several = len(recorders) > 1
    epochs = max(recorder.run.job.spec.epochs for recorder in recorders)
    owner = {id_: place for place, recorder in enumerate(recorders) for id_ in recorder.member_ids}
    made = []
    for member in group.members:
        recorder = recorders[owner[member.id]]
        job, own_id = recorder.run.job, recorder.member_ids[member.id]
        # Inner folds diverge each by itself: on one of them nothing within other outer folds depends.
        whole = several and not job.settings.inner_folds
        ends = job.settings.stop_after.get(own_id)
        made.append(
            Replica(
                member.id,
                member.fold.train_rows,
                member.fold.validation_rows,
                member.source,
                job.spec.optimizer.learning_rate,
                job.spec.epochs if ends is None and job.spec.epochs < epochs else ends,
                inner_rows=member.fold.inner_rows,
                name=f"{job.member_type} {own_id}" if whole and len(recorder.member_ids) > 1 else "",
                run=owner[member.id] if whole else None,
            )
        )
    return made


def _resumed(trainer: Trainer, recorder: Recorder) -> _LastRows:
    """What a trainer holds that was resumed; of networks whose weights have been written only the best."""
    last = _LastRows(best=dict(trainer.best))
    for member_id, epoch in trainer.finished_epochs.items():
        if not recorder.run.directory.has_weights(recorder.run.job.member(member_id)):
            last.weights[member_id], last.epochs[member_id] = trainer.finished[member_id], epoch
    return last


def _parts(epoch: EpochRecord, recorders: Sequence[Recorder]) -> Iterator[tuple[Recorder, EpochRecord]]:
    """What an epoch tells of each run, its networks by their ids there; nothing of those that have ended."""
    for recorder in recorders:
        if rows := recorder.own(epoch.rows):
            yield (
                recorder,
                replace(
                    epoch,
                    rows=rows,
                    learning_rates=recorder.own(epoch.learning_rates),
                    weights=recorder.own(epoch.weights),
                    best=recorder.own(epoch.best),
                ),
            )


def _despite(reason: BaseException, listener: Listener, keep: Callable[[], None]) -> None:
    """Keep something although the training has ended by `reason`, which a failure must not hide."""
    try:
        keep()
    except NnrunError as error:
        if error is not reason and str(error) != str(reason):
            listener.message(f"warning: {error}")


def spec_to_train(loaded: LoadedSpec, settings: Settings, listener: Listener) -> schema.ExperimentSpec:
    """What is trained of a spec: neither its sweep nor what is nested, unless that is asked for."""
    spec = smoke_spec(loaded.spec) if settings.smoke else loaded.spec
    if spec.sweep is not None:
        listener.message("the sweep section was left out: this trains the spec itself (see `nnrun sweep`)")
        spec = spec.model_copy(update={"sweep": None})
    if spec.nested is not None and not settings.inner_folds:
        listener.message("the nested section was left out: see `nnrun kfold` and `nnrun sweep`")
        spec = spec.model_copy(update={"nested": None})
    return spec


def run_experiment(
    loaded: LoadedSpec,
    settings: Settings,
    listener: Listener = SILENT,
    *,
    dataset: Dataset | None = None,
) -> RunDirectory:
    """Train what a spec declares and keep the record of it. Its sweep and what is nested are left out.

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
    spec = spec_to_train(loaded, settings, listener)
    refuse_unwritable(settings.runs_dir)
    device = device_of(settings)
    with computing(device, spec.deterministic):
        job, plan = prepare_together(spec, settings, device, listener, dataset)
        (run,) = train_runs([new_run(job, loaded.source_text, plan.threads, listener.message)], plan)
    return run
