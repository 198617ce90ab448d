"""The networks of a finished run, averaged, as one model: a run of its own, in which nothing is trained.

It has the layout of every run of several networks: `fold-0/` or `seed-0/` ... with the weights and the
preprocessing of each, copied from the run that trained them, which may then be deleted. Its record says by
`ensemble` that the average is the model.

What its validation score is follows from who did not train on a row. Of folds each row is predicted by the
network of its own fold: the score is that of one network, and not of the average, which only rows can measure
that no member trained on, such as the test set. The same predictions, row by row, are what
`predict --split validation` gives.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from nnrun.data.load_data import load_data
from nnrun.data.preprocess.unknown_values import unknown_in_test_set
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.evaluate import evaluate_opened
from nnrun.experiment.evaluating.evaluation import Evaluation
from nnrun.experiment.finished.decision_text import given_decision
from nnrun.experiment.finished.decisions import as_trained, decided_outputs, decided_spec
from nnrun.experiment.finished.ensemble_text import linear_member_text
from nnrun.experiment.finished.kept_scores import intervals, mean_scores
from nnrun.experiment.finished.load_run import (
    Access,
    load_networks,
    load_spec_of_data,
    refuse_changed_data,
)
from nnrun.experiment.predicting.open_run import OpenRun
from nnrun.experiment.predicting.out_of_fold import keep_out_of_fold
from nnrun.experiment.running.final import with_test_file
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.linear_member import with_linear_members
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.recorder import recording_the_end
from nnrun.interrupts import uninterrupted
from nnrun.model.network import network_of
from nnrun.records import RunDirectory, RunRecord, WeightsChoice, create_run, now, refuse_unwritable
from nnrun.records.run_record import DataRecord, DecisionRecord, EnsembleRecord, LinearMemberRecord
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.ports import output_views
from nnrun.spec.reading.load import LoadedSpec, read_kept_spec
from nnrun.spec.reading.overrides import Overrides, with_changes
from nnrun.spec.writing.dump import dump_spec
from nnrun.training.device import resolve_device

Members = Literal["folds", "seeds"]

_OF_THE_PARENT: Final = (
    *("name", "seed", "device", "threads", "deterministic", "compiled", "networks_at_once", "smoke"),
    *("folds", "seeds", "epochs", "epochs_run", "chosen_by", "rows", "parameters", "versions", "git_commit"),
    *("directions", "custom", "baseline", "baseline_on", "best_epoch", "best", "last", "last_epoch"),
    *("last_std", "smoothed_over", "verdict", "best_std", "best_interval", "near_perfect", "drowned"),
)
"""What the record of an ensemble has from the run that trained its members, beside what it tells of each:
how they were trained, and what their history shows."""

_OF_THE_TEST: Final = ("test", "test_epoch")


def final_of_members(
    parent: RunDirectory,
    settings: Settings,
    members: Members,
    *,
    overrides: Overrides = (),
    test: Path | None = None,
    weights: WeightsChoice = "last",
    listener: Listener = SILENT,
) -> RunDirectory:
    """Make the networks of a run, averaged, one model, and use the test set if there is one.

    Args:
        parent: the run that trained them.
        settings: where the new run is made, where data are looked for, where to compute.
        members: what they are.
        overrides: where the files of the run's spec lie now.
        test: a file of test rows, where the spec has none of its own.
        weights: those that training ended with, beside which those of the best epochs can be asked for; or
            `best`: only these, each network's own.
        listener: is told what happens.

    Raises:
        UsageError: the run is not one of several such networks, has not completed, or has no best epoch whose
            weights are asked for; or the overrides change more than paths.
        DataError: its files or data are missing, damaged or changed; or most test rows hold values that
            training never saw.
    """
    record = parent.read_record()
    _refuse_unsuitable(parent, record, members)
    opened = _opened(parent, record, settings, weights, overrides, test, listener)
    if isinstance(opened.spec.validation, schema.TimeSeries):
        listener.message(
            "these are folds of a time series: each network was trained on fewer rows than the next, and all "
            "count alike in the average"
        )
    listener.message(
        f"the average of the {len(opened.networks)} {members} of {parent.id}: nothing is trained"
    )
    alone = opened
    opened, linear = _with_linear_members(opened, members, listener)
    with _new_run(parent, record, opened, settings, members, linear) as (run, made):
        decided = decided_spec(run, opened.spec, opened.weights, listener.message)
        try:
            _measure(replace(opened, run=run, spec=decided), made)
            _note_networks_alone(replace(alone, run=run), made)
        finally:
            made.take(run.read_written_record())  # each look at the test set was written there
    return run


def _with_linear_members(
    opened: OpenRun, members: Members, listener: Listener
) -> tuple[OpenRun, LinearMemberRecord | None]:
    """The networks with a linear model in each, where the spec asks for it, and what the record says."""
    if not opened.spec.linear_member:
        return opened, None
    if members == "folds":
        opened, linear = with_linear_members(opened)
    else:
        linear = LinearMemberRecord(left_out="seeds have no other folds, whose rows could choose its share")
    listener.message(linear_member_text(linear))
    return opened, linear


def refuse_what_trains(asked: str, spec: str | Path | None, given: Mapping[str, object]) -> None:
    """Raise UsageError where networks of a run are asked for beside a spec, or with what only training needs.

    Args:
        asked: how, such as `--members folds`.
        spec: the spec that was named in place of a run; None for a run.
        given: option → its value; None and False stand for none.
    """
    if spec is not None:
        raise UsageError(
            f"{asked} takes the networks of a run, and {spec} is a spec. Train it first (nnrun kfold SPEC, "
            "or nnrun train SPEC --seeds N), and name the run."
        )
    for option, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"{option} is for training, and with {asked} nothing is trained: leave it out.")


def _refuse_unsuitable(parent: RunDirectory, record: RunRecord, members: Members) -> None:
    """Raise UsageError unless the run has several networks of this kind, all trained to their end."""
    other = "kfold SPEC" if members == "folds" else "train SPEC --seeds N"
    if record.ensemble is not None:
        raise UsageError(
            f"--members {members}: {parent.id} is such a model already, the average of its "
            f"{len(record.member_ids)} {record.ensemble.of}. Use it as it is: nnrun predict {parent.word} "
            "INPUT."
        )
    if record.is_inner:
        raise UsageError(
            f"--members {members}: the networks of {parent.id} are those of inner folds, which leave out the "
            "rows of outer ones. Train folds of all rows first: nnrun kfold "
            f"{shlex.quote(str(parent.resolved_spec))} --set nested=null, and name that run."
        )
    if f"{record.member_type}s" != members:
        what = "has one network" if record.member_type is None else f"has {record.member_type}s"
        raise UsageError(
            f"--members {members}: {parent.id} {what}. Name a run of several {members}: nnrun {other}."
        )
    if record.status != "completed":
        raise UsageError(
            f"--members {members}: {parent.id} is {record.status}, so not all of its {members} were trained "
            f"to their end. Resume it first: nnrun train --resume {parent.word}"
        )
    if len(record.member_ids) < 2:
        raise UsageError(
            f"--members {members}: {parent.id} has {record.member_type} {record.member_ids[0]} only, and an "
            f"average takes two or more: nnrun {other}."
        )


def _opened(
    parent: RunDirectory,
    record: RunRecord,
    settings: Settings,
    weights: WeightsChoice,
    overrides: Overrides,
    test: Path | None,
    listener: Listener,
) -> OpenRun:
    """The run that trained the members, its data with the test set of the new run. Nothing is made yet."""
    changes = with_changes(overrides, {"init_weights": None})
    loaded = load_spec_of_data(parent, changes, settings.data_dir)
    if test is not None:
        loaded = _with_test_file(loaded, test)
    spec = loaded.spec
    refuse_what_is_not_allowed(spec)
    refuse_unwritable(settings.runs_dir)
    device = resolve_device(settings.device)
    on_message = listener.message
    dataset = load_data(spec, data_dir=settings.data_dir, smoke=record.smoke, on_message=on_message)
    refuse_changed_data(dataset, record.data_hashes, parent.id, another_test_file=test is not None)
    networks, used = load_networks(parent, weights)
    if dataset.test is not None:
        allowed, fitted = settings.allow_unknown or record.smoke, [each.fitted for each in networks]
        unknown_in_test_set(dataset, fitted, lambda _: None, allowed=allowed)  # told when they are used
    access = Access(
        data_dir=settings.data_dir,
        device=settings.device,
        allow_unknown=settings.allow_unknown,
        listener=listener,
    )
    return OpenRun(parent, spec, networks, used, dataset, device, access)


def _with_test_file(loaded: LoadedSpec, test: Path) -> LoadedSpec:
    own = getattr(loaded.spec.dataset, "test", None)
    if own is not None and own.path is None:
        raise UsageError(
            "--test: the spec's own test rows are rows of its file. With another test set they would be "
            "training rows, and the networks were not trained on them. Leave --test out; or train again with "
            f"--set dataset.{loaded.spec.dataset.kind}.test.path={test}."
        )
    return with_test_file(loaded, test)


@contextmanager
def _new_run(
    parent: RunDirectory,
    record: RunRecord,
    opened: OpenRun,
    settings: Settings,
    members: Members,
    linear: LinearMemberRecord | None,
) -> Iterator[tuple[RunDirectory, RunRecord]]:
    """The new run's folder with the networks in it, and its record, which says in the end how it ended."""
    own = read_kept_spec(parent.read_resolved(), file=f"the spec of {parent.id}")
    resolved = opened.spec.model_copy(update={"init_weights": own.init_weights})
    with ExitStack() as stack:
        with uninterrupted():  # there is no folder without a record
            run = create_run(settings.runs_dir, opened.spec.name)
            stack.enter_context(run.owned())
            run.write_resolved(dump_spec(resolved))
            made = _first_record(run, parent, record, opened, members)
            _note_linear_members(made, opened, linear)
            run.write_record(made)
            stack.enter_context(recording_the_end(run, made, 0))
        taken = [network.member for network in opened.networks if network.member]
        run.take_networks(parent, taken, opened.weights.which)
        if linear is not None and linear.model is not None:
            _write_networks(run, opened)
        yield run, made


