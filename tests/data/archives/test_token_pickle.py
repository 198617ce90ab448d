"""Reading token lists out of pickles: good ones whole, bad ones never, and nothing is run."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import textwrap
from collections import OrderedDict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data.archives.token_pickle import MAX_TOKEN, read_token_pickle
from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError

pytestmark = pytest.mark.faults

Lists = list[list[int]]


def object_array(rows: list[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def read(payload: bytes, rows: int) -> TokenRows:
    return read_token_pickle(payload, rows=rows, where="f.npz: the array x")


def as_lists(rows: TokenRows) -> Lists:
    return [rows.row(i).tolist() for i in range(len(rows))]


def refusal(rows: list[Any], protocol: int = 4) -> str:
    with pytest.raises(DataError) as error:
        read(pickle.dumps(object_array(rows), protocol), len(rows))
    return str(error.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@given(rows=st.lists(st.lists(st.integers(0, MAX_TOKEN) | st.integers(0, 300), max_size=30), max_size=20))
def test_what_was_written_is_read(protocol: int, rows: Lists) -> None:
    found = read(pickle.dumps(object_array(rows), protocol), len(rows))
    assert as_lists(found) == rows
    assert found.indptr.dtype == np.int64
    assert found.tokens.dtype == np.int32


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_long_rows_cross_batches_and_frames(protocol: int) -> None:
    rows = [list(range(i, i + 3500)) for i in range(40)]
    assert as_lists(read(pickle.dumps(object_array(rows), protocol), 40)) == rows


def test_the_pure_python_pickler_and_both_names_of_numpy_are_read() -> None:
    rows = [[1, 2, 300], [7], [], [70_000] * 1200]
    payload = pickle._dumps(object_array(rows), 3)
    old, new = b"numpy.core.multiarray", b"numpy._core.multiarray"
    assert (old in payload) != (new in payload)
    swapped = payload.replace(new, old) if new in payload else payload.replace(old, new)
    assert as_lists(read(payload, 4)) == as_lists(read(swapped, 4)) == rows


def test_what_python_2_wrote_is_read() -> None:
    """Protocol 2 of Python 2: str is BINSTRING, a short long is LONG1, and shapes come as LONG1 too."""
    payload = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01\x8a\x01\x02\x85cnumpy\ndtype\nq\x04U\x02O8K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK?tb\x89]q\x06(]q\x07(K\x01M\x02\x01\x8a\x01\x05e]q\x08\x8a\x02\x00\x01aetb."
    )
    assert as_lists(read(payload, 2)) == [[1, 258, 5], [256]]
    assert pickle.loads(payload).tolist() == [[1, 258, 5], [256]]  # noqa: S301  (written above)


def test_tuples_and_integer_arrays_pass_for_lists() -> None:
    rows = [(1, 2, 3), np.array([4, 5], np.int64), np.array([6], ">u2"), [7], np.array([], np.int32)]
    assert as_lists(read(pickle.dumps(object_array(rows), 4), 5)) == [[1, 2, 3], [4, 5], [6], [7], []]


def test_a_list_that_stands_in_two_rows_is_read_twice() -> None:
    row = [1, 2, 3]
    assert as_lists(read(pickle.dumps(object_array([row, [9], row]), 4), 3)) == [row, [9], row]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1, 2.5], "holds a floating-point number in row 1; word indices are whole numbers"),
        ([1, None], "holds None in row 1"),
        (["the"], "holds a text in row 1"),
        ([True], "holds a truth value in row 1"),
        ([[1], [2]], "holds a list inside a list in row 1"),
        (5, "holds single numbers among its rows"),
        ("the film", "holds a text as row 1; each row must be a list of word indices"),
        (None, "holds None as row 1"),
        ([3, -1], "holds the word index -1; word indices run from 0 to"),
        ([3, 2**40], "holds the word index 1,099,511,627,776"),
        ([3, 2**70], "holds a number beyond 64 bits"),
        ({1: 2}, "pickle operation EMPTY_DICT"),
        (np.array([1.5]), "holds arrays of type 'f8'"),
        (np.array([[1, 2]]), "holds an array as row 1 whose shape does not match"),
        (date(2020, 1, 1), "asks for 'datetime.date'"),
        (OrderedDict(), "asks for 'collections.OrderedDict'"),
    ],
)
def test_rows_of_anything_else_are_refused(row: Any, said: str) -> None:
    assert said in refusal([[1, 2], row])


def test_an_array_with_two_dimensions_is_refused() -> None:
    with pytest.raises(DataError, match="another shape inside"):
        read(pickle.dumps(np.array([[1, 2], [3, 4]], object), 4), 2)


class Gadget:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_gadget_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "it-ran"
    said = refusal([[1], Gadget(str(trace))], protocol)
    assert "asks for" in said
    assert ".open'" in said
    assert not trace.exists()
    pickle.loads(pickle.dumps(Gadget(str(trace)), protocol)).close()  # noqa: S301  (it does run elsewhere)
    assert trace.exists()


@pytest.mark.parametrize(
    "name",
    [b"numpy\nload", b"numpy\nmemmap", b"numpy.core.multiarray\nfromfile", b"builtins\neval", b"os\nsystem"],
)
def test_no_other_name_is_admitted_not_even_of_numpy(name: bytes) -> None:
    with pytest.raises(DataError, match="asks for"):
        read(b"\x80\x02c" + name + b"\n.", 1)


def test_an_admitted_name_with_other_arguments_is_refused() -> None:
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
    with pytest.raises(DataError, match="holds a call"):
        read(head + b"cnumpy\ndtype\nK\x00\x85U\x01b\x87R.", 1)
    with pytest.raises(DataError, match="holds arrays of type"):
        read(b"\x80\x02cnumpy\ndtype\nU\x0aV999999999\x85R.", 1)


HOSTILE = {
    "16 GiB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**34) + b"x" * 200,
    "a giant bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b"x",
    "a giant text": b"\x80\x04\x8d" + struct.pack("<Q", 2**34) + b"x",
    "4 GiB of bytes": b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"x",
    "a giant integer": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x",
    "a giant memo index": b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b".",
    "deep lists": b"\x80\x02" + b"](" * 500_000 + b"e" * 500_000 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "a list in itself": b"\x80\x02]q\x00(h\x00e.",
    "marks alone": b"\x80\x02" + b"(" * 100_000 + b"t.",
    "pops": b"\x80\x02]0000.",
    "nothing": b"",
    "a frame beyond the end": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"].",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02K\x01Q.",
    "a buffer": b"\x80\x05\x97.",
    "the old protocol": b"(lp0\nI1\na.",
    "integers taken apart": b"\x80\x02)" + b"K\x00" * 1024 + b"\x86" * 1000 + b".",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_programs_are_refused(payload: bytes) -> None:
    with pytest.raises(DataError, match=r"f.npz: the array x"):
        read(payload, 1)


def test_a_giant_shape_allocates_nothing() -> None:
    payload = pickle.dumps(object_array([[1], [2]]), 3).replace(b"K\x02\x85", b"J\xff\xff\xff\x7f\x85")
    with pytest.raises(DataError, match="another shape inside"):
        read(payload, 2)
    with pytest.raises(DataError, match="holds 2: it is damaged"):
        read(payload, 2**31 - 1)


def test_a_row_that_repeats_without_end_is_refused() -> None:
    """Some kilobytes that stand for a thousand million tokens."""
    row = list(range(256)) * 40
    with pytest.raises(DataError, match="repeats its rows so often"):
        read(pickle.dumps(object_array([row] * 100_000), 4), 100_000)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are set in POSIX's way")
def test_memory_stays_bounded() -> None:
    """All hostile programs, in a process that may grow by 700 MB and no more."""
    script = textwrap.dedent(
        """
        import resource, sys
        import importlib.util
        found = importlib.util.spec_from_file_location('t', sys.argv[1])
        t = importlib.util.module_from_spec(found)
        found.loader.exec_module(t)
        from nnrun.data.archives.token_pickle import read_token_pickle
        from nnrun.errors import DataError
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 700 * 2**20,) * 2)
        for payload in t.HOSTILE.values():
            try:
                read_token_pickle(payload, rows=1, where="x")
            except DataError:
                continue
            raise SystemExit("accepted")
        print("bounded")
        """
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", script, __file__],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "bounded\n", done.stderr


VALID = pickle.dumps(object_array([[1, 2, 300], [], [70_000, 5], (1, 2), np.array([3, 4])]), 4)


def test_every_truncation_is_refused() -> None:
    for end in range(len(VALID)):
        with pytest.raises(DataError):
            read(VALID[:end], 5)


@settings(max_examples=400)
@given(st.data())
def test_mutated_bytes_are_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    protocol = data.draw(st.sampled_from([2, 3, 4]))
    payload = bytearray(pickle.dumps(object_array([[1, 2, 300], [], [70_000, 5], (1, 2)]), protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "delete"]))
        value = data.draw(st.integers(0, 255) | st.sampled_from(list(b"]()etabRq.KMJ\x85\x86\x87\x94h")))
        if kind == "set":
            payload[at] = value
        elif kind == "insert":
            payload.insert(at, value)
        else:
            del payload[at]
    try:
        rows = read(bytes(payload), 4)
    except DataError:
        return
    assert len(rows) == 4
    assert rows.tokens.min(initial=0) >= 0


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(DataError):
        read(b"\x80\x02" + payload, 1)
