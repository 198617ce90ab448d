"""The JSON Schema accepts and refuses what the loader does, as far as a schema can tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import nnrun.spec
from nnrun.spec.reading.grammar import ROOT, Choice, Items, Keys, ListOrMap
from nnrun.spec.reading.nodes import SourceText, plain
from nnrun.spec.reading.yaml_reader import read_yaml
from nnrun.spec.schema import ExperimentSpec
from nnrun.spec.writing.json_schema import json_schema
from tests.support.spec_strategies import SPECS, every_choice

BAD = Path(__file__).parents[1] / "reading" / "bad"
SPEC_FOLDER = Path(__file__).parents[3] / "specs"
VALIDATOR = Draft202012Validator(json_schema())
GOOD = {"dataset": "imdb", "layers": [{"dense": 1}], "loss": "mse"}


def test_the_file_is_current() -> None:
    """After a change of the grammar: `nnrun schema > nnrun/spec/schema.json`."""
    committed = Path(nnrun.spec.__file__).with_name("schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == json_schema()


def test_it_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@settings(deadline=None)
@given(SPECS)
def test_any_valid_spec_is_accepted(values: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(values)


@pytest.mark.parametrize("path", sorted(SPEC_FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_the_specs_of_the_project_are_accepted(path: Path) -> None:
    node, _ = read_yaml(SourceText(path.name, path.read_text(encoding="utf-8")))
    assert list(VALIDATOR.iter_errors(plain(node))) == []


TOP_LEVEL = [(path[0], form) for path, form in every_choice() if len(path) == 1]


@pytest.mark.parametrize(("key", "form"), TOP_LEVEL, ids=[key for key, _ in TOP_LEVEL])
def test_every_form_of_a_component(key: str, form: Choice) -> None:
    whole = ROOT.form(key)
    in_list = isinstance(whole, (Items, ListOrMap))

    def accepts(component: Any) -> bool:
        value = {"chain": [component]} if isinstance(whole, Keys) else [component] if in_list else component
        return VALIDATOR.is_valid({**GOOD, key: value})

    for kind, cls in form.kinds:
        required = any(info.is_required() for info in cls.model_fields.values())
        assert accepts(kind) != required
        assert accepts({kind: None}) != required
        assert accepts({kind: {}}) != required
        assert not accepts({kind: {"no_such_parameter": 1}})
    for alias, kind in form.aliases.items():
        required = any(info.is_required() for info in form.components[kind].model_fields.values())
        assert accepts(alias) != required
    for wrong in ("no_such_name", {}, {"no_such_name": {}}, 5, []):
        assert not accepts(wrong)
    assert accepts(None) == form.optional
    first, second, *_ = form.components
    assert not accepts({first: {}, second: {}})


@pytest.mark.parametrize(
    ("steps", "accepted"),
    [
        (["log1p", "standardize"], True),
        (["log1p"], True),
        ([{"log1p": {"standardize": True}}], True),
        (["standardize", "log1p"], False),
        ([], False),
        (["no_such_step"], False),
    ],
)
def test_target_steps_as_a_list(steps: list[Any], accepted: bool) -> None:
    spec = {**GOOD, "dataset": {"npz": {"path": "t.npz"}}, "preprocessing": {"targets": steps}}
    assert VALIDATOR.is_valid(spec) == accepted
    if accepted:
        ExperimentSpec.model_validate(spec)
    else:
        with pytest.raises(ValidationError):
            ExperimentSpec.model_validate(spec)


# The others are wrong in a way that only YAML, an override, a file system or lint can see; and whether a file
# needs a target (component_not_built) depends on `outputs`.
WRONG = sorted(path for kind in ("key", "component", "value") for path in BAD.glob(f"{kind}_*.yaml"))


@pytest.mark.parametrize(
    "path",
    [p for p in WRONG if p.stem not in ("value_init_weights", "component_not_built")],
    ids=lambda path: path.stem,
)
def test_what_the_loader_refuses_is_refused(path: Path) -> None:
    node, _ = read_yaml(SourceText(path.name, path.read_text(encoding="utf-8")))
    assert not VALIDATOR.is_valid(plain(node))
