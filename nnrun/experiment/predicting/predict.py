"""A run's networks, asked about new rows. Needs only the run, no data set."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.data.dataset import Array, RawInputs
from nnrun.data.new_rows.image_rows import image_batches, image_files, mode_of
from nnrun.data.new_rows.input_batches import BadRow, InputBatch, RowDecoder, input_batches
from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.row_source import RowSource
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.data.preprocess.unknown_values import UnknownCounts
from nnrun.data.table import Table
from nnrun.data.vocabulary import Vocabulary
from nnrun.errors import DataError
from nnrun.experiment.finished.load_run import (
    DEFAULT_ACCESS,
    Access,
    TrainedNetwork,
    choose_networks,
    load_spec_of_networks,
)
from nnrun.experiment.finished.saved_labels import load_labels, load_vocabulary
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.output_decoder import OutputDecoder, Predictions, make_output_decoder
from nnrun.experiment.predicting.outputs import OutputFunction, output_function
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.unknown_rows import tables_of
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import refuse_ports
from nnrun.spec.wording import counted
from nnrun.training.device import resolve_device

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a run, loaded to predict new rows.

    Attributes:
        run: its folder.
        networks: those that are asked; what they say is averaged.
        functions: the outputs of each.
        output_decoder: what the outputs mean.
        decoder: makes their inputs of rows as they are written.
        weights: of which epochs they are.
        delimiter: between the fields of the CSV that they were trained on, where the spec says it.
    """

    run: RunDirectory
    networks: tuple[TrainedNetwork, ...]
    functions: tuple[OutputFunction, ...]
    output_decoder: OutputDecoder
    decoder: RowDecoder
    weights: UsedWeights
    delimiter: str | None = None

    def outputs(self, inputs: RawInputs) -> Array:
        """(N, K) float64: the mean of the networks' outputs, numbers in the target's own units."""
        each = [
            network.fitted.output.in_own_units(function(inputs))
            for network, function in zip(self.networks, self.functions, strict=True)
        ]
        return np.asarray(np.mean(each, axis=0))

    def problems(self, inputs: RawInputs) -> dict[int, str]:
        """Which rows some network cannot take, and why: the end of a sentence that begins with the row."""
        found: dict[int, str] = {}
        for network in self.networks:
            for row, reason in network.fitted.input.problems(inputs).items():
                found.setdefault(row, reason)
        return found


def load_predictor(run: RunDirectory, access: Access = DEFAULT_ACCESS) -> Predictor:
    """The networks that a run kept.

    Args:
        run: its folder.
        access: how it is opened. `data_dir` is for a word index, where the run kept no vocabulary; the
            listener hears which weights are used, whether networks are averaged, what is ignored of the rows.

    Raises:
        UsageError: there is no such network or device.
        DataError: the run's files are missing or damaged.
    """
    device, listener = resolve_device(access.device), access.listener
    spec = load_spec_of_networks(run)
    refuse_ports(spec, run.id, "`nnrun predict` cannot yet read rows for")
    networks, used = choose_networks(run, access.member, access.weights)
    listener.message(used.sentence)
    if len(networks) > 1:
        assert networks[0].member is not None, "several networks have names"
        kind = networks[0].member.type
        listener.message(
            f"the mean of the outputs of {len(networks)} {kind}s (--member {kind}-N for a single one)"
        )
    labels = load_labels(run)
    fitted = networks[0].fitted
    decoder: RowDecoder
    if fitted.input.table is not None and fitted.input.of_table:
        decoder = NamedColumnDecoder.of_run(
            fitted.input.table, spec.dataset, labels.file_columns, listener.message
        )
    elif fitted.input.n_features is None:
        decoder = _token_decoder(
            run, spec.dataset, max(n.fitted.input.tokens or 0 for n in networks), access.data_dir, listener
        )
    else:
        names = labels.feature_names
        known = names if names is not None and len(names) == fitted.input.n_features else None
        decoder = PositionalDecoder(
            fitted.input.raw_shape or (fitted.input.n_features,), known, listener.message
        )
    return Predictor(
        run,
        networks,
        tuple(output_function(spec, n.fitted, n.weights, device) for n in networks),
        make_output_decoder(spec, fitted, labels),
        decoder,
        used,
        spec.dataset.delimiter if isinstance(spec.dataset, schema.Csv) else None,
    )


def unknown_counts(predictor: Predictor) -> UnknownCounts:
    """An empty count of values in predicted rows that the training rows did not contain."""
    return UnknownCounts(tables_of([network.fitted for network in predictor.networks]))