def _first_record(
    run: RunDirectory, parent: RunDirectory, record: RunRecord, opened: OpenRun, members: Members
) -> RunRecord:
    """What the record says before anything is measured."""
    made = RunRecord(id=run.id)
    for name in _OF_THE_PARENT:
        if name in record.model_fields_set:
            setattr(made, name, getattr(record, name))
    made.members = [member.model_copy(deep=True) for member in record.members]
    made.ensemble = EnsembleRecord(of=members, taken_over=True)
    if record.decisions:
        made.decisions = _decisions(parent, record, opened)
    for member in made.members:
        member.unset(*_OF_THE_TEST)
        if opened.weights.which == "best":
            member.unset("weights_averaged", "kept")
            member.weights_epoch = member.best_weights_epoch
            made.ensemble.weights = "best"
    test_rows = 0 if opened.dataset.test is None else len(opened.dataset.test)
    made.rows = record.rows.model_copy(update={"test": test_rows})
    made.data = [DataRecord(**source.as_record()) for source in opened.dataset.sources]
    made.command, made.status, made.parent = "final", "running", parent.id
    made.started, made.ended, made.test_uses = now(), None, []
    return made


def _note_linear_members(made: RunRecord, opened: OpenRun, linear: LinearMemberRecord | None) -> None:
    """Say what the networks became; of other epochs' weights there are none with a linear model in them."""
    assert made.ensemble is not None, "the run is one"
    made.ensemble.linear_member = linear
    if linear is None or linear.model is None:
        return
    network = network_of(opened.spec, opened.networks[0].fitted.inputs)
    made.parameters = network.parameter_count
    for member in made.members:
        member.unset("best_weights_epoch")


