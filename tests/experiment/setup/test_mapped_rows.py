"""Rows that lie in files train as rows in memory do, to the last bit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nnrun
from nnrun.cli import main
from nnrun.data.files import stored_arrays
from nnrun.data.files.stored_arrays import rows_folder
from nnrun.experiment.setup import mapped_rows
from nnrun.limits import cxx_compiler
from nnrun.mapped_arrays import place_in_file
from nnrun.model.mapped_inputs import MappedInputs
from nnrun.native import rows_of_file
from nnrun.native.kernels import prepare
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    growing_tokens,
    numbers,
    only_run,
    without_seconds,
    write_small,
)

TABLE = """
dataset: {csv: {path: rows.csv, target: y}}
preprocessing: {inputs: PREPARED}
layers: [dense: {units: 8, activation: relu}, dropout: 0.3, dense: 1]
loss: mse
optimizer: adam
metrics: [mae, r2]
epochs: 3
batch_size: 16
validation: {holdout: {fraction: 0.3, shuffle: true}}
"""
CONV: list[Any] = [{"conv1d": {"filters": 3, "kernel_size": 2}}, "flatten", {"dense": 1}]


def write_table(folder: Path, prepared: str = "standardize", **changes: str) -> Path:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=150) for name in "abc"})
    table["kind"] = rng.choice(["low", "mid", "top"], 150)
    table["y"] = table["a"] * 2 + table["b"] - (table["kind"] == "top")
    table.to_csv(folder / "rows.csv", index=False)
    path = folder / "table.yaml"
    text = TABLE.replace("PREPARED", prepared)
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return path


def histories(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[bytes, ...]:
    """Of the same spec with rows in memory, and with rows in files."""
    found = []
    for place in ("memory", "file"):
        monkeypatch.setenv("NNRUN_ROWS", place)
        assert main(["train", str(path), "--runs-dir", str(folder / place), "-q", *options]) == 0
        found.append(without_seconds(only_run(folder / place)))
    return tuple(found)


@pytest.mark.parametrize("policy", ["auto", "off"])
@pytest.mark.parametrize("at_once", [16, 1 << 22])
def test_the_same_history_byte_for_byte(
    policy: str,
    at_once: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In C++ and in PyTorch; prepared a few rows at a time, and computed in many segments."""
    monkeypatch.setattr(mapped_rows, "_ELEMENTS_AT_ONCE", at_once)
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", 4 * at_once)
    path = write_table(tmp_path, "[standardize, one_hot: {columns: [kind]}]")
    in_memory, in_file = histories(path, tmp_path, monkeypatch, "--compile", policy)
    assert in_memory.count(b"\n") == 4
    assert in_file == in_memory
    nnrun_said = capsys.readouterr().err
    assert nnrun_said == ""
    assert not list((rows_folder()).iterdir())  # the files have no name


@pytest.mark.parametrize("kfold", ["{kfold: {k: 3}}", "{kfold: {k: 3, shuffle: true}}"])
def test_folds_that_each_prepare_their_own_rows(
    kfold: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path, **{"{holdout: {fraction: 0.3, shuffle: true}}": kfold})
    in_memory, in_file = histories(path, tmp_path, monkeypatch)
    assert in_memory.count(b"\n") == 10
    assert in_file == in_memory


def test_folds_that_train_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.experiment.setup.groups.MOST_BYTES_OF_OWN_ROWS", 100)
    path = write_table(tmp_path, **{"{holdout: {fraction: 0.3, shuffle: true}}": "{kfold: {k: 3}}"})
    in_memory, in_file = histories(path, tmp_path, monkeypatch)
    assert in_file == in_memory


def test_rows_with_more_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {name: np.stack([a, a * 2], 1) if name.startswith("x") else a for name, a in numbers().items()}
    path = write_small(tmp_path, REGRESSION, arrays, layers=CONV)
    in_memory, in_file = histories(path, tmp_path, monkeypatch)
    assert in_file == in_memory


def test_a_run_goes_on_with_its_rows_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows are is nothing that resuming asks for."""
    path = write_table(tmp_path)
    in_memory, _ = histories(path, tmp_path, monkeypatch, "--epochs", "5")
    monkeypatch.setenv("NNRUN_ROWS", "memory")
    run = nnrun.train(path, runs_dir=tmp_path / "resumed")
    monkeypatch.setenv("NNRUN_ROWS", "file")
    assert main(["train", "--resume", str(run.path), "--epochs", "5", "-q"]) == 0
    assert without_seconds(run.path) == in_memory


def test_rows_that_do_not_fit_go_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NNRUN_ROWS", raising=False)
    path = write_table(tmp_path)
    monkeypatch.setattr(mapped_rows, "free_memory", lambda: 2000)
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "file")]) == 0
    said = capsys.readouterr().err
    assert (
        "the prepared rows take 4 kB, and 2 kB of memory are free: they are written to a file, and read "
        "batch by batch\n"
    ) in said
    monkeypatch.setattr(mapped_rows, "free_memory", lambda: 10_000)
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "memory")]) == 0
    assert "written to a file" not in capsys.readouterr().err
    in_file, in_memory = (without_seconds(only_run(tmp_path / place)) for place in ("file", "memory"))
    assert in_file == in_memory


def test_what_cannot_be_streamed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is asked for, it is refused; else the rows stay in memory, with a warning."""
    of_means = write_table(tmp_path, "[standardize, target_mean: {columns: [kind]}]")
    (tmp_path / "words").mkdir()
    sparse = write_small(
        tmp_path / "words", BINARY, growing_tokens(), preprocessing={"inputs": "multi_hot"}, validation="none"
    )
    for path, why in (
        (of_means, "target_mean prepares training rows by what the others hold"),
        (sparse, "the rows are sparse"),
    ):
        monkeypatch.setenv("NNRUN_ROWS", "file")
        assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs")]) == 4
        refused = f"error: NNRUN_ROWS=file: {why}, and cannot be read from a file batch by batch.\n"
        assert refused in capsys.readouterr().err
        monkeypatch.setenv("NNRUN_ROWS", "auto")
        monkeypatch.setattr(mapped_rows, "free_memory", lambda: 2000)
        assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs")]) == 0
        assert f"kB, and must stay in memory: {why}\n" in capsys.readouterr().err


