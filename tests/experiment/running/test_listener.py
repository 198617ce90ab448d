"""An epoch as one plain line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.running.listener import LineListener, Listener, Start, epoch_line, means, start_line
from nnrun.records import RunDirectory
from nnrun.training.loop import EpochRecord


def start(**changes: Any) -> Start:
    made = {
        "run": RunDirectory(Path("runs/small")),
        "name": "small",
        "member_type": None,
        "member_ids": [0],
        "epochs": 20,
        "train_rows": 7982,
        "validation_rows": 1000,
        "parameters": 650478,
        "device": "cpu",
    }
    return Start(**(made | changes))


def record(*rows: dict[str, float], epoch: int = 3, numbers: list[int] | None = None) -> EpochRecord:
    places = numbers or range(len(rows))
    return EpochRecord(epoch, dict(zip(places, rows, strict=True)), {0: 0.001}, 0.3456)


KFOLD = {"member_type": "fold", "member_ids": [0, 1, 2]}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "small: a network of 650,478 parameters, 7,982 training and 1,000 validation rows, on cpu"),
        (
            {"validation_rows": 0, "device": "cuda:1"},
            "small: a network of 650,478 parameters, 7,982 training rows, on cuda:1",
        ),
        (
            KFOLD,
            "small: 3 folds of 650,478 parameters each, 7,982 training and 1,000 validation rows, on cpu",
        ),
    ],
)
def test_the_line_at_the_start(changes: dict[str, Any], line: str) -> None:
    assert start_line(start(**changes)) == line


def test_seeds_are_called_seeds() -> None:
    several, one = start(member_type="seed", member_ids=[7, 8, 9]), start(member_type="seed", member_ids=[7])
    rows = "7,982 training and 1,000 validation rows, on cpu"
    assert start_line(several) == f"small: 3 seeds of 650,478 parameters each, {rows}"
    assert start_line(one) == f"small: 1 seed of 650,478 parameters, {rows}"
    assert epoch_line(record({"loss": 1}, {"loss": 3}, numbers=[7, 9]), several) == (
        "epoch  3/20 (seeds 7, 9)  loss 2.0000 ± 1.4142  0.35 s"
    )
    assert (
        epoch_line(record({"loss": 1}, numbers=[9]), several) == "epoch  3/20 (seed 9)  loss 1.0000  0.35 s"
    )
    assert epoch_line(record({"loss": 1}, numbers=[7]), one) == "epoch  3/20  loss 1.0000  0.35 s"


def test_a_small_deviation_is_written_like_its_mean() -> None:
    rows = record({"accuracy": 0.9913, "loss": 0.00044}, {"accuracy": 0.99137, "loss": 0.0004})
    assert epoch_line(rows, start(member_type="seed", member_ids=[0, 1])) == (
        "epoch  3/20  accuracy 0.9913 ± 0.0000  loss 4.2000e-04 ± 2.8e-05  0.35 s"
    )


def test_one_fold_alone_is_one() -> None:
    line = start_line(start(member_type="fold", member_ids=[2]))
    assert line == ("small: 1 fold of 650,478 parameters, 7,982 training and 1,000 validation rows, on cpu")


@pytest.mark.parametrize(
    ("changes", "of_epoch", "line"),
    [
        (
            {},
            record({"loss": 0.53118, "val_loss": 0.401}),
            "epoch  3/20  loss 0.5312  val_loss 0.4010  0.35 s",
        ),
        ({"epochs": 500}, record({"loss": 1}, epoch=500), "epoch 500/500  loss 1.0000  0.35 s"),
        ({}, record({"loss": float("nan")}), "epoch  3/20  loss nan  0.35 s"),
        (
            KFOLD,
            record({"loss": 1}, {"loss": 2}, {"loss": 3}),
            "epoch  3/20  loss 2.0000 ± 1.0000  0.35 s",
        ),
        (
            KFOLD,
            record({"loss": 1}, {"loss": 3}, numbers=[0, 2]),
            "epoch  3/20 (folds 0, 2)  loss 2.0000 ± 1.4142  0.35 s",
        ),
        (KFOLD, record({"loss": 1}, numbers=[1]), "epoch  3/20 (fold 1)  loss 1.0000  0.35 s"),
        (
            {"member_type": "fold", "member_ids": [2]},
            record({"loss": 1}, numbers=[2]),
            "epoch  3/20  loss 1.0000  0.35 s",
        ),
    ],
)
def test_the_line_of_an_epoch(changes: dict[str, Any], of_epoch: EpochRecord, line: str) -> None:
    assert epoch_line(of_epoch, start(**changes)) == line


def test_means_over_folds() -> None:
    assert means(record({"loss": 1, "mae": 5}, {"loss": 3, "mae": 5})) == {
        "loss": (2, pytest.approx(2**0.5)),
        "mae": (5, 0),
    }
    assert means(record({"loss": 1})) == {"loss": (1, None)}


def test_a_network_that_diverged_is_shown_beside_the_others() -> None:
    several = start(member_type="seed", member_ids=[0, 1])
    line = epoch_line(record({"loss": float("inf")}, {"loss": 1}), several)
    assert line == "epoch  3/20  loss inf ± nan  0.35 s"


@pytest.mark.parametrize("details", [False, True])
def test_a_listener_writes_what_it_hears(details: bool) -> None:
    lines: list[str] = []
    listener = LineListener(lines.append, details=details)
    listener.message("downloading")
    listener.detail("data: small.npz")
    listener.started(start())
    listener.epoch(record({"loss": 1}))
    listener.ended()
    told = ["downloading", *(["data: small.npz"] if details else [])]
    assert lines == [*told, start_line(start()), "epoch  3/20  loss 1.0000  0.35 s"]


def test_the_plain_listener_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener()
    listener.message("downloading")
    listener.detail("data")
    listener.started(start())
    listener.epoch(record({"loss": 1}))
    listener.ended()
    assert capsys.readouterr() == ("", "")
