import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from nnrun.records import Look, find_run
from nnrun.records.test_set_uses import LEDGER, append_looks
from tests.support.runs_on_disk import make_run


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _utc: None) -> Path:
    monkeypatch.chdir(tmp_path)
    runs_dir = Path("runs")
    make_run(
        runs_dir,
        "reuters-20260101T000000Z-aaaa",
        device="cpu",
        started="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:00:04.25Z",
        epochs_run=20,
        best_epoch=9,
        best={"loss": 0.3, "val_loss": 0.90125, "val_accuracy": 0.801},
        test={"loss": 0.99, "accuracy": 0.788},
        data=[{"name": "reuters.npz", "sha256": "1f", "rows": 11228}, "damaged"],
        test_uses=[{"command": "final", "at": "1"}, {"command": "evaluate", "at": "3", "look": 3}],
    )
    # Two runs of the same name have looked as well, and are gone.
    append_looks(
        runs_dir, [Look("reuters", ("1f",), "reuters", f"reuters-{at}", "final", at) for at in ("2", "4")]
    )
    make_run(
        runs_dir,
        "boston-20260102T000000Z-bbbb",
        command="kfold",
        status="interrupted",
        device="cpu",
        started="2026-01-02T00:00:00Z",
        ended="2026-01-02T01:02:03Z",
        epochs_run=500,
        best={"val_mae_mean": 2.391},
    )
    (runs_dir / "damaged").mkdir()
    (runs_dir / "damaged" / "run.json").write_text("[]")
    return runs_dir


WHOLE_SCREEN = """\
ID                             STATUS       COMMAND  DEVICE  EPOCHS      VALIDATION                     TEST                       LOOK      STARTED           TOOK       SIZE
boston-20260102T000000Z-bbbb   interrupted  kfold    cpu     500         mae 2.391 *                                                         2026-01-02 00:00  1 h 2 min  267 B
reuters-20260101T000000Z-aaaa  completed    train    cpu     20, best 9  loss 0.9012, accuracy 0.801 *  loss 0.99, accuracy 0.788  3rd of 4  2026-01-01 00:00  4.2 s      653 B
damaged                        broken                                                                                                                                     2 B
*: the rows that measure it chose its epoch, or it among trials: optimistic
"""  # noqa: E501

NARROW_SCREEN = """\
ID                 S  VALIDATION                     TEST
boston-20260102T…  I  mae 2.391 *
reuters-20260101…     loss 0.9012, accuracy 0.801 *  loss 0.99, accuracy 0.788
damaged               (broken)
*: the rows that measure it chose its epoch, or it among trials: optimistic
S: I interrupted
"""


def test_the_whole_screen(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls"]) == 0
    screen = capsys.readouterr()
    assert screen.out == WHOLE_SCREEN
    assert screen.err == (
        "damaged is broken: runs/damaged/run.json is damaged: it must hold a JSON object, but holds list.\n"
    )


def test_a_narrow_terminal_loses_columns_and_wraps_no_line(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "85")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["ls"]) == 0
    screen = capsys.readouterr().out
    assert screen == NARROW_SCREEN
    assert max(map(len, screen.splitlines())) <= 85


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ls"]) == 0
    screen = capsys.readouterr()
    assert screen.out == ""
    assert screen.err == "No runs in runs/ yet. Start with: nnrun train specs/reuters.yaml\n"
    assert main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_count_stays_longer_than_the_scores(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["ls"]) == 0
    heading, _, reuters, _, _ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "STATUS", "VALIDATION", "TEST"]
    assert reuters.endswith("  loss 0.9012, accuracy 0.801 *  loss 0.99, accuracy 0.788")
    monkeypatch.setenv("COLUMNS", "130")
    assert main(["ls"]) == 0
    heading, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "STATUS", "EPOCHS", "VALIDATION", "TEST", "LOOK"]


def terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_the_beginnings_of_ids_that_are_shown_name_one_run_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"{'a-long-name' * 4}-2026010{day}T00000{second}Z-aaaa" for day in (1, 2) for second in (1, 2)]
    for id_ in ids:
        make_run(tmp_path, id_, best={"val_loss": 0.5, "val_mae": 0.25}, test={"loss": 1.0})
    terminal(80, monkeypatch)
    assert main(["ls", "--runs-dir", str(tmp_path)]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 80
    assert heading.split()[1:] == ["VALIDATION", "TEST"] or heading.split()[1:] == ["VALIDATION"]
    shown = [row.split()[0] for row in rows]
    assert all(name.endswith("…") for name in shown)
    for name in shown:
        assert sum(id_.startswith(name[:-1]) for id_ in ids) == 1


def test_the_pause_before_a_run_was_resumed_is_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T12:00:00Z", "epochs_run": 3}
    make_run(tmp_path, "paused", **times, training_seconds=7.5, resumed=[{"after_epoch": 1}])
    make_run(tmp_path, "unknown", **times, resumed=[{"after_epoch": 1}])
    make_run(tmp_path, "longer", **times, training_seconds=60)
    assert main(["ls", "--runs-dir", str(tmp_path), "--json", "--sort", "took"]) == 0
    found = {run["id"]: run["seconds"] for run in json.loads(capsys.readouterr().out)}
    assert list(found.items()) == [("longer", 60), ("paused", 7.5), ("unknown", None)]
    assert main(["ls", "--runs-dir", str(tmp_path), "--name", "paused"]) == 0
    assert "7.5 s" in capsys.readouterr().out


def test_the_size_is_that_of_all_files(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "damaged" / "fold-0").mkdir()
    (runs / "damaged" / "fold-0" / "weights").write_bytes(bytes(1_250_000))
    assert main(["ls", "--sort", "size", "--limit", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["damaged", "broken", "1.3", "MB"]
    assert main(["ls", "--json", "--sort", "size", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["bytes"] == 1_250_002


def test_without_the_ledger_the_runs_that_are_there_count(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / LEDGER).unlink()
    assert main(["ls"]) == 0
    screen = capsys.readouterr()
    assert "  3rd of 2  " in screen.out
    assert screen.err.startswith(
        f"runs/{LEDGER} is missing: looks at a test set are counted from the runs' own records, so looks "
        "by deleted runs are not included.\n"
    )


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json"]) == 0
    boston, reuters, damaged = json.loads(capsys.readouterr().out)
    assert reuters == {
        "id": "reuters-20260101T000000Z-aaaa",
        "path": "runs/reuters-20260101T000000Z-aaaa",
        "name": "reuters",
        "command": "train",
        "status": "completed",
        "device": "cpu",
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:00:04.250000+00:00",
        "seconds": 4.25,
        "bytes": 653,
        "epochs": 20,
        "best_epoch": 9,
        "best": {"loss": 0.3, "val_loss": 0.90125, "val_accuracy": 0.801},
        "kept": {},
        "optimistic": True,
        "test": {"loss": 0.99, "accuracy": 0.788},
        "data": ["reuters.npz"],
        "test_uses": 2,
        "look": 3,
        "looks": 4,
        "look_of_any": None,
        "looks_of_any": 4,
        "problem": None,
    }
    assert boston["status"] == "interrupted"
    assert damaged["status"] == "broken"


def test_a_record_cannot_disturb_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "x", command="\x1b[2J\n", best={"val_\x07": 1}, device="d" * 1000)
    assert main(["ls", "--runs-dir", str(tmp_path)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "STATUS", "COMMAND", "DEVICE", "VALIDATION", "SIZE"]
    assert row.split() == ["x", "completed", "?[2J?", "d" * 99 + "…", "?", "1", "1.1", "kB"]


def printed_ids(capsys: pytest.CaptureFixture[str]) -> list[str]:
    _, *lines = capsys.readouterr().out.splitlines()
    return [line.split()[0].split("-")[0] for line in lines if not line.startswith("*: ")]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--sort", "took"], ["boston", "reuters", "damaged"]),
        (["--sort", "took", "--reverse"], ["reuters", "boston", "damaged"]),
        (["--sort", "val_mae"], ["boston", "reuters", "damaged"]),
        (["--sort", "test_accuracy"], ["reuters", "boston", "damaged"]),
        (["--sort", "name", "--limit", "1"], ["boston"]),
        (["--reverse"], ["reuters", "boston", "damaged"]),
        (["--name", "re*"], ["reuters"]),
        (["--status", "interrupted"], ["boston"]),
        (["--command", "train"], ["reuters"]),
        (["--data", "reuters", "--sort", "val_mae"], ["reuters"]),
    ],
)
def test_order_and_selection(
    runs: Path, arguments: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", *arguments]) == 0
    assert printed_ids(capsys) == names
    assert main(["ls", *arguments, "--json"]) == 0
    assert [run["id"].split("-")[0] for run in json.loads(capsys.readouterr().out)] == names


@pytest.mark.parametrize(
    ("sort", "last_column"),
    [
        (None, "TEST"),
        ("val_accuracy", "TEST"),
        ("took", "TOOK"),
        ("started", "STARTED"),
        ("test_loss", "TEST"),
    ],
)
def test_the_column_that_is_sorted_by_is_the_last_to_give_way(
    runs: Path,
    sort: str | None,
    last_column: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "85")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["ls", *(["--sort", sort] if sort else [])]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.endswith(last_column)
    assert max(map(len, [heading, *rows])) <= 85


def test_the_score_that_is_sorted_by_is_shown_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {f"val_{name}": 0.5 for name in ("loss", "accuracy", "auc", "recall")}
    make_run(tmp_path, "x", best=best)
    assert main(["ls", "--runs-dir", str(tmp_path), "--sort", "val_recall"]) == 0
    assert "recall 0.5, loss 0.5, accuracy 0.5, ..." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--sort", "speed"],
            "--sort 'speed' is not a column. Columns are started, name, status, epochs, took, size; the "
            "scores of these runs are val_mae, val_loss, val_accuracy, test_loss, test_accuracy.",
        ),
        (
            ["--status", "done"],
            "--status must be one of running, completed, interrupted, failed, diverged or broken, but got "
            "'done'.",
        ),
    ],
)
def test_what_cannot_be_listed_is_said(
    runs: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


MARKED: dict[str, tuple[dict[str, Any], bool]] = {
    "best of 5 epochs": ({}, True),
    "of one epoch": ({"epochs_run": 1}, False),
    "by inner rows": ({"chosen_by": "inner_loss"}, False),
    "a trial by inner rows": ({"chosen_by": "inner_loss", "sweep": "s", "command": "sweep"}, True),
    "trained to measure a setting": ({"chosen_by": "inner_loss", "sweep": "s", "command": "lr"}, False),
    "inner folds": ({"nested": {"part": "inner", "k": 3, "inner_folds": 1}}, True),
    "outer folds": (
        {"nested": {"part": "outer", "k": 3, "inner_folds": 1}, "last": {"val_loss": 0.5}},
        False,
    ),
    "without validation": ({"best": {"loss": 0.5}, "chosen_by": None}, False),
}


@pytest.mark.parametrize("kind", MARKED)
def test_scores_that_chose_on_their_own_rows_are_marked(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields, marked = MARKED[kind]
    own = {"epochs_run": 5, "best_epoch": 2, "best": {"val_loss": 0.5}, "chosen_by": "val_loss", **fields}
    make_run(tmp_path, "x", **own)
    command = [] if own.get("command") != "lr" else ["--command", "lr"]
    assert main(["ls", "--runs-dir", str(tmp_path), *command]) == 0
    _, row, *legend = capsys.readouterr().out.splitlines()
    assert (" loss 0.5 * " in row) == marked
    assert legend == [
        "*: the rows that measure it chose its epoch, or it among trials: optimistic",
    ] * int(marked)
    assert main(["ls", "--runs-dir", str(tmp_path), "--json", *command]) == 0
    assert json.loads(capsys.readouterr().out)[0]["optimistic"] == marked


def test_no_run_fits(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--name", "imdb"]) == 0
    assert capsys.readouterr() == ("", "None of the 3 runs in runs/ matches.\n")
    assert main(["ls", "--name", "imdb", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_status_other_than_completed_is_visible_at_every_width(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = ["failed", "diverged", "interrupted", "completed"]
    for number, status in enumerate(statuses):
        make_run(
            tmp_path,
            f"titanic_survival-2026010{number + 1}T000000Z-aaaa",
            status=status,
            started=f"2026-01-0{number + 1}T00:00:00Z",
            best={"val_loss": 0.51234, "val_accuracy": 0.81234} if number else {},
            test={"loss": 0.51234, "accuracy": 0.81234},
        )
    terminal(width, monkeypatch)
    assert main(["ls", "--runs-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    of_letter = {}
    if lines[-1].startswith("S: "):
        pairs = lines.pop().removeprefix("S: ").split(", ")
        of_letter = dict(pair.split(" ") for pair in pairs)
    for row, status in zip(reversed(lines[1:]), statuses, strict=True):
        words = [of_letter.get(word, word.strip("()")) for word in row.split()]
        told = [word for word in words if word in statuses]
        assert told == ([status] if status != "completed" else told[:1])
        assert status == "completed" or told


def test_a_shortened_id_can_be_typed_with_or_without_its_ellipsis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"titanic_survival-2026010{day}T000000Z-aaaa" for day in (1, 2)]
    for id_ in ids:
        make_run(tmp_path, id_, best={"val_loss": 0.5, "val_accuracy": 0.25}, test={"loss": 1.0})
    terminal(60, monkeypatch)
    assert main(["ls", "--runs-dir", str(tmp_path)]) == 0
    shown = [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]]
    assert all(name.endswith("…") for name in shown)
    for name, id_ in zip(sorted(shown), ids, strict=True):
        assert find_run(name, tmp_path).id == find_run(name.removesuffix("…"), tmp_path).id == id_
