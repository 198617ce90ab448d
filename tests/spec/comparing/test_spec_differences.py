"""Where specs differ: by paths that `--set` takes, and in values that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nnrun.errors import SpecError
from nnrun.spec.comparing.spec_differences import ABSENT, SpecDifference, spec_differences
from nnrun.spec.reading.load import load_spec_text, read_kept_spec
from nnrun.spec.reading.nodes import SourceText, plain
from nnrun.spec.reading.overrides import apply_overrides
from nnrun.spec.reading.yaml_reader import read_yaml
from nnrun.spec.schema import ExperimentSpec
from nnrun.spec.wording import letters
from nnrun.spec.writing.dump import dump_spec, dump_value, flow_text
from tests.support.spec_strategies import SPECS

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": "boston_housing",
    "preprocessing": {"inputs": "standardize"},
    "layers": [{"dense": {"units": 64, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "metrics": ["mae"],
}


def spec(**changes: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate(SMALL | changes)


def found(*specs: ExperimentSpec) -> dict[str, list[str]]:
    return {difference.path: difference.texts for difference in spec_differences(specs)}


def test_a_parameter_that_differs_stands_alone() -> None:
    wide = [{"dense": {"units": 16, "activation": "relu"}}, {"dense": 1}]
    assert found(spec(), spec(layers=wide)) == {"layers[0].dense.units": ["64", "16"]}
    slow = spec(optimizer={"rmsprop": 1e-5})
    assert found(spec(), slow, spec()) == {"optimizer.rmsprop.learning_rate": ["0.001", "1.0e-05", "0.001"]}


def test_another_component_is_one_difference_without_its_defaults() -> None:
    assert found(spec(), spec(optimizer={"adam": {"learning_rate": 0.01}}), spec(optimizer="adam")) == {
        "optimizer": ["rmsprop", "{adam: 0.01}", "adam"]
    }
    assert found(spec(), spec(optimizer={"sgd": {"momentum": 0.9, "nesterov": True}})) == {
        "optimizer": ["rmsprop", "{sgd: {momentum: 0.9, nesterov: true}}"]
    }
    assert found(spec(), spec(validation={"holdout": {"first": 10}})) == {
        "validation": ["none", "{holdout: {first: 10}}"]
    }


DENSE: list[dict[str, Any]] = [{"dense": {"units": units, "activation": "relu"}} for units in (64, 32, 16)]
LAYERS: dict[str, tuple[list[list[Any]], dict[str, list[str]]]] = {
    "a layer more at the beginning": (
        [[DENSE[0], {"dense": 1}], [{"dropout": 0.5}, DENSE[0], {"dense": 1}]],
        {"layers[0]": ["-", "{dropout: 0.5}"]},
    ),
    "a layer more in between": (
        [[DENSE[0], {"dense": 1}], [DENSE[0], {"dropout": 0.5}, {"dense": 1}]],
        {"layers[1]": ["-", "{dropout: 0.5}"]},
    ),
    "a layer of the same kind more": (
        [[DENSE[0], DENSE[1], {"dense": 1}], [DENSE[0], {"dense": 1}]],
        {"layers[1]": ["{dense: {units: 32, activation: relu}}", "-"]},
    ),
    "another in the same place": (
        [[DENSE[0], {"dropout": 0.5}, {"dense": 1}], [DENSE[0], "batch_normalization", {"dense": 1}]],
        {"layers[1]": ["{dropout: 0.5}", "batch_normalization"]},
    ),
    "other units": (
        [[DENSE[0], {"dense": 1}], [DENSE[1], {"dropout": 0.5}, {"dense": 1}]],
        {"layers[0].dense.units": ["64", "32"], "layers[1]": ["-", "{dropout: 0.5}"]},
    ),
    "three networks": (
        [
            [DENSE[0], {"dense": 1}],
            [DENSE[0], {"dropout": 0.5}, {"dense": 1}],
            [DENSE[0], {"dropout": 0.5}, DENSE[2], {"dropout": 0.2}, {"dense": 1}],
        ],
        {
            "layers[1]": ["-", "{dropout: 0.5}", "{dropout: 0.5}"],
            "layers[2]": ["-", "-", "{dense: {units: 16, activation: relu}}"],
            "layers[3]": ["-", "-", "{dropout: 0.2}"],
        },
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_aligned_by_what_they_are(name: str) -> None:
    networks, expected = LAYERS[name]
    differences = spec_differences([spec(layers=layers) for layers in networks], align=True)
    assert {difference.path: difference.texts for difference in differences} == expected


@given(SPECS, SPECS)
def test_aligned_or_not_equal_specs_do_not_differ_and_others_do(
    values: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = (ExperimentSpec.model_validate(each) for each in (values, other))
    assert spec_differences([first, first], align=True) == []
    assert bool(spec_differences([first, second], align=True)) == (first != second)


def test_a_longer_list_has_entries_that_the_other_lacks() -> None:
    deeper = [*SMALL["layers"][:1], {"dropout": 0.5}, {"dense": 1}]
    assert found(spec(), spec(layers=deeper)) == {
        "layers[1]": ["{dense: 1}", "{dropout: 0.5}"],
        "layers[2]": ["-", "{dense: 1}"],
    }
    assert found(spec(), spec(metrics=[])) == {"metrics[0]": ["mae", "-"]}
    (difference,) = spec_differences([spec(metrics=[]), spec()])
    assert difference.values[0] is ABSENT
    assert difference.plain == [None, "mae"]


def test_what_is_there_or_not_and_lists_of_numbers_are_one_value() -> None:
    assert found(spec(), spec(early_stopping={"patience": 3})) == {
        "early_stopping": ["null", "{patience: 3}"]
    }
    columns = [spec(preprocessing={"inputs": {"standardize": c}}) for c in ([0, 1], [0, 2], None)]
    assert found(*columns) == {"preprocessing.inputs[0].standardize.columns": ["[0, 1]", "[0, 2]", "null"]}


def test_equal_specs_do_not_differ() -> None:
    assert found(spec(), spec(), spec()) == {}


def test_values_are_whole_for_a_machine() -> None:
    assert spec_differences([spec(), spec(optimizer="sgd")])[0].plain[1] == {
        "sgd": {
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            "gradient_accumulation_steps": None,
            "momentum": 0.0,
            "nesterov": False,
        }
    }


def with_overrides(base: ExperimentSpec, overrides: list[str]) -> ExperimentSpec:
    root, problems = read_yaml(SourceText("spec", dump_spec(base)))
    root, found_here = apply_overrides(root, overrides)
    assert [*problems, *found_here] == []
    return ExperimentSpec.model_validate(plain(root))


def _make_lists_equally_long(first: Any, second: Any) -> None:
    """In plain values: lists at the same place, at any depth, lose what only one of them has."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() & second.keys():
            _make_lists_equally_long(first[key], second[key])
    elif isinstance(first, list) and isinstance(second, list):
        length = min(len(first), len(second))
        del first[length:], second[length:]
        for entries in zip(first, second, strict=True):
            _make_lists_equally_long(*entries)


