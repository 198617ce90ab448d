"""A person's own code: never run without leave, and what it must be where it may run."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import NnrunError, UsageError
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    only_run,
    record_of,
    without_seconds,
    write_small,
)

CODE = '''
from pathlib import Path
Path(__file__).with_name("was_run").write_text("yes")

import numpy as np
import torch


def pinball(y_true, y_pred, q=0.5):
    error = y_true - y_pred
    return torch.maximum(q * error, (q - 1) * error).mean(-1)


def squares(y_true, y_pred):
    return (y_true - y_pred).square().mean(-1)


def mixes(y_true, y_pred):
    return (y_true - y_pred).square().mean(-1) + y_pred.mean()


def one_number(y_true, y_pred):
    return (y_true - y_pred).square().mean()


def breaks(y_true, y_pred):
    return y_true.no_such_thing()


def within(y_true, y_pred, far=1.0):
    return ((y_true - y_pred).abs() < far).double().mean()


def spearman_score(y_true, y_pred):
    ranks = [x.flatten().argsort().argsort().double() for x in (y_true, y_pred)]
    return torch.corrcoef(torch.stack(ranks))[0, 1]


def many(y_true, y_pred):
    return y_pred


def backwards(y_true, y_pred):
    return 0.0


backwards.maximize = True


class Clip:
    def __init__(self, share=0.1):
        self.share = share

    def fit(self, x):
        low, high = np.quantile(x, [self.share, 1 - self.share], 0)
        return {"low": low.tolist(), "high": high.tolist()}

    def transform(self, x, state):
        return np.clip(x, state["low"], state["high"])


class Both(Clip):
    """Twice as many columns."""

    def transform(self, x, state):
        return np.concatenate([x, super().transform(x, state)], axis=1)


class Forgets(Clip):
    def fit(self, x):
        return {"low": x.min(0)}


class Loses(Clip):
    def transform(self, x, state):
        return x[1:]
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of one's own, to work in; what it imports is forgotten afterwards."""
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("")
    (tmp_path / "mypackage" / "losses.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "mypackage")]:
        del sys.modules[name]


def was_run(folder: Path) -> bool:
    return any(folder.rglob("was_run"))


def train(folder: Path, *options: str, **changes: Any) -> int:
    path = write_small(folder, REGRESSION, **changes)
    return main(["train", str(path), "-q", *options])


ALLOWED = ("--allow-custom", "mine")
CUSTOM: dict[str, dict[str, Any]] = {
    "loss": {"loss": {"custom": "mine:pinball"}},
    "metric": {"metrics": [{"custom": "mine:within"}]},
    "preprocessing": {"preprocessing": {"inputs": ["standardize", {"custom": "mine:Clip"}]}},
}


# --- without leave nothing runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CUSTOM)
@pytest.mark.parametrize(
    "command",
    [
        ["train", "small.yaml"],
        ["kfold", "small.yaml", "--k", "3"],
        ["final", "small.yaml"],
        ["sweep", "small.yaml", "--over", "seed=0,1"],
        ["check", "small.yaml"],
        ["show", "small.yaml"],
        ["train", "small.yaml", "--allow-custom", "min"],
        ["train", "small.yaml", "--allow-custom", "mine.losses"],
    ],
    ids=" ".join,
)
def test_a_spec_alone_runs_nothing(
    folder: Path, kind: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNRUN_ALLOW_CUSTOM", "mine")  # there is no such setting
    write_small(folder, REGRESSION, **CUSTOM[kind])
    code = main(command)
    assert code == (0 if command[0] in ("check", "show") else 2)
    assert not was_run(folder)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("kind", CUSTOM)
@pytest.mark.parametrize(
    "command",
    [["evaluate", "@last"], ["reproduce", "@last"], ["final", "@last", "--epochs", "1"]],
    ids=" ".join,
)
def test_a_run_alone_runs_nothing(folder: Path, kind: str, command: list[str]) -> None:
    assert train(folder, *ALLOWED, **CUSTOM[kind]) == 0
    (folder / "was_run").unlink()
    del sys.modules["mine"]
    assert main(command) == 2
    assert not was_run(folder)
    assert main([*command, *ALLOWED]) == 0
    assert was_run(folder)


@pytest.mark.parametrize("command", [["ls"], ["show", "@last"], ["report", "@last", "-o", "page.html"]])
def test_looking_at_a_run_runs_nothing(folder: Path, command: list[str]) -> None:
    assert train(folder, *ALLOWED, **CUSTOM["loss"], metrics=[{"custom": "mine:within"}]) == 0
    (folder / "was_run").unlink()
    del sys.modules["mine"]
    assert main(command) == 0
    assert not was_run(folder)


def test_prediction_runs_only_what_it_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, *ALLOWED, **CUSTOM["loss"]) == 0
    (folder / "rows.csv").write_text("1,2,3\n4,5,6\n", encoding="utf-8")
    (folder / "was_run").unlink()
    del sys.modules["mine"]
    assert main(["predict", "@last", "rows.csv"]) == 0
    assert not was_run(folder)
    assert train(folder, *ALLOWED, **CUSTOM["preprocessing"]) == 0
    (folder / "was_run").unlink()
    del sys.modules["mine"]
    assert main(["predict", "@last", "rows.csv"]) == 2
    assert not was_run(folder)
    capsys.readouterr()
    assert main(["predict", "@last", "rows.csv", *ALLOWED]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_leave_ends_with_the_command(folder: Path) -> None:
    assert train(folder, *ALLOWED, **CUSTOM["loss"]) == 0
    assert train(folder, **CUSTOM["loss"]) == 2


def test_what_is_asked_for_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {**CUSTOM["loss"], "metrics": [{"custom": "mypackage.losses:within"}]}
    assert train(folder, **changes) == 2
    assert capsys.readouterr().err == (
        "error: The spec names Python code that is not nnrun's (loss: mine:pinball and metrics[0]: "
        "mypackage.losses:within). It would run on this machine with all your permissions. If you "
        "know and trust it, add: --allow-custom mine --allow-custom mypackage.losses  (from Python: "
        "allow_custom=('mine', 'mypackage.losses'))\n"
    )


def test_a_package_stands_for_its_modules(folder: Path) -> None:
    loss = {"loss": {"custom": "mypackage.losses:pinball"}}
    assert train(folder, "--allow-custom", "mypackage", **loss) == 0
    assert train(folder, "--allow-custom", "mypackage.losses", **loss) == 0
    assert train(folder, "--allow-custom", "mypackage.other", **loss) == 2
    assert train(folder, "--allow-custom", "mypack", **loss) == 2


def test_from_python(folder: Path) -> None:
    path = write_small(folder, REGRESSION, **CUSTOM["loss"])
    with pytest.raises(UsageError, match="--allow-custom mine"):
        nnrun.train(path)
    assert not was_run(folder)
    run = nnrun.train(path, allow_custom=("mine",))
    with pytest.raises(UsageError, match="--allow-custom mine"):
        nnrun.evaluate(run)
    nnrun.evaluate(run, allow_custom=("mine",))
    with pytest.raises(UsageError, match="not a module name"):
        nnrun.train(path, allow_custom=("mine.py; rm",))


def test_the_spec_s_own_folder_is_not_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_small(folder, REGRESSION, **CUSTOM["loss"])
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert main(["train", str(path), *ALLOWED]) == 2
    assert not was_run(folder)


# --- what it does ------------------------------------------------------------------------------------------


def test_the_record_tells_what_was_run(folder: Path) -> None:
    assert train(folder, *ALLOWED, **CUSTOM["loss"], metrics=[{"custom": "mine:within"}]) == 0
    assert record_of(only_run(folder / "runs"))["custom"] == [
        {
            "objects": ["mine:pinball", "mine:within"],
            "module": "mine",
            "file": str(folder / "mine.py"),
            "sha256": hashlib.sha256(CODE.encode()).hexdigest(),
        }
    ]


def history(folder: Path, *options: str, **changes: Any) -> bytes:
    assert train(folder, "--runs-dir", str(folder / "other"), *options, **changes) == 0
    run: Path = max((folder / "other").glob("small-*"), key=lambda path: path.stat().st_mtime_ns)
    return without_seconds(run)


def test_the_same_loss_of_one_s_own_trains_the_same(folder: Path) -> None:
    for validation in ({"holdout": {"first": 16}}, {"kfold": 3}):
        in_pytorch = ("--compile", "off")  # C++ knows mse, and rounds otherwise
        own = history(folder, *ALLOWED, *in_pytorch, loss={"custom": "mine:squares"}, validation=validation)
        assert own == history(folder, *in_pytorch, loss="mse", validation=validation)


def test_parameters_reach_the_code(folder: Path) -> None:
    losses = [
        history(folder, *ALLOWED, loss={"custom": {"object": "mine:pinball", "parameters": {"q": q}}})
        for q in (0.5, 0.9)
    ]
    assert losses[0] != losses[1]


def test_metrics_have_columns_and_a_direction(folder: Path) -> None:
    metrics = [
        {"custom": {"object": "mine:within", "parameters": {"far": 1e9}}},
        {"custom": {"object": "mine:within", "name": "close", "parameters": {"far": 0.0}}},
        {"custom": "mine:spearman_score"},
    ]
    stopping = {"monitor": "val_spearman_score", "patience": 50}
    assert train(folder, *ALLOWED, metrics=metrics, early_stopping=stopping, epochs=6) == 0
    run = nnrun.load_run("@last")
    table = run.history
    assert list(table.columns[:5]) == ["epoch", "loss", "within", "close", "spearman_score"]
    assert (table["within"] == 1).all()
    assert (table["val_close"] == 0).all()
    assert run.best_epoch == int(table["val_spearman_score"].argmax()) + 1


def test_a_metric_says_its_direction_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In early stopping, the best epoch, the closing screen, `ls --sort` and a sweep."""
    close = {"object": "mine:within", "parameters": {"far": 3.0}, "maximize": True}
    stopping = {"monitor": "val_within", "patience": 50, "restore_best": True}
    changes: dict[str, Any] = {
        "metrics": [{"custom": close}],
        "early_stopping": stopping,
        "optimizer": {"adam": 0.05},
        "epochs": 12,
    }
    assert train(folder, *ALLOWED, **changes) == 0
    first = nnrun.load_run("@last")
    values = first.history["val_within"]
    assert values.nunique() > 1
    assert first.best_epoch == int(values.argmax()) + 1
    record = record_of(first.path)
    assert record["directions"] == {"within": True}
    assert record["weights_epoch"] == first.best_epoch
    assert train(folder, *ALLOWED, **{**changes, "epochs": 1}) == 0
    second = nnrun.load_run("@last")
    assert second.history["val_within"].max() < values.max()
    capsys.readouterr()
    assert main(["ls", "--sort", "val_within", "--json"]) == 0
    listed = [run["id"] for run in json.loads(capsys.readouterr().out)]
    assert listed == [first.id, second.id]
    assert main(["plot", "@last"]) == 0
    assert main(["sweep", "small.yaml", "-q", "--over", "epochs=1,12", *ALLOWED, "--json"]) == 0
    printed = capsys.readouterr().out
    document = json.loads(printed[printed.index("{") :])
    assert document["maximize"] is True


def test_a_metric_without_directions_says_nothing_of_them(folder: Path) -> None:
    assert train(folder, *ALLOWED, **CUSTOM["metric"]) == 0
    assert "directions" not in record_of(only_run(folder / "runs"))


def test_steps_learn_from_the_training_rows_alone(folder: Path) -> None:
    """The same training rows and other validation rows: the same state."""
    states = []
    for extra in (0.0, 1e3):
        rng = np.random.RandomState(0)
        x = rng.normal(size=(48, 3))
        x[:16] += extra  # the rows of `holdout: {first: 16}`
        arrays = {"x_train": x, "y_train": rng.normal(size=48)}
        path = write_small(folder, REGRESSION, arrays, **CUSTOM["preprocessing"])
        assert main(["train", str(path), "-q", *ALLOWED, "--runs-dir", f"runs-{extra}"]) == 0
        document = json.loads((only_run(folder / f"runs-{extra}") / "preprocessing.json").read_text())
        states.append(document["custom"])
    assert states[0] == states[1]
    assert states[0][0]["object"] == "mine:Clip"


def test_a_step_may_make_more_columns(folder: Path) -> None:
    steps = {"preprocessing": {"inputs": ["standardize", {"custom": "mine:Both"}, {"custom": "mine:Clip"}]}}
    assert train(folder, *ALLOWED, **steps, validation={"kfold": 3}) == 0
    run = nnrun.load_run("@last")
    assert run.weights(fold=0)["0.weight"].shape == (8, 6)
    rows = np.arange(6.0).reshape(2, 3)
    with pytest.raises(UsageError):
        nnrun.predict(run, rows)
    assert len(nnrun.predict(run, rows, allow_custom=["mine"])) == 2


def test_classes_with_a_loss_of_one_s_own(folder: Path) -> None:
    path = write_small(folder, BINARY, loss={"custom": "mine:squares"})
    assert main(["train", str(path), "-q", *ALLOWED]) == 0


# --- what it must be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loss": {"custom": "mine:mixes"}, "validation": {"kfold": 3}},
            "a different loss when others train with",
        ),
        (
            {"loss": {"custom": "mine:one_number"}},
            r"returned \(\) for outputs of shape \(1, \d+, 1\).*mean\(-1\)",
        ),
        ({"loss": {"custom": "mine:breaks"}}, r"mine:breaks failed: AttributeError.*mine.py, line \d+"),
        (
            {"metrics": [{"custom": "mine:many"}]},
            r"returned a tensor of shape \(\d+, 1\); it must return one number",
        ),
        ({"metrics": [{"custom": "mine:backwards"}]}, "Add maximize: true to the metric"),
        (
            {"metrics": [{"custom": {"object": "mine:backwards", "maximize": False}}]},
            "the spec says otherwise. Add maximize: true",
        ),
        ({"preprocessing": {"inputs": {"custom": "mine:Forgets"}}}, "not plain JSON"),
        ({"preprocessing": {"inputs": {"custom": "mine:Loses"}}}, r"gave shape \(31, 3\)"),
        ({"loss": {"custom": "mine:no_such"}}, r"Module mine \(.*mine.py\) has no 'no_such'"),
    ],
)
def test_what_code_may_not_do(folder: Path, changes: dict[str, Any], message: str) -> None:
    path = write_small(folder, REGRESSION, **changes)
    with pytest.raises(NnrunError, match=message):
        nnrun.train(path, allow_custom=("mine",))


def test_code_that_cannot_be_imported(folder: Path) -> None:
    (folder / "mine.py").write_text("import no_such_module_anywhere\n", encoding="utf-8")
    path = write_small(folder, REGRESSION, **CUSTOM["loss"])
    with pytest.raises(NnrunError, match="mine failed: ModuleNotFoundError: No module named 'no_such"):
        nnrun.train(path, allow_custom=("mine",))
    path = write_small(folder, REGRESSION, loss={"custom": "mine_not_there:loss"})
    with pytest.raises(UsageError, match="There is no module mine_not_there: it is neither on Python's path"):
        nnrun.train(path, allow_custom=("mine_not_there",))
