"""What is predicted for a data set's own rows can be joined with the file that a person has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import nnrun
from nnrun.cli import main
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.read_table import read_table
from nnrun.experiment.predicting.out_of_fold import out_of_fold
from nnrun.records import RunDirectory

N = 60
FORMATS = ["csv", "jsonl", "parquet"]
SPLITS: dict[str, dict[str, Any]] = {
    "in order": {},
    "test fraction": {"test": {"fraction": 0.2}},
    "test fraction without targets": {"test": {"fraction": 0.3}, "drop_missing_target": True},
    "test column": {"test": {"column": "part", "value": "t"}, "drop_missing_target": True},
    "groups": {"group": "town", "drop_missing_target": True, "test": {"fraction": 0.25}},
    "incomplete rows": {"drop_missing": True},
}


def frame(n: int = N, *, without_target: bool = True, seed: int = 0) -> pd.DataFrame:
    """A table whose targets are all different, so that a row that is off by one is seen."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n).round(3), "town": [f"t{i % 11}" for i in range(n)]})
    table["part"] = np.where(np.arange(n) % 5 == 2, "t", "r")
    table["y"] = rng.permutation(n) + 0.5
    if without_target:
        table.loc[[0, 7, 8, 31], "y"] = None
    table.loc[[3, 20], "x"] = None
    return table


def write(path: Path, table: pd.DataFrame) -> Path:
    if path.suffix == ".csv":
        lines = ["x,town,part,y"]
        for i, row in enumerate(table.itertuples(index=False)):
            lines += [""] * (i % 13 == 4) + [",,,"] * (
                i % 17 == 5
            )  # a blank line is no row, the other is one
            town = f'"{row.town}\n"' if i % 9 == 1 else row.town  # over two lines
            cells = ["" if pd.isna(value) else str(value) for value in (row.x, row.y)]
            lines.append(f"{cells[0]},{town},{row.part},{cells[1]}")
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".jsonl":
        rows = [row.dropna().to_dict() for _, row in table.iterrows()]
        path.write_text("\n\n".join(json.dumps({"x": None, "y": None, **row}) for row in rows) + "\n")
    else:
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    return path


def read(path: Path) -> pd.DataFrame:
    """As anyone reads it."""
    match path.suffix:
        case ".csv":
            return pd.read_csv(path)
        case ".jsonl":
            return pd.read_json(path, lines=True)
        case _:
            return pd.read_parquet(path)


def spec_file(path: Path, of_data: Mapping[str, Any], validation: Mapping[str, Any]) -> Path:
    inputs = {} if of_data.get("drop_missing") else {"preprocessing": {"inputs": ["impute", "standardize"]}}
    spec = {
        "dataset": {path.suffix[1:]: {"path": str(path), "target": "y", "inputs": ["x"], **of_data}},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "epochs": 1,
        "batch_size": 16,
        "validation": dict(validation),
        **inputs,
    }
    (path.parent / "spec.yaml").write_text(json.dumps(spec))
    return path.parent / "spec.yaml"


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("of_data", SPLITS.values(), ids=SPLITS)
def test_targets_are_those_of_the_file(format_: str, of_data: dict[str, Any], tmp_path: Path) -> None:
    drops = "drop_missing_target" in of_data
    path = write(tmp_path / f"rows.{format_}", frame(without_target=drops))
    kfold = {"k": 3} if of_data.get("group") else {"k": 3, "shuffle": True, "repeats": 2}
    run = nnrun.train(spec_file(path, of_data, {"kfold": kfold}), runs_dir=tmp_path / "runs")
    table, kept = read(path), pd.read_csv(run.path / "oof.csv")
    assert kept["target"].tolist() == table["y"].iloc[kept["file_row"]].tolist()
    splits = ["validation", "test"] if "test" in of_data else ["validation"]
    seen: list[int] = []
    for split in splits:
        found = nnrun.predict(run, split=split)  # type: ignore[arg-type]
        assert found["target"].tolist() == table["y"].iloc[found["file_row"]].tolist()
        seen += found["file_row"].tolist()
    has_value = table["y"].notna() & (table["x"].notna() if "drop_missing" in of_data else True)
    assert sorted(seen) == np.flatnonzero(has_value).tolist()  # each row once, in one of the splits
    arrays = out_of_fold(RunDirectory(run.path))
    assert arrays.places is not None
    assert arrays.places.values.tolist() == kept["file_row"].tolist()


def test_a_file_of_test_rows_has_numbers_of_its_own(tmp_path: Path) -> None:
    path, other = write(tmp_path / "rows.csv", frame()), write(tmp_path / "more.csv", frame(40, seed=1))
    of_data = {"test": {"path": str(other)}, "drop_missing_target": True}
    run = nnrun.train(spec_file(path, of_data, {"holdout": {"fraction": 0.3}}), runs_dir=tmp_path / "runs")
    for split, file in (("train", path), ("validation", path), ("test", other)):
        found = nnrun.predict(run, split=split)  # type: ignore[arg-type]
        assert found["target"].tolist() == read(file)["y"].iloc[found["file_row"]].tolist()


