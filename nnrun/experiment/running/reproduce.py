"""A run trained once more, or stopped and resumed, and compared with what it was, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import load_dataset
from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import load_spec_of_data, nested_settings, selection_of
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener, Start, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.history_table import HistoryTable
from nnrun.records import Member, RunDirectory, RunRecord, member_type_of
from nnrun.spec.reading.load import LoadedSpec, load_spec_text
from nnrun.spec.reading.overrides import Overrides
from nnrun.training.backends.choice import Policy
from nnrun.training.loop import EpochRecord

_SECONDS = "seconds"  # the one column that no two runs share
_CONDITIONS = ("device", "threads", "compiled", "networks_at_once", "world_size")


@dataclass(frozen=True)
class HistoryComparison:
    """Two histories, every column but the seconds, bit for bit.

    Attributes:
        rows: of the first.
        columns: that were compared.
        identical: whether they are the same.
        shape: where they have other rows or columns, a sentence about it; else None.
        member, epoch, column, then, now: of the first value that differs; None where none does.
    """

    rows: int
    columns: int
    identical: bool
    shape: str | None = None
    member: str | None = None
    epoch: int | None = None
    column: str | None = None
    then: float | None = None
    now: float | None = None

    @property
    def difference(self) -> float | None:
        """By how much the first value differs."""
        return None if self.then is None or self.now is None else abs(self.now - self.then)


@dataclass(frozen=True)
class WeightsComparison:
    """The weights of two runs, bit for bit.

    Attributes:
        arrays: that were compared.
        identical: whether they are the same.
        first: the first array that differs, as a person would name it; None where none does.
        largest: the largest difference between two weights; None where arrays have other shapes.
    """

    arrays: int
    identical: bool
    first: str | None = None
    largest: float | None = 0.0


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        original: the run that was to be repeated.
        run: the new one.
        history, weights: what is the same.
        changed: name → (then, now) of versions, device, threads, compiled steps, networks trained at once and
            data, where the two records differ.
        test_set_left_out: whether the original used the test set, which the new run did not look at.
    """

    original: RunDirectory
    run: RunDirectory
    history: HistoryComparison
    weights: WeightsComparison
    changed: Mapping[str, tuple[Any, Any]]
    test_set_left_out: bool

    @property
    def identical(self) -> bool:
        """Whether history and weights are the same, bit for bit."""
        return self.history.identical and self.weights.identical


def reproduce_run(
    original: RunDirectory,
    *,
    runs_dir: Path,
    data_dir: Path | None = None,
    device: str | None = None,
    compile_: Policy | None = None,
    overrides: Overrides = (),
    listener: Listener = SILENT,
) -> Reproduction:
    """Train a run's resolved spec again, the same folds or seeds, into a new run; then compare.

    The test set is not looked at: the weights say already whether its scores would be the same.

    Args:
        original: the run to repeat.
        runs_dir: where the new run's folder is made.
        data_dir: where data files are looked for first.
        device: default: the original's.
        compile_: default: as the original's steps were.
        overrides: where the files of the run's spec lie now, such as `dataset.csv.path=t.csv`.
        listener: is told what happens.

    Raises:
        UsageError: the original did not complete, its networks were given linear models after they were
            trained, or its device is not here.
    """
    record = original.read_record()
    _refuse_what_cannot_be_repeated(original, record)
    recorded: Policy = "recorded" if record.compiled else "auto" if record.compiled is None else "off"
    settings = Settings(
        command=record.command or "train",
        runs_dir=runs_dir,
        data_dir=data_dir,
        device=device or record.device or "auto",
        smoke=record.smoke,
        selection=selection_of(record),
        parent=original.id,
        parent_data=record.data_hashes if overrides else None,  # else what changed is told
        reproduces=original.id,
        compile=compile_ or recorded,
        threads=record.threads or None,
        **{"stop_after": _ends_by_time(record), **nested_settings(record)},
    )
    loaded = load_spec_of_data(original, overrides, data_dir)
    run = run_experiment(_as_long(loaded, original, record, listener), settings, listener)
    return Reproduction(
        original,
        run,
        compare_histories(original.read_history_table(), run.read_history_table()),
        compare_weights(original, run),
        changed_conditions(record, run.read_record()),
        bool(record.test_uses),
    )


def _refuse_what_cannot_be_repeated(original: RunDirectory, record: RunRecord) -> None:
    if record.status != "completed":
        raise UsageError(
            f"{original.id} is {record.status}: only a completed run has an end to compare with. From the "
            f"start: {original.command_again(record)}"
        )
    if record.ensemble is not None and (linear := record.ensemble.linear_member) and linear.model is not None:
        raise UsageError(
            f"{original.id} is made of the networks of {record.parent} and of linear models, and nothing was "
            "trained in it. Reproduce what trained them, nnrun reproduce "
            f"{original.sibling(record.parent).word}, and make it again: nnrun final NEW_RUN --members folds."
        )


def _as_long(loaded: LoadedSpec, original: RunDirectory, record: RunRecord, listener: Listener) -> LoadedSpec:
    """The spec; where a time limit ended the original, with as many epochs as it had and no limit."""
    last = record.stopped_by_time_at
    if last is None:
        return loaded
    listener.message(
        f"the time limit of {record.time_limit} ended {original.id} after epoch {last}: as many epochs "
        "are trained now, however long they take"
    )
    epochs = {"epochs": record.epochs_run, "time_limit": None}
    return replace(loaded, spec=loaded.spec.model_copy(update=epochs))


