"""The stream that draws rows: the same in every version."""

from __future__ import annotations

import pytest

from nnrun.validation.frozen_random import frozen_random


@pytest.mark.parametrize(
    ("seed", "order"),
    [
        (0, [3, 7, 4, 0, 2, 6, 5, 1]),
        (1 << 32, [6, 3, 7, 1, 4, 0, 2, 5]),
        (2**63 - 1, [1, 5, 2, 6, 7, 0, 3, 4]),
    ],
)
def test_a_seed_gives_the_same_order_forever(seed: int, order: list[int]) -> None:
    assert frozen_random(seed).permutation(8).tolist() == order
