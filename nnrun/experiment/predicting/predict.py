"""A run's networks, asked about new rows. Needs only the run, no data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.data.dataset import Array, RawInputs, RowsByInput
from nnrun.data.files.images import IMAGE_SUFFIXES
from nnrun.data.files.open_file import is_row_file
from nnrun.data.frames import refuse_unusable
from nnrun.data.new_rows.image_rows import image_batches, image_files, mode_of
from nnrun.data.new_rows.input_batches import BadRow, InputBatch, RowDecoder, input_batches
from nnrun.data.new_rows.row_source import RowSource, text_files
from nnrun.data.preprocess.unknown_values import UnknownCounts, tables_of
from nnrun.data.row_places import RowPlaces
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.decisions import decided_spec
from nnrun.experiment.finished.load_run import (
    DEFAULT_ACCESS,
    Access,
    TrainedNetwork,
    choose_networks,
    load_spec_of_networks,
)
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.intervals import Calibrated, calibrate_run
from nnrun.experiment.predicting.output_decoder import OutputDecoder, output_decoders, refuse_without_spread
from nnrun.experiment.predicting.outputs import (
    Average,
    OutputsFunction,
    average,
    finite_rows,
    in_own_units,
    members_function,
    number_of_members,
    outputs_function,
)
from nnrun.experiment.predicting.prediction_table import PredictedRows, PredictionTable
from nnrun.experiment.predicting.row_decoder import make_row_decoder
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, inputs_are_told
from nnrun.spec.wording import counted, listing, quoted
from nnrun.training.device import device_unless_cpu

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a run, loaded to predict new rows.

    Attributes:
        run: its folder.
        spec: its spec.
        networks: those that are asked; what they say is averaged.
        functions: the outputs of each.
        output_decoders: what each output means.
        decoder: makes their inputs of rows as they are written.
        weights: of which epochs they are.
        spread: whether the standard deviation over the networks and their members is asked for.
        of_members: then, where each network is an ensemble, the outputs of its members; else none.
        calibrated: what intervals and sets come from, where they are asked for.
    """

    run: RunDirectory
    spec: schema.ExperimentSpec
    networks: tuple[TrainedNetwork, ...]
    functions: tuple[OutputsFunction, ...]
    output_decoders: Mapping[Port, OutputDecoder]
    decoder: RowDecoder
    weights: UsedWeights
    spread: bool = False
    of_members: tuple[OutputsFunction, ...] = ()
    calibrated: Calibrated | None = None

    @property
    def output_decoder(self) -> OutputDecoder:
        """What the only output means."""
        (only,) = self.output_decoders.values()
        return only

    @property
    def delimiter(self) -> str | None:
        """Between the fields of the CSV that they were trained on, where the spec says it."""
        return self.spec.dataset.delimiter if isinstance(self.spec.dataset, schema.Csv) else None

    def layout(self, *, probabilities: bool, places: RowPlaces | None = None) -> PredictionTable:
        """How its predictions are written; with `places`, beside the file of each row."""
        intervals = () if self.calibrated is None else self.calibrated.of_outputs
        return PredictionTable(
            self.output_decoders,
            probabilities=probabilities,
            spread=self.spread,
            intervals=tuple(intervals),
            places=places,
        )

    def by_input(self, inputs: RawInputs | RowsByInput) -> Mapping[Port, RawInputs]:
        """What each input takes of some rows. A table has the columns of all inputs, found by their names."""
        if isinstance(inputs, RowsByInput):
            return inputs.of_inputs
        return dict.fromkeys(self.networks[0].fitted.inputs, inputs)

    def by_output(self, inputs: RawInputs | RowsByInput) -> dict[Port, Array]:
        """(N, K) float64 of each output: the mean of the networks, numbers in the target's own units."""
        return {port: found.mean for port, found in self.averages(inputs).items()}

    def averages(self, inputs: RawInputs | RowsByInput) -> dict[Port, Average]:
        """The same with the standard deviation over the networks and the intervals that are asked for."""
        rows = self.by_input(inputs)
        each = [
            in_own_units(network.fitted, function(rows))
            for network, function in zip(self.networks, self.functions, strict=True)
        ]
        of_members = [
            in_own_units(network.fitted, function(rows))
            for network, function in zip(self.networks, self.of_members, strict=False)
        ]
        found = {}
        calibrations = {} if self.calibrated is None else self.calibrated.of_outputs
        for port in each[0]:
            networks = [own[port] for own in each]
            members = [outputs for own in of_members for outputs in own[port]] or networks
            found[port] = average(networks, members if self.spread else None)
            if port in calibrations:
                region = calibrations[port].regions(np.stack(networks))
                found[port] = replace(found[port], region=region)
        return found

    def outputs(self, inputs: RawInputs | RowsByInput) -> Array:
        """Those of the only output."""
        (only,) = self.by_output(inputs).values()
        return only

    def problems(self, inputs: RawInputs | RowsByInput) -> dict[int, str]:
        """Which rows some network cannot take, and why: the end of a sentence that begins with the row."""
        found: dict[int, str] = {}
        for port, rows in self.by_input(inputs).items():
            of_input = f"of the input {quoted(port)} " if inputs_are_told(self.spec) else ""
            for network in self.networks:
                for row, reason in network.fitted.inputs[port].problems(rows).items():
                    found.setdefault(row, f"{of_input}{reason}")
        return found