def test_a_place_that_is_none_and_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path)
    monkeypatch.setenv("NNRUN_ROWS", "disk")
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err == "error: NNRUN_ROWS is 'disk'; it must be auto, memory or file.\n"
    monkeypatch.setenv("NNRUN_ROWS", "file")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rows").touch()
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["train", str(path), "--runs-dir", str(tmp_path / "runs"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["message"]
    assert said.startswith(f"The prepared rows cannot be written to {tmp_path / 'cache' / 'rows'} (")
    assert said.endswith("They take 4 kB: make room there, or name another folder with NNRUN_CACHE_DIR.")


@pytest.mark.parametrize("by_cpp", [False, True])
def test_rows_are_picked_from_a_file(by_cpp: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes: by NumPy from the map, and by C++ from the file itself."""
    if by_cpp and cxx_compiler() is None:
        pytest.skip("no C++ compiler")
    values = np.random.default_rng(0).integers(0, 256, (500, 12)).astype(np.uint8)
    values.tofile(tmp_path / "rows")
    mapped = stored_arrays.mapped_rows(tmp_path / "rows", values.shape, values.dtype)
    assert place_in_file(mapped[100:]) == (place_in_file(mapped)[0], 1200)  # type: ignore[index]
    if by_cpp:
        prepare(rows_of_file.LIBRARY)
        monkeypatch.setattr(rows_of_file, "take_mapped", None)
    else:
        monkeypatch.setattr(rows_of_file, "kernel", lambda name: None)
    for part, whole in ((mapped, values), (mapped[100:], values[100:])):
        for rows in ([0, 3, 4, 5, 77, 399], [7], list(range(400))):
            out = np.empty((len(rows), 12), np.uint8)
            rows_of_file.take_from_file(part, np.array(rows), out)
            np.testing.assert_array_equal(out, whole[rows])


def test_no_library_is_looked_for_where_rows_are_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.arange(150, dtype=np.float32).tofile(tmp_path / "rows")
    mapped = stored_arrays.mapped_rows(tmp_path / "rows", (50, 3), np.float32)
    asked: list[str] = []
    monkeypatch.setattr(rows_of_file, "kernel", asked.append)
    out = np.empty((2, 3), np.float32)
    rows_of_file.take_from_file(mapped, np.array([3, 40]), out)
    assert out.tolist() == [[9, 10, 11], [120, 121, 122]]
    assert not asked
    rows_of_file.take_from_file(mapped.view(np.uint8), np.array([3]), np.empty((1, 12), np.uint8))
    assert asked == [rows_of_file.LIBRARY]


def test_a_file_that_was_cut_short_is_no_row_of_zeros(tmp_path: Path) -> None:
    if cxx_compiler() is None:
        pytest.skip("no C++ compiler")
    prepare(rows_of_file.LIBRARY)
    np.ones((50, 12), np.uint8).tofile(tmp_path / "rows")
    mapped = stored_arrays.mapped_rows(tmp_path / "rows", (50, 12), np.uint8)
    os.truncate(tmp_path / "rows", 100)
    with pytest.raises(OSError, match="the file of prepared rows cannot be read"):
        rows_of_file.take_from_file(mapped, np.array([3, 40]), np.empty((2, 12), np.uint8))


def test_descriptors_go_with_their_maps(tmp_path: Path) -> None:
    np.ones((50, 12), np.uint8).tofile(tmp_path / "rows")
    mapped = stored_arrays.mapped_rows(tmp_path / "rows", (50, 3), np.float32)
    place = place_in_file(mapped[3:])
    assert place is not None
    os.fstat(place.file)
    del mapped
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place.file)


def test_rows_that_are_in_use_are_not_written_over(tmp_path: Path) -> None:
    """Memory is used again once nobody has the rows any more."""
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    inputs = MappedInputs((values,), torch.device("cpu"))
    first = inputs.loaded({0: np.arange(5)})
    second = inputs.loaded({0: np.arange(5, 10)})
    assert first.x_SNF.data_ptr() != second.x_SNF.data_ptr()
    np.testing.assert_array_equal(first.x_SNF[0], values[:5])
    place = first.x_SNF.data_ptr()
    del first
    third = inputs.loaded({0: np.arange(10, 14)})
    assert third.x_SNF.data_ptr() == place
    np.testing.assert_array_equal(third.x_SNF[0], values[10:14])
    np.testing.assert_array_equal(second.x_SNF[0], values[5:10])
    (batch, _) = inputs.batches([0, 0], np.array([[7, 2, 7], [1, 2, 3]])[:, :2], 1)
    np.testing.assert_array_equal(batch, values[[[7], [1]]])
