"""The C++ compiler of this machine. Imports no torch: `nnrun doctor` asks even where that fails."""

from __future__ import annotations

import os
import shutil


def cxx_compiler() -> str | None:
    """The path of this machine's C++ compiler, CXX first; None where there is none."""
    wanted = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in wanted if name and (path := shutil.which(name))), None)
