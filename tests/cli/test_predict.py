"""`nnrun predict`: new rows in, predictions out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.cli import main
from tests.support.commands import forked_nnrun_for_a_shell, nnrun_command
from tests.support.small_experiments import BINARY, check_screen, numbers, only_run, write_small

Capture = pytest.CaptureFixture[str]
Stdin = Callable[[bytes], None]

# Four lengths in, one of three species out: the data set names its features and classes.
IRIS: dict[str, Any] = {
    "dataset": {"sklearn": "iris"},
    "preprocessing": {"inputs": "standardize"},
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "categorical_crossentropy",
    "optimizer": {"rmsprop": {"learning_rate": 0.01}},
    "epochs": 100,
    "validation": {"holdout": {"fraction": 0.2}},
}
FLOWERS = """species,petal length (cm),petal width (cm),sepal length (cm),sepal width (cm)
a,1.4,0.2,5.1,3.5
b,4.7,1.4,7.0,3.2
c,6.0,2.5,6.3,3.3
"""


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Stdin:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flowers(folder: Path, capsys: Capture) -> Path:
    write_small(folder, {**BINARY, **IRIS, "metrics": []})
    assert main(["train", "small.yaml", "-q"]) == 0
    (folder / "flowers.csv").write_text(FLOWERS)
    capsys.readouterr()
    return folder


@pytest.fixture
def folds(folder: Path, capsys: Capture) -> Path:
    write_small(folder)
    assert main(["kfold", "small.yaml", "--k", "3", "-q"]) == 0
    rows = numbers()["x_test"][:3]
    (folder / "rows.csv").write_text("".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()))
    capsys.readouterr()
    return folder


def test_the_screens_of_classes(flowers: Path, capsys: Capture) -> None:
    assert main(["predict", "@last", "flowers.csv"]) == 0
    check_screen("predict_classes", capsys.readouterr())
    assert main(["predict", "@last", "flowers.csv", "--probabilities"]) == 0
    check_screen("predict_probabilities", capsys.readouterr())
    assert main(["predict", "@last", "flowers.csv", "--probabilities", "--format", "jsonl"]) == 0
    check_screen("predict_jsonl", capsys.readouterr())
    assert main(["predict", "@last", "flowers.csv", "--json"]) == 0
    check_screen("predict_json", capsys.readouterr())
    assert main(["predict", "@last", "flowers.csv", "--interval", "0.9"]) == 0
    check_screen("predict_sets", capsys.readouterr())


def test_the_screens_of_numbers(folds: Path, capsys: Capture) -> None:
    assert main(["predict", "@last", "rows.csv"]) == 0
    check_screen("predict_folds", capsys.readouterr())
    assert main(["predict", "@last", "rows.csv", "--interval", "0.9"]) == 0
    check_screen("predict_interval", capsys.readouterr())
    assert main(["predict", "@last", "rows.csv", "--member", "fold-1"]) == 0
    check_screen("predict_member", capsys.readouterr())


def test_the_screens_of_bad_rows(folds: Path, capsys: Capture) -> None:
    (folds / "bad.csv").write_text("1,2,3\n1,two,3\n4,5,6\n1,2\n")
    assert main(["predict", "@last", "bad.csv"]) == 4
    check_screen("predict_bad_row", capsys.readouterr())
    assert main(["predict", "@last", "bad.csv", "--skip-bad"]) == 0
    check_screen("predict_skip_bad", capsys.readouterr())


def test_lines_of_separators(flowers: Path, capsys: Capture) -> None:
    """At the end they are counted and left out; before another row they are rows without values."""
    (flowers / "flowers.csv").write_text(FLOWERS + ",,,,\n,,,,\n")
    assert main(["predict", "@last", "flowers.csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "flowers.csv: left out 2 lines with only separators" in err
    (flowers / "flowers.csv").write_text(FLOWERS + ",,,,\n" + FLOWERS.splitlines()[1] + "\n")
    assert main(["predict", "@last", "flowers.csv"]) == 4
    assert "flowers.csv: row 3 (line 5) " in capsys.readouterr().err
    assert main(["predict", "@last", "flowers.csv", "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()] == ["row", "0", "1", "2", "4"]
    assert "row 3 (line 5) " in err


def test_a_missing_column_is_named(flowers: Path, capsys: Capture) -> None:
    (flowers / "short.csv").write_text("petal length (cm),sepal length (cm)\n1,2\n")
    assert main(["predict", "@last", "short.csv"]) == 4
    check_screen("predict_missing_column", capsys.readouterr())


def test_words_from_stdin(
    folder: Path, stdin: Stdin, capsys: Capture, specs_dir: Path, real_file: Callable[[str], Path]
) -> None:
    data = str(real_file("imdb_word_index.json").parent)
    assert main(["train", str(specs_dir / "imdb.yaml"), "--epochs", "4", "-q", "--data-dir", data]) == 0
    capsys.readouterr()
    stdin(b"a wonderful film\n")
    assert main(["predict", "@last", "-", "--data-dir", "nowhere"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("row,prediction,probability\n0,positive,0.")
    assert printed.err == "weights: epoch 4, the last and the best by val_loss\n"


def test_without_words_it_says_what_is_missing_and_where_to_put_it(
    folder: Path, keras_folder: Path, stdin: Stdin, capsys: Capture
) -> None:
    (keras_folder / "reuters_word_index.json").unlink()
    layers = [{"dense": {"units": 46, "activation": "softmax"}}]
    write_small(
        folder,
        {**BINARY, **IRIS, "metrics": []},
        dataset={"reuters": 50},
        preprocessing={"inputs": "multi_hot"},
        layers=layers,
        epochs=1,
    )
    assert main(["train", "small.yaml", "-q", "--data-dir", str(keras_folder)]) == 0
    capsys.readouterr()
    stdin(b"grain and wheat\n")
    assert main(["predict", "@last", "-", "--data-dir", str(keras_folder)]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    for part in (
        "kept no vocabulary",
        "reuters_word_index.json",
        "https://",
        str(keras_folder),
        "--data-dir",
    ):
        assert part in printed.err


def test_numbers_from_stdin(folds: Path, stdin: Stdin, capsys: Capture) -> None:
    assert main(["predict", "@last", "rows.csv"]) == 0
    expected = capsys.readouterr().out
    stdin((folds / "rows.csv").read_bytes())
    assert main(["predict", "@last", "-"]) == 0
    assert capsys.readouterr().out == expected


def test_json_lines_from_stdin_are_known_by_their_brace(folder: Path, stdin: Stdin, capsys: Capture) -> None:
    """Of a run on a table too, whose lines are else CSV; a bad value is told as in a file of JSON lines."""
    rows = [{"power": 50 + i % 40, "cylinders": 4 + i % 3, "mpg": 90 - i % 40} for i in range(60)]
    Path("cars.csv").write_text(
        "power,cylinders,mpg\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    )
    Path("cars.yaml").write_text(
        "dataset: {csv: {path: cars.csv, target: mpg}}\nlayers: [{dense: 1}]\nloss: mse\nepochs: 1\n"
        "preprocessing: {inputs: [quantile]}\n"
    )
    assert main(["train", "cars.yaml", "-q"]) == 0
    good = "\ufeff\n" + "".join(f" {json.dumps(row)}\n" for row in rows[:3])
    Path("cars.jsonl").write_text(good, encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", "@last", "cars.jsonl"]) == 0
    expected = capsys.readouterr().out
    assert len(expected.splitlines()) == 4
    stdin(good.encode())
    assert main(["predict", "@last", "-"]) == 0
    assert capsys.readouterr().out == expected
    stdin(b'{"power": "abc", "cylinders": 4}\n')
    assert main(["predict", "@last", "-"]) == 4
    told = "stdin: row 0 (line 1) has 'abc' in column 'power', which is not a finite number"
    assert told in capsys.readouterr().err
    stdin(b'{"power": 1,\n')
    assert main(["predict", "@last", "-"]) == 4
    assert "stdin: row 0 (line 1) is not JSON" in capsys.readouterr().err


def test_a_file_holds_what_stdout_would(flowers: Path, capsys: Capture) -> None:
    assert main(["predict", "@last", "flowers.csv"]) == 0
    expected = capsys.readouterr().out
    assert main(["predict", "@last", "flowers.csv", "-o", "out/p.csv", "-q"]) == 0
    assert capsys.readouterr() == ("3 predictions in out/p.csv\n", "")
    assert (flowers / "out" / "p.csv").read_text() == expected
    assert main(["predict", "@last", "flowers.csv", "-o", "p.jsonl", "-q", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["output"]) == (3, "p.jsonl")
    lines = [json.loads(line) for line in (flowers / "p.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == ["setosa", "versicolor", "virginica"]


def test_a_file_is_written_whole_or_not_at_all(folds: Path, capsys: Capture) -> None:
    (folds / "p.csv").write_text("as it was")
    (folds / "bad.csv").write_text("1,2,3\n" * 5000 + "1,x,3\n")
    before = sorted(path.name for path in folds.iterdir())
    assert main(["predict", "@last", "bad.csv", "-o", "p.csv"]) == 4
    assert (folds / "p.csv").read_text() == "as it was"
    assert sorted(path.name for path in folds.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rows.xlsx"], 2, "must end in .csv"),
        (["nothing.csv"], 2, "There is no file nothing.csv"),
        (["rows.csv", "--probabilities"], 2, "predicts numbers, which have no probabilities"),
        (["rows.csv", "--member", "fold-7"], 2, "has fold-0, fold-1 and fold-2"),
        (["rows.csv", "-o", "rows.csv"], 2, "is the input file"),
        (["rows.csv", "-o", "/dev/null"], 2, "is not a regular file"),
        (["rows.csv", "-o", "p.csv.gz"], 2, "pipe through gzip"),
        (["rows.csv", "-o", "p.parquet"], 2, "as CSV (.csv) or as JSON lines (.jsonl), not as .parquet"),
        (["rows.csv", "-o", "p.TSV"], 2, "as CSV (.csv) or as JSON lines (.jsonl), not as .tsv"),
        (["rows.csv", "-o", "."], 2, "is not a regular file"),
        (["rows.csv", "--format", "xml"], 2, "'--format'"),
        (["empty.csv"], 4, "empty.csv holds no rows"),
    ],
)
def test_what_cannot_be(arguments: list[str], code: int, said: str, folds: Path, capsys: Capture) -> None:
    (folds / "empty.csv").touch()
    assert main(["predict", "@last", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(("form", "begins"), [("csv", "row,prediction\n0,"), ("jsonl", '{"row": 0, ')])
def test_with_a_format_any_name_is_taken(form: str, begins: str, folds: Path) -> None:
    assert main(["predict", "@last", "rows.csv", "-q", "-o", "p.json", "--format", form]) == 0
    assert (folds / "p.json").read_text().startswith(begins)


def test_json_is_one_document_also_where_it_fails(folds: Path, capsys: Capture) -> None:
    assert main(["predict", "@last", "rows.csv", "--json", "--format", "jsonl"]) == 2
    assert "leave --format out" in json.loads(capsys.readouterr().out)["message"]
    (folds / "bad.csv").write_text("1,2,3\n" * 5000 + "1,x,3\n")
    assert main(["predict", "@last", "bad.csv", "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert (document["error"], document["exit_code"]) == ("DataError", 4)
    assert "row 5000 (line 5001)" in document["message"]


def test_a_reader_that_goes_away_is_no_fault(folds: Path) -> None:
    rows = np.random.RandomState(0).normal(5, 2, (20_000, 3))
    np.savetxt(folds / "many.csv", rows, delimiter=",")
    nnrun, server = forked_nnrun_for_a_shell(folds)
    command = f"{nnrun} predict @last many.csv -q | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command], cwd=folds, pass_fds=[server], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "row,prediction\n", "")


def test_memory_does_not_grow_with_the_rows(folds: Path) -> None:
    """300,000 rows of 17 MB take hardly more than three."""
    with (folds / "many.csv").open("w") as file:
        for i in range(300_000):
            file.write(f"{i / 300_000:.15f},{1 - i / 300_000:.15f},{i % 7:.15f}\n")
    code = (
        "import resource, sys; from nnrun.cli import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )

    def peak_kb(name: str) -> int:
        arguments = ["predict", str(only_run(folds / "runs")), name, "-o", f"out-{name}"]
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=folds, capture_output=True, text=True, check=True
        )
        return int(result.stdout.splitlines()[-1])

    few, many = peak_kb("rows.csv"), peak_kb("many.csv")
    with (folds / "out-many.csv").open() as file:
        assert sum(1 for _ in file) == 300_001
    assert many - few < 25_000


def test_the_installed_command_reads_a_pipe(folds: Path) -> None:
    result = nnrun_command("predict", "@last", "rows.csv", "-q", cwd=folds)
    assert result.returncode == 0
    piped = nnrun_command("predict", "@last", "-", "-q", cwd=folds, input=(folds / "rows.csv").read_text())
    assert (piped.returncode, piped.stdout, piped.stderr) == (0, result.stdout, "")


# --- rows of the data set ----------------------------------------------------------------------------------


def test_the_data_set_s_own_rows_in_every_form(flowers: Path, capsys: Capture) -> None:
    base = ["predict", "@last", "--split", "validation", "-q", "--probabilities"]
    assert main([*base, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["split"], document["rows"], document["look"]) == ("validation", 30, None)
    assert document["weights"]["epoch"] == 100
    first = document["predictions"][0]
    assert list(first) == ["row", "target", "prediction", "probability", "probabilities"]
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert main(base) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("row,target,prediction,probability,probability_setosa")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        [str(p["row"]), p["target"], p["prediction"]] for p in document["predictions"]
    ]
    assert main([*base, "--format", "jsonl"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == document["predictions"]


def test_a_look_at_the_test_set_is_told(folder: Path, capsys: Capture) -> None:
    write_small(folder)
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["predict", "@last", "--split", "test"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("row,target,prediction\n0,")
    assert "This is the 1st look at the small test set by experiments named 'small'" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither is given"),
        (["x.csv", "--split", "train"], "both are given"),
        (["--split", "train", "--skip-bad"], "--skip-bad is for the rows of INPUT"),
        (["x.csv", "--allow-unknown"], "--allow-unknown is for --split"),
    ],
)
def test_input_and_split_exclude_each_other(
    arguments: list[str], message: str, folder: Path, capsys: Capture
) -> None:
    assert main(["predict", "@last", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_line_of_blanks_is_a_row_to_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Else the numbers of the rows behind it would shift, without a word."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{word} film,{word}" for word in ("good", "bad") * 12]
    Path("t.csv").write_text("\n".join(["text,y", *rows]) + "\n")
    Path("t.yaml").write_text(
        "dataset: {csv: {path: t.csv, target: y, types: {text: text}}}\npreprocessing: {inputs: [text]}\n"
        "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\nepochs: 1\n"
    )
    Path("n.csv").write_text("\n".join(["a,b,y", *(f"{i},{i % 5},{2 * i}" for i in range(24))]) + "\n")
    Path("n.yaml").write_text("dataset: {csv: {path: n.csv, target: y}}\nlayers: [{dense: 1}]\nloss: mse\n")
    Path("texts.csv").write_text("text\ngood film\n \nbad film\n")
    Path("numbers.csv").write_text("a,b\n1,2\n \n3,4\n")
    assert main(["train", "t.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["predict", "@last", "texts.csv"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["row", "0", "1", "2"]
    assert main(["train", "n.yaml", "-q"]) == 0
    assert main(["predict", "@last", "numbers.csv"]) == 4
    assert "row 1 (line 3) has 1 field; its first line has 2" in capsys.readouterr().err


@pytest.mark.parametrize(("decimal", "field", "right"), [(",", "16.01", "16,01"), (".", "16,01", "16.01")])
def test_a_number_in_another_spelling_than_the_run_s_is_told_as_one(
    decimal: str, field: str, right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i}.25;{i % 7}.5;{2 * i}.5".replace(".", decimal) for i in range(24)]
    Path("t.csv").write_text("\n".join(["a;b;y", *rows]) + "\n")
    Path("t.yaml").write_text(
        f"dataset: {{csv: {{path: t.csv, target: y, delimiter: ';', decimal: '{decimal}'}}}}\n"
        "layers: [{dense: 1}]\nloss: mse\nepochs: 1\nbatch_size: 8\nvalidation: none\n"
    )
    assert main(["train", "t.yaml", "-q"]) == 0
    expected = (
        f"has '{field}' in column 'b', which is a number in another spelling (this column has a decimal "
        f"{'comma' if decimal == ',' else 'point'} and no thousands separator: write {right})"
    )
    Path("new.csv").write_text(f"a;b\n1{decimal}5;{field}\n")
    Path("new.jsonl").write_text(json.dumps({"a": 1.5, "b": field}) + "\n")
    for file in ("new.csv", "new.jsonl"):
        capsys.readouterr()
        assert main(["predict", str(only_run(Path("runs"))), file]) == 4
        assert expected in capsys.readouterr().err
    Path("t.csv").write_text("\n".join(["a;b;y", *rows, rows[0].replace(f"0{decimal}25", field)]) + "\n")
    assert main(["train", "t.yaml", "-q"]) == 4
    assert f"'{field}' is a number in another spelling" in capsys.readouterr().err
