"""A project that was moved, or whose table has another name: content is what counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nnrun.data import SourceFile
from nnrun.errors import DataError, UsageError
from nnrun.experiment.describing.report import write_report
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.finished.load_run import Access, load_run_spec
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.data_location import changed_sources
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import BINARY, REGRESSION, write_small


def write_table(path: Path, rows: int = 48, *, seed: int = 0) -> None:
    rng = np.random.RandomState(seed)
    lines = [f"{a:.4f},{b:.4f},{a - b:.4f}" for a, b in rng.normal(size=(rows, 2))]
    if path.suffix == ".csv":
        path.write_text("a,b,y\n" + "\n".join(lines) + "\n")
    else:
        keys = [line.split(",") for line in lines]
        path.write_text("".join(f'{{"a": {a}, "b": {b}, "y": {y}}}\n' for a, b, y in keys))


def write_folders(path: Path) -> None:
    for name, word in (("good", "fine"), ("bad", "poor")):
        (path / name).mkdir(parents=True)
        for row in range(12):
            (path / name / f"{row}.txt").write_text(f"{word} text {row}")


TABLE: dict[str, Any] = {"preprocessing": {"inputs": []}}
TEXTS: dict[str, Any] = {
    "preprocessing": {"inputs": {"text": 20}},
    "validation": {"holdout": {"fraction": 0.3}},
}


def project(folder: Path, source: str) -> Path:
    """A project's folder with its data and its spec."""
    folder.mkdir()
    (folder / "data").mkdir()
    match source:
        case "npz":
            write_small(folder)
            (folder / "small.npz").rename(folder / "data" / "t.npz")
            spec: dict[str, Any] = {**REGRESSION, "dataset": {"npz": "data/t.npz"}}
        case "text_folder":
            write_folders(folder / "data" / "train")
            write_folders(folder / "data" / "test")
            dataset = {"text_folder": {"path": "data/train", "test": {"path": "data/test"}}}
            spec = {**BINARY, **TEXTS, "dataset": dataset}
        case _:
            write_table(folder / "data" / f"t.{source}")
            write_table(folder / "data" / f"test.{source}", 12, seed=1)
            dataset = {
                source: {"path": f"data/t.{source}", "target": "y", "test": {"path": f"data/test.{source}"}}
            }
            spec = {**REGRESSION, **TABLE, "dataset": dataset}
    (folder / "small.yaml").write_text(yaml.safe_dump(spec))
    return folder


def trained(folder: Path) -> RunDirectory:
    return run_experiment(load_spec(folder / "small.yaml"), Settings("train", folder / "runs"))


def use_everywhere(run: RunDirectory, folder: Path, **options: Any) -> None:
    """All that reads a run's data again."""
    evaluate_run(run, Access(**options))
    again = reproduce_run(run, runs_dir=folder / "again", **options)
    assert again.identical
    assert not again.changed
    assert write_report([run], folder / "page.html", Access(data_dir=options.get("data_dir"))).is_file()
    assert "were not found" not in (folder / "page.html").read_text() or "overrides" in options
    epochs = run.read_record().epochs_run + 1
    data_dir, overrides = options.get("data_dir"), options.get("overrides", {})
    assert resume_run(run, overrides={**overrides, "epochs": epochs}, data_dir=data_dir)
    settings = Settings("final", folder / "again", data_dir)
    assert final_of_run(run, settings, epochs=1, overrides=overrides).read_record().test


@pytest.mark.parametrize("source", ["csv", "jsonl", "npz", "text_folder"])
def test_a_project_in_another_folder(source: str, tmp_path: Path) -> None:
    run = trained(project(tmp_path / "proj", source))
    moved = (tmp_path / "proj").rename(tmp_path / "renamed")
    use_everywhere(RunDirectory(moved / "runs" / run.id), tmp_path)


@pytest.mark.parametrize("source", ["csv", "npz"])
def test_runs_elsewhere_and_data_in_the_data_dir(source: str, tmp_path: Path) -> None:
    run = trained(project(tmp_path / "proj", source))
    shutil.move(tmp_path / "proj" / "data", tmp_path / "archive")
    there = tmp_path / "results" / run.id
    shutil.move(run.path, there)
    shutil.rmtree(tmp_path / "proj")
    with pytest.raises(
        DataError, match=r"were not found: .*Say where it is now: --data-dir FOLDER, or --set"
    ):
        evaluate_run(RunDirectory(there))
    use_everywhere(RunDirectory(there), tmp_path, data_dir=tmp_path / "archive")