def _ends_by_time(record: RunRecord) -> dict[int, int]:
    """Fold or seed (0 for the only network) → the epoch after which the time limit ended it."""
    if record.member_type is None:
        return {} if record.stopped_by_time is None else {0: record.stopped_by_time}
    named = [(member.id, member.stopped_by_time) for member in record.members]
    return {id_: epoch for id_, epoch in named if id_ is not None and epoch is not None}


def compare_histories(then: HistoryTable, now: HistoryTable) -> HistoryComparison:
    """Compare value by value, in the order of the file: the first epoch that differs, its first column."""
    then, now = (table.without(_SECONDS) for table in (then, now))
    rows, columns = len(then), len(then.columns)
    if then.columns != now.columns:
        return HistoryComparison(
            rows, columns, False, f"the columns were {_listed(then)}, and are now {_listed(now)}"
        )
    for place, (old, new) in enumerate(zip(_rows(then), _rows(now), strict=False)):
        for column, was, is_ in zip(then.columns, old, new, strict=True):
            if repr(was) != repr(is_):
                member_type = member_type_of(then.columns)
                member = None if member_type is None else f"{member_type} {then[member_type][place]}"
                epoch = int(then["epoch"][place])
                return HistoryComparison(
                    rows, columns, False, None, member, epoch, str(column), float(was), float(is_)
                )
    if rows != len(now):
        return HistoryComparison(
            rows, columns, False, f"there were {rows} rows, and there are now {len(now)}"
        )
    return HistoryComparison(rows, columns, True)


def compare_weights(then: RunDirectory, now: RunDirectory) -> WeightsComparison:
    """Compare every array of every network."""
    members: list[Member | None] = list(then.members()) or [None]
    pairs = [(member, then.read_weights(member), now.read_weights(member)) for member in members]
    arrays = sum(len(old) for _, old, _ in pairs)
    first: str | None = None
    largest: float | None = 0.0
    for member, old, new in pairs:
        for name in sorted(old.keys() | new.keys()):
            was, is_ = old.get(name), new.get(name)
            if was is not None and is_ is not None and was.shape == is_.shape:
                if was.tobytes() == is_.tobytes():
                    continue
                distance = float(np.max(np.abs(was.astype(np.float64) - is_)))
                largest = None if largest is None else max(largest, distance)
            else:
                largest = None
            first = first or (name if member is None else f"{name} of {member}")
    return WeightsComparison(arrays, first is None, first, largest)


def changed_conditions(then: RunRecord, now: RunRecord) -> dict[str, tuple[Any, Any]]:
    """Name → (then, now) of what may change numbers, where the two records differ."""
    same = set(then.data_hashes.values()) & set(now.data_hashes.values())  # a file may have another name now

    def conditions(record: RunRecord) -> dict[str, Any]:
        found = {name: getattr(record, name) for name in _CONDITIONS} | dict(record.versions)
        found |= {f"code {module}": sha256 for module, sha256 in record.code_hashes.items()}
        data = {name: sha256 for name, sha256 in record.data_hashes.items() if sha256 not in same}
        return found | {f"data {name}": sha256 for name, sha256 in data.items()}

    old, new = conditions(then), conditions(now)
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


def _rows(table: HistoryTable) -> zip[tuple[Any, ...]]:
    """Rows of Python's own numbers, whole ones as such."""
    return zip(*(table[column].tolist() for column in table.columns), strict=True)


def _listed(table: HistoryTable) -> str:
    return ", ".join(table.columns)


EPOCHS, STOPPED_AFTER = 6, 3

# A bundled data set; dropout, a shuffle, an optimizer with a memory: what an exact state must hold.
_SPEC = f"""
dataset: {{sklearn: breast_cancer}}
preprocessing: {{inputs: standardize}}
layers:
  - dense: {{units: 32, activation: relu}}
  - dropout: 0.3
  - dense: {{units: 1, activation: sigmoid}}
loss: binary_crossentropy
optimizer: adam
epochs: {EPOCHS}
deterministic: true
validation: {{kfold: {{k: 3, shuffle: true}}}}
"""


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Attributes:
        device: where it was tried.
        history, weights: what is the same.
    """

    device: str
    history: HistoryComparison
    weights: WeightsComparison

    @property
    def exact(self) -> bool:
        """Whether all is the same, bit for bit."""
        return self.history.identical and self.weights.identical


class _Stops(Listener):
    run: RunDirectory

    def started(self, start: Start) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == STOPPED_AFTER:
            raise StopTraining("as planned")


def verify_resume(device: str = "auto") -> Verification:
    """Train a small k-fold in one go, and again with a stop on the way; compare, and leave nothing behind.

    Raises:
        UsageError: there is no such device.
    """
    loaded = load_spec_text(_SPEC, file="verify-resume", base=Path(), default_name="verify-resume")
    dataset = load_dataset(loaded.spec.dataset)
    with tempfile.TemporaryDirectory(prefix="nnrun-") as folder:
        settings = Settings("train", Path(folder), device=device, keep_every_epoch=True)
        whole = run_experiment(loaded, settings, dataset=dataset)
        listener = _Stops()
        try:
            run_experiment(loaded, settings, listener, dataset=dataset)
        except StopTraining:
            resume_run(listener.run, device=device)
        stopped = listener.run
        return Verification(
            str(whole.read_record().device),
            compare_histories(whole.read_history_table(), stopped.read_history_table()),
            compare_weights(whole, stopped),
        )
