"""Words that count as missing, and may be the names of classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.data import load_dataset
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.missing_marks import missing_marks
from nnrun.errors import DataError
from nnrun.spec import schema

SENTENCE = (
    "The file has 'None' in 8 rows, which counts as missing; if that is a class, set `missing: []` in the "
    "data set (or list there what is missing)."
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "n.csv"
    path.write_text("x,y\n" + "".join(f"{i % 5},{('None', 'Minor', 'Major')[i % 3]}\n" for i in range(24)))
    return path


def test_the_marks_of_a_column(path: Path) -> None:
    path.write_text("x;y\n1; NA\n2;None\n3;\n4;None\n5;b\n")
    assert missing_marks(CsvReader(path), "y") == {"None": 2, "NA": 1}
    assert missing_marks(CsvReader(path, missing=["b"]), "y") == {"b": 1}
    assert missing_marks(CsvReader(path), "x") == {}


def test_a_class_called_none(path: Path) -> None:
    spec = schema.Csv(path=str(path), target=["y"])
    with pytest.raises(DataError, match=r"line 2, column 'y': the target is missing") as caught:
        load_dataset(spec)
    assert str(caught.value).endswith(SENTENCE)
    said: list[str] = []
    left = load_dataset(spec.model_copy(update={"drop_missing_target": True}), on_message=said.append)
    assert left.class_names == ("Major", "Minor")
    assert f"{path}: column 'y': {SENTENCE}" in said
    whole = load_dataset(spec.model_copy(update={"missing": []}))
    assert whole.class_names == ("Major", "Minor", "None")


def test_init_names_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = path.with_name("s.yaml")
    assert main(["init", str(path), "--yes", "--target", "y", "-o", str(spec)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "The file has 'None' in 8 rows, which counts as missing" in out
    assert "set `missing: []`" in " ".join(spec.read_text().replace("#", " ").split())


def test_an_empty_target_has_no_marks(path: Path) -> None:
    path.write_text("x,y\n1,a\n2,\n3,b\n4,a\n")
    with pytest.raises(DataError) as caught:
        load_dataset(schema.Csv(path=str(path), target=["y"]))
    assert str(caught.value).endswith("which leaves such rows out.")


@pytest.mark.parametrize("types", [{}, {"y": "category"}])
def test_classes_that_are_numbers_are_in_numeric_order(
    path: Path, types: dict[str, schema.ColumnType]
) -> None:
    path.write_text("c,y\n" + "".join(f"{i % 12 - 1},{i % 12 + 1}\n" for i in range(60)))
    spec = schema.Csv(path=str(path), target=["y"], types={"c": "category", **types})
    dataset = load_dataset(spec)
    if types:
        assert dataset.class_names == tuple(map(str, range(1, 13)))
    assert dataset.train.inputs.by_name["c"].levels == tuple(map(str, range(-1, 11)))  # type: ignore[union-attr]
