"""Small experiments, trained in a moment: their rows, their specs, and screens that can be compared."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.experiment.setup.data_location import without_folders
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import LoadedSpec, load_spec, load_spec_text, read_kept_spec
from nnrun.spec.writing.dump import dump_spec

SCREENS = Path(__file__).parents[1] / "cli" / "screens"

# Three numbers in, one out: 48 rows to train on and 12 to test with, in small.npz beside the spec.
REGRESSION: dict[str, Any] = {
    "dataset": {"npz": "small.npz"},
    "preprocessing": {"inputs": "standardize"},
    "layers": [{"dense": {"units": 8, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "metrics": ["mae"],
    "epochs": 3,
    "batch_size": 8,
    "validation": {"holdout": {"first": 16}},
}
# The same for a yes or no.
BINARY: dict[str, Any] = {
    **REGRESSION,
    "layers": [
        {"dense": {"units": 8, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ],
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
}
KFOLD = {"kfold": {"k": 3}}


def numbers(rows: int = 48, test_rows: int = 12, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of three numbers, and a number that follows from them but for some noise."""
    rng = np.random.RandomState(seed)
    x = rng.normal(5, 2, (rows + test_rows, 3))
    y = x[:, 0] + x[:, 1] / 2 - x[:, 2] + rng.normal(0, 0.1, len(x))
    arrays = {"x_train": x[:rows], "y_train": y[:rows]}
    return arrays | ({"x_test": x[rows:], "y_test": y[rows:]} if test_rows else {})


def yes_or_no(rows: int = 48, test_rows: int = 12, *, seed: int = 0) -> dict[str, np.ndarray]:
    """The same rows, and whether their number is above 3: somewhat more than half are."""
    arrays = numbers(rows, test_rows, seed=seed)
    return {name: (a > 3).astype(int) if name.startswith("y") else a for name, a in arrays.items()}


def growing_tokens(rows: int = 24) -> dict[str, np.ndarray]:
    """Token lists whose vocabulary grows from row to row, so that contiguous folds see different ones."""
    rng = np.random.RandomState(0)
    lists = np.empty(rows, object)
    lists[:] = [[*rng.randint(1, 10, 4).tolist(), 10 + row] for row in range(rows)]
    return {"x_train": lists, "y_train": np.arange(rows) % 2}


def write_small(
    folder: Path,
    spec: dict[str, Any] = REGRESSION,
    arrays: dict[str, np.ndarray] | None = None,
    **changes: Any,
) -> Path:
    """Write small.npz and small.yaml, a spec over it with some keys changed; give the spec's path."""
    if arrays is None:
        arrays = yes_or_no() if spec["loss"] == "binary_crossentropy" else numbers()
    np.savez(folder / "small.npz", **arrays)  # type: ignore[arg-type]
    path = folder / "small.yaml"
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in (spec | changes).items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def load_small(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> LoadedSpec:
    """The same, loaded."""
    return load_spec(write_small(folder, spec, **changes))


def spec_text(spec: dict[str, Any] = REGRESSION, **changes: Any) -> LoadedSpec:
    """A spec without its data."""
    text = json.dumps(spec | changes)
    return load_spec_text(text, file="small.yaml", base=Path("/nowhere"), default_name="small")


def only_run(runs_dir: Path) -> Path:
    """The one run in a folder."""
    (run,) = (entry for entry in runs_dir.iterdir() if entry.is_dir())  # the ledger lies beside it
    return run


def record_of(run: Path) -> dict[str, Any]:
    """What run.json holds."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def of_members(run: Path, key: str) -> dict[str, Any]:
    """The number of each fold or seed → what run.json holds of it."""
    return {m["member"].split("-")[1]: m[key] for m in record_of(run)["members"] if key in m}


def without_seconds(run: Path) -> bytes:
    """history.csv, but for its last column, which is the time that each epoch took."""
    lines = (run / "history.csv").read_bytes().split(b"\n")
    assert lines[0].endswith(b",seconds")
    return b"\n".join(line.rpartition(b",")[0] for line in lines)


def files_of(folder: Path) -> list[str]:
    """Every file below a folder, by its path from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- screens -----------------------------------------------------------------------------------------------

_CHANGING = (
    (re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{4}"), "-<ID>"),
    (re.compile(r"(?<=  )\d+\.\d\d s$", re.MULTILINE), "<TIME>"),
    (re.compile(r"(?<= in )\d+\.\d s(?=[;\n])"), "<TIME>"),
    (re.compile(r"(?<=differ from the run's by at most )\S+"), "<LITTLE>"),  # of rounding, on this CPU
)
_NUMBER = re.compile(r"\d+\.\d+")


def steady(text: str, names: dict[str, str] | None = None) -> str:
    """A screen without what changes from run to run: ids and times, and the texts in `names`."""
    for found, name in (names or {}).items():
        text = text.replace(found, name)
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return text


def check_screen(name: str, printed: Any, names: dict[str, str] | None = None) -> None:
    """Compare both streams of a command with the screen in cli/screens/, to the letter.

    Numbers with a point may differ by what rounding leaves on another CPU. After a change of words:

        NNRUN_WRITE_SCREENS=1 pytest tests/cli

    and read every changed one.
    """
    found = steady(f"--- stdout\n{printed.out}--- stderr\n{printed.err}", names)
    path = SCREENS / f"{name}.txt"
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    if "NNRUN_WRITE_SCREENS" in os.environ and not agree(found, expected):
        SCREENS.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
        return
    if not agree(found, expected):
        lines = difflib.unified_diff(
            expected.splitlines(), found.splitlines(), str(path), "found", lineterm=""
        )
        pytest.fail("\n".join(lines), pytrace=False)


def agree(found: str, expected: str) -> bool:
    """The same letters, and the same numbers but for one in the last digit that is shown."""
    if _NUMBER.sub("#", found) != _NUMBER.sub("#", expected):
        return False
    return _floats(found) == pytest.approx(_floats(expected), rel=1e-3, abs=1.5e-4)


def _floats(text: str) -> Sequence[float]:
    return [float(number) for number in _NUMBER.findall(text)]


def standardized(preprocessing: Mapping[str, Any]) -> dict[str, list[float]]:
    """The `mean` and `std` of each column, of a preprocessing.json that standardizes all columns once."""
    states = [column["steps"][0]["standardize"] for column in preprocessing["table"]["columns"]]
    return {name: [state[name] for state in states] for name in ("mean", "std")}


def shared_spec(run: RunDirectory) -> str:
    """A run's spec as files for others hold it."""
    return dump_spec(without_folders(read_kept_spec(run.read_resolved(), file="resolved.yaml")))
