"""What `nnrun check` says of a file that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.spec.reading.load import load_spec

NUMBERS = "layers: [{dense: 1}]\nloss: mse\n"
CLASSES = (
    "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\nmetrics: [accuracy]\n"
)
ROWS = "a,b,z,y,label\n" + "".join(
    f"{i % 7},{i % 5},{i % 3},{i * 1.5},{'yes' if i < 2 else 'no'}\n" for i in range(60)
)


def spec(folder: Path, target: str, rest: str, more: str = "") -> Path:
    (folder / "t.csv").write_text(ROWS.replace("\n3,3,0,4.5,", "\n3,3,0,,"))
    (folder / "s.yaml").write_text(
        f"dataset: {{csv: {{path: t.csv, target: {target}, inputs: [a, b]{more}}}}}\n{rest}"
    )
    return folder / "s.yaml"


@pytest.mark.parametrize(
    ("target", "rest", "more", "said"),
    [
        ("y", NUMBERS, "", "the target is missing"),
        ("y", NUMBERS, ", drop_missing_target: true", None),
        (
            "[z, label]",
            NUMBERS,
            "",
            "'yes' is not a number, and the targets of one output must all be numbers",
        ),
        ("[y, label]", NUMBERS, "", "t.csv --target y --target label` writes it."),
        ("lable", CLASSES, "", "has no column 'lable'"),
        ("label", NUMBERS, "", "The data do not match the spec"),
        ("label", CLASSES, "", None),
        ("label", CLASSES + "validation: {kfold: {k: 3, stratify: true, shuffle: true}}\n", "", "2"),
        ("y", CLASSES, ", drop_missing_target: true", "binary_crossentropy"),
    ],
)
def test_what_training_would_refuse(
    target: str, rest: str, more: str, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec(tmp_path, target, rest, more)
    errors = [problem for problem in problems_of_data(load_spec(path)) if problem.severity == "error"]
    assert bool(errors) == (said is not None)
    assert said is None or said in errors[0].message
    checked = main(["check", str(path)])
    trained = main(["train", str(path), "-q", "--runs-dir", str(tmp_path / "runs")])
    assert (checked, trained) == ((0, 0) if said is None else (4, 4))


def test_uneven_classes_are_told_once_nothing_sees_them(tmp_path: Path) -> None:
    (problem,) = problems_of_data(load_spec(spec(tmp_path, "label", CLASSES)))
    assert problem.severity == "warning"
    assert problem.message == (
        "class 'yes' has only 2 of 60 rows (3.3 %): always predicting 'no' gets an accuracy of 96.6 %; write "
        "`metrics: [accuracy, f1, average_precision]` and `class_weight: balanced`"
    )
    for rest in (CLASSES.replace("accuracy", "f1"), CLASSES + "class_weight: balanced\n"):
        assert problems_of_data(load_spec(spec(tmp_path, "label", rest))) == ()


def test_what_training_doubts_about_columns_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers in another spelling that are categories, an index that is no input."""
    lines = [f"{i};{i % 7},{i % 4};{i % 3}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([";a;y", *lines]) + "\n")
    path = tmp_path / "t.yaml"
    path.write_text("dataset: {csv: {path: t.csv, target: y}}\nlayers: [dense: 1]\nloss: mse\n")
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert main(["train", str(path), "--epochs", "1", "--runs-dir", str(tmp_path / "runs")]) == 0
    trained = capsys.readouterr().err
    for said in ("`decimal: ','` reads", "column 'Unnamed: 0' is left out as an index"):
        assert said in out
        assert said in trained
    assert out.splitlines()[-1] == f"{path}: ok, 2 warnings"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("csv: {path: gone.csv, target: y}", "gone.csv"),
        ("jsonl: {path: gone.jsonl, target: y}", "gone.jsonl"),
        ("npz: gone.npz", "gone.npz"),
        ("text_folder: gone", "gone"),
    ],
)
def test_data_that_do_not_exist_are_told_of(
    dataset: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"dataset: {{{dataset}}}\n" + (CLASSES if "folder" in dataset else NUMBERS))
    near = f"{name[:2]}{name[1:]}"  # goone.csv
    (tmp_path / near).mkdir()
    said = f"{tmp_path / name} does not exist. The folder has '{near}': did you mean that?"
    (problem,) = problems_of_data(load_spec(path))
    assert (problem.message, problem.line) == (said, 1)
    assert main(["check", str(path)]) == 4
    out, err = capsys.readouterr()
    assert said in out
    assert (out.splitlines()[-1], err) == (f"{path}: 1 error", "")
    assert main(["check", str(path), "--json"]) == 4
    (found,) = json.loads(capsys.readouterr().out)["specs"]
    assert (found["problems"][0]["message"], found["ok"], found["note"]) == (said, False, None)
    assert main(["train", str(path), "-q", "--runs-dir", str(tmp_path / "runs")]) == 4
    assert said in capsys.readouterr().err