def _write_networks(run: RunDirectory, opened: OpenRun) -> None:
    """Keep the networks in place of those that were copied."""
    for network, epoch in zip(opened.networks, opened.weights.epochs, strict=True):
        run.write_weights(network.weights, network.member, epoch)
        run.remove_best_weights(network.member)
        run.write_preprocessing(network.fitted.to_json(), network.member)


def _decisions(parent: RunDirectory, record: RunRecord, opened: OpenRun) -> list[DecisionRecord]:
    """What the parent tells of its calibrations and thresholds; of other weights the values alone."""
    if opened.weights.which != "best":
        return [told.model_copy(update={"parent": parent.id}) for told in record.decisions]
    spec = decided_spec(parent, opened.spec, opened.weights, lambda _: None)
    named, open_ = bool(spec.outputs), output_views(opened.spec)
    decided = decided_outputs(spec).items()
    return [given_decision(port if named else None, view, parent.id, open_[port]) for port, view in decided]


def _measure(opened: OpenRun, record: RunRecord) -> None:
    """Score the validation rows, each by networks that did not train on it, then the test set.

    The validation scores are of the networks as trained: calibration and threshold were fitted on these rows.
    """
    ensemble = record.ensemble
    assert ensemble is not None, "it was set when the run was made"
    if not isinstance(opened.spec.validation, schema.NoValidation):
        found = evaluate_opened(replace(opened, spec=as_trained(opened.spec)), "validation")
        rows = [opened.fold_of(network).validation_rows for network in opened.networks]
        ensemble.combination, ensemble.validation = found.combination, found.scores
        ensemble.validation_interval = _interval_of_folds(opened, found)
        ensemble.rows = len(np.unique(np.concatenate(rows)))
        ensemble.optimistic = found.chosen_on_these_rows
        _keep_baseline(record, found, "validation")
        if (why := keep_out_of_fold(opened)) is not None:
            record.without_out_of_fold = why
        opened.run.write_record(record)
    if opened.dataset.test is not None:
        found = evaluate_opened(opened, "test", command="final")
        record.take(opened.run.read_written_record())
        _keep_baseline(record, found, "test")
        record.unknown = [unknown.as_document() for unknown in found.unknown]
        opened.run.write_record(record)


