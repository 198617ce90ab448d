"""`nnrun tune`: the steps from a file of data to a model, each of which is a command that a person can type.

    init     FILE → SPEC
    sweep    SPEC_tune, which is SPEC with a sweep around its own sizes → the best trial
    kfold    SPEC_best, the best trial's spec with folds; the best trial itself, where SPEC has folds
    final    the networks of the folds, averaged, as one model (where rows cannot be split into folds, one
             network, trained on all rows); it looks at the test set, where there is one
    report   a page about the model

What a step has made is there when the command is typed again: specs are used as they lie there, a sweep or a
run that was interrupted goes on, and one that has ended is taken as it is.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnrun.atomic_files import write_text
from nnrun.errors import NnrunError, UsageError, printable
from nnrun.experiment.init.initial_spec import Defaults, Wanted, initial_spec
from nnrun.experiment.init.target import columns_of_list
from nnrun.experiment.running.ensemble import final_of_members
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import LineListener, Lines, Listener
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener
from nnrun.experiment.tuning.swept_sizes import sizes_to_sweep, swept_text
from nnrun.records import RunDirectory, RunRecord, SweepDirectory, SweepRecord, list_runs
from nnrun.spec import schema
from nnrun.spec.duration import canonical_duration, seconds_of
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.spec.reading.overrides import Override
from nnrun.spec.sweep_plan import load_sweep
from nnrun.spec.writing.dump import dump_spec

FOLDS = 5
"""Of a spec that holds some rows out: so many networks are averaged in the end."""

_END_SHARE, _END_SECONDS = 0.1, 8.0  # the model is put together, tested and reported on in no less
_SWEEP_SHARE = 0.6  # of the time before the end, where the folds of the best trial are still to be trained
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """What is to be tuned.

    Attributes:
        file: the data.
        spec: where the first spec lies, or will; the other files lie beside it.
        time_limit: how long the whole may take.
        wanted: what is known of the target.
        seed: in place of the specs'.
        new: start over: write the specs again, begin a new sweep.
        where: the options that tell the commands of later steps where runs and data are.
    """

    file: Path
    spec: Path
    time_limit: str = "10m"
    wanted: Wanted = field(default_factory=Wanted)
    seed: int | None = None
    new: bool = False
    where: Sequence[str] = ()

    def beside(self, what: str, ending: str = ".yaml") -> Path:
        """A file next to the first spec, named after it."""
        return self.spec.with_name(f"{self.spec.stem}_{what}{ending}")


_WRITTEN = b"Written by nnrun tune."
"""Ends the first line of the best trial's spec, by which it is known again."""


class TuneListener:
    """Hears nothing. What shows progress overrides what it needs."""

    def message(self, text: str) -> None:
        """Something took long or went differently; a sentence."""

    def step(self, command: str, note: str = "") -> None:
        """A step begins: the command that does the same, and why it takes no time where it was done."""

    def of_sweep(self) -> SweepListener:
        """Who hears of the sweep."""
        return SweepListener()

    def of_run(self) -> Listener:
        """Who hears of a run."""
        return Listener()


