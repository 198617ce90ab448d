"""Names, paths and texts that would command a terminal, a browser, a spreadsheet or a file system."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.cells import cell, json_text
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.records import create_run, find_run
from nnrun.records.run_directory import RUN_ID, slug
from tests.support.runs_on_disk import SPEC, make_run, scored_run, scores_of, write_history
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    files_of,
    numbers,
    only_run,
    record_of,
    write_small,
    yes_or_no,
)

Capture = pytest.CaptureFixture[str]
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202e\u2066\ufeff"
HOSTILE_NAMES = [
    "../../../tmp/evil",
    "/etc/passwd",
    "..",
    ".",
    "-rf",
    "a/b\\c",
    "con",
    "~root",
    "$(touch it-ran)",
    "`touch it-ran`; touch it-ran",
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "=1+1",
    "a" * 5000,
    "é" * 300,
    "名前",
    "\U0001f4a9",
    "%s%n{0}{x}",
    "x\u202egnp.exe",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    return tmp_path / "inside"


def only_printable(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


# --- run names ---------------------------------------------------------------------------------------------


@given(st.text() | st.sampled_from(HOSTILE_NAMES))
def test_a_name_never_leaves_its_folder(name: str) -> None:
    safe = slug(name)
    assert RUN_ID.fullmatch(f"{safe}-20260101T000000Z-0000")
    assert 0 < len(safe.encode()) <= 60
    assert all(c.isalnum() or c in "._-" or unicodedata.category(c).startswith("M") for c in safe)
    assert not safe.startswith((".", "-"))
    assert "/" not in safe


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_run_of_a_hostile_name(name: str, folder: Path, capsys: Capture) -> None:
    """It trains, in a folder of its own, and everything that is said of it can be said to a terminal."""
    write_small(folder, epochs=1)
    outside = files_of(folder.parent)
    code = main(["train", "small.yaml", "--set", f"name={json.dumps(name)}"])
    printed = capsys.readouterr()
    assert only_printable(printed.out + printed.err)
    if code == 3:  # some are no names: a control character, or what cannot be encoded
        assert not (folder / "runs").exists()
        return
    assert code == 0
    run = only_run(folder / "runs")
    assert record_of(run)["name"] == name
    made = set(files_of(folder.parent)) - set(outside)
    assert all(path.startswith(f"inside/runs/{run.name}/") for path in made)
    for command in (["ls"], ["show", "@last"], ["compare", "@last", str(run), "--spec-only"]):
        main(command)
    printed = capsys.readouterr()
    assert only_printable(printed.out + printed.err)
    assert not (folder / "it-ran").exists()


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\x00b", "a\x7fb", "a\x9bb"])
def test_control_characters_are_refused_in_specs(name: str, folder: Path, capsys: Capture) -> None:
    write_small(folder)
    (folder / "small.yaml").write_text((folder / "small.yaml").read_text() + f"description: '{name}'\n")
    for command in ("train", "check", "show"):
        assert main([command, "small.yaml"]) == 3
        printed = capsys.readouterr()
        assert only_printable(printed.out + printed.err)
    assert not (folder / "runs").exists()


def hostile_run(runs: Path, text: str) -> Path:
    """A run whose record, not written by nnrun, holds a text wherever it may hold one."""
    run = scored_run(
        runs,
        "hostile-20260101T000000Z-0000",
        scores_of(0.5, 0.6),
        name=text,
        command=text,
        device=text,
        error=text,
        parent=text,
        verdict=text,
        status="failed",
        best={text: 0.5, "val_loss": 0.1},
        test={text: 0.5},
        baseline={text: 0.5},
        versions={text: text},
        data=[{"name": text, "sha256": text, "rows": 3, "note": text}],
        test_uses=[{"command": text, "at": text, "data": text, "look": 1}],
        chosen_from={"parent": text, "epoch": 3, "column": text},
    )
    return run.path


def test_a_hostile_record_on_a_terminal(folder: Path, capsys: Capture) -> None:
    run = hostile_run(folder / "runs", f"bad{ESCAPES}\n\r\tname")
    make_run(folder / "runs", "good-20260101T000000Z-0001").write_resolved(
        (run / "resolved.yaml").read_text()
    )
    for command in (
        ["ls"],
        ["ls", "--json"],
        ["ls", "--sort", "val_loss"],
        ["show", str(run)],
        ["show", str(run), "--json"],
        ["compare", str(run), "good"],
        ["compare", str(run), "good", "--csv"],
        ["compare", str(run), "good", "--json"],
        ["plot", str(run), "--terminal"],
        ["evaluate", str(run)],
        ["importance", str(run)],
        ["final", str(run)],
        ["reproduce", str(run)],
        ["predict", str(run), "small.yaml"],
        ["rm", str(run)],
    ):
        code = main(command)
        printed = capsys.readouterr()
        assert only_printable(printed.out + printed.err), command
        assert code in (0, 2, 3, 4), command
        assert "internal error" not in printed.err, command


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]


def test_a_hostile_record_in_a_report(folder: Path, capsys: Capture) -> None:
    """Its texts are text there: no tag of theirs, and no attribute."""
    text = f'<script>alert(1)</script><img src=x onerror=alert(1)>" onload="x\' {ESCAPES}'
    run = hostile_run(folder / "runs", text)
    code = main(["report", str(run)])
    printed = capsys.readouterr()
    assert only_printable(printed.out + printed.err)
    assert code == 0, printed.err
    page = Tags()
    page.feed((run / "report.html").read_text())
    assert page.tags.count("link") == 1  # the page's own icon
    assert not {"script", "img", "iframe", "object"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    html = (run / "report.html").read_text()
    assert "&lt;script&gt;" in html
    assert only_printable(html)


# --- RUN as it is typed ------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(HOSTILE_NAMES))
def test_any_reference_is_found_or_refused(tmp_path_factory: pytest.TempPathFactory, reference: str) -> None:
    runs = tmp_path_factory.getbasetemp() / "references"
    if not runs.exists():
        make_run(runs, "a-20260101T000000Z-0000")
    try:
        found = find_run(reference, runs)
    except UsageError:
        return
    assert found.path.resolve().parent == runs.resolve()


def test_paths_that_lead_elsewhere_are_not_deleted(folder: Path, capsys: Capture) -> None:
    """Through `..`, by a link, by an absolute path: what is not beyond doubt a run of this folder stays."""
    elsewhere = make_run(folder.parent / "elsewhere", "x-20260101T000000Z-0000")
    runs = folder / "runs"
    make_run(runs, "a-20260101T000000Z-0000")
    (runs / "link-20260101T000000Z-0000").symlink_to(elsewhere.path)
    (runs / "b-20260101T000000Z-0000").mkdir()
    (runs / "b-20260101T000000Z-0000" / "run.json").symlink_to(elsewhere.path / "run.json")
    for reference in (
        "../elsewhere/x-20260101T000000Z-0000",
        str(elsewhere.path),
        "runs/../../elsewhere/x-20260101T000000Z-0000",
        "link-20260101T000000Z-0000",
        "b-20260101T000000Z-0000",
        "..",
        "/",
        ".",
        "",
        "runs",
    ):
        assert main(["rm", reference, "--yes"]) == 2, reference
    assert sorted(os.listdir(runs)) == sorted(
        ["a-20260101T000000Z-0000", "link-20260101T000000Z-0000", "b-20260101T000000Z-0000"]
    )
    assert elsewhere.path.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        ".",
        "\x00",
        "a" * 5000,
        "~",
    ],
)
def test_paths_in_a_spec_read_data_and_nothing_else(path: str, folder: Path, capsys: Capture) -> None:
    """A path may name any file, as the user's own may; what is no data set is refused, and shows nothing."""
    for changes in ({"dataset": {"npz": path}}, {"init_weights": path}):
        write_small(folder, **changes)
        code = main(["train", "small.yaml", "-q"])
        printed = capsys.readouterr()
        assert code in (3, 4), path
        assert "root:" not in printed.err
        assert only_printable(printed.err)
        assert "internal error" not in printed.err
    assert not (folder / "runs").exists()


