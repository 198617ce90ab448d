"""`nnrun init`: from a file to a spec that passes `check` and trains."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from nnrun.cli import main
from tests.support.commands import nnrun_command
from tests.support.small_experiments import check_screen, only_run, record_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_rows(name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_birds(name: str = "birds.csv") -> None:
    """Like the penguins: three kinds, numbers with a gap, two categories, a counter, a constant."""
    rng = random.Random(0)
    rows: list[list[object]] = []
    for i in range(60):
        kind = i % 3
        length = "" if i == 7 else f"{35 + 6 * kind + rng.gauss(0, 2):.1f}"
        rows.append(
            [i + 1, ("Adelie", "Gentoo", "Chinstrap")[kind], length, rng.choice(["F", "M"]), "Antarctica"]
        )
    write_rows(name, "bird_id,species,bill_mm,sex,continent", rows)


def write_passengers(name: str = "passengers.csv") -> None:
    """Like the Titanic's: 0 and 1, and the same once more as yes and no."""
    rng = random.Random(1)
    rows: list[list[object]] = []
    for i in range(120):
        lived = int(i % 13 == 0)
        rows.append([lived, rng.randint(1, 3), f"{rng.uniform(1, 80):.0f}", f"N. {i}", ["no", "yes"][lived]])
    write_rows(name, "survived,class,age,name,alive", rows)


def write_cars(name: str = "mpg.csv", rows: int = 40) -> None:
    """Like the cars: a number that is called as the file is, in front."""
    rng = random.Random(2)
    made: list[list[object]] = []
    for _ in range(rows):
        weight = rng.randint(1600, 5000)
        made.append([f"{50 - weight / 120 + rng.gauss(0, 2):.1f}", weight, rng.choice(["usa", "japan"])])
    write_rows(name, "mpg,weight,origin", made)


# --- screens and specs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "name"), [(write_birds, "birds"), (write_passengers, "passengers"), (write_cars, "mpg")]
)
def test_the_screens_and_the_specs(write: Callable[[], None], name: str, capsys: Capture) -> None:
    write()
    assert main(["init", f"{name}.csv", "--yes"]) == 0
    printed = capsys.readouterr()
    printed = printed._replace(out=f"{printed.out}--- {name}.yaml\n{Path(f'{name}.yaml').read_text()}")
    check_screen({"birds": "init_birds", "passengers": "init_passengers", "mpg": "init_cars"}[name], printed)
    trains(f"{name}.yaml", capsys)


