"""A run's network as a file that others read: written, read again, and compared with the run's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nnrun.atomic_files import replace_file
from nnrun.data import FittedPreprocessing
from nnrun.data.catalog import is_at_hand
from nnrun.data.dataset import Array, RawInputs, TokenRows
from nnrun.data.preprocess import FittedColumn
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn
from nnrun.errors import DataError, NnrunError, UsageError
from nnrun.experiment.exporting.export_formats import (
    FORMATS,
    Export,
    Format,
    FormatName,
    metadata_of,
    refuse_steps_without_program,
    require_onnx,
    rows_of,
)
from nnrun.experiment.finished.load_run import (
    DEFAULT_ACCESS,
    Access,
    TrainedNetwork,
    choose_networks,
    load_spec_of_networks,
    refuse_changed_data,
)
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.output_decoder import OutputDecoder, make_output_decoder
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.setup.load_data import load_data
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import refuse_ports
from nnrun.spec.wording import listing
from nnrun.version import __version__

TOLERANCE = 1e-5
"""How far an exported network's predictions may be from the run's: of 1, or of a larger prediction itself.

A float32 near 200 has neighbours 1.5e-5 away, so that no fixed distance would do for numbers.
"""

_MOST_ROWS = 1000
_MOST_NUMBERS = 1 << 24  # of the rows to compare on: multi-hot rows are wide


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared.

    Attributes:
        path: the file.
        format: its kind.
        run: the run.
        member: which of its networks, as its folder is named; None where there is one.
        weights: of which epoch they are.
        features: F, the numbers of a row that a program takes.
        row_shape: its shape, where it has more axes.
        dtype: the type of the rows that a program takes; None for a file that is none.
        rows_of: what a row is: `features`, raw ones; or `multi_hot`, `pad` or `prepared`, made outside.
        columns: the names of raw features of a table, in order.
        outputs: K.
        meaning: what the outputs mean.
        rows: how many rows were compared.
        rows_from: `training` rows, or `generated` ones.
        difference: the largest one between the file's predictions and the run's.
    """

    path: Path
    format: FormatName
    run: RunDirectory
    member: str | None
    weights: UsedWeights
    features: int
    row_shape: tuple[int, ...]
    dtype: str | None
    rows_of: str
    columns: tuple[str, ...]
    outputs: int
    meaning: OutputDecoder
    rows: int
    rows_from: str
    difference: float


def export_run(
    run: RunDirectory,
    path: Path,
    format_: FormatName,
    access: Access = DEFAULT_ACCESS,
    *,
    float64: bool = False,
) -> Exported:
    """Write one of a run's networks to a file, read it again, and compare its predictions with the run's.

    The file appears once they agree, and not before.

    Args:
        run: the run's folder.
        path: the file.
        format_: its kind.
        access: which of several networks, with which weights, and where the data lie. Nothing is downloaded.
        float64: whether a program takes rows of float64 instead of float32.

    Raises:
        UsageError: the run has several networks and none was named, a package is missing, or a program cannot
            contain the preprocessing.
        NnrunError: the predictions differ.
    """
    if format_ == "onnx":
        require_onnx()
    network, used = _one_network(run, access)
    spec = load_spec_of_networks(run, access.data_dir)
    refuse_ports(spec, run.id, "`nnrun export` cannot yet write a program of")
    fitted, labels = network.fitted, load_labels(run)
    kind = FORMATS[format_]
    if kind.program:
        refuse_steps_without_program(fitted)
    metadata = _metadata(run, network, used)
    raw = rows_of(fitted) == "features"
    dtype = torch.float64 if float64 and raw else torch.float32
    narrow = kind.program and raw and dtype == torch.float32
    export = Export(spec, network, metadata, dtype)
    inputs, rows_from = _rows_to_compare(run, spec, fitted, access.data_dir)
    own = fitted.output.in_own_units(
        network_outputs(
            spec, fitted, network.weights, dict.fromkeys(fitted.inputs, inputs), torch.device("cpu")
        )
    )
    difference = _write_and_compare(export, kind, path, inputs, own, narrow=narrow)
    return Exported(
        path=path,
        format=format_,
        run=run,
        member=metadata.get("member"),
        weights=used,
        features=math.prod(export.row_shape),
        row_shape=export.row_shape,
        dtype=str(export.dtype).removeprefix("torch.") if kind.program else None,
        rows_of=export.rows_of,
        columns=export.columns,
        outputs=fitted.output.n_outputs,
        meaning=make_output_decoder(spec, fitted, labels),
        rows=len(own),
        rows_from=rows_from,
        difference=difference,
    )


