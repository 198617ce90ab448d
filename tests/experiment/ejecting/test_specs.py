"""What `nnrun eject` makes of every spec in specs/: it writes it, or refuses it with which sentence.

`NNRUN_WRITE_SCREENS=1` writes the list; read it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest

import nnrun
from nnrun.data.archives.download import PUBLISHED_TABLES
from nnrun.data.sources import published_table
from nnrun.errors import UsageError
from nnrun.spec import schema
from tests.support.ejected_scripts import SPECS, styled, write_tokens

GOLDEN = Path(__file__).parent / "specs.txt"
To = Literal["pytorch", "keras"]
FEW_ROWS: dict[str, dict[str, Any]] = {
    "imdb": {"validation.holdout.first": 20},
    "reuters": {"validation.holdout.first": 20},
}


def write_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of data sets, with few rows."""
    for spec in (schema.Penguins(), schema.Titanic()):
        path = folder / f"{spec.kind}.csv"
        published_table._write_rows(path, spec)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        remote = replace(PUBLISHED_TABLES[spec.kind], digest=digest, size=path.stat().st_size)
        monkeypatch.setitem(PUBLISHED_TABLES, spec.kind, remote)
    write_tokens(folder, "imdb")
    write_tokens(folder, "reuters")
    rng = np.random.RandomState(0)
    arrays = {}
    for part, rows in (("train", 40), ("test", 10)):
        arrays[f"x_{part}"] = rng.randint(0, 256, (rows, 28, 28)).astype(np.uint8)
        arrays[f"y_{part}"] = rng.randint(0, 10, rows).astype(np.uint8)
    np.savez(folder / "mnist.npz", **arrays)  # type: ignore[arg-type]


def what_becomes_of(spec: Path, to: To, folder: Path) -> str:
    """A line: the spec, the target, and what is written or why not."""
    script = folder / f"{spec.stem}_{to}.py"
    first = spec.stem.partition("_")[0]
    try:
        ejected = nnrun.eject(spec, to, script, data_dir=folder, overrides=FEW_ROWS.get(first, {}))
    except UsageError as error:
        return f"{spec.stem} {to}: {error}"
    notes = "".join(f" Note: {note}" for note in ejected.notes)
    return f"{spec.stem} {to}: written.{notes}"


def test_every_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path, monkeypatch)
    specs = sorted(SPECS.glob("*.yaml"))
    found = "\n".join(what_becomes_of(spec, to, tmp_path) for spec in specs for to in get_args(To)) + "\n"
    if os.environ.get("NNRUN_WRITE_SCREENS"):
        GOLDEN.write_text(found, encoding="utf-8")
    expected = GOLDEN.read_text(encoding="utf-8")
    assert found == expected, "\n".join(difflib.unified_diff(expected.split("\n"), found.split("\n")))
    # Layers that are copied from nnrun, and lines of convolutions, are longer.
    copied = ("imdb_transformer", "digits_conv_pytorch", "digits_residual_pytorch", "mnist_conv_pytorch")
    styled(*(path for path in tmp_path.glob("*.py") if not path.stem.startswith(copied)))
