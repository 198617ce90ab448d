"""Weights files that are damaged or made to deceive."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nnrun.cli import main
from nnrun.errors import DataError
from nnrun.records import RunDirectory, read_weights_file
from nnrun.records.weights import write_weights_file
from tests.support.small_experiments import numbers, only_run, write_small

Capture = pytest.CaptureFixture[str]
ARRAYS = {"0.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "0.bias": np.ones(3, np.float32)}


def with_header(header: str, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + content


def entry(shape: Any, start: int, end: int, dtype: str = "F32") -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})


HOSTILE = {
    "a web page": b"<!DOCTYPE html><html><body>log in first</body></html>",
    "nothing": b"",
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch it-ran'\ntR.",
    "an archive": b"PK\x03\x04" + b"\0" * 100,
    "a header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header beyond the end": struct.pack("<Q", 10**6) + b"{}",
    "a header of 90 MB that is not there": struct.pack("<Q", 90_000_000) + b"{" * 50,
    "a header that is no JSON": with_header("{'a': 1}"),
    "a header that is a list": with_header("[]"),
    "deep nesting": with_header('{"a":' * 5000 + "1" + "}" * 5000),
    "a giant shape": with_header(f'{{"a":{entry([2**40, 2**20], 0, 8)}}}', b"\0" * 8),
    "a shape that overflows": with_header(f'{{"a":{entry([2**63, 2**63], 0, 8)}}}', b"\0" * 8),
    "a negative shape": with_header(f'{{"a":{entry([-1], 0, 8)}}}', b"\0" * 8),
    "offsets beyond the end": with_header(f'{{"a":{entry([2], 0, 2**40)}}}', b"\0" * 8),
    "offsets that overlap": with_header(f'{{"a":{entry([2], 0, 8)},"b":{entry([2], 0, 8)}}}', b"\0" * 8),
    "a hole": with_header(f'{{"a":{entry([1], 4, 8)}}}', b"\0" * 8),
    "a type that nobody knows": with_header(f'{{"a":{entry([2], 0, 8, "F99")}}}', b"\0" * 8),
    "bfloat16": with_header(f'{{"a":{entry([4], 0, 8, "BF16")}}}', b"\0" * 8),
    "a name twice": with_header(f'{{"a":{entry([2], 0, 8)},"a":{entry([2], 0, 8)}}}', b"\0" * 8),
    "metadata twice": with_header(
        f'{{"__metadata__":{{"x":"1"}},"__metadata__":{{"x":"2"}},"a":{entry([2], 0, 8)}}}', b"\0" * 8
    ),
    "more behind": with_header(f'{{"a":{entry([1], 0, 4)}}}', b"\0" * 8),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_weights_file(path)
    assert str(path) in str(error.value)
    assert os.listdir(tmp_path) == [path.name]


def test_a_name_twice_is_taken_by_others(tmp_path: Path) -> None:
    """Why it must be looked for: the library gives the second and says nothing."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(HOSTILE["a name twice"])
    assert list(load_file(path)) == ["a"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="not a regular file"):
            read_weights_file(path)


@settings(max_examples=300)
@given(st.data())
def test_every_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """In a file that nnrun wrote: a bit of the arrays, of their names, shapes or types, or of the hash."""
    path = tmp_path_factory.mktemp("flip") / "w.safetensors"
    write_weights_file(path, ARRAYS)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = read_weights_file(path)
    except DataError:
        return
    # What may be flipped unseen is the spelling of what means nothing: the name of the hash, white space.
    assert {name: (a.tobytes(), a.shape, a.dtype) for name, a in found.items()} == {
        name: (a.tobytes(), a.shape, a.dtype) for name, a in ARRAYS.items()
    }


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights_file(path, ARRAYS)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_weights_file(path)


def test_files_of_others_need_no_hash(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "w.safetensors")
    assert sorted(read_weights_file(tmp_path / "w.safetensors")) == ["0.bias", "0.weight"]


def test_a_run_whose_weights_changed_predicts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q"]) == 0
    run = RunDirectory(only_run(tmp_path / "runs"))
    np.savetxt("rows.csv", numbers()["x_test"], delimiter=",")
    path = run.path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 0x10
    path.write_bytes(content)
    capsys.readouterr()
    for command in (
        ["predict", "@last", "rows.csv"],
        ["evaluate", "@last"],
        ["export", "@last", "-o", "x.pt2"],
    ):
        assert main(command) == 4
        printed = capsys.readouterr()
        assert "is damaged: its arrays differ from those that were written" in printed.err
        assert printed.out == ""
    assert run.read_record().test_uses == []
    assert not (tmp_path / "x.pt2").exists()


def test_weights_to_start_from_are_refused_with_exit_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, init_weights="w.safetensors")
    for content in (HOSTILE["a web page"], HOSTILE["a name twice"], HOSTILE["a giant shape"]):
        (tmp_path / "w.safetensors").write_bytes(content)
        assert main(["train", "small.yaml", "-q"]) == 4
        printed = capsys.readouterr()
        assert "w.safetensors" in printed.err
        assert printed.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
