"""Large tables: narrow numbers in files, and the second start from there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.files import columns, csv_reader, key_cache
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.jsonl_reader import JsonlReader
from nnrun.data.files.open_file import sha256_of
from nnrun.data.files.read_table import ReadTable, read_table
from nnrun.data.files.stored_arrays import ArrayFile, Spool, StoredPart
from nnrun.data.files.table_cache import without_table_cache
from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.errors import DataError

N = 400


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    monkeypatch.setattr(columns, "LARGE", 500)
    monkeypatch.setattr(columns, "KEPT_BYTES", 4000)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "big.csv"
    rows = [f"{i / 4!r},{i},{'red' if i % 3 else ''},a text of many words {i}" for i in range(N)]
    path.write_text("a,b,colour,text\n" + "\n".join(rows) + "\n")
    return path


def read(path: Path, said: list[str] | None = None, **options: Any) -> ReadTable:
    reader = CsvReader(path)
    on_message = (lambda text: None) if said is None else said.append
    return read_table(reader, sha256_of(path), options, reader.names, {}, on_message)


def check(file: ReadTable) -> None:
    numbers, category = file.columns["a"].column, file.columns["colour"].column
    assert isinstance(numbers, NumberColumn)
    assert numbers.values.dtype == np.float32
    assert np.array_equal(numbers.values, np.arange(N) / 4)
    assert isinstance(category, CategoryColumn)
    assert category.levels == ("red",)
    assert category.codes.tolist() == [0 if i % 3 else -1 for i in range(N)]
    assert file.columns["text"].type == "text"
    assert file.table.by_name["text"].take([7]).values[0] == "a text of many words 7"  # type: ignore[union-attr]
    assert file.lines.place(10) == "line 12"


def test_a_file_that_is_deleted_soon_is_not_kept(path: Path, empty_cache: Path) -> None:
    with without_table_cache():
        kept = read(path)
    assert np.array_equal(kept.columns["a"].column.values, np.arange(N) / 4)  # type: ignore[union-attr]
    assert not list(empty_cache.glob("tables/*"))
    check(read(path))
    assert list(empty_cache.glob("tables/*"))


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows would be kept under the hash of the former ones, and given when those are back."""
    original, batches = path.read_text(), CsvReader.batches

    def changing(reader: CsvReader, *given: Any) -> Any:
        path.write_text(original.replace("0.25,1,", "7.25,1,") + "1,1,red,a text\n")
        return batches(reader, *given)

    with monkeypatch.context() as patch:
        patch.setattr(CsvReader, "batches", changing)
        with pytest.raises(DataError, match="changed while it was read"):
            read(path)
    path.write_text(original)
    check(read(path))


def test_the_second_start_does_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(read(path))
    monkeypatch.setattr(CsvReader, "batches", None)
    again = read(path)
    check(again)
    mapped = again.columns["a"].column
    assert isinstance(mapped, NumberColumn)
    assert isinstance(mapped.values, np.memmap)


def test_another_file_or_another_way_to_read_is_another_entry(path: Path, empty_cache: Path) -> None:
    read(path)
    read(path, delimiter=";")
    path.write_text(path.read_text() + "1,2,red,x\n")
    assert read(path).n_rows == N + 1
    assert len(list((empty_cache / "tables").iterdir())) == 3