def load_predictor(
    run: RunDirectory,
    access: Access = DEFAULT_ACCESS,
    *,
    spread: bool = False,
    interval: float | None = None,
) -> Predictor:
    """The networks that a run kept.

    Args:
        run: its folder.
        access: how it is opened. `data_dir` is for a word index, where the run kept no vocabulary; the
            listener hears which weights are used, whether networks are averaged, what is ignored of the rows.
        spread: whether the standard deviation over the networks and their members is asked for.
        interval: the share of rows that intervals, or sets of classes, are to cover, which need the data.

    Raises:
        UsageError: there is no such network or device; or a spread or an interval is asked for, and there is
            none.
        DataError: the run's files are missing or damaged.
    """
    device, listener = device_unless_cpu(access.device), access.listener
    spec = load_spec_of_networks(run)
    networks, used = choose_networks(run, access.member, access.weights)
    listener.message(used.sentence)
    spec = decided_spec(run, spec, used, listener.message)
    if len(networks) > 1:
        assert networks[0].member is not None, "several networks have names"
        kind = networks[0].member.type
        listener.message(
            f"the mean of the outputs of {len(networks)} {kind}s (--member {kind}-N for a single one)"
        )
    labels, members = load_labels(run), number_of_members(spec)
    decoders = output_decoders(spec, networks[0].fitted, labels)
    if spread:
        refuse_without_spread(run.id, decoders, len(networks) * members)
    for port, decoder in decoders.items():
        if spec.outputs and port not in labels.of_outputs and decoder.kind != "numbers":
            listener.message(
                f"{run.id} kept no names for the classes of {quoted(port)}, as an earlier nnrun did not: "
                "they are called by their numbers, from 0"
            )
    return Predictor(
        run,
        spec,
        networks,
        tuple(outputs_function(spec, n.fitted, n.weights, device) for n in networks),
        decoders,
        make_row_decoder(run, spec, networks, labels, access.data_dir, listener),
        used,
        spread,
        tuple(
            members_function(spec, n.fitted, n.weights, device) for n in networks if spread and members > 1
        ),
        None if interval is None else calibrate_run(run, access, interval),
    )


def unknown_counts(predictor: Predictor) -> UnknownCounts:
    """An empty count of values in predicted rows that the training rows did not contain."""
    tables = tables_of([network.fitted for network in predictor.networks])
    return UnknownCounts(tables, named=inputs_are_told(predictor.spec))


