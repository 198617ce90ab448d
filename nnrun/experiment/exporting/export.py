"""A run's network as a file that others read: written, read again, and compared with the run's own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnrun.atomic_files import replace_file
from nnrun.data import FittedPreprocessing
from nnrun.data.catalog import is_at_hand
from nnrun.data.dataset import Array, RawInputs, TokenRows
from nnrun.data.labels import Labels
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedColumn, FittedInputs
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn
from nnrun.errors import DataError, NnrunError, UsageError
from nnrun.experiment.exporting.export_content import Export
from nnrun.experiment.exporting.export_formats import (
    FORMATS,
    Format,
    FormatName,
    metadata_of,
    predictions_of,
)
from nnrun.experiment.exporting.file_intervals import FileIntervals, file_intervals
from nnrun.experiment.exporting.onnx_file import require_onnx
from nnrun.experiment.exporting.program_inputs import ProgramInput
from nnrun.experiment.finished.decision_text import calibration_in_words
from nnrun.experiment.finished.decisions import decided_spec
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
from nnrun.experiment.predicting.output_decoder import OutputDecoder, output_decoders
from nnrun.experiment.scripting.ask_script import ask_script
from nnrun.experiment.scripting.script_files import refuse_foreign_arrays, refuse_taken_name
from nnrun.experiment.scripting.script_model import Model
from nnrun.experiment.scripting.write_script import ARRAYS, script_of
from nnrun.experiment.setup.data_location import without_folders
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_views
from nnrun.spec.wording import listing, quoted
from nnrun.spec.writing.dump import dump_spec
from nnrun.version import __version__

TOLERANCE = 1e-5
"""How far an exported network's predictions may be from the run's: of 1, or of a larger prediction itself.

A float32 near 200 has neighbours 1.5e-5 away, so that no fixed distance would do for numbers.
"""

_MOST_ROWS = 1000
_MOST_NUMBERS = 1 << 24  # of the rows to compare on: multi-hot rows are wide


@dataclass(frozen=True)
class ExportedInput:
    """What a program takes.

    Attributes:
        features: F, the numbers of a row.
        row_shape: its shape, where it has more axes.
        dtype: the type of the rows; None for a file that is no program.
        rows_of: what a row is: `features`, raw ones; or `multi_hot`, `pad` or `prepared`, made outside.
        columns: the names of raw features of a table, in order.
    """

    features: int
    row_shape: tuple[int, ...]
    dtype: str | None
    rows_of: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ExportedOutput:
    """What a program gives.

    Attributes:
        outputs: K.
        meaning: what the outputs mean.
        calibration: of probabilities that are calibrated, in words.
    """

    outputs: int
    meaning: OutputDecoder
    calibration: str | None = None


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared.

    Attributes:
        path: the file.
        format: its kind.
        run: the run.
        member: which of its networks, as its folder is named; None where there is one, or all are in it.
        averaged: the members whose average is in it; empty where one network is.
        weights: of which epoch they are.
        inputs: what a program takes, by the names that inputs have in the file.
        outputs: what it gives, likewise.
        named_inputs, named_outputs: whether the spec gave them these names.
        rows: how many rows were compared.
        unanswered: how many more were left out, for which a program gives NaN, not knowing what Python says
            of a text in them.
        rows_from: `training` rows, or `generated` ones.
        difference: the largest one between the file's predictions and the run's.
        beside: the file beside it that it needs, of a script.
        intervals: what it says of intervals; None where the run has none.
    """

    path: Path
    format: FormatName
    run: RunDirectory
    member: str | None
    averaged: tuple[str, ...]
    weights: UsedWeights
    inputs: Mapping[str, ExportedInput]
    outputs: Mapping[str, ExportedOutput]
    named_inputs: bool
    named_outputs: bool
    rows: int
    rows_from: str
    difference: float
    beside: Path | None = None
    unanswered: int = 0
    intervals: FileIntervals | None = None


