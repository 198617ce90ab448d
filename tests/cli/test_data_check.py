"""`nnrun data check`: whole screens, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnrun.cli import main
from tests.support.faulty_tables import clean, with_wrong_labels, write_fault, write_table
from tests.support.small_experiments import check_screen

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_faults() -> None:
    """Several faults in one table: patients on both sides, a serial number, labels that were changed."""
    columns = clean(0, rows=600)
    with_wrong_labels(columns, 0)
    columns["patient_id"] = np.random.RandomState(0).randint(0, 60, 600) + 4000
    columns["serial"] = np.arange(600) + 7001
    write_table(Path(), "visits", columns, more="unused patient_id")


def test_the_screen_of_a_spec(capsys: Capture) -> None:
    write_faults()
    assert main(["data", "check", "visits.yaml"]) == 0
    check_screen("data_check", capsys.readouterr())


def test_the_screen_of_a_file(capsys: Capture) -> None:
    path = write_fault(Path(), "a copy, without a spec")
    assert main(["data", "check", str(path)]) == 0
    check_screen("data_check_file", capsys.readouterr())


def test_the_screen_without_a_finding(capsys: Capture) -> None:
    write_table(Path(), "clean", clean(1))
    assert main(["data", "check", "clean.yaml", "--strict"]) == 0
    check_screen("data_check_nothing", capsys.readouterr())


def test_strict_ends_with_1_where_a_finding_is_more_than_a_note(capsys: Capture) -> None:
    assert main(["data", "check", str(write_fault(Path(), "a row number")), "--strict"]) == 1
    assert main(["data", "check", str(write_fault(Path(), "a column mostly missing")), "--strict"]) == 0


def test_json(capsys: Capture) -> None:
    write_faults()
    assert main(["data", "check", "visits.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    kinds = {finding["kind"]: finding for finding in document["findings"]}
    assert list(kinds) == ["group_on_both_sides", "row_number_as_input", "likely_wrong_labels"]
    assert (document["train_rows"], document["test_rows"], document["splits"]) == (600, 0, 5)
    first = kinds["likely_wrong_labels"]["evidence"]["labels"][0]
    keys = ["set", "row", "file_row", "line", "place", "given", "probability_of_given", "suggested"]
    assert list(first) == [*keys, "probability"]
    assert first["line"] == first["file_row"] + 2 == first["row"] + 2


def test_a_run_judges_labels_by_its_own_networks(capsys: Capture) -> None:
    columns = clean(0, rows=600)
    wrong = set(with_wrong_labels(columns, 0).tolist())
    path = write_table(Path(), "labels", columns)
    path.write_text(path.read_text() + "optimizer: {adam: 0.05}\n")
    assert main(["train", str(path), "-q"]) == 0
    capsys.readouterr()
    assert main(["data", "check", "@last", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (finding,) = document["findings"]
    assert finding["kind"] == "likely_wrong_labels"
    assert finding["evidence"]["by"].startswith("the networks of labels-")
    assert document["doubted"] == {"y": finding["evidence"]["labels"]}
    said = {label["row"] for label in finding["evidence"]["labels"]}
    assert len(said & wrong) > 0.7 * len(said)


def test_of_several_labels_a_row_none_is_said_to_have_been_looked_at(capsys: Capture) -> None:
    random = np.random.RandomState(0)
    np.savez("tags.npz", x_train=random.rand(60, 6, 6), y_train=random.randint(0, 2, (60, 3)))
    Path("tags.yaml").write_text(
        "dataset: {npz: {path: tags.npz}}\n"
        "layers: [flatten, {dense: {units: 3, activation: sigmoid}}]\n"
        "loss: binary_crossentropy\n"
        "validation: {kfold: {k: 3, shuffle: true}}\n"
    )
    assert main(["data", "check", "tags.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == [
        "These rows have no columns that could be looked at one by one.",
        "No target is one class or one number a row, so labels were not looked at.",
    ]


def refused(capsys: Capture, *arguments: str) -> tuple[int, str]:
    code = main(["data", "check", *arguments])
    return code, capsys.readouterr().err


def test_what_is_refused(capsys: Capture) -> None:
    write_table(Path(), "t", clean(1, rows=60))
    for_a_file = (
        "error: --target, --task and --test are for a FILE; a spec or a run says what is predicted.\n"
    )
    assert refused(capsys, "t.yaml", "--target", "y") == (2, for_a_file)
    for_a_spec = "error: --set is for a spec or a run; write a spec for the file first: nnrun init.\n"
    assert refused(capsys, "t.csv", "--set", "seed=1") == (2, for_a_spec)
    assert refused(capsys, "nothing") == (2, "error: No run 'nothing': there are no runs in runs yet.\n")
    assert refused(capsys, "nothing.csv") == (4, "error: nothing.csv does not exist.\n")
    a_name = (
        "error: 'iris' is a data set; its split and its task are in a spec. Check a spec that names it.\n"
    )
    assert refused(capsys, "iris") == (2, a_name)
    assert refused(capsys, "t.csv", "--target", "nobody")[0] == 2


def test_a_smoke_run_is_refused(capsys: Capture) -> None:
    write_table(Path(), "t", clean(1, rows=60))
    assert main(["train", "t.yaml", "-q", "--smoke"]) == 0
    capsys.readouterr()
    code, err = refused(capsys, "@last")
    assert code == 2
    assert err.endswith("is a smoke run, whose rows are generated. Check the spec or the file.\n")


def test_a_sweep_is_refused_as_one_by_its_path_too(capsys: Capture) -> None:
    write_table(Path(), "t", clean(1, rows=60))
    assert main(["sweep", "t.yaml", "--over", "seed=1,2", "-q"]) == 0
    capsys.readouterr()
    (folder,) = Path("runs").glob("*-sweep-*")
    for what in (str(folder), folder.name):
        code, err = refused(capsys, what)
        assert code == 2
        assert err.startswith(f"error: {folder.name} is a sweep, not a run: it has no network of its own.")
