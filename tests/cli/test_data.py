"""`nnrun data`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.cli import main


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NNRUN_DATA_DIR", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Reuters of 60 wires, each `[1, 2, 3]` in the file."""
    rows = np.empty(60, object)
    rows[:] = [[1, 2, 3] for _ in range(60)]
    np.savez(tmp_path / "reuters.npz", x=rows, y=np.arange(60) % 46)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*args: str) -> tuple[int, str, str]:
        code = main(["data", *args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_ls(run: Any, folder: Path) -> None:
    code, out, err = run("ls", "--data-dir", str(folder))
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert lines["imdb"].endswith("25,000  25,000  missing")
    assert lines["reuters"].endswith(str(folder / "reuters.npz"))
    assert lines["iris"].endswith("150       -  comes with scikit-learn")
    assert "nnrun data fetch NAME" in err


def test_ls_json(run: Any, folder: Path) -> None:
    code, out, err = run("ls", "--json", "--data-dir", str(folder))
    assert (code, err) == (0, "")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert entries["reuters"]["path"] == str(folder / "reuters.npz")
    assert [name for name, entry in entries.items() if not entry["present"]] == ["imdb"]


def test_show_a_token_row_as_words(run: Any, folder: Path) -> None:
    (folder / "reuters_word_index.json").write_text('{"the": 1, "of": 2, "cacao\\u001b": 3}')
    code, out, err = run("show", "reuters", "--row", "0", "--data-dir", str(folder), "--num-words", "6")
    assert (code, err) == (0, "")
    head, _, words = out.splitlines()
    assert head.startswith("reuters, train row 0: target ")
    assert words == "<start> the of <unk>"
    code, out, err = run("show", "reuters", "--row", "0", "--data-dir", str(folder), "--num-words", "9")
    assert out.splitlines()[-1] == "<start> the of cacao\\x1b"


def test_show_a_token_row_without_words(run: Any, folder: Path) -> None:
    code, out, err = run("show", "reuters", "--row", "2", "--split", "test", "--data-dir", str(folder))
    assert code == 0
    assert out.splitlines()[-1] == "1 4 5 2"
    assert "reuters_word_index.json is not on this machine" in err
    assert os.environ["NNRUN_CACHE_DIR"] in err


def test_show_an_overview(run: Any) -> None:
    code, out, err = run("show", "boston")
    assert (code, err) == (0, "")
    assert out.startswith("boston_housing: 404 training rows, 102 test rows\n")
    assert "LSTAT" in out
    code, out, _ = run("show", "wine", "--json")
    assert [c["train"] for c in json.loads(out)["classes"]] == [59, 71, 48]


def test_show_a_file_of_ones_own(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=np.ones((5, 200)), y_train=np.array(["a", "b", "a", "b", "a"]))
    code, out, _ = run("show", str(path))
    assert code == 0
    assert "... and 136 more; --json shows all" in out
    code, out, _ = run("show", str(path), "--row", "1")
    assert out.startswith("mine, train row 1: target 1 (b)")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("show", "iri"), 2, "Did you mean iris?"),
        (("show", "iris", "--row", "150"), 2, "no row 150"),
        (("show", "iris", "--row", "-1"), 2, "--row"),
        (("show", "iris", "--row", "0", "--split", "test"), 2, "iris has no test set"),
        (("show", "iris", "--num-words", "5"), 2, "--num-words is for imdb and reuters"),
        (("show", "nowhere.npz"), 4, "nowhere.npz does not exist"),
        (("fetch", "mnist"), 2, "no data set 'mnist'"),
    ],
)
def test_mistakes(run: Any, args: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_fetch_says_where_things_are(run: Any, folder: Path) -> None:
    (folder / "reuters_word_index.json").write_text('{"the": 1}')
    code, out, _ = run("fetch", "reuters", "--data-dir", str(folder))
    assert code == 0
    assert out.splitlines() == [
        f"reuters.npz: found at {folder / 'reuters.npz'} (not the published file)",
        f"reuters_word_index.json: found at {folder / 'reuters_word_index.json'} (not the published file)",
    ]
    assert list(Path(os.environ["NNRUN_CACHE_DIR"]).rglob("*-x-*.npz"))
    code, out, _ = run("fetch", "iris")
    assert (code, out) == (0, "iris needs no download.\n")


def test_missing_data_is_exit_code_4_in_sentences(tmp_path: Path) -> None:
    """The command itself, on a machine whose way to the network is shut."""
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "NNRUN_CACHE_DIR": str(tmp_path / "cache"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "no_proxy": "",
    }
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nnrun", "data", "fetch", "reuters"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.perf_counter() - start < 30
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr
    for needed in (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters.npz",
        "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
        str(tmp_path / "cache"),
        "--data-dir",
    ):
        assert needed in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
