"""Layers of a person's own in whole runs: what they are held to, and that nothing is lost or mixed."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import nnrun
from nnrun.cli import main
from nnrun.errors import DataError, NnrunError, UsageError
from nnrun.experiment.running.resume import resume_run
from nnrun.records import RunDirectory
from tests.support.commands import nnrun_command
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    growing_tokens,
    only_run,
    record_of,
    without_seconds,
    write_small,
)

CODE = '''
from pathlib import Path
Path(__file__).with_name("was_run").write_text("yes")

import torch
from torch import nn


class Gate(nn.Module):
    """Lazy weights, a scalar, dropout, statistics of two kinds, a tied weight, one that is never used."""

    def __init__(self, units, rate=0.3):
        super().__init__()
        self.linear = nn.LazyLinear(units)
        self.again = self.linear
        self.gate = nn.Parameter(torch.tensor(0.5))
        self.unused = nn.Parameter(torch.zeros(2))
        self.frozen = nn.Parameter(torch.ones(units), requires_grad=False)
        self.norm = nn.BatchNorm1d(units)
        self.dropout = nn.Dropout(rate)
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("seen", torch.tensor(False), persistent=False)

    def forward(self, x):
        x = self.norm(self.linear(x)) * self.frozen
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            self.seen.fill_(True)
        return self.dropout(torch.relu(x) * self.gate + self.mean)


def shaped(input_shape, units):
    return nn.Linear(input_shape[-1], units)


class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2)


class Vectors(nn.Embedding):
    def forward(self, indices):
        return super().forward(indices.long())


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))


class Detached(Base):
    def forward(self, x):
        return (x * self.w).detach()


class NotFinite(Base):
    def forward(self, x):
        return x * self.w / (x - x)


class OneRow(Base):
    def forward(self, x):
        return x.sum(0, keepdim=True)


class Flat(Base):
    def forward(self, x):
        return x.sum(1)


class Double(Base):
    def forward(self, x):
        return (x * self.w).double()


class Pair(Base):
    def forward(self, x):
        return x, x


class Changes(Base):
    def forward(self, x):
        return x[:, :2] if x.any() else x


class ByMode(Base):
    def forward(self, x):
        return x[:, :2] if self.training else x


class Breaks(Base):
    def forward(self, x):
        return nn.functional.linear(x, torch.ones(2, 2))


class NoLuck(nn.Module):
    def __init__(self):
        raise ValueError("no luck")


class Grows(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("b", torch.zeros(3))

    def forward(self, x):
        if self.training and x.any():
            self.b = torch.zeros(4)
        return x * self.w


class Late(Base):
    def forward(self, x):
        if self.training:
            self.register_buffer("late", torch.zeros(1))
        return x * self.w


class Steps(Base):
    def forward(self, x):
        return x[:, :, None] * self.w


class Precise(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3).double())

    def forward(self, x):
        return x


class Traced(nn.Module):
    def forward(self, x):
        return x * 2 if float(x.sum()) > 0 else x


def nothing():
    return None


number = 3
module = nn.Linear(3, 3)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of one's own, to work in; what it imports is forgotten afterwards."""
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("mine", None)


def custom(name: str, module: str = "mine", **parameters: Any) -> dict[str, Any]:
    return {"custom": {"object": f"{module}:{name}", "parameters": parameters}}


ALLOWED = ("--allow-custom", "mine")
GATE = [custom("Gate", units=6), {"dense": 1}]
KFOLD = {"kfold": {"k": 5}}  # 48 rows: folds of different lengths, whose last batches differ


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> Any:
    path = write_small(folder, spec, **{"layers": GATE, **changes})
    return nnrun.train(path, allow_custom=("mine", "torch.nn"), runs_dir=folder / "runs")


def forget(folder: Path) -> None:
    (folder / "was_run").unlink(missing_ok=True)
    sys.modules.pop("mine", None)


