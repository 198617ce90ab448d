"""`nnrun check` and `nnrun schema`, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.spec.writing.json_schema import json_schema

GOOD = "dataset: boston_housing\npreprocessing: {inputs: standardize}\nlayers: [{dense: 1}]\nloss: mse\n"
BAD = GOOD.replace("mse", "msee")
DOUBTFUL = GOOD + "batch_size: 1000\n"

HEAVY = {"torch", "pandas", "numpy", "sklearn", "scipy", "matplotlib"}


@pytest.fixture(autouse=True)
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"good": GOOD, "bad": BAD, "doubtful": DOUBTFUL}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "good.yaml"]) == 0
    assert capsys.readouterr() == ("good.yaml: ok\n", "")


def test_warnings_are_shown_and_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "doubtful.yaml"]) == 0
    assert capsys.readouterr().out == (
        "doubtful.yaml:5:13: warning: a batch of 1,000 is larger than the 404 training rows: "
        "each epoch is one update\n"
        "    5 | batch_size: 1000\n"
        "      |             ^\n"
        "doubtful.yaml: ok, 1 warning\n"
    )


def test_all_problems_of_all_specs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "bad.yaml", "good.yaml", "--set", "epochs=0"]) == 3
    assert capsys.readouterr().out == (
        "bad.yaml:4:7: error: loss cannot be 'msee'; did you mean 'mse'? Allowed: binary_crossentropy, "
        "categorical_crossentropy, sparse_categorical_crossentropy, mse, mae, huber, "
        "binary_focal_crossentropy, categorical_focal_crossentropy, kl_divergence, hinge, "
        "squared_hinge, categorical_hinge, dice, tversky, log_cosh, mape, msle, poisson, "
        "cosine_similarity, quantile, ctc or custom\n"
        "    4 | loss: msee\n"
        "      |       ^\n"
        "--set: error: epochs must be a whole number, 1 or more; found the number 0\n"
        "      | epochs=0\n"
        "      |        ^\n"
        "bad.yaml: 2 errors\n"
        "--set: error: epochs must be a whole number, 1 or more; found the number 0\n"
        "      | epochs=0\n"
        "      |        ^\n"
        "good.yaml: 1 error\n"
        "2 specs: 0 ok, 2 with errors\n"
    )


def test_a_missing_file_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "god.yaml", "bad.yaml", "good.yaml"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["error: god.yaml: no such file; did you mean good.yaml?", "god.yaml: 1 error"]
    assert lines[-2:] == ["good.yaml: ok", "3 specs: 1 ok, 2 with errors"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "bad.yaml", "good.yaml", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert [(spec["file"], spec["ok"], len(spec["problems"])) for spec in document["specs"]] == [
        ("bad.yaml", False, 1),
        ("good.yaml", True, 0),
    ]
    problem = document["specs"][0]["problems"][0]
    assert {key: problem[key] for key in ("path", "file", "line", "column", "snippet", "severity")} == {
        "path": "loss",
        "file": "bad.yaml",
        "line": 4,
        "column": 7,
        "snippet": "loss: msee",
        "severity": "error",
    }


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_an_invalid_spec_ends_with_3_and_no_traceback() -> None:
    done = run("-m", "nnrun", "check", "bad.yaml")
    assert done.returncode == 3
    assert "did you mean 'mse'?" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["check", "good.yaml", "bad.yaml"], ["schema"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    done = run(
        "-c",
        f"import sys; from nnrun.cli import main; main({arguments!r}); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)",
    )
    loaded = set(done.stderr.split())
    assert "nnrun" in loaded
    assert not loaded & HEAVY