def predict_source(
    predictor: Predictor,
    source: RowSource,
    *,
    skip_bad: bool = False,
    unknown: UnknownCounts | None = None,
    listener: Listener = SILENT,
) -> Iterator[PredictedRows]:
    """Predictions block by block, as rows come; memory does not grow with their number.

    Args:
        predictor: the networks.
        source: the rows.
        skip_bad: skip bad rows and report each, instead of stopping at the first.
        unknown: counts what the rows hold that training never saw.
        listener: receives a message for each row left out, and at the end for values unseen in training.

    Raises:
        DataError: the source cannot be read; or a row is bad: says which, and what is wrong with it.
    """
    unknown = unknown_counts(predictor) if unknown is None else unknown
    source = replace(list_files(predictor, source, listener), delimiter=predictor.delimiter)
    for batch in _batches_of(predictor, source):
        predicted, bad = _predicted(predictor, batch)
        if bad and not skip_bad:
            raise DataError(f"{source.name}: {bad[0]}. --skip-bad skips such rows.")
        for row in bad:
            listener.message(f"{source.name}: {row}; skipped")
        unknown.add(predictor.by_input(batch.inputs))
        yield predicted
    for found in unknown.found:
        listener.message(f"{source.name}: {found}")


def list_files(predictor: Predictor, source: RowSource, listener: Listener = SILENT) -> RowSource:
    """A folder, or an image, with the files that are its rows: images where the network takes such rows.

    Any other source, and one whose files are listed already, is returned as it is.

    Args:
        predictor: the networks.
        source: the rows.
        listener: receives a message on which files are rows.

    Raises:
        DataError: the folder cannot be read.
    """
    if source.kind not in ("image", "folder") or source.files is not None:
        return source
    shape = _image_shape(predictor)
    if shape is not None:
        files, others = image_files(source)
        if files:
            left_out = f"; {counted(others, 'file')} of other kinds left out" if others else ""
            images = f"{counted(len(files), 'image')}, in the order of their paths, "
            of_folder = images if source.kind == "folder" else ""
            resized = f"resized to {shape[0]} by {shape[1]} pixels ({mode_of(shape)})"
            listener.message(f"{source.name}: {of_folder}{resized}{left_out}")
            return replace(source, files=files)
    if source.kind == "image":
        return source
    listener.message(f"{source.name}: a row for each file, in the order of their paths")
    return replace(source, files=text_files(source))


def _image_shape(predictor: Predictor) -> tuple[int, ...] | None:
    """(H, W) or (H, W, 3) of the rows, where the only input of the networks takes images."""
    shapes = [inputs.raw_shape or () for inputs in predictor.networks[0].fitted.inputs.values()]
    return shapes[0] if len(shapes) == 1 and mode_of(shapes[0]) is not None else None


def _batches_of(predictor: Predictor, source: RowSource) -> Iterator[InputBatch]:
    """The rows of a source; images resized to what the network takes, where it takes such rows."""
    inputs = predictor.networks[0].fitted.inputs.values()
    if source.kind == "image" and len(inputs) > 1 and any(mode_of(i.raw_shape or ()) for i in inputs):
        predictor.decoder.refuse_texts(source.name)  # it takes images, but not from such a file
    shape = _image_shape(predictor)
    if shape is not None and source.files and is_row_file(source.files[0], IMAGE_SUFFIXES):
        yield from image_batches(source, shape)
    else:
        yield from input_batches(source, predictor.decoder)


def predict_values(predictor: Predictor, inputs: Any, *, probabilities: bool = True) -> pd.DataFrame:
    """Predictions of values in memory: one row for each, with the columns that `nnrun predict` writes.

    Args:
        predictor: the networks.
        inputs: an array (N, F), a data frame, or a list of rows; for words a list of texts or of token lists;
            where inputs that are arrays have names, a dict with the rows of each.
        probabilities: whether the probability of every class has a column, if classes are predicted.

    Raises:
        UsageError: two columns would have one name, or the inputs lack one that the network takes.
        DataError: a row is bad: says which, and what is wrong with it.
    """
    table = predictor.layout(probabilities=probabilities)
    table.refuse_one_name_twice()
    return table.frame(predict_blocks(predictor, inputs, stacklevel=4))


