"""`torchrun -m nnrun train SPEC`: which commands may be started so, and which process is heard."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from nnrun.errors import EXIT_INTERRUPTED, UsageError, printable

_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"


def only_follows() -> bool:
    """Whether torchrun started this process beside another one that prints."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # at once: every command asks
        return False
    from nnrun.ranks import launched

    launch = launched()
    return launch is not None and launch.follows


def refuse_other_commands(args: Sequence[str]) -> None:
    """Raise UsageError where torchrun started several processes of a command that is not `train`."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    from nnrun.ranks import launched

    command = next((arg for arg in args if not arg.startswith("-")), None)
    if command is None or (launch := launched()) is None:
        return
    seeds = any(arg == "--seeds" or arg.startswith("--seeds=") for arg in args)
    if command == "train" and not seeds:
        return
    shared = {"kfold": "folds", "sweep": "trials", "train": "seeds"}
    if command in shared:
        raise UsageError(
            f"torchrun trains one network on several processes. To share {shared[command]} out among "
            f"processes, leave torchrun out and add --workers {launch.world_size}."
        )
    raise UsageError(
        f"torchrun started {launch.world_size} processes of `nnrun {command}`, which is the work of one. "
        f"Start it without torchrun."
    )


def tell_torchrun(text: str, exit_code: int) -> None:
    """Have torchrun end its own report with what nnrun says, where else a hint at tracebacks stands.

    For each process that failed it shows the text of a file, which `torch.distributed.elastic` writes so.
    """
    file = os.environ.get(_ERROR_FILE)
    if file is None or "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    import json
    import time
    from pathlib import Path

    # Of whole seconds, the first is the cause; torchrun itself stops the others once one has failed.
    when, said = int(time.time()) + (exit_code == EXIT_INTERRUPTED), printable(text)
    details = {"py_callstack": said, "timestamp": str(when)}
    with contextlib.suppress(OSError):  # torchrun then says no more than that the process failed
        Path(file).write_text(json.dumps({"message": {"message": said, "extraInfo": details}}), "utf-8")


def follow_rank_0(device: str) -> int:
    """Train what rank 0 trains. `device` is what `--device` says; gives the exit code."""
    from nnrun.experiment.running.follow import follow
    from nnrun.ranks import launched

    launch = launched()
    assert launch is not None, "asked of a process that follows"
    follow(launch, device)
    return 0
