"""The C++ code computes the same whatever the length of the CPU's vectors.

Each level is compiled once, for all that one test tries.
"""

from typing import Any

import pytest

from tests.support.cpu_levels import levels_here
from tests.support.native_problems import (
    ACTIVATIONS,
    LAST,
    OPTIMIZERS,
    assert_alike,
    needs_compiler,
    sparse_problem,
)
from tests.support.small_problems import N, make_problem, rows

# Numbers of columns that end in strips of every width, with a rest and without one.
UNITS = (1, 2, 3, 4, 7, 8, 15, 16, 24, 31, 32, 48, 64, 65, 131)


@needs_compiler
@pytest.mark.skipif(not levels_here(), reason="the levels are those of x86-64, as Linux tells of them")
@pytest.mark.parametrize("cpu", levels_here())
def test_every_level_of_this_machine(cpu: str) -> None:
    for optimizer in OPTIMIZERS:
        assert_alike(make_problem(optimizer=optimizer, batch_size=7), epochs=1, cpu=cpu)
    for loss, (last, targets) in LAST.items():
        layers = [{"dense": {"units": 9, "activation": "tanh"}}, last]
        problem = make_problem(layers, loss=loss, metrics=[], targets=targets, optimizer="sgd")
        assert_alike(problem, epochs=1, cpu=cpu)
    for activation in ACTIVATIONS:
        layers = [{"dense": {"units": 9, "activation": activation}}, {"dense": 2}]
        x, targets = 12 * rows(1, N, 6), rows(1, N, 2)
        problem = make_problem(
            layers, loss="mse", metrics=[], x_SNF=x, targets=targets, optimizer={"sgd": 1e-3}
        )
        assert_alike(problem, epochs=1, cpu=cpu)
    for units in UNITS:
        layers = [{"dense": units}, {"dense": {"units": units, "activation": "relu"}}, {"dense": 2}]
        settings: dict[str, Any] = {
            "loss": "mse",
            "metrics": [],
            "targets": rows(1, N, 2),
            "optimizer": {"sgd": 1e-4},
            "batch_size": units % 13 + 1,
        }
        assert_alike(make_problem(layers, x_SNF=rows(1, N, 17), **settings), (N,), epochs=1, cpu=cpu)
        assert_alike(sparse_problem(layers, ones=units % 2 == 0, **settings), (N,), epochs=1, cpu=cpu)
