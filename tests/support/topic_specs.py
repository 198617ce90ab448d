"""Specs in which the examples of `nnrun help` can be trained: small data of each kind, and networks for it.

An example is a part of a spec. `spec_with` puts it into the first of these specs in which it is valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

ROWS = 48
_LAYERS = "layers that an example gives stand here"

_HOUSES = {"csv": {"path": "houses.csv", "target": "price", "inputs": ["age", "rooms"]}}
_NUMBERS: dict[str, Any] = {
    "dataset": _HOUSES,
    "preprocessing": {"inputs": ["standardize"], "targets": "standardize"},
    "layers": [{"dense": {"units": 64, "activation": "relu"}}, {"dropout": 0.1}, _LAYERS, {"dense": 1}],
    "loss": "mse",
    "metrics": ["mae"],
    "validation": {"kfold": 2},
    "early_stopping": {"patience": 5},
}


def _houses(target: str, inputs: list[str]) -> dict[str, Any]:
    return {"csv": {"path": "houses.csv", "target": target, "inputs": inputs}}


def _with_output(units: int, activation: str | None, **changes: Any) -> dict[str, Any]:
    dense = {"units": units} if activation is None else {"units": units, "activation": activation}
    return {**_NUMBERS, "layers": [*_NUMBERS["layers"][:-1], {"dense": dense}], **changes}


_BINARY = _with_output(
    1, "sigmoid", dataset=_houses("cheap", ["age", "rooms"]), loss="binary_crossentropy",
    metrics=["accuracy"], preprocessing={"inputs": ["standardize"]}, validation="holdout",
)  # fmt: skip
_LABELS = _with_output(
    2, "sigmoid", dataset=_houses("cheap", ["age", "rooms"]) | {
        "csv": {"path": "houses.csv", "target": ["cheap", "old"], "inputs": ["age", "rooms"]}
    }, loss="binary_crossentropy", preprocessing={"inputs": ["standardize"]}, metrics=[],
)  # fmt: skip
_CLASSES = _with_output(
    3, "softmax", dataset=_houses("town", ["age", "rooms"]), loss="categorical_crossentropy",
    metrics=["accuracy"], preprocessing={"inputs": ["standardize"], "targets": "one_hot"},
)  # fmt: skip
_INDICES = {
    **_CLASSES,
    "loss": "sparse_categorical_crossentropy",
    "preprocessing": {"inputs": ["standardize"], "targets": "class_index"},
}
_SCORES = {**_CLASSES, "layers": [*_NUMBERS["layers"][:-1], {"dense": 3}], "metrics": []}
_SCORE = {**_BINARY, "layers": [*_NUMBERS["layers"][:-1], {"dense": 1}]}
_POSITIVE = _with_output(1, "exponential", preprocessing={"inputs": ["standardize"]})
_RAW_NUMBERS = {**_NUMBERS, "preprocessing": {"inputs": ["standardize"]}}
_MIXED = {
    **_RAW_NUMBERS,
    "dataset": _houses("price", ["age", "rooms", "town", "sold"]),
    "preprocessing": {"inputs": [{"standardize": ["age", "rooms"]}]},
}


def _of_columns(inputs: list[str], *first: Any) -> dict[str, Any]:
    layers = [*first, *_NUMBERS["layers"]]
    return {**_RAW_NUMBERS, "dataset": _houses("price", inputs), "preprocessing": {}, "layers": layers}


def _of_array(file: str, layers: list[Any], **changes: Any) -> dict[str, Any]:
    return {**_RAW_NUMBERS, "dataset": {"npz": file}, "preprocessing": {}, "layers": layers, **changes}


_WORDS = {
    **_BINARY,
    "dataset": {"csv": {"path": "houses.csv", "target": "cheap", "inputs": ["title"]}},
    "preprocessing": {"inputs": [{"tokens": 50}, {"pad": 6}]},
}
_WINDOWS = {"conv1d": {"filters": 32, "kernel_size": 3}}
_END = {"dense": {"units": 1, "activation": "sigmoid"}}
_GRAPH: dict[str, Any] = {
    "dataset": {"csv": {"path": "houses.csv"}},
    "inputs": {
        "title": {"columns": ["title"], "preprocessing": [{"text": 50}]},
        "tags": {"columns": ["team"], "preprocessing": ["one_hot"]},
    },
    "shared": {"encoder": [{"dense": 32}]},
    "layers": {
        "words": [{"from": "title"}, {"dense": 32}, {"use": "encoder"}],
        "labels": [{"from": "tags"}, {"dense": 32}],
        "both": [{"concatenate": ["words", "labels"]}],
        "priority": [{"from": "both"}, _END],
    },
    "outputs": {"priority": {"target": "urgent", "loss": "binary_crossentropy"}},
    "validation": "holdout",
}
_MERGED = {  # an example of a merge is of chains that are called title and tags
    **_GRAPH,
    "inputs": {"a": _GRAPH["inputs"]["title"], "b": _GRAPH["inputs"]["tags"]},
    "shared": {},
    "layers": {
        "title": [{"from": "a"}, {"dense": 16}],
        "tags": [{"from": "b"}, {"dense": 16}],
        "priority": [_LAYERS, {"dense": {"units": 1, "activation": "sigmoid"}}],
    },
}
_USED = {
    **_GRAPH,
    "layers": {
        "labels": [{"from": "tags"}, {"dense": 32}],
        "words": [{"from": "title"}, {"dense": 32}, {"use": "encoder"}],
        "priority": [{"concatenate": ["words", "labels"]}, {"dense": 32}, _LAYERS, _END],
    },
}
_FROM = {
    **_GRAPH,
    "shared": {},
    "layers": {
        "labels": [{"from": "tags"}, {"dense": 32}],
        "words": [_LAYERS, {"dense": 32}],
        "priority": [{"concatenate": ["words", "labels"]}, _END],
    },
}
_LINES = {
    **_RAW_NUMBERS,
    "dataset": {"digit_lines": {"rows": 40, "test_rows": 10}},
    "preprocessing": {},
    "layers": [{"permute": [2, 1]}, {"dense": 11}]
    if False
    else [{"lstm": {"units": 8, "return_sequences": True}}, {"dense": 11}],
    "loss": "ctc",
    "metrics": ["character_error_rate"],
    "validation": "holdout",
}

SPECS: dict[str, dict[str, Any]] = {
    "numbers": _NUMBERS,
    "raw numbers": _RAW_NUMBERS,
    "positive numbers": _POSITIVE,
    "two classes": _BINARY,
    "two classes, by scores": _SCORE,
    "classes": _CLASSES,
    "class indices": _INDICES,
    "class scores": _SCORES,
    "labels": _LABELS,
    "mixed columns": _MIXED,
    "categories": _of_columns(["town"]),
    "categories looked up": _of_columns(["town"], {"embedding": 4}, "flatten"),
    "dates": _of_columns(["sold"]),
    "texts": _of_columns(["title"]),
    "texts as indices": {**_WORDS, "layers": [{"embedding": 8}, "global_average_pooling", _END]},
    "tokens": {**_WORDS, "layers": [_LAYERS, "flatten", _END]},
    "sets of tokens": {**_BINARY, "dataset": {"npz": "tokens.npz"}, "preprocessing": {}},
    "padded tokens": {
        **_BINARY, "dataset": {"npz": "tokens.npz"}, "layers": [{"embedding": 8}, "flatten", _END],
    },
    "embedded tokens": {**_WORDS, "layers": [{"embedding": 16}, _LAYERS, "flatten", _END]},
    "steps": _of_array("steps.npz", [_LAYERS, {"dense": 1}]),
    "steps, flattened": _of_array("steps.npz", [_LAYERS, "flatten", {"dense": 1}]),
    "wide steps, flattened": _of_array("steps.npz", [_WINDOWS, _LAYERS, "flatten", {"dense": 1}]),
    "images": _of_array("images.npz", [{"rescaling": 0.1}, _LAYERS, "flatten", {"dense": 1}]),
    "raw images": _of_array("images.npz", ["flatten", {"dense": 1}]),
    "imdb": {**_BINARY, "dataset": "imdb", "layers": [_END], "preprocessing": {"inputs": ["multi_hot"]}},
    "reuters": {
        **_CLASSES, "dataset": "reuters", "layers": [{"dense": {"units": 46, "activation": "softmax"}}],
        "preprocessing": {"inputs": ["multi_hot"], "targets": "one_hot"},
    },
    "images of classes": {
        **_INDICES, "dataset": "mnist", "preprocessing": {"inputs": ["rescale"], "targets": "class_index"},
        "layers": ["flatten", {"dense": {"units": 10, "activation": "softmax"}}],
    },
    "graph": _GRAPH,
    "merged chains": _MERGED,
    "shared chains": _USED,
    "chains from inputs": _FROM,
    "lines": _LINES,
    "characters": {
        **_LINES,
        "dataset": _houses("team", ["title"]),
        "preprocessing": {"inputs": [{"tokens": 50}, {"pad": 6}]},
        "layers": [{"embedding": 8}, {"dense": 7}],
    },
    "penguins": {
        **_INDICES,
        "preprocessing": {"inputs": [{"impute": "most_frequent"}], "targets": "class_index"},
    },
    "images of two classes": {**_BINARY, "preprocessing": {}, "layers": ["flatten", _END]},
    "graph of numbers": {
        **_GRAPH,
        "layers": {**_GRAPH["layers"], "priority": [{"from": "both"}, {"dense": 1}]},
    },
}  # fmt: skip


_CODE = """import torch


