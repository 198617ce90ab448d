"""A checkpoint is whole or not there, and the one before it stays until the new one reads back."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import DataError, NnrunError
from nnrun.records import weights
from nnrun.records.weights import Checkpoint, remove_unfinished, write_checkpoint
from nnrun.records.weights import read_checkpoint as read_newest
from tests.support.commands import run_program

ARRAYS = {
    "a": np.array([[1.5, -0.0], [np.inf, 1e-45]], np.float32),
    "steps": np.array([3.0, 4.0]),
    "seen": np.arange(4, dtype=np.int64),
}
DOCUMENT: dict[str, Any] = {"epoch": 3, "best": 0.1 + 0.2, "history": "epoch,loss\n1,0.1\n"}


def read_checkpoint(run: Path) -> Checkpoint:
    return read_newest(run, lambda found: found)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_it_reads_back_bit_for_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, ARRAYS, DOCUMENT)
    found = read_checkpoint(tmp_path)
    assert found.number == 1
    assert found.document == DOCUMENT
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()


def test_an_array_that_lies_otherwise_in_memory(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_checkpoint(tmp_path, {"turned": turned}, {})
    np.testing.assert_array_equal(read_checkpoint(tmp_path).arrays["turned"], turned)


def test_the_newest_replaces_the_others(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        write_checkpoint(tmp_path, ARRAYS, {"epoch": epoch})
    assert read_checkpoint(tmp_path).document == {"epoch": 3}
    assert names(tmp_path) == ["checkpoint-000003"]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_of_two_the_older_serves_where_the_newer_is_damaged(name: str, harm: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, ARRAYS, {"epoch": 1})
    os.rename(tmp_path / "checkpoint-000001", tmp_path / "kept")
    write_checkpoint(tmp_path, ARRAYS, {"epoch": 2})
    os.rename(tmp_path / "checkpoint-000001", tmp_path / "checkpoint-000002")
    os.rename(tmp_path / "kept", tmp_path / "checkpoint-000001")
    damage(tmp_path / "checkpoint-000002" / name, harm)
    assert read_checkpoint(tmp_path).document == {"epoch": 1}
    damage(tmp_path / "checkpoint-000001" / name, harm)
    with pytest.raises(DataError, match=r"has no intact checkpoint, so the run cannot be resumed"):
        read_checkpoint(tmp_path)


def damage(path: Path, harm: str) -> None:
    data = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
        return
    if harm == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes(data if harm == "flip" else data[: len(data) // 2])


def test_another_version_is_said(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, ARRAYS, {})
    manifest = tmp_path / "checkpoint-000001" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 9}))
    with pytest.raises(DataError, match="another version of nnrun; this one reads version 1"):
        read_checkpoint(tmp_path)


def test_without_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no checkpoint: it ended before the first was written"):
        read_checkpoint(tmp_path)
    with pytest.raises(DataError, match=r"has no checkpoint"):
        read_checkpoint(tmp_path / "nowhere")


def test_one_that_does_not_read_back_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, ARRAYS, {"epoch": 1})

    def rename_and_damage(source: Path, target: Path) -> None:
        os.replace(source, target)
        damage(target / "state.safetensors", "flip")

    monkeypatch.setattr(weights.os, "rename", rename_and_damage)
    with pytest.raises(NnrunError, match="could not be read back"):
        write_checkpoint(tmp_path, ARRAYS, {"epoch": 2})
    assert names(tmp_path) == ["checkpoint-000001", "checkpoint-000002"]
    assert read_checkpoint(tmp_path).document == {"epoch": 1}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that refuses to be written")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NnrunError, match=r"Cannot keep a checkpoint in .*: Permission denied"):
            write_checkpoint(tmp_path, ARRAYS, {})
    finally:
        tmp_path.chmod(0o700)


KILLED_AT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from nnrun.records import weights

left = int(sys.argv[2])

def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("fsync", "rename", "open"):
    setattr(weights.os, name, counted(getattr(os, name)))
Path.mkdir = counted(Path.mkdir)
Path.write_text = counted(Path.write_text)
weights.shutil.rmtree = counted(weights.shutil.rmtree)
weights.write_checkpoint(Path(sys.argv[1]), {"a": np.ones(4, np.float32)}, {"epoch": 2})
print("finished")
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_anywhere_there_is_always_a_whole_one(tmp_path: Path) -> None:
    epochs = []
    for call in range(1, 60):
        run = tmp_path / str(call)
        run.mkdir()
        write_checkpoint(run, {"a": np.ones(4, np.float32)}, {"epoch": 1})
        done = run_program(KILLED_AT, str(run), str(call), cwd=tmp_path)
        epochs.append(read_checkpoint(run).document["epoch"])
        remove_unfinished(run)
        assert all(name.startswith("checkpoint-") for name in names(run))
        if "finished" in done.stdout:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert "finished" in done.stdout, "the last call was reached"
    assert epochs == sorted(epochs)
    assert {1, 2} == set(epochs)


def test_one_that_means_nothing_gives_way_to_the_one_before(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, ARRAYS, {"epoch": 1})
    kept = tmp_path / "checkpoint-000001"
    aside = tmp_path / "aside"
    kept.rename(aside)
    write_checkpoint(tmp_path, ARRAYS, {"epoch": "many"})
    (tmp_path / "checkpoint-000001").rename(tmp_path / "checkpoint-000002")
    aside.rename(kept)

    def epoch(found: Checkpoint) -> int:
        if not isinstance(found.document["epoch"], int):
            raise DataError("not a number")
        return found.document["epoch"]

    assert read_newest(tmp_path, epoch) == 1