class TuneLines(Lines, TuneListener):
    """Writes each step, and what is told of its sweep and its runs."""

    def step(self, command: str, note: str = "") -> None:
        """Write the command."""
        self._write(f"$ {command}" + (f"   # {note}" if note else ""))

    def of_sweep(self) -> SweepListener:
        """A line for each trial."""
        return SweepLines(self._write)

    def of_run(self) -> Listener:
        """A line for each epoch."""
        return LineListener(self._write)


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        request: what was asked for.
        commands: of the steps, in order.
        sweep: the sweep.
        best: the spec of its best trial, as a file beside the first.
        folds: the run of its folds; None where the rows cannot be split into folds.
        model: the model.
        report: the page about it.
        seconds: that the whole took this time.
    """

    request: Request
    commands: tuple[str, ...]
    sweep: SweepDirectory
    best: Path
    folds: RunDirectory | None
    model: RunDirectory
    report: Path
    seconds: float


@dataclass(eq=False)
class _Clock:
    """The time that there is for all steps, and which part of it each may take."""

    limit: float
    began: float = field(default_factory=time.perf_counter)

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.began

    def before_the_end(self, share: float = 1.0) -> float:
        """Seconds for the present step: a share of what is left before the last steps."""
        end = max(_END_SHARE * self.limit, min(_END_SECONDS, self.limit / 4))
        return max(share * (self.limit - self.spent - end), _LEAST_SECONDS)


def tune(
    request: Request,
    settings: Settings,
    write_report: Callable[[RunDirectory, Path], None],
    listener: TuneListener,
) -> Tuned:
    """Go from a file to a model.

    Args:
        request: what is to be tuned.
        settings: how and where runs train; their commands are set here.
        write_report: writes the page about a run into a file.
        listener: is told what happens.

    Raises:
        UsageError: the spec that lies there is not one of the file.
        SpecError, DataError: a spec or the data are not in order.
        NnrunError: no trial has a score.
        RunInterrupted, SweepInterrupted: the user stopped it (a KeyboardInterrupt); all is kept.
    """
    clock = _Clock(seconds_of(canonical_duration(request.time_limit)))
    steps = _Steps(request, settings, listener, clock)
    steps.first_spec()
    sweep, record = steps.sweep()
    best = steps.best_spec(sweep, record)
    folds = steps.folds(sweep, record, best)
    model = steps.model(folds, sweep, record)
    report = request.beside("report", ".html")
    steps.tell("report", str(model.path), "-o", str(report))
    write_report(model, report)
    return Tuned(request, tuple(steps.commands), sweep, best, folds, model, report, clock.spent)


@dataclass(eq=False)
class _Steps:
    """The steps, one after the other."""

    request: Request
    settings: Settings
    listener: TuneListener
    clock: _Clock
    commands: list[str] = field(default_factory=list)

    def tell(self, *words: str, note: str = "") -> None:
        """Say which command does what is done now."""
        where = () if words[0] == "init" else self.request.where
        command = shlex.join(["nnrun", *words, *where])
        self.commands.append(command)
        self.listener.step(command, note)

    def first_spec(self) -> None:
        """Write the first spec, and the one with a sweep, unless they lie there."""
        request = self.request
        best = request.beside("best")
        if best.exists() and _WRITTEN not in best.read_bytes().split(b"\n", 1)[0]:
            raise UsageError(
                f"{printable(str(best))} exists, and nnrun tune did not write it: the spec of the best trial "
                "would be written there. Choose another name with -o, or move that file away."
            )
        wanted = request.wanted
        words = ["init", str(request.file), "--yes", "-o", str(request.spec)]
        words += [word for target in wanted.targets for word in ("--target", target)]
        words += ["--task", wanted.task] if wanted.task is not None else []
        words += ["--test", str(wanted.test)] if wanted.test is not None else []
        there = request.spec.exists() and not request.new
        self.tell(*words, note="its spec is there, and is used as it is" if there else "")
        if there:
            self._refuse_another_file()
        else:
            spec = initial_spec(request.file, request.spec, wanted, Defaults(), self.listener.message)
            write_text(request.spec, spec.text)
        swept = request.beside("tune")
        if request.new or not swept.exists():
            over = sizes_to_sweep(load_spec(request.spec).spec)
            write_text(swept, swept_text(request.spec.read_text("utf-8"), request.spec.name, over))

    def _refuse_another_file(self) -> None:
        """Raise UsageError where the spec that lies there is one of other data, or of another target."""
        request, shown = self.request, printable(str(self.request.spec))
        dataset = load_spec(request.spec).spec.dataset
        path = getattr(dataset, "path", None)
        if path is None or Path(path).resolve() != request.file.resolve():
            raise UsageError(
                f"{shown} is there, and is not a spec of {printable(str(request.file))}. Choose another name "
                "with -o, or overwrite it with --new."
            )
        targets = tuple(map(str, getattr(dataset, "target", ())))
        asked = request.wanted.targets
        several = tuple(name for text in asked for name in columns_of_list(text))
        if asked and targets and targets not in (asked, several):
            raise UsageError(
                f"{shown} is there, and predicts {', '.join(targets)}. Leave out --target to use it, choose "
                "another name with -o, or overwrite it with --new."
            )

    @property
    def _changes(self) -> list[Override]:
        seed = self.request.seed
        return [] if seed is None else [Override.of_value("seed", seed, "--seed")]

    @property
    def _seed_words(self) -> list[str]:
        return [] if self.request.seed is None else ["--seed", str(self.request.seed)]

    def sweep(self) -> tuple[SweepDirectory, SweepRecord]:
        """Run the sweep, or what is left of it, for as long as there is time for it."""
        path = self.request.beside("tune")
        has_folds = load_spec(path, self._changes).spec.validation.has_folds
        limit = canonical_duration(round(self.clock.before_the_end(1.0 if has_folds else _SWEEP_SHARE)))
        new = self.request.new
        self.tell("sweep", str(path), *self._seed_words, "--time", limit, *(["--new"] if new else []))
        alone = Override.of_value("nested", None, "nnrun tune", prevails=True)
        plan = load_sweep(path, [*self._changes, alone], changes={"time_limit": limit})
        settings, listener = replace(self.settings, command="sweep"), self.listener.of_sweep()
        sweep = run_sweep(plan, settings, listener, new=new, only_if_longer=True)
        record = sweep.read_record()
        if not record.ranked():
            raise NnrunError(
                f"No trial of {sweep.id} has a score, so there is no model. {sweep.path} says how they ended."
            )
        return sweep, record

    def best_spec(self, sweep: SweepDirectory, record: SweepRecord) -> Path:
        """Write the best trial's spec beside the first; with folds, where it holds rows out at random."""
        path, trial = self.request.beside("best"), record.ranked()[0]
        spec = load_spec(sweep.best_spec).spec
        folds = folded(spec.validation)
        head = (
            f"# The best of {len(record.ranked())} trials of {sweep.id}, trial {trial.number}: "
            f"{record.monitor} {trial.score:.6g}. {_WRITTEN.decode()}\n"
        )
        if folds is not None:
            spec = spec.model_copy(update={"validation": folds})
            head += (
                "# Folds in place of the holdout that the sweep compared by: their networks are averaged.\n"
            )
        text = head + dump_spec(spec)
        if not path.exists() or path.read_text("utf-8") != text:
            write_text(path, text)
        return path

    def folds(self, sweep: SweepDirectory, record: SweepRecord, best: Path) -> RunDirectory | None:
        """The folds of the best trial: the trial's own, or trained now."""
        loaded = load_spec(best)
        if not loaded.spec.validation.has_folds:
            return None
        trial = sweep.run_of(record.ranked()[0])
        if trial.read_record().folds:
            return trial
        words = ["kfold", str(best)]
        known = _same_run(loaded, self.settings.runs_dir, record)
        if known is not None and known.read_record().status == "completed":
            self.tell(*words, note=f"they are trained: {known.id}")
            return known
        seconds = self.clock.before_the_end()
        if known is not None:
            self.tell("train", "--resume", str(known.path))
            resume_run(known, seconds=seconds, listener=self.listener.of_run())
            return known
        self.tell(*words, "--time", canonical_duration(round(seconds)))
        settings = replace(self.settings, command="kfold", seconds=seconds)
        return run_experiment(loaded, settings, self.listener.of_run())

    def model(self, folds: RunDirectory | None, sweep: SweepDirectory, record: SweepRecord) -> RunDirectory:
        """The folds' networks as one model, or one network trained on all rows."""
        runs_dir = self.settings.runs_dir
        parent = folds or sweep.run_of(record.ranked()[0])
        words = ["final", str(parent.path), *(["--members", "folds"] if folds is not None else [])]
        known = _final_of(parent, runs_dir, ensemble=folds is not None)
        if known is not None:
            self.tell(*words, note=f"it is there: {known.id}")
            return known
        self.tell(*words)
        settings, listener = replace(self.settings, command="final"), self.listener.of_run()
        if folds is not None:
            return final_of_members(parent, settings, "folds", listener=listener)
        return final_of_run(parent, settings, listener=listener)


