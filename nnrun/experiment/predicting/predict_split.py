"""Predictions of a run's networks for rows of its own data set: training, validation or test rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array, Flags
from nnrun.data.labels import Labels
from nnrun.data.row_places import RowPlaces
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access, TrainedNetwork
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.intervals import (
    Calibrated,
    calibrate,
    refuse_level,
    refuse_rows_of_calibration,
)
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.output_decoder import (
    OutputDecoder,
    Predictions,
    output_decoders,
    refuse_without_spread,
)
from nnrun.experiment.predicting.outputs import (
    Combined,
    combination_text,
    combine,
    finite_rows,
    number_of_members,
    spread_over_networks,
)
from nnrun.experiment.predicting.prediction_table import PredictedRows, PredictionTable
from nnrun.records import LookCount, RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, told_of
from nnrun.spec.wording import listing

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["train", "validation", "test"]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Predictions of a data set's own rows.

    Attributes:
        opened: the run, its networks and its data set.
        output_decoders: what each output means.
        split: which rows.
        of_outputs: of each output what it gives for each row.
        targets: of these rows, of each output.
        present: (M,) which of these rows have a target, of each output that some rows have none for.
        spread: of each output the standard deviation over the networks that predict a row, where it is asked
            for.
        regions: of each output with intervals or sets these, as `Calibration.regions` gives them.
        calibrated: what they come from, where they are asked for.
        places: where the rows of the split stand in their file or folder; None of arrays.
        look: which look at this test set it was by experiments of this name; None for other rows and for a
            smoke run.
    """

    opened: OpenRun
    output_decoders: Mapping[Port, OutputDecoder]
    split: Split
    of_outputs: Mapping[Port, Combined]
    targets: Mapping[Port, Array]
    present: Mapping[Port, Flags]
    look: LookCount | None
    spread: Mapping[Port, Array] = field(default_factory=dict)
    regions: Mapping[Port, Array] = field(default_factory=dict)
    calibrated: Calibrated | None = None
    places: RowPlaces | None = None

    @property
    def run(self) -> RunDirectory:
        """The run's folder."""
        return self.opened.run

    @property
    def networks(self) -> tuple[TrainedNetwork, ...]:
        """Those that predict."""
        return self.opened.networks

    @property
    def weights(self) -> UsedWeights:
        """Of which epochs they are."""
        return self.opened.weights

    @property
    def combined(self) -> Combined:
        """What the first output gives; rows, and how networks are combined, are those of all outputs."""
        return next(iter(self.of_outputs.values()))

    def blocks(self) -> Iterator[PredictedRows]:
        """The predictions, some thousand rows at a time, with the true targets beside them."""
        rows = self.combined.rows
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            numbers = rows[part].tolist()
            yield {port: self._predictions(port, numbers, part) for port in self.output_decoders}

    def _predictions(self, port: Port, numbers: Sequence[int], part: slice) -> Predictions:
        """Those of an output for some rows. A target that a row lacks is None."""
        decoder, outputs = self.output_decoders[port], self.of_outputs[port].outputs[part]
        spread = self.spread[port][part] if port in self.spread else None
        present = self.present[port][part] if port in self.present else None
        region = self.regions[port][part] if port in self.regions else None
        return decoder.predictions(numbers, outputs, self.targets[port][part], spread, present, region)

    def layout(self, *, probabilities: bool) -> PredictionTable:
        """How they are written: of each output the target (empty where a row lacks it), the prediction and,
        for classes, its probability; with `probabilities` also that of each class.
        """
        return PredictionTable(
            self.output_decoders,
            probabilities=probabilities,
            targets=True,
            spread=bool(self.spread),
            intervals=tuple(self.regions),
            places=self.places,
        )

    def table(self, *, probabilities: bool = True) -> pd.DataFrame:
        """All of them; the index is the row."""
        return self.layout(probabilities=probabilities).frame(self.blocks())


