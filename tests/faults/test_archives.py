"""Data files that are made to harm, from the command line: exit code 4, a sentence, and nothing else."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.provoke import Server
from tests.support.small_experiments import files_of, write_small

MEBIBYTE = 2**20


class Gadget:
    """Opens a file to write when it is unpickled, as a stand-in for anything."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.ljust(118 - 10) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + content


def declared(dtype: str, shape: str, content: bytes = b"") -> bytes:
    return npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}", content)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def with_gadget(trace: Path, protocol: int, *, inside: bool) -> bytes:
    rows = np.empty(2, object)
    rows[:] = [[1], Gadget(trace)]
    content = pickle.dumps(rows if inside else Gadget(trace), protocol)
    return zipped(
        {"x_train": declared("|O", "(2,)", content), "y_train": declared("<i8", "(2,)", b"\0" * 16)}
    )


def bomb(path: Path, gibibytes: int) -> None:
    """An archive of a few MB whose one member is so many GiB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("x_train.npy", "w", force_zip64=True) as member:
            member.write(declared("|u1", f"({gibibytes * 2**30},)"))
            block = bytes(16 * MEBIBYTE)
            for _ in range(gibibytes * 64):
                member.write(block)
        file.writestr("y_train.npy", declared("<i8", "(1,)", b"\0" * 8))


SMALL: dict[str, Callable[[Path], bytes]] = {
    "a gadget in a row": lambda trace: with_gadget(trace, 4, inside=True),
    "a gadget in place of the array": lambda trace: with_gadget(trace, 2, inside=False),
    "a pickle for an archive": lambda trace: pickle.dumps(Gadget(trace), 3),
    "16 GiB in some bytes": lambda trace: zipped(
        {"x_train": declared("|O", "(1,)", b"\x80\x04\x8e" + struct.pack("<Q", 2**34) + b"x"), "y_train": b""}
    ),
    "a giant header": lambda trace: zipped(
        {"x_train": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 100, "y_train": b""}
    ),
    "a giant shape": lambda trace: zipped({"x_train": declared("<f8", "(1000000000000,)"), "y_train": b""}),
    "a shape that overflows": lambda trace: zipped(
        {"x_train": declared("<f8", f"({2**62}, {2**62})"), "y_train": b""}
    ),
    "code in a header": lambda trace: zipped(
        {"x_train": npy(f"__import__('os').open({str(trace)!r}, 65)"), "y_train": b""}
    ),
    "wrong types": lambda trace: zipped(
        {"x_train": declared("<M8[s]", "(1,)", b"\0" * 8), "y_train": declared("<i8", "(1,)", b"\0" * 8)}
    ),
    "texts for numbers": lambda trace: zipped(
        {"x_train": declared("<U2", "(1,)", b"a\0\0\0b\0\0\0"), "y_train": declared("<i8", "(1,)", b"\0" * 8)}
    ),
    "names that lead elsewhere": lambda trace: zipped({"../../x_train": b"x", str(trace): b"x"}),
    "a web page": lambda trace: b"<!DOCTYPE html><html><body>log in first</body></html>",
    "half an archive": lambda trace: zipped({"x_train": declared("<f8", "(9,)", b"\0" * 72)})[:90],
    "nothing": lambda trace: b"",
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("command", ["train small.yaml -q", "show small.yaml"])
def test_small_files_that_do_harm(kind: str, command: str, warm: Server, tmp_path: Path) -> None:
    """In 300 MiB more than Python and PyTorch take, and in a folder in which nothing else appears."""
    (tmp_path / "here").mkdir()
    write_small(tmp_path / "here")
    (tmp_path / "here" / "small.npz").write_bytes(SMALL[kind](tmp_path / "it-ran"))
    before = files_of(tmp_path)
    outcome = warm.run(command.split(), cwd=tmp_path / "here", limits={"RLIMIT_AS": 300 * MEBIBYTE})
    said = outcome.err or outcome.out
    assert outcome.code == (4 if command.startswith("train") else 0), outcome
    assert "small.npz" in said
    assert "Traceback" not in said
    assert "internal error" not in said
    assert "out of memory" not in said
    assert files_of(tmp_path) == before


@pytest.mark.slow
def test_a_few_megabytes_that_unpack_to_more_than_two_gigabytes(warm: Server, tmp_path: Path) -> None:
    write_small(tmp_path)
    bomb(tmp_path / "small.npz", 2)  # and a header
    assert (tmp_path / "small.npz").stat().st_size < 4 * MEBIBYTE
    outcome = warm.run(["train", "small.yaml", "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 300 * MEBIBYTE})
    assert (outcome.code, outcome.out) == (4, "")
    assert "would unpack from" in outcome.err
    assert "at most 2,147,483,648 are allowed" in outcome.err
    assert sorted(os.listdir(tmp_path)) == ["small.npz", "small.yaml"]


def test_rows_to_predict_that_are_made_to_harm(warm: Server, tmp_path: Path) -> None:
    """A packed line without end, deep nesting, giant numbers, a gadget: refused in bounded memory."""
    import gzip

    write_small(tmp_path)
    assert warm.run(["train", "small.yaml", "-q"], cwd=tmp_path).code == 0
    with gzip.open(tmp_path / "line.csv.gz", "wb", 1) as file:
        for _ in range(512):
            file.write(b"1" * MEBIBYTE)
    (tmp_path / "deep.jsonl").write_bytes(b"[" * 2_000_000 + b"\n")
    (tmp_path / "digits.jsonl").write_bytes(b"[" + b"9" * 100_000 + b", 1, 2]\n")
    (tmp_path / "infinite.jsonl").write_bytes(b"[NaN, Infinity, 1e999]\n")
    (tmp_path / "wide.csv").write_bytes(b"1," * 1_000_000 + b"\n")
    (tmp_path / "quote.csv").write_bytes(b'1,2,"' + b"x" * 200_000 + b"\n")
    (tmp_path / "nul.csv").write_bytes(b"1,2,\x003\n" * 3)
    (tmp_path / "gadget.npz").write_bytes(with_gadget(tmp_path / "it-ran", 4, inside=True))
    (tmp_path / "page.npz").write_bytes(b"<html>")
    before = sorted(os.listdir(tmp_path))
    for name in [
        name for name in before if name.endswith(("gz", "jsonl", "csv", "npz")) and name != "small.npz"
    ]:
        outcome = warm.run(
            ["predict", "@last", name, "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 400 * MEBIBYTE}
        )
        assert (outcome.code, outcome.out) == (4, ""), (name, outcome.err[-300:])
        assert outcome.err.startswith("error: "), name
        assert len(outcome.err) < 1500, name
    assert sorted(os.listdir(tmp_path)) == before
