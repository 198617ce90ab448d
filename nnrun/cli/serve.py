"""`nnrun serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.output import message, print_json
from nnrun.spec.wording import counted

if TYPE_CHECKING:
    from nnrun.experiment.serving.server import Served

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Listen at this address of the machine. Default: 127.0.0.1, which no other machine reaches.",
        show_default=False,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="N",
        min=0,
        max=65535,
        help="Listen on this port, 8000 by default; 0 takes one that is free.",
        show_default=False,
    ),
]
Probabilities = Annotated[
    bool,
    typer.Option("--probabilities", help="Answer with the probability of every class, if not told else."),
]
Spread = Annotated[
    bool,
    typer.Option(
        "--spread",
        help="Answer with the standard deviation over a run's networks and their members.",
    ),
]
OfMember = Annotated[
    str | None, typer.Option("--member", metavar="NAME", help="Use one of several networks: fold-2, seed-7.")
]


def serve(
    run: options.Run,
    host: Host = None,
    port: Port = None,
    probabilities: Probabilities = False,
    spread: Spread = False,
    interval: options.Interval = None,
    member: OfMember = None,
    weights: options.Weights = "last",
    set_: options.SetPaths = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer rows over HTTP with a run's network, as `nnrun predict` does, until Ctrl-C.

    POST /predict takes JSON: an object for one row, or a list of rows. /docs shows the columns and an
    example, /schema and /openapi.json tell them to programs, /health says whether it answers.
    """
    from nnrun.cli.running import listener_for
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.serving.requests import Options
    from nnrun.experiment.serving.server import place_of, require_serve, serve_run
    from nnrun.records import find_run

    require_serve()
    access = Access(
        member,
        weights,
        set_ or (),
        data_dir,
        device,
        listener=listener_for(quiet=quiet, verbose=False),
    )
    answered = serve_run(
        find_run(run, runs_dir, tell=message),
        access,
        place_of(host, port),
        usual=Options(probabilities, interval),
        spread=spread,
        started=lambda served: _tell(served, as_json=as_json, quiet=quiet),
    )
    if not quiet:
        message(f"stopped; {counted(answered, 'request')} answered")


def _tell(served: Served, *, as_json: bool, quiet: bool) -> None:
    """Where the service is reached, once it answers."""
    import sys

    if as_json:
        print_json(
            {"run": served.predictor.run.id, "url": served.url, "host": served.host, "port": served.port}
        )
    else:
        print(f"{served.predictor.run.id} answers at {served.url} (Ctrl-C stops it)")
    sys.stdout.flush()
    if served.for_all:
        message(f"warning: {served.host} is reached by other machines, and nobody is asked who they are")
    elif not quiet:
        message(f"{served.url}/docs shows what a row is")
