"""Out-of-fold predictions: each training row predicted by the networks that were validated on it.

None of them was trained on the row, so calibration, intervals, thresholds and the search for wrong labels can
start from these. `out_of_fold` gives them as arrays, of a finished run; a run of folds or seeds keeps them as
text (`RunDirectory.write_out_of_fold`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from nnrun.data.dataset import Array, Flags
from nnrun.data.row_places import RowPlaces
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.output_decoder import OutputDecoder, output_decoders
from nnrun.experiment.predicting.outputs import finite_rows
from nnrun.experiment.predicting.prediction_table import CsvLines, PredictedRows, PredictionTable
from nnrun.model.network import network_of
from nnrun.records import MOST_OUT_OF_FOLD, OUT_OF_FOLD, RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, told_of
from nnrun.spec.wording import quoted

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """M predictions, ordered by row, then by network. With k folds every training row has one.

    With r repeats of k-fold, and with r seeds that validate on the same rows, a row has r; of a holdout and
    of a time series only the validated rows are there.

    Attributes:
        opened: the run, its networks and its data.
        decoders: what each output means: kind, names of the classes.
        rows: (M,) the number of each row among the training rows, from 0.
        places: (M,) where each stands in its file or folder: `places.file_rows` of tables, `places.files` of
            folders. None of arrays, where `rows` are the rows of the array.
        members: (M,) the fold or the seed whose network predicts it; 0 for the network of a holdout.
        outputs: of each output (M, K) float64: probabilities after a sigmoid or softmax, numbers in the
            target's own units; or logits, where these were asked for. Of T steps (M, T, K).
        targets: of each output, as the data set has them, (M,) or (M, K). Classes are numbers from 0.
        present: (M,) whether the row has a target, of each output that some rows have none for.
    """

    opened: OpenRun
    decoders: Mapping[Port, OutputDecoder]
    rows: Array
    places: RowPlaces | None
    members: Array
    outputs: Mapping[Port, Array]
    targets: Mapping[Port, Array]
    present: Mapping[Port, Flags]

    @property
    def chosen_on_these_rows(self) -> bool:
        """Whether these rows chose the epochs of the weights: what is measured on them is then optimistic."""
        return self.opened.weights.chosen_on_validation


def out_of_fold(run: RunDirectory, access: Access = DEFAULT_ACCESS, *, logits: bool = False) -> OutOfFold:
    """The out-of-fold outputs of a finished run, by the weights that `access` names (default: the last).

    Args:
        run: the run; of one network its validation rows.
        access: how it is opened; with `member` only the rows that this fold or seed was validated on.
        logits: give what the last activation takes, where that is a sigmoid or softmax.

    Raises:
        UsageError: the run has not completed, or has no validation rows.
        DataError: its files or data are missing, damaged or changed; or outputs are not finite numbers.
    """
    refuse_unfinished(run)
    return predict_out_of_fold(open_run(run, access), logits=logits)


def refuse_unfinished(run: RunDirectory) -> None:
    """Raise UsageError unless the run has completed."""
    status = run.read_record().status
    if status != "completed":
        raise UsageError(
            f"{run.id} has no out-of-fold predictions: its status is {status}, and its networks have not "
            "been trained to their end. Resume it (nnrun train --resume), or name another run."
        )


def predict_out_of_fold(opened: OpenRun, *, logits: bool = False) -> OutOfFold:
    """The same of a run that is open."""
    spec, run = opened.spec, opened.run
    if isinstance(spec.validation, schema.NoValidation):
        raise UsageError(
            f"{run.id} was trained on all training rows: it has no validation rows, which its networks did "
            "not train on."
        )
    samples, networks = opened.dataset.train, opened.networks
    own = [opened.fold_of(network).validation_rows for network in networks]
    each = [
        opened.by_output(network, samples.take(rows), logits=logits)
        for network, rows in zip(networks, own, strict=True)
    ]
    ids = [0 if network.member is None else network.member.id for network in networks]
    rows, members = np.concatenate(own), np.repeat(ids, [len(of) for of in own])
    order = np.lexsort((members, rows))
    rows, members = rows[order], members[order]
    decoders = output_decoders(spec, networks[0].fitted, load_labels(run))
    outputs = {port: np.concatenate([of[port] for of in each])[order] for port in decoders}
    for port, found in outputs.items():
        with told_of(spec, port):
            _refuse_what_is_not_finite(rows, found)
    parts = {port: samples.output(port) for port in decoders}
    return OutOfFold(
        opened=opened,
        decoders=decoders,
        rows=rows,
        places=None if samples.places is None else samples.places.take(rows),
        members=members,
        outputs=outputs,
        targets={port: part.targets[rows] for port, part in parts.items()},
        present={port: part.present[rows] for port, part in parts.items() if part.present is not None},
    )


def keep_out_of_fold(opened: OpenRun) -> str | None:
    """Keep a run's predictions as text, as `predict --split validation --probabilities` writes
    those of each network.

    Of several outputs, of steps and of sequences, too; no row twice, but for repeats and seeds.

    Args:
        opened: a run of folds or seeds with validation rows, by the weights that training ended with.

    Returns:
        Why there is none, as a sentence; None where it was written.
    """
    run, kind = opened.run, opened.member_type
    assert kind is not None, "of a run of one network predict gives the validation rows"
    instead = f"nnrun predict {run.id} --split validation writes the predictions."
    numbers = _outputs_of_all(opened)
    if numbers > MOST_OUT_OF_FOLD:
        return (
            f"{OUT_OF_FOLD} was left out: its rows have {numbers:,} outputs, and more than "
            f"{MOST_OUT_OF_FOLD:,} are not kept with a run. {instead}"
        )
    try:
        found = predict_out_of_fold(opened)
    except DataError as error:  # the run is complete without it
        return f"{OUT_OF_FOLD} was left out. {error}"
    table = PredictionTable(
        found.decoders,
        probabilities=True,
        targets=True,
        beside=(kind,),
        places=opened.dataset.train.places,
    )
    if (twice := table.name_of_two) is not None:
        return f"{OUT_OF_FOLD} was left out: two of its columns would be called {quoted(twice)}. {instead}"

    def write(path: Path) -> None:
        lines = CsvLines(table)
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(lines.header())
            for members, block in _blocks(found):
                file.write(lines.lines(block, [map(str, members)]))

    run.write_out_of_fold(write)
    return None


def _outputs_of_all(opened: OpenRun) -> int:
    """How many numbers the networks give for the rows that they were validated on."""
    layers = network_of(opened.spec, opened.networks[0].fitted.inputs).output_layers
    of_row = sum(prod(layer.output_shape) for layer in layers.values())
    return of_row * sum(len(opened.fold_of(network).validation_rows) for network in opened.networks)


def _blocks(found: OutOfFold) -> Iterator[tuple[list[int], PredictedRows]]:
    """The predictions, some thousand at a time: the folds or seeds, and what their networks say."""
    for first in range(0, len(found.rows), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        rows = found.rows[part].tolist()
        present = {port: flags[part] for port, flags in found.present.items()}
        yield (
            found.members[part].tolist(),
            {
                port: decoder.predictions(
                    rows, found.outputs[port][part], found.targets[port][part], present=present.get(port)
                )
                for port, decoder in found.decoders.items()
            },
        )


def _refuse_what_is_not_finite(rows: Array, outputs: Array) -> None:
    bad = np.flatnonzero(~finite_rows(outputs))
    if len(bad):
        raise DataError(
            f"The outputs for {len(bad):,} of {len(rows):,} validation rows are not finite numbers (the "
            f"first: row {rows[bad[0]]}). They are far outside of what the network was trained on, or it "
            "diverged."
        )
