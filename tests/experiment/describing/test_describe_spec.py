"""What a spec comes to before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.describing.describe_spec import Description, describe_spec
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.setup.groups import Selection
from nnrun.model.network import LayerShape
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, growing_tokens, load_small, spec_text

LAYERS = (LayerShape(0, "dense, relu", (8,), 32), LayerShape(1, "dense, linear", (1,), 9))
DROPPED = [{"dropout": 0.25}, *REGRESSION["layers"]]


@pytest.mark.parametrize(
    ("changes", "replicas", "rows"),
    [
        ({}, 1, (32, 16)),
        ({"validation": "none"}, 1, (48, 0)),
        ({"validation": {"kfold": {"k": 5}}}, 5, (38, 10)),
        ({"validation": {"kfold": {"k": 4, "shuffle": True, "repeats": 3}}}, 12, (36, 12)),
    ],
)
def test_a_table(changes: dict[str, Any], replicas: int, rows: tuple[int, int], tmp_path: Path) -> None:
    described = describe_spec(load_small(tmp_path, **changes).spec, None)
    assert described == Description(
        features=3,
        layers=LAYERS,
        parameters=41,
        replicas=replicas,
        kind="fold" if replicas > 1 else None,
        train_rows=rows[0],
        validation_rows=rows[1],
        test_rows=12,
        bytes=48 * 3 * 4,
        dense_bytes=48 * 3 * 4,
        memory=described.memory,  # tests/experiment/setup/test_memory_estimate.py
    )


def test_each_layer_is_named_with_its_place(tmp_path: Path) -> None:
    described = describe_spec(load_small(tmp_path, layers=DROPPED).spec, None)
    assert described.layers == (
        LayerShape(0, "dropout 0.25", (3,), 0),
        LayerShape(1, "dense, relu", (8,), 32),
        LayerShape(2, "dense, linear", (1,), 9),
    )


def test_token_lists_take_as_much_as_they_have_ones(tmp_path: Path) -> None:
    arrays = growing_tokens()
    tokens = {**BINARY, "preprocessing": {"inputs": {"multi_hot": 1000}}, "validation": "none"}
    described = describe_spec(load_small(tmp_path, tokens, arrays=arrays).spec, None)
    ones = sum(len(set(row)) for row in arrays["x_train"])
    assert (described.features, described.ones) == (1000, ones)
    assert described.test_rows == 0
    assert described.dense_bytes == 24 * 1000 * 4
    assert described.bytes is not None
    assert described.bytes < 24 * 1000 * 4 / 50


def test_folds_of_different_vocabularies_are_all_counted(tmp_path: Path) -> None:
    tokens = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": KFOLD}
    assert describe_spec(load_small(tmp_path, tokens, arrays=growing_tokens()).spec, None).replicas == 3


@pytest.mark.usefixtures("empty_cache")
def test_without_its_data_a_spec_tells_what_it_can(
    tmp_path: Path, specs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of this machine answers nobody, so that the test needs no network and reaches none.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    described = describe_spec(load_spec(specs_dir / "reuters.yaml").spec, None)
    assert described.layers == (
        LayerShape(0, "dense, relu", (64,), 640_064),
        LayerShape(1, "dense, relu", (64,), 4_160),
        LayerShape(2, "dense, softmax", (46,), 2_990),
    )
    assert (described.features, described.parameters, described.replicas) == (10_000, 647_214, 1)
    assert described.test_rows == 2_246
    assert described.bytes is None
    assert described.missing is not None
    assert described.missing.startswith("reuters.npz is not on this machine, and the download failed: ")


def test_without_its_data_and_a_known_width_there_is_no_network_to_show() -> None:
    described = describe_spec(spec_text(validation={"kfold": {"k": 4}}).spec, None)
    assert described == Description(
        features=None,
        layers=(),
        parameters=None,
        replicas=4,
        kind="fold",
        train_rows=None,
        validation_rows=None,
        test_rows=None,
        missing="/nowhere/small.npz does not exist. "
        "The dataset npz needs a file with arrays x_train and y_train.",
    )


@pytest.mark.parametrize(
    ("validation", "selection", "replicas", "kind"),
    [
        ({"kfold": {"k": 3}}, Selection(only_fold=1), 1, "fold"),
        ("none", Selection(seeds=5), 5, "seed"),
        ({"holdout": {"first": 16}}, Selection(seeds=1), 1, "seed"),
    ],
)
def test_what_is_selected_is_counted_with_and_without_the_data(
    validation: Any, selection: Selection, replicas: int, kind: str, tmp_path: Path
) -> None:
    with_data = load_small(tmp_path, validation=validation).spec
    for spec in (with_data, spec_text(validation=validation).spec):
        described = describe_spec(spec, None, selection=selection)
        assert (described.missing is None) == (spec is with_data)
        assert (described.replicas, described.kind) == (replicas, kind)


def test_who_listens_hears_what_the_data_took(tmp_path: Path, empty_cache: Path) -> None:
    """An entry of the cache that is damaged is said, as it is when a run is trained."""
    heard: list[str] = []

    class Hearer(Listener):
        def message(self, text: str) -> None:
            heard.append(text)

    tokens = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": "none"}
    spec = load_small(tmp_path, tokens, arrays=growing_tokens()).spec
    described = describe_spec(spec, None, Hearer())
    assert heard == []
    (entry,) = (empty_cache / "parsed").iterdir()
    (entry / "entry.json").write_bytes(b"damaged")
    assert describe_spec(spec, None, Hearer()) == described
    (message,) = heard
    assert message.startswith(f"{entry} cannot be used (")
    assert message.endswith("); reading x_train from its source again")