def test_what_the_rows_show_at_once_is_said(capsys: Capture) -> None:
    """Three rows once more at the end, and a column that is mostly empty."""
    rng = random.Random(3)
    rows = [
        [rng.choice("ab"), f"{rng.gauss(0, 1):.4f}", rng.choice(["", "", "", "", "", "5"])] for _ in range(50)
    ]
    write_rows("copies.csv", "kind,x,rare", [*rows, *rows[:3]])
    assert main(["init", "copies.csv", "--target", "kind", "--yes"]) == 0
    out = capsys.readouterr().out
    said = (
        "3 of 53 rows equal an earlier one in all inputs, 3 of them in the target too; 'rare' has a value in"
    )
    assert f"\n  data?       {said}" in out
    assert "\n       nnrun data check copies.yaml   to see which rows and columns, and what else\n" in out
    assert main(["init", "copies.csv", "--target", "kind", "--yes", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"]["data?"].startswith(said)


def test_several_targets_have_an_output_each(capsys: Capture) -> None:
    """One of classes, and a number that one row lacks."""
    write_birds()
    assert main(["init", "birds.csv", "--target", "species", "--target", "bill_mm"]) == 0
    printed = capsys.readouterr()
    printed = printed._replace(out=f"{printed.out}--- birds.yaml\n{Path('birds.yaml').read_text()}")
    check_screen("init_outputs", printed)
    trains("birds.yaml", capsys)
    assert main(["init", "birds.csv", "--target", "species, bill_mm", "-o", "again.yaml"]) == 0
    assert Path("again.yaml").read_text() == Path("birds.yaml").read_text()
    Path("commas.csv").write_text(
        'a,"b, c",b,c\n' + "".join(f"{i},{i % 7},{i % 5},{i % 3}\n" for i in range(40))
    )
    assert main(["init", "commas.csv", "--target", "b, c", "--yes"]) == 0  # a column has that name
    assert yaml.safe_load(Path("commas.yaml").read_text())["dataset"]["csv"]["target"] == "b, c"


def test_a_folder_of_texts(capsys: Capture) -> None:
    for part in ("train", "test"):
        for kind in ("good", "bad"):
            folder = Path("films", part, kind)
            folder.mkdir(parents=True)
            for i in range(8):
                (folder / f"{i}.txt").write_text(f"this film was {kind}, really {kind}, number {i}")
    Path("specs").mkdir()
    assert main(["init", "films", "-o", "specs/films.yaml"]) == 0
    printed = capsys.readouterr()
    printed = printed._replace(out=f"{printed.out}--- films.yaml\n{Path('specs/films.yaml').read_text()}")
    check_screen("init_folder", printed)
    trains("specs/films.yaml", capsys)


def test_the_list_and_a_copy(specs_dir: Path, capsys: Capture) -> None:
    assert main(["init", "--list"]) == 0
    check_screen("init_list", capsys.readouterr())
    assert main(["init", "--example", "reuters"]) == 0
    check_screen("init_example", capsys.readouterr())
    assert main(["check", "reuters.yaml"]) == 0
    capsys.readouterr()
    assert main(["init", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == sorted(path.stem for path in specs_dir.glob("*.yaml"))


def test_json(capsys: Capture) -> None:
    write_birds()
    assert main(["init", "birds.csv", "--yes", "-o", "b.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["spec"] == "b.yaml"
    assert document["chosen"]["task"] == "classification, 3 classes"


def trains(spec: str, capsys: Capture) -> None:
    """`check` finds nothing at all, and two epochs go through."""
    assert main(["check", spec]) == 0
    assert capsys.readouterr().out == f"{spec}: ok\n"
    code = main(["train", spec, "-q", "--epochs", "2"])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")


# --- hostile and odd files ---------------------------------------------------------------------------------

ROWS = range(24)
FILES: dict[str, tuple[str, list[list[object]]]] = {
    "target of two numbers": ("a,b", [[i * 1.5, 7 if i % 3 else 9] for i in ROWS]),
    "negative whole numbers as classes": ("a,target", [[i * 0.7, i % 3 - 1] for i in range(40)]),
    "one number": ("a,target", [[i * 0.7, i**2 / 3] for i in ROWS]),
    "a column of nothing": ("a,empty,target", [[i % 5, "", "xy"[i % 2]] for i in ROWS]),
    "a number nearly everywhere missing": ("a,b,y", [[i % 5, i if i < 4 else "", "xy"[i % 2]] for i in ROWS]),
    "a category often missing": ("a,b,y", [[i % 5, "uv"[i % 2] if i < 5 else "", "xy"[i % 2]] for i in ROWS]),
    "truth": ("a,flag,label", [[i % 7, i % 2 == 0, i % 3 == 0] for i in ROWS]),
    "dates": ("day,a,y", [[f"2026-01-{i + 1:02d}", i % 4, "xy"[i % 2]] for i in ROWS]),
    "quotes": ('"a ""b""",\'c\',y', [[i % 4, '"say ""x"", now"', "xy"[i % 2]] for i in ROWS]),
    "commas and newlines in values": (
        "a,b,y",
        [[i % 4, f'"{"uv"[i % 3 > 0]},\n#"', "xy"[i % 2]] for i in ROWS],
    ),
    "names of YAML": (
        'no,1e3,": #",- a,{x},[y],null,~,&a,*b,!c,%d,@e,`f`,12:30,012,true',
        [[i % 4, i % 5, i % 6, *([i % 7] * 13), "yes" if i % 2 else "no"] for i in ROWS],
    ),
    "a target named as YAML's no": ("a,no", [[i * 0.3 % 2, "on" if i % 2 else "off"] for i in ROWS]),
    "names of other scripts": ("größe,年齢,класс", [[i % 4, i * 0.1, ["да", "нет"][i % 2]] for i in ROWS]),
    "an emoji and a blank": ("a 😀,b c,class", [[i % 4, i * 0.1, "xy"[i % 2]] for i in ROWS]),
    "a name of two lines": ('"a\nb",c,y', [[i % 4, i * 0.1, "xy"[i % 2]] for i in ROWS]),
    "four rows": ("a,y", [[1, "x"], [2, "y"], [3, "x"], [5, "y"]]),
    "five rows of numbers": ("a,y", [[1, 2.5], [2, 4], [3, 7], [5, 8], [7, 1.5]]),
    "huge numbers": ("a,y", [[i * 1e30, i**2 * 1e15 + 0.5] for i in ROWS]),
    "a mistyped number": ("a,b,y", [[i if i != 9 else "1O", i % 5, "xy"[i % 2]] for i in range(60)]),
    "an input that is the target": ("a,y", [[f"v{i % 2}", "xy"[i % 2]] for i in ROWS]),
    "a line": ("a,y", [[i * 0.5, 3 * i + 0.5] for i in ROWS]),
    "a rare class": ("a,y", [[i % 7, "xyz"[min(i // 11, 2)]] for i in ROWS]),
    "only a counter": ("id,y", [[i, "xy"[i % 2]] for i in ROWS]),
    "texts": ("words,y", [[f"so many words in row {i}", "xy"[i % 2]] for i in ROWS]),
    "texts and numbers": ("words,n,y", [[f"so many words in row {i}", i % 5, i / 7] for i in ROWS]),
    "many classes": ("a,b,y", [[i % 7, i % 19, f"c{i % 40}"] for i in range(1500)]),
    "a class of three of many rows": ("a,y", [[i % 7, "z" if i < 3 else "xy"[i % 2]] for i in range(1200)]),
    "a class of two of many rows": ("a,y", [[i % 7, "z" if i < 2 else "xy"[i % 2]] for i in range(1200)]),
    "a class of three of very many": ("a,y", [[i % 7, "z" if i < 3 else "xy"[i % 2]] for i in range(3000)]),
    "more classes than a fifth of the rows": (
        "a,y",
        [[i * 7 % 10, f"c{i % 400}"] for i in range(1600)],
    ),
    "many values": ("a,y", [[f"v{i % 60}", "xy"[i * 7 % 11 % 2]] for i in range(900)]),
    "many columns": (",".join(f"c{j}" for j in range(30)) + ",y", [[*range(i, i + 30), i % 2] for i in ROWS]),
}


@pytest.mark.parametrize("name", FILES)
def test_the_spec_of_any_file_passes_check_and_trains(name: str, capsys: Capture) -> None:
    header, rows = FILES[name]
    write_rows("f.csv", header, rows)
    assert main(["init", "f.csv", "--yes"]) == 0
    capsys.readouterr()
    trains("f.yaml", capsys)


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        (
            "kind",
            [["x"], ["y"]] * 4,
            "f.csv: no column is left to learn 'kind' from, which is its only column.",
        ),
        (
            "a,b",
            [["", 1], ["", 1]] * 4,
            "f.csv: no column can be the target: 'a' has no value in any row; 'b' is the same in every row. "
            "To predict one of them anyway, name it: --target COLUMN.",
        ),
        (
            "a,b",
            [[f"n{i}", f"m{i}"] for i in range(6)],
            "f.csv: no column can be the target: 'a' has 6 different values in 6 rows; these cannot be "
            "classes; "
            "'b' has 6 different values in 6 rows; these cannot be classes. To predict one of them anyway, "
            "name it: --target COLUMN.",
        ),
        (
            "a,y",
            [[1, "x"], [2, "x"], [3, "z"]],
            "f.csv: no column can be the target: 'a' has a value in only 3 rows; 'y' has a value in",
        ),
        ("a,y", [], "f.csv has columns and no rows"),
    ],
)
def test_a_file_without_anything_to_learn_is_refused(
    header: str, rows: list[list[object]], sentence: str, capsys: Capture
) -> None:
    write_rows("f.csv", header, rows)
    assert main(["init", "f.csv", "--yes"]) == 4
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {sentence}")
    assert printed.out == ""
    assert not Path("f.yaml").exists()


def test_other_kinds_of_files(capsys: Capture) -> None:
    write_rows("t.csv", "a,y", [[i % 5, i % 3] for i in range(60)])
    rows = [{"a": i % 5, "ok": i % 2 == 0, "y": i % 3} for i in range(60)]
    Path("j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("v.tsv").write_text("a\ty\n" + "".join(f"{i % 5}\t{i % 3}\n" for i in range(60)))
    for name in ("t.csv", "j.jsonl", "v.tsv"):
        assert main(["init", name, "--yes"]) == 0
        capsys.readouterr()
        trains(name.split(".")[0] + ".yaml", capsys)


def test_parquet(capsys: Capture) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    import pandas as pd

    frame = pd.DataFrame({"a": [i % 5 for i in range(60)], "ok": [i % 2 == 0 for i in range(60)]})
    frame.assign(y=[i % 3 for i in range(60)]).to_parquet("p.parquet")
    assert main(["init", "p.parquet", "--yes"]) == 0
    capsys.readouterr()
    trains("p.yaml", capsys)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("".join(f"{i % 7}.5,{i % 5}.25,{i % 3}.125\n" for i in range(60)), "header: false"),
        ("a,y\n" + "".join(f'"{i % 7 + 1},{i:03}",{i}\n' for i in range(60)), 'thousands: ","'),
        ("a;y\n" + "".join(f"{i % 7},{i:02};{i}\n" for i in range(60)), 'decimal: ","'),
        (
            "a,y\n" + "".join(f"{'?' if i % 9 == 4 else i % 7},{i * 7 % 90}\n" for i in range(90)),
            'missing: ["?"]',
        ),
    ],
)
def test_the_screen_says_how_the_file_is_read(text: str, keys: str, capsys: Capture) -> None:
    Path("t.csv").write_text(text, encoding="utf-8")
    assert main(["init", "t.csv", "--yes"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  read with"))
    assert keys in line
    assert keys in Path("t.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("spelled", ["{}", "{},0"])
def test_a_mark_among_labels_is_a_missing_target(spelled: str, capsys: Capture) -> None:
    lines = [f"{i * 5 % 13};{'?' if i % 10 == 4 else spelled.format(i % 3)}" for i in range(90)]
    Path("t.csv").write_text("\n".join(["a;y", *lines]) + "\n", encoding="utf-8")
    assert main(["init", "t.csv", "--yes", "--task", "classification"]) == 0
    screen = capsys.readouterr().out
    assert "classification, 3 classes" in screen
    assert "81 of 90" in screen
    assert 'missing: ["?"]' in Path("t.yaml").read_text(encoding="utf-8")
    trains("t.yaml", capsys)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (lambda i: int(i == 30), "has the class '1' in a single row"),
        (lambda i: 1, "is the same in every row"),
        (lambda i: i + 1, "numbers or names the rows"),
        (lambda i: f"note {i}", "has 60 different values in 60 rows"),
    ],
)
@pytest.mark.parametrize("name", ["label", "Target", "y"])
def test_a_column_called_like_a_target_that_cannot_be_one_is_named(
    name: str, values: Callable[[int], object], why: str, capsys: Capture
) -> None:
    write_rows("t.csv", f"a,b,{name}", [[i * 0.5, i * i % 11 * 0.25, values(i)] for i in range(60)])
    assert main(["init", "t.csv", "--yes"]) == 0
    screen = capsys.readouterr().out
    assert f"passed over '{name}' {why}" in " ".join(screen.split())
    assert f"    # not the target: '{name}' {why}"[:60] in Path("t.yaml").read_text()
    assert main(["init", "t.csv", "--yes", "--target", "a", "--force"]) == 0
    assert "passed over" not in capsys.readouterr().out, "somebody has chosen"


def test_the_next_commands_can_be_pasted_whatever_the_file_is_called(capsys: Capture) -> None:
    write_cars("Ann's $5;cars.csv")
    assert main(["init", "Ann's $5;cars.csv", "--yes", "--target", "mpg", "-o", "a&b.yaml"]) == 0
    assert capsys.readouterr().out.endswith(
        "\nNext   nnrun check 'a&b.yaml'\n       nnrun train 'a&b.yaml'\n"
    )
    assert main(["init", "Ann's $5;cars.csv", "--yes"]) == 0
    commands = [line for line in capsys.readouterr().out.split("\n") if " nnrun " in line]
    quoted = "'Ann'\"'\"'s $5;cars"
    assert commands == [
        f"Next   nnrun check {quoted}.yaml'",
        f"       nnrun train {quoted}.yaml'",
        f"       nnrun init {quoted}.csv' --target COLUMN --force   to predict another column",
    ]


# --- what the command line says ----------------------------------------------------------------------------


def test_another_target_and_task(capsys: Capture) -> None:
    write_cars()
    assert main(["init", "mpg.csv", "--target", "origin"]) == 0  # texts can only be classes: nothing to ask
    assert "loss: binary_crossentropy" in Path("mpg.yaml").read_text()
    assert main(["init", "mpg.csv", "--target", "weight", "--task", "regression", "--force"]) == 0
    assert "    target: weight\n" in Path("mpg.yaml").read_text()


def test_without_a_terminal_a_target_is_enough_and_what_is_taken_is_said(capsys: Capture) -> None:
    write_cars()
    assert main(["init", "mpg.csv", "--target", "weight"]) == 0
    out, err = capsys.readouterr()
    assert "  task        regression\n" in out
    assert err == "'weight' is predicted as regression (--task classification for the other).\n"
    assert "loss: mse" in Path("mpg.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "init needs a FILE, or --example NAME (--list shows them)."),
        (["mpg.csv", "--example", "reuters"], 2, "init needs a FILE, or --example NAME"),
        (
            ["mpg.csv"],
            2,
            "--target (by default 'mpg', it has the same name as the file) is not given, and there is no "
            "terminal "
            "to ask on. Add it, or --yes for the defaults.",
        ),
        (
            ["mpg.csv", "--target", "wieght", "--yes"],
            2,
            "mpg.csv has no column 'wieght'. Did you mean 'weight'? It has 'mpg', 'weight' and 'origin'.",
        ),
        (
            ["mpg.csv", "--target", "origin", "--task", "regression"],
            2,
            "mpg.csv: column 'origin' holds texts, not numbers, so it can only be predicted as classes: "
            "--task classification.",
        ),
        (
            ["mpg.csv", "--target", "weight", "--task", "classification"],
            4,
            "mpg.csv: column 'weight' cannot be the target: it has 4",
        ),
        (
            ["gap.csv", "--target", "a", "--target", "c", "--yes", "--task", "regression"],
            2,
            "gap.csv: column 'c' holds texts, not numbers, so it can only be predicted as classes: ",
        ),
        (
            ["mpg.csv", "--yes", "-o", "there.yaml"],
            2,
            "there.yaml already exists. Overwrite it with --force",
        ),
        (["mpg.csv", "--yes", "-o", "x.txt"], 2, "-o must name a .yaml file, but got x.txt."),
        (["mpg.csv", "--yes", "-o", "no/x.yaml"], 2, "The folder no does not exist. Make it first."),
        (["mpg.txt", "--yes"], 2, "mpg.txt must end in one of .csv, .tsv"),
        (["nothing.csv", "--yes"], 4, "nothing.csv does not exist."),
        (["empty", "--yes"], 4, "empty has no folder with files that end in .txt."),
        (["empty", "--target", "a"], 2, "In a folder of texts or images the subfolders are the classes"),
        (["--example", "ruters"], 2, "There is no example 'ruters'. Did you mean 'reuters'?"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], code: int, sentence: str, capsys: Capture) -> None:
    write_cars()
    shutil.copy("mpg.csv", "mpg.txt")
    write_rows("gap.csv", "a,b,c", [[i or "", i % 2, "xy"[i % 2]] for i in range(9)])
    write_rows("one.csv", "a,b", [[i * 7 % 5, int(i == 3)] for i in range(20)])
    Path("there.yaml").write_text("mine\n")
    Path("empty").mkdir()
    assert main(["init", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {sentence}")
    assert Path("there.yaml").read_text() == "mine\n"


# --- a terminal --------------------------------------------------------------------------------------------


def test_a_terminal_is_asked(capsys: Capture) -> None:
    """In a process of its own, whose terminal types the answers."""
    pty = pytest.importorskip("pty", reason="Windows has no pty")
    write_cars(rows=60)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nnrun", "init", "mpg.csv"], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, b"wight\nweight\nperhaps\nr\n")
    shown = read_all(ours)
    assert process.wait(60) == 0, shown
    assert "  weight  number, all values are numbers" in shown
    assert "Which column should be predicted? [mpg]:" in shown
    assert "There is no column 'wight'." in shown
    assert "(classification) or a number (regression)? [regression]:" in shown
    assert "Answer classification or regression (c or r)." in shown
    assert "    target: weight\n" in Path("mpg.yaml").read_text()


def test_ctrl_c_at_a_question(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    def interrupted(*_: object, **__: object) -> str:
        raise typer.Abort

    monkeypatch.setattr(typer, "prompt", interrupted)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    write_cars()
    assert main(["init", "mpg.csv"]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert not Path("mpg.yaml").exists()


def read_all(terminal: int) -> str:
    def parts() -> Iterator[bytes]:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # Linux says so at the end
                return
            if not part:
                return
            yield part

    return b"".join(parts()).decode().replace("\r\n", "\n")


def test_the_default_is_a_return_away(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    asked: list[tuple[str, Any]] = []

    def prompt(text: str, *, default: str, err: bool) -> str:
        asked.append((text, default))
        return default

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    write_birds()
    assert main(["init", "birds.csv"]) == 0
    assert [default for _, default in asked] == ["species"]  # texts can only be classes
    with_prompt = Path("birds.yaml").read_text()
    assert main(["init", "birds.csv", "--yes", "--force"]) == 0
    assert Path("birds.yaml").read_text() == with_prompt


def test_several_answers_are_several_targets(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the number it is asked whether it is one; one answer at a time may be wrong."""
    import typer

    answers = iter(["species, bill", "species,continent", "species, bill_mm", "r"])
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        return next(answers)

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    write_birds()
    assert main(["init", "birds.csv"]) == 0
    assert asked == [
        *["Which column should be predicted?"] * 3,
        "bill_mm: predict classes (classification) or a number (regression)?",
    ]
    said = capsys.readouterr().err.splitlines()
    assert said[-3:] == [
        "For several, write commas between them.",
        "There is no column 'bill'.",
        "The column 'continent' cannot be the target: it is the same in every row.",
    ]
    assert "\noutputs:" in Path("birds.yaml").read_text()


# --- real files --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "least", "most", "epochs"),
    [  # far fewer epochs than early stopping would leave
        ("tables/penguins.csv", "val_accuracy", 0.97, 1.0, 40),
        ("tables/titanic.csv", "val_accuracy", 0.80, 0.95, 25),  # with `alive` it would be 1
        ("tables/mpg.csv", "val_mae", 0.5, 2.3, 40),
    ],
)
def test_a_real_file_trains_well(
    name: str,
    column: str,
    least: float,
    most: float,
    epochs: int,
    real_file: Callable[[str], Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    path = real_file(name)
    assert main(["init", str(path), "--yes", "-o", "first.yaml"]) == 0
    capsys.readouterr()
    assert main(["check", "first.yaml"]) == 0
    assert capsys.readouterr().out == "first.yaml: ok\n"
    assert main(["train", "first.yaml", "-q", "--epochs", str(epochs)]) == 0
    best = record_of(only_run(tmp_path / "runs"))["best"]
    value = best.get(f"{column}_mean", best.get(column))
    assert least <= value <= most


@pytest.mark.slow
def test_two_outputs_of_a_real_file_train_well(
    real_file: Callable[[str], Path], tmp_path: Path, capsys: Capture
) -> None:
    targets = ["--target", "species", "--target", "body_mass_g"]
    assert main(["init", str(real_file("tables/penguins.csv")), *targets, "--yes", "-o", "first.yaml"]) == 0
    capsys.readouterr()
    trains("first.yaml", capsys)
    shutil.rmtree(tmp_path / "runs")
    assert main(["train", "first.yaml", "-q", "--epochs", "40"]) == 0  # far fewer than it would take
    best = record_of(only_run(tmp_path / "runs"))["best"]
    assert best["val_species_accuracy"] >= 0.97
    assert best["val_body_mass_g_r2"] >= 0.83


@pytest.mark.slow
def test_newswires_train_well(real_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = real_file("text/reuters.csv")
    assert nnrun_command("init", str(path), "--yes", "-o", "first.yaml", cwd=tmp_path).returncode == 0
    assert "    target: topic" in Path("first.yaml").read_text()
    assert nnrun_command("train", "first.yaml", "-q", "--epochs", "5", cwd=tmp_path).returncode == 0
    assert record_of(only_run(tmp_path / "runs"))["best"]["val_accuracy"] >= 0.80


@pytest.mark.slow
def test_a_real_folder_trains_well(data_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = data_dir / "text" / "aclImdb-sample"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    assert main(["init", str(folder), "--yes", "-o", "films.yaml"]) == 0
    assert main(["check", "films.yaml"]) == 0
    assert main(["train", "films.yaml", "-q", "--epochs", "6"]) == 0
    trained = only_run(tmp_path / "runs")
    assert main(["final", trained.name, "-q"]) == 0
    (final,) = (run for run in (tmp_path / "runs").iterdir() if run.is_dir() and run != trained)
    assert record_of(final)["test"]["accuracy"] >= 0.80


# --- a second file as the test set --------------------------------------------------------------------------


def test_a_file_of_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_birds("train.csv")
    write_birds("test.csv")
    Path("specs").mkdir()
    assert main(["init", "train.csv", "--test", "test.csv", "--yes", "-o", "specs/birds.yaml"]) == 0
    capsys.readouterr()
    assert '    test: {path: "../test.csv"}' in Path("specs/birds.yaml").read_text()
    trains("specs/birds.yaml", capsys)
    assert main(["init", "train.csv", "--yes", "-o", "alone.yaml"]) == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # paths on the command line are relative to where one stands
    assert main(["final", "../alone.yaml", "--test", "../test.csv", "-q", "--epochs", "1"]) == 0
    assert record_of(only_run(tmp_path / "elsewhere" / "runs"))["test"].keys() == {"loss", "accuracy"}
    capsys.readouterr()
    assert main(["final", "../alone.yaml", "--test", "no.csv"]) == 2
    assert "The file of test rows no.csv does not exist." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("book.xlsx", 4, "book.xlsx is a workbook, and nnrun reads CSV, JSON lines and Parquet."),
        ("images", 4, "images/cats/a.png is no PNG or JPEG image"),
    ],
)
def test_other_files_are_told_what_to_do(name: str, code: int, sentence: str, capsys: Capture) -> None:
    Path("book.xlsx").write_bytes(b"PK")
    Path("images/cats").mkdir(parents=True)
    Path("images/cats/a.png").write_bytes(b"")
    assert main(["init", name, "--yes"]) == code
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


def test_what_is_said_of_a_file_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A target with gaps has the file read again."""
    lines = [f"{i * 7 % 13},{i % 5},{i * 1.5 if i % 9 else ''}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *lines, ",,"]) + "\n")
    spec = tmp_path / "t.yaml"
    assert main(["init", str(tmp_path / "t.csv"), "--target", "y", "--yes", "-o", str(spec)]) == 0
    assert capsys.readouterr().err.count("left out 1 line with only separators") == 1
