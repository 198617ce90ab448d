"""Tables with columns of every kind, and rows that nobody expects, for what must predict alike."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ODD_TEXTS = (
    "",
    " ",
    "NA",
    " nan ",
    "null",
    " red ",
    "\tblue\u00a0",
    "Red",
    "RED BLUE",
    "caf\u00e9",
    "cafe\u0301",  # the same in NFD
    "a\u0316\u0301",
    "purple",
    "3",
    "3.0",
    "1e3",
    "TRUE",
    "fAlSe",
    "\u0130stanbul red",
    "red\u0130blue",
    "STRASSE \u1e9e",
    "\u039f\u0394\u039f\u03a3",
    "\u24b6blue",
    "red_blue red-blue red2blue",
    "red\u00b2 \u00bd\u2167",
    "\u4e2d\u6587 red",
    "red blue " * 30,
    "x" * 300,
    "line\nbreak red",
    "\U0001f600 red \U0001f600",
    "\u001cred\u0085",
    "red blue green red",
    "\u0995\u09c7\u09be",
)
"""Values of categories and texts."""
ODD_NUMBERS = ("", "NA", "0", "-0.0", "3", "3.0", "0.1", "1e3", "-7", "-1", "1e30", "inf", "12.5", " 4 ")
ODD_DATES = (
    "",
    "NA",
    "2031-12-31",
    "May 3, 2024",
    " 2024/2/29 ",
    "2023-02-30",
    "3/4/2024",
    "2024-05-06T13:14",
)
COLORS = ("red", "blue", "green", "caf\u00e9", "Red", "rare")
WORDS = ("red", "blue", "green", "caf\u00e9", "stra\u00dfe", "i", "2", "red2blue", "\u4e2d\u6587", "Red")


def training_rows(count: int = 80) -> list[dict[str, str]]:
    """Rows of `full`, of which none is missing, and the other columns of `TYPES`; `y` is 0 or 1."""
    draw = random.Random(0)
    rows = []
    for i in range(count):
        color = draw.choice(COLORS[:5]) if i % 29 else "rare"
        rows.append(
            {
                "color": "" if i % 11 == 3 else color,
                "full": draw.choice(COLORS[:4]),
                "flag": draw.choice(["True", "False"]),
                "size": "" if i % 13 == 5 else f"{draw.uniform(0, 20):.1f}",
                "code": draw.choice(["0.1", "3", "-7", "1000"]),
                "day": "" if i % 17 == 2 else f"2024-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
                "words": " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 9))),
                "y": str(i % 2),
            }
        )
    return rows


def odd_rows() -> list[dict[str, str]]:
    """Each odd value in each column, the others as in training."""
    ordinary = {
        "color": "red",
        "full": "blue",
        "flag": "True",
        "size": "3.5",
        "code": "3",
        "day": "2024-05-06",
        "words": "red blue",
    }
    rows = [dict(ordinary)]
    for column in ("color", "full", "flag", "words"):
        rows += [{**ordinary, column: text} for text in ODD_TEXTS]
    rows += [{**ordinary, "day": text} for text in ODD_DATES]
    for column in ("size", "code"):
        rows += [{**ordinary, column: number} for number in ODD_NUMBERS]
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


TYPES = {"color": "category", "full": "category", "flag": "category", "size": "number", "code": "number",
         "day": "date", "words": "text"}  # fmt: skip
_DENSE: list[Any] = [{"dense": {"units": 5, "activation": "tanh"}}]

CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "categories": (
        [
            {"impute": {"columns": ["size"], "strategy": "median", "indicator": True}},
            {"impute": {"columns": ["full"], "strategy": "most_frequent"}},
            {"one_hot": {"columns": ["color", "code"], "min_count": 4, "rare": True}},
            {"ordinal": {"columns": ["full"], "unknown": "ignore"}},
            {"target_mean": {"columns": ["flag"]}},
            {"piecewise_linear": {"columns": ["size"], "bins": 4, "keep": True}},
            {"standardize": ["size", "full"]},
        ],
        _DENSE,
    ),
    "strict": (
        [
            {"one_hot": {"columns": ["full", "flag"], "unknown": "error"}},
            {"impute": {"columns": ["color"], "strategy": "constant", "value": "blue"}},
            {"ordinal": {"columns": ["color"]}},
            {"impute": {"columns": ["size"], "strategy": "mean"}},
            {"log1p": ["size"]},
            {"robust": {"columns": ["size"]}},
            {"quantile": {"columns": ["color"]}},
            {"ordinal": {"columns": ["code"], "unknown": "ignore"}},
        ],
        _DENSE,
    ),
    "missing": (
        [
            {"target_mean": {"columns": ["color", "code"]}},
            {"one_hot": {"columns": ["full", "flag"]}},
            {"min_max": ["size"]},
            {"impute": {"columns": ["size"], "strategy": "constant", "value": 0.1}},
            {"rescale": {"columns": ["size"], "scale": 0.5, "offset": 1}},
        ],
        _DENSE,
    ),
    "embedded": (
        [{"lookup": {"columns": ["color", "full", "flag", "code"], "min_count": 3}}],
        [{"embedding": {"output_dim": 4}}, "flatten"],
    ),
    "words": ([{"text": {"num_words": 8}}], _DENSE),
    "runs of words": (
        [{"text": {"num_words": 40, "ngrams": 3, "weighting": "tf_idf", "sublinear": True}}],
        _DENSE,
    ),
    "cased words": ([{"text": {"num_words": 30, "lower": False, "weighting": "count"}}], _DENSE),
    "ratios": ([{"text": {"num_words": 30, "weighting": "nb_ratio", "min_count": 2}}], _DENSE),
    "sequences": (
        [{"tokens": {"num_words": 9}}, {"pad": {"length": 4}}],
        [{"embedding": {"output_dim": 4, "mask_zero": True}}, "global_average_pooling"],
    ),
    "long sequences": (
        [
            {"tokens": {"num_words": 9, "lower": False}},
            {"pad": {"length": 12, "side": "post", "truncate": "post"}},
        ],
        [{"embedding": {"output_dim": 4}}, {"gru": 3}],
    ),
    "bags": (
        [{"tokens": {"num_words": 9}}, {"multi_hot": {"ngrams": 2, "weighting": "tf_idf"}}],
        _DENSE,
    ),
    "dates": ([{"datetime": {"columns": ["day"]}}], _DENSE),
    "hashes": ([{"hashing": {"columns": ["color"], "buckets": 8}}], _DENSE),
}  # fmt: skip
"""Preprocessing of these columns, and the first layers of a network that takes it."""


def columns_of(steps: Sequence[Any]) -> list[str]:
    """The columns that the steps name; `words` where they name none."""
    found: list[str] = []
    for step in steps:
        ((_, options),) = step.items()
        named = options if isinstance(options, list) else options.get("columns", [])
        found += [name for name in named if name not in found]
    return [name for name in TYPES if name in found] or ["words"]


def spec_of(case: str) -> dict[str, Any]:
    """The spec of a case, of rows in `rows.csv`."""
    steps, layers = CASES[case]
    columns = columns_of(steps)
    dataset = {"path": "rows.csv", "target": "y", "inputs": columns,
               "types": {name: TYPES[name] for name in columns}}  # fmt: skip
    return {
        "name": "odd",
        "dataset": {"csv": dataset},
        "preprocessing": {"inputs": steps},
        "layers": [*layers, {"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "optimizer": {"adam": {"learning_rate": 0.05}},
        "epochs": 2,
        "validation": {"holdout": {"first": 16}},
    }