def function(*tensors, tolerance=0.1):
    if not tensors:  # a layer
        return torch.nn.Identity()
    y_true, y_pred = tensors  # a metric
    return float((abs(y_true - y_pred.reshape(y_true.shape)) < tolerance).float().mean())
"""


def write_data(folder: Path) -> None:
    """All files that the examples and the specs name."""
    rng = np.random.default_rng(0)
    age, rooms = rng.integers(1, 90, ROWS), rng.integers(1, 9, ROWS)
    town = np.array(["Ulm", "Aalen", "Lorch"])[np.arange(ROWS) % 3]
    price = 300 - 2 * age + 30 * rooms + rng.normal(0, 5, ROWS)
    words = np.array(["old", "new", "wide", "bright", "quiet", "near", "river", "garden"])
    houses = pd.DataFrame(
        {
            "age": age,
            "rooms": rooms,
            "town": town,
            "sold": [f"2024-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(ROWS)],
            "title": [" ".join(rng.choice(words, 4)) for _ in range(ROWS)],
            "team": np.array(["red", "blue"])[np.arange(ROWS) % 2],
            "price": price.round(1),
            "cheap": (price < np.median(price)).astype(int),
            "old": (age > 40).astype(int),
            "urgent": (np.arange(ROWS) % 4 == 0).astype(int),
            "part": np.array(["train", "test"])[(np.arange(ROWS) % 5 == 0).astype(int)],
        }
    )
    houses.to_csv(folder / "houses.csv", index=False)
    houses.to_csv(folder / "more_houses.csv", index=False)
    houses.to_json(folder / "houses.jsonl", orient="records", lines=True)
    tokens = np.empty(ROWS, object)
    tokens[:] = [rng.integers(1, 40, 5 + k % 3).tolist() for k in range(ROWS)]
    y = np.arange(ROWS) % 2
    np.savez(folder / "tokens.npz", x_train=tokens, y_train=y)
    np.savez(folder / "arrays.npz", x_train=rng.normal(size=(ROWS, 3)), y_train=price)
    np.savez(folder / "steps.npz", x_train=rng.normal(size=(ROWS, 8, 8)), y_train=price)
    np.savez(folder / "images.npz", x_train=rng.integers(0, 256, (ROWS, 12, 12, 4), np.uint8), y_train=price)
    for place in ("reviews", "photos"):
        for part in ("train", "test"):
            for label in ("good", "bad"):
                own = folder / place / part / label
                own.mkdir(parents=True)
                for k in range(8):
                    if place == "reviews":
                        (own / f"{k}.txt").write_text(" ".join(rng.choice(words, 5)))
                    else:
                        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                        Image.fromarray(pixels).save(own / f"{k}.png")
    (folder / "my_code.py").write_text(_CODE)


def specs_with(example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each of the specs with the example in it, those first that have what it needs."""
    part = yaml.safe_load(example)
    for name, spec in SPECS.items():
        yield name, _merged(spec, part)


def _merged(spec: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    layers = part.get("layers") if isinstance(part.get("layers"), list) else None
    whole = {
        **spec,
        **{
            key: value
            for key, value in part.items()
            if key not in ("layers", "preprocessing", "inputs", "outputs", "shared")
        },
    }
    for key in ("preprocessing", "inputs", "outputs", "shared"):
        if key in part:
            old = spec.get(key, {})
            whole[key] = {
                **old,
                **{
                    k: ({**old[k], **v} if isinstance(v, dict) and isinstance(old.get(k), dict) else v)
                    for k, v in part[key].items()
                },
            }
    whole["layers"] = _filled(spec["layers"], layers or [])
    return whole


def _filled(layers: Any, own: list[Any]) -> Any:
    if isinstance(layers, dict):
        return {name: _filled(chain, own) for name, chain in layers.items()}
    return [each for layer in layers for each in (own if layer == _LAYERS else [layer])]