def export_run(
    run: RunDirectory,
    path: Path,
    format_: FormatName,
    access: Access = DEFAULT_ACCESS,
    *,
    float64: bool = False,
) -> Exported:
    """Write one of a run's networks, or of an ensemble the average of all, to a file.

    The file appears once it was read again and its predictions agree with the run's, and not before.

    Args:
        run: the run's folder.
        path: the file.
        format_: its kind.
        access: which of several networks, with which weights, and where the data lie. Nothing is downloaded.
        float64: whether a program takes rows of float64 instead of float32.

    Raises:
        UsageError: the run has several networks and none was named, a package is missing, a program cannot
            contain the preprocessing, a script's name is a keyword or hides a module, or a file that nnrun
            did not write has the name of the arrays beside it.
        NnrunError: the predictions differ.
    """
    if format_ == "onnx":
        require_onnx()
    if format_ not in FORMATS:
        refuse_foreign_arrays(path.with_suffix(ARRAYS))
    export, used, intervals = _content(run, format_, access, float64=float64)
    labels = load_labels(run)
    decoders = output_decoders(export.spec, export.networks[0].fitted, labels)
    file = FORMATS.get(format_) or _script(run, export, decoders, labels, path)
    is_program = isinstance(file, Format) and file.program
    if is_program:
        _refuse_what_no_program_holds(export)
    if format_ == "onnx":
        several = len(export.networks) > 1
        of = f"the average of {len(export.networks)} networks" if several else "the network"
        access.listener.message(f"writing {of} as ONNX")
    compared = _write_and_compare(run, export, file, path, access.data_dir)
    return Exported(
        path=path,
        format=format_,
        run=run,
        member=export.metadata.get("member"),
        averaged=tuple(json.loads(export.metadata.get("members", "[]"))),
        weights=used,
        inputs=_exported_inputs(export, program=is_program),
        outputs=_exported_outputs(export, decoders),
        named_inputs=export.named_inputs,
        named_outputs=bool(export.spec.outputs),
        rows=compared.rows,
        rows_from=compared.rows_from,
        difference=compared.difference,
        beside=path.with_suffix(ARRAYS) if isinstance(file, _Script) else None,
        unanswered=compared.unanswered,
        intervals=intervals,
    )


def _content(
    run: RunDirectory, format_: FormatName, access: Access, *, float64: bool
) -> tuple[Export, UsedWeights, FileIntervals | None]:
    """What goes into the file, of which epochs its weights are, and what it says of intervals.

    A script has no metadata, and no intervals in it.
    """
    networks, used = _networks(run, access)
    spec = decided_spec(run, load_spec_of_networks(run, access.data_dir), used, access.listener.message)
    metadata = _metadata(run, networks, used, dump_spec(without_folders(spec)))
    export = Export(spec, networks, metadata, float64, by_columns=format_ == "onnx")
    intervals = file_intervals(run, spec, access, export.output_names) if format_ in FORMATS else None
    if intervals is not None:
        metadata |= metadata_of(intervals=intervals.as_document())
    return export, used, intervals


def _refuse_what_no_program_holds(export: Export) -> None:
    """Raise UsageError where a program cannot contain the preprocessing, before anything is computed."""
    for each in export.inputs.values():
        each.refuse_steps_without_program()
    export.columns  # noqa: B018  # building them refuses, too


@dataclass(frozen=True, eq=False)
class _Script:
    """A script that is not yet written: the model, the script's text, and the .npz file beside it."""

    model: Model
    text: str
    arrays: bytes


def _script(
    run: RunDirectory, export: Export, decoders: Mapping[Port, OutputDecoder], labels: Labels, path: Path
) -> _Script:
    spec, networks = export.spec, export.networks
    model = Model(run.id, spec, networks, decoders, labels.file_columns, labels.feature_names)
    text, arrays = script_of(model, path.stem)
    refuse_taken_name(path, text)
    return _Script(model, text, arrays)


@dataclass(frozen=True)
class _Compared:
    """How a file that was written compares with the run; the attributes are those of `Exported`."""

    rows: int
    rows_from: str
    difference: float
    unanswered: int


def _write_and_compare(
    run: RunDirectory, export: Export, file: Format | _Script, path: Path, data_dir: Path | None
) -> _Compared:
    """Write a file that says of some rows what the run says."""
    networks = export.networks
    fitted = [each.fitted for each in networks]
    inputs, rows_from = _rows_to_compare(run, export.spec, fitted, data_dir)
    own = predictions_of(export.spec, [(each.fitted, each.weights) for each in networks], inputs)
    if isinstance(file, _Script):
        difference, unanswered = _compare_and_write_script(file, path, inputs, own), 0
    else:
        difference, unanswered = _write_and_ask(export, file, path, inputs, own)
    return _Compared(len(next(iter(own.values()))) - unanswered, rows_from, difference, unanswered)


def _compare_and_write_script(
    script: _Script, path: Path, inputs: Mapping[Port, RawInputs], own: Mapping[Port, Array]
) -> float:
    """Run the script on the inputs, and write it and its arrays where it agrees; the largest difference."""
    found = ask_script(script.text, script.arrays, path.stem, script.model, inputs)
    spec = script.model.spec
    difference = max(_difference(own[port], found[port], path, _of(spec, port), False) for port in own)
    replace_file(path.with_suffix(ARRAYS), lambda temporary: temporary.write_bytes(script.arrays))
    replace_file(path, lambda temporary: temporary.write_text(script.text, encoding="utf-8"))
    return difference


