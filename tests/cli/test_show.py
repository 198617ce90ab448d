"""`nnrun show`: a spec with every default, its network, its data; and of a run how it went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.spec.reading.load import load_spec
from nnrun.spec.writing.dump import dump_value
from tests.support.small_experiments import check_screen, only_run, record_of, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


def test_the_screen_of_boston_with_changes(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    changes = ["--set", "layers[0].dense.units=32", "--set", "early_stopping={patience: 3}"]
    assert main(["show", str(specs_dir / "boston.yaml"), *changes]) == 0
    check_screen("show_boston", capsys.readouterr())


def test_the_screen_of_an_ensemble(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    """Which kernels the members share, and the numbers of all of them."""
    layers = "layers=[{periodic: 4}, {dense: {units: 8, activation: relu}}, {dropout: 0.1}, {dense: 1}]"
    assert main(["show", str(specs_dir / "boston.yaml"), "--set", "ensemble=4", "--set", layers]) == 0
    check_screen("show_ensemble", capsys.readouterr())


def test_what_the_data_need_fits_a_terminal(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["show", "small.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("about "))
    assert ": reading " in " ".join(lines[first:])
    assert max(map(len, lines[first:])) <= 80
    assert len(lines[first:]) == 2


def test_the_screen_of_token_lists(
    folder: Path, specs_dir: Path, keras_folder: Path, capsys: Capture
) -> None:
    """100 newswires of at most 30 words."""
    changes = ["--set", "validation={kfold: 2}", "--set", "batch_size=16"]
    assert main(["show", str(specs_dir / "reuters.yaml"), "--data-dir", str(keras_folder), *changes]) == 0
    check_screen("show_tokens", capsys.readouterr())


def test_the_screen_of_missing_data(
    folder: Path, specs_dir: Path, empty_cache: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of this machine answers nobody, so that the test needs no network and reaches none.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("NNRUN_DATA_DIR", raising=False)
    assert main(["show", str(specs_dir / "reuters.yaml")]) == 0
    check_screen("show_data_missing", capsys.readouterr(), {str(empty_cache): "<CACHE>"})


SHORT = ["--epochs", "2", "--set", "batch_size=64", "-q"]


def test_the_screen_of_a_run(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["train", str(specs_dir / "boston.yaml"), *SHORT]) == 0
    closing = capsys.readouterr().out
    assert main(["show", "@last"]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith(f"\n\n{closing}")
    check_screen("show_run", printed)


def test_a_run_that_was_evaluated_shows_it(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["train", str(specs_dir / "boston.yaml"), *SHORT]) == 0
    assert main(["evaluate", "@last"]) == 0
    capsys.readouterr()
    assert main(["show", "@last"]) == 0
    check_screen("show_run_evaluated", capsys.readouterr())


def test_a_run_shows_how_often_others_have_looked(folder: Path, capsys: Capture) -> None:
    assert main(["final", "small.yaml", "-q"]) == 0
    assert main(["final", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    runs = [path for path in (folder / "runs").iterdir() if path.is_dir()]
    (first,) = (run for run in runs if record_of(run)["test_uses"][0]["look"] == 1)
    assert main(["show", str(first)]) == 0
    sentence = "This run has looked at the small test set once, as the 1st of 2 looks by experiments named"
    assert sentence in capsys.readouterr().out
    assert main(["show", str(first), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["looks"] == 2


def test_a_smoke_run_is_shown_with_the_rows_that_it_had(
    folder: Path, specs_dir: Path, capsys: Capture
) -> None:
    """256 generated rows, and not the 404 of the real data."""
    assert main(["train", str(specs_dir / "boston.yaml"), "--smoke", "-q"]) == 0
    capsys.readouterr()
    assert main(["show", "@last"]) == 0
    shown = capsys.readouterr().out
    assert "192 rows to train on, 64 to validate on" in shown
    assert "303 rows" not in shown


def test_one_fold_alone_is_one_network(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--k", "3", "--fold", "1", "-q"]) == 0
    capsys.readouterr()
    assert main(["show", "@last", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["run"]["folds"] == [1]
    assert document["replicas"] == 1


def test_the_screen_of_a_run_of_seeds(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    holdout = ["--set", "validation={holdout: {fraction: 0.2}}"]
    assert main(["train", str(specs_dir / "digits.yaml"), "--seeds", "3", *SHORT, *holdout]) == 0
    closing = capsys.readouterr().out
    assert main(["show", "@last"]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith(f"\n\n{closing}")
    check_screen("show_seeds", printed)


@pytest.mark.parametrize("there", [True, False])
def test_json_of_a_run_of_seeds(folder: Path, capsys: Capture, there: bool) -> None:
    """Whether its data are still there or not."""
    assert main(["train", "small.yaml", "--seeds", "3", "-q"]) == 0
    if not there:
        (folder / "small.npz").unlink()
    capsys.readouterr()
    assert main(["show", "@last", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["run"]["seeds"] == [0, 1, 2]
    assert (document["replicas"], document["kind"], document["missing"] is None) == (3, "seed", there)


def test_warnings_go_to_stderr(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    spec = str(specs_dir / "boston.yaml")
    assert main(["show", spec, "--set", "batch_size=1000"]) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.out
    assert printed.err == (
        "--set: warning: a batch of 1,000 is larger than the 303 training rows: each epoch is one update\n"
        "      | batch_size=1000\n"
        "      |            ^\n"
    )


def test_json_of_a_spec(folder: Path, capsys: Capture) -> None:
    assert main(["show", "small.yaml", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    memory = document.pop("memory")
    assert list(memory) == ["reading", "data", "rows", "networks", "work", "least"]
    assert document.pop("spec") == dump_value(load_spec("small.yaml").spec)
    assert document == {
        "features": 3,
        "row_shape": None,
        "input_shapes": {},
        "all_ones": True,
        "columns": [],
        "layers": [
            {
                "position": 0,
                "description": "dense, relu",
                "outputs": [8],
                "parameters": 32,
                "state": 0,
                "takes": [],
                "again": False,
            },
            {
                "position": 1,
                "description": "dense, linear",
                "outputs": [1],
                "parameters": 9,
                "state": 0,
                "takes": [],
                "again": False,
            },
        ],
        "parameters": 41,
        "state": 0,
        "replicas": 1,
        "kind": None,
        "train_rows": 32,
        "validation_rows": 16,
        "test_rows": 12,
        "ones": None,
        "bytes": 576,
        "dense_bytes": 576,
        "missing": None,
    }
    assert printed.err == ""


def test_json_of_a_run(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["show", "@last", "--json"]) == 0
    run = only_run(folder / "runs")
    document = json.loads(capsys.readouterr().out)
    assert document["run"] == {
        **record_of(run),
        "path": f"runs/{run.name}",
        "looks": None,
        "looks_of_any": None,
    }


def test_the_shown_spec_is_one_that_can_be_run(folder: Path, capsys: Capture) -> None:
    assert main(["show", "small.yaml", "--set", "early_stopping={patience: 3}"]) == 0
    shown = capsys.readouterr().out.partition("\n\n")[0]
    (folder / "shown.yaml").write_text(shown)
    assert load_spec("shown.yaml").spec == load_spec("small.yaml", ["early_stopping={patience: 3}"]).spec


def test_an_invalid_spec(folder: Path, capsys: Capture) -> None:
    assert main(["show", "small.yaml", "--set", "epochs=0"]) == 3
    assert capsys.readouterr() == (
        "",
        "--set: error: epochs must be a whole number, 1 or more; found the number 0\n"
        "      | epochs=0\n"
        "      |        ^\n"
        "1 error: nothing was run.\n",
    )


PEOPLE = """\
dataset: {csv: {path: people.csv, target: price}}
preprocessing: {inputs: [log1p: fare, impute: {columns: fare, indicator: true}], targets: standardize}
layers: [{dense: 1}]
loss: mse
"""


def test_the_screen_of_a_table(folder: Path, capsys: Capture) -> None:
    """What becomes of each column: what the spec says, and the default for the others."""
    lines = ["price,age,fare,sex,note"]
    for i in range(30):
        fare = "" if i % 5 == 1 else i
        lines.append(f"{i},{20 + i % 7},{fare},{'mf'[i % 2]},a note of words number {i}")
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "people.yaml").write_text(PEOPLE, encoding="utf-8")
    assert main(["show", "people.yaml"]) == 0
    check_screen("show_table", capsys.readouterr(), {str(folder): "<FOLDER>"})


def test_all_fits_a_terminal(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a_column_of_numbers,b,y\n" + "1.5,2,3\n2,,4\n" * 20)
    (tmp_path / "t.yaml").write_text(
        "dataset: {csv: {path: t.csv, target: y, inputs: [a_column_of_numbers, b]}}\n"
        "preprocessing: {inputs: [impute: {strategy: median, indicator: true}, standardize]}\n"
        "layers: [dense: 1]\nloss: mse\nearly_stopping: {patience: 3}\n"
        "validation: {holdout: {fraction: 0.2}}\n"
    )
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["show", str(tmp_path / "t.yaml")]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if len(line) > 80 and "path:" not in line] == []
    lines = out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("  a_column_of_numbers"))
    assert lines[first].split("  ")[-1] == "1"
    assert lines[first + 1].strip() == "true}, standardize"


def test_a_graph_shows_what_each_layer_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = {
        "left": [{"dense": 3}],
        "right": [{"dense": 3}, {"residual": [{"dense": 3}]}],
        "out": [{"add": ["left", "right"]}, {"dense": 1}],
    }
    spec = write_small(tmp_path, layers=layers)
    assert main(["show", str(spec)]) == 0
    table = capsys.readouterr().out.split("\n\n")[1]
    assert table.splitlines() == [
        "  layer                     output  parameters               takes",
        "  inputs                         3",
        "  left.0: dense, linear          3          12              inputs",
        "  right.0: dense, linear         3          12              inputs",
        "  right.1.0: dense, linear       3          12             right.0",
        "  right.1: residual              3           0  right.0, right.1.0",
        "  out.0: add                     3           0     left.0, right.1",
        "  out.1: dense, linear           1           4               out.0",
        "  40 parameters",
    ]


def test_named_inputs_and_shared_layers_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {
        "left": [{"from": "a"}, {"use": "encoder"}],
        "right": [{"from": "b"}, {"use": "encoder"}],
        "out": [{"subtract": ["left", "right"]}, {"dense": 1}],
    }
    spec = write_small(
        tmp_path,
        preprocessing={},
        inputs={"a": {"array": "x"}, "b": {"array": "x"}},
        shared={"encoder": [{"dense": 4}, {"dropout": 0.5}]},
        layers=layers,
    )
    assert main(["show", str(spec)]) == 0
    table = capsys.readouterr().out.split("\n\n")[1]
    assert table.splitlines() == [
        "  layer                     output  parameters                takes",
        "  a                              3",
        "  b                              3",
        "  left.1.0: dense, linear        4          16                    a",
        "  left.1.1: dropout 0.5          4           0             left.1.0",
        "  right.1.0: dense, linear       4      shared                    b",
        "  right.1.1: dropout 0.5         4           0            right.1.0",
        "  out.0: subtract                4           0  left.1.1, right.1.1",
        "  out.1: dense, linear           1           5                out.0",
        "  21 parameters",
    ]


# --- the picture -------------------------------------------------------------------------------------------


def test_the_picture_of_a_spec(folder: Path, capsys: Capture) -> None:
    assert main(["show", "small.yaml", "--plot", "network.svg"]) == 0
    assert capsys.readouterr() == ("network.svg\n", "")
    assert "</svg>" in (folder / "network.svg").read_text()


def test_the_picture_of_a_run(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["show", "@last", "--plot", "network.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"figure": "network.png"}
    assert (folder / "network.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_shapes_says_why(folder: Path, capsys: Capture) -> None:
    data = "dataset={csv: {path: none.csv, target: y}}"
    assert main(["show", "small.yaml", "--set", data, "--plot", "network.svg"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "network.svg\n"
    assert printed.err == f"The picture has no shapes: {folder / 'none.csv'} does not exist.\n"


def test_a_picture_of_another_format_is_refused(folder: Path, capsys: Capture) -> None:
    assert main(["show", "small.yaml", "--plot", "network.pdf"]) == 2
    assert capsys.readouterr().err == ("error: --plot must name a .png or .svg file, but got network.pdf.\n")
    assert not (folder / "network.pdf").exists()
