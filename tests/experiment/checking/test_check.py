"""Planted faults are found, each with its evidence; clean tables have no finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nnrun.experiment.checking.check import CheckedData, check_file, check_spec
from nnrun.experiment.checking.finding import Finding
from nnrun.experiment.checking.quick_models import MOST_ROWS
from nnrun.experiment.init.initial_spec import Wanted
from nnrun.spec.reading.load import load_spec, load_spec_text
from tests.support.faulty_tables import FAULTS, clean, with_wrong_labels, write_fault, write_table


def checked(path: Path) -> CheckedData:
    return check_spec(load_spec(path).spec) if path.suffix == ".yaml" else check_file(path)


def found_in(data: CheckedData, kind: str) -> Finding:
    (finding,) = [finding for finding in data.findings if finding.kind == kind]
    return finding


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(name: str, tmp_path: Path) -> None:
    data = checked(write_fault(tmp_path, name))
    assert {finding.kind for finding in data.findings} == {FAULTS[name].kind}


def test_a_column_that_few_rows_keep_from_being_a_copy_of_classes_is_found(tmp_path: Path) -> None:
    """One row or two lie beyond the border: a tree's steps lose more area there than the order."""
    finding = found_in(
        checked(write_fault(tmp_path, "nearly a copy of classes", 300)), "column_predicts_target"
    )
    assert finding.evidence["score"] > 0.9999


def test_a_column_that_says_amounts_to_a_few_percent_is_found_however_far_apart_they_are(
    tmp_path: Path,
) -> None:
    """A tree's steps cannot follow the few largest amounts, which decide its R²."""
    rng, columns = np.random.default_rng(0), clean(0, classes=0)
    columns["y"] = np.round(100 * np.exp(columns["y"]), 2)
    columns["paid"] = np.round(columns["y"] * rng.normal(1.2, 0.03, len(columns["y"])), 2)
    finding = found_in(
        checked(write_table(tmp_path, "amounts", columns, classes=0)), "column_predicts_target"
    )
    assert "'paid' alone predicts 'y': squared rank correlation" in finding.text


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_clean_table_has_no_finding(classes: int, tmp_path: Path) -> None:
    path = write_table(
        tmp_path, "clean", clean(3, classes=classes), classes=classes, more="\n    test: {fraction: 0.2}"
    )
    assert checked(path).findings == ()


def test_a_table_of_scikit_learn_has_no_finding() -> None:
    text = (
        "dataset: {sklearn: wine}\nlayers: [{dense: {units: 3, activation: softmax}}]\n"
        "loss: categorical_crossentropy\nvalidation: {kfold: {k: 5, shuffle: true}}\n"
    )
    loaded = load_spec_text(text, file="wine.yaml", base=Path("/nowhere"), default_name="wine")
    assert check_spec(loaded.spec).findings == ()


def test_copies_are_named_by_their_lines(tmp_path: Path) -> None:
    """15 of 500 rows are appended once more: lines 502 to 516 equal an earlier one."""
    finding = found_in(checked(write_fault(tmp_path, "copies of rows")), "identical_rows_in_training")
    assert finding.severity == "warning"
    assert finding.evidence["rows"] == finding.evidence["same_target"] == 15
    assert [later["line"] for later, _ in finding.evidence["pairs"]] == list(range(502, 517))
    lines = (tmp_path / "copies_of_rows_0.csv").read_text().splitlines()
    assert all(lines[a["line"] - 1] == lines[b["line"] - 1] for a, b in finding.evidence["pairs"])


def test_copies_in_parquet_are_named_by_their_rows_and_in_a_folder_by_their_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_fault(tmp_path, "copies of rows")
    pd.read_csv(tmp_path / "copies_of_rows_0.csv").to_parquet(tmp_path / "rows.parquet")
    finding = found_in(check_file(tmp_path / "rows.parquet", Wanted(("y",))), "identical_rows_in_training")
    assert "line" not in finding.evidence["pairs"][0][0]
    assert [later["file_row"] for later, _ in finding.evidence["pairs"]] == list(range(500, 515))
    assert finding.examples[0].startswith("row 500 (from 0) = row ")

    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(
                tmp_path / f"images/{name}/{i:02}.png"
            )
    (tmp_path / "images/ant/29.png").write_bytes((tmp_path / "images/ant/11.png").read_bytes())
    (finding,) = check_file(tmp_path / "images").findings
    later, first = finding.evidence["pairs"][0]
    assert (later["file"], first["file"]) == ("ant/29.png", "ant/11.png")
    assert finding.examples == ("ant/29.png = ant/11.png",)


@pytest.mark.parametrize("in_test", [False, True])
def test_targets_are_compared_with_those_of_all_rows_of_the_same_inputs(
    in_test: bool, tmp_path: Path
) -> None:
    """pandas counts the same: rows that are `duplicated` in the inputs and the target."""
    rng, columns = np.random.default_rng(0), clean(0)
    again = np.tile(np.arange(20), 5)
    for name, values in columns.items():
        columns[name] = np.concatenate([values, values[again]])
    columns["y"][500:] = rng.choice(["a", "b"], len(again))
    frame = pd.DataFrame(columns)
    if in_test:
        columns["part"] = np.where(np.arange(600) < 560, "train", "test")
    test = "\n    test: {column: part, value: test}" if in_test else ""
    data = checked(write_table(tmp_path, "alike", columns, more=test))
    kind = f"identical_rows_in_{'test' if in_test else 'training'}"
    evidence = found_in(data, kind).evidence
    assert evidence["rows"] == (40 if in_test else 100)
    known = set(map(tuple, frame[:560].to_numpy()))
    of_test = sum(tuple(row) in known for row in frame[560:].to_numpy())
    assert evidence["same_target"] == (of_test if in_test else frame.duplicated().sum())


