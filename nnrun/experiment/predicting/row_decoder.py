"""What makes the inputs of a run's networks of new rows, as files and values in memory have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nnrun.data.labels import Labels
from nnrun.data.new_rows.input_batches import RowDecoder
from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.several_inputs import ArrayDecoder, SeveralInputsDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.data.preprocess import FittedInputs
from nnrun.data.vocabulary import Vocabulary
from nnrun.errors import DataError
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.finished.saved_labels import load_vocabulary
from nnrun.experiment.running.listener import Listener
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, array_of, inputs_are_told


def make_row_decoder(
    run: RunDirectory,
    spec: schema.ExperimentSpec,
    networks: Sequence[TrainedNetwork],
    labels: Labels,
    data_dir: Path | None,
    listener: Listener,
) -> RowDecoder:
    """The decoder of a run's new rows: by columns where it was trained on a table, else by arrays or tokens.

    Args:
        run: its folder.
        spec: its spec.
        networks: those that are asked.
        labels: what its data set calls its columns.
        data_dir: where a word index is looked for, where the run kept no vocabulary.
        listener: is told what is ignored of the rows.
    """
    fitted = networks[0].fitted.inputs
    if all(inputs.of_table for inputs in fitted.values()):
        tables = {port: inputs.table for port, inputs in fitted.items() if inputs.table is not None}
        return NamedColumnDecoder.of_run(
            tables, spec.dataset, labels.file_columns, listener.message, named=inputs_are_told(spec)
        )

    def of_input(port: Port) -> ArrayDecoder:
        array = array_of(spec, port)
        if fitted[port].n_features is None:
            width = max(network.fitted.inputs[port].tokens or 0 for network in networks)
            return _token_decoder(run, spec.dataset, array, width, data_dir, listener)
        return _positional_decoder(fitted[port], array, labels, listener)

    decoders = {port: of_input(port) for port in fitted}
    if len(decoders) > 1:
        return SeveralInputsDecoder(decoders, listener.message)
    return next(iter(decoders.values()))


def _positional_decoder(
    fitted: FittedInputs, array: str, labels: Labels, listener: Listener
) -> PositionalDecoder:
    names, features = labels.feature_names, fitted.n_features
    assert features is not None, "token rows have a decoder of their own"
    known = names if names is not None and len(names) == features else None
    return PositionalDecoder(fitted.raw_shape or (features,), known, listener.message, array)


def _token_decoder(
    run: RunDirectory,
    declared: schema.Component,
    array: str,
    width: int,
    data_dir: Path | None,
    listener: Listener,
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
        return TokenDecoder(vocabulary, True, declared.num_words, declared.skip_top, listener.message, array)
    return TokenDecoder(vocabulary, False, on_message=listener.message, array=array)
