"""A list of runs from the cache is the list of what the files hold now."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnrun import file_state
from nnrun.cli import main
from nnrun.records import RunDirectory, RunSummary, list_runs, runs_of_sweep, summary_cache
from nnrun.records.files_size import FilesSize, measure
from tests.support.runs_on_disk import make_run, records_read, write_record

MANY = 40  # more than are read again rather than kept
RECORD: dict[str, Any] = {
    "name": "reuters é→",
    "command": "final",
    "status": "completed",
    "device": "cpu",
    "started": "2026-01-01T00:00:00.25+05:30",
    "ended": "2026-01-01T00:00:04Z",
    "epochs_run": 20,
    "best_epoch": 9,
    "best": {"val_loss": 0.1 + 0.2, "val_f1_mean": 1, "val_auc": None},
    "test": {"loss": 0.99},
    "directions": {"f1": True},
    "data": [{"name": "reuters.npz", "sha256": "1f"}, {"name": "words.json", "sha256": "2e"}],
    "test_uses": [{"command": "final", "at": "1", "look": 1}, {"command": "evaluate", "at": "3", "look": 3}],
    "sweep": "one",
}
Listed = Callable[[], tuple[list[RunSummary], list[str]]]


@pytest.fixture
def runs_dir(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 runs, and a clock by which each file was written long ago."""
    folder = tmp_path / "runs"
    for number in range(MANY):
        record = RECORD | {"best_epoch": number} if number % 2 else {}
        make_run(folder, f"reuters-20260101T0000{number:02}Z-aaaa", **record)
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**18))
    return folder