def predict_split(
    run: RunDirectory,
    split: Split,
    access: Access = DEFAULT_ACCESS,
    *,
    probabilities: bool = False,
    need_probabilities: bool = False,
    spread: bool = False,
    interval: float | None = None,
) -> SplitPredictions:
    """Predict rows of a run's own data set. A use of the test set is counted before its rows are predicted.

    Of several folds each validation row is predicted by the network that did not train on it.

    Args:
        run: the run.
        split: which rows.
        access: how it is opened. Its listener hears which weights are used, which networks predict each row.
        probabilities: whether the predictions are to be shown with a column for each class.
        need_probabilities: refuse networks that have none.
        spread: whether the standard deviation over the networks that predict a row, and over their members,
            is asked for.
        interval: the share of rows that intervals, or sets of classes, are to cover; for test rows only.

    Raises:
        UsageError, before the test set is looked at: there are no such rows, several networks were trained on
            different ones, or they do not give what is asked for.
        DataError: the run's files or data are missing, damaged or changed.
        LockedError: another process writes into the run's record.
    """
    if split not in get_args(Split):
        raise UsageError(f"split is {split!r}; it must be train, validation or test.")
    if interval is not None:
        refuse_level(interval)
        refuse_rows_of_calibration(split)
    with run.owned_for_a_look() if split == "test" else nullcontext():
        opened = open_run(run, access)
        spec = opened.spec
        rows = _rows_of(opened, split)
        labels = Labels.of(opened.dataset) if spec.outputs else load_labels(run)
        decoders = output_decoders(spec, opened.networks[0].fitted, labels)
        if need_probabilities:
            refuse_without_probabilities(run, decoders)
        if spread:
            _refuse_without_spread(run, decoders, rows, number_of_members(spec))
        calibrated = None if interval is None else calibrate(opened, interval, tell=True)
        table = PredictionTable(
            decoders,
            probabilities=probabilities,
            targets=True,
            spread=spread,
            intervals={} if calibrated is None else calibrated.of_outputs,
            places=rows.samples.places,
        )
        table.refuse_one_name_twice()
        access.listener.message(opened.weights.sentence)
        _, look = opened.count_look("predict") if split == "test" else ([], None)
    return _predictions(opened, rows, decoders, calibrated, look, spread=spread)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a split.

    Attributes:
        split: its name.
        samples: where they are: the test set, or the training set, of which a network may be asked a part.
        of_networks: for each network the numbers of the rows that it is asked about.
    """

    split: Split
    samples: Samples
    of_networks: Sequence[Array]


def _predictions(
    opened: OpenRun,
    rows: _Rows,
    decoders: Mapping[Port, OutputDecoder],
    calibrated: Calibrated | None,
    look: LookCount | None,
    *,
    spread: bool,
) -> SplitPredictions:
    """Ask the networks; the arguments are those of the attributes of `SplitPredictions`."""
    asked = zip(opened.networks, rows.of_networks, strict=True)
    each = [(own, opened.by_output(network, rows.samples.take(own))) for network, own in asked]
    parts = {port: [(own, outputs[port]) for own, outputs in each] for port in decoders}
    found = _combined(opened, rows.split, parts)
    first = next(iter(found.values()))
    of_outputs = {port: rows.samples.output(port) for port in found}
    calibrations = {} if calibrated is None else calibrated.of_outputs
    return SplitPredictions(
        opened,
        decoders,
        rows.split,
        found,
        targets={port: of.targets[first.rows] for port, of in of_outputs.items()},
        present={p: of.present[first.rows] for p, of in of_outputs.items() if of.present is not None},
        look=look,
        spread=_spreads(opened, rows, parts) if spread else {},
        regions={
            port: calibration.regions(np.stack([outputs for _, outputs in parts[port]]))
            for port, calibration in calibrations.items()
        },
        calibrated=calibrated,
        places=rows.samples.places,
    )


def _combined(
    opened: OpenRun, split: Split, parts: Mapping[Port, list[tuple[Array, Array]]]
) -> dict[Port, Combined]:
    """One prediction per row, by each output; how it is made of those of the networks is told.

    Raises:
        DataError: one is no finite number.
    """
    found = {port: combine(of_output) for port, of_output in parts.items()}
    for port, combined in found.items():
        with told_of(opened.spec, port):
            _refuse_what_is_not_finite(split, combined)
    if len(opened.networks) > 1:
        how = next(iter(found.values())).how
        text = combination_text(how, len(opened.networks), opened.member_type)
        opened.access.listener.message(f"each row is predicted {text}")
    return found


def _refuse_without_spread(
    run: RunDirectory,
    decoders: Mapping[Port, OutputDecoder],
    rows: _Rows,
    members: int,
) -> None:
    """Refuse a spread that nothing has, of networks with so many members each."""
    refuse_without_spread(run.id, decoders, len(rows.of_networks) * members)
    _refuse_rows_of_one_network(rows.split, list(rows.of_networks) * members)


def _spreads(
    opened: OpenRun,
    rows: _Rows,
    parts: Mapping[Port, list[tuple[Array, Array]]],
) -> dict[Port, Array]:
    """Of each output the standard deviation over the networks that predict a row, and their members.

    `parts` are what the networks give; where each is an ensemble, its members are asked as well.
    """
    if number_of_members(opened.spec) > 1:
        parts = {port: [] for port in parts}
        for network, own in zip(opened.networks, rows.of_networks, strict=True):
            for port, members in opened.by_member(network, rows.samples.take(own)).items():
                parts[port] += [(own, outputs) for outputs in members]
    return {port: spread_over_networks(of_output, combine(of_output)) for port, of_output in parts.items()}


# What is predicted without a column of probabilities for each class; classes alone: by scores.
_WITHOUT_PROBABILITIES = {
    "numbers": "numbers, which have no probabilities",
    "steps": "a class for each step, of which no probabilities are written",
    "sequence": "sequences of classes, which ctc decodes without a probability for each",
}


def refuse_without_probabilities(run: RunDirectory, decoders: Mapping[Port, OutputDecoder]) -> None:
    """Raise UsageError where none of a run's outputs has a probability for each class."""
    if any(decoder.has_probabilities for decoder in decoders.values()):
        return
    by_scores = "classes by scores, which are no probabilities"
    found = dict.fromkeys(_WITHOUT_PROBABILITIES.get(each.kind, by_scores) for each in decoders.values())
    raise UsageError(f"--probabilities: {run.id} predicts {'; '.join(found)}.")