def _note_networks_alone(opened: OpenRun, record: RunRecord) -> None:
    """Score the networks as they were, without linear models in them, on the validation rows."""
    linear = record.ensemble.linear_member if record.ensemble else None
    if linear is None or linear.model is None:
        return
    spec = as_trained(opened.spec).model_copy(update={"linear_baseline": False})
    linear.networks_alone = evaluate_opened(replace(opened, spec=spec), "validation").scores
    opened.run.write_record(record)


def _interval_of_folds(opened: OpenRun, found: Evaluation) -> dict[str, list[float]]:
    """The 95 % intervals of the out-of-fold scores that are the mean of what each fold scores."""
    if found.combination != "out_of_fold":
        return {}
    each, rows = [member.scores for member in found.members], [member.rows for member in found.members]
    means = {
        name: score
        for name, score in found.scores.items()
        # Of all rows together AUC or RMSE is another number than the mean over folds.
        if all(name in of for of in each)
        and math.isclose(np.average([of[name] for of in each], weights=rows), score, rel_tol=1e-4)
    }
    of_folds = mean_scores([{name: of[name] for name in means} for of in each], opened.spec)
    phase = "val_"
    scores, stds = ({f"{phase}{name}": of[name] for name in of} for of in (means, of_folds.std))
    found_of = intervals(scores, stds, len(each), opened.spec, sum(rows))
    return {name.removeprefix(phase): of for name, of in found_of.items()}


def _keep_baseline(record: RunRecord, found: Evaluation, on: str) -> None:
    record.baseline, record.baseline_on = found.baseline, on
    record.not_better_than_baseline = found.not_better_than_baseline
    if found.linear_baseline is not None:
        record.linear_baseline = found.linear_baseline
        record.not_better_than_linear = found.not_better_than_linear
