"""`nnrun tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.init import Targets, Task
from nnrun.cli.output import message, print_result, table, terminal_width, wrapped
from nnrun.errors import EXIT_INTERRUPTED, UsageError, printable

if TYPE_CHECKING:
    from nnrun.experiment.tuning.tune import Tuned, TuneListener
    from nnrun.records import SweepRecord

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        parser=options.path,
        help="A .csv, .tsv, .jsonl, .parquet (.gz too) or .npz file, or a folder of texts or images.",
        show_default=False,
    ),
]
Time = Annotated[
    str | None,
    typer.Option("--time", metavar="TIME", help="How long the whole may take: 90s, 2h; default: 10m."),
]
Output = Annotated[
    Path | None,
    options.output_file("SPEC", "The first spec; the other files lie beside it. Default: FILE's stem."),
]


def tune(
    file: File,
    time: Time = None,
    target: Targets = None,
    task: Annotated[Task | None, typer.Option("--task", help="Predict classes, or a number.")] = None,
    test: Annotated[Path | None, options.test_file("A file with the same columns: the test set.")] = None,
    output: Output = None,
    new: Annotated[
        bool, typer.Option("--new", help="Start over: write the specs again, begin a new sweep.")
    ] = False,
    seed: options.Seed = None,
    *,
    training: options.Training,
) -> int:
    """Go from a file of data to a model: init, a sweep, folds averaged, a report; each step is a command.

    The first spec is that of `nnrun init`. Swept are its learning rate, units, dropout and weight decay, as
    far as it has them; the best trial's folds, averaged, are the model. All specs lie beside each other, to
    be read and changed. Typed again, the command goes on where it was interrupted, with the specs as they
    are.
    """
    from nnrun.experiment.init.initial_spec import Wanted
    from nnrun.spec.duration import canonical_duration

    path = Path(f"{file.resolve().name.split('.')[0] or 'spec'}.yaml") if output is None else output
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o must name a .yaml file, but got {path}.")
    try:
        limit = {} if time is None else {"time_limit": canonical_duration(time)}
    except ValueError as error:
        raise UsageError(f"--time is {time!r}; it must be {error}.") from None

    from nnrun.api import report_writer, where_words
    from nnrun.experiment.running.recorder import RunInterrupted
    from nnrun.experiment.sweeping.at_work import SweepInterrupted
    from nnrun.experiment.tuning.tune import Request
    from nnrun.experiment.tuning.tune import tune as tune_file

    settings, wanted = training.settings("tune"), Wanted(tuple(target or ()), task, test)
    request = Request(file, path, wanted=wanted, seed=seed, new=new, where=where_words(settings), **limit)
    try:
        found = tune_file(request, settings, report_writer(training.data_dir), _listener(training))
    except (RunInterrupted, SweepInterrupted) as interruption:
        message(f"{interruption}. Type the same command again: it goes on.")
        return EXIT_INTERRUPTED
    print_result(training.as_json, lambda: _document(found), lambda: _text(found))
    return 0


def _listener(training: options.Training) -> TuneListener:
    from nnrun.cli.running import listener_for, sweep_listener
    from nnrun.experiment.running.listener import Listener
    from nnrun.experiment.sweeping.sweep_listener import SweepListener
    from nnrun.experiment.tuning.tune import TuneLines, TuneListener

    class OnScreen(TuneLines):
        def of_sweep(self) -> SweepListener:
            return sweep_listener(training)

        def of_run(self) -> Listener:
            return listener_for(quiet=False, verbose=training.verbose)

    return TuneListener() if training.quiet else OnScreen(message, details=training.verbose)


def _document(found: Tuned) -> dict[str, Any]:
    record, sweep = found.model.read_record(), found.sweep.read_record()
    best = sweep.ranked()[0]
    return {
        "model": str(found.model.path),
        "folds": None if found.folds is None else str(found.folds.path),
        "sweep": str(found.sweep.path),
        "spec": str(found.request.spec),
        "sweep_spec": str(found.request.beside("tune")),
        "best_spec": str(found.best),
        "report": str(found.report),
        "commands": list(found.commands),
        "seconds": found.seconds,
        "trials": {"scored": len(sweep.ranked()), "of": sweep.total, "ended_by_time": sweep.ended_by_time},
        "chosen": {"trial": best.number, "values": best.values, sweep.monitor: best.score},
        "score": _honesty(found)[0],
        "run": record.to_json(),
    }


def _honesty(found: Tuned) -> tuple[str, str]:
    """Whether the model's score is `honest`, `optimistic` or there is `none`, and a sentence about it."""
    from nnrun.spec.reading.load import load_spec

    record, trials = found.model.read_record(), len(found.sweep.read_record().ranked())
    own_folds = found.folds is not None and found.folds.read_record().sweep is not None
    rows = "these very rows" if own_folds else "some of these rows"
    stopping = load_spec(found.best).spec.early_stopping
    why = f"{trials} trials were compared on {rows}" if trials > 1 else ""
    if not why and stopping is not None and stopping.on == "validation":
        why = "each network's epoch was chosen on the rows that score it"
    of_folds = (
        f"The out-of-fold score is {'optimistic: ' + why if why else 'honest: its rows chose nothing'}."
    )
    if record.test_uses:
        validated = "" if found.folds is None else f" {of_folds}"
        return "honest", f"The test score is honest: no test row was used to choose.{validated}"
    if found.folds is None:
        return (
            "none",
            "The model has no score of its own: it was trained on all rows, and there is no test set.",
        )
    if not why:
        return "honest", of_folds
    held_back = "No rows are held back that chose nothing; for an honest score give some (--test FILE)."
    return "optimistic", f"{of_folds} {held_back}"


def _text(found: Tuned) -> str:
    from nnrun.cli.closing import closing_text
    from nnrun.spec.wording import counted
    from nnrun.spec.writing.value_labels import values_label

    width, sweep = terminal_width(), found.sweep.read_record()
    best, trials = sweep.ranked()[0], counted(len(sweep.ranked()), "trial")
    lines = [f"Chosen: {values_label(best.values)}; of {trials}, by {sweep.monitor}."]
    if sweep.ended_by_time is not None:
        lines[0] += f" Time ended the sweep: {sweep.left} of {counted(sweep.total, 'trial')} left out."
        lines[0] += _never_tried(sweep)
    lines.append(_honesty(found)[1])
    files = [
        ["Spec", str(found.request.spec), "as nnrun init writes it"],
        ["Sweep", str(found.request.beside("tune")), "with the sizes that were tried"],
        ["Best", str(found.best), "the model's spec"],
        ["Report", str(found.report), ""],
    ]
    steps = "\n".join(f"  {command}" for command in found.commands)
    blocks = [
        closing_text(found.model, found.model.read_record()),
        wrapped("\n".join(lines), width),
        table(files),
        f"The steps as commands (init --force and sweep --new do again what is there):\n{steps}",
    ]
    return printable("\n\n".join(blocks))


def _never_tried(sweep: SweepRecord) -> str:
    """The values that no trial with a score has; empty where each value was tried."""
    from nnrun.spec.writing.value_labels import key_labels, value_label

    tried = [trial.values for trial in sweep.ranked()]
    labels = key_labels(list(tried[0]))
    missing = {}
    for key, label in labels.items():
        planned = {value_label(trial.values[key]): None for trial in sweep.trials}
        missing[label] = [
            value for value in planned if value not in {value_label(values[key]) for values in tried}
        ]
    named = [f"{label} {', '.join(values)}" for label, values in missing.items() if values]
    return f" Never tried: {'; '.join(named)}." if named else ""
