"""What a run's numbers depend on besides its spec and data."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

from nnrun.version import __version__

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "safetensors")


def versions() -> dict[str, str]:
    """Versions of nnrun, of Python, and of the packages that compute."""
    return {
        "nnrun": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def git_commit() -> str | None:
    """The working folder's commit, `+` behind it where files differ from it; None outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + "+" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5)
    return result.stdout.strip()
