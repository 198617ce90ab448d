"""`nnrun data`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.cli import main
from nnrun.cli.doctor import _data_files


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


def test_a_table_that_only_has_the_name_is_told(run: Any, folder: Path) -> None:
    (folder / "tables").mkdir()
    other = folder / "tables" / "titanic.csv"
    other.write_text("survived,age\n1,22\n", encoding="utf-8")
    code, out, err = run("ls", "--data-dir", str(folder))
    assert code == 0
    assert next(line for line in out.splitlines() if line.startswith("titanic")).endswith("missing")
    assert f"{other} is not the published titanic, though it is called so" in " ".join(err.split())
    assert _data_files(folder) == [
        "reuters.npz",
        "tables/titanic.csv (not the published one: a table of your own)",
    ]


def test_ls_json(run: Any, folder: Path) -> None:
    code, out, err = run("ls", "--json", "--data-dir", str(folder))
    assert (code, err) == (0, "")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert entries["reuters"]["path"] == str(folder / "reuters.npz")
    missing = [name for name, entry in entries.items() if not entry["present"]]
    assert missing == ["imdb", "mnist", "fashion_mnist", "penguins", "titanic"]


def test_show_a_token_row_as_words(run: Any, folder: Path) -> None:
    (folder / "reuters_word_index.json").write_text('{"the": 1, "of": 2, "cacao\\u001b": 3}')
    code, out, err = run("show", "reuters", "--row", "0", "--data-dir", str(folder), "--num-words", "6")
    assert (code, err) == (0, "")
    head, _, words = out.splitlines()
    assert head.startswith("reuters, train row 0: target ")
    assert words == "<start> the of <unk>"
    code, out, err = run("show", "reuters", "--row", "0", "--data-dir", str(folder), "--num-words", "9")
    assert out.splitlines()[-1] == "<start> the of cacao\\x1b"


def test_show_a_token_row_as_integers_too(run: Any, folder: Path) -> None:
    (folder / "reuters_word_index.json").write_text('{"the": 1, "of": 2, "cacao": 3}')
    arguments = ["show", "reuters", "--row", "0", "--data-dir", str(folder), "--num-words", "9"]
    code, out, _ = run(*arguments, "--integers")
    assert code == 0
    assert out.splitlines()[2:] == ["<start> the of cacao", "", "1 4 5 6"]
    assert json.loads(run(*arguments, "--json")[1])["tokens"] == [1, 4, 5, 6]


LAYERS = "layers: [{dense: {units: 46, activation: softmax}}]\nloss: categorical_crossentropy\nepochs: 1\n"


def test_show_a_token_row_as_the_network_gets_it(run: Any, folder: Path) -> None:
    spec = folder / "r.yaml"
    spec.write_text(
        "dataset: {reuters: {num_words: 9}}\npreprocessing: {inputs: multi_hot}\n"
        f"{LAYERS}validation: {{holdout: {{fraction: 0.25}}}}\n"
    )
    arguments = ["show", str(spec), "--row", "0", "--data-dir", str(folder), "--prepared"]
    code, out, _ = run(*arguments)
    assert code == 0
    assert (
        "As the network gets it: 9 numbers, 4 of them not 0; preprocessing fitted on the 36 training rows."
        in out
    )
    assert "1 at the indices\n1 4 5 6\n" in out
    prepared = json.loads(run(*arguments, "--json")[1])["prepared"]
    assert (prepared["indices"], prepared["values"], prepared["features"]) == ([1, 4, 5, 6], [1.0] * 4, 9)
    assert sum(prepared["target"]) == 1
    assert len(prepared["target"]) == 46


def test_show_a_table_row_as_the_network_gets_it(run: Any, tmp_path: Path) -> None:
    """Standardized by the mean and deviation of the training rows, which are not all rows."""
    x = [3, 1, 4, 1, 5, 9, 2, 6, 5, 7]
    lines = [f"{x[row]},{'ab'[row % 2]},{2 * row}" for row in range(10)]
    (tmp_path / "t.csv").write_text("x,c,y\n" + "\n".join(lines) + "\n")
    spec = tmp_path / "t.yaml"
    spec.write_text(
        "dataset: {csv: {path: t.csv, target: y}}\npreprocessing: {inputs: [standardize, one_hot]}\n"
        "layers: [{dense: 1}]\nloss: mse\nvalidation: {holdout: {first: 4}}\n"
    )
    code, out, _ = run("show", str(spec), "--row", "5", "--prepared", "--json")
    assert code == 0
    prepared = json.loads(out)["prepared"]
    trained = np.array(x[4:])
    values = prepared["values"]
    named = dict(zip(prepared["names"], values, strict=True)) if not prepared["sparse"] else {}
    assert named["x"] == pytest.approx((x[5] - trained.mean()) / trained.std(), rel=1e-5)
    assert (named["c=a"], named["c=b"]) == (0, 1)
    assert (prepared["fitted_on"], prepared["target"]) == (6, [10.0])
    assert "As the network gets it: 3 numbers" in run("show", str(spec), "--row", "5", "--prepared")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["iris", "--prepared", "--row", "0"], "--prepared needs a spec"),
        (["iris", "--integers", "--row", "0"], "--integers is for texts that are stored as integers"),
        (["iris", "--integers"], "--integers is for one row: add --row N."),
    ],
)
def test_other_forms_where_there_are_none(run: Any, arguments: list[str], said: str) -> None:
    code, _, err = run("show", *arguments)
    assert code == 2
    assert said in err


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
        (("fetch", "mnst"), 2, "no data set 'mnst'. Did you mean mnist?"),
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
    assert list(Path(os.environ["NNRUN_CACHE_DIR"]).rglob("*-x-*/entry.json"))
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
    done = subprocess.run(
        [sys.executable, "-m", "nnrun", "data", "fetch", "reuters"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,  # it must not hang; how long a busy machine takes says nothing
    )
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
