"""Which C++ compiler there is; `nnrun doctor` and the choice of the engine ask the same function."""

import shutil

import pytest

from nnrun.training.backends.compiler import cxx_compiler


@pytest.mark.parametrize(
    ("variable", "present", "found"),
    [
        (None, {"g++", "clang++"}, "/bin/g++"),
        ("clang++", {"g++", "clang++"}, "/bin/clang++"),
        ("missing++", {"c++"}, "/bin/c++"),
        (None, set(), None),
    ],
)
def test_the_one_that_cxx_names_comes_first(
    variable: str | None, present: set[str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in present else None)
    if variable is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", variable)
    assert cxx_compiler() == found
