"""Rows that a Python program gives: kept as a file beside the runs, which the spec then names.

So the run needs nothing of the program any more: it can be resumed, reproduced and evaluated from the command
line, and its record has the hash of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.data.frames import as_frame, column_name, declared_types, jsonl_of, npz_of, refuse_unusable
from nnrun.errors import UsageError
from nnrun.records.given_tables import keep_table
from nnrun.spec import schema
from nnrun.spec.reading.load import SpecTree, read_spec
from nnrun.spec.reading.nodes import plain
from nnrun.spec.reading.overrides import Override, Overrides
from nnrun.spec.reading.sources import SpecSource
from nnrun.spec.wording import listing, listing_of_some, quoted

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "data"
_TABLES = {kind.kind: kind for kind in (schema.Csv, schema.Parquet, schema.Jsonl)}
_PARTS = ("_train", "_test")
_TARGET = "target"


def data_overrides(
    spec: SpecSource,
    overrides: Overrides,
    data: Any,
    runs_dir: Path,
    roles: Mapping[str, Any] | None = None,
) -> list[Override]:
    """Keep rows beside the runs; the change of a spec that has it learn from them.

    Args:
        spec: the spec. Its `dataset` may say what the columns are for: `{csv: {target: y}}`, without a path.
        overrides: other changes of it.
        data: a data frame; a pair of inputs (a frame, or an array (N, ...)) and targets; or a dict: of
            columns where the spec's data set is a table, else of arrays, called as those of an npz archive.
        runs_dir: where the run will be.
        roles: keys of a table's data set, such as `target` and `weight`, that go before the spec's own.

    Raises:
        UsageError: the data are none of these, or the spec's data set is another kind, or has no target.
        SpecError: the spec cannot be read.
    """
    tree = read_spec(spec, overrides)
    kind, keys = _declared(tree)
    keys |= roles or {}
    if kind is not None and kind not in (*_TABLES, schema.Npz.kind):
        raise UsageError(
            f"data: the spec learns from {quoted(kind)}, so it takes no other rows. Its dataset must be "
            f"one of {listing([*_TABLES, schema.Npz.kind], 'or')}, whose path may be left out."
        )
    name = tree.root.entries.get("name")
    called = str(plain(name.value)) if name is not None else tree.default_name
    given = _frame_or_arrays(data, kind, keys)
    if isinstance(given, dict):
        path = keep_table(runs_dir, called, npz_of(given), "npz")
        dataset: dict[str, Any] = {schema.Npz.kind: {"path": str(path)}}
    else:
        own = _of_table(given, keys, needs_target="outputs" not in tree.root.entries)
        path = keep_table(runs_dir, called, jsonl_of(given), "jsonl")
        dataset = {schema.Jsonl.kind: {**own, "path": str(path)}}
    return [Override.of_value("dataset", dataset, ORIGIN, prevails=True)]


@dataclass(frozen=True)
class KeptRows:
    """Rows that were given without a spec, in a file.

    Attributes:
        path: the file.
        targets: the columns to predict, where they were given apart.
    """

    path: Path
    targets: tuple[str, ...] = ()


def keep_rows(data: Any, folder: Path, targets: Sequence[str] = ()) -> KeptRows:
    """Keep a table that is given without a spec as `nnrun init` reads files.

    Args:
        data: a data frame, or a pair (X, y).
        folder: where runs are kept; the file lies in a folder of it.
        targets: what to call the columns of y.

    Raises:
        UsageError: it is neither, or has no rows, or a category whose values are numbers.
    """
    keys: dict[str, Any] = {"target": list(targets)} if targets else {}
    frame = _frame_or_arrays(data, schema.Jsonl.kind, keys)
    assert not isinstance(frame, dict), "it was asked for as a table"
    if declared := declared_types(frame):  # a file of numbers would not tell, and no spec does
        names = listing([quoted(name) for name in declared], "and")
        raise UsageError(
            f"data: {names} of the frame are categories that are numbers, which its values do not tell. Make "
            "them texts (frame[NAME].astype(str)), or give a spec with `types`."
        )
    named = _names(keys.get("target") or ()) if isinstance(data, tuple) else ()
    return KeptRows(keep_table(folder, "data", jsonl_of(frame), "jsonl"), named)


@dataclass(frozen=True)
class DeclaredData:
    """What a spec says of rows that are given to it.

    Attributes:
        wants_arrays: its data set is an npz archive.
        targets: the columns to predict, those of its outputs where it has outputs; empty where it says none.
        has_outputs: whether it has.
    """

    wants_arrays: bool = False
    targets: tuple[str, ...] = ()
    has_outputs: bool = False


def declared_data(spec: SpecSource, overrides: Overrides) -> DeclaredData:
    """What a spec says of rows that are given to it; errors as of `data_overrides`."""
    tree = read_spec(spec, overrides)
    kind, keys = _declared(tree)
    outputs = tree.root.entries.get("outputs")
    named = plain(outputs.value) if outputs is not None else None
    if isinstance(named, Mapping):
        each = [
            _names(keys.get("target", name) if isinstance(keys, Mapping) else name)
            for name, keys in named.items()
        ]
        return DeclaredData(kind == schema.Npz.kind, tuple(chain.from_iterable(each)), True)
    return DeclaredData(kind == schema.Npz.kind, _names(keys.get("target") or ()))


def _names(written: Any) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else tuple(map(str, written))


def _declared(tree: SpecTree) -> tuple[str | None, dict[str, Any]]:
    """The kind of the spec's data set, and its keys; None where there is no data set."""
    entry = tree.root.entries.get("dataset")
    value = None if entry is None else plain(entry.value)
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, keys),) = value.items()
        return kind, dict(keys) if isinstance(keys, Mapping) else {}
    return (value if isinstance(value, str) else None), {}