def _of(spec: schema.ExperimentSpec, port: Port) -> str:
    """Of which output predictions are, where it has a name."""
    return f" for {quoted(port)}" if spec.outputs else ""


def _exported_outputs(export: Export, decoders: Mapping[Port, OutputDecoder]) -> dict[str, ExportedOutput]:
    outputs, views = export.networks[0].fitted.outputs, output_views(export.spec)
    return {
        export.output_names[port]: ExportedOutput(
            outputs[port].n_outputs, decoder, calibration_in_words(views[port])
        )
        for port, decoder in decoders.items()
    }


def _exported_inputs(export: Export, *, program: bool) -> dict[str, ExportedInput]:
    if export.columns is None:
        return {name: _exported(each, program=program) for name, each in export.inputs.items()}
    number = "float64" if export.float64 else "float32"
    return {
        name: ExportedInput(1, (1,), number if is_number else "string", "column", (name,))
        for name, is_number in export.columns.names.items()
    }


def _exported(taken: ProgramInput, *, program: bool) -> ExportedInput:
    return ExportedInput(
        features=math.prod(taken.row_shape),
        row_shape=taken.row_shape,
        dtype=str(taken.dtype).removeprefix("torch.") if program else None,
        rows_of=taken.rows_of,
        columns=taken.columns,
    )


def _metadata(
    run: RunDirectory, networks: Sequence[TrainedNetwork], used: UsedWeights, spec: str
) -> dict[str, str]:
    """What a file says of itself: enough to prepare rows and to understand predictions.

    The text of the spec has the calibration and the threshold that were fitted in it.
    Of several networks `members` has their names, and `preprocessing` that of each by its name.
    """
    folders = [network.member.folder for network in networks if network.member is not None]
    fitted: dict[str, Any] = networks[0].fitted.to_json()
    if len(networks) > 1:
        fitted = {name: network.fitted.to_json() for name, network in zip(folders, networks, strict=True)}
    return metadata_of(
        format="nnrun",
        nnrun=__version__,
        run=run.id,
        member=folders[0] if len(networks) == 1 and folders else None,
        members=folders if len(networks) > 1 else None,
        weights=used.as_document(),
        spec=spec,
        preprocessing=fitted,
        labels=load_labels(run).to_json(),
        vocabulary=run.read_vocabulary(),
    )


def _networks(run: RunDirectory, access: Access) -> tuple[tuple[TrainedNetwork, ...], UsedWeights]:
    """The network that goes into a file; of an ensemble, unless a member is named, all."""
    networks, used = choose_networks(run, access.member, access.weights)
    if len(networks) > 1 and run.read_record().ensemble is None:
        members = [n.member for n in networks if n.member is not None]
        names = listing([member.folder for member in members])
        raise UsageError(
            f"{run.id} has {len(networks)} networks, and a file holds one: choose with --member {names}. "
            f"Or make their average one model: nnrun final {run.word} --members {members[0].type}s."
        )
    return networks, used


def _write_and_ask(
    export: Export, kind: Format, path: Path, inputs: Mapping[Port, RawInputs], own: Mapping[Port, Array]
) -> tuple[float, int]:
    """Write the file and ask it about the inputs.

    Returns:
        the largest difference from the run's own predictions, and how many rows were left out.
    """
    differences: list[float] = []
    unanswered = 0
    raw = [each for each in export.inputs.values() if each.rows_of == "features"]
    narrow = kind.program and any(each.dtype == torch.float32 for each in raw)

    def write(temporary: Path) -> None:
        kind.write(export, temporary)
        nonlocal unanswered
        found = kind.ask(export, temporary, inputs)
        left_out = _unanswered(export, inputs, found) if export.columns is not None else None
        unanswered = 0 if left_out is None else int(left_out.sum())
        for port, values in own.items():
            view = output_views(export.spec)[port]
            stepped = kind.program and isinstance(view.calibrate, schema.Isotonic)
            differences.append(
                _difference(values, found[port], path, _of(export.spec, port), narrow, stepped, left_out)
            )

    replace_file(path, write)
    return max(differences), unanswered


