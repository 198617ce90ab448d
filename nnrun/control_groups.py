"""The control groups around this process, which a container has, and whose files tell what it may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal


def control_groups(controller: str, root: Path) -> Iterator[tuple[Literal[1, 2], Path]]:
    """Version and folder of each group in which a controller limits this process, the innermost first.

    Args:
        controller: `cpu` or `memory`.
        root: where the file system begins.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        own = top / path.lstrip("/")
        for group in (own, *own.parents):  # within a container the path may be the one outside it
            yield 1 if controllers else 2, group
            if group == top:
                break


def read_text(path: Path) -> str:
    """A file that the system writes; empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
