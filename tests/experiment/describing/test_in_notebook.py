"""What Python shows of runs and evaluations: a line of text, HTML in a notebook, a figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import nnrun
from nnrun.errors import UsageError
from tests.support.html_text import Text
from tests.support.small_experiments import KFOLD, write_small


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small spec, in a folder where runs/ will be made."""
    monkeypatch.chdir(tmp_path)
    return write_small(tmp_path)


def test_a_run(spec: Path) -> None:
    run = nnrun.train(spec)
    best = run.best
    assert repr(run) == (
        f"Run('runs/{run.id}', completed, best epoch 3: loss {best['loss']:.4f}, mae {best['mae']:.4f}, "
        f"val_loss {best['val_loss']:.4f}, val_mae {best['val_mae']:.4f})"
    )
    html = run._repr_html_()
    found = Text(html)
    assert found.said[0] == run.id
    assert found.said[1].startswith("Trained, 3 epochs in")
    assert [word for word in found.said if word in ("training", "validation", "baseline")] == [
        "training",
        "validation",
        "baseline",
    ]
    assert f"{best['val_mae']:.4f}" in found.said
    assert found.tags.count("svg") == 1
    assert 'aria-label="Training and validation loss, Training and validation MAE"' in html
    assert html == run._repr_html_()
    assert {run} == {nnrun.Run(run.path)}


def test_folds_and_their_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = nnrun.train(write_small(tmp_path, validation=KFOLD))
    assert "±" in run._repr_html_()
    evaluation = nnrun.evaluate(run, split="validation")
    line = repr(evaluation)
    assert line.startswith(f"Evaluation('{run.id}', ")
    assert "validation rows for each of" in line
    assert f"mae {evaluation.scores['mae']:.4f} (baseline {evaluation.baseline['mae']:.4f})" in line
    assert Text(evaluation._repr_html_()).tags.count("svg") == 1


def test_classes_with_names_that_look_like_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = np.array(["<script>", "a&b", "--> <i>"])
    frame = pd.DataFrame({"x": np.arange(60.0), "y": names[np.arange(60) % 3]})
    spec: dict[str, Any] = {
        "dataset": {"csv": {"target": "y"}},
        "preprocessing": {"inputs": "standardize", "targets": "one_hot"},
        "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
        "loss": "categorical_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 2,
        "validation": {"holdout": {"fraction": 0.5, "stratify": True}},
    }
    run = nnrun.train(spec, data=frame)
    found = Text(nnrun.evaluate(run, split="validation")._repr_html_())
    assert "script" not in found.tags
    assert {"<script>", "a&b", "--> <i>"} <= set(found.said)
    Text(run._repr_html_())


def test_a_run_that_has_only_begun_and_one_that_is_gone(spec: Path, tmp_path: Path) -> None:
    run = nnrun.train(spec)
    (run.path / "history.csv").unlink()
    said = " ".join(Text(run._repr_html_()).said)
    assert "no epoch of this run has ended" in said
    gone = nnrun.Run(tmp_path / "gone")
    assert repr(gone) == f"Run({str(tmp_path / 'gone')!r})"
    assert "run.json" in " ".join(Text(gone._repr_html_()).said)


def test_plot(spec: Path) -> None:
    run = nnrun.train(spec)
    figure = run.plot()
    assert isinstance(figure, Figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Training and validation loss",
        "Training and validation MAE",
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    (ax,) = run.plot("mae", only="validation", smooth=0.5, skip=1, log=True).axes
    assert ax.get_yscale() == "log"
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    for wrong, sentence in (
        ({"metric": "f1"}, "f1"),
        ({"smooth": 1}, "smooth must be at least 0 and below 1"),
    ):
        with pytest.raises(UsageError, match=sentence):
            run.plot(**wrong)  # type: ignore[arg-type]


def test_plotting_needs_no_pyplot(spec: Path) -> None:
    run = nnrun.train(spec)
    program = (
        "import sys, nnrun; run = nnrun.load_run(sys.argv[1]); run.plot()._repr_png_();"
        "run._repr_html_(); assert 'matplotlib.pyplot' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", program, str(run.path)], capture_output=True, text=True)
    assert found.stderr == ""
