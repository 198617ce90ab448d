"""Scripts of nnrun eject: run, checked for style, their histories compared."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

import nnrun
from tests.support.commands import run_program

SPECS = Path(__file__).parents[2] / "specs"

RUN_ALL = """
import runpy, sys

class NoNnrun:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nnrun":
            raise ImportError("a script needs no nnrun")

assert not any(name.partition(".")[0] == "nnrun" for name in sys.modules)
sys.meta_path.insert(0, NoNnrun())
for script in sys.argv[1:]:
    runpy.run_path(script, run_name="__main__")
"""


def same_histories(
    folder: Path, specs: Mapping[str, Path], to: Literal["pytorch", "keras"], data_dir: Path | None = None
) -> None:
    """Run the scripts of specs in a process that cannot import nnrun, and compare what they write."""
    own, scripts = {}, {}
    for name, spec in specs.items():
        scripts[name] = folder / f"{name}.py"
        ejected = nnrun.eject(spec, to, scripts[name], data_dir=data_dir)
        assert scripts[name].read_text(encoding="utf-8").count("\n") == ejected.lines
        own[name] = nnrun.train(spec, runs_dir=folder / "runs", data_dir=data_dir).history
    done = run_program(
        RUN_ALL, *map(str, scripts.values()), cwd=folder, imported="keras" if to == "keras" else "packages"
    )
    assert done.returncode == 0, done.stderr
    for name, script in scripts.items():
        found = pd.read_csv(script.with_name(f"{name}_history.csv"))
        assert list(found.columns) == list(own[name].columns)
        keys = [key for key in ("fold", "epoch") if key in found]
        both = [each.sort_values(keys).drop(columns="seconds") for each in (found, own[name])]
        np.testing.assert_allclose(both[0].to_numpy(), both[1].to_numpy(), rtol=1e-4, atol=1e-4, err_msg=name)


def styled(*scripts: Path) -> None:
    """ruff, by its own defaults, has nothing to say, and would write them no otherwise."""
    if find_spec("ruff") is None:
        return  # the extra `dev` has it; what scripts compute is tested all the same
    for command in (["check"], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", *map(str, scripts)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="needs the extra: pip install -e '.[keras]'"
)


def write_tokens(folder: Path, dataset: str) -> None:
    """A file as Keras publishes it, with a few short texts of words below 30."""
    rng = np.random.RandomState(0)
    lists = np.empty(120, object)
    lists[:] = [rng.randint(1, 30, rng.randint(3, 20)).tolist() for _ in lists]
    if dataset == "reuters":
        np.savez(folder / "reuters.npz", x=lists, y=rng.randint(0, 46, 120))
        return
    labels = np.array([int(sum(words) > 160) for words in lists])
    arrays = {"x_train": lists[:90], "y_train": labels[:90], "x_test": lists[90:], "y_test": labels[90:]}
    np.savez(folder / "imdb.npz", **arrays)  # type: ignore[arg-type]
