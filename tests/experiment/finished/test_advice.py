"""What a run that is no better than a baseline gives reason to try."""

from __future__ import annotations

import pytest

from nnrun.experiment.finished.advice import are_noise
from nnrun.records import RunRecord
from nnrun.records.run_record import MemberRecord


def folds(n: int, **std: float) -> RunRecord:
    members = [MemberRecord(member=f"fold-{i}") for i in range(n)]
    best_std = {f"val_{name}": value for name, value in std.items()}
    return RunRecord(members=members, best_std=best_std, baseline_on="validation")


@pytest.mark.parametrize(
    ("pairs", "noise"),
    [
        ({"accuracy": (0.80, 0.81)}, True),
        ({"accuracy": (0.80, 0.82)}, False),
        ({"accuracy": (0.80, 0.81), "loss": (0.5, 0.40)}, False),
        ({"accuracy": (0.80, 0.81), "f1": (0.5, 0.5)}, False),  # its spread is not known
        ({}, False),
    ],
)
def test_a_difference_within_one_standard_error_of_the_mean_is_noise(
    pairs: dict[str, tuple[float, float]], noise: bool
) -> None:
    assert are_noise(folds(4, accuracy=0.03, loss=0.1), pairs) is noise


def test_of_one_network_nothing_is_known_of_noise() -> None:
    assert not are_noise(folds(1, accuracy=0.03), {"accuracy": (0.80, 0.81)})