# --- without leave nothing runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "check", "show", "final"])
def test_a_spec_alone_runs_nothing(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_small(folder, layers=GATE)
    assert main([command, "small.yaml"]) == (0 if command in ("check", "show") else 2)
    assert not (folder / "was_run").exists()
    if command == "show":
        assert "which runs with --allow-custom mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "@last"],
        ["predict", "@last", "rows.csv"],
        ["reproduce", "@last"],
        ["export", "@last", "--format", "pt2", "-o", "m.pt2"],
        ["train", "--resume", "@last", "--epochs", "5"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_run_alone_runs_nothing(folder: Path, command: list[str]) -> None:
    train(folder)
    (folder / "rows.csv").write_text("1,2,3\n4,5,6\n", encoding="utf-8")
    forget(folder)
    assert main(command) == 2
    assert not (folder / "was_run").exists()
    assert main([*command, *ALLOWED]) == 0
    assert (folder / "was_run").exists()


@pytest.mark.parametrize("command", [["ls"], ["show", "@last"]])
def test_looking_at_a_run_runs_nothing(folder: Path, command: list[str]) -> None:
    train(folder)
    forget(folder)
    assert main(command) == 0
    assert not (folder / "was_run").exists()


# --- what it does ------------------------------------------------------------------------------------------


def test_the_command_in_a_process_of_its_own(folder: Path) -> None:
    write_small(folder, layers=GATE, validation=KFOLD)
    done = [nnrun_command("train", "small.yaml", "-q", *ALLOWED, cwd=folder) for _ in range(2)]
    assert [d.returncode for d in done] == [0, 0], done[0].stderr
    first, second = (run for run in sorted((folder / "runs").iterdir()) if run.is_dir())
    assert without_seconds(first) == without_seconds(second)
    assert nnrun_command("evaluate", "@last", *ALLOWED, cwd=folder).returncode == 0
    assert record_of(first)["custom"] == [
        {
            "objects": ["mine:Gate"],
            "module": "mine",
            "file": str(folder / "mine.py"),
            "sha256": hashlib.sha256(CODE.encode()).hexdigest(),
        }
    ]


def test_shapes_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small(folder, layers=GATE)
    assert main(["show", "small.yaml", *ALLOWED, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (gate, _) = document["layers"]
    assert (gate["description"], gate["outputs"]) == ("custom, mine:Gate", [6])
    assert gate["parameters"] == (3 * 6 + 6) + 1 + 2 + 2 * 6
    assert gate["state"] == 6 + (6 + 6 + 1) + 6 + 1  # frozen, norm, mean, seen


def test_everything_a_module_keeps_is_in_the_weights_file(folder: Path) -> None:
    run = train(folder)
    weights = load_file(run.path / "weights.safetensors")
    names = {name: (value.shape, str(value.dtype)) for name, value in weights.items()}
    assert names["0.linear.weight"] == ((6, 3), "float32")
    assert names["0.gate"] == ((), "float32")
    assert names["0.norm.num_batches_tracked"] == ((), "int64")
    assert names["0.seen"] == ((), "bool")
    assert not any(name.startswith("0.again") for name in names)  # it is the same
    assert weights["0.norm.num_batches_tracked"] == 3 * 4  # epochs, batches of 8 in 32 rows
    assert weights["0.seen"]
    assert weights["0.mean"].any()
    assert (weights["0.frozen"] == 1).all()


@pytest.mark.parametrize(
    "validation", [{"holdout": {"first": 16}}, {"kfold": {"k": 5}}], ids=["one", "folds"]
)
def test_pytorch_s_own_linear_is_dense(folder: Path, validation: dict[str, Any]) -> None:
    """From the same weights, whose names and layout are the same."""
    rng = np.random.RandomState(0)
    first = {
        "0.weight": rng.normal(size=(8, 3)).astype(np.float32),
        "0.bias": rng.normal(size=8).astype(np.float32),
        "1.weight": rng.normal(size=(1, 8)).astype(np.float32),
        "1.bias": np.zeros(1, np.float32),
    }
    save_file(first, folder / "first.safetensors")
    changes: dict[str, Any] = {"init_weights": "first.safetensors", "validation": validation, "epochs": 5}
    linear = custom("Linear", "torch.nn", in_features=3, out_features=8)
    own = train(folder, layers=[linear, {"dense": 1}], **changes)
    house = train(folder, layers=[{"dense": 8}, {"dense": 1}], **changes)
    np.testing.assert_allclose(
        own.history.drop(columns="seconds"), house.history.drop(columns="seconds"), rtol=1e-5
    )


def test_weights_begin_where_a_seed_says_and_differ_between_replicas(folder: Path) -> None:
    changes: dict[str, Any] = {"optimizer": {"sgd": 1e-30}, "epochs": 1, "validation": {"kfold": 3}}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    run = train(folder, **changes)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = train(folder, **changes)
    other = train(folder, **changes, seed=1)
    first = [run.weights(fold=fold)["0.linear.weight"] for fold in range(3)]
    for fold, value in enumerate(first):
        assert value.tobytes() == again.weights(fold=fold)["0.linear.weight"].tobytes()
        assert not np.array_equal(value, other.weights(fold=fold)["0.linear.weight"])
    assert not np.array_equal(first[0], first[1])


def test_a_fold_alone_is_the_fold_among_others(folder: Path) -> None:
    """Dropout, statistics and lazy weights included; folds of 38 and 39 rows part at their last batches."""
    path = write_small(folder, layers=GATE, validation=KFOLD, optimizer={"sgd": 0.01})
    together = nnrun.train(path, runs_dir=folder / "runs", allow_custom=("mine",))
    for fold in (0, 4):
        alone = nnrun.kfold(path, k=5, fold=fold, runs_dir=folder / "runs", allow_custom=("mine",))
        for name, value in alone.weights(fold=fold).items():
            np.testing.assert_allclose(
                value, together.weights(fold=fold)[name], rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_the_network_that_is_kept_scores_what_its_epoch_scored(folder: Path) -> None:
    run = train(folder)
    scores = nnrun.evaluate(run, split="validation", allow_custom=("mine",)).scores
    assert scores["loss"] == pytest.approx(run.history["val_loss"].iloc[-1], rel=1e-5)


def test_validation_changes_nothing(folder: Path) -> None:
    """Random numbers and statistics of training are the same whatever is validated beside it."""
    rows: dict[str, Any] = {"layers": [custom("Gate", units=6), {"dense": 1}], "shuffle": False}
    losses = [
        train(folder, **rows, validation={"holdout": {"first": 16}}, metrics=metrics).history["loss"].tolist()
        for metrics in (["mae"], [])
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("validation", [{"holdout": {"first": 16}}, KFOLD], ids=["one", "folds"])
def test_a_run_goes_on_bit_by_bit(
    folder: Path, validation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after an epoch, gone on with: the same history and weights, statistics and dropout included."""
    monkeypatch.setattr("nnrun.experiment.running.checkpointer.EVERY_SECONDS", 0.0)
    whole = train(folder, validation=validation, epochs=6)
    short = train(folder, validation=validation, epochs=2)
    torch.rand(3)  # PyTorch's generator stands somewhere else
    command = ["train", "--resume", short.id, "--epochs", "6", "-q", *ALLOWED]
    assert main([*command, "--runs-dir", str(folder / "runs")]) == 0
    assert without_seconds(short.path) == without_seconds(whole.path)
    for fold in range(5) if validation is KFOLD else [None]:
        mine, theirs = short.weights(fold=fold), whole.weights(fold=fold)
        assert {n: v.tobytes() for n, v in mine.items()} == {n: v.tobytes() for n, v in theirs.items()}


def test_a_run_does_not_go_on_with_other_code_in_silence(folder: Path) -> None:
    short = train(folder, epochs=2)
    (folder / "mine.py").write_text(CODE + "\n# changed\n", encoding="utf-8")
    forget(folder)
    command = ["train", "--resume", "@last", "--epochs", "6", "-q", *ALLOWED]
    assert main(command) == 2
    assert main([*command, "--allow-inexact"]) == 0
    assert "code mine" in record_of(short.path)["resumed"][0]["inexact"]


def test_reproducing_tells_of_other_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder)
    assert main(["reproduce", "@last", *ALLOWED]) == 0
    assert "code mine" not in capsys.readouterr().out
    (folder / "mine.py").write_text(CODE + "\n# changed\n", encoding="utf-8")
    forget(folder)
    main(["reproduce", "@last", *ALLOWED])
    assert "code mine" in capsys.readouterr().out


def test_a_module_that_works_in_place_reaches_nothing_but_its_copy(folder: Path) -> None:
    """Validation rows are gathered once for all epochs: they must not be doubled anew in each."""
    layers = [custom("InPlace"), {"dense": 1}]
    run = train(folder, layers=layers, optimizer={"sgd": 1e-30}, epochs=3)
    assert run.history["val_loss"].nunique() == 1


def test_a_module_is_told_the_shape_of_a_row(folder: Path) -> None:
    run = train(folder, layers=[{"dense": 4}, custom("shaped", units=5), {"dense": 1}])
    assert run.weights()["1.weight"].shape == (5, 4)


def test_words_reach_an_embedding_of_one_s_own(folder: Path) -> None:
    layers = [
        custom("Vectors", num_embeddings=40, embedding_dim=4),
        "global_average_pooling",
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ]
    changes = {"preprocessing": {"inputs": "pad"}, "validation": {"holdout": {"first": 8}}, "layers": layers}
    run = train(folder, BINARY, arrays=growing_tokens(), **changes)
    assert run.weights()["0.weight"].shape == (40, 4)


def test_sparse_rows_are_made_dense_for_it(folder: Path) -> None:
    linear = custom("LazyLinear", "torch.nn", out_features=3)
    layers = [linear, {"dense": {"units": 1, "activation": "sigmoid"}}]
    changes = {"preprocessing": {"inputs": "multi_hot"}, "validation": {"kfold": 2}, "layers": layers}
    run = train(folder, BINARY, arrays=growing_tokens(), **changes)
    assert run.weights(fold=0)["0.weight"].shape == (3, 34)
    assert run.weights(fold=1)["0.weight"].shape == (3, 22)  # a fold of fewer words, a network of its own


def test_a_sweep_over_its_arguments(folder: Path) -> None:
    write_small(folder, layers=GATE)
    over = ["--over", "layers[0].custom.parameters.units=4,5", "--over", "seed=0,1"]
    assert main(["sweep", "small.yaml", "-q", *over, *ALLOWED]) == 0
    runs = [RunDirectory(path) for path in (folder / "runs").iterdir() if (path / "run.json").exists()]
    widths = sorted(len(run.read_weights(None)["0.mean"]) for run in runs)
    assert widths == [4, 4, 5, 5]


def test_steps_are_not_compiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at_once = {"patience": 1, "min_delta": 1e9}  # 2,000 epochs are planned, and few are needed
    write_small(folder, layers=GATE, early_stopping=at_once)
    assert main(["train", "small.yaml", "--compile", "on", *ALLOWED]) == 2
    assert "--compile on: C++ does not support `custom`" in capsys.readouterr().err
    assert main(["train", "small.yaml", "--epochs", "2000", "-q", *ALLOWED]) == 0
    assert record_of(only_run(folder / "runs"))["compiled"] is False


# --- exports -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("format_", ["safetensors", "pt2"])
def test_exports(folder: Path, format_: str) -> None:
    train(folder)
    assert main(["export", "@last", "--format", format_, "-o", f"m.{format_}", *ALLOWED]) == 0
    if format_ == "pt2":  # which needs the module no more
        (folder / "was_run").unlink()
        rows = np.load(folder / "small.npz")["x_test"]
        program = torch.export.load(folder / "m.pt2").module()
        found = program(torch.from_numpy(rows.astype(np.float32))).numpy()
        assert not (folder / "was_run").exists()
        own = nnrun.predict(nnrun.load_run("@last"), rows, allow_custom=("mine",))
        np.testing.assert_allclose(found[:, 0], own.iloc[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_cannot_be_exported_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder, layers=[custom("Traced"), {"dense": 1}])
    assert main(["export", "@last", "--format", "pt2", "-o", "m.pt2", *ALLOWED]) == 1
    printed = capsys.readouterr().err
    assert "mine:Traced" in printed
    assert "--format safetensors" in printed
    assert not (folder / "m.pt2").exists()


# --- what it must be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "gave a NoneType; it must give a torch.nn.Module"),
        ("number", "is an int; it must be a class, or a function"),
        ("module", "is a Linear; it must be a class, or a function"),
        ("no_such", r"Module mine \(.*mine.py\) has no 'no_such'"),
        ("NoLuck", r"which makes the layer, failed: ValueError: no luck \(.*mine.py, line \d+\)"),
        ("Gate", r"which makes the layer, failed: TypeError: .*missing 1 required.*'units'$"),
        ("Breaks", r"forward of 3 rows of zeros of shape \(3\) failed: RuntimeError.*mine.py, line \d+\)"),
        ("OneRow", r"gave shape \(1, 3\) for 3 rows; it must give \(3, ...\)"),
        ("Flat", r"gave shape \(3,\) for 3 rows; it must give \(3, ...\)"),
        ("Double", "gave numbers of torch.float64; they must be torch.float32"),
        ("Pair", "gave a tuple; forward must give one tensor"),
        ("ByMode", r"gives rows of shape \(2\) while training and \(3\) otherwise"),
        ("Late", "late is sometimes missing, or its shape or type changes"),
        ("Precise", "has a parameter w of torch.float64"),
    ],
)
def test_what_is_found_before_anything_is_made(folder: Path, name: str, message: str) -> None:
    with pytest.raises(NnrunError, match=message):
        train(folder, layers=[custom(name), {"dense": 1}])
    assert not (folder / "runs").exists() or not any((folder / "runs").iterdir())


def test_rows_at_the_end(folder: Path) -> None:
    with pytest.raises(DataError, match=r"The last layer gives \(3, 1\) per row.*Add flatten"):
        train(folder, layers=[custom("Steps"), {"dense": 1}])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Detached", "no gradient reaches them"),
        ("NotFinite", "gave numbers that are infinite or NaN for rows that are not"),
        ("Changes", r"gave rows of shape \(2\), and \(3\) when it was tried on zeros"),
        ("Grows", r"made \(4,\) of torch.float32 of its buffer b, which was \(3,\)"),
    ],
)
def test_what_is_found_while_training(folder: Path, name: str, message: str) -> None:
    with pytest.raises(NnrunError, match=message):
        train(folder, layers=[custom(name), {"dense": 1}])
    assert record_of(only_run(folder / "runs"))["status"] == "failed"


def test_it_cannot_be_the_last(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small(folder, layers=[{"dense": 1}, custom("InPlace")])
    assert main(["check", "small.yaml"]) == 3
    assert "the last layer is custom: predictions come from dense" in capsys.readouterr().out


def test_a_name_that_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small(folder, layers=[{"custom": "Gate"}, {"dense": 1}])
    assert main(["check", "small.yaml"]) == 3
    assert "found 'Gate'; write package.module:name" in capsys.readouterr().out
    with pytest.raises(UsageError):
        nnrun.train(write_small(folder, layers=GATE))


def test_resuming_is_what_the_api_does_too(folder: Path) -> None:
    run = train(folder)
    assert not resume_run(RunDirectory(run.path))  # it has ended, and nothing is asked of its code