def _unanswered(export: Export, inputs: Mapping[Port, RawInputs], found: Mapping[Port, Array]) -> Array:
    """(N,) bool: rows for which a program gives NaN, and may, as it is stated. Other NaN is a difference."""
    assert export.columns is not None, "it takes columns"
    may = np.zeros(max(map(len, found.values())), bool)
    for table in inputs.values():
        assert isinstance(table, Table), "a table has columns"
        may |= export.columns.may_be_unanswered(table)
    is_nan = [np.isnan(values).reshape(len(values), -1).all(axis=1) for values in found.values()]
    left_out: Array = may & np.any(is_nan, axis=0)
    return left_out


def _difference(
    own: Array,
    found: Array,
    path: Path,
    of: str,
    narrow: bool,
    stepped: bool = False,
    left_out: Array | None = None,
) -> float:
    """The largest difference; NnrunError where it is too large.

    Args:
        own: the run's predictions.
        found: the file's.
        path: the file.
        of: of which output they are, where it has a name.
        narrow: whether it is a program that takes raw features as float32.
        stepped: whether it is one with a curve from logits to probabilities, which may be steep.
        left_out: (N,) bool: rows that are not compared.
    """
    if found.shape != own.shape:
        raise NnrunError(
            f"{path} was not kept: when read back, it gives predictions{of} of shape {found.shape}, not "
            f"{own.shape}."
        )
    if left_out is not None:
        own, found = own[~left_out], found[~left_out]
    differences = np.abs(found.astype(np.float64) - own)
    largest = float(differences.max(initial=0.0))
    # Written so that NaN is too large as well.
    if not (differences <= TOLERANCE * np.maximum(1.0, np.abs(own))).all():
        advice = " Features that vary little around a large value need --float64." if narrow else ""
        if stepped:
            advice += (
                " The isotonic calibration has steps so steep that rounding logits to float32 matters; "
                "calibrate: platt is smooth, and --format safetensors holds the curve."
            )
        raise NnrunError(
            f"{path} was not kept: when read back, its predictions{of} differ from the run's by up to "
            f"{largest:.3g}; "
            f"the tolerance is {TOLERANCE:g}, relative to predictions larger than 1.{advice}"
        )
    return largest


def _rows_to_compare(
    run: RunDirectory,
    spec: schema.ExperimentSpec,
    networks: Sequence[FittedPreprocessing],
    data_dir: Path | None,
) -> tuple[Mapping[Port, RawInputs], str]:
    """Some training rows where the data are here, else generated rows of their shape."""
    fitted = networks[0]
    numbers = sum(each.width for own in networks for each in own.inputs.values())
    rows = max(2, min(_MOST_ROWS, _MOST_NUMBERS // numbers))
    record = run.read_record()
    try:
        if record.smoke or is_at_hand(spec.dataset, data_dir):
            dataset = load_data(spec, data_dir=data_dir, smoke=record.smoke)
            refuse_changed_data(dataset, record.data_hashes, run.id)
            chosen = dataset.train.take(np.arange(min(rows, len(dataset.train))))
            inputs = chosen.by_input(fitted.inputs)
            for own in networks:
                for port, each in own.inputs.items():
                    each.transform(inputs[port])
            return inputs, "training"
    except DataError:
        pass  # other rows show the same
    return generated_inputs(fitted.inputs, rows), "generated"


def generated_inputs(inputs: Mapping[Port, FittedInputs], rows: int) -> Mapping[Port, RawInputs]:
    """Random rows for each input. A column that several inputs take has the same values in all of them."""
    known: dict[str, Column] = {}
    return {port: generated_rows(each, rows, known) for port, each in inputs.items()}


def generated_rows(fitted: FittedInputs, rows: int, known: dict[str, Column] | None = None) -> RawInputs:
    """Random rows that an input's preprocessing takes: about where its training rows were.

    Args:
        fitted: the preprocessing.
        rows: how many.
        known: columns of a table by name, where other inputs have them already; is given the others.
    """
    rng = np.random.default_rng(0)
    if fitted.table is not None:
        columns = fitted.table.columns
        if fitted.of_table:
            known = {} if known is None else known
            for column in columns:
                if column.name not in known:
                    known[column.name] = _generated_column(column, rng, rows)
            return Table(tuple(known[column.name] for column in columns), rows)
        values = rows * (fitted.n_features or 1) // len(columns)  # more where rows have more axes
        table = Table(tuple(_generated_column(column, rng, values) for column in columns), values)
        x_NC: Array = np.stack([c.values for c in table.columns if isinstance(c, NumberColumn)], axis=1)
        return x_NC.reshape(rows, *(fitted.raw_shape or ()))
    lengths = rng.integers(1, 200, rows)
    return TokenRows.from_lists([rng.integers(0, fitted.tokens or 1, n).tolist() for n in lengths])


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
