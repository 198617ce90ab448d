"""Large arrays in the cache: written once, whole or not at all, and read from there."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.files import stored_arrays
from nnrun.data.files.array_cache import cached_array
from nnrun.data.files.stored_arrays import rows_folder
from nnrun.data.files.table_cache import without_table_cache
from nnrun.errors import DataError
from nnrun.mapped_arrays import is_mapped

VALUES = np.arange(600, dtype=np.float32).reshape(200, 3)


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(stored_arrays, "STORED_BYTES", 1000)
    return tmp_path / "cache" / "arrays"


class Reader:
    """Counts how often the array is read."""

    def __init__(self) -> None:
        self.times, self.told = 0, list[str]()

    def parts(self) -> Iterator[np.ndarray]:
        self.times += 1
        for first in range(0, len(VALUES), 64):
            yield VALUES[first : first + 64]

    def array(self) -> np.ndarray | None:
        kind = VALUES.dtype
        return cached_array(["key"], VALUES.shape, kind, self.parts, "the array", self.told.append)


def test_it_is_read_once_and_again_where_the_entry_is_damaged(arrays: Path) -> None:
    reader = Reader()
    for times in (1, 1):
        found = reader.array()
        assert found is not None
        assert is_mapped(found)
        np.testing.assert_array_equal(found, VALUES)
        assert reader.times == times
    (entry,) = arrays.iterdir()
    damaged = bytearray((entry / "rows").read_bytes())
    damaged[77] ^= 1
    (entry / "rows").write_bytes(damaged)
    found = reader.array()
    np.testing.assert_array_equal(found, VALUES)
    assert reader.times == 2
    kept = f"the array, 2 kB: kept in {arrays}, and read from there as rows are needed"
    wrong = f"{entry} cannot be used (the checksum of rows does not match); reading the array again"
    assert reader.told == [kept, wrong, kept]


def test_what_is_deleted_soon_is_not_kept(arrays: Path) -> None:
    reader = Reader()
    with without_table_cache():
        found = reader.array()
    np.testing.assert_array_equal(found, VALUES)
    assert found is not None
    assert is_mapped(found)
    assert not arrays.exists()
    assert not list(rows_folder().iterdir())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_leaves_nothing_in_the_cache(
    compressed: bool, arrays: Path, tmp_path: Path
) -> None:
    write = np.savez_compressed if compressed else np.savez
    rng = np.random.default_rng(0)
    write(tmp_path / "a.npz", x=rng.normal(size=(500, 3)), y=np.zeros(500))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2 if not compressed else 3000] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    told: list[str] = []
    with (
        Archive(tmp_path / "a.npz") as archive,
        pytest.raises(DataError, match=r"x is damaged or incomplete"),
    ):
        archive.read("x", map_large=told.append)
    assert not list(arrays.iterdir())
    assert told == []


def test_an_array_is_mapped_once_for_all_who_read_it(arrays: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=VALUES, few=VALUES[:9], names=np.array(["a", "b"] * 900))
    told: list[str] = []
    with Archive(tmp_path / "a.npz") as archive:
        read = {name: archive.read(name, map_large=told.append) for name in archive.names}
        assert archive.read("x", map_large=told.append) is read["x"]
        assert [is_mapped(np.asarray(each)) for each in read.values()] == [True, False, False]
        assert not is_mapped(np.asarray(archive.read("x")))
    assert len(told) == 1
    assert len(list(arrays.iterdir())) == 1
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        assert file.namelist() == ["x.npy", "few.npy", "names.npy"]
