"""Strings in ONNX: of random texts of every script, what Python says of them, or that it cannot be known."""

from __future__ import annotations

import random
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nnrun.data.preprocess.split_words import WORD
from nnrun.data.value_names import text_name
from nnrun.experiment.exporting import string_patterns
from nnrun.experiment.exporting.onnx_graph import OnnxGraph, model_of
from nnrun.experiment.exporting.string_nodes import (
    MISSING,
    NO_WORD,
    RARE,
    UNKNOWN,
    Codes,
    Counts,
    Front,
    StringGraph,
    Words,
)

onnx = pytest.importorskip("onnx", reason="ONNX comes with the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")

_LETTERS = (
    "abzAZ09_ -.,'\t\n\u00a0\u00e9\u00c9\u0130\u0131\u00df\u1e9e"
    "\u03b1\u0391\u03c3\u0416\u4e2d\u00b2\u2167\u24b6\U0001f600"
)
KNOWN = ("az", "a", "\u00e9", "z09", "\u0436a", "\u4e2d\u4e2d", "i", "\u24d0", "\u00df")


def texts(count: int, seed: int) -> list[str]:
    """Random texts: of common characters, and of those for which Unicode has rules."""
    draw = random.Random(seed)
    ruled = string_patterns.points_where(
        lambda c: unicodedata.combining(c) or unicodedata.decomposition(c) or c.lower() != c or c.isspace()
    )
    found = ["", " ", "NA", " NA\t", "a", "az a az", *KNOWN]
    for i in range(count):
        letters = [draw.choice(_LETTERS) for _ in range(draw.randint(1, 12))]
        if i % 3 == 0:
            letters += [chr(draw.choice(ruled)) for _ in range(draw.randint(1, 4))]
        found.append("".join(letters))
    return found


def computed(fronts: dict[str, Front], values: list[str]) -> dict[str, Any]:
    """What the nodes make of a column, and which rows they leave open."""
    graph = OnnxGraph("in/")
    strings = StringGraph(graph, frozenset({"", "NA"}))
    for name, front in fronts.items():
        graph.give(strings.compute("column", front), name)
        graph.give(strings.odd("column", front), f"{name}_odd")
    kinds = {
        name: onnx.TensorProto.FLOAT if isinstance(f, Counts) else onnx.TensorProto.INT64
        for name, f in fronts.items()
    }
    kinds |= {f"{name}_odd": onnx.TensorProto.BOOL for name in fronts}
    info = onnx.helper.make_tensor_value_info
    model = model_of(
        graph,
        [info("column", onnx.TensorProto.STRING, ["rows", 1])],
        [info(name, kind, None) for name, kind in kinds.items()],
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.array(values, object)[:, None]
    return dict(zip(kinds, session.run(list(kinds), {"column": rows}), strict=True))


def test_what_is_not_in_nfc_is_always_found() -> None:
    values = texts(6000, 1)
    odd = computed({"words": Words(("a",), lower=False)}, values)["words_odd"][:, 0]
    wrong = np.array([not unicodedata.is_normalized("NFC", value) for value in values])
    assert wrong.sum() > 300
    assert odd[wrong].all()
    assert (odd & ~wrong).mean() < 0.02


@pytest.mark.parametrize("lower", [True, False])
def test_words_and_their_runs_are_those_of_python(lower: bool) -> None:
    values = texts(3000, 2)
    words = Words(KNOWN, lower, first=2, unknown=1)
    runs = Counts(Words(KNOWN, lower), ((1, 0), (1, 0, 0, 0)), (0, 1, 2, 3))
    found = computed({"words": words, "runs": runs}, values)
    index = {word: i for i, word in enumerate(KNOWN, start=2)}
    told = 0
    for row, value in enumerate(values):
        if found["words_odd"][row, 0]:
            assert not unicodedata.is_normalized("NFC", value) or "\u03a3" in value or not value.isascii()
            continue
        told += 1
        text = "" if value.strip() in ("", "NA") else text_name(value)
        own = WORD.findall(text.lower() if lower else text)
        expected = [index.get(word, 1) for word in own]
        given = found["words"][row]
        assert given[given != NO_WORD].tolist() == expected, ascii(value)
        pairs = list(pairwise(own))
        counts = [own.count("a"), own.count("az"), pairs.count(("a", "az")), pairs.count(("az", "az"))]
        assert found["runs"][row].tolist() == counts, ascii(value)
    assert told > 0.6 * len(values)


def test_a_column_that_several_take_keeps_the_words_of_each() -> None:
    """Folds know different words: those of the first may be short."""
    fronts: dict[str, Front] = {
        "short": Words(("az",), lower=True),
        "long": Words(("azure", "az"), lower=True),
        "counted": Counts(Words(("azures",), lower=True), ((0,),), (0,)),
    }
    found = computed(fronts, ["AZ azure Azures"])
    assert found["short"][0].tolist() == [0, NO_WORD, NO_WORD, NO_WORD]
    assert found["long"][0].tolist() == [1, 0, NO_WORD, NO_WORD]
    assert found["counted"][0].tolist() == [1]


def test_codes_are_those_of_the_values_names() -> None:
    levels, rare = ("a", "caf\u00e9", "True", "x y"), ("z",)
    spelled = [
        " a",
        "caf\u00e9\n",
        "cafe\u0301",
        "TRUE",
        "tRue",
        "x y",
        "x  y",
        "z",
        "A",
        "NA",
        " ",
        "",
        "\u00a0a\u2003",
        "q",
    ]
    values = spelled + texts(1000, 3)
    fronts: dict[str, Front] = {
        "codes": Codes(levels, rare),
        "truth": Codes(("False", "True"), truth=True),
        "filled": Codes(levels, rare, fill="caf\u00e9"),
    }
    found = computed(fronts, values)
    place = {level: i for i, level in enumerate(levels)} | dict.fromkeys(rare, RARE)
    for row, value in enumerate(values):
        name = None if value.strip() in ("", "NA") else text_name(value)
        if not found["codes_odd"][row, 0]:
            assert found["codes"][row, 0] == (MISSING if name is None else place.get(name, UNKNOWN)), ascii(
                value
            )
            assert found["filled"][row, 0] == (1 if name is None else place.get(name, UNKNOWN)), ascii(value)
        if name is not None and name.isascii():
            code = {"true": 1, "false": 0}.get(name.lower(), UNKNOWN)
            assert found["truth"][row, 0] == code, ascii(value)
    assert not found["codes_odd"][: len(spelled)].any()


@pytest.mark.parametrize("values", [[""], [" "], ["", "NA"], ["az"]])
def test_a_batch_may_hold_no_word(values: list[str]) -> None:
    found = computed({"words": Words(KNOWN, lower=True), "codes": Codes(("a",))}, values)
    assert (found["words"] >= 0).sum() == values.count("az")
    assert found["codes"].shape == (len(values), 1)
