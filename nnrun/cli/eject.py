"""`nnrun eject`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import hanging, message, print_result, terminal_width

if TYPE_CHECKING:
    from nnrun.experiment.ejecting.eject import Ejected


def eject(
    spec: options.Spec,
    to: Annotated[Literal["pytorch", "keras"], typer.Option("--to", help="What the script trains with.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            parser=options.path,
            help="The script to write, FILE.py. Default: the spec's name.",
            show_default=False,
        ),
    ] = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    data_dir: options.DataDir = None,
    allow_custom: options.AllowCustom = None,
    as_json: options.Json = False,
) -> None:
    """Write the training of a spec as a short script for PyTorch or Keras, to read and to teach.

    The script needs no nnrun. Run, it gives the history of `nnrun train`, from the same initial weights.
    """
    from nnrun.experiment.ejecting.eject import eject as eject_spec
    from nnrun.spec.reading.load import load_spec

    loaded = load_spec(spec, options.changes_of(set_, seed=seed, epochs=epochs))
    ejected = eject_spec(loaded, to, output, data_dir=data_dir, on_message=message)
    print_result(as_json, lambda: _document(ejected), lambda: _text(ejected))


def _document(ejected: Ejected) -> dict[str, Any]:
    return {
        "path": str(ejected.path),
        "beside": str(ejected.beside),
        "history": str(ejected.history),
        "to": ejected.framework,
        "lines": ejected.lines,
        "notes": list(ejected.notes),
    }


def _text(ejected: Ejected) -> str:
    lines = [
        f"{ejected.path}, {ejected.lines} lines",
        f"beside   {ejected.beside}: the initial weights, which the script reads",
        f"run      python {shlex.quote(str(ejected.path))}; it writes {ejected.history}",
        *(f"{'note' if i == 0 else '':<9}{note}" for i, note in enumerate(ejected.notes)),
    ]
    return hanging("\n".join(lines), len("beside   "), terminal_width())
