"""What a file says of intervals: of one network the numbers that make them, else which command does.

Split conformal prediction needs one number for each level: half the width of an interval, or how far the sets
of classes reach. CV+ needs the errors and the networks of all folds, which no file has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.data.catalog import is_at_hand
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.intervals import Calibrated, Calibration, calibrate
from nnrun.experiment.predicting.open_run import open_run
from nnrun.experiment.running.listener import SILENT
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.validation.conformal import rank_of

LEVEL: Final = 0.9
"""The share of rows that a screen tells of."""

_LEVELS: Final = (0.8, LEVEL, 0.95)


@dataclass(frozen=True)
class FileIntervals:
    """What a file says of intervals.

    Attributes:
        text: what follows from these numbers, on what condition; or why there are none, and what gives them.
        half_widths: output → level → half the width of the interval of each of its numbers.
        reaches: output of classes → level → how much probability all classes that are more probable than one
            may have together, for that one to be in the set.
    """

    text: str
    half_widths: Mapping[str, Mapping[float, Sequence[float]]]
    reaches: Mapping[str, Mapping[float, float]]

    def as_document(self) -> dict[str, Any]:
        """As the file's metadata and `--json` have it: levels are keys of JSON, `0.9`."""
        document: dict[str, Any] = {"text": self.text}
        for name, found in (("half_widths", self.half_widths), ("reaches", self.reaches)):
            if found:
                document[name] = {
                    port: {f"{level:g}": value for level, value in of.items()} for port, of in found.items()
                }
        return document


def file_intervals(
    run: RunDirectory, spec: schema.ExperimentSpec, access: Access, names: Mapping[Port, str]
) -> FileIntervals | None:
    """What the file of a run says of intervals; None where the run has none.

    Args:
        run: the run.
        spec: its own.
        access: which of its networks are in the file. Nothing is downloaded.
        names: what the file calls each output.
    """
    record = run.read_record()
    if record.smoke or record.status != "completed" or isinstance(spec.validation, schema.NoValidation):
        return None
    command = f"nnrun predict {run.id} --interval {LEVEL:g}"
    away = FileIntervals(
        f"none in this file, since the data are not here from which they follow; {command} gives them where "
        "the data are",
        {},
        {},
    )
    if not _are_at_hand(spec, access.data_dir):
        return away
    try:
        made = calibrate(open_run(run, replace(access, listener=SILENT)), LEVEL)
    except DataError:
        return away
    except UsageError:  # nothing has an interval, or too few rows were validated
        return None
    if len(next(iter(made.of_outputs.values())).networks) > 1:
        all_ = f"the errors and the networks of all {made.kind}s"
        return FileIntervals(f"none in this file: CV+ takes {all_}; {command} gives them", {}, {})
    return _of_one_group(made, names)


def _are_at_hand(spec: schema.ExperimentSpec, data_dir: Path | None) -> bool:
    try:
        return is_at_hand(spec.dataset, data_dir)
    except DataError:
        return False


def _of_one_group(made: Calibrated, names: Mapping[Port, str]) -> FileIntervals:
    widths: dict[str, dict[float, list[float]]] = {}
    reaches: dict[str, dict[float, float]] = {}
    for port, calibration in made.of_outputs.items():
        quantiles = _quantiles(calibration)
        if calibration.decoder.kind == "numbers":
            widths[names[port]] = quantiles
        else:
            reaches[names[port]] = {level: of_classes for level, (of_classes,) in quantiles.items()}
    return FileIntervals("; ".join(made.sentences), widths, reaches)


def _quantiles(calibration: Calibration) -> dict[float, list[float]]:
    """Level → the ⌈level (n + 1)⌉-th smallest of n scores, of each number."""
    scores_nK = np.sort(calibration.scores, axis=0)
    ranks = {level: rank_of(level, len(scores_nK)) for level in _LEVELS}
    return {level: scores_nK[rank - 1].tolist() for level, rank in ranks.items() if rank <= len(scores_nK)}
