from pathlib import Path

import pytest

import nnrun
from nnrun import extras
from nnrun.cli import main
from tests.support.small_experiments import write_small


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["serve", "@last"]) == 2
    assert capsys.readouterr().err == (
        "error: `nnrun serve` needs fastapi and uvicorn, which this Python does not have. Install the extra: "
        "pip install 'nnrun[serve]' (from a checkout: pip install -e '.[serve]').\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--probabilities"], "predicts numbers, which have no probabilities."),
        (["--spread"], "--spread is the standard deviation over several networks"),
        (["--interval", "2"], "it is the share of rows to cover"),
        (["--member", "fold-1"], "has one network, which has no name"),
    ],
)
def test_what_the_run_has_not_is_refused_before_it_listens(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("fastapi", reason="FastAPI comes with the extra `serve`")
    monkeypatch.chdir(tmp_path)
    nnrun.train(write_small(tmp_path))
    assert main(["serve", "@last", "--port", "0", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)
