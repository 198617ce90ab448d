"""Which kernels may be called: those that are compiled, and none where they are switched off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nnrun.limits import cxx_compiler
from nnrun.native import kernels, library
from nnrun.native.kernels import kernel, prepare, switched_off
from nnrun.native.library import NotCompiledError

needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "SOURCES", tmp_path)
    monkeypatch.setattr(kernels, "_ready", {})
    (tmp_path / "small.cpp").write_text('extern "C" int answer() { return 42; }\n', encoding="utf-8")
    library._load.cache_clear()
    yield
    library._load.cache_clear()


@needs_compiler
def test_a_kernel_is_there_once_it_is_prepared_and_not_where_they_are_switched_off() -> None:
    assert prepare("small").answer() == 42
    assert kernel("small") is not None
    with switched_off():
        assert kernel("small") is None
        with switched_off(False):
            assert kernel("small") is None
    with switched_off(False):
        assert kernel("small") is not None


@needs_compiler
def test_who_only_asks_waits_for_no_compiler_and_computes_in_one_way_to_the_end() -> None:
    assert kernel("small") is None
    library.load_library("small")
    assert kernel("small") is None
    prepare("small")
    assert kernel("small") is not None


@needs_compiler
def test_who_only_asks_finds_what_the_cache_has() -> None:
    library.load_library("small")
    found = kernel("small")
    assert found is not None
    assert found.answer() == 42


def test_where_nothing_can_be_compiled_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "cxx_compiler", lambda: None)
    with pytest.raises(NotCompiledError):
        prepare("small")
    monkeypatch.setattr(kernels, "cxx_compiler", lambda: None)
    assert kernel("small") is None