def folded(validation: schema.Validation) -> schema.KFold | None:
    """The folds in place of rows held out at random; None for what has folds, or rows that are chosen."""
    if not isinstance(validation, schema.Holdout):
        return None
    if validation.first is not None or validation.column is not None or not validation.shuffle:
        return None
    return schema.KFold(k=FOLDS, shuffle=True, stratify=validation.stratify)


def _runs_named(name: str, command: str, runs_dir: Path) -> Iterator[tuple[RunDirectory, RunRecord]]:
    """The runs of a name and a command that did not fail, newest first."""
    for summary in list_runs(runs_dir):
        if summary.name == name and summary.command == command and summary.status in _USABLE:
            yield summary.run, summary.run.read_record()


_USABLE = ("completed", "interrupted")


def _same_run(loaded: LoadedSpec, runs_dir: Path, record: SweepRecord) -> RunDirectory | None:
    """The newest k-fold of a spec, on the data that a sweep had."""
    data = {source["sha256"] for source in record.data}
    for run, found in _runs_named(loaded.spec.name, "kfold", runs_dir):
        same = run.read_resolved() == dump_spec(loaded.spec) and set(found.data_hashes.values()) == data
        if same and (found.status == "completed" or run.has_checkpoint()):
            return run
    return None


def _final_of(parent: RunDirectory, runs_dir: Path, *, ensemble: bool) -> RunDirectory | None:
    """The model that was made of a run."""
    name = parent.read_record().name or ""
    for run, found in _runs_named(name, "final", runs_dir):
        if (
            found.status == "completed"
            and found.parent == parent.id
            and (found.ensemble is not None) == ensemble
        ):
            return run
    return None
