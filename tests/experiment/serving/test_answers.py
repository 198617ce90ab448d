"""What a served run answers is what `nnrun predict` writes, letter for letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.serving.answers import Answer, Answers
from nnrun.experiment.serving.requests import Asked, Options
from nnrun.experiment.serving.typical_row import typical_row
from nnrun.records import RunDirectory
from tests.support.served_runs import (
    CASES,
    PLAIN,
    TABLE,
    number_rows,
    of_table,
    people,
    small,
    trained,
)
from tests.support.small_experiments import KFOLD


def written(run: RunDirectory, rows: list[Any], options: Options, folder: Path) -> list[str]:
    """The lines that the command writes."""
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = [*(["--probabilities"] if options.probabilities else [])]
    words += [] if options.interval is None else ["--interval", str(options.interval)]
    out = folder / "predicted.jsonl"
    assert main(["predict", str(run.path), str(folder / "rows.jsonl"), "-o", str(out), "-q", *words]) == 0
    return out.read_text().splitlines()


def answers_of(run: RunDirectory, options: Options = PLAIN) -> Answers:
    return Answers(load_predictor(run, Access(), interval=options.interval), options)


def asked(value: Any, query: str = "") -> Asked:
    return Asked(json.dumps(value).encode(), query.encode())


def as_answer(lines: list[str]) -> Answer:
    return Answer(200, f'{{"predictions": [{", ".join(lines)}]}}'.encode())


def without_messages(answer: Answer) -> Answer:
    """Of a row that holds a target or a value that training never saw, what is predicted."""
    head, found, _ = answer.body.partition(b', "messages": ')
    return Answer(answer.status, head + b"}" if found else head)


def detail(answer: Answer) -> Any:
    return answer.status, json.loads(answer.body)["detail"]


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_predict_writes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    run, rows = trained(case.spec(tmp_path), tmp_path), case.rows()
    lines = written(run, rows, case.options, tmp_path)
    assert len(lines) == len(rows)
    answers = answers_of(run, case.options)

    (together,) = answers.answer([asked(rows)])
    assert without_messages(together) == as_answer(lines)

    # Each row a request, all at once, and alone: it does not matter who asks beside it.
    one_by_one = answers.answer([asked(row if isinstance(row, dict) else [row]) for row in rows])
    of_each = [f'{{"row": 0, {line.partition(", ")[2]}' for line in lines]
    assert [without_messages(answer) for answer in one_by_one] == [as_answer([line]) for line in of_each]
    (alone,) = answers.answer([asked([rows[-1]])])
    assert without_messages(alone) == as_answer([of_each[-1]])

    example = typical_row(load_predictor(run))
    (answer,) = answers.answer([asked([example])])
    assert (answer.status, b"messages" in answer.body) == (200, False), answer.body


@pytest.fixture(scope="module")
def of_people(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("people")
    return answers_of(trained(of_table(folder), folder))


GOOD = {"age": 30, "sex": "male", "job": "cook", "seen": "2020-02-02"}


def test_a_bad_row_is_named_and_others_are_answered(of_people: Answers) -> None:
    bad, good, both = of_people.answer(
        [asked([GOOD, {**GOOD, "age": "old"}, {**GOOD, "sex": ["f"]}]), asked(GOOD), asked([GOOD, 3])]
    )
    assert detail(bad) == (
        422,
        [
            {
                "type": "bad_row",
                "loc": ["body", 1],
                "row": 1,
                "msg": "row 1 has 'old' in column 'age', which is not a finite number",
            },
            {
                "type": "bad_row",
                "loc": ["body", 2],
                "row": 2,
                "msg": "row 2 has ['f'] in column 'sex', which is not text",
            },
        ],
    )
    assert good.status == 200
    assert detail(both)[1][0]["msg"] == "row 1 is 3, which is not an object with the columns' names"


def test_a_misspelt_column_is_refused_and_another_is_told(of_people: Answers) -> None:
    misspelt = {"ag": 30, **{name: value for name, value in GOOD.items() if name != "age"}}
    further, lacking = {**GOOD, "survived": "yes"}, {name: GOOD[name] for name in ("sex", "job", "seen")}
    answers = of_people.answer([asked(misspelt), asked([further, further]), asked(lacking)])
    assert detail(answers[0])[1][0]["msg"] == (
        "row 0 has 'ag', which the network does not take (did you mean 'age'?), and lacks 'age'. It takes: "
        "age, sex, job, seen; null is a missing value"
    )
    assert json.loads(answers[1].body)["messages"] == ["the rows: not used: survived"]
    assert json.loads(answers[2].body)["messages"] == [
        "row 0 lacks age; a missing key counts as a missing value"
    ]


def test_each_request_hears_of_its_own_unknown_values(of_people: Answers) -> None:
    known, unknown = of_people.answer([asked(GOOD), asked([GOOD, {**GOOD, "sex": "none"}])])
    assert b"messages" not in known.body
    assert json.loads(unknown.body)["messages"] == [
        "column 'sex': 1 of 2 rows have a value that no training row has, such as 'none'"
    ]


NOT_JSON = "the body is not JSON"
NO_KEY = "which is not a key that it takes: rows, probabilities and interval"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is empty: give a row, or a list of rows, as JSON"),
        (b'{"age": NaN}', 400, f"{NOT_JSON}: NaN is no number of JSON; a missing value is null"),
        (
            b'[{"age": -Infinity}]',
            400,
            f"{NOT_JSON}: -Infinity is no number of JSON; a missing value is null",
        ),
        (b'{"age": 1, "age": 2}', 400, f"{NOT_JSON}: an object has the key 'age' twice"),
        (b"[1,", 400, f"{NOT_JSON}: Expecting value: line 1 column 4 (char 3)"),
        (b'"\xff"', 400, "the body is not UTF-8: byte 1"),
        (b"[" * 100_000, 400, f"{NOT_JSON} that can be read: it is nested too deeply"),
        (b"[]", 422, "there are no rows: give an object for one row, or a list of rows"),
        (b'{"rows": [], "x": 1}', 422, f"the body has 'x', {NO_KEY}."),
        (
            b'{"rows": [{}], "probabilitis": true}',
            422,
            f"the body has 'probabilitis', {NO_KEY}. Did you mean 'probabilities'?",
        ),
        (
            b'{"rows": [{}], "probabilities": 1}',
            422,
            "the body has 1 for probabilities; it takes true or false",
        ),
    ],
)
def test_what_is_no_request(of_people: Answers, body: bytes, status: int, said: str) -> None:
    (answer,) = of_people.answer([Asked(body)])
    assert detail(answer) == (status, said)


def test_a_number_too_large_is_a_bad_row(of_people: Answers) -> None:
    (answer,) = of_people.answer([Asked(json.dumps(GOOD).replace("30", "1e999").encode())])
    assert detail(answer)[1][0]["msg"] == "row 0 has inf in column 'age', which is not a finite number"


def test_options_come_by_query_and_by_body(of_people: Answers) -> None:
    plain, by_query, by_body = of_people.answer(
        [asked(GOOD), asked(GOOD, "probabilities=true"), asked({"rows": GOOD, "probabilities": True})]
    )
    assert "probabilities" not in json.loads(plain.body)["predictions"][0]
    assert by_query == by_body
    assert list(json.loads(by_body.body)["predictions"][0]["probabilities"]) == ["no", "yes"]
    refused, unknown, twice = of_people.answer(
        [asked(GOOD, "interval=0.9"), asked(GOOD, "prob=1"), asked(GOOD, "probabilities=1&probabilities=0")]
    )
    assert detail(refused)[0] == 422
    assert "was started without" in detail(refused)[1]
    assert detail(unknown) == (
        422,
        "the query has 'prob', which is not an option that it takes: probabilities and interval.",
    )
    assert detail(twice) == (422, "the query names 'probabilities' twice")


def test_a_request_may_ask_for_another_level(tmp_path: Path) -> None:
    run = trained(small(tmp_path, validation=KFOLD), tmp_path)
    answers, rows = answers_of(run, Options(interval=0.8)), number_rows()
    usual, other, without, too_high, percent = answers.answer(
        [
            asked(rows),
            asked(rows, "interval=0.6"),
            asked({"rows": rows, "interval": None}),
            asked(rows, "interval=0.999"),
            asked(rows, "interval=90"),
        ]
    )
    assert without == as_answer(written(run, rows, Options(), tmp_path))
    assert other == as_answer(written(run, rows, Options(interval=0.6), tmp_path))
    assert usual == as_answer(written(run, rows, Options(interval=0.8), tmp_path))
    assert detail(too_high)[1].startswith("interval 0.999 needs 999 validation rows or more")
    assert detail(percent)[1] == (
        "interval 90: it is the share of rows to cover, from 0.5 and below 1, such as 0.9."
    )


def test_a_column_called_rows_is_a_column(tmp_path: Path) -> None:
    table = people().rename(columns={"age": "rows"})
    table.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "table.yaml").write_text(TABLE)
    answers = answers_of(trained(tmp_path / "table.yaml", tmp_path))
    row = {"rows": 30, **{name: value for name, value in GOOD.items() if name != "age"}}
    (answer,) = answers.answer([asked(row)])
    assert (answers.enveloped, answer.status, len(json.loads(answer.body)["predictions"])) == (False, 200, 1)


def test_many_bad_rows_are_told_in_part(of_people: Answers) -> None:
    (answer,) = of_people.answer([asked([7] * 130)])
    status, details = detail(answer)
    assert (status, len(details), details[-1]["msg"]) == (422, 101, "30 more rows cannot be predicted")


def test_probabilities_are_refused_where_there_are_none(tmp_path: Path) -> None:
    run = trained(small(tmp_path), tmp_path)
    with pytest.raises(nnrun.errors.UsageError, match="which have no probabilities"):
        answers_of(run, Options(probabilities=True))
    (answer,) = answers_of(run).answer([asked([[1, 2, 3]], "probabilities=true")])
    assert detail(answer) == (422, f"probabilities: {run.id} predicts numbers, which have no probabilities.")


def test_a_typical_row_has_the_most_frequent_values(tmp_path: Path) -> None:
    """Not the first in their order; a run of an older version, which does not know them, has these."""
    sex = ["male"] * 30 + ["female"] * 10
    frame = pd.DataFrame({"age": np.arange(40.0) * 7 % 40, "sex": sex, "y": np.arange(40) % 2})
    spec = {
        "dataset": {"jsonl": {"target": "y"}},
        "preprocessing": {"inputs": ["standardize", "one_hot"]},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "epochs": 1,
    }
    run = RunDirectory(nnrun.train(spec, data=frame, runs_dir=tmp_path).path)
    assert typical_row(load_predictor(run)) == {"age": 19.5, "sex": "male"}
    path = run.path / "preprocessing.json"
    path.write_text(path.read_text("utf-8").replace('"frequent"', '"unknown"'), encoding="utf-8")
    assert typical_row(load_predictor(run)) == {"age": 19.5, "sex": "female"}