@pytest.fixture
def listed(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Listed:
    """Lists the runs: their summaries, and the ids of those whose run.json was read.

    The summaries are compared with those that an empty cache gives.
    """
    read = records_read(monkeypatch)

    def of_now() -> tuple[list[RunSummary], list[str]]:
        read.clear()
        found, found_read = list_runs(runs_dir, sizes=True), sorted(read)
        with monkeypatch.context() as patch:
            patch.setenv("NNRUN_CACHE_DIR", str(runs_dir.parent / "none"))
            uncached = list_runs(runs_dir)
        shutil.rmtree(runs_dir.parent / "none", ignore_errors=True)
        assert found == uncached
        assert [run.size for run in found] == [run.size for run in uncached]
        return found, found_read

    return of_now


def cache_files(empty_cache: Path) -> list[Path]:
    return sorted(empty_cache.rglob("*.json"))


def test_what_is_unchanged_is_not_read_again(listed: Listed) -> None:
    summaries, read = listed()
    assert read == sorted(run.id for run in summaries)
    assert listed() == (summaries, [])


def test_changed_new_renamed_and_deleted_runs(runs_dir: Path, listed: Listed) -> None:
    before, _ = listed()
    first, second, third, fourth, *_ = sorted(run.id for run in before)
    write_record(RunDirectory(runs_dir / first), {"id": first, "status": "failed"})
    (runs_dir / second).rename(runs_dir / "renamed")
    shutil.rmtree(runs_dir / third)
    (runs_dir / fourth / "run.json").write_text("[]")
    make_run(runs_dir, "new")
    summaries, read = listed()
    assert read == sorted([first, "renamed", fourth, "new"])
    found = {run.id: run for run in summaries}
    assert len(found) == MANY
    assert not {second, third} & set(found)
    assert [found[id_].status for id_ in (first, "renamed", fourth, "new")] == [
        "failed",
        "completed",
        "broken",
        "completed",
    ]


def test_runs_that_take_each_other_s_names(runs_dir: Path, listed: Listed) -> None:
    before, _ = listed()
    one, other = sorted(run.id for run in before)[:2]
    for old, new in ((one, "aside"), (other, one), ("aside", other)):
        (runs_dir / old).rename(runs_dir / new)
    summaries, read = listed()
    assert read == [one, other]
    assert {run.id: run.best_epoch for run in summaries if run.id in (one, other)} == {one: 1, other: None}


def test_a_change_that_keeps_size_and_time(runs_dir: Path, listed: Listed) -> None:
    before, _ = listed()
    path = before[0].run.path / "run.json"
    was, text = path.stat(), path.read_text()
    path.write_text(text.replace('"completed"', '"diverged" '))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    summaries, read = listed()
    assert (summaries[0].status, read) == ("diverged", [before[0].id])


def test_a_run_that_is_running_is_looked_at_each_time(runs_dir: Path, listed: Listed) -> None:
    run = make_run(runs_dir, "at-work", status="running")
    with run.owned():
        for epochs in (1, 2):
            with (run.path / "history.csv").open("a") as file:
                file.write("epoch,loss\n1,0.5\n" if epochs == 1 else "2,0.4\n")
            summaries, read = listed()
            (found,) = (each for each in summaries if each.id == run.id)
            assert (found.status, found.epochs, run.id in read) == ("running", epochs, True)
    summaries, read = listed()
    (found,) = (each for each in summaries if each.id == run.id)
    assert (found.status, set(read)) == ("interrupted", {run.id})  # killed: run.json says `running` as before
    assert set(listed()[1]) == {run.id}


def test_files_that_come_later_count(runs_dir: Path, listed: Listed) -> None:
    run = listed()[0][0]
    size = run.size
    (run.run.path / "network.onnx").write_bytes(bytes(100))
    (run.run.figure("curve")).write_bytes(bytes(1000))
    found, read = listed()
    assert (found[0].size, read) == (size + 1100, [])
    (run.run.path / "plots" / "curve.png").unlink()
    assert listed()[0][0].size == size + 100
    shutil.rmtree(run.run.path / "plots")
    (run.run.path / "network.onnx").write_bytes(bytes(7))  # in place: the folder tells
    assert listed()[0][0].size == size + 7


def test_files_are_not_measured_again_where_no_folder_changed(
    runs_dir: Path, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listed()[0]
    with before[1].run.figure("curve").open("wb") as file:
        file.write(bytes(50))
    measured: list[str] = []

    def measure_and_tell(path: str) -> FilesSize:
        measured.append(path)
        return measure(path)

    monkeypatch.setattr(summary_cache, "measure", measure_and_tell)
    after = list_runs(runs_dir, sizes=True)
    assert measured == [str(before[1].run.path)]
    assert [run.size for run in after] == [run.size + 50 * (run.id == before[1].id) for run in before]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b"completed", b"diverged!", 1),
        lambda text: b"[]\n223132457\n",
        lambda text: b"\xff" + text,
        lambda text: text.replace(b"\n", b"\nx"),
    ],
    ids=["empty", "half", "changed", "other", "not UTF-8", "no checksum"],
)
def test_a_damaged_cache_is_made_anew_in_silence(
    damage: Callable[[bytes], bytes],
    listed: Listed,
    runs_dir: Path,
    empty_cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summaries, _ = listed()
    (path,) = cache_files(empty_cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert main(["ls", "--runs-dir", str(runs_dir)]) == 0
    assert capsys.readouterr().err.startswith(f"{runs_dir}/.test-uses.jsonl is missing")
    assert path.read_bytes() == whole
    assert listed() == (summaries, [])


@pytest.mark.parametrize("changes", [{"_VERSION": 0}, {"_FIELDS": ["status"]}])
def test_a_cache_of_another_format_is_made_anew(
    changes: dict[str, Any], listed: Listed, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries, _ = listed()
    (path,) = cache_files(empty_cache)
    document = json.loads(path.read_bytes().splitlines()[0])
    with monkeypatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(summary_cache, name, value)
        summary_cache.write_rows(summaries[0].run.runs_dir, document["rows"])
    assert len(listed()[1]) == MANY
    assert listed()[1] == []


def test_a_cache_that_others_may_write_is_not_read(listed: Listed, empty_cache: Path) -> None:
    listed()
    (path,) = cache_files(empty_cache)
    path.chmod(0o666)
    assert len(listed()[1]) == MANY
    assert path.stat().st_mode & 0o022 == 0
    assert listed()[1] == []


def test_what_changed_just_now_is_not_kept(
    listed: Listed, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_state, "SETTLED_NS", 10**18)
    listed()
    assert cache_files(empty_cache) == []
    assert len(listed()[1]) == MANY


def test_few_runs_are_not_kept(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**18))
    make_run(tmp_path / "runs", "x")
    list_runs(tmp_path / "runs")
    assert cache_files(empty_cache) == []


def test_where_the_cache_cannot_be_written_runs_are_read(listed: Listed, empty_cache: Path) -> None:
    empty_cache.write_text("a file")
    assert len(listed()[1]) == MANY
    assert len(listed()[1]) == MANY


def test_a_list_writes_nothing_under_runs(runs_dir: Path, listed: Listed) -> None:
    before = {path: path.stat().st_mtime_ns for path in (runs_dir, *runs_dir.rglob("*"))}
    listed()
    listed()
    assert {path: path.stat().st_mtime_ns for path in (runs_dir, *runs_dir.rglob("*"))} == before


def test_a_list_that_was_not_read_for_a_month_is_removed(listed: Listed, empty_cache: Path) -> None:
    folder = empty_cache / "run-lists"
    folder.mkdir(parents=True)
    for name, days in (("old.json", 31), ("new.json", 29)):
        (folder / name).write_text("")
        then = (folder / name).stat().st_mtime - days * 86400
        os.utime(folder / name, (then, then))
    listed()
    assert len(cache_files(empty_cache)) == 2
    assert not (folder / "old.json").exists()


def test_every_command_finds_the_same(
    runs_dir: Path, listed: Listed, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [["ls"], ["ls", "--json"], ["ls", "--sort", "val_f1"], ["ls", "--name", "r*", "--limit", "3"]]

    def screens() -> list[str]:
        for command in commands:
            assert main([*command, "--runs-dir", str(runs_dir)]) == 0
        return list(capsys.readouterr())

    of_sweep = runs_of_sweep("one", runs_dir)
    assert len(of_sweep) == MANY / 2
    first, again = screens(), screens()
    assert first == again
    assert runs_of_sweep("one", runs_dir) == of_sweep
    assert listed()[1] == []
