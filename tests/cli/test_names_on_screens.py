"""Names from files on every screen: in one line, in any encoding of stdout, in valid JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nnrun
from nnrun.api import Run
from nnrun.cells import json_for, json_text
from nnrun.cli import main

CLASSES = ("x\ny", "±模\U0001f600", "a\x1b[2J\x7f")
Written = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("names")
    with (folder / "n.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["x", "y"], *([i % 7, CLASSES[i % 3]] for i in range(30))])
    spec = {
        "name": "模型 ±",
        "dataset": {"csv": {"path": "n.csv", "target": "y"}},
        "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 1,
        "validation": {"kfold": {"k": 3}},
    }
    (folder / "s.yaml").write_text(json.dumps(spec))
    return nnrun.train(folder / "s.yaml", runs_dir=folder / "runs")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """Run a command whose stdout has this encoding: its exit code, and what it wrote."""

    def run(encoding: str, *args: str) -> tuple[int, str]:
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
        code = main(args)
        sys.stdout.flush()
        return code, raw.getvalue().decode(encoding)

    return run


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("options", [(), ("-v",)])
def test_evaluate(run: Run, written: Written, encoding: str, options: tuple[str, ...]) -> None:
    code, out = written(
        encoding, "evaluate", str(run.path), "--split", "validation", "--no-figures", *options
    )
    assert code == 0
    assert "x\\ny " in out
    assert "a\\x1b[2J\\x7f" in out
    readable = {"utf-8": "±模😀", "ascii": "+-\\u6a21\\ud83d\\ude00", "cp1252": "±\\u6a21\\ud83d\\ude00"}
    assert readable[encoding] in out
    assert ("±" if encoding != "ascii" else " +- ") in out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "latin-1"])
def test_json_reads_back(run: Run, written: Written, encoding: str, tmp_path: Path) -> None:
    code, out = written(
        encoding, "evaluate", str(run.path), "--split", "validation", "--no-figures", "--json"
    )
    assert code == 0
    names = [of_class["name"] for of_class in json.loads(out)["classification"]["classes"]]
    assert sorted(names) == sorted(CLASSES)
    new = tmp_path / "new.csv"
    new.write_text("x\n1\n2\n")
    code, out = written(encoding, "predict", str(run.path), str(new), "--probabilities", "--format", "jsonl")
    assert code == 0
    for line in out.splitlines():
        assert set(json.loads(line)["probabilities"]) == set(CLASSES)
    code, out = written(encoding, "predict", str(run.path), str(new), "--probabilities")
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0
    assert [len(row) for row in rows] == [6, 6, 6]


@pytest.mark.parametrize(
    "args", [("ls",), ("show",), ("data", "show"), ("compare",), ("report",), ("ls", "--csv")]
)
def test_every_command_ends_well(run: Run, written: Written, args: tuple[str, ...], tmp_path: Path) -> None:
    runs = run.path.parent
    others = {
        "ls": ["--runs-dir", str(runs)],
        "show": [str(runs.parent / "s.yaml")],
        "data": [str(runs.parent / "n.csv")],
        "compare": [str(run.path), str(run.path)],
        "report": [str(run.path), "-o", str(tmp_path / "r.html")],
    }
    code, out = written("ascii", *args, *others[args[0]])
    assert code in (0, 2)  # two equal runs are nothing to compare
    assert out.isascii()


def test_json_of_any_character() -> None:
    text = "".join(map(chr, range(0x250))) + "\u2028\ufeff\U0001f600"
    for encoding in ("utf-8", "ascii", "cp1252", None):
        assert json.loads(json_for(json_text({text: text}), encoding)) == {text: text}
    assert json_text(text).isprintable()
