"""Archives that are sound, and the many ways in which they are not."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data.archives import npz_archive as archive_module
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError

pytestmark = pytest.mark.faults


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def raw_npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1") + content


def declared(descr: str, shape: str, content: bytes = b"") -> bytes:
    return raw_npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", content)


def archive_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refusal(path: Path, name: str = "x", read: Callable[[Archive], Any] | None = None) -> str:
    with pytest.raises(DataError) as error, Archive(path) as archive:
        (read or (lambda a: a.read(name)))(archive)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(5, dtype=">i4"),
        np.array([True, False]),
        np.array(["spam", "ham"]),
        np.zeros((0, 3)),
        np.float16([[1], [2]]),
        np.array(7),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_plain_arrays_are_read_as_numpy_reads_them(tmp_path: Path, save: Any, array: np.ndarray) -> None:
    path = tmp_path / "a.npz"
    save(path, x=array)
    with Archive(path) as archive:
        found = archive.numbers("x")
    assert found.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(found, array)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(300_000))}, zipfile.ZIP_STORED)
    with Archive(path) as archive:
        assert archive.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert archive.names == ("x",)


def test_object_arrays_become_token_rows(tmp_path: Path) -> None:
    lists = np.array([[1, 2], [3]], object)
    path = archive_of(tmp_path / "a.npz", {"x": npy(lists), "y": npy(lists)})
    with Archive(path) as archive:
        rows = archive.read("x")
        assert isinstance(rows, TokenRows)
        assert [rows.row(0).tolist(), rows.row(1).tolist()] == [[1, 2], [3]]
    assert "holds Python objects" in refusal(path, read=lambda a: a.numbers("y"))


def test_missing_arrays_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", {"data": npy(np.zeros(1)), "label": npy(np.zeros(1))})
    said = refusal(path, read=lambda a: a.require("data", "x_train", "y_train"))
    assert "has no array x_train and no y_train. It holds: data, label." in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "holds a web page, not data"),
        (b"\n <html>", "holds a web page"),
        (npy(np.zeros(3)), "holds a single array"),
        (b"a,b\n1,2\n", "is not a NumPy archive"),
        (b"PK\x03\x04" + b"\0" * 50, "is damaged or incomplete"),
    ],
)
def test_other_files_are_recognized(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert said in refusal(path)


def test_a_folder_and_a_missing_file_are_recognized(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read: No such file" in refusal(tmp_path / "none.npz")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        assert "is not a regular file" in refusal(tmp_path / "pipe.npz")


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_recognized(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(1))})
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = archive_of(tmp_path / "whole.npz", {"x": npy(np.arange(50))}).read_bytes()
    path = tmp_path / "a.npz"
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        refusal(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bytes_are_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    members = {"x": npy(np.array([[1, 2], [3]], object)), "y": npy(np.arange(4))}
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = archive_of(folder / "a.npz", members, compression)
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        with Archive(path) as archive:
            archive.require("x", "y")
            archive.read("x")
            archive.read("y")
    except DataError:
        pass


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (b"junk", "has a damaged header"),
        (declared("'<f8'", "(10**9,)"), "has a damaged header"),
        (declared("'<f8'", "(1000000000000,)"), "8,000,000,000,000 bytes"),
        (declared("'<f8'", "(-1,)", b"\0" * 8), "declares the shape"),
        (declared("'<f8'", "(3,)", b"\0" * 8), "but holds 8"),
        (declared("'|S0'", "(99999999,)"), "only numbers"),
        (declared("'|V8'", "(1,)", b"\0" * 8), "only numbers"),
        (declared("[('a', '<f8')]", "(1,)", b"\0" * 8), "only numbers"),
        (declared("[('a', '|O')]", "(1,)", b"\0" * 8), "holds objects"),
        (raw_npy("(" * 1500), "has a damaged header"),
        (raw_npy("[" * 9000), "has a damaged header"),
        (declared("'|O'", "(2, 2)", b"."), "holds objects in shape"),
        (declared("'|O'", "(2,)", b"."), "damaged pickle"),
        (npy(np.array(["2020-01-01"], "datetime64[D]")), "only numbers"),
        (b"\x93NUMPY\x03\x00" + struct.pack("<I", 4) + b"{}  ", "header of version (3, 0)"),
    ],
)  # fmt: skip
def test_members_that_cannot_be_trusted_are_refused(tmp_path: Path, member: bytes, said: str) -> None:
    assert said in refusal(archive_of(tmp_path / "a.npz", {"x": member}))


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(1_000_000))})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(archive_module, "MAX_COMPRESSED_TOTAL", 1_000_000)
    assert "would unpack from" in refusal(path)
    stored = archive_of(tmp_path / "b.npz", {"x": npy(np.zeros(1_000_000))}, zipfile.ZIP_STORED)
    with Archive(stored) as archive:  # what is on the disk already is no bomb
        assert len(archive.numbers("x")) == 1_000_000


def test_token_lists_have_a_limit_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.array([[1] * 5000, [2]], object))})
    monkeypatch.setattr(archive_module, "MAX_TOKEN_MEMBER", 5000)
    assert "token lists may take 5,000" in refusal(path)


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """The directory says 200 bytes; a million would unpack."""
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(125_000))})
    size = struct.pack("<I", len(npy(np.zeros(125_000))))
    content = path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, struct.pack("<I", 200)))
    assert "bad CRC-32" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write_are_refused(tmp_path: Path, compression: int) -> None:
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(9))}, compression)
    assert "in a way that NumPy never writes" in refusal(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(9))})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flags in the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(content)
    assert "encrypted" in refusal(path)


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """In the local header, whose flag says that it is; found by the fuzzer."""
    path = archive_of(tmp_path / "a.npz", {"x": npy(np.zeros(9))})
    content = bytearray(path.read_bytes())
    content[7] |= 8
    content[content.index(b"x.npy")] = 0x9B
    path.write_bytes(content)
    assert "is damaged or incomplete" in refusal(path)


def test_names_cannot_reach_the_terminal_raw(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", {"\x1b[2J": npy(np.zeros(1))})
    assert "\x1b" not in refusal(path, read=lambda a: a.require("x"))
