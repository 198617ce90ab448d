"""The C++ code is compiled once, kept, and found again; whatever goes wrong is one sentence."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnrun.atomic_files import locked
from nnrun.limits import cxx_compiler
from nnrun.native import library
from nnrun.native.library import NotCompiledError, library_path, load_library

needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
SMALL = 'extern "C" int answer() { return %s; }\n'


@pytest.fixture(autouse=True)
def _small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A source that takes no time to compile, and a cache of the test's own."""
    source = tmp_path / "small.cpp"
    source.write_text(SMALL % 42, encoding="utf-8")
    monkeypatch.setattr(library, "SOURCES", tmp_path)
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    library._load.cache_clear()
    yield
    library._load.cache_clear()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "compiled").glob("*"))


def compiler_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    script = tmp_path / "cxx"
    script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))


def wait_for_the_end_of(session: int) -> None:
    """Of all its processes: they were killed, and the system takes a moment to remove them."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"processes of session {session} are still there")


@needs_compiler
def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_library("small").answer() == 42
    (one,) = kept(tmp_path)
    before = one.stat().st_mtime_ns
    library._load.cache_clear()
    monkeypatch.setattr(library, "_compile", pytest.fail)
    assert load_library("small").answer() == 42
    assert [path.stat().st_mtime_ns for path in kept(tmp_path)] == [before]


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
@needs_compiler
def test_of_several_processes_one_compiles_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_script(
        tmp_path, monkeypatch, f'echo >> {tmp_path}/runs.txt; sleep 0.3; exec {cxx_compiler()} "$@"'
    )
    script = (
        "import sys; from pathlib import Path; from nnrun.native import library;"
        "library.SOURCES = Path(sys.argv[1]); print(library.load_library('small').answer())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in processes] == ["42\n"] * 4
    assert (tmp_path / "runs.txt").read_text() == "\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows locks no folders")
@needs_compiler
def test_a_process_that_ends_waits_for_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "compiled"
    folder.mkdir(parents=True, mode=0o700)
    script = (
        "import sys; from pathlib import Path; from nnrun.native import library;"
        "library.SOURCES = Path(sys.argv[1]); library.begin_loading('small'); print('ends')"
    )
    with locked(folder):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stdout) == (0, "ends\n")


@needs_compiler
def test_it_is_compiled_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.begin_loading("small")
    assert load_library("small").answer() == 42  # waits for what was begun
    (one,) = kept(tmp_path)
    monkeypatch.setattr(threading, "Thread", pytest.fail)
    library.begin_loading("small")
    assert kept(tmp_path) == [one]


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
def test_what_fails_in_the_background_is_said_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_script(tmp_path, monkeypatch, "echo oh >&2; exit 1")
    library.begin_loading("small")
    with pytest.raises(NotCompiledError, match=r"failed: oh$"):
        load_library("small")


@needs_compiler
def test_a_header_belongs_to_the_source() -> None:
    before = library_path("small", "c++")
    (library.SOURCES / "small.h").write_text("// more", encoding="utf-8")
    assert library_path("small", "c++") != before


@needs_compiler
def test_another_source_is_another_library(tmp_path: Path) -> None:
    load_library("small")
    (library.SOURCES / "small.cpp").write_text(SMALL % 43, encoding="utf-8")
    library._load.cache_clear()
    assert load_library("small").answer() == 43
    assert len(kept(tmp_path)) == 2


@needs_compiler
def test_a_damaged_one_is_made_anew() -> None:
    path = library_path("small", cxx_compiler() or "")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert load_library("small").answer() == 42
    assert path.read_bytes() != b"damaged"


@needs_compiler
@pytest.mark.skipif(os.name != "posix", reason="modes and owners of POSIX")
@pytest.mark.parametrize(
    ("mode_of_folder", "mode_of_file", "reason"),
    [
        (0o777, 0o600, "compiled may be written to by other users"),
        (0o700, 0o666, ".so may be written to by other users"),
        (0o700, 0o620, ".so may be written to by other users"),
    ],
)
def test_one_that_others_could_have_written_is_not_loaded(
    mode_of_folder: int, mode_of_file: int, reason: str, tmp_path: Path
) -> None:
    load_library("small")
    (path,) = kept(tmp_path)
    path.chmod(mode_of_file)
    path.parent.chmod(mode_of_folder)
    library._load.cache_clear()
    said: list[str] = []
    assert load_library("small", said.append).answer() == 42
    (note,) = said
    assert note.startswith("compiled code in the cache is not loaded, and compiled again: ")
    assert note.endswith(reason)
    library._load.cache_clear()
    said.clear()
    assert (
        load_library("small", said.append).answer() == 42
    )  # that of a moment ago, in a folder that is ours now
    assert said == []


@needs_compiler
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", ["file", "folder"])
def test_one_of_another_user_is_not_loaded(given: str, tmp_path: Path) -> None:
    load_library("small")
    (path,) = kept(tmp_path)
    os.chown(path if given == "file" else path.parent, 65534, 65534)
    library._load.cache_clear()
    said: list[str] = []
    assert load_library("small", said.append).answer() == 42
    assert "belongs to another user (number 65534)" in said[0]


@needs_compiler
def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "file"))
    assert load_library("small").answer() == 42


@needs_compiler
@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
def test_a_compiler_that_does_not_know_the_cpu_is_asked_for_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cxx_compiler()
    body = f'case "$*" in *march*) echo "error: unknown -march" >&2; exit 1;; esac\nexec {real} "$@"'
    compiler_script(tmp_path, monkeypatch, body)
    assert load_library("small").answer() == 42


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            'echo "small.cpp:1: note" >&2; echo "small.cpp:2: error: no" >&2; exit 1',
            "failed: small.cpp:2: error: no",
        ),
        ("echo oh >&2; exit 1", "failed: oh"),
        ("printf 'error: f\\374r' >&2; exit 1", "failed: error: f\N{REPLACEMENT CHARACTER}r"),  # Latin-1
        ("exit 3", "failed: no error message"),
        ("exit 0", "ended without an error but wrote no library"),
    ],
)
def test_what_the_compiler_says(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler_script(tmp_path, monkeypatch, body)
    with pytest.raises(NotCompiledError) as caught:
        load_library("small")
    assert str(caught.value) == f"{tmp_path / 'cxx'} {said}"


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
def test_a_compiler_that_hangs_is_stopped_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler_script(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/number; sleep 1000; true")
    monkeypatch.setattr(library, "_SECONDS", 0.5)
    started = time.monotonic()
    for _ in range(2):  # the second call does not wait again
        with pytest.raises(NotCompiledError, match=r"cxx did not finish within 0\.5 s$"):
            load_library("small")
    assert time.monotonic() - started < 30  # not 1,000: the compiler's own child held its stderr open
    wait_for_the_end_of(int((tmp_path / "number").read_text()))


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
def test_a_long_wait_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_script(tmp_path, monkeypatch, "sleep 0.5; exit 1")
    monkeypatch.setattr(library, "_SECONDS_IN_SILENCE", 0.01)
    library.begin_loading("small")
    said: list[str] = []
    with pytest.raises(NotCompiledError):
        load_library("small", said.append)
    assert said == ["waiting for the C++ compiler; --compile off trains without it"]


_HANGS = """
import os, signal, sys, threading, time
from nnrun.native import library
library.begin_loading("steps")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
if sys.argv[2] == "waits":
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    library.load_library("steps")
"""


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
@pytest.mark.parametrize("how", ["waits", "ends"])
def test_the_end_of_a_process_does_not_wait_for_a_compiler(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Ctrl-C comes while training waits for it, or nothing needs it any more."""
    compiler_script(
        tmp_path,
        monkeypatch,
        f"mktemp; echo $$ > {tmp_path}/n; mv {tmp_path}/n {tmp_path}/number; sleep 1000",
    )
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    command = [sys.executable, "-c", _HANGS, str(tmp_path / "number"), how]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ("KeyboardInterrupt" in ended.stderr) is (how == "waits")
    wait_for_the_end_of(int((tmp_path / "number").read_text()))
    assert not list((tmp_path / "temporary").iterdir())  # what a killed compiler cannot delete itself


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_script(tmp_path, monkeypatch, 'for last; do :; done; echo "no library" > "$last"')
    with pytest.raises(NotCompiledError, match=r"^the compiled code cannot be loaded: "):
        load_library("small")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotCompiledError, match=r"^there is no C\+\+ compiler"):
        load_library("small")


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
