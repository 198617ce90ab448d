import io
import json
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.runs_on_disk import make_run, write_record


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a-run", "b-run"):
        make_run(Path("runs"), name)
    return Path("runs")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def names(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir())


def test_yes_deletes_without_asking(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "a-run", "a-", "--yes"]) == 0
    assert capsys.readouterr().out == "Deleted runs/a-run\nFreed 82 B.\n"
    assert names(runs) == ["b-run"]


@pytest.mark.parametrize(
    ("answer", "left"), [("y\n", []), ("YES\n", []), ("\n", ["a-run", "b-run"]), ("", ["a-run", "b-run"])]
)
def test_it_asks(
    runs: Path,
    answer: str,
    left: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["rm", "a-run", "b-run"]) == 0
    nothing = "Nothing was deleted.\n" if left else ""
    assert capsys.readouterr().err == (
        f"  runs/a-run  82 B\n  runs/b-run  82 B\nDelete these 2 runs (164 B)? [y/N] {nothing}"
    )
    assert names(runs) == left


def test_without_a_terminal_it_refuses(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["rm", "a-run"]) == 2
    assert capsys.readouterr().err == (
        "error: nnrun rm asks before it deletes, and there is no terminal to ask on. Add --yes.\n"
    )
    assert names(runs) == ["a-run", "b-run"]


def test_one_mistyped_name_deletes_nothing(runs: Path) -> None:
    assert main(["rm", "a-run", "typo", "--yes"]) == 2
    assert names(runs) == ["a-run", "b-run"]


def test_a_folder_that_is_no_run_stays(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("precious").mkdir()
    assert main(["rm", "./precious", "--yes"]) == 2
    assert capsys.readouterr().err == "error: ./precious is not a run: that folder has no run.json.\n"
    assert Path("precious").is_dir()


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "a-run", "b-", "--yes", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "deleted": [
            {"id": "a-run", "path": "runs/a-run", "bytes": 82},
            {"id": "b-run", "path": "runs/b-run", "bytes": 82},
        ],
        "freed_bytes": 164,
    }
    assert printed.err == ""
    assert names(runs) == []


def test_json_of_a_no(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert main(["rm", "a-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": [], "freed_bytes": 0}
    assert names(runs) == ["a-run", "b-run"]


def test_one_that_is_not_beyond_doubt_a_run_keeps_all(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All are looked at before the first is deleted."""
    elsewhere = make_run(Path("elsewhere"), "c-run")
    Path("runs/link").symlink_to(elsewhere.path.resolve())
    write_record(make_run(runs, "renamed"), {"id": "original"})
    for other in ("elsewhere/c-run", "runs/link", "renamed"):
        assert main(["rm", "a-run", other, "--yes", "--json"]) == 2
        document = json.loads(capsys.readouterr().out)
        assert document["error"] == "UsageError"
        assert document["message"].startswith(
            f"{runs / other if other == 'renamed' else other} was not deleted"
        )
    assert names(runs) == ["a-run", "b-run", "link", "renamed"]
    assert elsewhere.is_run()


def test_a_pattern_takes_what_a_run_killed_before_its_record_left(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = runs / "c-run-20261130T120000Z-abcd"
    killed.mkdir()
    (killed / "spec.yaml").write_text("")
    assert main(["rm", "*", "--yes"]) == 0
    assert f"Deleted {killed}\n" in capsys.readouterr().out
    assert names(runs) == []


def test_one_run_in_two_spellings_is_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "a-run", str((runs / "a-run").resolve()), "--yes"]) == 0
    assert capsys.readouterr().out == "Deleted runs/a-run\nFreed 82 B.\n"
    assert names(runs) == ["b-run"]


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, status in (("imdb-1", "completed"), ("imdb-2", "failed"), ("boston-1", "failed")):
        make_run(Path("runs"), name, status=status)
    return Path("runs")


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["imdb*"], ["boston-1"]),
        (["*-1", "imdb-2"], []),
        (["imdb-[0-1]"], ["boston-1", "imdb-2"]),
        (["--status", "failed"], ["imdb-1"]),
        (["imdb*", "--status", "failed"], ["boston-1", "imdb-1"]),
        (["--name", "boston"], ["imdb-1", "imdb-2"]),
        (["--name", "i*", "--status", "completed"], ["boston-1", "imdb-2"]),
        (["--status", "interrupted"], ["boston-1", "imdb-1", "imdb-2"]),
    ],
)
def test_patterns_and_filters(several: Path, arguments: list[str], left: list[str]) -> None:
    assert main(["rm", *arguments, "-y"]) == 0
    assert names(several) == left


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["x*"],
            "None of the 3 runs in runs has an id like 'x*'. `nnrun ls` lists them.",
        ),
        ([], "Name the runs to delete, or choose them with --name or --status."),
        (
            ["--status", "done"],
            "--status must be one of running, completed, interrupted, failed, diverged or broken, but got "
            "'done'.",
        ),
    ],
)
def test_what_chooses_nothing_deletes_nothing(
    several: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rm", *arguments, "-y"]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert names(several) == ["boston-1", "imdb-1", "imdb-2"]


def test_a_pattern_asks_as_a_name_does(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "imdb*"]) == 2
    assert "Add --yes" in capsys.readouterr().err
    assert names(several) == ["boston-1", "imdb-1", "imdb-2"]
