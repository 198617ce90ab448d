"""`nnrun reproduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import message, print_result
from nnrun.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from nnrun.experiment.running.reproduce import HistoryComparison, Reproduction, WeightsComparison

EXIT_DIFFERENT = 1


def reproduce(
    run: options.Run,
    set_: options.SetPaths = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N; default: the run's.")
    ] = None,
    compile_: Annotated[
        options.CompilePolicy | None,
        typer.Option("--compile", help="Compile training steps; default: as in the run."),
    ] = None,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Train a run again and compare bit for bit. Exits with 0 if everything is identical, else with 1."""
    from nnrun.cli.running import listener_for
    from nnrun.experiment.running.recorder import RunInterrupted
    from nnrun.experiment.running.reproduce import reproduce_run
    from nnrun.records import find_run

    try:
        reproduction = reproduce_run(
            find_run(run, runs_dir, tell=message),
            runs_dir=runs_dir,
            overrides=set_ or (),
            data_dir=data_dir,
            device=device,
            compile_=compile_,
            listener=listener_for(quiet=quiet, verbose=verbose),
        )
    except RunInterrupted as interruption:
        message(str(interruption))
        return EXIT_INTERRUPTED
    print_result(as_json, lambda: _document(reproduction), lambda: _text(reproduction))
    return 0 if reproduction.identical else EXIT_DIFFERENT


def _document(reproduction: Reproduction) -> dict[str, Any]:
    history = reproduction.history
    return {
        "original": reproduction.original.id,
        "run": reproduction.run.id,
        "identical": reproduction.identical,
        "history": {**vars(history), "difference": history.difference},
        "weights": vars(reproduction.weights),
        "changed": {name: {"then": then, "now": now} for name, (then, now) in reproduction.changed.items()},
        "test_set_left_out": reproduction.test_set_left_out,
    }


def _text(reproduction: Reproduction) -> str:
    lines = [
        f"{reproduction.original.id}, trained again as {reproduction.run.id}",
        f"history  {_of_history(reproduction.history)}",
        f"weights  {_of_weights(reproduction.weights)}",
    ]
    changes = [
        f"{name.replace('_', ' ')}: {then} then, {now} now"
        for name, (then, now) in reproduction.changed.items()
    ]
    changes = changes or ["none of versions, device, threads, compiling, networks at once, data"]
    lines += [f"{'changed' if i == 0 else '':<7}  {change}" for i, change in enumerate(changes)]
    if reproduction.test_set_left_out:
        lines.append("The test set was not looked at again.")
    return "\n".join(lines)


def _of_history(history: HistoryComparison) -> str:
    if history.identical:
        return f"identical: {history.rows:,} rows of {history.columns} columns, not counting the seconds"
    if history.column is None:
        return f"differs: {history.shape}"
    of_member = f" of {history.member}" if history.member is not None else ""
    return (
        f"differs first in {history.column} at epoch {history.epoch}{of_member}: {history.then!r} then, "
        f"{history.now!r} now, a difference of {history.difference:.3g}"
    )


def _of_weights(weights: WeightsComparison) -> str:
    if weights.identical:
        return f"identical: {weights.arrays} arrays"
    if weights.largest is None:
        return f"differ in shape, first {weights.first}"
    return f"differ by up to {weights.largest:.3g}, first {weights.first}"
