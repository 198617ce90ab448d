"""`nnrun data show FILE`: whole screens, and what a script gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main

ROWS = 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lines = [
        f"{i if i % 5 else ''},{'red' if i % 3 else 'blue'},7,2024-01-{i + 1:02d},"
        f'{"many" if i == 20 else i},a text of {i} words or so,"key{i}"'
        for i in range(ROWS)
    ]
    path = tmp_path / "mine.csv"
    path.write_text("size,colour,same,day,mixed,note,key\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(*args: str) -> tuple[int, str, str]:
        code = main(["data", "show", *args])
        captured = capsys.readouterr()
        return code, captured.out.replace(f"{tmp_path}/", ""), captured.err.replace(f"{tmp_path}/", "")

    return run


def test_a_file(run: Any, path: Path) -> None:
    code, out, err = run(str(path))
    assert (code, err) == (0, "")
    head, table, warnings = out.split("\n\n")
    assert head.split("\n")[:2] == ["mine.csv: 24 rows, 7 columns", "mine.csv"]
    assert head.split("\n")[2].startswith("SHA-256 ")
    wanted = """\
COLUMN  TYPE      WHY                                      MISSING  VALUES
size    number    all values are numbers                         5  1 to 23, mean 11.895, 19 different
colour  category  2 different values                             0  red 16, blue 8
same    number    all values are numbers                         0  7 to 7, mean 7, 1 different
day     date      the values are dates                           0  2024-01-01 to 2024-01-24, 24 different
mixed   category  not all values are numbers                     0  0 1, 1 1, 2 1, 3 1, 4 1, 5 1, 6 1, 7 1, 1…
note    text      7 words a value, many of them different        0  7 to 7 words, mean 7
key     category  24 different values                            0  key0 1, key1 1, key10 1, key11 1, key12 1…
"""
    assert table + "\n" == wanted
    assert (
        warnings
        == """\
warning: column 'same' is 7 in every row
warning: column 'mixed' holds numbers in 23 of 24 values, and also 'many': correct those, or say that it is a
category (`types`)
warning: column 'key' has 24 different values in 24 rows: a network cannot generalize from such names; leave
it out of `inputs`
"""
    )


def test_a_row(run: Any, path: Path) -> None:
    code, out, err = run(str(path), "--row", "5")
    assert (code, err) == (0, "")
    assert (
        out
        == """\
mine.csv, row 5 (line 7)

size    -
colour  red
same    7
day     2024-01-06
mixed   5
note    a text of 5 words or so
key     key5
"""
    )


def test_json(run: Any, path: Path) -> None:
    code, out, err = run(str(path), "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["name"], document["rows"], len(document["source"]["sha256"])) == ("mine.csv", ROWS, 64)
    columns = {column["name"]: column for column in document["columns"]}
    assert columns["colour"]["values"] == [{"value": "red", "rows": 16}, {"value": "blue", "rows": 8}]
    assert columns["size"]["missing"] == 5
    assert columns["same"]["warnings"] == ["is 7 in every row"]
    assert columns["note"]["words"] == {"mean": 7.0, "min": 7, "max": 7}
    code, out, err = run(str(path), "--row", "0", "--json")
    assert json.loads(out)["values"]["size"] is None
    assert json.loads(out)["line"] == 2


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--row", "24"], 2, "error: There is no row 24 in 'mine.csv': it has 24 rows, counted from 0.\n"),
        (["--split", "test"], 2, "error: --split is for data sets; a file of rows is shown as it is.\n"),
        (["--num-words", "9"], 2, "error: --num-words is for data sets; a file of rows is shown as it is.\n"),
    ],
)
def test_what_a_file_does_not_have(run: Any, path: Path, args: list[str], code: int, said: str) -> None:
    assert run(str(path), *args) == (code, "", said)


def test_a_broken_file(run: Any, path: Path) -> None:
    path.write_text(path.read_text() + "1,2\n")
    assert run(str(path)) == (
        4,
        "",
        "error: mine.csv, line 26 has 2 fields, and the header names 7. Write an empty field where a value "
        "is missing.\n",
    )
    assert run(str(path.with_name("mime.csv")))[0] == 4


def test_a_folder_of_texts(run: Any, tmp_path: Path) -> None:
    for name in ("train/neg/1", "train/neg/2", "train/pos/1", "test/pos/1"):
        (tmp_path / "reviews" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reviews" / f"{name}.txt").write_text(f"the words of {name}")
    code, out, err = run(str(tmp_path / "reviews"))
    assert (code, err) == (0, "")
    assert "reviews: 3 training rows, 1 test rows" in out
    assert out.endswith(
        """
LABEL  CLASS  TRAIN  TEST
    0  neg        2     0
    1  pos        1     1

COLUMN  TYPE  MISSING  VALUES
text    text        0  4 to 4 words, mean 4
"""
    )
    code, out, err = run(str(tmp_path / "reviews"), "--row", "0", "--split", "test")
    assert out == "reviews, test row 0: target 1 (pos)\n\nthe words of test/pos/1\n"


def test_real_files(run: Any, data_dir: Path) -> None:
    for name, kinds in (
        ("tables/penguins.csv", "ccnnnnc"),
        ("tables/mpg.csv", "nnnnnnncc"),
        ("text/reuters.csv", "ttc"),
    ):
        code, out, _ = run(str(data_dir / name), "--json")
        assert code == 0
        assert "".join(column["type"][0] for column in json.loads(out)["columns"]) == kinds


def test_a_file_that_is_not_here_is_looked_for_in_the_data_folder(
    run: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert run("mine.csv")[0] == 4
    named = run("mine.csv", "--data-dir", str(tmp_path))
    monkeypatch.setenv("NNRUN_DATA_DIR", str(tmp_path))
    assert run("mine.csv") == named == run(str(path))
    (elsewhere / "mine.csv").write_text("a,y\n1,2\n3,4\n")
    assert run("mine.csv")[1].startswith("mine.csv: 2 rows, 2 columns")  # what is here comes first


def test_a_file_on_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i + 0.5},{['Gentoo', 'Adelie', 'Chinstrap'][i % 3]}" for i in range(30)]
    Path("birds.csv").write_text("\n".join(["flipper_length_mm,species", *rows]) + "\n")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["data", "show", "birds.csv"]) == 0
    head, *blocks = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert [line[:8] for line in head.split("\n")] == ["birds.cs", "SHA-256 "]  # its path is its name
    assert blocks == [
        """\
COLUMN             TYPE      MISSING  VALUES
flipper_length_mm  number          0  0.5 to 29.5, mean 15, 30 differ…
species            category        0  Adelie 10, Chinstrap 10, Gentoo…""",
        """\
flipper_length_mm: number (all values are numbers)
species: category (3 different values)""",
    ]


def test_a_warning_of_many_columns_is_said_once(run: Any, tmp_path: Path) -> None:
    header = ["y", *(f"z{i}" for i in range(5)), *(f"code{i}" for i in range(70))]
    rows = [[str(i), *["0"] * 5, *[f"0{i % 3}{j}" for j in range(70)]] for i in range(20)]
    (tmp_path / "wide.csv").write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    code, out, _ = run(str(tmp_path / "wide.csv"))
    assert code == 0
    assert "\nwarning: each of 5 columns ('z0', 'z1', 'z2' and 2 more) is 0 in every row\n" in out
    assert sum(line.startswith("warning: ") for line in out.splitlines()) == 64
    assert out.splitlines()[-1] == "... and 8 more warnings; --json shows all"  # of y too, an index