def test_a_small_table_is_not_kept(path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LARGE", 10_000)
    monkeypatch.setattr(columns, "KEPT_BYTES", 100_000)
    numbers = read(path).columns["a"].column
    assert isinstance(numbers, NumberColumn)
    assert np.array_equal(numbers.values, np.arange(N) / 4)
    assert not empty_cache.exists()


def test_numbers_of_a_table_of_middle_size_stay_as_they_are(
    path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    """float64 in memory while it is read, and float64 in the cache."""
    monkeypatch.setattr(columns, "LARGE", 10_000)
    for _ in range(2):
        numbers = read(path).columns["a"].column
        assert isinstance(numbers, NumberColumn)
        assert numbers.values.dtype == np.float64
        assert isinstance(numbers.values, np.memmap)
        assert np.array_equal(numbers.values, np.arange(N) / 4)
    assert len(list((empty_cache / "tables").iterdir())) == 1


def test_a_table_of_texts_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("colour,text\n" + "".join(f"{'red' if i % 3 else ''},text {i}\n" for i in range(N)))
    first = read(path)
    monkeypatch.setattr(CsvReader, "batches", None)
    again = read(path)
    for name in ("colour", "text"):
        one, other = first.columns[name].column, again.columns[name].column
        assert isinstance(one, CategoryColumn)
        assert isinstance(other, CategoryColumn)
        assert (one.levels, one.codes.tolist()) == (other.levels, other.codes.tolist())


def test_many_columns_take_few_file_handles(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "wide.csv"
    names = [f"c{i}" for i in range(300)]
    path.write_text("\n".join([",".join(names), *[",".join([f"{i}.5"] * 300) for i in range(40)]]) + "\n")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 40, limits[1]))
    try:
        for _ in range(2):
            file = read(path)
            assert file.columns["c299"].column.values.tolist() == [i + 0.5 for i in range(40)]  # type: ignore[union-attr]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("failing", ["spool", "numbers", "codes"])
def test_a_full_disk_leaves_the_table_in_memory(
    path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(self: ArrayFile, parts: Any, kind: Any) -> int:
        if failing == "numbers" or kind is np.int32:
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(self, parts, kind)

    def full_spool(self: Spool, values: Any) -> StoredPart:
        raise OSError(errno.ENOSPC, "No space left on device")

    add = ArrayFile.add
    if failing == "spool":
        monkeypatch.setattr(Spool, "add", full_spool)
    else:
        monkeypatch.setattr(ArrayFile, "add", full)
    said: list[str] = []
    file = read(path, said)
    numbers = file.columns["a"].column
    assert isinstance(numbers, NumberColumn)
    assert np.array_equal(numbers.values, np.arange(N) / 4)
    assert len(list((empty_cache / "tables").iterdir())) == (failing == "spool")
    sentence = "cannot be written (No space left on device); the table stays in memory"
    assert [sentence in text for text in said] == ([] if failing == "spool" else [True])


def test_nothing_is_rounded(tmp_path: Path) -> None:
    ids = [2**60 + i // 2 for i in range(N)]
    rows = [f"{123456789 + i},{i / 3!r},{ids[i]},{ids[i] if i % 7 else ''},{i % 9}" for i in range(N)]
    path = tmp_path / "exact.csv"
    path.write_text("far,third,id,gap,small\n" + "\n".join(rows) + "\n")
    for _ in range(2):
        file = read(path)
        table = file.table.by_name
        assert table["far"].values.tolist() == [123456789 + i for i in range(N)]  # type: ignore[union-attr]
        assert table["third"].values.tolist() == [i / 3 for i in range(N)]  # type: ignore[union-attr]
        assert table["id"].values.tolist() == ids  # type: ignore[union-attr]
        assert table["small"].values.dtype == np.float32  # type: ignore[union-attr]
        gap = table["gap"]
        assert isinstance(gap, NumberColumn)
        assert gap.identities().tolist() == [ids[i] if i % 7 else None for i in range(N)]
        assert file.columns["id"].distinct == N // 2


@pytest.mark.parametrize("name", ["numbers", "codes", "lines.npy", "entry.json"])
def test_a_single_bit_is_noticed(path: Path, empty_cache: Path, name: str) -> None:
    check(read(path))
    (entry,) = (empty_cache / "tables").iterdir()
    data = bytearray((entry / name).read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        (entry / name).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        said: list[str] = []
        check(read(path, said))
        assert len(said) == 1
        assert said[0].startswith(f"{entry} cannot be used (")


def test_an_entry_that_others_could_have_written_is_not_believed(path: Path, empty_cache: Path) -> None:
    check(read(path))
    (entry,) = (empty_cache / "tables").iterdir()
    for place in (entry / "numbers", entry, entry.parent, empty_cache):
        place.chmod(0o777)
        said: list[str] = []
        check(read(path, said))
        assert said == [
            f"{entry} cannot be used ({place} may be written to by other users); reading the file again"
        ]
        said.clear()
        check(read(path, said))
        assert said == []


@pytest.mark.parametrize("damage", ["entry.json", "numbers", "codes", "lines.npy"])
def test_a_damaged_entry_is_said_and_written_anew(path: Path, empty_cache: Path, damage: str) -> None:
    read(path)
    (entry,) = (empty_cache / "tables").iterdir()
    (entry / damage).write_bytes(b"{")
    said: list[str] = []
    check(read(path, said))
    assert len(said) == 1
    assert said[0].startswith(f"{entry} cannot be used (")
    said.clear()
    check(read(path, said))
    assert said == []
    assert list((empty_cache / "tables").iterdir()) == [entry]


def test_without_a_cache_all_stays_in_memory(path: Path, empty_cache: Path) -> None:
    empty_cache.write_text("in the way")
    said: list[str] = []
    file = read(path, said)
    assert file.n_rows == N
    assert len(said) == 1
    assert "the table stays in memory, and reading will take as long next time" in said[0]


def test_nothing_is_left_of_a_file_that_turns_out_broken(path: Path, empty_cache: Path) -> None:
    path.write_text(path.read_text() + "1,2\n")
    with pytest.raises(Exception, match="line 402 has 2 fields"):
        read(path)
    assert list((empty_cache / "tables").iterdir()) == []


def test_keys_of_json_lines_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    monkeypatch.setattr(key_cache, "LARGE", 10)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2, "b": 3}\n')
    assert JsonlReader(path).names == ("a", "b")
    with monkeypatch.context() as patched:
        patched.setattr(JsonlReader, "_keys", None)
        assert JsonlReader(path).names == ("a", "b")
    path.write_text('{"a": 1}\n{"a": 2, "c": 3}\n')
    assert JsonlReader(path).names == ("a", "c")
    for entry in (empty_cache / "tables").glob("*-keys"):
        (entry / "entry.json").write_text('["a", "a"]')
    assert JsonlReader(path).names == ("a", "c")


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    monkeypatch.setattr(key_cache, "LARGE", 10)
    empty_cache.mkdir(parents=True, exist_ok=True)
    (empty_cache / "tables").write_text("in the way")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1, "b": 2}\n')
    assert JsonlReader(path).names == ("a", "b")