def test_the_forms_of_predictions_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.csv", frame())
    of_data = {"test": {"fraction": 0.2}, "drop_missing_target": True}
    run = nnrun.train(spec_file(path, of_data, {"kfold": {"k": 3}}), runs_dir=tmp_path / "runs")
    rows = nnrun.predict(run, split="validation")["file_row"].tolist()
    base = ["predict", str(run.path), "--split", "validation", "-q"]
    assert main([*base, "-o", str(tmp_path / "out.csv")]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["file_row"].tolist() == rows
    assert main([*base, "-o", str(tmp_path / "out.jsonl")]) == 0
    assert pd.read_json(tmp_path / "out.jsonl", lines=True)["file_row"].tolist() == rows
    capsys.readouterr()
    assert main([*base, "--json"]) == 0
    assert [row["file_row"] for row in json.loads(capsys.readouterr().out)["predictions"]] == rows


def test_rows_of_a_folder_have_the_names_of_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(9):
            pixels = rng.integers(0, 256, (4, 4), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}, {name}.png")
    spec = {
        "dataset": {"image_folder": {"path": str(tmp_path / "images"), "size": 4, "test": {"fraction": 0.3}}},
        "layers": [{"flatten": {}}, {"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "epochs": 1,
        "validation": {"kfold": {"k": 3, "shuffle": True}},
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    kept = pd.read_csv(run.path / "oof.csv")
    assert [Path(file).parent.name for file in kept["file"]] == kept["target"].tolist()
    files = [*kept["file"], *nnrun.predict(run, split="test")["file"]]
    assert sorted(files) == sorted(f"{name}/{i}, {name}.png" for name in ("ant", "bee") for i in range(9))

    (tmp_path / "images" / "bee" / "0, bee.png").write_bytes(b"no image")  # new rows, and one is skipped
    base = ["predict", str(run.path), str(tmp_path / "images"), "--skip-bad", "-q", "-o"]
    assert main([*base, str(tmp_path / "out.csv")]) == 0
    assert main([*base, str(tmp_path / "out.jsonl")]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found) == ["row", "file", "prediction", "probability"]
    rows = [f"{name}/{i}, {name}.png" for name in ("ant", "bee") for i in range(9)]
    assert found["file"].tolist() == [file for file in rows if file != "bee/0, bee.png"]
    assert [rows[row] for row in found["row"]] == found["file"].tolist()
    assert pd.read_json(tmp_path / "out.jsonl", lines=True)["file"].tolist() == found["file"].tolist()
    assert main(["predict", str(run.path), str(tmp_path / "images" / "ant" / "1, ant.png"), "-q"]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "row,prediction,probability"


def test_texts_of_a_folder_too(tmp_path: Path) -> None:
    for name, word in (("good", "fine"), ("bad", "dull")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for i in range(6):
            (tmp_path / "texts" / name / f"{i}.txt").write_text(f"a {word} film {i}")
    spec = {
        "dataset": {"text_folder": {"path": str(tmp_path / "texts")}},
        "preprocessing": {"inputs": {"text": {"num_words": 20}}},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "epochs": 1,
        "validation": {"holdout": {"fraction": 0.3}},
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    output = tmp_path / "out.csv"
    assert main(["predict", str(run.path), str(tmp_path / "texts" / "good"), "-q", "-o", str(output)]) == 0
    assert pd.read_csv(output)["file"].tolist() == [f"{i}.txt" for i in range(6)]


def test_rows_of_arrays_are_their_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x_train=rng.normal(size=(30, 2)), y_train=np.arange(30.0))
    spec = {
        "dataset": {"npz": {"path": str(tmp_path / "a.npz")}},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "epochs": 1,
        "validation": {"kfold": {"k": 3, "shuffle": True}},
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    kept = pd.read_csv(nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs").path / "oof.csv")
    assert list(kept) == ["row", "fold", "target", "prediction"]
    assert kept["target"].tolist() == kept["row"].tolist()


LINES = st.lists(
    st.sampled_from(["{i},{i}", '"{i}\n",{i}', "", ",", "  ", '"",""', ",{i}", " , ", '"a, b",{i}']),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(LINES, st.booleans(), st.booleans())
def test_rows_of_csv_are_counted_as_pandas_counts(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], needs_target: bool, windows: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    end = "\r\n" if windows else "\n"
    rows = ["a,y", *(line.replace("{i}", str(i)) for i, line in enumerate(lines)), "0,1000"]
    path.write_text(end.join(rows) + end, newline="")
    needed = [["y"]] if needs_target else []
    file = read_table(CsvReader(path), "0" * 64, {}, ["a", "y"], {"a": "text"}, needed=needed)
    places = file.places.of_rows(np.arange(file.n_rows))
    values = np.asarray(file.table.by_name["y"].values, float)  # type: ignore[union-attr]
    expected = pd.to_numeric(pd.read_csv(path, dtype=str)["y"], errors="coerce").iloc[places]
    np.testing.assert_array_equal(values, expected)
    assert (np.diff(places) > 0).all()
