"""ONNX programs of tables with categories and texts: column by column, row by row as `nnrun predict` says."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import runpy
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.cli import main
from nnrun.data.preprocess.datetimes import FittedDatetime
from nnrun.data.preprocess.registry import STEPS
from nnrun.data.table import CategoryColumn
from nnrun.experiment.exporting.step_programs import ENCODERS, FILLS, REFUSED
from nnrun.experiment.exporting.string_nodes import may_be_odd
from tests.support.odd_tables import CASES, columns_of, odd_rows, spec_of, training_rows, write_rows
from tests.support.onnx_columns import Capture, Row, asked, predicted, trained

_SHARED = Path(os.environ.get("NNRUN_DATA_DIR", "/nowhere"))


NOT_COMPUTED: frozenset[type[Any]] = frozenset()
"""Steps without a line, which are refused by name all the same."""


def test_every_step_is_computed_or_refused() -> None:
    told = {*ENCODERS, *FILLS, *REFUSED, *(cls for cls in STEPS if cls.program == "computed")}
    assert told <= set(STEPS)
    assert set(STEPS) - told <= NOT_COMPUTED, "a new step has its line in step_programs, or stands here"
    assert not ENCODERS.keys() & REFUSED.keys()
    named = {kind for steps, _ in CASES.values() for step in steps for kind in step}
    assert named >= {cls.spec.kind for cls in ENCODERS}, "and a case in tests/support/odd_tables.py"


def may_be_refused(row: Row, columns: Sequence[str]) -> bool:
    """Whether the README says that the program gives NaN for a row that is no error."""
    held = "".join(row[name] for name in columns)
    other_date = "day" in columns and not re.match(r"\d{4}-", row["day"].strip())
    return other_date or "\u03a3" in held or not unicodedata.is_normalized("NFC", held)


@pytest.mark.parametrize("case", [name for name in CASES if name != "hashes"])
def test_row_by_row(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    trained(tmp_path, spec_of(case), monkeypatch)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    rows, columns = odd_rows(), columns_of(CASES[case][0])
    own = predicted(write_rows(tmp_path / "odd.csv", rows), capsys)
    found = asked(tmp_path / "odd.onnx", rows)[:, 0]
    assert len(own) > len(rows) / 4
    exact = 0
    kept = [row for number, row in enumerate(rows) if np.isnan(found[number]) and number in own]
    assert all("day" in columns or any(may_be_odd(row[name], lower=True) for name in columns) for row in kept)
    for number, row in enumerate(rows):
        if number not in own:
            assert np.isnan(found[number]), row
        elif not (np.isnan(found[number]) and may_be_refused(row, columns)):
            assert found[number] == pytest.approx(own[number], abs=1e-5), row
            exact += 1
    assert exact > 0.95 * len(own)
    assert asked(tmp_path / "odd.onnx", []).shape == (0, 1)
    for number in (0, 8, 27, 40):  # a row alone, whose texts are shorter
        alone = asked(tmp_path / "odd.onnx", rows[number : number + 1])[0, 0]
        np.testing.assert_allclose(alone, found[number], atol=1e-6)


def test_float64_tells_numbers_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    rows = [{**row, "code": ["16777216", "16777217"][i % 2]} for i, row in enumerate(training_rows())]
    write_rows(tmp_path / "rows.csv", rows)
    spec = spec_of("missing")
    trained(tmp_path, {**spec, "dataset": {"csv": {**spec["dataset"]["csv"]}}}, monkeypatch)
    capsys.readouterr()
    assert main(["export", "@last", "-o", "odd.onnx"]) == 2
    assert "numbers apart that are one number in float32; use --float64" in capsys.readouterr().err
    assert main(["export", "@last", "-o", "odd.onnx", "--float64"]) == 0
    own = predicted(tmp_path / "rows.csv", capsys)
    np.testing.assert_allclose(
        asked(tmp_path / "odd.onnx", rows)[list(own), 0], list(own.values()), atol=1e-5
    )


DATES = [
    *("2024-02-29", "2023-02-29", "1900-02-28", "2000-02-29", "1969-12-31", "1970-1-1", "0001-01-01"),
    *("9999-12-31", "2024/3/1", "2024.12.31", "2024-13-01", "2024-00-10", "2024-04-31", "2024-04-30T00:00"),
    *("2024-04-30 23:59:59", "2024-04-30T24:00", "2024-04-30 7:05:09.75", "2024-04-30, 12:60"),
    *("2024-04-30T12:00:61", "2024-04-30T12:00Z", "2024-04-30 12:00 UTC", " 2024-05-06 ", "", "NA"),
    *("24.11.2026", "20240506", "2024-05-06T12:00+02:00", "red", "2024-05-06 3:00 PM"),
    *("\u0662024-05-06", "2024-05-06T", "2024-05", "2024-05-06-07"),
]


@pytest.mark.parametrize("parts", [None, ["year", "month", "day", "weekday", "hour", "elapsed"]])
def test_dates(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    spec = spec_of("dates")
    if parts is not None:
        spec["preprocessing"]["inputs"] = [{"datetime": {"columns": ["day"], "parts": parts}}]
    trained(tmp_path, spec, monkeypatch)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    rows = [{**training_rows()[0], "day": date} for date in DATES]
    own = predicted(write_rows(tmp_path / "odd.csv", rows), capsys)
    found = asked(tmp_path / "odd.onnx", rows)[:, 0]
    other = ["24.11.2026", "20240506", "2024-05-06T12:00+02:00", "2024-05-06 3:00 PM", "2024-05"]
    for number, date in enumerate(DATES):
        if number in own and date not in other:
            assert found[number] == pytest.approx(own[number], abs=1e-5), date
        else:
            assert np.isnan(found[number]), date
    assert sum(number in own and date not in other for number, date in enumerate(DATES)) == 17


def test_dates_in_other_ways_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    rows = training_rows()
    for row in rows[:3]:
        row["day"] = "May 3, 2024"
    write_rows(tmp_path / "rows.csv", rows)
    trained(tmp_path, spec_of("dates"), monkeypatch)
    capsys.readouterr()
    assert main(["export", "@last", "-o", "odd.onnx", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["rows_unanswered"]) == (77, 3)


def test_parts_of_any_day() -> None:
    rng = np.random.default_rng(0)
    seconds = np.concatenate([rng.integers(-62_135_596_800, 253_402_300_800, 2000), np.arange(-9, 9) * 86400])
    dates = seconds.astype("datetime64[s]")
    parts = ("year", "month", "day", "weekday", "hour", "elapsed")
    step = FittedDatetime(parts, (0.0,) * 6, (1.0,) * 6, "1999-03-04T05:06:07", None, False)
    levels = tuple(map(str, dates))
    expected = step.transform(CategoryColumn("day", np.arange(len(dates), dtype=np.int32), levels), {})
    fields = torch.tensor([[int(number) for number in re.findall(r"\d+", level)] for level in levels])
    found, bad = ENCODERS[FittedDatetime].give(step, fields)
    assert bad is not None
    assert not bad.any()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-9)


def test_what_onnx_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    trained(tmp_path, spec_of("hashes"), monkeypatch)
    capsys.readouterr()
    assert main(["export", "@last", "-o", "odd.onnx"]) == 2
    assert capsys.readouterr().err == (
        "error: A program in ONNX cannot compute the step hashing of column 'color': ONNX cannot see the "
        "bytes of a string. To have the preprocessing in a file all the same: --format script.\n"
    )


def test_folds_with_levels_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    rows = sorted(training_rows(), key=lambda row: row["color"])
    write_rows(tmp_path / "rows.csv", rows)
    spec = {**spec_of("categories"), "validation": {"kfold": {"k": 3}}}
    trained(tmp_path, spec, monkeypatch)
    assert main(["final", "@last", "--members", "folds", "-q"]) == 0
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    own = predicted(write_rows(tmp_path / "odd.csv", odd_rows()), capsys)
    found = asked(tmp_path / "odd.onnx", odd_rows())[:, 0]
    np.testing.assert_allclose(found[[0, 5]], [own[0], own[5]], atol=1e-5)


def test_a_text_of_json_lines_may_be_na(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    countries = ["NA", "SE", None, "FR"]
    rows = [{"country": countries[i % 4], "y": i % 4 % 3} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = {"path": "rows.jsonl", "target": "y", "inputs": ["country"], "types": {"country": "category"}}
    spec = {**spec_of("categories"), "dataset": {"jsonl": dataset}, "preprocessing": {"inputs": ["one_hot"]}}
    spec |= {"layers": [{"dense": {"units": 3, "activation": "softmax"}}], "loss": "categorical_crossentropy"}
    trained(tmp_path, spec, monkeypatch)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    assert main(["export", "@last", "-o", "odd.py"]) == 0
    capsys.readouterr()
    main(["predict", "@last", "rows.jsonl", "--probabilities", "-q"])
    own = [float(row["probability_1"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    found = asked(tmp_path / "odd.onnx", [{"country": row["country"] or ""} for row in rows])
    np.testing.assert_allclose(found[:, 1], own, atol=1e-5)
    said = runpy.run_path("odd.py")["predict"](rows)
    np.testing.assert_allclose([row["probability_1"] for row in said], own, atol=1e-6)


@pytest.mark.parametrize(("every", "said"), [
    (20, "on 76 training rows: predictions differ from the run's by at most"),
    (1, "read again, but no prediction was compared: of all 80 training rows"),
])  # fmt: skip
def test_rows_without_an_answer_are_left_out(
    every: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    rows = training_rows()
    for row in rows[::every]:
        row["words"] += " \u039f\u0394\u039f\u03a3"
    write_rows(tmp_path / "rows.csv", rows)
    trained(tmp_path, spec_of("words"), monkeypatch)
    capsys.readouterr()
    assert main(["export", "@last", "-o", "odd.onnx", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    left_out = len(rows[::every])
    assert (document["rows"], document["rows_unanswered"]) == (80 - left_out, left_out)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert said in printed
    assert ("; 4 more left out: a text in them is one for which the file gives NaN" in printed) == (every > 1)
    found = asked(tmp_path / "odd.onnx", rows)[:, 0]
    assert np.flatnonzero(np.isnan(found)).tolist() == list(range(0, len(rows), every))


def test_other_rows_must_have_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = training_rows()
    rows[3]["words"] += " \u039f\u0394\u039f\u03a3"
    write_rows(tmp_path / "rows.csv", rows)
    trained(tmp_path, spec_of("words"), monkeypatch)
    monkeypatch.setattr("nnrun.experiment.exporting.column_program.may_be_odd", lambda text, lower: False)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 1
    assert not Path("odd.onnx").exists()


TITANIC = {
    "impute": {"columns": ["age", "fare"], "strategy": "median", "indicator": True},
    "quantile": {"columns": ["fare"]},
    "ordinal": ["who"],
    "standardize": ["age", "who", "sibsp", "parch"],
    "one_hot": ["pclass", "sex", "embarked", "adult_male", "deck", "alone"],
}


def check_real(data: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Every row of a file: the same scores, the same classes."""
    trained(Path.cwd(), spec, monkeypatch)
    assert main(["export", "@last", "-o", "real.onnx"]) == 0
    capsys.readouterr()
    assert main(["predict", "@last", str(data), "--probabilities", "-q"]) == 0
    own = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = asked(Path("real.onnx"), rows, at_once=2048)
    if found.shape[1] == 1:
        found = np.concatenate([1 - found, found], 1)
    names = [name for name in own[0] if name.startswith("probability_")]
    scores = np.array([[float(row[name]) for name in names] for row in own])
    np.testing.assert_allclose(found, scores, atol=1e-5)
    classes = [names[k].removeprefix("probability_") for k in found.argmax(1)]
    assert len(own) == len(rows)
    assert classes == [row["prediction"] for row in own]


