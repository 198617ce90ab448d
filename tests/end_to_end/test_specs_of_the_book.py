"""The specs in specs/: each can be tried anywhere, and those that need no download do the real thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nnrun
from nnrun.cli import main
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import only_run, record_of

FOLDER = Path(__file__).parents[2] / "specs"
SPECS = sorted(path.name for path in FOLDER.glob("*.yaml"))
SWEEPS = [name for name in SPECS if load_spec(FOLDER / name).spec.sweep is not None]


@pytest.fixture(autouse=True)
def _far_from_everything(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data, no network (port 9 of this machine answers nobody), and a folder of one's own."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("NNRUN_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_specs_are_there() -> None:
    assert len(SPECS) >= 12


@pytest.mark.parametrize("name", SPECS)
def test_a_smoke_run_needs_no_data(
    name: str, specs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(specs_dir / name), "--smoke", "--json"]) == 0
    printed = capsys.readouterr()
    run = only_run(tmp_path / "runs")
    record = record_of(run)
    assert json.loads(printed.out) == {**record, "path": f"runs/{run.name}"}
    assert (record["status"], record["smoke"], record["epochs_run"]) == ("completed", True, 2)
    assert [data["note"].split(" from ")[0] for data in record["data"]] == ["generated"]
    assert record["rows"]["train"] + record["rows"]["validation"] == 256
    assert "epoch 2/2" in printed.err
    assert "downloading" not in printed.err
    assert load_spec(specs_dir / name).spec.name == Path(name).stem


def test_the_sweeps_are_there() -> None:
    assert SWEEPS == ["imdb_sweep.yaml", "reuters_sweep.yaml"]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_smoke_sweep_needs_no_data(
    name: str, specs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(specs_dir / name), "--smoke", "--json", "-q"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["status"], record["smoke"], record["total"]) == ("completed", True, 24)
    assert {trial["status"] for trial in record["trials"]} == {"completed"}
    assert main(["check", record["best_spec"]]) == 0


@pytest.mark.parametrize("name", SPECS)
def test_each_says_where_it_comes_from_and_what_to_expect(name: str, specs_dir: Path) -> None:
    first, *rest = (specs_dir / name).read_text().splitlines()
    comment = [line for line in rest if line.startswith("#")]
    assert first == "# yaml-language-server: $schema=../nnrun/spec/schema.json"
    assert any(line.startswith(("# Expect: ", "# Needs no download. Expect: ")) for line in comment)
    assert "book" in comment[0] or "book" in comment[1]


@pytest.mark.parametrize(
    ("name", "better"),
    [("digits.yaml", "accuracy"), ("breast_cancer.yaml", "accuracy"), ("diabetes.yaml", "loss")],
)
def test_sets_that_ship_with_scikit_learn_are_learned(name: str, better: str, specs_dir: Path) -> None:
    """In a few epochs each network is beyond the predictor that never looks."""
    run = nnrun.train(specs_dir / name, overrides={"epochs": 5 if better == "accuracy" else 30})
    found, worthless = run.best[f"val_{better}"], run.baseline[better]
    assert found > worthless + 0.2 if better == "accuracy" else found < 0.8 * worthless