def test_rows_that_only_look_alike_are_a_note(tmp_path: Path) -> None:
    """The same inputs with labels drawn anew: no copies."""
    columns = clean(0)
    rows = np.arange(60)
    for name, values in columns.items():
        columns[name] = np.concatenate([values, values[rows]])
    columns["y"][500:] = np.random.RandomState(0).choice(["a", "b"], 60)
    data = checked(write_table(tmp_path, "alike", columns))
    assert found_in(data, "identical_rows_in_training").severity == "note"


def test_few_values_that_coincide_by_chance_are_no_finding(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    columns = {name: random.choice(list("pqr"), 400) for name in ("u", "v", "w")}
    columns["y"] = random.choice(["a", "b"], 400)
    data = checked(write_table(tmp_path, "few", columns))
    assert [finding.kind for finding in data.findings] == []


def test_the_changed_labels_are_named(tmp_path: Path) -> None:
    """Precision over 0.7 where 5 % of the labels are changed."""
    columns = clean(0, rows=600)
    truth = columns["y"].copy()
    wrong = set(with_wrong_labels(columns, 0).tolist())
    finding = found_in(checked(write_table(tmp_path, "wrong", columns)), "likely_wrong_labels")
    labels = finding.evidence["labels"]
    said = {label["row"] for label in labels}
    assert len(said & wrong) > 0.7 * len(said)
    assert len(said & wrong) > 0.5 * len(wrong)
    assert all(label["given"] == columns["y"][label["row"]] for label in labels)
    assert all(label["suggested"] == truth[label["row"]] for label in labels if label["row"] in wrong)
    probabilities = [label["probability_of_given"] for label in labels]
    assert probabilities == sorted(probabilities)


def test_of_many_rows_a_sample_is_judged_and_classes_of_few_rows_are_left_out(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    labels = random.choice(["a", "b"], MOST_ROWS + 1_000)
    labels[:4] = "rare"
    columns = {"x": np.round(random.normal(0, 1, len(labels)) + 6 * (labels == "a"), 4), "y": labels}
    columns["z"] = np.round(random.normal(0, 1, len(labels)), 4)
    remarks = checked(write_table(tmp_path, "many", columns, classes=3)).remarks
    assert remarks[0].startswith("Labels: of 6,000 training rows 5,000 were drawn for the quick model")
    assert remarks[1].endswith("of 1 class with fewer than 5 rows were left out.")


def test_a_group_that_the_spec_names_is_no_finding(tmp_path: Path) -> None:
    path = write_fault(tmp_path, "a group on both sides")
    text = path.read_text().replace("    target: y", "    target: y\n    group: patient_id")
    path.write_text(text)
    assert checked(path).findings == ()


def test_an_order_in_time_that_the_split_keeps_is_no_finding(tmp_path: Path) -> None:
    path = write_fault(tmp_path, "time, shuffled")
    finding = found_in(checked(path), "time_order_broken")
    assert "`validation: {time_series: {k: 4, column: day}}`" in finding.advice
    path.write_text(
        path.read_text().replace("{kfold: {k: 5, shuffle: true}}", "{time_series: {k: 4, column: day}}")
    )
    assert [each.kind for each in checked(path).findings] == []


def test_the_columns_that_tell_test_rows_from_training_rows_are_named(tmp_path: Path) -> None:
    """One number is 1.5 higher there, and all dates are later."""
    columns = clean(0)
    FAULTS["another test set"].plant(columns, np.random.RandomState(0))
    months = np.where(columns["part"] == "test", "2024-06-", "2024-05-")
    days = np.random.RandomState(1).randint(10, 29, 500).astype(str)
    columns["day"] = np.char.add(months, days)
    path = write_table(tmp_path, "shift", columns, more=FAULTS["another test set"].more)
    finding = found_in(checked(path), "test_set_differs")
    assert finding.severity == "serious"
    assert list(finding.evidence["columns"]) == ["day", "x3"]
    assert (
        "2024-05-10 to 2024-05-28 in training, 2024-06-10 to 2024-06-28 in the test set"
        in finding.examples[0]
    )


def test_texts_are_looked_at_for_copies_and_labels(tmp_path: Path) -> None:
    """Two vocabularies; 12 of 200 texts have the other's label, and one stands twice."""
    random = np.random.RandomState(0)
    words = {"good": ["fine", "warm", "kind", "sweet"], "bad": ["cold", "harsh", "dull", "grim"]}
    classes, folder = ("good", "bad"), tmp_path / "texts"
    for i in range(200):
        home = folder / "train" / classes[(i if i >= 12 else i + 1) % 2]
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{i}.txt").write_text(" ".join([*random.choice(words[classes[i % 2]], 8), str(i)]))
    good = folder / "train" / "good"
    (good / "again.txt").write_text((good / "50.txt").read_text())
    data = check_file(folder)
    assert found_in(data, "identical_rows_in_training").evidence["rows"] == 1
    finding = found_in(data, "likely_wrong_labels")
    assert len(finding.evidence["labels"]) == 12
    assert "of a linear model" in finding.text
