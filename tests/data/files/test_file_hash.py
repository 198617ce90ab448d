"""Hashes of large files: remembered while nothing can have changed."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nnrun import file_state
from nnrun.data.files import file_hash
from nnrun.data.files.file_hash import remembered_sha256
from nnrun.data.files.open_file import sha256_of
from nnrun.errors import DataError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="hashes are remembered on POSIX systems")

IN_MEMORY = file_hash._in_memory


@pytest.fixture
def path(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of some size. A file that was just written counts as settled."""
    monkeypatch.setattr(file_hash, "LARGE", 10)
    monkeypatch.setattr(file_state, "SETTLED_NS", 0)
    monkeypatch.setattr(file_hash, "_in_memory", lambda device: False)  # where these tests may write
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" * 10)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return path


def hashed(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the file is hashed for its hash, which is right."""
    right, calls = sha256_of(path), list[Path]()
    monkeypatch.setattr(file_hash, "sha256_of", lambda place: (calls.append(place), sha256_of(place))[1])
    assert remembered_sha256(path) == right
    return len(calls)


def test_an_unchanged_file_is_hashed_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [hashed(path, monkeypatch) for _ in range(3)] == [1, 0, 0]


def test_a_changed_file_is_hashed_again_whatever_its_times_say(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.stat()
    assert hashed(path, monkeypatch) == 1
    path.write_text("a;b\n" * 10)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashed(path, monkeypatch) == 1


def test_a_change_through_a_memory_map_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page was written to before: the second write by itself would leave the file's times alone."""
    import posix

    monkeypatch.setattr(file_hash, "_in_memory", IN_MEMORY)  # a file that has no disk is always hashed

    monkeypatch.setattr(os, "fsync", posix.fsync)  # other tests do not wait for the disk
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = ord("b")
        time.sleep(0.02)
        assert hashed(path, monkeypatch) == 1
        time.sleep(0.02)
        mapped[0] = ord("c")
        assert hashed(path, monkeypatch) == 1


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="there is no file system in memory")
def test_what_lies_in_memory_is_always_hashed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a write through a memory map never changes a file's times."""
    monkeypatch.setattr(file_hash, "_in_memory", IN_MEMORY)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(path.read_bytes())
        file.flush()
        assert [hashed(Path(file.name), monkeypatch) for _ in range(2)] == [1, 1]


def test_a_file_that_may_change_within_a_tick_is_not_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_state, "SETTLED_NS", 10**12)
    assert [hashed(path, monkeypatch) for _ in range(2)] == [1, 1]


def test_a_small_file_is_always_hashed(
    path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    monkeypatch.setattr(file_hash, "LARGE", 1000)
    assert [hashed(path, monkeypatch) for _ in range(2)] == [1, 1]
    assert not empty_cache.exists()


def test_a_damaged_or_unwritable_memory_costs_time_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    assert hashed(path, monkeypatch) == 1
    (entry,) = (empty_cache / "hashes").iterdir()
    (entry / "entry.json").write_text("{}")
    assert [hashed(path, monkeypatch) for _ in range(2)] == [1, 0]
    (entry / "entry.json").unlink()
    entry.rmdir()
    (empty_cache / "hashes").rmdir()
    (empty_cache / "hashes").write_text("in the way")
    assert hashed(path, monkeypatch) == 1


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv cannot be read: No such file"):
        remembered_sha256(tmp_path / "gone.csv")
