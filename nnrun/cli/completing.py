"""What a shell offers after Tab: spec files, runs, sweeps, topics (`nnrun --install-completion`).

Typer calls these with what has been typed. They must be quick and never fail: a person is in the middle of a
line, where no message can be shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnrun.api import DEFAULT_RUNS_DIR

_SPECS = (".yaml", ".yml")


def specs(incomplete: str) -> list[str]:
    """Spec files, and the folders on the way to them."""
    return list(_files(incomplete))


def runs(ctx: Any, incomplete: str) -> list[str]:
    """Ids of runs, the newest first, and `@last`."""
    return [name for name in ["@last", *_ids(ctx)] if name.startswith(incomplete)]


def sweeps(ctx: Any, incomplete: str) -> list[str]:
    """Ids of sweeps, and `@last`."""
    from nnrun.records import list_sweeps

    found = [sweep.id for sweep in reversed(list_sweeps(_runs_dir(ctx)))]
    return [name for name in ["@last", *found] if name.startswith(incomplete)]


def specs_and_runs(ctx: Any, incomplete: str) -> list[str]:
    """Both, spec files first."""
    return [*specs(incomplete), *runs(ctx, incomplete)]


def topics(incomplete: str) -> list[str]:
    """What `nnrun help` explains, one part of a path at a time; and the commands."""
    from nnrun.cli.app import COMMANDS
    from nnrun.spec.topics import topic_names

    depth = incomplete.count(".") + 1
    paths = [".".join(path.split(".")[:depth]) for path in topic_names()]
    return [name for name in dict.fromkeys([*paths, *COMMANDS]) if name.startswith(incomplete)]


def examples(incomplete: str) -> list[str]:
    """The example specs."""
    from nnrun.spec.examples import example_names

    return [name for name in example_names() if name.startswith(incomplete)]


def _files(incomplete: str) -> Iterator[str]:
    written, _ = os.path.split(incomplete)
    folder = Path(os.path.expanduser(written)) if written else Path()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        name = os.path.join(written, entry.name)
        if not name.startswith(incomplete) or entry.name.startswith("."):
            continue
        if entry.suffix.lower() in _SPECS:
            yield name
        elif entry.is_dir():
            yield f"{name}/"


def _runs_dir(ctx: Any) -> Path:
    return Path(ctx.params.get("runs_dir") or os.environ.get("NNRUN_RUNS_DIR") or DEFAULT_RUNS_DIR)


def _ids(ctx: Any) -> list[str]:
    from nnrun.errors import UsageError
    from nnrun.records import run_ids

    try:
        return run_ids(_runs_dir(ctx))
    except UsageError:
        return []  # a folder that cannot be read has nothing to offer
