"""The project's specs, where a user finds them to copy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nnrun.errors import NnrunError, UsageError
from nnrun.spec import examples
from nnrun.spec.reading.load import load_spec


def test_every_spec_of_the_project_is_an_example(specs_dir: Path, tmp_path: Path) -> None:
    names = examples.example_names()
    assert names == tuple(sorted(path.stem for path in specs_dir.glob("*.yaml")))
    for name in names:
        copy = tmp_path / f"{name}.yaml"
        copy.write_text(examples.example_text(name), encoding="utf-8")
        original = load_spec(specs_dir / f"{name}.yaml").spec
        assert load_spec(copy).spec == original
        assert examples.example_summary(name).strip("# ")


def test_a_copy_has_all_but_the_line_for_editors(specs_dir: Path) -> None:
    first, rest = (specs_dir / "reuters.yaml").read_text(encoding="utf-8").split("\n", 1)
    assert first.startswith("# yaml-language-server:")
    assert examples.example_text("reuters") == rest


def test_the_wheel_holds_the_folder_where_an_installed_package_looks(specs_dir: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib comes with Python 3.11")
    import tomllib

    project = tomllib.loads((specs_dir.parent / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {specs_dir.name: "nnrun/examples"}
    package = Path(examples.__file__).parents[1]
    assert package / "examples" == examples._PLACES[0]


def test_an_installed_package_is_looked_in_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "examples"
    installed.mkdir()
    (installed / "mine.yaml").write_text("# Mine.\nloss: mse\n")
    monkeypatch.setattr(examples, "_PLACES", (installed, tmp_path / "specs"))
    assert examples.example_names() == ("mine",)
    assert examples.example_summary("mine") == "Mine."


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UsageError, match=r"^There is no example 'reuter'\. Did you mean 'reuters'\? There are"
    ):
        examples.example_text("reuter")
    monkeypatch.setattr(examples, "_PLACES", (tmp_path / "nowhere",))
    with pytest.raises(NnrunError, match=r"^The example specs are not in .*nowhere\. Install nnrun again\.$"):
        examples.example_names()
