"""Train a network of two inputs and two outputs by its command, and ask it about new rows in every way."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.commands import nnrun_command
from tests.support.port_experiments import arrays_of_ports, table_of_ports, write_arrays, write_columns


def nnrun(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """What a command prints; it must succeed."""
    made = nnrun_command(*arguments, cwd=folder, input=stdin)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_rows_of_a_table(tmp_path: Path) -> None:
    write_columns(tmp_path)
    nnrun(tmp_path, "train", "columns.yaml", "-q", "--device", "cpu")
    rows = table_of_ports()
    rows[rows["part"] == "t"].to_csv(tmp_path / "new.csv", index=False)
    own = pd.read_csv(io.StringIO(nnrun(tmp_path, "predict", "@last", "--split", "test", "--probabilities")))
    printed = nnrun(tmp_path, "predict", "@last", "new.csv", "--probabilities")
    of_grade = "grade,grade_probability,grade_low,grade_mid,grade_top"
    assert printed.splitlines()[0] == f"row,{of_grade},size"
    found = pd.read_csv(io.StringIO(printed))
    pd.testing.assert_frame_equal(found, own[list(found)].assign(row=range(24)), rtol=1e-6)

    content = (tmp_path / "new.csv").read_text()
    assert nnrun(tmp_path, "predict", "@last", "-", "--probabilities", stdin=content) == printed
    document = json.loads(nnrun(tmp_path, "predict", "@last", "new.csv", "--json"))
    assert (document["outputs"], document["rows"]) == (["grade", "size"], 24)
    assert list(document["predictions"][0]) == ["row", "grade", "grade_probability", "size"]
    lines = nnrun(tmp_path, "predict", "@last", "new.csv", "--format", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == document["predictions"]
    nnrun(tmp_path, "predict", "@last", "new.csv", "--probabilities", "-o", "out.csv")
    assert (tmp_path / "out.csv").read_text() == printed

    (tmp_path / "bad.csv").write_text("b,kind,a\n1,x,2\nmany,x,2\n")
    refused = nnrun_command("predict", "@last", "bad.csv", cwd=tmp_path)
    assert refused.returncode == 4
    assert "row 1 (line 3) has 'many' in column 'b' (input 'numbers')" in refused.stderr
    assert len(nnrun(tmp_path, "predict", "@last", "bad.csv", "--skip-bad").splitlines()) == 2


def test_arrays_of_an_archive(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    nnrun(tmp_path, "kfold", "arrays.yaml", "--k", "3", "-q", "--device", "cpu")
    nnrun(tmp_path, "final", "@last", "-q", "--device", "cpu")
    arrays = arrays_of_ports()
    np.savez(tmp_path / "new.npz", size=arrays["size_test"], where=arrays["where_test"])
    own = pd.read_csv(io.StringIO(nnrun(tmp_path, "predict", "@last", "--split", "test", "--probabilities")))
    printed = nnrun(tmp_path, "predict", "@last", "new.npz", "--probabilities")
    assert printed.splitlines()[0] == "row,price,kind,kind_probability,kind_cat,kind_dog,kind_emu"
    found = pd.read_csv(io.StringIO(printed))
    pd.testing.assert_frame_equal(found, own[list(found)], rtol=1e-6)
    assert found["price"].between(500, 2500).all()  # in the target's own units

    pairs = zip(arrays["size_test"].tolist(), arrays["where_test"].tolist(), strict=True)
    lines = "\n".join(json.dumps({"place": place, "size": size}) for size, place in pairs)
    assert nnrun(tmp_path, "predict", "@last", "-", "--probabilities", stdin=lines) == printed
