"""A run that is killed at random moments, and goes on each time, ends as one that never was.

Some 30 kills; NNRUN_KILLS=200 makes it so many.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnrun.records import RunDirectory, WeightsChoice, member_type_of
from tests.support.provoke import KILLED, Server
from tests.support.small_experiments import BINARY, growing_tokens, only_run, without_seconds, write_small
from tests.support.whole_runs import check_files

KILLS = int(os.environ.get("NNRUN_KILLS", "30"))

# Many epochs are kept, so that there is much to kill in a short run, and not all of them, so that many kills
# leave rows that are later than the newest checkpoint.
SETUP = (
    "import nnrun.experiment.running.checkpointer as k; "
    "k.Checkpointer.due = lambda keeper: keeper.history.length % 5 < 3"
)

DROPOUT: list[Any] = [
    {"dense": {"units": 8, "activation": "relu", "kernel_regularizer": {"l2": 0.001}}},
    {"dropout": 0.3},
    {"dense": {"units": 1, "activation": "sigmoid"}},
]
PLATEAU = {"reduce_on_plateau": {"patience": 1, "factor": 0.5}}
STOPPING = {"patience": 2, "restore_best": True}


@pytest.fixture
def diligent(faulty: Server) -> Server:
    """A server whose runs keep many epochs."""
    return replace(faulty, setup=SETUP)


CHOICES: tuple[WeightsChoice, ...] = ("last", "best")


def weights_of(run: RunDirectory) -> dict[str, bytes]:
    return {
        f"{member}/{which}/{name}": value.tobytes()
        for member in [*run.members()] or [None]
        for which in CHOICES
        for name, value in run.read_kept_weights(member, which).arrays.items()
    }


def killed_and_resumed(server: Server, folder: Path, command: list[str], kills: int) -> list[RunDirectory]:
    """Run a command, killed at random moments `kills` times, and let it go on after each.

    An epoch that has ended stays in the history, whatever is killed when.

    Where it comes to its end before, another one begins. All that ended are given.
    """
    rng = random.Random(0)
    calls = server.run([*command, "-q", "--runs-dir", "counted"], cwd=folder, fault="count").calls
    assert calls > 60
    ended: list[RunDirectory] = []
    run: RunDirectory | None = None
    had: set[Epoch] = set()
    while kills or run is not None:
        before = runs_in(folder)
        going_on = [*command, "--runs-dir", "killed"] if run is None else ["train", "--resume", str(run.path)]
        fault = rng.choice(("kill before", "kill amid")) if kills else None
        outcome = server.run([*going_on, "-q"], cwd=folder, fault=fault, moment=rng.randrange(1, calls // 3))
        new = [RunDirectory(path) for path in runs_in(folder) - before]
        run = run or next((made for made in new if made.has_checkpoint()), None)
        if outcome.code == 0:
            assert run is not None
            ended.append(run)
            run, had = None, set()
            continue
        assert outcome.code == KILLED, outcome.err
        kills -= 1
        if run is not None:
            check_files(run)
            lost, had = had - epochs_of(run), epochs_of(run)
            assert not lost
            assert run.read_record().epochs_run == max((epoch for _, epoch in had), default=0)
    return ended


Epoch = tuple[int, int]


def epochs_of(run: RunDirectory) -> set[Epoch]:
    """(network, epoch) of every row of the history."""
    if not (run.path / "history.csv").exists():
        return set()
    table = run.read_history()
    kind = member_type_of(table.columns)
    numbers = [0] * len(table) if kind is None else table[kind].tolist()
    return set(zip(numbers, table["epoch"].tolist(), strict=True))


def runs_in(folder: Path) -> set[Path]:
    return {path for path in (folder / "killed").glob("small-*") if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "command"),
    [
        ({"epochs": 8, "optimizer": "adam", "layers": DROPOUT}, ["kfold", "small.yaml", "--k", "3"]),
        (
            {"epochs": 8, "early_stopping": STOPPING, "learning_rate_schedule": PLATEAU},
            ["train", "small.yaml", "--seeds", "2"],
        ),
        (
            {"epochs": 5, "preprocessing": {"inputs": "multi_hot"}, "batch_size": 4},
            ["kfold", "small.yaml", "--k", "3"],
        ),
        ({"epochs": 8, "validation": "none"}, ["final", "small.yaml"]),
    ],
    ids=["folds, dropout, adam", "seeds, plateau, early stopping", "folds of several widths", "final"],
)
def test_it_ends_as_one_that_never_was_killed(
    spec: dict[str, Any], command: list[str], diligent: Server, tmp_path: Path
) -> None:
    tokens = "multi_hot" in str(spec)
    write_small(tmp_path, BINARY, growing_tokens() if tokens else None, **spec)
    assert diligent.run([*command, "-q", "--runs-dir", "whole"], cwd=tmp_path).code == 0
    whole = RunDirectory(only_run(tmp_path / "whole"))
    expected = whole.read_record().to_json()
    for run in killed_and_resumed(diligent, tmp_path, command, KILLS // 4 or 1):
        assert without_seconds(run.path) == without_seconds(whole.path)
        assert weights_of(run) == weights_of(whole)
        record = run.read_record().to_json()
        assert record["status"] == "completed"
        keys = (
            "best_epoch",
            "best",
            "test",
            "stopped_early",
            "weights_epoch",
            "best_weights_epoch",
            "members",
        )
        for key in (*keys, "epochs_run", "verdict"):
            assert record.get(key) == expected.get(key), key
        assert len(record["test_uses"]) == len(expected["test_uses"])