def _metadata(run: RunDirectory, network: TrainedNetwork, used: UsedWeights) -> dict[str, str]:
    """What a file says of itself: enough to prepare rows and to understand predictions."""
    return metadata_of(
        format="nnrun",
        nnrun=__version__,
        run=run.id,
        member=None if network.member is None else network.member.folder,
        weights=used.as_document(),
        spec=run.read_resolved(),
        preprocessing=network.fitted.to_json(),
        labels=load_labels(run).to_json(),
        vocabulary=run.read_vocabulary(),
    )


def _one_network(run: RunDirectory, access: Access) -> tuple[TrainedNetwork, UsedWeights]:
    networks, used = choose_networks(run, access.member, access.weights)
    if len(networks) > 1:
        names = listing([n.member.folder for n in networks if n.member is not None])
        raise UsageError(
            f"{run.id} has {len(networks)} networks, and a file holds one: choose with --member {names}."
        )
    return networks[0], used


def _write_and_compare(
    export: Export, kind: Format, path: Path, inputs: RawInputs, own: Array, *, narrow: bool
) -> float:
    """Write the file and ask it about the inputs; the largest difference from the run's own predictions."""
    differences: list[float] = []

    def write(temporary: Path) -> None:
        kind.write(export, temporary)
        differences.append(_difference(own, kind.ask(export, temporary, inputs), path, narrow))

    replace_file(path, write)
    return differences[0]


def _difference(own: Array, found: Array, path: Path, narrow: bool) -> float:
    """The largest difference; NnrunError where it is too large. `narrow` is a program that takes float32."""
    if found.shape != own.shape:
        raise NnrunError(
            f"{path} was not kept: when read back, it gives predictions of shape {found.shape}, not "
            f"{own.shape}."
        )
    differences = np.abs(found.astype(np.float64) - own)
    largest = float(differences.max(initial=0.0))
    # Written so that NaN is too large as well.
    if not (differences <= TOLERANCE * np.maximum(1.0, np.abs(own))).all():
        advice = " Features that vary little around a large value need --float64." if narrow else ""
        raise NnrunError(
            f"{path} was not kept: when read back, its predictions differ from the run's by up to "
            f"{largest:.3g}; "
            f"the tolerance is {TOLERANCE:g}, relative to predictions larger than 1.{advice}"
        )
    return largest


def _rows_to_compare(
    run: RunDirectory, spec: schema.ExperimentSpec, fitted: FittedPreprocessing, data_dir: Path | None
) -> tuple[RawInputs, str]:
    """Some training rows where the data are here, else generated rows of their shape."""
    rows = max(2, min(_MOST_ROWS, _MOST_NUMBERS // fitted.input.width))
    record = run.read_record()
    try:
        if record.smoke or is_at_hand(spec.dataset, data_dir):
            dataset = load_data(spec, data_dir=data_dir, smoke=record.smoke)
            refuse_changed_data(dataset, record.data_hashes, run.id)
            chosen = dataset.train.take(np.arange(min(rows, len(dataset.train))))
            fitted.input.transform(chosen.inputs)
            return chosen.inputs, "training"
    except DataError:
        pass  # other rows show the same
    return generated_rows(fitted, rows), "generated"


def generated_rows(fitted: FittedPreprocessing, rows: int) -> RawInputs:
    """Random rows that a network's preprocessing takes: about where its training rows were."""
    rng = np.random.default_rng(0)
    if fitted.input.table is not None:
        columns = fitted.input.table.columns
        values = rows * (fitted.input.n_features or 1) // len(columns)  # more where rows have more axes
        table = Table(tuple(_generated_column(column, rng, values) for column in columns), values)
        if fitted.input.of_table:
            return table
        x_NC: Array = np.stack([c.values for c in table.columns if isinstance(c, NumberColumn)], axis=1)
        return x_NC.reshape(rows, *(fitted.input.raw_shape or ()))
    lengths = rng.integers(1, 200, rows)
    return TokenRows.from_lists([rng.integers(0, fitted.input.tokens or 1, n).tolist() for n in lengths])


def _generated_column(column: FittedColumn, rng: np.random.Generator, rows: int) -> Column:
    """Random values of one column that its steps take, each step's made from those that it gives."""
    values: Array = rng.normal(size=rows)
    for step in reversed(column.steps):
        values = step.generate(values, rng)
    if column.kind == "number":
        return NumberColumn(column.name, values.astype(np.float64))
    if column.kind == "text":
        return TextColumn(column.name, values.astype(object))
    levels, codes = np.unique(values.astype(str), return_inverse=True)
    return CategoryColumn(column.name, codes.astype(np.int32), tuple(map(str, levels)), column.kind == "date")
