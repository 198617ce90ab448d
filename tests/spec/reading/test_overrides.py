"""Overrides write what they say, whatever short form the spec uses. Refusals are in `bad/set_*.txt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.errors import SpecError, UsageError
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.reading.nodes import MapNode, Place, SourceText, plain
from nnrun.spec.reading.overrides import apply_overrides, with_changes
from nnrun.spec.reading.yaml_reader import read_yaml

SPEC = """\
dataset: imdb
preprocessing: {inputs: multi_hot}
layers:
  - dense: 64
  - dropout: 0.5
  - dense: {units: 1, activation: sigmoid}
loss: mean_squared_error
optimizer: rmsprop
metrics: [acc, mae]
validation: {kfold: 4}
"""


CUSTOM = """\
dataset: {sklearn: diabetes}
layers: [{custom: "mine:Gate"}, {custom: {object: "mine:Gate", parameters: {units: 4}}}, {dense: 1}]
loss: mse
"""


def test_the_parameters_of_custom_code_are_keys_like_others() -> None:
    overrides = ["layers[0].custom.parameters.units=8", "layers[1].custom.parameters.rate=0.5"]
    layers = load_spec_text(
        CUSTOM, file="s.yaml", base=Path(), default_name="s", overrides=overrides
    ).spec.model_dump()["layers"]
    found = [layer["custom"]["parameters"] for layer in layers[:2]]
    assert found == [{"units": 8}, {"units": 4, "rate": 0.5}]


def changed(*overrides: str) -> dict[str, Any]:
    root, problems = read_yaml(SourceText("spec.yaml", SPEC))
    root, more = apply_overrides(root, overrides)
    assert problems + more == []
    before = plain(read_yaml(SourceText("spec.yaml", SPEC))[0])
    after = plain(root)
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("epochs=5", {"epochs": 5}),
        (" epochs =5", {"epochs": 5}),
        ("name=a=b", {"name": "a=b"}),
        ("description=", {"description": None}),
        ("loss=mse", {"loss": "mse"}),
        ("optimizer={adam: {learning_rate: 1e-4}}", {"optimizer": {"adam": {"learning_rate": 1e-4}}}),
        ("metrics=[accuracy]", {"metrics": ["accuracy"]}),
        # A name becomes a map, a bare value keeps its parameter.
        ("optimizer.rmsprop.learning_rate=1e-4", {"optimizer": {"rmsprop": {"learning_rate": 1e-4}}}),
        ("optimizer.rmsprop=1e-4", {"optimizer": {"rmsprop": 1e-4}}),
        ("dataset.imdb.num_words=500", {"dataset": {"imdb": {"num_words": 500}}}),
        ("validation.kfold.shuffle=true", {"validation": {"kfold": {"k": 4, "shuffle": True}}}),
        ("validation.kfold.k=5", {"validation": {"kfold": {"k": 5}}}),
        ("validation.kfold=5", {"validation": {"kfold": 5}}),
        ("metrics[0]=auc", {"metrics": ["auc", "mae"]}),
        ("metrics[-1]=auc", {"metrics": ["acc", "auc"]}),
        # One input step is a list of one.
        (
            "preprocessing.inputs.multi_hot.dimension=5",
            {"preprocessing": {"inputs": {"multi_hot": {"dimension": 5}}}},
        ),
        (
            "preprocessing.inputs[0].multi_hot.dimension=5",
            {"preprocessing": {"inputs": [{"multi_hot": {"dimension": 5}}]}},
        ),
        ("preprocessing.targets=none", {"preprocessing": {"inputs": "multi_hot", "targets": "none"}}),
        # What the spec does not say is begun.
        ("early_stopping.patience=3", {"early_stopping": {"patience": 3}}),
    ],
)
def test_written(override: str, change: dict[str, Any]) -> None:
    assert changed(override) == change


def test_in_lists() -> None:
    assert changed("layers[0].dense.activation=relu")["layers"][0] == {
        "dense": {"units": 64, "activation": "relu"}
    }
    assert changed("layers[-1].dense.units=2")["layers"][2] == {
        "dense": {"units": 2, "activation": "sigmoid"}
    }
    assert changed("layers[1]={dense: 3}")["layers"] == [
        {"dense": 64},
        {"dense": 3},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ]


def test_a_default_component_may_be_named() -> None:
    root, _ = read_yaml(SourceText("spec.yaml", "loss: mse"))
    root, problems = apply_overrides(root, ["optimizer.adam.learning_rate=1e-4"])
    assert (plain(root)["optimizer"], problems) == ({"adam": {"learning_rate": 1e-4}}, [])


def test_an_alias_in_the_spec_is_the_same_component() -> None:
    root, _ = read_yaml(SourceText("spec.yaml", "loss: {mean_squared_error: {}}"))
    root, problems = apply_overrides(root, ["loss.mse={}"])
    assert (plain(root), problems) == ({"loss": {"mean_squared_error": {}}}, [])


LIST_OF_STEPS = "preprocessing: {inputs: standardize}\nlayers: [{dense: 4}, {dense: 1}]\nloss: mse\n"


@pytest.mark.parametrize(
    "pair",
    [
        ("epochs", "epochs"),
        ("epochs", " epochs "),
        ("optimizer", "optimizer.adam.learning_rate"),
        ("optimizer.adam", "optimizer.adam.learning_rate"),
        ("layers", "layers[0].dense.units"),
        ("layers[0]", "layers[0].dense.units"),
        ("layers[0].dense", "layers[0].dense.units"),
        ("layers[1].dense.units", "layers[-1].dense.units"),
        ("layers[-2]", "layers[0].dense.units"),
        ("loss.mse", "loss.mean_squared_error"),
        ("loss", "loss.mean_squared_error"),
        ("preprocessing.inputs[0]", "preprocessing.inputs.standardize"),
        ("preprocessing.inputs.standardize", "preprocessing.inputs[0].standardize.columns"),
        ("gradient_clip", "gradient_clip.norm"),
        ("dataset.csv.path", "dataset.tsv.path"),
        ("metrics", "metrics[0]"),
        ("class_weight", "class_weight"),
        ("sweep.over", "sweep.over"),
    ],
)
def test_the_same_key_twice_or_one_inside_another_is_an_error(pair: tuple[str, str]) -> None:
    """In either order and any spelling: whichever came last would win in silence."""
    for first, second in (pair, pair[::-1]):
        root, _ = read_yaml(SourceText("spec.yaml", LIST_OF_STEPS))
        _, problems = apply_overrides(root, [f"{first}=1", f"{second}=2"])
        about = [problem for problem in problems if problem.snippet == f"{second}=2"]
        assert any(f"--set {first}=1" in problem.message for problem in about), problems


def test_what_is_beside_is_no_overlap() -> None:
    assert changed("optimizer.rmsprop.rho=0.5", "optimizer.rmsprop.learning_rate=0.1", "epochs=3") == {
        "optimizer": {"rmsprop": {"rho": 0.5, "learning_rate": 0.1}},
        "epochs": 3,
    }


def test_overlaps_from_python_are_told_in_its_words() -> None:
    with pytest.raises(SpecError) as caught:
        load({"optimizer": "sgd", "optimizer.adam.learning_rate": 0.1})
    assert str(caught.value).startswith(
        "overrides: error: this is a part of optimizer, which overrides optimizer='sgd' sets as a whole; "
        "keep one of them, or write this into the value of optimizer\n"
    )


def test_what_prevails_is_no_overlap() -> None:
    changes = with_changes(["epochs=5"], {"epochs": 6, "init_weights": None})
    root, problems = apply_overrides(MapNode({}, Place(SourceText("spec.yaml", ""), 1, 1)), changes)
    assert (plain(root), problems) == ({"epochs": 6, "init_weights": None}, [])


def test_a_text_is_one_override() -> None:
    assert load("epochs=7").epochs == 7
    for wrong in (5, [5], [None], object()):
        with pytest.raises(UsageError, match="overrides are a dict such as"):
            load(wrong)


def test_an_alias_of_yaml_is_not_changed_with_its_anchor() -> None:
    root, _ = read_yaml(SourceText("spec.yaml", "layers:\n  - &one {dense: {units: 8}}\n  - *one\n"))
    root, problems = apply_overrides(root, ["layers[0].dense.units=9"])
    assert problems == []
    assert plain(root) == {"layers": [{"dense": {"units": 9}}, {"dense": {"units": 8}}]}


def load(overrides: Any) -> Any:
    return load_spec_text(
        SPEC, file="spec.yaml", base=Path("/"), default_name="spec", overrides=overrides
    ).spec


def test_from_python() -> None:
    spec = load(
        {"layers[0].dense.units": 32, "metrics": ["mae"], "optimizer": {"adam": {"learning_rate": 0.1}}}
    )
    assert spec.layers[0].units == 32
    assert [metric.kind for metric in spec.metrics] == ["mae"]
    assert spec.optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    ("value", "screen"),
    [
        (
            object,
            "overrides: error: the value is, or holds, a type; a spec holds text, numbers, lists and maps\n"
            "      | epochs=<class 'object'>\n      | ^",
        ),
        (
            "many",
            "overrides: error: epochs must be a whole number, 1 or more; found the text 'many'\n"
            "      | epochs='many'\n      | ^",
        ),
    ],
)
def test_wrong_values_from_python(value: object, screen: str) -> None:
    with pytest.raises(SpecError) as caught:
        load({"epochs": value})
    assert str(caught.value) == screen


def test_values_from_python_have_bounds() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value in (endless, 10**5000, {(1, 2): 2}, "\x1b[31m", b"bytes"):
        with pytest.raises(SpecError, match="the value is, or holds, "):
            load({"description": value})


@settings(deadline=None)
@given(
    st.text(max_size=40) | st.from_regex(r"[a-z_]{1,12}(\.[a-z_]{1,8}|\[-?\d\]){0,4}=.{0,12}", fullmatch=True)
)
def test_any_override_is_taken_or_refused(text: str) -> None:
    screen = "problem"
    try:
        load([text])
    except SpecError as error:
        screen = str(error)
    assert screen
    assert "pydantic" not in screen


PATHS = st.sampled_from(
    [
        "epochs",
        "layers[0].dense.units",
        "layers[-1].dense.units",
        "validation.kfold.k",
        "dataset.imdb.num_words",
        "preprocessing.inputs.multi_hot.dimension",
    ]
)


@given(PATHS, st.integers(1, 10**9))
def test_what_is_set_is_found(path: str, number: int) -> None:
    root, _ = read_yaml(SourceText("spec.yaml", SPEC))
    root, problems = apply_overrides(root, [f"{path}={number}"])
    assert problems == []
    again, problems = apply_overrides(root, {path: number})
    assert problems == []
    assert plain(again) == plain(root)
    assert str(number) in str(plain(root))


def test_numpy_and_paths_are_taken_for_what_they_are() -> None:
    spec = load(
        {
            "seed": np.arange(3)[1],
            "epochs": np.array([4]),
            "batch_size": np.array(16),
            "shuffle": np.True_,
            "optimizer.rmsprop.learning_rate": np.float32(0.5),
            "description": Path("a") / "b",
            "learning_rate_schedule": {"rates": np.array([0.1, 0.2])},
        }
    )
    assert (spec.seed, spec.epochs, spec.batch_size, spec.shuffle) == (1, 4, 16, True)
    assert (spec.optimizer.learning_rate, spec.description) == (0.5, "a/b")
    assert spec.learning_rate_schedule[0].rates == [0.1, 0.2]
    for wrong in (np.array([1, 2]), np.complex64(1), np.array([]), np.array([[1]])):
        with pytest.raises(SpecError):
            load({"epochs": wrong})


def test_maps_from_python_may_have_numbers_for_keys() -> None:
    assert load({"class_weight": {0: 2.0, np.int64(1): 1.0}}).class_weight == {"0": 2.0, "1": 1.0}
    with pytest.raises(SpecError, match="the key '0' twice"):
        load({"class_weight": {0: 2.0, "0": 1.0}})
