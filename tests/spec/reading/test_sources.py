"""What may stand for a spec in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import SpecError, UsageError
from nnrun.spec.reading.load import load_spec
from nnrun.spec.reading.sources import text_of

SPEC: dict[str, Any] = {
    "dataset": {"csv": {"path": Path("t.csv"), "target": "y"}},
    "layers": [{"dense": {"units": np.int64(4), "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "optimizer": {"adam": {"learning_rate": np.float32(0.5)}},
}


def test_a_dict_is_the_spec_of_its_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = text_of(SPEC)
    assert text is not None
    (tmp_path / "spec.yaml").write_text(text)
    of_dict, of_text, of_file = (load_spec(source) for source in (SPEC, text, "spec.yaml"))
    assert of_dict.spec == of_text.spec == of_file.spec
    assert of_dict.spec.name == "spec"
    assert of_dict.source_text == text
    assert of_dict.path is None
    assert str(of_dict.spec.dataset.path) == str(tmp_path / "t.csv")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "is_text"),
    [("a.yaml", False), (Path("a.yaml"), False), ("loss: mse\n", True), ("{loss: mse}", True)],
)
def test_paths_and_texts(source: Any, is_text: bool) -> None:
    assert (text_of(source) is not None) == is_text


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (3, "A spec is a file's path, YAML text of several lines, or a dict; found a int."),
        (
            {"loss": {1}},
            "The dict of the spec is, or holds, a set; a spec holds text, numbers, lists and maps.",
        ),
    ],
)
def test_what_is_no_spec(source: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_spec(source)
    assert str(caught.value) == sentence


def test_what_is_wrong_with_a_dict_is_shown_in_its_yaml() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec({**SPEC, "loss": "msee"})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.snippet) == ("spec", 5, "loss: msee")