def predict_blocks(predictor: Predictor, inputs: Any, *, stacklevel: int = 3) -> list[PredictedRows]:
    """Predictions of values in memory, block by block; arguments and errors as of `predict_values`.

    What the values hold that training never saw is warned of, at `stacklevel` as `warnings.warn` takes it.
    """
    if isinstance(inputs, (str, bytes, os.PathLike)):
        raise UsageError(
            "The inputs are one text; they must be rows: a data frame, an array, or a list (of texts, where "
            "a row is a text). To predict the rows of a file, give pandas.read_csv(FILE), or use the command "
            "nnrun predict RUN FILE."
        )
    refuse_unusable(inputs)
    unknown = unknown_counts(predictor)
    blocks = []
    for batch in predictor.decoder.of_python(_of_only_input(predictor, inputs)):
        predicted, bad = _predicted(predictor, batch)
        if bad:
            raise DataError(f"The inputs' {bad[0]}.")
        unknown.add(predictor.by_input(batch.inputs))
        blocks.append(predicted)
    for found in unknown.found:
        warnings.warn(f"The inputs' {found}", stacklevel=stacklevel)
    return blocks


def _of_only_input(predictor: Predictor, inputs: Any) -> Any:
    """What a dict has for the only input, where that has a name and takes an array; else what is given."""
    names = list(predictor.spec.inputs)
    of_table = all(own.of_table for own in predictor.networks[0].fitted.inputs.values())
    if len(names) != 1 or of_table or not isinstance(inputs, Mapping):
        return inputs
    if names[0] not in inputs:
        found = listing([quoted(str(name)) for name in inputs], "and") or "nothing"
        raise UsageError(f"The inputs lack {quoted(names[0])}, which the network takes; found: {found}.")
    return inputs[names[0]]


def _predicted(predictor: Predictor, batch: InputBatch) -> tuple[PredictedRows, list[BadRow]]:
    """The predictions of the good rows of a batch, and all bad ones."""
    rows, outputs, bad = outputs_of(predictor, batch)
    decoders = predictor.output_decoders
    made = {
        port: decoders[port].predictions(rows, found.mean, spread_NK=found.spread, region=found.region)
        for port, found in outputs.items()
    }
    return made, bad


def outputs_of(
    predictor: Predictor, batch: InputBatch
) -> tuple[list[int], dict[Port, Average], list[BadRow]]:
    """Numbers and outputs of the good rows of a batch, and all bad ones."""
    inputs = batch.inputs
    if not batch.bad and len(inputs):
        try:
            outputs = predictor.averages(inputs)
        except DataError:
            pass  # some row cannot be taken: below it is found out which
        else:
            if all(np.isfinite(found.mean).all() for found in outputs.values()):
                return batch.rows, outputs, []
    problems = predictor.problems(inputs)
    usable = np.ones(len(inputs), bool)
    usable[list(problems)] = False
    rows = np.array(batch.rows, np.int64)
    bad = batch.bad + [BadRow(batch.rows[i], batch.lines[i], reason) for i, reason in problems.items()]
    if problems:
        inputs = inputs[usable] if isinstance(inputs, np.ndarray) else inputs.take(np.flatnonzero(usable))
        rows = rows[usable]
    outputs = predictor.averages(inputs)
    finite = np.logical_and.reduce([finite_rows(found.mean) for found in outputs.values()])
    if not finite.all():
        without = np.zeros(len(usable), bool)
        without[np.flatnonzero(usable)[~finite]] = True
        reason = "gives outputs that are not finite numbers: the row is far outside the training data"
        bad += [BadRow(batch.rows[i], batch.lines[i], reason) for i in np.flatnonzero(without)]
    return rows[finite].tolist(), {port: found.rows(finite) for port, found in outputs.items()}, sorted(bad)