def _frame_or_arrays(data: Any, kind: str | None, keys: dict[str, Any]) -> pd.DataFrame | dict[str, Any]:
    import pandas as pd

    refuse_unusable(data)
    if isinstance(data, tuple) and len(data) == 2:
        return _pair(*data, kind, keys)
    frame = as_frame(data)
    if frame is None and isinstance(data, Mapping):
        if kind in _TABLES:
            frame = pd.DataFrame({str(name): values for name, values in data.items()})
        else:
            return {
                str(name) if str(name).endswith(_PARTS) else f"{name}_train": values
                for name, values in data.items()
            }
    if frame is None:
        raise UsageError(
            f"data is a {type(data).__name__}; it must be a data frame, a pair (X, y), or a dict of arrays."
        )
    if kind == schema.Npz.kind:
        raise UsageError(
            "data is a table, and the spec's dataset is npz, which takes arrays: give a pair (X, y) or a "
            "dict of arrays, or let the dataset be {csv: {target: COLUMN}}."
        )
    return frame


def _pair(x: Any, y: Any, kind: str | None, keys: dict[str, Any]) -> pd.DataFrame | dict[str, Any]:
    """Inputs and targets as one table, the names of the targets among the keys; or as two arrays."""
    import pandas as pd

    frame = as_frame(x)
    if len(x) != len(y):
        raise UsageError(f"data: X has {len(x):,} rows and y {len(y):,}; each row needs its target.")
    if frame is None and kind not in _TABLES:
        return {"x_train": x, "y_train": y}
    if frame is None:
        frame = pd.DataFrame(x)
        frame.columns = pd.Index([f"c{place}" for place in range(frame.shape[1])])
    targets = pd.DataFrame(y).set_axis(frame.index)
    named = keys.get("target")
    if named is not None:
        names = [named] if isinstance(named, str) else list(named)
    elif as_frame(y) is not None:
        names = [column_name(name) for name in targets.columns]
    elif targets.shape[1] == 1:
        names = [column_name(getattr(y, "name", None) or _TARGET)]
    else:
        names = [f"{_TARGET}{place}" for place in range(targets.shape[1])]
    if len(names) != targets.shape[1]:
        raise UsageError(f"data: y has {targets.shape[1]} columns, and the spec's target names {len(names)}.")
    keys["target"] = names
    columns = [column_name(name) for name in frame.columns]
    both = sorted(set(columns) & set(names))
    if both:
        raise UsageError(
            f"data: X has a column {quoted(both[0])}, as the target is called; rename it, or give a single "
            "data frame."
        )
    return pd.concat([frame.set_axis(columns, axis=1), targets.set_axis(names, axis=1)], axis=1)


def _of_table(frame: pd.DataFrame, keys: Mapping[str, Any], *, needs_target: bool) -> dict[str, Any]:
    """The keys of a data set of JSON lines: those that say what columns are for."""
    test = keys.get("test")
    if isinstance(test, Mapping) and test.get("path") is not None:
        raise UsageError(
            "data: the spec's test rows are in a file of their own; with data they are a part of the rows "
            "(`test: {fraction: 0.2}`, or a column and a value that marks them)."
        )
    own = {key: value for key, value in keys.items() if key in schema.Jsonl.model_fields}
    if needs_target and not own.get("target"):
        names = [quoted(column_name(name)) for name in frame.columns]
        raise UsageError(
            "data: the spec does not say which column is the target. Write `dataset: {jsonl: {target: "
            f"COLUMN}}}}`, without a path; the columns are {listing_of_some(names, 8)}."
        )
    types = {**declared_types(frame), **(own.get("types") or {})}
    return {**own, "types": types} if types else own
