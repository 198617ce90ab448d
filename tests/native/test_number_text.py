"""float32 numbers as text: C++ and NumPy give the same letters, and they read back as the same number."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnrun.limits import cxx_compiler
from nnrun.native.kernels import prepare, switched_off
from nnrun.native.library import SOURCES
from nnrun.native.number_text import LIBRARY, rows_of_numbers, shortest

needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="no C++ compiler")

HARD = [
    0.0,
    -0.0,
    1.0,
    0.1,
    -2.5,
    1e-4,
    9.9999e-5,
    1e-5,
    1e15,
    1e16,
    123456789012.0,
    16777216.0,
    1.5e17,
    3.4e38,
]
HARD += [1.17549435e-38, 1e-45, -1e-45, np.inf, -np.inf, np.nan, 100.0, 12.5, 0.3, 1 / 3]


@needs_compiler
@settings(max_examples=150, deadline=None)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 4)), elements=st.floats(width=32))
)
def test_both_ways_give_the_same_text(values_NC: np.ndarray) -> None:
    prepare(LIBRARY)
    by_cpp = rows_of_numbers(values_NC)
    with switched_off():
        assert rows_of_numbers(values_NC) == by_cpp
    for text, row in zip(by_cpp, values_NC, strict=True):
        assert np.array_equal(np.array(text.split(","), np.float32), row, equal_nan=True)


@needs_compiler
def test_numbers_at_the_borders_of_the_two_notations() -> None:
    prepare(LIBRARY)
    values = np.array(HARD, np.float32)
    assert rows_of_numbers(values[:, None]) == shortest(values)
    assert rows_of_numbers(values[None])[0].split(",") == shortest(values)
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    assert rows_of_numbers(values[:, None]) == shortest(values)


def test_no_columns_and_no_rows() -> None:
    assert rows_of_numbers(np.empty((0, 3), np.float32)) == []


@needs_compiler
def test_no_byte_outside_the_room_is_written(tmp_path: Path) -> None:
    """Compiled with the sanitizers of addresses and undefined behaviour, over many random bits."""
    main = tmp_path / "main.cpp"
    main.write_text(
        f"""#include "{SOURCES / "numbers.cpp"}"
#include <random>
#include <vector>
int main() {{
    std::mt19937 next(0);
    std::vector<float> values(1 << 16);
    for (float& value : values) {{ uint32_t bits = next(); std::memcpy(&value, &bits, 4); }}
    std::vector<char> out(values.size() * nnrun_numbers_room());
    return nnrun_numbers_rows(values.data(), 1 << 12, 16, out.data()) > 0 ? 0 : 1;
}}
"""
    )
    compiler = cxx_compiler()
    assert compiler is not None
    flags = ["-std=c++17", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    made = subprocess.run([compiler, *flags, str(main), "-o", str(tmp_path / "main")], check=False)
    if made.returncode:
        pytest.skip("this compiler has no sanitizers")
    assert subprocess.run([str(tmp_path / "main")], check=False, env={}).returncode == 0
