"""What single functions of Keras give, recorded: activations, losses, optimizers.

Their arguments come from closed formulas, so that only Keras's answers are stored, in `keras_values.json`.
`make_keras_values.py` computes them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("keras_values.json")

Array = np.ndarray[Any, np.dtype[np.float32]]


@cache
def keras_values(family: str) -> dict[str, Any]:
    """Case → what Keras gave."""
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))[family]
    return answers


def activation_inputs() -> Array:
    """(9, 6) numbers from -6 to 6, among them the corners of piecewise functions."""
    values = 6 * np.sin(1 + 2.3 * np.arange(54))
    values[:12] = [0, -1, 1, 0.5, -0.5, 3, -3, 6, -6, 2, 0.25, -0.25]
    return values.reshape(9, 6).astype(np.float32)