def test_what_contradicts_a_layer_is_told_at_its_line(tmp_path: Path) -> None:
    last = "layers:\n- dense: {units: 5, activation: softmax}\nloss: categorical_crossentropy\n"
    path = spec(tmp_path, "label", last)
    (problem,) = problems_of_data(load_spec(path))
    assert problem.message.startswith("The data do not match the spec: ")
    assert "units must be 2; found 5" in problem.message
    assert (problem.line, problem.snippet) == (3, "- dense: {units: 5, activation: softmax}")


def test_test_rows_that_do_not_exist_are_told_of_at_their_line(tmp_path: Path) -> None:
    path = spec(tmp_path, "y", NUMBERS, ", drop_missing_target: true,\n  test: {path: later.csv}")
    (problem,) = problems_of_data(load_spec(path))
    assert (problem.message, problem.line) == (f"{tmp_path / 'later.csv'} does not exist.", 2)


def test_a_large_file_is_not_read_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nnrun.experiment.setup.check_data._MOST_BYTES", 2**8)
    path = spec(tmp_path, "y", NUMBERS)  # its target has a gap, which is an error of the data
    assert main(["check", str(path)]) == 0
    assert "t.csv is larger than 0 MiB, so only the spec was checked" in capsys.readouterr().err


def test_data_that_were_read_have_no_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(tmp_path, "y", NUMBERS, ", drop_missing_target: true")
    assert main(["check", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["specs"][0]["note"], err) == (None, "")


NAMED = """
dataset: {csv: {path: t.csv}}
inputs:
  numbers: {columns: [a, b]}
  kinds: {columns: [z], preprocessing: {one_hot: [z]}}
layers:
  trunk: [LAYERS]
  y: [from: trunk, dense: 1]
  label: [from: trunk, dense: {units: 1, activation: sigmoid}]
outputs:
  y: {loss: mse, preprocessing: standardize}
  label: {loss: binary_crossentropy, metrics: [accuracy]}
"""


def test_layers_that_do_not_fit_the_rows_are_told_at_their_line(tmp_path: Path) -> None:
    layers = "layers:\n- reshape: [3, 1]\n- flatten\n- dense: 1\nloss: mse\n"
    (problem,) = problems_of_data(load_spec(spec(tmp_path, "y", layers, ", drop_missing_target: true")))
    assert (problem.line, problem.path, problem.severity) == (3, "layers[0].reshape.target_shape", "error")
    assert problem.message.startswith("reshape to (3, 1) holds 3 numbers; the inputs give (2)")


def test_the_width_of_each_named_input_is_known_once_its_steps_are_fitted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(ROWS)
    (tmp_path / "s.yaml").write_text(NAMED.replace("LAYERS", "add: [numbers, kinds]"))
    misfit, rare = problems_of_data(load_spec(tmp_path / "s.yaml"))
    assert (misfit.line, misfit.path, misfit.severity) == (7, "layers.trunk[0].add", "error")
    assert "numbers gives (2), kinds gives (3)" in misfit.message
    assert rare.severity == "warning"
    assert rare.message.startswith("the output 'label': class 'yes' has only 2 of 60 rows")
    (tmp_path / "s.yaml").write_text(NAMED.replace("LAYERS", "concatenate: [numbers, kinds]"))
    assert [problem.severity for problem in problems_of_data(load_spec(tmp_path / "s.yaml"))] == ["warning"]