# --- cells -------------------------------------------------------------------------------------------------

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    '=HYPERLINK("http://x")',
    "\t=1",
    "\r=1",
    "=\x1b[2J",
]


def test_names_of_classes_in_csv_are_no_formulas(folder: Path, capsys: Capture) -> None:
    """In CSV an apostrophe stands before them; JSON lines hold them as they are."""
    arrays = yes_or_no()
    names = np.array(["=1+1|x", "@SUM(A1)\x1b[2J"])
    write_small(folder, BINARY, {n: names[a] if n.startswith("y") else a for n, a in arrays.items()})
    np.savetxt("rows.csv", numbers()["x_test"], delimiter=",")
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["predict", "@last", "rows.csv", "--probabilities", "-q"]) == 0
    printed = capsys.readouterr()
    assert only_printable(printed.out)
    header, *rows = csv.reader(io.StringIO(printed.out))
    assert header == [
        "row",
        "prediction",
        "probability",
        "probability_=1+1|x",
        "probability_@SUM(A1)\\x1b[2J",
    ]
    assert {row[1] for row in rows} <= {"'=1+1|x", "'@SUM(A1)\\x1b[2J"}
    assert all(0 <= float(row[2]) <= 1 for row in rows)
    assert main(["predict", "@last", "rows.csv", "--format", "jsonl", "-q"]) == 0
    printed = capsys.readouterr()
    assert only_printable(printed.out)
    assert {json.loads(line)["prediction"] for line in printed.out.splitlines()} <= set(names.tolist())
    assert main(["evaluate", "@last", "-q"]) == 0
    printed = capsys.readouterr()
    assert only_printable(printed.out + printed.err)


def test_predicted_numbers_stay_numbers(folder: Path, capsys: Capture) -> None:
    arrays = numbers()
    arrays = {n: -a if n.startswith("y") else a for n, a in arrays.items()}
    write_small(folder, REGRESSION, arrays, epochs=60)
    np.savetxt("rows.csv", numbers()["x_test"], delimiter=",")
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["predict", "@last", "rows.csv", "-q"]) == 0
    _, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert any(float(row[1]) < 0 for row in rows)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_none_in_a_cell(text: str) -> None:
    found = cell(text)
    assert found.startswith("'") or found[0] == "\\"
    assert only_printable(found)


@given(st.text() | st.floats() | st.integers() | st.none())
def test_a_cell_holds_the_value_or_is_no_formula(value: Any) -> None:
    found = cell(value)
    if not isinstance(value, str):
        assert found is value
    else:
        assert only_printable(found)
        if len(found) > 1 and found[0] in "=+-@\t\r":
            float(found)  # it is a number, and no spreadsheet computes it


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_json_reads_back_and_commands_no_terminal(document: Any) -> None:
    text = json_text(document)
    assert only_printable(text)
    assert json.loads(text) == document


def test_run_folders_are_made_by_their_name_alone(folder: Path) -> None:
    for name in HOSTILE_NAMES:
        run = create_run(folder / "runs", name)
        assert run.path.parent == folder / "runs"
    assert os.listdir(folder) == ["runs"]
    assert SPEC["name"] == "small"
    write_history(run, 1)
