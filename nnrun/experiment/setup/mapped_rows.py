"""Prepared rows that do not fit into memory: written to a file once, and read batch by batch.

Rows that lie in a file already as networks take them, as the bytes of large images do, are read from there.

What a training computes is the same, bit for bit, wherever its rows are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset
from nnrun.data.dataset import RawInputs, Samples, TokenRows, taken_rows
from nnrun.data.files.stored_arrays import rows_folder, stored_rows
from nnrun.data.preprocess import FittedInputs, share_rows
from nnrun.data.rows import ByteRows, SparseRows, rows_by_place
from nnrun.errors import DataError, NnrunError, UsageError, printable
from nnrun.experiment.setup.groups import Group, values_of_bytes
from nnrun.lazy_torch import torch
from nnrun.limits import free_memory, in_words
from nnrun.mapped_arrays import is_mapped
from nnrun.model.mapped_inputs import MappedInputs
from nnrun.spec.ports import Port
from nnrun.spec.wording import listing

VARIABLE = "NNRUN_ROWS"
Place = Literal["auto", "memory", "file"]

_SHARE = 0.7
"""Of the memory that is free: rows that take more of it do not fit beside what else is needed."""
_ELEMENTS_AT_ONCE = 1 << 22


def wanted_place() -> Place:
    """Where prepared rows shall be kept, as the variable says.

    Raises:
        UsageError: it says something else.
    """
    text = os.environ.get(VARIABLE, "").strip() or "auto"
    for place in get_args(Place):
        if text == place:
            return place  # type: ignore[no-any-return]
    raise UsageError(f"{VARIABLE} is {printable(text)!r}; it must be auto, memory or file.")


def rows_in_files(
    group: Group, dataset: Dataset, device: torch.device, on_message: Callable[[str], None]
) -> dict[Port, MappedInputs] | None:
    """The training rows of a group as its networks take them, in files; None where they stay in memory.

    Args:
        group: the networks, with their fitted preprocessing.
        dataset: the data.
        device: where networks are.
        on_message: hears that rows are kept in files, or why they cannot be.

    Raises:
        DataError: they shall be, and cannot.
        NnrunError: the files cannot be written.
    """
    place = wanted_place()
    if place == "memory":
        return None
    taken = _bytes_of_rows(group, dataset)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    fits = free is None or taken <= _SHARE * free
    if place == "auto" and fits:
        return None
    if (why := _why_not(group, dataset)) is not None:
        if place == "file":
            raise DataError(f"{VARIABLE}=file: {why}, and cannot be read from a file batch by batch.")
        on_message(f"warning: the prepared rows take {in_words(taken)}, and must stay in memory: {why}")
        return None
    because = "" if free is None or fits else f", and {in_words(free)} of memory are free"
    raw = dataset.train.by_input(group.fitted[0].inputs)
    there = all(_lies_in_file(each, raw[port]) for port, each in group.fitted[0].inputs.items())
    where = "in their file" if there else "written to a file"
    on_message(
        f"the prepared rows take {in_words(taken)}{because}: they are {where}, and read batch by batch"
    )
    return {port: _mapped(group, dataset.train, port, device) for port in group.fitted[0].inputs}


def _bytes_of_rows(group: Group, dataset: Dataset) -> int:
    copies = 1 if share_rows(group.fitted) else len(group.fitted)
    raw, taken = dataset.train.by_input(group.fitted[0].inputs), 0
    for port, each in group.fitted[0].inputs.items():
        taken += each.width * (1 if _stay_bytes(each, raw[port]) else 4 * copies)
    return taken * len(dataset.train)


def _stay_bytes(fitted: FittedInputs, raw: RawInputs) -> bool:
    """Whether prepared rows are the bytes themselves, which all networks share, beside what these become."""
    some = raw[:1] if isinstance(raw, np.ndarray) and raw.dtype == np.uint8 else None
    return some is not None and isinstance(fitted.transform(some), ByteRows)


def _lies_in_file(fitted: FittedInputs, raw: RawInputs) -> bool:
    """Whether the data set has the prepared rows in a file already: bytes, or float32 that pass no step."""
    if not isinstance(raw, np.ndarray) or not is_mapped(raw):
        return False
    if _stay_bytes(fitted, raw):
        return True
    as_they_are = raw.dtype == np.float32 and raw.flags.c_contiguous and raw.shape[1:] == fitted.shape
    table = fitted.table if fitted.token_step is None and not fitted.custom else None
    return as_they_are and table is not None and not any(column.steps for column in table.columns)


def _why_not(group: Group, dataset: Dataset) -> str | None:
    """What keeps rows from being prepared a few at a time, as a clause; None where nothing does."""
    for fitted in group.fitted:
        for port, each in fitted.inputs.items():
            of_input = f" of the input {port}" if len(fitted.inputs) > 1 else ""
            if each.sparse:
                return f"the rows{of_input} are sparse"
            if each.custom:
                names = listing([step.spec.object for step in each.custom], "and")
                return f"the rows{of_input} are made by custom steps ({names})"
            if each.holds_out:
                assert each.table is not None, "what holds rows out is a table"
                kinds = {column.steps[-1].kind for column in each.table.columns if column.held_out}
                return f"{listing(sorted(kinds), 'and')} prepares training rows by what the others hold"
            raw = dataset.train.by_input([port])[port]
            if isinstance(raw, TokenRows):
                return f"the rows{of_input} are lists of tokens"
    return None


def _mapped(group: Group, samples: Samples, port: Port, device: torch.device) -> MappedInputs:
    several = group.fitted[:1] if share_rows(group.fitted) else group.fitted
    fitted, raw = [each.inputs[port] for each in several], samples.by_input([port])[port]
    as_bytes = _stay_bytes(fitted[0], raw)
    if _lies_in_file(fitted[0], raw):
        assert isinstance(raw, np.ndarray), "an array"
        files: tuple[npt.NDArray[Any], ...] = (raw,)
    else:
        files = tuple(_written(each, raw, samples) for each in (fitted[:1] if as_bytes else fitted))
    if not as_bytes:
        return MappedInputs(files, device)
    assert isinstance(raw, np.ndarray), "bytes are arrays"
    some = [rows for each in fitted if isinstance(rows := each.transform(raw[:1]), ByteRows)]
    return MappedInputs(files, device, values_of_bytes(some, device))


def _written(fitted: FittedInputs, raw: RawInputs, samples: Samples) -> npt.NDArray[Any]:
    """(N, ...) float32, or bytes as they are: the prepared rows in a file."""
    at_once = max(1, _ELEMENTS_AT_ONCE // max(1, fitted.width))
    kind = np.uint8 if _stay_bytes(fitted, raw) else np.float32

    def parts() -> Iterator[npt.NDArray[Any]]:
        for first in range(0, len(samples), at_once):
            some = np.arange(first, min(first + at_once, len(samples)))
            places = None if samples.places is None else samples.places.take(some)
            with rows_by_place(places):
                rows = fitted.transform(taken_rows(raw, some))
            assert not isinstance(rows, SparseRows), "all else is refused"
            yield rows.x if isinstance(rows, ByteRows) else rows.x_NF

    try:
        return stored_rows(parts(), (len(samples), *fitted.shape), kind)
    except OSError as error:
        taken = len(samples) * fitted.width * np.dtype(kind).itemsize
        raise NnrunError(
            f"The prepared rows cannot be written to {rows_folder()} ({error.strerror or error}). They take "
            f"{in_words(taken)}: make room there, or name another folder with NNRUN_CACHE_DIR."
        ) from error
