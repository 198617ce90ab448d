"""The reference that `nnrun help` shows: every topic has an example, and every example is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import nnrun
from nnrun.errors import NnrunError, UsageError
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from nnrun.spec.sweep_plan import load_sweep
from nnrun.spec.topics import Topic, find_topics, overview, places_of_keys, topic_names
from tests.support.topic_specs import specs_with, write_data

_PUBLISHED = ("imdb", "reuters", "mnist", "fashion_mnist", "penguins", "titanic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples name; among them the weights of a network that one starts from."""
    made = tmp_path_factory.mktemp("topics")
    write_data(made)
    _, numbers = next(specs_with("epochs: 1"))
    run = nnrun.train(_written(made, numbers), runs_dir=made / "runs", overrides={"epochs": 1})
    shutil.copy(run.path / "fold-0" / "weights.safetensors", made / "pretrained.safetensors")
    return made


def _written(folder: Path, spec: dict[str, object]) -> Path:
    path = folder / "spec.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in spec.items()))
    return path


def _in_a_spec(folder: Path, topic: Topic, use: Callable[[Path], object], begin: str = "") -> str:
    """Use the first of the small specs in which a topic's example is valid, and give its name.

    The one called `begin` is tried before the others.
    """
    problems = {}
    for name, spec in sorted(specs_with(topic.example), key=lambda named: named[0] != begin):
        try:
            use(_written(folder, spec))
        except NnrunError as error:
            problems[name] = str(error).splitlines()[0]
        else:
            return name
    listed = "\n".join(f"{name}: {problem}" for name, problem in problems.items())
    pytest.fail(f"the example of {topic.path} is valid in no spec:\n{topic.example}\n{listed}")


def _only(path: str) -> Topic:
    (topic,) = find_topics(path)
    return topic


@pytest.mark.parametrize("path", topic_names())
def test_the_example_of_every_topic_is_trained(
    path: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    if path.startswith("dataset.parquet"):
        pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow", reason="parquet files")
        pandas.read_csv(folder / "houses.csv").to_parquet(folder / "houses.parquet")

    def train(file: Path) -> None:
        spec = load_spec(file).spec
        changes: dict[str, object] = {"epochs": 1, "batch_size": 16}
        if spec.sweep is not None:
            assert load_sweep(file).trials
            changes["sweep"] = None
        smoke = spec.dataset.kind in _PUBLISHED
        run = nnrun.train(
            file, runs_dir=folder / "runs", overrides=changes, smoke=smoke, allow_custom=["my_code"]
        )
        assert run.status == "completed"

    _in_a_spec(folder, _only(path), train)


@pytest.mark.parametrize("path", sorted({path.rsplit(".", 1)[0] for path in places_of_keys()}))
def test_the_example_of_every_key_of_a_component_is_valid(path: str, folder: Path) -> None:
    name = ""
    for key in _only(path).keys:
        name = _in_a_spec(folder, _only(f"{path}.{key.name}"), load_spec, begin=name)


def test_every_component_and_every_key_of_a_spec_is_a_topic() -> None:
    named = {name.split(".")[-1] for name in topic_names()}
    for family in (schema.Layer, schema.Loss, schema.Metric, schema.Optimizer, schema.Validation):
        assert set(schema.components(family)) <= named
    assert set(schema.ExperimentSpec.model_fields) <= named
    assert all(overview().values())


def test_a_topic_says_default_allowed_values_and_keys() -> None:
    topic = _only("layers.lstm")
    units, activation = topic.keys[:2]
    assert (units.name, units.default, units.allowed) == ("units", None, "a whole number, 1 or more")
    assert (activation.name, activation.default) == ("activation", "tanh")
    assert _only("layers[0].dense.units").path == "layers.dense.units"
    assert _only("epochs").default == "1"
    assert "accuracy" in _only("metrics").components


def test_the_last_part_of_a_path_is_enough_and_may_mean_several_topics() -> None:
    assert [topic.path for topic in find_topics("lstm")] == ["layers.lstm"]
    assert [topic.path for topic in find_topics("mean_squared_error")] == ["loss.mse", "metrics.mse"]
    assert [topic.path for topic in find_topics("patience")] == ["early_stopping.patience"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("optimiser", "There is no topic 'optimiser'. Did you mean optimizer?"),
        ("layers.lstn", "layers has no 'lstn'. Did you mean lstm?"),
        ("layers.lstm.unit", "layers.lstm has no 'unit'. Did you mean units?"),
        ("epochs.first", "epochs has no 'first'. Nothing stands below it."),
        ("", "There is no topic ''."),
        (
            "weighting",
            "weighting is a key of multi_hot and text: nnrun help preprocessing.inputs.multi_hot.w",
        ),
        (
            "nb_ratio",
            "nb_ratio is a value of weighting: nnrun help preprocessing.inputs.multi_hot.weighting.",
        ),
        (
            "linear",
            "linear is a value of activation, recurrent_activation, anneal and weights: nnrun help layers.d",
        ),
        ("weight_decay", "weight_decay is a key of rmsprop, sgd, adam, adamw, adagrad, nadam and "),
    ],
)
def test_an_unknown_topic_is_named_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_topics(name)
    assert str(caught.value).startswith(said)