def predict_source(
    predictor: Predictor,
    source: RowSource,
    *,
    skip_bad: bool = False,
    unknown: UnknownCounts | None = None,
    listener: Listener = SILENT,
) -> Iterator[Predictions]:
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
    source = replace(source, delimiter=predictor.delimiter)
    for batch in _batches_of(predictor, source, listener):
        rows, outputs, bad = _outputs_of(predictor, batch)
        if bad and not skip_bad:
            raise DataError(f"{source.name}: {bad[0]}. --skip-bad skips such rows.")
        for row in bad:
            listener.message(f"{source.name}: {row}; skipped")
        if isinstance(batch.inputs, Table):
            unknown.add(batch.inputs)
        yield predictor.output_decoder.predictions(rows, outputs)
    for found in unknown.found:
        listener.message(f"{source.name}: {found}")


def _batches_of(predictor: Predictor, source: RowSource, listener: Listener) -> Iterator[InputBatch]:
    """The rows of a source; images resized to what the network takes, where it takes such rows."""
    shape = predictor.networks[0].fitted.input.raw_shape or ()
    mode = mode_of(shape)
    if mode is not None and source.kind in ("image", "folder") and (files := image_files(source)):
        listener.message(
            f"{source.name}: {counted(len(files), 'image')}, in the order of their paths, resized to "
            f"{shape[0]} by {shape[1]} pixels ({mode})"
        )
        yield from image_batches(source, files, shape, mode)
    else:
        yield from input_batches(source, predictor.decoder)


def predict_values(predictor: Predictor, inputs: Any) -> pd.DataFrame:
    """Predictions of values in memory: one row for each, with the columns that `nnrun predict` writes.

    Args:
        predictor: the networks.
        inputs: an array (N, F), a data frame, or a list of rows; for words a list of texts or of token lists.

    Raises:
        DataError: a row is bad: says which, and what is wrong with it.
    """
    import pandas as pd

    output_decoder, table = predictor.output_decoder, []
    unknown = unknown_counts(predictor)
    probabilities = output_decoder.kind != "numbers"
    for batch in predictor.decoder.of_python(inputs):
        rows, outputs, bad = _outputs_of(predictor, batch)
        if bad:
            raise DataError(f"The inputs' {bad[0]}.")
        if isinstance(batch.inputs, Table):
            unknown.add(batch.inputs)
        table += output_decoder.table(output_decoder.predictions(rows, outputs), probabilities=probabilities)
    for found in unknown.found:
        warnings.warn(f"The inputs' {found}", stacklevel=3)
    return pd.DataFrame(table, columns=output_decoder.columns(probabilities=probabilities)).set_index("row")


def _outputs_of(predictor: Predictor, batch: InputBatch) -> tuple[list[int], Array, list[BadRow]]:
    """Numbers and outputs of the good rows of a batch, and all bad ones."""
    inputs = batch.inputs
    if not batch.bad and len(inputs):
        try:
            outputs = predictor.outputs(inputs)
        except DataError:
            pass  # some row cannot be taken: below it is found out which
        else:
            if np.isfinite(outputs).all():
                return batch.rows, outputs, []
    problems = predictor.problems(inputs)
    usable = np.ones(len(inputs), bool)
    usable[list(problems)] = False
    rows = np.array(batch.rows, np.int64)
    bad = batch.bad + [BadRow(batch.rows[i], batch.lines[i], reason) for i, reason in problems.items()]
    if problems:
        inputs = inputs[usable] if isinstance(inputs, np.ndarray) else inputs.take(np.flatnonzero(usable))
        rows = rows[usable]
    outputs = predictor.outputs(inputs)
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.all():
        without = np.zeros(len(usable), bool)
        without[np.flatnonzero(usable)[~finite]] = True
        reason = "gives outputs that are not finite numbers: the row is far outside the training data"
        bad += [BadRow(batch.rows[i], batch.lines[i], reason) for i in np.flatnonzero(without)]
    return rows[finite].tolist(), outputs[finite], sorted(bad)


def _token_decoder(
    run: RunDirectory, declared: schema.Component, width: int, data_dir: Path | None, listener: Listener
) -> TokenDecoder:
    @cache
    def vocabulary() -> Vocabulary:
        try:
            found = load_vocabulary(run, declared, width, data_dir)
        except DataError as error:
            raise DataError(
                f"{run.id} kept no vocabulary: the words of its data set were not available when it was "
                f"trained, and texts cannot be turned into tokens without them. {error}"
            ) from None
        if found is None:
            raise DataError(
                f"{run.id} was trained on lists of tokens whose words nnrun does not know. Give lists of "
                "tokens instead of texts: as JSON lines, or in a NumPy archive."
            )
        return found

    if isinstance(declared, (schema.Imdb, schema.Reuters)):
        return TokenDecoder(vocabulary, True, declared.num_words, declared.skip_top, listener.message)
    return TokenDecoder(vocabulary, False, on_message=listener.message)