def _refuse_rows_of_one_network(split: Split, rows: Sequence[Array]) -> None:
    """Raise UsageError where a single network predicts some row, as of folds the validation rows."""
    _, networks = np.unique(np.concatenate(rows), return_counts=True)
    if (networks < 2).any():
        alone = int((networks < 2).sum())
        raise UsageError(
            f"--spread: {alone:,} of {len(networks):,} {split} rows are predicted by one network, the only "
            "one that did not train on them, and one has no standard deviation. Leave --spread out."
        )


def _rows_of(opened: OpenRun, split: Split) -> _Rows:
    run, dataset, networks = opened.run, opened.dataset, opened.networks
    if split == "test":
        if dataset.test is None:
            raise UsageError(f"--split test: {dataset.name} has no test set.")
        return _Rows(split, dataset.test, [np.arange(len(dataset.test))] * len(networks))
    folds = [opened.fold_of(network) for network in networks]
    if split == "validation":
        if isinstance(opened.spec.validation, schema.NoValidation):
            raise UsageError(
                f"--split validation: {run.id} was trained on all training rows and has no validation rows. "
                "Use --split train."
            )
        return _Rows(split, dataset.train, [fold.validation_rows for fold in folds])
    rows = [np.sort(fold.train_rows) for fold in folds]
    if any(not np.array_equal(own, rows[0]) for own in rows[1:]):
        members = [network.member for network in networks if network.member is not None]
        names = listing([member.folder for member in members])
        raise UsageError(
            f"--split train: the {members[0].type}s of {run.id} were trained on different rows. "
            f"Name one with --member ({names}); or use --split validation, where each row is predicted by "
            "networks that did not train on it."
        )
    return _Rows(split, dataset.train, rows)


def _refuse_what_is_not_finite(split: Split, combined: Combined) -> None:
    bad = np.flatnonzero(~finite_rows(combined.outputs))
    if len(bad):
        raise DataError(
            f"The outputs for {len(bad):,} of {len(combined.rows):,} {split} rows are not finite numbers "
            f"(the first: row {combined.rows[bad[0]]}). They are far outside of what the network was trained "
            "on, or it diverged."
        )
