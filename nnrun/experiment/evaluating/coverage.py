"""What intervals and sets of classes cover of the test rows, and how wide they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.experiment.predicting.intervals import Calibrated, Calibration
from nnrun.records.run_record import CoverageRecord
from nnrun.spec.ports import Port, prediction_columns
from nnrun.validation.conformal import share_interval


def coverage_of(
    calibrated: Calibrated, samples: Samples, each: Sequence[Mapping[Port, Array]], weights: str
) -> list[CoverageRecord]:
    """The coverage of each output's intervals or sets, of several numbers of each number's.

    Args:
        calibrated: what they come from.
        samples: the rows.
        each: what each network gives for these rows by each output, numbers in the target's own units.
        weights: of which epochs the networks are, as the record tells it.
    """
    found = []
    for port, calibration in calibrated.of_outputs.items():
        own = samples.output(port)
        rows = own.with_target(np.arange(len(own)))
        region = calibration.regions(np.stack([outputs[port][rows] for outputs in each]))
        found += _of_output(calibrated, calibration, region, own.targets[rows], weights)
    return found


def _of_output(
    calibrated: Calibrated, calibration: Calibration, region: Array, targets: Array, weights: str
) -> list[CoverageRecord]:
    decoder = calibration.decoder
    _, prediction, _ = prediction_columns(decoder.port)
    name = prediction if decoder.port is not None else None
    if decoder.kind != "numbers":
        true = decoder.class_numbers(targets)
        covered_NK = region[np.arange(len(region)), true][:, None]
        sizes_NK, names = region.sum(axis=1)[:, None], [name]
    else:
        lower, upper = np.split(region, 2, axis=1)
        true_NK = targets.reshape(len(region), -1).astype(np.float64)
        covered_NK, sizes_NK = (lower <= true_NK) & (true_NK <= upper), upper - lower
        names = [name]
        if decoder.several_numbers:
            names = [f"{prediction}_{column}" for column in decoder.classes]
    made = []
    for k, of_number in enumerate(names):
        covered = int(covered_NK[:, k].sum())
        low, high = share_interval(covered, len(region))
        made.append(
            CoverageRecord(
                output=of_number,
                level=calibrated.level,
                method=calibrated.method,
                weights=weights,
                rows=len(region),
                covered=covered,
                low=low,
                high=high,
                width=float(sizes_NK[:, k].mean()) if decoder.kind == "numbers" else None,
                classes=None if decoder.kind == "numbers" else float(sizes_NK[:, k].mean()),
            )
        )
    return made
