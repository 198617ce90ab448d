"""Rows of a file read by C++, without the page faults of a map."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.mapped_arrays import place_in_file, take_mapped
from nnrun.native.kernels import kernel

LIBRARY: Final = "rows"


def take_from_file(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
    """`take_mapped`; of bytes by C++, where that is compiled and the array's file is known.

    With a CPU to spare, pixels read by C++ took 0.65 of the time that they take mapped, and float32, which is
    copied as it is, 1.4 times as long (tests/benchmarks/streamed_rows.py).

    Raises:
        OSError: the file cannot be read.
    """
    by_cpp = values.dtype == np.uint8 and len(rows)
    library, place = (kernel(LIBRARY), place_in_file(values)) if by_cpp else (None, None)
    if library is None or place is None:
        take_mapped(values, rows, out)
        return
    rows = np.ascontiguousarray(rows, np.int64)
    if rows[0] < 0 or rows[-1] >= len(values) or not out.flags.c_contiguous or out.dtype != values.dtype:
        raise ValueError("rows are ascending positions, and `out` is contiguous")
    library.nnrun_rows_read.restype = ctypes.c_int64
    failed = library.nnrun_rows_read(
        ctypes.c_int32(place.file),
        ctypes.c_int64(place.begin),
        ctypes.c_int64(values.nbytes // len(values)),
        ctypes.c_void_p(rows.ctypes.data),
        ctypes.c_int64(len(rows)),
        ctypes.c_void_p(out.ctypes.data),
    )
    if failed:
        raise OSError(max(failed, 0), "the file of prepared rows cannot be read")
