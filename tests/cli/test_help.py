"""`nnrun help`."""

from __future__ import annotations

import json

import pytest

from nnrun.cli import main
from nnrun.cli.app import COMMANDS
from tests.support.small_experiments import check_screen

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("help", []),
        ("help_layer", ["layers.dense"]),
        ("help_part", ["early_stopping"]),
        ("help_choice", ["validation"]),
        ("help_key", ["optimizer.adam.learning_rate"]),
        ("help_two_meanings", ["mse"]),
        ("help_unknown", ["optimiser"]),
    ],
)
def test_the_screens(name: str, arguments: list[str], capsys: Capture) -> None:
    assert main(["help", *arguments]) == (2 if name == "help_unknown" else 0)
    check_screen(name, capsys.readouterr())


def test_a_command_is_explained_as_by_its_own_help(capsys: Capture) -> None:
    assert main(["train", "--help"]) == 0
    own = capsys.readouterr().out
    assert main(["help", "train"]) == 0
    assert capsys.readouterr().out == own


def test_json(capsys: Capture) -> None:
    assert main(["help", "layers.lstm", "--json"]) == 0
    (topic,) = json.loads(capsys.readouterr().out)["topics"]
    assert topic["path"] == "layers.lstm"
    assert topic["keys"][0] == {"name": "units", "default": None, "allowed": "a whole number, 1 or more"}
    assert main(["help", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["commands"] == list(COMMANDS)
    assert "early_stopping" in document["keys"]