def test_titanic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    data = _SHARED / "tables" / "titanic.csv"
    if not data.exists():
        pytest.skip(f"{data} is not here")
    monkeypatch.chdir(tmp_path)
    inputs = [
        "pclass",
        "sex",
        "age",
        "sibsp",
        "parch",
        "fare",
        "embarked",
        "who",
        "adult_male",
        "deck",
        "alone",
    ]
    spec = {
        **spec_of("categories"),
        "dataset": {"csv": {"path": str(data), "target": "survived", "inputs": inputs}},
        "preprocessing": {"inputs": [{kind: options} for kind, options in TITANIC.items()]},
    }
    check_real(data, spec, monkeypatch, capsys)


def test_reuters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    data = _SHARED / "text" / "reuters.csv"
    if not data.exists():
        pytest.skip(f"{data} is not here")
    monkeypatch.chdir(tmp_path)
    spec = {
        **spec_of("words"),
        "dataset": {"csv": {"path": str(data), "target": "topic", "inputs": ["text"]}},
        "preprocessing": {"inputs": [{"text": {"num_words": 2000, "weighting": "tf_idf"}}]},
        "layers": [{"dense": {"units": 45, "activation": "softmax"}}],
        "loss": "categorical_crossentropy",
        "epochs": 1,
        "batch_size": 512,
    }
    check_real(data, spec, monkeypatch, capsys)