@example(
    {"dataset": "imdb", "layers": {"A": ["unit_normalization"]}},
    {"dataset": "imdb", "layers": {"A": [{"activation": "relu"}, {"activation": "linear"}]}},
)
@example(
    {"dataset": "imdb", "layers": ["prelu"], "sweep": {"over": {"": {"uniform": {"range": [0.0, 0.0]}}}}},
    {"dataset": "imdb", "layers": ["prelu"], "sweep": {"over": {"": {"uniform": {"range": [0.0, 1.0]}}}}},
)
@given(SPECS, SPECS)
def test_set_turns_one_spec_into_the_other(values: dict[str, Any], other: dict[str, Any]) -> None:
    """What is shown of the second spec, written behind --set, changes the first into it."""
    # --set changes entries of a list and adds none, so the lists are made as long as each other.
    _make_lists_equally_long(values, other)
    for held in (values, other):
        held.pop("preprocessing", None)
    a, b = ExperimentSpec.model_validate(values), ExperimentSpec.model_validate(other)
    differences = spec_differences([a, b])
    assume(all(value is not ABSENT for difference in differences for value in difference.values))
    overrides = [f"{difference.path}={difference.texts[1]}" for difference in differences]
    assert with_overrides(a, overrides) == b


def test_a_part_with_every_default_is_not_switched_off() -> None:
    with_it = spec(early_stopping={"patience": 0})
    texts = [difference.texts for difference in spec_differences([spec(), with_it])]
    assert texts == [["null", "{monitor: val_loss}"]]
    assert with_overrides(spec(), ["early_stopping={monitor: val_loss}"]) == with_it


@example(
    {
        "dataset": {"text_folder": {"path": "", "test": {"shuffle": True}}},
        "layers": [{"dense": 1}],
        "loss": "mse",
    }
)
@given(SPECS)
def test_without_its_defaults_a_spec_is_the_same(values: dict[str, Any]) -> None:
    made = ExperimentSpec.model_validate(values)
    node, problems = read_yaml(SourceText("short", f"spec: {flow_text(made)}"))
    assert problems == []
    assert ExperimentSpec.model_validate(plain(node)["spec"]) == made


@given(SPECS, st.data())
def test_all_that_differs_is_found(values: dict[str, Any], data: st.DataObject) -> None:
    made = ExperimentSpec.model_validate(values)
    epochs = data.draw(st.integers(1, 10**6).filter(lambda n: n != made.epochs))
    changed = made.model_copy(update={"epochs": epochs})
    assert spec_differences([made, changed]) == [SpecDifference("epochs", (made.epochs, epochs))]
    assert dump_value(made) != dump_value(changed)


def test_a_kept_spec_is_read_though_its_files_are_gone(tmp_path: Path) -> None:
    weights = tmp_path / "start.safetensors"
    weights.touch()
    text = f"init_weights: {weights}\n" + dump_spec(spec()).replace("init_weights: null\n", "")
    loaded = load_spec_text(text, file="x", base=tmp_path, default_name="x")
    weights.unlink()
    kept = dump_spec(loaded.spec)
    with pytest.raises(SpecError, match="there is no file"):
        load_spec_text(kept, file="x", base=tmp_path, default_name="x")
    assert read_kept_spec(kept, file="x") == loaded.spec


@pytest.mark.parametrize("text", ["loss: [", "loss: mse\n", "loss: mse\nloss: mae\n"])
def test_a_damaged_kept_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="the spec of x"):
        read_kept_spec(text, file="the spec of x")


def test_letters_go_on_behind_z() -> None:
    assert [letters(place) for place in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        *("A", "B", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA")
    ]