@pytest.mark.parametrize("source", ["csv", "jsonl", "npz"])
def test_a_table_of_another_name(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(project(tmp_path / "proj", source))
    data = tmp_path / "proj" / "data"
    (data / f"t.{source}").rename(data / f"other.{source}")
    monkeypatch.chdir(data)  # a path that is given by hand is relative to where one stands
    use_everywhere(run, tmp_path, overrides={f"dataset.{source}.path": f"other.{source}"})
    assert load_run_spec(run).spec.dataset.path == str(data / f"other.{source}")  # type: ignore[attr-defined]


def test_a_table_of_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(project(tmp_path / "proj", "csv"))
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "other.csv", seed=7)
    other = {"dataset.csv.path": "other.csv"}
    settings = Settings("final", tmp_path / "again")
    refused = r"other\.csv, in place of t\.csv, is not the file that .* was trained on"
    with pytest.raises(DataError, match=refused):
        evaluate_run(run, Access(overrides=other))
    with pytest.raises(DataError, match=refused):
        reproduce_run(run, runs_dir=tmp_path / "again", overrides=other)
    with pytest.raises(DataError, match=refused):
        final_of_run(run, settings, epochs=1, overrides=other)
    with pytest.raises(
        UsageError, match=r"different data:\n  other\.csv: SHA-256 [0-9a-f]{64} in the run \(t\.csv\)"
    ):
        resume_run(run, overrides={**other, "epochs": 5})
    assert not (tmp_path / "again").exists()
    assert run.read_record().status == "completed"


def test_a_file_of_that_name_that_has_another_content_is_passed_over(tmp_path: Path) -> None:
    run = trained(project(tmp_path / "proj", "csv"))
    moved = (tmp_path / "proj").rename(tmp_path / "renamed")
    write_table(moved / "runs" / "t.csv", seed=7)  # nearer to the run
    (tmp_path / "proj" / "data").mkdir(parents=True)
    write_table(tmp_path / "proj" / "data" / "t.csv", seed=8)  # where it was
    evaluate_run(RunDirectory(moved / "runs" / run.id))


def test_nothing_but_paths_may_be_changed(tmp_path: Path) -> None:
    run = trained(project(tmp_path / "proj", "csv"))
    with pytest.raises(UsageError) as refused:
        evaluate_run(run, Access(overrides=["batch_size=4"]))
    assert str(refused.value) == (
        f"{run.id} was trained with a different batch_size: 8, not 4; only the location of its files may be "
        "changed here (dataset.csv.path=... or dataset.csv.test.path=...)."
    )


def test_another_test_file_for_a_final_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(project(tmp_path / "proj", "csv"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_table(tmp_path / "new.csv", 9, seed=3)
    changes = {"dataset.csv.test.path": "../new.csv"}
    made = final_of_run(run, Settings("final", tmp_path / "again"), epochs=1, overrides=changes)
    assert made.read_record().rows.test == 9
    with pytest.raises(DataError, match=r"new\.csv, in place of test\.csv, is not the file that"):
        evaluate_run(run, Access(overrides=changes))


def test_a_path_on_the_command_line_is_relative_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "proj", "csv")
    monkeypatch.chdir(tmp_path)
    for given in (["dataset.csv.path=x.csv"], {"dataset.csv.path": "x.csv"}):
        loaded = load_spec(folder / "small.yaml", given)
        assert loaded.spec.dataset.path == str(tmp_path / "x.csv")  # type: ignore[attr-defined]
        assert loaded.spec.dataset.test.path == str(folder / "data" / "test.csv")  # type: ignore[attr-defined]
    whole = "dataset={csv: {path: x.csv, target: y, test: {path: z.csv}}}"
    dataset: Any = load_spec(folder / "small.yaml", [whole]).spec.dataset
    assert (dataset.path, dataset.test.path) == (str(tmp_path / "x.csv"), str(tmp_path / "z.csv"))


def test_given_weights_that_were_moved(tmp_path: Path) -> None:
    folder = project(tmp_path / "proj", "npz")
    first = trained(folder)
    shutil.copy(first.path / "weights.safetensors", folder / "first.safetensors")
    text = (folder / "small.yaml").read_text() + "init_weights: first.safetensors\n"
    (folder / "small.yaml").write_text(text)
    run = run_experiment(load_spec(folder / "small.yaml"), Settings("train", folder / "runs"))
    moved = RunDirectory(folder.rename(tmp_path / "renamed") / "runs" / run.id)
    assert reproduce_run(moved, runs_dir=tmp_path / "again").identical
    assert resume_run(moved, spec=load_spec(tmp_path / "renamed" / "small.yaml", {"epochs": 4}).spec)


def test_an_export_is_compared_on_rows_of_a_moved_project(tmp_path: Path) -> None:
    run = trained(project(tmp_path / "proj", "csv"))
    moved = (tmp_path / "proj").rename(tmp_path / "renamed") / "runs" / run.id
    assert export_run(RunDirectory(moved), tmp_path / "x.safetensors", "safetensors").rows_from == "training"


@pytest.mark.parametrize(
    ("present", "found"),
    [
        ({"a": "1", "b": "2"}, []),
        ({"x": "1", "b": "2"}, []),
        ({"x": "1", "y": "2"}, []),
        ({"a": "3", "b": "2"}, [("a", "a", "1")]),
        ({"x": "3", "b": "2"}, [("x", "a", "1")]),
        ({"a": "1", "y": "4"}, [("y", "b", "2")]),
        ({"b": "1", "a": "2"}, [("b", "b", "2"), ("a", "a", "1")]),
    ],
)
def test_what_changed(present: dict[str, str], found: list[tuple[str, str, str]]) -> None:
    sources = [SourceFile(name, sha256, 1) for name, sha256 in present.items()]
    changed = changed_sources(sources, {"a": "1", "b": "2"})
    assert [(source.name, name, then) for source, name, then in changed] == found
